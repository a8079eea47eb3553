"""Response heads: what is understood, what is refused, and what each may cost."""

from __future__ import annotations

import contextlib
import traceback

import httpx
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import measured
from tests.wire.test_transport_peer import Line, answering, answering_once, books, fetch, serving
from trio_norman._wire._transport import TrioTransport

SECRET = "0123456789" * 2
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def refusal(answer: bytes, **limits: float) -> str:
    """Return the text with which an answer is refused, once it is certain that nothing is left open."""
    transport = TrioTransport(**limits)  # type: ignore[arg-type]
    async with serving(answering_once(answer)) as peer:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await fetch(transport, peer.url(f"/?{SECRET}"))
        assert books(transport) == (0, 0, 0)
        await peer.all_gone()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        b"garbage, not HTTP",
        b"<html>HTTP/0.9</html>\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20x Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nspace : before colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: first\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nLF: only\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nCR: on\rly\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNUL: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nEscape: \x1b[2J\r\n\r\n",
        b"HTTP/1.1 200 O\x07K\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(head: bytes) -> None:
    await refusal(head)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: -1",
        b"Content-Length: +5",
        b"Content-Length: 1e30",
        b"Content-Length: 0x10",
        b"Content-Length: 5, 6",
        b"Content-Length:",
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
    ],
)
async def test_a_body_of_doubtful_length_is_refused(fields: bytes) -> None:
    await refusal(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\nhello world")


async def test_http_1_0_cannot_be_chunked() -> None:
    await refusal(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


async def test_a_length_said_twice_alike_is_one_length() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello"
    async with serving(answering(answer)) as peer, TrioTransport() as transport:
        assert (await fetch(transport, peer.url())).content == b"hello"


async def test_the_peer_is_never_quoted() -> None:
    shown = await refusal(b"HTTP/1.1 200 OK\r\nSet-Cookie; session=key\r\n\r\n")
    assert shown == "the response head is not valid HTTP: illegal header line"


@pytest.mark.rows("SEC-16")
@pytest.mark.parametrize(
    ("size", "excess", "is_accepted"), [(65536, 0, True), (65536, 1, False), (100, 0, True), (100, 1, False)]
)
async def test_the_largest_head(size: int, excess: int, is_accepted: bool) -> None:
    """n bytes are read, n + 1 are a RemoteProtocolError."""
    start, end = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ", b"\r\n\r\n"
    head = start + b"x" * (size + excess - len(start + end)) + end
    if is_accepted:
        async with serving(answering(head)) as peer, TrioTransport(max_head_bytes=size) as transport:
            await fetch(transport, peer.url())
    else:
        assert await refusal(head, max_head_bytes=size) == f"response head larger than {size} bytes"


async def test_an_endless_head_is_cut_off() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await line.send(b"X: " + b"x" * 60000 + b"\r\n")

    async with serving(script) as peer, TrioTransport() as transport:
        with pytest.raises(httpx.RemoteProtocolError, match="response head larger than 65536 bytes"):
            await fetch(transport, peer.url())
        await peer.all_gone()


@pytest.mark.parametrize(("count", "is_accepted"), [(256, True), (257, False)])
async def test_the_most_header_fields(count: int, is_accepted: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n"
    if is_accepted:
        async with serving(answering(head)) as peer, TrioTransport() as transport:
            assert len((await fetch(transport, peer.url())).headers.raw) == count
    else:
        assert await refusal(head) == "response head has more than 256 fields"


@pytest.mark.parametrize(("count", "is_accepted"), [(16, True), (17, False), (1000, False)])
async def test_the_most_interim_responses(count: int, is_accepted: bool) -> None:
    answer = INTERIM * count + EMPTY
    if is_accepted:
        async with serving(answering(answer)) as peer, TrioTransport() as transport:
            assert (await fetch(transport, peer.url())).status_code == 200
    else:
        assert await refusal(answer) == "more than 16 interim responses"


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX", INTERIM])
async def test_a_peer_that_hangs_up_before_the_end_of_the_head(start: bytes) -> None:
    assert "closed the connection" in await refusal(start)


@pytest.mark.parametrize("drip", [b"X: y\r\n", INTERIM])
async def test_a_dripping_head_is_not_waited_for_longer(drip: bytes) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\n" if drip.startswith(b"X") else b"")
        while True:
            await trio.sleep(0.002)
            await line.send(drip)

    async with serving(script) as peer, TrioTransport(head_limit=0.03, max_interim_responses=10**6) as transport:
        start = trio.current_time()
        with pytest.raises(httpx.ReadTimeout, match="the response head did not come in time"):
            await fetch(transport, peer.url())
        assert 0.03 <= trio.current_time() - start < 1
        assert books(transport) == (0, 0, 0)
        await peer.all_gone()


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: r\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nhello world",
]


@pytest.mark.fuzz
@measured
@given(answer=st.sampled_from(ANSWERS), data=st.data())
def test_however_the_answer_is_cut_it_is_the_same(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=12)))

    async def script(line: Line) -> None:
        await line.request()
        for start, stop in zip([0, *cuts], [*cuts, len(answer)], strict=True):
            await line.send(answer[start:stop])
            await trio.testing.wait_all_tasks_blocked()

    async def main() -> None:
        async with serving(script) as peer, TrioTransport() as transport:
            assert (await fetch(transport, peer.url())).content == b"hello world"

    trio.run(main)


@pytest.mark.fuzz
@measured
@given(answer=st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 " + tail))
def test_no_answer_whatever_brings_another_error(answer: bytes) -> None:
    async def main() -> None:
        async with serving(answering_once(answer)) as peer, TrioTransport() as transport:
            with contextlib.suppress(httpx.RemoteProtocolError):
                await fetch(transport, peer.url())
            await transport.aclose()
            assert books(transport) == (0, 0, 0)
            await peer.all_gone()

    trio.run(main)
