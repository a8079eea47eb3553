"""How bodies say where they end: in chunks, or by closing. Further rows B."""

from __future__ import annotations

import pytest

from tests.faults.rows import MiB, Row
from trio_norman import errors

SIZE = 3 * MiB
KINDS = ["size", "digits", "crlf"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [0, 1000, MiB + 1])
async def test_B_05_a_broken_chunk_once(row: Row, kind: str, k: int) -> None:
    """Success: the rest is asked for. D2."""
    attempt = await row.download(f"badchunk={k}&badkind={kind}&times=1", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    first, second = attempt.requests
    assert first.sent_bytes + second.sent_bytes <= SIZE + MiB


@pytest.mark.parametrize("kind", KINDS)
async def test_B_05_broken_chunks_always(row: Row, kind: str) -> None:
    """ProtocolError when the attempts are used up; what came before each is kept. D1."""
    attempt = await row.download(f"badchunk=1000&badkind={kind}", SIZE, is_sized=True)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D1", requests=5)
    assert error.attempts == len(attempt.requests) == 5
    assert row.held() == 5000


@pytest.mark.parametrize(
    ("k", "is_sized"), [*((k, sized) for k in (0, 1, MiB + 1, SIZE - 1) for sized in (True, False)), (SIZE, True)]
)
async def test_B_06_chunks_that_stop_before_the_last_one(row: Row, k: int, is_sized: bool) -> None:
    """Success: the rest is asked for. D2."""
    attempt = await row.download(f"chunked=1&trunc={k}&times=1", SIZE, is_sized=is_sized)
    row.expect(attempt, disk="D2", requests=2)
    assert sum(request.sent_bytes for request in attempt.requests) <= SIZE + MiB


@pytest.mark.parametrize("way", ["close=1", "http10=1"])
@pytest.mark.parametrize("size", [1000, SIZE])
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


@pytest.mark.parametrize("fault", ["chunkext=64k", "trailers=5000000"])
async def test_B_18_huge_extensions_and_trailers(row: Row, fault: str) -> None:
    """ProtocolError after a second try, or success; they are not held in memory. D0, D1 or D2."""
    attempt = await row.download(f"chunked=1&{fault}", SIZE, is_sized=True)
    if attempt.result.error is None:
        row.expect(attempt, disk="D2", requests=3)
    else:
        assert row.expect_disk(attempt, disk="D0 D1") in {"D0", "D1"}
        assert type(attempt.result.error) is errors.ProtocolError
        assert attempt.result.error.attempts == 2


async def test_B_18_an_extension_without_end(row: Row) -> None:
    """ProtocolError after a second try; it is not held in memory. D0 or D1."""
    attempt = await row.download("chunked=1&chunkext=128m", SIZE, is_sized=True)
    error = attempt.result.error
    row.expect_disk(attempt, disk="D0 D1")
    assert isinstance(error, errors.ProtocolError)
    assert error.attempts == len(attempt.requests) == 2


@pytest.mark.parametrize("fault", ["chunked=1&chunkext=2000", "chunked=1&trailers=100"])
async def test_B_18_extensions_and_trailers_within_the_limit(row: Row, fault: str) -> None:
    """Success; nothing of them is written. D2."""
    row.expect(await row.download(fault, SIZE), disk="D2", requests=1)
