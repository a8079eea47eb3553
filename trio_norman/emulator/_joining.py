"""A connection of the API on which small answers go out in one piece."""

from __future__ import annotations

import re
from typing import Any

import attrs

from ._tls import ServerStream

#: The head of an answer whose body is announced and comes at once; streams have chunks instead, and are never held.
_HEAD = re.compile(rb"HTTP/1\.1 [2-5][^\x00]*\r\ncontent-length: [1-9][^\x00]*\r\n\r\n")
_LONGEST_HEAD = 16 * 1024  # bytes


@attrs.define(eq=False)
class Joining:
    """A stream that holds a head with a length until its body comes, as most servers do.

    hypercorn sends head, body and end (nothing at all) one by one: three system calls where one does, and two wakings
    of whoever reads it.
    """

    _stream: ServerStream
    _held: bytes = attrs.field(init=False, default=b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send_all(self, data: bytes) -> None:
        """Send, or hold for the next call."""
        if not self._held and _is_head(data):
            self._held = data
            return
        data, self._held = self._held + data, b""
        if data:
            await self._stream.send_all(data)

    async def send_eof(self) -> None:
        """Send what is held and announce the end."""
        await self.send_all(b"")
        await self._stream.send_eof()  # a TLS stream has none, which the server expects


def _is_head(data: bytes) -> bool:
    return len(data) <= _LONGEST_HEAD and data.startswith(b"HTTP/1.1 ") and _HEAD.fullmatch(data) is not None
