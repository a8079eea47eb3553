"""Sockets of the standard library, plain or TLS, non-blocking and driven by Trio.

One type serves both: `ssl.SSLSocket` is a `socket.socket`. Each system call is tried first and waited for only
if it would block, which spares most waits, and no helper object stands between us and the kernel.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import httpx
import trio

from .._sansio.address_kinds import in_turn

T = TypeVar("T")
Refusal = Callable[[str], str]

#: Longest piece that is read at once, in bytes; more than this gains nothing measurable.
PIECE_BYTES = 256 * 1024
#: Longest TLS record, in bytes (RFC 8446, section 5.1): a TLS socket never gives more at once.
_RECORD_BYTES = 16 * 1024
_HEAD_START = 0.25  # seconds until the next address is tried as well (RFC 8305, section 5)
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)  # either call may want either direction


class AddressRefusedError(OSError):
    """No address of a name may be contacted; its text says why."""


async def connect(host: bytes, port: int, refusal: Refusal | None = None) -> socket.socket:
    """Open a TCP connection to the first address of `host` that answers, and make it non-blocking.

    Every address that is contacted is contacted from here.

    Args:
        host: Name or address, as ASCII bytes; an IPv6 address without brackets.
        port: TCP port.
        refusal: Says why an address must not be contacted, or nothing. The name is looked up once, and only addresses
            that this lookup gave, and that were not refused, are contacted. Without it, the user trusts the host.

    Raises:
        AddressRefusedError: If every address is refused; nobody was contacted.
        socket.gaierror: If the name does not resolve.
        OSError: If no address accepts; its cause is a group with one error for each address.

    Cancellation: nothing stays open. A resolver that hangs keeps its thread until it gives up.

    Source: RFC 8305, as `trio.open_tcp_stream` does it, which also sets TCP_NODELAY.
    """
    if refusal is None:
        stream = await trio.open_tcp_stream(host, port)
    else:
        stream = await _open_first(await _permitted(host, port, refusal), port)
    opened = socket.socket(fileno=stream.socket.detach())
    opened.setblocking(False)
    return opened


async def _permitted(host: bytes, port: int, refusal: Refusal) -> list[str]:
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    refusals = {address: refusal(address) for address in in_turn(str(entry[4][0]) for entry in found)}
    permitted = [address for address, why in refusals.items() if not why]
    if not permitted:
        raise AddressRefusedError(next(iter(refusals.values()), "the name has no address"))
    return permitted


async def _open_first(addresses: Sequence[str], port: int) -> trio.SocketStream:
    """Connect to the first of several literal addresses that answers; each gets a head start before the next one.

    Trio's own function takes names only, and would look them up again.
    """
    if len(addresses) == 1:
        return await trio.open_tcp_stream(addresses[0], port)
    opened: list[trio.SocketStream] = []
    failures: list[OSError] = []

    async def attempt(address: str, failed: trio.Event) -> None:
        try:
            opened.append(await trio.open_tcp_stream(address, port))
            nursery.cancel_scope.cancel(reason="an address has answered")
        except OSError as error:
            failures.append(error)
            failed.set()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(_HEAD_START):
                    await failed.wait()
        if not opened:
            causes = [each for failure in failures for each in _each_cause(failure)]
            raise OSError("no address accepts connections") from ExceptionGroup("each address", causes)
        return opened.pop(0)
    finally:
        for late in opened:
            late.socket.close()


def _each_cause(error: OSError) -> Sequence[Exception]:
    return error.__cause__.exceptions if isinstance(error.__cause__, ExceptionGroup) else (error,)


def peer_address(sock: socket.socket) -> str:
    """Return the address at the other end; empty if the connection is gone."""
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return ""


def close(sock: socket.socket) -> None:
    """Close at once, without a goodbye; a task that still waits on it gets `trio.ClosedResourceError`."""
    if sock.fileno() < 0:
        return
    trio.lowlevel.notify_closing(sock)
    # After a reset some systems report the reset once more here; the descriptor is gone all the same.
    with contextlib.suppress(OSError):
        sock.close()


def is_quiet(sock: socket.socket) -> bool:
    """Tell whether a connection that owes us nothing can take a request: it is open and has nothing to say.

    Whatever can be read now is the end of the stream, an error, or bytes that nobody asked for.
    (A peek would do for TCP; TLS has none, and its session tickets must be taken in.)
    """
    try:
        sock.recv(1)
    except _NOT_NOW:
        return True
    except OSError:
        return False
    return False


def receive_nowait(sock: socket.socket, at_most: int) -> bytes | None:
    """Read what is there, `at_most` bytes of it; ``b""`` at the end of the stream, None if nothing is there yet.

    Raises:
        httpx.ReadError: If the connection broke, or a TLS stream ended without its closing alert.
    """
    try:
        return _read_or_none(sock, at_most)
    except OSError as error:
        raise httpx.ReadError(f"the connection broke before an answer: {reason(error)}") from error


async def receive(
    sock: socket.socket,
    at_most: int,
    *,
    awaited: str,
    silence: float = math.inf,
    until: float = math.inf,
    is_later: bool = False,
) -> bytes:
    """Read up to `at_most` bytes, at least one; ``b""`` at the end of the stream.

    Args:
        awaited: What is expected, for the errors' text.
        silence: Longest wait from now, in seconds.
        until: End of the wait on Trio's clock.
        is_later: Whether nothing is expected to be there yet.

    Raises:
        httpx.ReadTimeout: If nothing came in time.
        httpx.ReadError: If the connection broke, or a TLS stream ended without its closing alert.

    Cancellation: nothing is lost; the bytes stay in the socket.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        # A plain socket need not be asked before the wait for an answer to what has just been sent.
        data = None if is_later and not isinstance(sock, ssl.SSLSocket) else _read_or_none(sock, at_most)
        if data is None:
            deadline = min(until, trio.current_time() + silence)
            await _wait(trio.lowlevel.wait_readable, sock, deadline)
            return await _persist(sock, lambda: _read(sock, at_most), trio.lowlevel.wait_readable, deadline)
    except trio.TooSlowError:
        raise httpx.ReadTimeout(f"{awaited} did not come in time") from None
    except ssl.SSLEOFError as error:
        raise httpx.ReadError(f"the peer cut the TLS connection while we waited for {awaited}") from error
    except OSError as error:
        raise httpx.ReadError(f"the connection broke while we waited for {awaited}: {reason(error)}") from error
    await trio.lowlevel.cancel_shielded_checkpoint()
    return data


async def send_all(
    sock: socket.socket, data: bytes, *, silence: float = math.inf, is_answered: Callable[[], bool]
) -> bool:
    """Write all of `data`, or stop early because the peer has answered; tell which (True: all).

    Args:
        silence: Longest wait for the peer to take anything, in seconds.
        is_answered: Asked whenever the socket is full: has the peer sent something meanwhile?

    Raises:
        httpx.WriteTimeout: If the peer took nothing in time.
        httpx.WriteError: If the connection broke.

    Cancellation: some of it may have been sent; the connection is of no further use.
    """
    view = memoryview(data)
    try:
        while view:
            try:
                view = view[sock.send(view) :]
            except _NOT_NOW as full:
                if is_answered():
                    return False
                waiting = trio.lowlevel.wait_readable if isinstance(full, ssl.SSLWantReadError) else _wait_either
                await _wait(waiting, sock, trio.current_time() + silence)
    except trio.TooSlowError:
        raise httpx.WriteTimeout("the peer did not take the request in time") from None
    except OSError as error:
        raise httpx.WriteError(f"the connection broke while the request was sent: {reason(error)}") from error
    return True


async def shake_hands(sock: ssl.SSLSocket) -> None:
    """Do the TLS handshake of a socket that is connected.

    Raises:
        ssl.SSLError: If either side refuses, or the peer hangs up.
        OSError: If the connection breaks.
    """
    await _persist(sock, sock.do_handshake, trio.lowlevel.wait_readable, math.inf)


def reason(error: OSError) -> str:
    """Say in a few words what an `OSError` means; of a failed `connect`, what each address met with."""
    if isinstance(error.__cause__, ExceptionGroup):
        attempts = [each.errno for each in error.__cause__.exceptions if isinstance(each, OSError)]
        return ", ".join(dict.fromkeys(os.strerror(number) for number in attempts if number))
    return error.strerror or type(error).__name__


def _read_or_none(sock: socket.socket, at_most: int) -> bytes | None:
    try:
        return _read(sock, at_most)
    except _NOT_NOW:
        return None


def _read(sock: socket.socket, at_most: int) -> bytes:
    return _read_records(sock, at_most) if isinstance(sock, ssl.SSLSocket) else sock.recv(at_most)


def _read_records(sock: ssl.SSLSocket, at_most: int) -> bytes:
    """Gather the TLS records that are there into one piece; an error or the end shows at the next call again."""
    first = sock.recv(min(at_most, _RECORD_BYTES))
    if not first:
        return first
    records, room = [first], at_most - len(first)
    with contextlib.suppress(OSError):
        while room and (record := sock.recv(min(room, _RECORD_BYTES))):
            records.append(record)
            room -= len(record)
    return b"".join(records)


async def _persist(
    sock: socket.socket, attempt: Callable[[], T], default: Callable[[socket.socket], Awaitable[None]], deadline: float
) -> T:
    """Repeat a non-blocking call, waiting for what it wants, until it succeeds or `deadline` has passed."""
    while True:
        waiting = default
        try:
            return attempt()
        except ssl.SSLWantWriteError:
            waiting = trio.lowlevel.wait_writable
        except _NOT_NOW:
            pass
        await _wait(waiting, sock, deadline)


async def _wait(waiting: Callable[[socket.socket], Awaitable[None]], sock: socket.socket, deadline: float) -> None:
    if deadline == math.inf:  # a scope costs more than the wait itself
        await waiting(sock)
        return
    with trio.CancelScope(deadline=deadline) as scope:
        await waiting(sock)
    if scope.cancelled_caught:
        raise trio.TooSlowError


async def _wait_either(sock: socket.socket) -> None:
    """Wait until the socket can be read or written; only a full socket comes here, so the tasks cost little."""

    async def wait(waiting: Callable[[socket.socket], Awaitable[None]]) -> None:
        await waiting(sock)
        nursery.cancel_scope.cancel(reason="the socket is ready")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, trio.lowlevel.wait_readable)
        nursery.start_soon(wait, trio.lowlevel.wait_writable)
