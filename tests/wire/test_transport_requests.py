"""Requests: bodies on their way out, early answers, and connections that died while they were idle."""

from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

import attrs
import httpx
import pytest
import trio
import trio.testing

from tests.wire.test_transport_peer import OK, Line, Script, answering, books, fetch, serving
from trio_norman._wire._transport import TrioTransport

SECRET = "0123456789" * 2
REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"


@attrs.define
class Pieces(httpx.AsyncByteStream):
    """A request body of which it is known how much was asked for."""

    count: int
    size: int = 65536
    last: bytes = b""
    given: int = 0

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.given == self.count:
            last, self.last = self.last, b""
            if last:
                return last
            raise StopAsyncIteration
        self.given += 1
        return b"x" * self.size


async def test_a_stream_is_sent_in_chunks() -> None:
    seen: list[bytes] = []

    async def script(line: Line) -> None:
        seen.append(await line.until(b"0\r\n\r\n"))
        await line.send(OK)
        await line.request()

    async with serving(script) as peer, httpx.AsyncClient(transport=TrioTransport()) as client:
        response = await client.post(peer.url(), content=Pieces(2, size=3))
        assert response.content == b"hello"
    assert b"Transfer-Encoding: chunked" in seen[0]
    assert seen[0].endswith(b"\r\n\r\n3\r\nxxx\r\n3\r\nxxx\r\n0\r\n\r\n")


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
async def test_bytes_are_sent_whole_whatever_their_length(size: int) -> None:
    received: list[int] = []

    async def script(line: Line) -> None:
        while (request := await line.request()) is not None:
            received.append(len(request.partition(b"\r\n\r\n")[2]))
            await line.send(OK)

    async with serving(script) as peer, TrioTransport() as transport:
        for _ in range(2):
            await fetch(transport, peer.url(), "PUT", content=b"x" * size)
        assert received == [size, size]
        assert peer.accepted == 1


async def refuse_unread(line: Line) -> None:
    """Answer at the head, read nothing more, and stay."""
    await line.until_head()
    await line.send(REFUSAL)
    await trio.sleep_forever()


async def refuse_reading(line: Line) -> None:
    """Answer at the head and read on, however much comes."""
    await line.until_head()
    await line.send(REFUSAL)
    while await line.stream.receive_some():
        pass


async def refuse_and_hang_up(line: Line) -> None:
    await line.until_head()
    await line.send(REFUSAL)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_interim_response_does_not_end_the_upload(is_stream: bool) -> None:
    size = 100 * 65536

    async def script(line: Line) -> None:
        while await line.stream.receive_some(100):
            await line.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 1")
            left = size - 1_000_000
            while left > 0:
                left -= len(await line.stream.receive_some())
            await line.send(b"02 Processing\r\n\r\n")
            await line.until(b"x" * 1000 + b"end")
            await line.send(OK)

    stream = Pieces(100, last=b"end") if is_stream else httpx.ByteStream(b"x" * size + b"end")
    async with serving(script) as peer, TrioTransport() as transport:
        headers = {"Host": "x", "Content-Length": str(size + 3), "Expect": "100-continue"}
        response = await fetch(transport, peer.url(), "POST", stream=stream, headers=headers)
        assert response.content == b"hello"
        assert books(transport) == (1, 1, 0)


@pytest.mark.parametrize("script", [refuse_unread, refuse_reading, refuse_and_hang_up])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_early_answer_ends_the_upload(script: Script, is_stream: bool) -> None:
    pieces = Pieces(2000)
    content = pieces if is_stream else b"x" * 50_000_000
    async with serving(script) as peer, TrioTransport() as transport:
        response = await fetch(transport, peer.url(), "POST", content=content)
        assert (response.status_code, response.content) == (413, b"big")
        assert books(transport) == (0, 0, 0)
        assert pieces.given < 2000
        if script is not refuse_unread:
            await peer.all_gone()


async def test_a_peer_that_stops_reading_runs_into_the_write_timeout() -> None:
    async def script(line: Line) -> None:
        await line.until_head()
        await trio.sleep_forever()

    async with serving(script) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.WriteTimeout):
            await fetch(transport, peer.url(), "POST", content=Pieces(2000), extensions={"timeout": {"write": 0.01}})
        assert books(transport) == (0, 0, 0)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_peer_that_resets_without_an_answer_breaks_the_upload(is_stream: bool) -> None:
    async def script(line: Line) -> None:
        await line.until_head()
        await trio.testing.wait_all_tasks_blocked()
        await line.reset()

    content = Pieces(2000) if is_stream else b"x" * 50_000_000
    async with serving(script) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.NetworkError, match="the connection broke"):
            await fetch(transport, peer.url(), "POST", content=content)
        assert books(transport) == (0, 0, 0)


async def test_a_peer_that_resets_between_two_pieces_breaks_the_upload() -> None:
    async def script(line: Line) -> None:
        await line.until(b"x")
        await line.reset()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"x"
        await peer.all_gone()
        yield b"y"

    async with serving(script) as peer, TrioTransport() as transport, aclosing(pieces()) as content:
        with pytest.raises(httpx.ReadError, match="the connection broke before an answer"):
            await fetch(transport, peer.url(), "POST", content=content, headers={"Content-Length": "2"})
        assert books(transport) == (0, 0, 0)


async def test_a_peer_that_ends_its_side_without_an_answer_ends_the_upload() -> None:
    async def script(line: Line) -> None:
        await line.until_head()
        assert isinstance(line.stream, trio.SocketStream)
        await line.stream.send_eof()
        while await line.stream.receive_some():
            pass

    pieces = Pieces(10_000)
    async with serving(script) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.RemoteProtocolError, match="closed the connection without an answer"):
            await fetch(transport, peer.url(), "POST", content=pieces)
        assert pieces.given < 10_000
        await peer.all_gone()


async def test_the_error_of_a_body_is_the_callers() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("own")

    async with serving(answering(OK)) as peer, TrioTransport() as transport:
        with pytest.raises(KeyError, match="own"):
            await fetch(transport, peer.url(), "POST", content=broken())
        await peer.all_gone()
        assert books(transport) == (0, 0, 0)


@pytest.mark.parametrize(
    ("method", "content", "headers"),
    [
        ("GET", None, {"X": f"{SECRET}\n"}),
        ("GET", None, {f"X {SECRET}": "y"}),
        ("GET", None, {"Host": f"{SECRET}\x00"}),
        ("GET Ä", None, {}),
        ("CONNECT", None, {}),
        ("POST", SECRET.encode(), {"Content-Length": "7"}),
        ("POST", SECRET.encode(), {"Content-Length": "70"}),
        ("POST", None, {"Content-Length": "7, 8"}),
    ],
)
async def test_a_request_that_is_not_http_is_never_quoted(
    method: str, content: bytes | None, headers: dict[str, str]
) -> None:
    async with serving(answering(OK)) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await fetch(transport, peer.url(f"/?{SECRET}"), method, content=content, headers=headers)
        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in "".join(traceback.format_exception_only(error))
            error = error.__context__
        assert books(transport) == (0, 0, 0)


async def test_a_synchronous_body_is_refused() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"

    async with serving(answering(OK)) as peer, TrioTransport() as transport:
        with pytest.raises(TypeError, match="synchronously"):
            await fetch(transport, peer.url(), "POST", content=pieces())


def dying(*, reset: bool, at_once: bool) -> Script:
    """Serve one request on the first connection, which then dies: at once, or when the next request comes."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK)
        if line.number == 1:
            if not at_once:
                await line.request()
            if reset:
                await line.reset()
            return
        await answering(OK)(line)

    return script


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_a_connection_that_died_idle_is_replaced_unseen(method: str, reset: bool) -> None:
    async with serving(dying(reset=reset, at_once=False)) as peer, TrioTransport() as transport:
        for _ in range(3):
            assert (await fetch(transport, peer.url(), method)).content == b"hello"
        assert peer.accepted == 2
        assert books(transport) == (1, 1, 0)


@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_known_to_be_dead_is_not_used(reset: bool) -> None:
    async with serving(dying(reset=reset, at_once=True)) as peer, TrioTransport() as transport:
        await fetch(transport, peer.url())
        await peer.all_gone()
        assert (await fetch(transport, peer.url(), "POST", content=b"once")).content == b"hello"
        assert peer.accepted == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_request_that_may_act_twice_is_not_repeated(method: str) -> None:
    async with serving(dying(reset=False, at_once=False)) as peer, TrioTransport() as transport:
        await fetch(transport, peer.url())
        with pytest.raises(httpx.RemoteProtocolError, match="closed the connection without an answer"):
            await fetch(transport, peer.url(), method, content=b"once")
        assert peer.accepted == 1


async def test_a_body_that_is_spent_is_not_sent_again() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK)
        await line.until(b"0\r\n\r\n")

    async with serving(script) as peer, TrioTransport() as transport:
        await fetch(transport, peer.url())
        with pytest.raises(httpx.RemoteProtocolError):
            await fetch(transport, peer.url(), "PUT", content=Pieces(2, size=3))
        assert peer.accepted == 1


async def test_a_fresh_connection_is_not_tried_twice() -> None:
    async def script(line: Line) -> None:
        await line.request()

    async with serving(script) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.RemoteProtocolError, match="closed the connection without an answer"):
            await fetch(transport, peer.url())
        assert peer.accepted == 1


async def test_an_answer_that_broke_off_is_not_asked_for_again() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK)
        await line.request()
        await line.send(b"HTTP/1.1 2")

    async with serving(script) as peer, TrioTransport() as transport:
        await fetch(transport, peer.url())
        with pytest.raises(httpx.RemoteProtocolError, match="inside the response head"):
            await fetch(transport, peer.url())
        assert peer.accepted == 1
