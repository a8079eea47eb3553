"""How bodies say where they end: in chunks, or by closing. Further rows B."""

from __future__ import annotations

import hashlib

import pytest
import trio

from tests.faults.peers import open_peer, receive_head
from tests.faults.rows import Attempt, MiB, Row
from tests.faults.trees import bytes_of
from trio_norman import Source, errors

SIZE = 3 * MiB
KINDS = ["size", "digits", "crlf"]


async def announced_as(row: Row, announced: int, fault: str, size: int) -> Attempt:
    """Download an object that was announced with another size, and of which the server announces no digest."""
    fault = f"{fault}&nodigest=1"
    row.contents["f"] = row.emulator.blob_content(size, name="f")
    return await row.download_all([Source.from_url(row.url(fault, size, name="f"), "f", size_bytes=announced)])


@pytest.mark.parametrize("way", ["chunked=1", "close=1", "http10=1"])
@pytest.mark.parametrize(("size", "announced"), [(5, 0), (SIZE, 0), (5, 3), (SIZE, MiB), (SIZE, SIZE - 1)])
@pytest.mark.rows("B-04", "B-10")
async def test_B_03_a_body_that_goes_on_beyond_the_announced_size(
    row: Row, way: str, size: int, announced: int
) -> None:
    """ChecksumMismatchError of the size after a second try: it is another object. D0.

    That it goes on is enough: the rest is not received. B-04 is about what the server itself has promised.
    """
    attempt = await announced_as(row, announced, way, size)
    error = row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0")
    assert (error.algorithm, error.announced, error.computed) == ("size", str(announced), f"{announced + 1} or more")
    assert [request.status for request in attempt.requests] == [200, 200]
    assert attempt.result.received_bytes == 2 * announced


async def test_B_03_a_body_that_goes_on_after_what_a_digest_proves(row: Row) -> None:
    """Success: the announced size and digest are those of what came first. D2."""
    content = bytes_of(row.emulator.blob_content(SIZE, name="f"))[:MiB]
    row.contents["f"] = content
    digests = {"sha256": hashlib.sha256(content).hexdigest()}
    url = row.url("chunked=1&nodigest=1", SIZE, name="f")
    attempt = await row.download_all([Source.from_url(url, "f", size_bytes=MiB, digests=digests)])
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.verified_by == ("sha256",)


@pytest.mark.parametrize(
    ("way", "size", "announced"),
    [
        *(("chunked=1", size, announced) for size, announced in ((0, 5), (5, 7), (SIZE, SIZE + 1))),
        *(("close=1", size, announced) for size, announced in ((5, 7), (SIZE, SIZE + 1))),
    ],
)
@pytest.mark.rows("B-11")
async def test_B_03_a_body_that_ends_before_the_announced_size(row: Row, way: str, size: int, announced: int) -> None:
    """ChecksumMismatchError of the size after a second try, once it is sure that nothing follows. D0."""
    attempt = await announced_as(row, announced, way, size)
    error = row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0")
    assert (error.algorithm, error.announced, error.computed) == ("size", str(announced), str(size))
    statuses = [200, 200] if way == "chunked=1" else [200, 416, 416]
    assert [request.status for request in attempt.requests] == statuses
    assert attempt.result.attempts == len(statuses)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [0, 1000, MiB + 1])
async def test_B_05_a_broken_chunk_once(row: Row, kind: str, k: int) -> None:
    """Success: the rest is asked for. D2."""
    attempt = await row.download(f"badchunk={k}&badkind={kind}&times=1", SIZE)
    row.expect(attempt, disk="D2")
    first, second = attempt.requests
    assert first.sent_bytes + second.sent_bytes <= SIZE + MiB


@pytest.mark.parametrize("kind", KINDS)
async def test_B_05_a_broken_chunk_and_nothing_to_resume_by(row: Row, kind: str) -> None:
    """Success: without a validator everything is asked for again. D2."""
    attempt = await row.download(f"badchunk={MiB}&badkind={kind}&times=1&etag=none&lm=none&nodigest=1", SIZE)
    row.expect(attempt, disk="D2")
    assert [request.status for request in attempt.requests] == [200, 200]


@pytest.mark.parametrize("kind", KINDS)
async def test_B_05_broken_chunks_always(row: Row, kind: str) -> None:
    """ProtocolError when the attempts are used up; what came before each is kept. D1."""
    attempt = await row.download(f"badchunk=1000&badkind={kind}", SIZE, is_sized=True)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D1", requests=5)
    assert error.attempts == len(attempt.requests) == 5
    assert row.held() == 5000


@pytest.mark.parametrize("k", [0, 1, MiB + 1, SIZE - 1, SIZE])
@pytest.mark.parametrize("is_sized", [True, False])
async def test_B_06_chunks_that_stop_before_the_last_one(row: Row, k: int, is_sized: bool) -> None:
    """Success: the rest is asked for; if it was all, that nothing follows is known, or asked. D2."""
    attempt = await row.download(f"chunked=1&trunc={k}&times=1", SIZE, is_sized=is_sized)
    row.expect(attempt, disk="D2")
    asked = [(request.status, request.headers.get("range")) for request in attempt.requests]
    if k == 0:
        further: list[tuple[int, str | None]] = [(200, None)]
    elif k == SIZE:
        further = [] if is_sized else [(416, f"bytes={k}-")]
    else:
        further = [(206, f"bytes={k}-{SIZE - 1 if is_sized else ''}")]
    assert asked == [(200, None), *further]


@pytest.mark.parametrize("way", ["close=1", "http10=1"])
@pytest.mark.parametrize("size", [0, 1, 1000, SIZE])
@pytest.mark.parametrize("proof", ["size", "digest"])
async def test_B_10_the_end_of_the_connection_is_the_end_of_the_body(row: Row, way: str, size: int, proof: str) -> None:
    """Success if the size or a digest is known. D2."""
    fault = f"{way}&nodigest=1" if proof == "size" else way
    attempt = await row.download(fault, size, is_sized=proof == "size")
    row.expect(attempt, disk="D2", requests=1)


@pytest.mark.parametrize("way", ["close=1", "http10=1"])
@pytest.mark.parametrize("size", [0, 1000, SIZE])
async def test_B_10_nothing_shows_that_it_is_whole(row: Row, way: str, size: int) -> None:
    """UnprovenError. D0."""
    attempt = await row.download(f"{way}&nodigest=1", size)
    row.expect_error(attempt, errors.UnprovenError, disk="D0", requests=1)


@pytest.mark.parametrize("way", ["close=1", "http10=1"])
async def test_B_11_cut_and_the_size_is_known(row: Row, way: str) -> None:
    """InterruptedTransferError when the attempts are used up: the size shows what is missing. D1."""
    attempt = await row.download(f"{way}&trunc=1000", SIZE, is_sized=True)
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D1", requests=5)
    assert error.attempts == len(attempt.requests) == 5
    assert row.held() == 5000


@pytest.mark.parametrize("way", ["close=1", "http10=1"])
async def test_B_11_cut_and_a_digest_is_known(row: Row, way: str) -> None:
    """ChecksumMismatchError after a second try. D0, not D1: nothing tells which bytes of the partial are right."""
    attempt = await row.download(f"{way}&trunc=1000", SIZE)
    row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0", requests=2)
    assert len(attempt.requests) == 2


@pytest.mark.parametrize("way", ["close=1", "http10=1"])
async def test_B_11_cut_and_nothing_is_known(row: Row, way: str) -> None:
    """UnprovenError at once, never success. D0, not D1: there is nothing that a second try could be held against."""
    attempt = await row.download(f"{way}&trunc=1000&nodigest=1", SIZE)
    row.expect_error(attempt, errors.UnprovenError, disk="D0", requests=1)


async def test_B_11_cut_once_and_the_size_is_known(row: Row) -> None:
    """Success: the rest is asked for. D2."""
    attempt = await row.download("close=1&trunc=1m&times=1", SIZE, is_sized=True)
    row.expect(attempt, disk="D2", requests=2)
    assert attempt.requests[1].headers["range"] == f"bytes={MiB}-{SIZE - 1}"


@pytest.mark.parametrize("size", [5, SIZE])
async def test_B_18_an_extension_of_64_kib(row: Row, size: int) -> None:
    """Success: the line that it makes, its end included, is just as long as a line may be. D2."""
    attempt = await row.download(f"chunked=1&chunkext={65536 - len('40000;x=') - 2}", size)
    row.expect(attempt, disk="D2", requests=1)


@pytest.mark.parametrize("size", [5, SIZE])
async def test_B_18_an_extension_without_end(row: Row, size: int) -> None:
    """ProtocolError after a second try; it is not held in memory. D0."""
    attempt = await row.download("chunked=1&chunkext=128m", size, is_sized=True)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0")
    assert error.attempts == len(attempt.requests) == 2


@pytest.mark.parametrize("is_sized", [True, False])
async def test_B_18_a_hundred_thousand_trailers(row: Row, is_sized: bool) -> None:
    """Success: all that was to come had come before them; if nobody knew how much, it is asked. D2."""
    attempt = await row.download("chunked=1&trailers=100000", SIZE, memory_mib=48, is_sized=is_sized)
    row.expect(attempt, disk="D2")
    assert [request.status for request in attempt.requests] == ([200] if is_sized else [200, 416])


@pytest.mark.parametrize("is_sized", [True, False])
async def test_B_18_trailers_without_end(row: Row, is_sized: bool) -> None:
    """Success if the size is known, else ProtocolError after a second try; they are not received. D2 or D1."""
    body, trailers, sent = bytes(range(250)) * 4000, b"X-Trailer: x\r\n" * 1000, [0, 0]

    async def behave(stream: trio.SocketStream, number: int) -> None:
        await receive_head(stream)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
        await stream.send_all(head + body + b"\r\n0\r\n")
        while True:
            await stream.send_all(trailers)
            sent[number] += len(trailers)

    async with open_peer(behave) as peer:
        row.contents["f"] = body
        source = Source.from_url(f"{peer.root}/f", "f", size_bytes=len(body) if is_sized else None)
        attempt = await row.download_all([source], within=5, memory_mib=48)
    if is_sized:
        row.expect(attempt, disk="D2")
    else:
        row.expect_error(attempt, errors.ProtocolError, disk="D1")
    assert peer.connections == attempt.result.attempts == (1 if is_sized else 2)
    assert max(sent) < 16 * MiB  # what sockets hold, and no more


@pytest.mark.parametrize("fault", ["chunked=1&chunkext=2000", "chunked=1&trailers=100"])
async def test_B_18_extensions_and_trailers_within_the_limit(row: Row, fault: str) -> None:
    """Success; nothing of them is written. D2."""
    row.expect(await row.download(fault, SIZE), disk="D2", requests=1)
