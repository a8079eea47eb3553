"""Connections without sockets: bounded, and able to be reset."""

from __future__ import annotations

import attrs
import trio
from trio.abc import HalfCloseableStream


@attrs.define(eq=False)
class _Connection:
    was_reset: bool = False


@attrs.define(eq=False)
class MemoryStream(HalfCloseableStream):
    """One end of a connection in memory.

    `send_all` returns once the other end has taken everything, so a slow reader holds its sender up, as a full socket
    buffer does. `trio.testing.memory_stream_pair` would hold any amount instead, and knows no reset.
    """

    _send_bytes: trio.MemorySendChannel[bytes]
    _receive_bytes: trio.MemoryReceiveChannel[bytes]
    _connection: _Connection
    _rest: memoryview = attrs.field(default=memoryview(b""), init=False)
    _is_closed: bool = attrs.field(default=False, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; raises `trio.BrokenResourceError` once the other end is closed."""
        if self._connection.was_reset and not self._is_closed:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("the connection was reset")
        if data:
            await self._send_bytes.send(bytes(data))
        else:
            await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: there is no buffer to look at."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Send nothing more; receiving goes on."""
        self._send_bytes.close()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give the next bytes; none at the end. Raises `trio.BrokenResourceError` after a reset."""
        if self._rest and not self._is_closed:
            await trio.lowlevel.checkpoint()
        while not self._rest or self._is_closed:
            try:
                self._rest = memoryview(await self._receive_bytes.receive())
            except trio.EndOfChannel:
                if self._connection.was_reset:
                    raise trio.BrokenResourceError("the connection was reset") from None
                return b""
        size = len(self._rest) if max_bytes is None else max_bytes
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def reset(self) -> None:
        """Drop the connection so that the other end sees a reset."""
        self._connection.was_reset = True
        self.close()

    def close(self) -> None:
        """Close this end, at once."""
        self._is_closed = True
        self._send_bytes.close()
        self._receive_bytes.close()

    async def aclose(self) -> None:
        """Close this end; the other one sees the end of the stream."""
        self.close()
        await trio.lowlevel.checkpoint()


def memory_connection() -> tuple[MemoryStream, MemoryStream]:
    """Make both ends of a connection in memory."""
    connection = _Connection()
    send_there, receive_there = trio.open_memory_channel[bytes](0)
    send_back, receive_back = trio.open_memory_channel[bytes](0)
    here = MemoryStream(send_there, receive_back, connection)
    return here, MemoryStream(send_back, receive_there, connection)
