"""Bodies that are encoded although nobody asked for it: rows E."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.destinations import sha256_of
from tests.faults.peers import open_peer, saying
from tests.faults.rows import MiB, Row
from trio_norman import RetryPolicy, StallLimit, errors
from trio_norman.emulator._answers import bomb_body

SIZE = 3 * MiB
ONCE = RetryPolicy(attempts=1)


@pytest.mark.parametrize("size", [1000, SIZE])
@pytest.mark.parametrize("is_sized", [True, False])
async def test_E_01_gzip_unasked(row: Row, size: int, is_sized: bool) -> None:
    """ProtocolError after a second try; the gzip bytes are never written. D0."""
    attempt = await row.download("gzip=1", size, is_sized=is_sized)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert error.attempts == len(attempt.requests) == 2


@pytest.mark.parametrize("size", [1000, SIZE])
async def test_E_01_gzip_unasked_and_the_digest_of_what_is_meant_is_known(row: Row, size: int) -> None:
    """ProtocolError after a second try: the digest does not match the gzip bytes. D0."""
    digests = {"sha256": sha256_of(row.emulator.blob_content(size, name="f"))}
    attempt = await row.download("gzip=1&nodigest=1", size, digests=digests)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert "encoded" in error.reason
    assert len(attempt.requests) == 2


@pytest.mark.parametrize("fault", ["trunc=10", "stall=10"])
async def test_E_01_gzip_that_does_not_come_whole(row: Row, fault: str) -> None:
    """ProtocolError after a second try: nobody waits for more than shows that it is encoded. D0."""
    attempt = await row.download(f"gzip=1&{fault}", SIZE, stall=StallLimit(seconds=0.1), within=5)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert "encoded" in error.reason
    assert len(attempt.requests) == 2


async def test_E_01_gzip_once(row: Row) -> None:
    """Success with the second answer. D2."""
    attempt = await row.download("gzip=1&times=1", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert len(attempt.requests) == 2


async def test_E_02_a_gzipped_range(row: Row) -> None:
    """Success: nothing of it is written, the whole object is asked for. D2."""
    cut = await row.download("reset=2m", SIZE, retry=ONCE)
    row.expect_error(cut, errors.InterruptedTransferError, disk="D1", requests=1)
    assert row.held() == 2 * MiB
    attempt = await row.download("gzip=range", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert [request.headers.get("range") for request in attempt.requests] == [f"bytes={2 * MiB}-{SIZE - 1}", None]


async def test_E_02_gzipped_ranges_and_then_gzip(row: Row) -> None:
    """ProtocolError, after the range and twice the whole. D0."""
    cut = await row.download("reset=2m", SIZE, retry=ONCE)
    row.expect_error(cut, errors.InterruptedTransferError, disk="D1", requests=1)
    attempt = await row.download("hdr=Content-Encoding%3A%20gzip", SIZE)
    row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=3)
    assert [request.headers.get("range") for request in attempt.requests] == [f"bytes={2 * MiB}-{SIZE - 1}", None, None]


@pytest.mark.parametrize("size", [1000, SIZE])
async def test_E_03_said_to_be_gzip_and_not_gzip(row: Row, size: int) -> None:
    """ProtocolError after a second try; success if a digest shows that the bytes are those that are meant. D0, D2."""
    unknown = await row.download("gzip=lie", size)
    row.expect_error(unknown, errors.ProtocolError, disk="D0", requests=2)
    assert len(unknown.requests) == 2
    digests = {"sha256": sha256_of(row.emulator.blob_content(size, name="f"))}
    attempt = await row.download("gzip=lie", size, digests=digests)
    row.expect(attempt, disk="D2", requests=1)
    assert "sha256" in attempt.result.verified_by


@pytest.mark.parametrize("knows", ["nothing", "the size", "the digest"])
async def test_E_04_a_bomb(row: Row, knows: str) -> None:
    """LimitExceededError at once: no more is unpacked than shows what it is. D0."""
    known: Any = {"is_sized": knows == "the size"}
    if knows == "the digest":
        known["digests"] = {"sha256": sha256_of(row.emulator.blob_content(SIZE, name="f"))}
    attempt = await row.download("bomb=300m&nodigest=1", SIZE, memory_mib=32, stall=StallLimit(seconds=10), **known)
    error = row.expect_error(attempt, errors.LimitExceededError, disk="D0", requests=1)
    assert "encoded although identity was asked for" in str(error)
    assert (error.limit, len(attempt.requests)) == (SIZE if knows == "the size" else 16 * MiB, 1)


async def test_E_04_a_bomb_as_the_answer_of_the_api(row: Row) -> None:
    """LimitExceededError at once: no more is unpacked than an answer may have. D0."""
    packed = b"".join(bomb_body(300 * MiB).blocks())
    rule = row.emulator.misbehave(".*checkpoints", status=200, body=packed, headers={"content-encoding": "gzip"})
    async with row.attempt({"f": None}, memory_mib=32) as attempt:
        async with row.service.create_rest_client() as rest:
            await anext(rest.iter_user_checkpoints())
    error = row.expect_error(attempt, errors.LimitExceededError, disk="D0", requests=0)
    assert (error.limit, rule.hits) == (16 * MiB, 1)


async def test_E_04_a_small_encoded_answer_of_the_api(row: Row) -> None:
    """ProtocolError after a second try: what unpacks to little may have been somebody's mistake. D0."""
    packed = gzip.compress(b"{}")
    rule = row.emulator.misbehave(".*checkpoints", status=200, body=packed, headers={"content-encoding": "gzip"})
    async with row.attempt({"f": None}) as attempt:
        async with row.service.create_rest_client() as rest:
            await anext(rest.iter_user_checkpoints())
    row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=0)
    assert rule.hits == 2


async def test_E_05_a_thousand_encodings(row: Row) -> None:
    """ProtocolError at once. D0."""
    coding = "gzip, " * 999 + "gzip"
    answer = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 5\r\n\r\nhello"
    async with open_peer(saying(answer.encode())) as peer:
        attempt = await row.download_url(f"{peer.root}/f")
        error = row.expect_error(attempt, errors.ProtocolError, disk="D0")
        assert (error.attempts, peer.connections) == (1, 1)


CODINGS = ["gzip, gzip", "br", "zstd", "deflate", "x-unknown", "aes128gcm", "identity, br"]


@pytest.mark.parametrize("coding", CODINGS, ids=range(len(CODINGS)))
async def test_E_05_stacked_or_unknown_encodings(row: Row, coding: str) -> None:
    """ProtocolError at once. D0."""
    attempt = await row.download(f"hdr=Content-Encoding%3A%20{coding.replace(' ', '%20')}", SIZE)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=1)
    assert error.attempts == len(attempt.requests) == 1
