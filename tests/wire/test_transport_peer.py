"""A scripted server for the tests of the transport, on real sockets, and plain exchanges with it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from trio_norman._wire._transport import TrioTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LONGEST_TEST = 10.0  # seconds


@attrs.define
class Line:
    """The server's end of one connection."""

    stream: trio.abc.Stream
    number: int
    _received: bytes = b""

    async def request(self) -> bytes | None:
        """Receive one request, its head and as much body as its Content-Length says; None when the client is gone."""
        while b"\r\n\r\n" not in self._received:
            if not await self._more():
                return None
        head, _, rest = self._received.partition(b"\r\n\r\n")
        length = 0
        for field in head.lower().split(b"\r\n"):
            if field.startswith(b"content-length:"):
                length = int(field.split(b":")[1])
        while len(rest) < length and await self._more():
            rest = self._received.partition(b"\r\n\r\n")[2]
        self._received = rest[length:]
        return head + b"\r\n\r\n" + rest[:length]

    async def until_head(self) -> None:
        """Receive until the head of a request is there, and forget all of it."""
        while b"\r\n\r\n" not in self._received:
            assert await self._more()
        self._received = b""

    async def until(self, end: bytes) -> bytes:
        """Receive until the bytes so far end with `end`."""
        while not self._received.endswith(end):
            assert await self._more()
        received, self._received = self._received, b""
        return received

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def reset(self) -> None:
        """Close with a reset rather than an end of stream."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.stream.socket.close()
        await trio.lowlevel.checkpoint()

    async def _more(self) -> bool:
        data = await self.stream.receive_some(65536)
        self._received += data
        return bool(data)


Script = Callable[[Line], Awaitable[None]]


@attrs.define
class Peer:
    """A server, and what it has seen."""

    port: int = 0
    scheme: str = "http"
    accepted: int = 0
    open: int = 0
    _emptied: trio.Event = attrs.field(factory=trio.Event)

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    async def all_gone(self) -> None:
        """Wait until every connection is closed on the client's side."""
        while self.open:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def joined(self) -> int:
        self.accepted += 1
        self.open += 1
        return self.accepted

    def left(self) -> None:
        self.open -= 1
        self._emptied.set()


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Serve `script` to every connection while the block lasts; the script's end closes its connection."""
    peer = Peer(scheme="https" if tls else "http")

    async def serve(stream: trio.SocketStream) -> None:
        line = Line(trio.SSLStream(stream, tls, server_side=True) if tls else stream, peer.joined())
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            async with stream:
                await script(line)
        peer.left()

    with trio.fail_after(LONGEST_TEST):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            peer.port = listeners[0].socket.getsockname()[1]
            await nursery.start(trio.serve_listeners, serve, listeners)
            yield peer
            nursery.cancel_scope.cancel()


def answering(*answers: bytes) -> Script:
    """Give each request on a connection the next answer, the last one again and again."""

    async def script(line: Line) -> None:
        number = 0
        while await line.request() is not None:
            await line.send(answers[min(number, len(answers) - 1)])
            number += 1

    return script


def answering_once(answer: bytes) -> Script:
    """Answer the first request and close."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer)

    return script


async def fetch(transport: TrioTransport, url: str, method: str = "GET", **request: object) -> httpx.Response:
    """Send one request to the bare transport and read the whole answer."""
    response = await transport.handle_async_request(httpx.Request(method, url, **request))  # type: ignore[arg-type]
    try:
        await response.aread()
    finally:
        await response.aclose()
    return response


def books(transport: TrioTransport) -> tuple[int, int, int]:
    """Slots taken, connections idle, requests waiting."""
    ledger = transport._pool.ledger
    return ledger.open, ledger.idle, ledger.waiting


def open_sockets() -> int:
    """Count the sockets of this process."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


async def test_a_connection_serves_one_request_after_another() -> None:
    async with serving(answering(OK)) as peer, httpx.AsyncClient(transport=TrioTransport()) as client:
        for _ in range(5):
            response = await client.get(peer.url())
            assert (response.status_code, response.content) == (200, b"hello")
        assert peer.accepted == 1


async def test_head_and_body_of_the_response_come_as_they_were_sent() -> None:
    answer = b"HTTP/1.1 418 Short\r\nX-Tea: \xe9\r\nx-tea: 2\r\nContent-Length: 3\r\n\r\npot"
    async with serving(answering(answer)) as peer, TrioTransport() as transport:
        response = await fetch(transport, peer.url())
    assert response.headers.raw == [(b"X-Tea", b"\xe9"), (b"x-tea", b"2"), (b"Content-Length", b"3")]
    assert response.extensions["http_version"] == b"HTTP/1.1"
    assert response.extensions["reason_phrase"] == b"Short"
    assert (response.status_code, response.content) == (418, b"pot")


async def test_the_request_goes_out_as_httpx_built_it() -> None:
    seen: list[bytes | None] = []

    async def script(line: Line) -> None:
        seen.append(await line.request())
        await line.send(OK)

    async with serving(script) as peer, httpx.AsyncClient(transport=TrioTransport(), headers={}) as client:
        await client.post(peer.url("/a%20b?c=d"), content=b"body", headers={"X-Own": "1"})
    assert seen[0] is not None
    assert seen[0].startswith(b"POST /a%20b?c=d HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Own: 1\r\n" in seen[0]
    assert seen[0].endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize("expiry", [0.0, 30.0])
async def test_connections_are_kept_as_long_as_told(expiry: float) -> None:
    async with serving(answering(OK)) as peer, TrioTransport(keepalive_expiry=expiry) as transport:
        await fetch(transport, peer.url())
        assert books(transport) == ((1, 1, 0) if expiry else (0, 0, 0))
        await transport.aclose()
        await peer.all_gone()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_a_peer_that_will_close_is_not_asked_again(answer: bytes) -> None:
    async with serving(answering(answer)) as peer, TrioTransport() as transport:
        assert (await fetch(transport, peer.url())).content == b"hello"
        assert books(transport) == (0, 0, 0)
        await peer.all_gone()


async def test_our_own_wish_to_close_is_kept() -> None:
    async with serving(answering(OK)) as peer, TrioTransport() as transport:
        await fetch(transport, peer.url(), headers={"Connection": "close"})
        await peer.all_gone()
        assert books(transport) == (0, 0, 0)


async def test_a_closed_transport_refuses_and_lets_responses_end() -> None:
    async with serving(answering(OK)) as peer, TrioTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        await transport.aclose()
        assert await response.aread() == b"hello"
        await peer.all_gone()
        with pytest.raises(trio.ClosedResourceError):
            await fetch(transport, peer.url())
        assert repr(transport) == "<TrioTransport: 0 open, 0 of them idle, 0 requests waiting>"


@pytest.mark.parametrize("url", ["ftp://host/", "http:///path", "/path"])
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await fetch(TrioTransport(), url)


@pytest.mark.parametrize(
    "limits", [{"max_connections": 0}, {"keepalive_expiry": -1}, {"head_limit": 0}, {"max_head_bytes": 0}]
)
def test_limits_without_room_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="room"):
        TrioTransport(**limits)  # type: ignore[arg-type]
