"""Bodies and where they end: rows B."""

from __future__ import annotations

import os

import pytest
import trio

from tests.faults.peers import open_peer, receive_head, until_left
from tests.faults.rows import Attempt, MiB, Row
from tests.faults.trees import bytes_of, sha256_of
from trio_norman import RetryPolicy, Source, errors

SIZE = 3 * MiB
ONCE = RetryPolicy(attempts=1)


def sent_by(attempt: Attempt) -> int:
    return sum(request.sent_bytes for request in attempt.requests)


def asked_for(attempt: Attempt) -> list[str | None]:
    return [request.headers.get("range") for request in attempt.requests]


@pytest.mark.parametrize("k", [0, 1, 65535, 65536, SIZE - 1, SIZE])
async def test_B_01_one_reset_at_byte(row: Row, k: int) -> None:
    """Success: what is held is kept, the rest is asked for, if there is one. D2."""
    attempt = await row.download(f"reset={k}&times=1", SIZE)
    row.expect(attempt, disk="D2")
    further = {0: [None], SIZE: []}.get(k, [f"bytes={k}-{SIZE - 1}"])
    assert asked_for(attempt) == [None, *further]
    assert sent_by(attempt) == SIZE


@pytest.mark.parametrize("k", [0, 1, 65536, SIZE - 1])
async def test_B_02_one_early_close_at_byte(row: Row, k: int) -> None:
    """Success: as after a reset. D2."""
    attempt = await row.download(f"trunc={k}&times=1", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert asked_for(attempt) == [None, f"bytes={k}-{SIZE - 1}" if k else None]


@pytest.mark.parametrize("size", [MiB, SIZE])
@pytest.mark.parametrize("is_sized", [True, False])
async def test_B_03_a_shorter_body_that_agrees_with_itself(row: Row, size: int, is_sized: bool) -> None:
    """ChecksumMismatchError after a second try, of the size where it is known and of a digest where that is. D0."""
    attempt = await row.download("shortcl=500k", size, is_sized=is_sized)
    error = row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0", requests=2)
    assert len(attempt.requests) == 2
    assert (error.algorithm == "size") == is_sized


@pytest.mark.parametrize("extra", [7, 100_000])
@pytest.mark.parametrize("size", [1000, SIZE])
async def test_B_04_more_than_announced(row: Row, extra: int, size: int) -> None:
    """Success; what was not announced is not written, and the connection is not used again. D2."""
    body = bytes(range(250)) * (size // 250)

    async def behave(stream: trio.SocketStream, number: int) -> None:
        if await receive_head(stream):
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n" % len(body)
            await stream.send_all(head + body + b"+" * extra)
            await until_left(stream)

    async with open_peer(behave) as peer:
        row.contents.update(dict.fromkeys("fg", body))
        sources = [Source.from_url(f"{peer.root}/{name}", name) for name in "fg"]
        attempt = await row.download_all(sources, max_concurrency=1, retry=ONCE)
    row.expect_all(attempt)
    assert peer.connections == 2


async def test_B_04_more_than_announced_by_the_storage(row: Row) -> None:
    """Success with one request. D2."""
    row.expect(await row.download("overcl=7", SIZE), disk="D2", requests=1)


@pytest.mark.parametrize("way", ["reset=1m", "trunc=1m", "stall=1m"])
@pytest.mark.rows("B-01", "B-02")
async def test_B_07_what_came_before_a_failure_is_not_asked_for_again(row: Row, way: str) -> None:
    """Success: resumed where it ended, with the same version. D2."""
    attempt = await row.download(f"{way}&times=1", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert asked_for(attempt) == [None, f"bytes={MiB}-{SIZE - 1}"]
    assert attempt.requests[1].headers["if-range"]
    assert sent_by(attempt) <= SIZE + MiB


async def test_B_07_a_body_that_falls_silent_again_and_again(row: Row) -> None:
    """SlowTransferError when the attempts are used up, each within the window. D1."""
    attempt = await row.download("stall=1000", SIZE, within=5 * (0.3 + 1))
    error = row.expect_error(attempt, errors.SlowTransferError, disk="D1", requests=5)
    assert error.attempts == len(attempt.requests) == 5
    assert attempt.seconds >= 5 * 0.3
    assert row.held() == 5 * 1000


async def test_B_08_just_below_the_limit(row: Row) -> None:
    """SlowTransferError when the attempts are used up; what came is kept. D1."""
    attempt = await row.download("rate=500", SIZE, within=5 * (0.3 + 1))
    error = row.expect_error(attempt, errors.SlowTransferError, disk="D1", requests=5)
    assert error.attempts == len(attempt.requests) == 5
    assert 0 < row.held() <= sent_by(attempt)


async def test_B_08_just_above_the_limit(row: Row) -> None:
    """Success, in its time. D2."""
    attempt = await row.download("rate=5000", 5000)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.seconds > 0.6


async def test_B_09_a_fast_start_that_trickles(row: Row) -> None:
    """SlowTransferError within the window, however much came before; that is kept. D1."""
    attempt = await row.download("stall=2m&abs=1&drip=1", SIZE, within=6 * (0.3 + 1))
    error = row.expect_error(attempt, errors.SlowTransferError, disk="D1", requests=6)
    assert error.attempts == len(attempt.requests)
    assert 2 * MiB <= row.held() <= 2 * MiB + 10


@pytest.mark.parametrize("fault", ["corrupt=1000", "zero=1000"])
@pytest.mark.parametrize("size", [MiB, SIZE])
@pytest.mark.rows("B-13")
async def test_B_12_wrong_bytes_once(row: Row, fault: str, size: int) -> None:
    """Success: fetched once more. D2."""
    attempt = await row.download(f"{fault}&times=1", size)
    row.expect(attempt, disk="D2")
    assert asked_for(attempt) == [None, None]
    assert attempt.result.verified_by


async def test_B_12_a_wrong_byte_in_one_of_parallel_parts(row: Row) -> None:
    """Success: fetched once more. D2."""
    size = 8 * MiB
    attempt = await row.download("corrupt=100000&rate=20m&times=1", size, max_connections=8, part_bytes=MiB)
    row.expect(attempt, disk="D2")
    assert attempt.peak > 1
    assert attempt.result.received_bytes == 2 * size


@pytest.mark.parametrize("fault", ["corrupt=1000", "zero=1000", "corrupt=3145727"])
@pytest.mark.parametrize("size", [MiB, SIZE])
@pytest.mark.rows("B-13")
async def test_B_12_wrong_bytes_always(row: Row, fault: str, size: int) -> None:
    """ChecksumMismatchError after a second try; nothing of it is left. D0."""
    if "3145727" in fault:
        size = SIZE
    attempt = await row.download(fault, size)
    error = row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0", requests=2)
    assert len(attempt.requests) == 2
    assert error.announced != error.computed


async def test_B_13_zeros_that_an_announced_digest_shows(row: Row) -> None:
    """ChecksumMismatchError after a second try, though the server itself announces nothing. D0."""
    whole = bytes_of(row.emulator.blob_content(SIZE, name="f"))
    attempt = await row.download("zero=1000&nodigest=1", SIZE, digests={"sha256": sha256_of(whole)})
    error = row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0")
    assert asked_for(attempt) == [None, None]
    assert (error.algorithm, error.announced) == ("sha256", sha256_of(whole))
    assert error.computed == sha256_of(whole[:1000] + bytes(SIZE - 1000))


async def test_B_14_one_byte_a_connection(row: Row) -> None:
    """InterruptedTransferError when the attempts are used up. D1."""
    attempt = await row.download("reset=1", SIZE)
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D1")
    assert error.attempts == len(attempt.requests) == 5
    assert asked_for(attempt) == [None, *(f"bytes={k}-{SIZE - 1}" for k in (1, 2, 3, 4))]
    assert row.held() == 5


async def test_B_14_one_byte_a_connection_of_a_small_file(row: Row) -> None:
    """InterruptedTransferError when the attempts are used up. D0, not D1.

    A file of up to 1 MiB is one request: it is held in memory until it is whole, and what a partial of it could save is
    worth less than the partial.
    """
    attempt = await row.download("reset=1", MiB)
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D0")
    assert error.attempts == 5
    assert asked_for(attempt) == [None] * 5


async def test_B_15_no_connection_gets_past_an_offset(row: Row) -> None:
    """InterruptedTransferError when the attempts are used up, counted from the last progress. D1."""
    attempt = await row.download("reset=3m&abs=1", 8 * MiB)
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D1", requests=6)
    assert error.attempts == len(attempt.requests) >= 5
    assert row.held() == 3 * MiB
    assert sent_by(attempt) <= 4 * MiB


async def test_B_16_resets_by_chance(row: Row) -> None:
    """Success for each of 50 lucks. D2."""
    size = MiB + 100_000
    urls = {f"f{seed}": row.url(f"p=0.3&reset=200k&pseed={seed}", size) for seed in range(1, 51)}
    row.contents.update(dict.fromkeys(urls, row.emulator.blob_content(size)))
    sources = [Source.from_url(url, name) for name, url in urls.items()]
    attempt = await row.download_all(sources, max_connections=4, within=60)
    row.expect_all(attempt)
    assert len(attempt.requests) > 60  # or nothing ever went wrong


@pytest.mark.parametrize("size", [1000, SIZE])
async def test_B_17_garbage_without_end_behind_the_body(row: Row, size: int) -> None:
    """Success at once; the garbage is not received, the connection is dropped. D2."""
    attempt = await row.download("overcl=1g", size, within=5)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.received_bytes == size


@pytest.mark.parametrize("size", [1000, SIZE])
async def test_B_17_garbage_without_end_behind_a_kept_connections_body(row: Row, size: int) -> None:
    """Success at once; the garbage is not received, the next request makes a connection of its own. D2."""
    body, garbage, sent = bytes(range(250)) * (size // 250), b"+" * 65536, [0, 0]

    async def behave(stream: trio.SocketStream, number: int) -> None:
        if await receive_head(stream):
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n" % len(body)
            await stream.send_all(head + body)
            while sent[number] < 2**30:
                await stream.send_all(garbage)
                sent[number] += len(garbage)

    async with open_peer(behave) as peer:
        row.contents.update(dict.fromkeys("fg", body))
        sources = [Source.from_url(f"{peer.root}/{name}", name) for name in "fg"]
        attempt = await row.download_all(sources, max_concurrency=1, retry=ONCE, within=5, memory_mib=32)
        row.expect_all(attempt)
        assert peer.connections == 2
    assert max(sent) < 16 * MiB  # what sockets hold, and no more


@pytest.mark.parametrize("way", ["announced", "in chunks"])
async def test_P_09_a_body_that_is_larger_than_the_memory_for_it(row: Row, way: str) -> None:
    """Success: never more than a window of it is in memory. D2."""
    pieces, piece = 100, bytes(MiB)

    async def behave(stream: trio.SocketStream, number: int) -> None:
        if await receive_head(stream):
            is_chunked = way == "in chunks"
            framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {pieces * MiB}"
            await stream.send_all(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
            for _ in range(pieces):
                await stream.send_all(b"%x\r\n%b\r\n" % (MiB, piece) if is_chunked else piece)
            await stream.send_all(b"0\r\n\r\n" * is_chunked)
            await until_left(stream)

    expected = row.tree.parent / "expected"
    expected.touch()
    os.truncate(expected, pieces * MiB)
    row.exempt.add(row.dest / "f")  # which is too large to be searched for secrets
    async with open_peer(behave) as peer:
        attempt = await row.download_url(f"{peer.root}/f", content=expected, verify=False)
    row.expect(attempt, disk="D2", requests=1)
