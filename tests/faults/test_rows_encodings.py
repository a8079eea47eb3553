"""Bodies that are encoded although nobody asked for it: rows E."""

from __future__ import annotations

import gzip

import pytest

from tests.destinations import sha256_of
from tests.faults.peers import open_peer, saying
from tests.faults.rows import MiB, Row
from trio_norman import RetryPolicy, errors

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


async def test_E_01_gzip_once(row: Row) -> None:
    """Success with the second answer. D2."""
    row.expect(await row.download("gzip=1&times=1", SIZE), disk="D2", requests=2)


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


@pytest.mark.parametrize("size", [1000, SIZE])
async def test_E_03_said_to_be_gzip_and_a_digest_shows_what_it_is(row: Row, size: int) -> None:
    """Success: the bytes as they came are those that were announced. D2."""
    digests = {"sha256": sha256_of(row.emulator.blob_content(size, name="f"))}
    attempt = await row.download("gzip=lie", size, digests=digests)
    row.expect(attempt, disk="D2", requests=1)
    assert "sha256" in attempt.result.verified_by


@pytest.mark.parametrize("size", [1000, SIZE])
async def test_E_03_said_to_be_gzip_and_nothing_shows_what_it_is(row: Row, size: int) -> None:
    """ProtocolError after a second try. D0."""
    attempt = await row.download("gzip=lie", size)
    row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)


async def test_E_04_a_bomb(row: Row) -> None:
    """ProtocolError after a second try, as E-01: it is never unpacked, so no limit can be met. D0."""
    attempt = await row.download("bomb=300m", SIZE)
    row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)


async def test_E_04_a_bomb_as_the_answer_of_the_api(row: Row) -> None:
    """ProtocolError: it is never unpacked. D0."""
    packed = gzip.compress(bytes(30 * MiB))
    row.emulator.misbehave(".*checkpoints", status=200, body=packed, headers={"content-encoding": "gzip"})
    async with row.attempt({"f": None}) as attempt:
        async with row.service.create_rest_client() as rest:
            await anext(rest.iter_user_checkpoints())
    row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=0)


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
