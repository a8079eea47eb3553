"""Where the Launch service is: the options of the commands that ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import attrs
import trio
from cyclopts import Group, Parameter

from .. import ConnectionSettings
from ..errors import ConfigurationError
from ..launch import LaunchClient
from ._options import read_key


@Parameter(name="*", group=Group("Service", sort_key=2))
@attrs.frozen(kw_only=True)
class LaunchFlags:
    """Where the service is and which key opens it. The key itself never stands on the command line."""

    base_url: str | None = None
    """Root of the service; otherwise TRIO_NORMAN_LAUNCH_BASE_URL, TRIO_NORMAN_BASE_URL, or the hosted one's."""
    api_key_file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None
    """File with the API key (- is stdin); otherwise TRIO_NORMAN_LAUNCH_API_KEY, or TRIO_NORMAN_API_KEY with a root."""
    ca_file: Path | None = None
    """PEM file of a private certificate authority, trusted beside the system's."""
    allow_http: bool = False
    """Allow plain http to other machines."""

    @asynccontextmanager
    async def open_launch(self) -> AsyncIterator[LaunchClient]:
        """Open a client for as long as the block lasts."""
        key = None
        if self.api_key_file is not None:
            key = await trio.to_thread.run_sync(read_key, self.api_key_file, abandon_on_cancel=True)
        connection = ConnectionSettings(ca_file=self.ca_file, allow_http=self.allow_http)
        try:
            client = LaunchClient(key, self.base_url, connection=connection)
        except ConfigurationError as error:
            if "api_key=" not in error.advice:
                raise
            advice = "set TRIO_NORMAN_LAUNCH_API_KEY, or TRIO_NORMAN_API_KEY and TRIO_NORMAN_BASE_URL"
            raise ConfigurationError(error.problem, f"{advice}, or give --api-key-file") from None
        async with client:
            yield client


LAUNCH = LaunchFlags()
