"""One connection that bodies are pushed over: opened within a limit, never waiting for a silent peer for ever."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import attrs
import trio

from .._sansio.addresses import Vicinity
from .._wire import _sockets
from .._wire._connecting import ConnectionSettings
from ..errors import ConnectError, HeadTimeoutError, InterruptedTransferError, SlowTransferError
from ._addresses import connect_for_push, push_url

T = TypeVar("T")

_METHOD = "PUSH"
_LOOK_EVERY = 0.1  # seconds after which a thread that sends looks whether it is still wanted


@runtime_checkable
class ConnectsTcp(Protocol):
    """An httpx transport of the user's own that can also carry plain TCP, to a service in memory for example."""

    async def connect_tcp(self, host: str, port: int) -> trio.abc.Stream:
        """Open a connection; raises `OSError` if there is nobody."""
        ...


Make = Callable[[], memoryview]


class PushConnection(Protocol):
    """The sending half of a connection; nothing is ever read from it."""

    async def send(self, make: Make) -> None:
        """Make the next bytes in a worker thread, and send all of them.

        Raises:
            SlowTransferError: If the peer takes nothing for the limit on silence.
            InterruptedTransferError: If the connection breaks.

        Cancellation: some of it may have been sent; the connection is of no further use.
        """
        ...


@attrs.define(eq=False)
class SocketConnection:
    """A connection over a socket of our own. Making and sending share one visit to a worker thread."""

    url: str
    silence: float
    _sock: socket.socket
    _limiter: trio.CapacityLimiter

    async def send(self, make: Make) -> None:
        """Make bytes and send them; see `PushConnection`."""
        await trio.to_thread.run_sync(self._make_and_send, make, limiter=self._limiter)

    def _make_and_send(self, make: Make) -> None:
        rest, last_progress = make(), time.monotonic()
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
                last_progress = time.monotonic()
            except TimeoutError:
                trio.from_thread.check_cancelled()
                if time.monotonic() - last_progress > self.silence:
                    raise SlowTransferError(_METHOD, self.url, _taken_nothing(self.silence)) from None
            except OSError as error:
                raise InterruptedTransferError(_METHOD, self.url, _sockets.reason(error)) from None


@attrs.define(eq=False)
class StreamConnection:
    """A connection over a stream of the user's own transport."""

    url: str
    silence: float
    _stream: trio.abc.Stream

    async def send(self, make: Make) -> None:
        """Make bytes and send them; see `PushConnection`."""
        data = await trio.to_thread.run_sync(make)
        try:
            with trio.fail_after(self.silence):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise SlowTransferError(_METHOD, self.url, _taken_nothing(self.silence)) from None
        except trio.BrokenResourceError:
            raise InterruptedTransferError(_METHOD, self.url) from None


def _taken_nothing(silence: float) -> str:
    return f"nothing was taken for {silence:g} s"


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
        stream = await _opened(partial(own.connect_tcp, host, port), url, settings)
        try:
            yield StreamConnection(url, silence, stream)
        finally:
            with trio.CancelScope(shield=True):  # closing waits for nobody
                await stream.aclose()
        return
    sock = await _opened(partial(connect_for_push, host, port, vicinity), url, settings)
    try:
        sock.settimeout(_LOOK_EVERY)
        yield SocketConnection(url, silence, sock, limiter)
    finally:
        _sockets.close(sock)


async def _opened(connect: Callable[[], Awaitable[T]], url: str, settings: ConnectionSettings) -> T:
    try:
        with trio.move_on_after(settings.connect_seconds):
            return await connect()
    except OSError as error:
        raise ConnectError(_METHOD, url, _sockets.reason(error)) from None
    raise HeadTimeoutError(_METHOD, url, f"no connection within {settings.connect_seconds:g} s")
