"""The account's files at the Launch service: small texts that models are tuned with."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from .._sansio.multipart import file_part
from .._wire._client import JsonAnswer
from .._wire._uploading import BLOCK_BYTES, WatchedBody, blocks_of
from ..errors import ConfigurationError, HeadTimeoutError, SourceChangedError
from ..transfer._outgoing import Body, open_file
from . import _api as api
from ._converter import from_wire
from ._models import LaunchFile

if TYPE_CHECKING:
    from ._client import LaunchClient

_AT_ONCE = 2**20  # bytes that are sent in one piece, which can be repeated


class _Form:
    """The form that carries one file: what stands around its bytes, and what the request says of it."""

    def __init__(self, name: str) -> None:
        boundary = secrets.token_hex(16)
        self.around = file_part(name, boundary=boundary)
        self._type = f"multipart/form-data; boundary={boundary}"

    def headers(self, size: int) -> dict[str, str]:
        before, after = self.around
        return {"Content-Type": self._type, "Content-Length": str(len(before) + size + len(after))}


@attrs.define(eq=False)
class Files:
    """Upload, list, look at, read and delete. Source: wire/launch, section 13."""

    _client: LaunchClient = attrs.field(repr=False)

    async def upload(self, source: Path | str | bytes, name: str | None = None) -> str:
        """Upload a file of UTF-8 text and return its id. A file of the same name may be replaced.

        Args:
            source: Path of the file, read while it is sent; or its bytes, with a `name`.
            name: Its name at the service; by default that of the path.

        It may take its time, as long as it is not below 1 KiB/s; ``predict_seconds`` begin at its last byte.

        Raises:
            ConfigurationError: If there is no name, or no regular file; nothing was sent.
            LocalFileError: If it cannot be read.
            SourceChangedError: If it changes meanwhile.
            SlowTransferError: If it is not taken.
            TrioNormanError: If the service does not take it.

        Cancellation: it may have been uploaded.
        """
        name = name or ("" if isinstance(source, bytes) else Path(source).name)
        if not name:
            raise ConfigurationError("the file has no name", "pass name=...")
        form = _Form(name)
        if not isinstance(source, bytes):
            async with open_file(name, Path(source)) as body, aclosing(_streamed(body, *form.around)) as stream:
                return await self._send(stream, form.headers(body.size))
        whole = source.join(form.around)
        if len(source) <= _AT_ONCE:
            return await self._send(whole, form.headers(len(source)))
        async with aclosing(blocks_of(whole)) as stream:
            return await self._send(stream, form.headers(len(source)))

    async def _send(self, content: bytes | AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> str:
        answer: JsonAnswer | None = None
        with self._client.in_use() as state:
            patient = state.patient
            if isinstance(content, bytes):
                answer = await patient.call("POST", api.FILES, None, self._client.sent(content, headers))
            else:
                watched = WatchedBody(content, patient.head_seconds)
                try:
                    with watched.watch("POST", f"{patient.root}/{api.FILES}"):
                        unhurried = attrs.evolve(patient, head_seconds=math.inf)  # the watch keeps its limit
                        answer = await unhurried.call("POST", api.FILES, None, self._client.sent(watched, headers))
                except HeadTimeoutError as error:
                    error.note_lost_answer()
                    raise
        assert answer is not None  # noqa: S101 (else in_use has raised)
        return from_wire(LaunchFile, answer, method="POST").id

    async def list(self) -> Sequence[LaunchFile]:
        """Return all files."""
        return (await self._client.ask(api.files())).files

    async def get(self, file_id: str) -> LaunchFile:
        """Return what is known of one file."""
        return await self._client.ask(api.file(file_id))

    async def content(self, file_id: str) -> str:
        """Return a file's text."""
        return (await self._client.ask(api.file_content(file_id))).content

    async def delete(self, file_id: str) -> bool:
        """Delete a file, and tell whether the service says that it did. It is asked once."""
        return bool((await self._client.ask(api.delete_file(file_id))).deleted)


async def _streamed(body: Body, before: bytes, after: bytes) -> AsyncGenerator[bytes, None]:
    yield before
    offset = 0
    while offset < body.size:
        room = memoryview(bytearray(min(BLOCK_BYTES, body.size - offset)))
        count = await trio.to_thread.run_sync(body.read_into, offset, room)
        if not count:
            raise SourceChangedError(body.name, f"it ended after {offset} of {body.size} bytes")
        offset += count
        yield bytes(room[:count])
    await trio.to_thread.run_sync(body.check)
    yield after
