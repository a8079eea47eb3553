"""Small peers for rows that need one of their own: what they say to each connection is a function of the test's."""

from __future__ import annotations

import functools
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

Behaviour = Callable[[trio.SocketStream, int], Awaitable[None]]


@attrs.define(eq=False)
class Peer:
    """Listens at `port` of `host`; `connections` counts those that came."""

    host: str
    port: int
    connections: int = 0

    @property
    def root(self) -> str:
        """The root of its URLs, without TLS."""
        return f"http://{self.host}:{self.port}"


@asynccontextmanager
async def open_peer(
    behave: Behaviour, *, host: str = "127.0.0.1", listening: trio.socket.SocketType | None = None
) -> AsyncIterator[Peer]:
    """Serve every connection by `behave`, which is given the stream and how many connections came before.

    Args:
        behave: Serves one connection, which is closed after it.
        host: Where to listen.
        listening: Listen on this socket, which is bound already.
    """
    sock = listening or trio.socket.socket(socket.AF_INET)
    if listening is None:
        await sock.bind((host, 0))
    sock.listen(64)
    peer = Peer(host, sock.getsockname()[1])

    async def serve(stream: trio.SocketStream) -> None:
        number, peer.connections = peer.connections, peer.connections + 1
        async with stream:
            try:
                await behave(stream, number)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the client has left, or the peer itself has reset the connection

    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(trio.serve_listeners, serve, [trio.SocketListener(sock)]))
        yield peer
        nursery.cancel_scope.cancel()


async def receive_head(stream: trio.abc.ReceiveStream) -> bytes:
    """Receive one request, which has no body; empty at the end of the stream."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = await stream.receive_some()
        if not piece:
            return b""
        head += piece
    return head


async def until_left(stream: trio.abc.ReceiveStream) -> None:
    """Wait until the client closes the connection."""
    while await stream.receive_some():
        pass


def saying(answer: bytes) -> Behaviour:
    """Answer the first request of each connection with these bytes, and wait for the client to leave."""

    async def behave(stream: trio.SocketStream, number: int) -> None:
        if await receive_head(stream):
            await stream.send_all(answer)
            await until_left(stream)

    return behave


def reset(stream: trio.SocketStream) -> None:
    """Close a connection with a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


@contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """Give an address whose SYNs vanish: its queue of connections is full, and nobody ever accepts one (Linux)."""
    with socket.socket() as listening:
        listening.bind((host, port))
        listening.listen(0)
        address = listening.getsockname()
        callers = [socket.socket() for _ in range(4)]
        try:
            for caller in callers:
                caller.setblocking(False)
                caller.connect_ex(address)
            yield address
        finally:
            for caller in callers:
                caller.close()


async def receive_upload(stream: trio.abc.ReceiveStream, at_most: float = math.inf) -> tuple[bytes, int]:
    """Receive one request and, of its body, all or at least `at_most` bytes; return them and the announced length."""
    received = b""
    while b"\r\n\r\n" not in received and (piece := await stream.receive_some()):
        received += piece
    head, _, first = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    body = bytearray(first)
    while len(body) < min(length, at_most) and (piece := await stream.receive_some()):
        body += piece
    return bytes(body), length


async def small_listener(host: str = "127.0.0.1") -> trio.socket.SocketType:
    """Give a bound socket whose connections hold little, so that a sender soon waits for who does not read."""
    sock = trio.socket.socket(socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    await sock.bind((host, 0))
    return sock
