"""One connection of the storage, with what a good server never does: waiting on purpose, and resetting."""

from __future__ import annotations

import math
import socket
import struct
import sys
from typing import NoReturn, Protocol, runtime_checkable

import attrs
import trio

from ._content import Block
from ._tls import socket_below

_RECEIVE = 64 * 1024
_DRAIN_PATIENCE = 1.0  # seconds until a reset is sent although the peer's system has not taken everything


class ClientLeftError(Exception):
    """The client closed its connection."""


class SeveredError(Exception):
    """The connection was cut on purpose; nothing more can be sent."""


@runtime_checkable
class Resettable(Protocol):
    """A stream that is not a socket and yet knows how to be reset."""

    def reset(self) -> None:
        """Drop the connection so that the peer sees a reset."""
        ...


@attrs.define(eq=False)
class Wire:
    """A stream, and the bytes that were received from it before somebody wanted them."""

    stream: trio.abc.Stream
    early: bytes = b""

    async def receive(self) -> bytes:
        """Give the next bytes; none at the end."""
        if self.early:
            data, self.early = self.early, b""
            return data
        return bytes(await self.stream.receive_some(_RECEIVE))

    async def send(self, data: Block | memoryview) -> None:
        """Send all of it."""
        await self.stream.send_all(data)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or raise `ClientLeftError` as soon as the client is gone; ``inf`` waits for that."""
        if seconds <= 0:
            return
        with trio.move_on_at(trio.current_time() + seconds if seconds < math.inf else math.inf):
            while True:
                data = await self.stream.receive_some(_RECEIVE)
                if not data:
                    raise ClientLeftError
                self.early += data

    async def sever(self, *, rst: bool, ragged: bool = False) -> NoReturn:
        """Cut the connection, by a reset or by an orderly end. Always raises `SeveredError`.

        Args:
            rst: Whether by a reset.
            ragged: Whether without the closing alert of TLS; without TLS it makes no difference.
        """
        if rst:
            await self._reset()
        if rst or ragged:
            await trio.aclose_forcefully(self.stream)
        await self.stream.aclose()
        raise SeveredError

    async def _reset(self) -> None:
        below = socket_below(self.stream)
        if below is not None:
            await self._wait_taken(below.socket)
            # A linger time of zero makes close() send RST, and drop what was not sent: hence the wait before.
            below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            below.socket.close()
        elif isinstance(self.stream, Resettable):
            self.stream.reset()

    @staticmethod
    async def _wait_taken(sock: trio.socket.SocketType) -> None:
        if sys.platform != "linux":
            return
        import fcntl
        import termios

        with trio.move_on_after(_DRAIN_PATIENCE):
            while struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:  # noqa: ASYNC110
                await trio.sleep(0.001)
