"""Heads of answers: rows H."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.faults.rows import Attempt, MiB, Row
from tests.faults.trees import partial_of
from trio_norman import ConnectionSettings, RetryPolicy, errors

HASTY = ConnectionSettings(head_seconds=0.3)


async def test_H_01_the_head_comes_late(row: Row) -> None:
    """Success: a second is no fault. D2."""
    attempt = await row.download("hdelay=1")
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.seconds >= 1


async def test_H_01_the_head_never_comes(row: Row) -> None:
    """HeadTimeoutError when the attempts are used up. D0."""
    attempt = await row.download("hdelay=999", connection=HASTY, within=10)
    error = row.expect_error(attempt, errors.HeadTimeoutError, disk="D0", requests=5)
    assert error.attempts == len(attempt.requests) == 5


@pytest.mark.parametrize("pause", ["0.02", "1"])
async def test_H_02_the_head_comes_byte_by_byte(row: Row, pause: str) -> None:
    """HeadTimeoutError: the limit is on the head as a whole, each byte of it prolongs nothing. D0."""
    attempt = await row.download(f"hdrip={pause}", connection=HASTY, within=10)
    error = row.expect_error(attempt, errors.HeadTimeoutError, disk="D0", requests=5)
    assert error.attempts == len(attempt.requests) == 5
    attempt = await row.download_url(f"{row.odd.dripping}/f", connection=HASTY, within=10)
    row.expect_error(attempt, errors.HeadTimeoutError, disk="D0")


@pytest.mark.parametrize("fault", ["hdrsize=64m", "hdrs=10000", "hdrs=1000"])
async def test_H_03_enormous_or_countless_lines(row: Row, fault: str) -> None:
    """LimitExceededError at once; it is not held in memory. D0."""
    attempt = await row.download(fault)
    error = row.expect_error(attempt, errors.LimitExceededError, disk="D0", requests=1)
    assert error.what == "the response head"
    assert error.limit in {64 * 1024, 256}


async def test_H_04_interim_answers_without_end(row: Row) -> None:
    """LimitExceededError after a second try. D0."""
    attempt = await row.download("interim=3000000")
    error = row.expect_error(attempt, errors.LimitExceededError, disk="D0", requests=2)
    assert (error.limit, error.unit, len(attempt.requests)) == (16, "interim responses", 2)


@pytest.mark.parametrize(
    "line",
    [
        "no colon \x1b[2Jhere",
        "X-A: a\nX-B: b",
        "X-A: a\nX-B: \x1b]0;b\x07",
        "X-A: a\0b",
        "X-A: \x1b[2J",
        "X-A: a\rb",
        "X A: a",
        ": a",
        "X-\xff: a",
        "ETag: \x1b[2J",
        " folded: \x1b[2J",
    ],
)
async def test_H_05_malformed_lines_and_control_characters(row: Row, line: str) -> None:
    """ProtocolError after a second try; nothing of the line is shown or kept. D0."""
    attempt = await row.download(f"hdr={quote(line, safe='')}", 3 * MiB)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert error.attempts == len(attempt.requests) == 2
    _show_no_control_character(attempt)


@pytest.mark.parametrize("line", ["X-A: \xff", "X-A: \x9b2J\x85", "X-A:", "ETag: \x9b2J", "Server: \u0080\x9f"])
async def test_H_05_odd_bytes_where_nobody_looks(row: Row, line: str) -> None:
    """Success if they are not used; they are not shown or kept. D2."""
    attempt = await row.download(f"hdr={quote(line, safe='', encoding='latin-1')}", 3 * MiB)
    row.expect(attempt, disk="D2", requests=1)
    _show_no_control_character(attempt)


async def test_H_05_odd_bytes_are_not_kept(row: Row) -> None:
    """InterruptedTransferError; the sidecar of what came has no tag, and nothing but printable ASCII. D1."""
    line = quote("ETag: \x9b2J", safe="", encoding="latin-1")
    attempt = await row.download(f"etag=none&hdr={line}&trunc={2 * MiB}", 3 * MiB, retry=RetryPolicy(attempts=1))
    row.expect_error(attempt, errors.InterruptedTransferError, disk="D1")
    assert row.held() == 2 * MiB
    sidecar = partial_of(row.dest, "f")[1].read_text("ascii")
    assert sidecar.replace("\n", "").isprintable()
    assert "2J" not in sidecar


def _show_no_control_character(attempt: Attempt) -> None:
    for thing in (*attempt.results.values(), *attempt.events, attempt.result.error):
        assert f"{thing!s}{thing!r}".isprintable()


@pytest.mark.parametrize("length", ["-1", "+5", "1e30", "9" * 5000, "5, 6", "0x5", " ", "5 5", "\u0665"])
async def test_H_06_a_length_that_is_none(row: Row, length: str) -> None:
    """ProtocolError after a second try. D0."""
    attempt = await row.download(f"cl={quote(length, safe='', encoding='utf-8')}", 5)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert error.attempts == len(attempt.requests) == 2


async def test_H_06_the_same_length_twice(row: Row) -> None:
    """Success: a length that was joined with itself is one (RFC 9110, section 8.6). D2."""
    row.expect(await row.download(f"cl={quote('5, 5', safe='')}", 5), disk="D2", requests=1)


@pytest.mark.parametrize("fault", ["dupcl=1", "tecl=1&chunked=1"])
@pytest.mark.parametrize("size", [5, 3 * MiB])
async def test_H_07_contradicting_lengths(row: Row, fault: str, size: int) -> None:
    """ProtocolError after a second try. D0."""
    attempt = await row.download(fault, size)
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert error.attempts == len(attempt.requests) == 2


FIELDS = "Content-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    "answer",
    [
        *(f"HTTP/1.1 {status} Odd\r\n{FIELDS}" for status in ("199", "299", "600", "099", "20", "2000", "-200", "")),
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n{FIELDS}",
        f"HTTP/2 200\r\n{FIELDS}",
        f"HTTP/1.7.1 200 OK\r\n{FIELDS}",
        f"http/1.1 200 OK\r\n{FIELDS}",
        "<html>HTTP/0.9</html>",
        "hi",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff",
    ],
)
async def test_H_08_impossible_statuses_and_other_protocols(row: Row, answer: str) -> None:
    """ProtocolError after a second try. D0."""
    attempt = await row.download(f"raw={quote(answer, safe='', encoding='latin-1')}")
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert error.attempts == len(attempt.requests) == 2


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_H_09_there_is_nothing_it_says_unasked(row: Row, status: int) -> None:
    """ProtocolError after a second try. D0."""
    attempt = await row.download(f"status={status}")
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert error.attempts == len(attempt.requests) == 2
