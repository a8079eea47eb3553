"""Response bodies: whole, cut, too long, abandoned, and taken from the socket by somebody else."""

from __future__ import annotations

import httpx
import pytest
import trio
import trio.testing

from tests.wire.test_transport_peer import OK, Line, answering, answering_once, books, fetch, open_sockets, serving
from trio_norman._wire._bodies import LengthBody
from trio_norman._wire._transport import TrioTransport

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
LONG = 3_000_000


def with_length(body: bytes, *, more: int = 0) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body) + more, body)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [b"200", b"204", b"304"])
async def test_answers_without_a_body(method: str, status: bytes) -> None:
    length = b"0" if (method, status) == ("GET", b"200") else b"17"
    answer = b"HTTP/1.1 " + status + b" X\r\nContent-Length: " + length + b"\r\n\r\n"
    async with serving(answering(answer)) as peer, TrioTransport() as transport:
        for _ in range(3):
            response = await fetch(transport, peer.url(), method)
            assert (response.content, response.headers["content-length"]) == (b"", length.decode())
        assert peer.accepted == 1


async def test_an_answer_without_a_body_needs_no_closing() -> None:
    async with serving(answering(with_length(b""))) as peer, TrioTransport() as transport:
        await transport.handle_async_request(httpx.Request("GET", peer.url()))
        assert books(transport) == (1, 1, 0)


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [
        (with_length(b"x" * LONG), True),
        (CHUNKED + b"2DC6C0\r\n" + b"x" * LONG + b"\r\n0\r\n\r\n", True),
        (
            CHUNKED
            + b"".join(b"%x;ext\r\n%s\r\n" % (n, b"x" * n) for n in [300] * (LONG // 300))
            + b"0\r\nT: x\r\n\r\n",
            True,
        ),
        (UNTIL_CLOSE + b"x" * LONG, False),
    ],
)
async def test_long_bodies_come_whole(answer: bytes, is_kept: bool) -> None:
    script = answering(answer) if is_kept else answering_once(answer)
    async with serving(script) as peer, TrioTransport() as transport:
        for _ in range(2):
            content = (await fetch(transport, peer.url())).content
            assert content.strip(b"x") == b""
            assert len(content) == LONG
        assert peer.accepted == (1 if is_kept else 2)


@pytest.mark.parametrize("body", [b"5\r\nhello\r\n0\r\n\r\n", b"hello"])
async def test_a_body_that_comes_after_its_head_and_stays_at_its_end(body: bytes) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(CHUNKED if len(body) > 5 else UNTIL_CLOSE)
        await trio.testing.wait_all_tasks_blocked()
        await line.send(body)

    async with serving(script) as peer, TrioTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        for expected in ([b"hello"], [], []):
            assert [piece async for piece in response.stream] == expected
        await response.aclose()
        await peer.all_gone()


@pytest.mark.parametrize("extra", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
@pytest.mark.parametrize("answer", [OK, with_length(b""), CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])
async def test_more_bytes_than_promised_end_the_connection(answer: bytes, extra: bytes) -> None:
    async with serving(answering(answer + extra)) as peer, TrioTransport() as transport:
        for _ in range(3):
            assert (await fetch(transport, peer.url())).content in {b"hello", b""}
        assert books(transport) == (0, 0, 0)
        assert peer.accepted == 3


async def test_endless_bytes_after_the_body_are_not_drained() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(with_length(b"x" * LONG))
        while True:
            await line.send(b"y" * 65536)

    async with serving(script) as peer, TrioTransport() as transport:
        assert (await fetch(transport, peer.url())).content == b"x" * LONG
        await peer.all_gone()


async def test_bytes_that_come_while_nobody_asks_end_the_connection() -> None:
    more = trio.Event()
    sent = trio.Event()

    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK)
        await more.wait()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        sent.set()
        while await line.request():
            await line.send(OK)

    async with serving(script) as peer, TrioTransport() as transport:
        await fetch(transport, peer.url())
        assert books(transport) == (1, 1, 0)
        more.set()
        await sent.wait()
        assert (await fetch(transport, peer.url())).content == b"hello"
        assert peer.accepted == 2


@pytest.mark.parametrize(
    "answer",
    [
        with_length(b"hel", more=2),
        with_length(b"", more=10**18),
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"F" * 21 + b"\r\nhello",
        CHUNKED + b"5;" + b"x" * 300_000 + b"\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"0\r\n" + b"T: x\r\n" * 60_000,
        CHUNKED + b"0\r\nno colon\r\n\r\n",
    ],
)
async def test_a_cut_or_broken_body_is_an_error(answer: bytes) -> None:
    async with serving(answering_once(answer)) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.RemoteProtocolError):
            await fetch(transport, peer.url())
        assert books(transport) == (0, 0, 0)
        await peer.all_gone()


@pytest.mark.parametrize("start", [with_length(b"hel", more=2), CHUNKED + b"3\r\nhel\r\n", UNTIL_CLOSE + b"hel"])
async def test_a_reset_inside_the_body_is_an_error_after_what_came(start: bytes) -> None:
    taken = trio.Event()

    async def script(line: Line) -> None:
        await line.request()
        await line.send(start)
        await taken.wait()
        await line.reset()

    async with serving(script) as peer, TrioTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = aiter(response.stream)
        assert await anext(pieces) == b"hel"
        taken.set()
        with pytest.raises(httpx.ReadError, match="the connection broke while we waited for the rest of the body"):
            await anext(pieces)
        assert books(transport) == (0, 0, 0)


@pytest.mark.parametrize("start", [with_length(b"h", more=9), CHUNKED + b"1\r\nh\r\n", UNTIL_CLOSE + b"h"])
async def test_a_silent_body_runs_into_the_read_timeout(start: bytes) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(start)
        await line.request()

    async with serving(script) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.ReadTimeout, match="the rest of the body did not come in time"):
            await fetch(transport, peer.url(), extensions={"timeout": {"read": 0.1}})
        assert books(transport) == (0, 0, 0)
        await peer.all_gone()


@pytest.mark.parametrize("start", [with_length(b"h", more=9), CHUNKED + b"1\r\nh\r\n", UNTIL_CLOSE + b"h"])
async def test_closing_early_closes_the_connection_without_waiting(start: bytes) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(start)
        await line.request()

    async with serving(script) as peer, TrioTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        assert await anext(aiter(response.stream)) == b"h"
        with trio.CancelScope() as scope:
            scope.cancel()
            await response.aclose()
        assert not scope.cancelled_caught
        assert books(transport) == (0, 0, 0)
        await peer.all_gone()
        with pytest.raises(trio.ClosedResourceError):
            await anext(aiter(response.stream))


async def test_a_body_closed_by_one_task_ends_the_wait_of_another() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(with_length(b"", more=1))
        await line.request()

    async def read(response: httpx.Response) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await response.aread()

    before = open_sockets()
    async with serving(script) as peer, TrioTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, response)
            await trio.testing.wait_all_tasks_blocked()
            await response.aclose()
        await peer.all_gone()
    assert open_sockets() == before


async def test_a_pump_may_take_the_bytes_from_the_socket() -> None:
    content = bytes(range(256)) * 4000

    async with serving(answering(with_length(content))) as peer, TrioTransport() as transport:
        for _ in range(2):
            response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
            body = response.extensions["trio_norman.body"]
            assert isinstance(body, LengthBody)
            taken = body.leading
            while len(taken) < len(body.leading) + body.remaining:
                await trio.lowlevel.wait_readable(body.socket)
                taken += body.socket.recv(len(body.leading) + body.remaining - len(taken))
            body.finished()
            assert taken == content
            assert books(transport) == (1, 1, 0)
            with pytest.raises(trio.ClosedResourceError):
                body.socket  # noqa: B018
            await response.aclose()
        assert peer.accepted == 1


async def test_a_pump_that_gives_up_closes_the_connection() -> None:
    async with serving(answering(with_length(b"x" * LONG))) as peer, TrioTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        assert response.extensions["trio_norman.body"].remaining
        await response.aclose()
        assert books(transport) == (0, 0, 0)
        await peer.all_gone()


async def test_there_is_nothing_to_pump_in_a_body_that_is_here() -> None:
    async with serving(answering(OK)) as peer, TrioTransport() as transport:
        await fetch(transport, peer.url())  # so that the answer is sure to come in one piece
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        assert "trio_norman.body" not in response.extensions
        assert await response.aread() == b"hello"
