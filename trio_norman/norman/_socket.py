"""One connection that bodies are pushed over: opened within a limit, never waiting for a silent peer for ever."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.addresses import Vicinity
from .._wire import _sockets
from .._wire._connecting import ConnectionSettings
from ..errors import ConnectError, HeadTimeoutError, InterruptedTransferError, SlowTransferError
from ._addresses import connect_for_push, judge_host, push_url
from ._relay import LOOK_EVERY, METHOD, BlockSender, Fill, Relay, taken_nothing

T = TypeVar("T")


@runtime_checkable
class ConnectsTcp(Protocol):
    """An httpx transport of the user's own that can also carry plain TCP, to a service in memory for example."""

    async def connect_tcp(self, host: str, port: int) -> trio.abc.Stream:
        """Open a connection; raises `OSError` if there is nobody."""
        ...


class PushConnection(Protocol):
    """The sending half of a connection; nothing is ever read from it."""

    async def send_each(self, fill: Fill, block_bytes: int, note: Callable[[int], None]) -> None:
        """Fill block after block in worker threads, and send all of them.

        Args:
            fill: Puts the next bytes into the room that it is given and returns how many; 0 at the end. It may block.
            block_bytes: Length of a block, at least 1.
            note: Told in the Trio thread, now and then, how many bytes were sent so far.

        Raises:
            SlowTransferError: If the peer takes nothing for the limit on silence.
            InterruptedTransferError: If the connection breaks.

        Cancellation: some of it may have been sent; the connection is of no further use.
        """
        ...


@attrs.define(eq=False)
class SocketConnection:
    """A connection over a socket of our own: one thread fills blocks while another one sends those that are full."""

    url: str
    silence: float
    _sock: socket.socket
    _limiter: trio.CapacityLimiter

    async def send_each(self, fill: Fill, block_bytes: int, note: Callable[[int], None]) -> None:
        """Fill blocks and send them; see `PushConnection`."""
        relay = Relay(fill, block_bytes)
        sender = BlockSender(self.url, self.silence, self._sock, relay)
        with lone_error_unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(trio.to_thread.run_sync, relay.fill_each, limiter=self._limiter))
                while await trio.to_thread.run_sync(sender.send_for_a_while, limiter=self._limiter):
                    note(sender.sent)


@attrs.define(eq=False)
class StreamConnection:
    """A connection over a stream of the user's own transport."""

    url: str
    silence: float
    _stream: trio.abc.Stream

    async def send_each(self, fill: Fill, block_bytes: int, note: Callable[[int], None]) -> None:
        """Fill blocks and send them; see `PushConnection`."""
        room, sent = memoryview(bytearray(block_bytes)), 0
        while count := await trio.to_thread.run_sync(fill, room):
            await self._send(room[:count])
            sent += count
            note(sent)

    async def _send(self, block: memoryview) -> None:
        try:
            with trio.fail_after(self.silence):
                await self._stream.send_all(block)
        except trio.TooSlowError:
            raise SlowTransferError(METHOD, self.url, taken_nothing(self.silence)) from None
        except trio.BrokenResourceError:
            raise InterruptedTransferError(METHOD, self.url) from None


@asynccontextmanager
async def open_push_connection(
    host: str,
    port: int,
    *,
    vicinity: Vicinity,
    settings: ConnectionSettings,
    silence: float,
    limiter: trio.CapacityLimiter,
) -> AsyncIterator[PushConnection]:
    """Connect to where a body is pushed; the connection is closed with the block.

    Args:
        host: Name or address.
        port: TCP port.
        vicinity: Where the service is, which says where it may send us; see `connect_for_push`.
        settings: How peers are reached.
        silence: Longest time for which the peer may take nothing, in seconds.
        limiter: For the worker threads that send.

    Raises:
        AddressError: If the address policy forbids it; nothing was contacted.
        NameResolutionError: If the name does not resolve.
        ConnectError: If nobody accepts.
        HeadTimeoutError: If nobody accepts within the limit.
    """
    url = push_url(host, port)
    own: object = settings.transport
    if isinstance(own, ConnectsTcp):
        judge_host(host, port, vicinity)  # it looks names up by itself: only a literal address can be judged
        stream = await _opened(partial(own.connect_tcp, host, port), url, settings)
        try:
            yield StreamConnection(url, silence, stream)
        finally:
            with trio.CancelScope(shield=True):  # closing waits for nobody
                await stream.aclose()
        return
    sock = await _opened(partial(connect_for_push, host, port, vicinity), url, settings)
    try:
        sock.settimeout(LOOK_EVERY)
        yield SocketConnection(url, silence, sock, limiter)
    finally:
        _sockets.close(sock)


async def _opened(connect: Callable[[], Awaitable[T]], url: str, settings: ConnectionSettings) -> T:
    try:
        with trio.move_on_after(settings.connect_seconds):
            return await connect()
    except OSError as error:
        raise ConnectError(METHOD, url, _sockets.reason(error)) from None
    raise HeadTimeoutError(METHOD, url, f"no connection within {settings.connect_seconds:g} s")
