"""Options of the commands that talk to the Norman service, and how its uploads are shown."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import attrs
import trio
from cyclopts import Parameter

from .. import ConnectionSettings, Norman, UploadAdvanced
from ..errors import ConfigurationError
from ..transfer import DownloadAdvanced, DownloadFinished, DownloadResult, DownloadStarted, Link, Outcome, Source
from ._board import Board
from ._options import SERVICE_GROUP, read_key

_LARGEST_CONFIG = 2**20  # bytes
_ADVICE = {
    "api_key=": "set NORMAN_API_KEY, or give --api-key-file; `trio-norman signup` makes an account with a key",
    "base_url=": "set NORMAN_BASE_URL, or give --base-url, as https://api....norman-ai.com/v0",
}


@Parameter(name="*", group=SERVICE_GROUP)
@attrs.frozen(kw_only=True)
class NormanFlags:
    """Where the Norman service is and which key opens it. The key itself never stands on the command line."""

    base_url: str | None = None
    """Root of the API with its version, https://.../v0; otherwise NORMAN_BASE_URL."""
    api_key_file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None
    """File with the API key (- is stdin); otherwise NORMAN_API_KEY."""
    ca_file: Path | None = None
    """PEM file of a private certificate authority, trusted beside the system's."""
    allow_http: bool = False
    """Allow plain http to other machines."""

    @property
    def connection(self) -> ConnectionSettings:
        """How the service is reached."""
        return ConnectionSettings(ca_file=self.ca_file, allow_http=self.allow_http)

    @asynccontextmanager
    async def open(self, **more: Any) -> AsyncIterator[Norman]:
        """Open a client for as long as the block lasts."""
        key = None
        if self.api_key_file is not None:
            key = await trio.to_thread.run_sync(read_key, self.api_key_file, abandon_on_cancel=True)
        with advised_for_a_shell():
            async with Norman(key, self.base_url, connection=self.connection, **more) as norman:
                yield norman


@contextmanager
def advised_for_a_shell() -> Iterator[None]:
    """Speak of options where the client's errors speak of arguments."""
    try:
        yield
    except ConfigurationError as error:
        advice = next((ours for argument, ours in _ADVICE.items() if argument in error.advice), None)
        if advice is None:
            raise
        raise ConfigurationError(error.problem, advice) from None


NORMAN = NormanFlags()


def read_model_file(path: Path) -> Mapping[str, Any]:
    """Read a model's configuration from a TOML or JSON file, by its ending. Blocks.

    Raises:
        ConfigurationError: If it cannot be read as a table.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_CONFIG + 1)
        if len(data) > _LARGEST_CONFIG:
            raise ValueError(f"it is larger than {_LARGEST_CONFIG} bytes")
        found = json.loads(data) if path.suffix.lower() == ".json" else tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no {path.suffix.lstrip('.').upper() or 'TOML'}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} holds no table", "write the model's fields, `name = ...` and so on")
    return found


@attrs.define(eq=False)
class Uploading:
    """Shows uploads on a board that was made for downloads: bytes are bytes."""

    board: Board
    _sources: dict[str, Source] = attrs.field(init=False, factory=dict)

    def note(self, event: UploadAdvanced) -> None:
        """Take in how far an upload is."""
        source = self._sources.get(event.entity_id)
        if source is None:
            source = self._sources[event.entity_id] = Source(event.name, _nowhere, event.entity_id)
            self.board.expect(event.size_bytes)
            self.board.note(DownloadStarted(source, event.size_bytes, 0))
        self.board.note(DownloadAdvanced(source, event.sent_bytes, event.size_bytes))
        if event.sent_bytes == event.size_bytes:
            result = DownloadResult(source, Path(event.name), Outcome.OK, event.size_bytes, event.size_bytes)
            self.board.note(DownloadFinished(result))


async def _nowhere() -> Link:
    raise NotImplementedError("an upload is not fetched")
