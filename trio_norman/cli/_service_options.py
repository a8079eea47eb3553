"""How the training service is reached from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

import attrs
import trio
from cyclopts import Parameter

from .. import ConnectionSettings, RestClient, ServiceClient
from ..errors import ConfigurationError
from ..rest._service import config_exposures
from ._options import SERVICE_GROUP, Hosts, read_key
from ._output import say

_HOW_TO_GIVE_A_KEY = "set TRIO_NORMAN_API_KEY or PYTRIO_API_KEY, give --api-key-file, or try `trio-norman demo`"


@Parameter(name="*", group=SERVICE_GROUP)
@attrs.frozen(kw_only=True)
class ServiceFlags:
    """Where the service is and which key opens it. The key itself never stands on the command line."""

    base_url: str | None = None
    """Root of the service; otherwise TRIO_NORMAN_BASE_URL, PYTRIO_BASE_URL, ~/.pytrio/config.toml, or its own."""
    api_key_file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None
    """File with the API key (- is stdin); otherwise TRIO_NORMAN_API_KEY, PYTRIO_API_KEY, or ~/.pytrio/config.toml."""
    api: Literal["auto", "classic", "v1"] = "auto"
    """Which dialect the service speaks; auto asks it."""
    ca_file: Path | None = None
    """PEM file of a private certificate authority, trusted beside the system's."""
    allow_http: bool = False
    """Allow plain http to other machines."""
    allow_host: Hosts = ()
    """Host to which the service may lead us besides itself (*.NAME: and all below); may be repeated."""

    @property
    def connection(self) -> ConnectionSettings:
        """How peers are reached."""
        return ConnectionSettings(ca_file=self.ca_file, allow_http=self.allow_http, allow_hosts=self.allow_host)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[RestClient]:
        """Open a client for as long as the block lasts."""
        key = None
        if self.api_key_file is not None:
            key = await trio.to_thread.run_sync(read_key, self.api_key_file, abandon_on_cancel=True)
        client = ServiceClient(key, self.base_url, api=self.api, connection=self.connection)
        async with AsyncExitStack() as stack:
            try:
                if key is None or self.base_url is None:
                    await trio.to_thread.run_sync(_warn_of_config, abandon_on_cancel=True)
                rest = await stack.enter_async_context(client.create_rest_client())
            except ConfigurationError as error:
                if "api_key=" not in error.advice:
                    raise
                raise ConfigurationError(error.problem, _HOW_TO_GIVE_A_KEY) from None
            yield rest


def _warn_of_config() -> None:
    for exposed in config_exposures():
        say(f"warning: {exposed}")


SERVICE = ServiceFlags()
