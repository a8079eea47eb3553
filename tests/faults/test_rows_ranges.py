"""Ranges: rows R. A killed run has left one of three MiB, unless said otherwise."""

from __future__ import annotations

import re

import pytest
import trio

from tests.destinations import bytes_of
from tests.faults.partials import leave_partial
from tests.faults.peers import open_peer, receive_head, until_left
from tests.faults.rows import Attempt, MiB, Row
from tests.faults.trees import sha256_of
from trio_norman import errors

SIZE, PART = 3 * MiB, 4 * MiB
LARGE = 20 * MiB


def ranges(attempt: Attempt) -> list[str | None]:
    """Return what each request asked for."""
    return [request.headers.get("range") for request in attempt.requests]


async def taken_up(row: Row, fault: str, *, size: int = SIZE) -> Attempt:
    """Download what a killed run has begun, from a server with a fault."""
    leave_partial(row, size, 0, MiB)
    return await row.download(fault, size)


async def test_R_01_ranges_ignored_by_a_resume(row: Row) -> None:
    """Success: the very answer that was to bring the rest is taken as the whole. D2."""
    attempt = await taken_up(row, "norange=1")
    row.expect(attempt, disk="D2", requests=1)
    assert ranges(attempt) == [f"bytes={MiB}-{SIZE - 1}"]
    assert attempt.result.received_bytes == SIZE


async def test_R_01_ranges_ignored_with_parallel_parts(row: Row) -> None:
    """Success: the first answer goes on alone, the others are dropped. D2."""
    attempt = await row.download("norange=1&rate=40m", LARGE, max_connections=4, part_bytes=PART)
    row.expect(attempt, disk="D2", requests=4)
    assert [request.sent_bytes for request in attempt.requests if request.is_finished] == [LARGE]
    assert attempt.result.received_bytes == LARGE


async def test_R_01_ranges_ignored_by_a_resume_in_parallel(row: Row) -> None:
    """Success: none of the parts is believed, one plain request brings everything. D2."""
    leave_partial(row, LARGE, 0, MiB, 5 * MiB, 6 * MiB, 11 * MiB, 12 * MiB)
    attempt = await row.download("norange=1&rate=60m", LARGE, max_connections=4, part_bytes=PART)
    row.expect(attempt, disk="D2", requests=4 + 1)


async def test_R_01_ranges_ignored_and_never_past_one_offset(row: Row) -> None:
    """InterruptedTransferError when the attempts are used up: bytes that come again are no progress. D1."""
    attempt = await row.download(f"norange=1&trunc={2 * MiB}", SIZE)
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D1", requests=1 + 5)
    assert error.attempts == len(attempt.requests)


@pytest.mark.parametrize("shift", [4096, -4096])
async def test_R_02_other_bytes_and_it_says_so(row: Row, shift: int) -> None:
    """Success: not one of them is written, a plain request brings the whole. D2."""
    attempt = await taken_up(row, f"shift={shift}")
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt) == [f"bytes={MiB}-{SIZE - 1}", None]
    assert attempt.result.received_bytes == SIZE  # of the other bytes none counts


@pytest.mark.parametrize("shift", [4096, -4096])
async def test_R_03_only_the_header_lies(row: Row, shift: int) -> None:
    """Success: as R-02, since nobody can tell them apart. D2."""
    attempt = await taken_up(row, f"crshift={shift}")
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt)[1] is None
    assert attempt.result.received_bytes == SIZE


SENSELESS = ["nocr=1"] + [
    f"cr={text}"
    for text in (
        "bytes%20x-y/z",
        f"items%20{MiB}-{SIZE - 1}/{SIZE}",
        "*",
        f"bytes%20*/{SIZE}",
        f"bytes%20{SIZE - 1}-{MiB}/{SIZE}",
        f"bytes%20{MiB}-{SIZE - 1}/{MiB}",
        f"bytes%20{MiB}-{SIZE - 1}",
        f"bytes%20{'9' * 30}-{'9' * 31}/{'9' * 32}",
    )
]


@pytest.mark.parametrize("fault", SENSELESS)
async def test_R_04_content_range_makes_no_sense(row: Row, fault: str) -> None:
    """Success: a plain request brings the whole. D2."""
    attempt = await taken_up(row, fault)
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt)[1] is None
    assert attempt.result.received_bytes == SIZE


async def test_R_05_shorter_spans_are_asked_on(row: Row) -> None:
    """Success: each answer is legal, the rest is asked for. D2."""
    attempt = await taken_up(row, "rangeshort=64k")
    row.expect(attempt, disk="D2", requests=2 * MiB // 65536)
    assert len(attempt.requests) == 2 * MiB // 65536
    assert attempt.result.received_bytes == 2 * MiB


async def test_R_05_shorter_spans_of_a_large_object(row: Row) -> None:
    """Success: however large the object is, answers that bring something are no failures. D2."""
    leave_partial(row, 32 * MiB, 0, 31 * MiB)
    attempt = await row.download("rangeshort=64k", 32 * MiB)
    row.expect(attempt, disk="D2", requests=MiB // 65536)
    assert len(attempt.requests) == MiB // 65536


async def test_R_05_one_byte_an_answer(row: Row) -> None:
    """RangeNotHonouredError when the attempts are used up. D1."""
    attempt = await taken_up(row, "rangeshort=1")
    row.expect_error(attempt, errors.RangeNotHonouredError, disk="D1", requests=5)
    assert MiB < row.held() <= MiB + 5


@pytest.mark.parametrize("fault", ["r416=1", "r416=nocr"])
async def test_R_06_nothing_there_although_bytes_are_missing(row: Row, fault: str) -> None:
    """Success: the partial is given up, a plain request brings the whole. D2."""
    attempt = await taken_up(row, fault)
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt)[1] is None


@pytest.mark.parametrize("is_known", [True, False], ids=["size known", "size unknown"])
async def test_R_07_the_partial_is_complete(row: Row, is_known: bool) -> None:
    """Success: it is verified and gets its name, no body is fetched. D2."""
    leave_partial(row, SIZE, 0, SIZE, known_size=SIZE if is_known else None)
    attempt = await row.download("", SIZE)
    row.expect(attempt, disk="D2", requests=0 if is_known else 1)
    assert [request.status for request in attempt.requests] == [416] * (not is_known)
    assert attempt.result.received_bytes == 0


async def test_R_07_complete_and_wrong(row: Row) -> None:
    """Success: the digest that the caller knows catches it. D2."""
    leave_partial(row, SIZE, 0, SIZE, known_size=None, version=1, validator=None)
    digests = {"sha256": sha256_of(row.emulator.blob_content(SIZE, name="f"))}
    attempt = await row.download("noifrange=1&nodigest=1", SIZE, digests=digests)
    row.expect(attempt, disk="D2", requests=2)
    assert [request.status for request in attempt.requests] == [416, 200]


async def test_R_07_complete_and_outdated(row: Row) -> None:
    """Success: the ETag of the 416 shows that it is of another version. D2."""
    leave_partial(row, SIZE, 0, SIZE, known_size=None, version=1)
    attempt = await row.download("noifrange=1", SIZE)
    row.expect(attempt, disk="D2")
    assert [request.status for request in attempt.requests] == [416, 200]


async def test_R_08_the_object_became_smaller(row: Row) -> None:
    """Success: a plain request brings what is there now. D2."""
    leave_partial(row, SIZE, 0, 2 * MiB)
    content = row.emulator.blob_content(MiB + 5, name="f")
    attempt = await row.download_url(row.url("noifrange=1", SIZE, name="f") + f"&size={MiB + 5}", content=content)
    row.expect(attempt, disk="D2", requests=2)
    assert [request.status for request in attempt.requests] == [416, 200]


@pytest.mark.parametrize("fault", ["total=7", f"total={SIZE + 1}", "total=4m", "cr=bytes%205-9/*"])
async def test_R_09_another_total(row: Row, fault: str) -> None:
    """Success: a plain request brings the whole. D2."""
    attempt = await taken_up(row, fault)
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt)[1] is None


async def test_R_09_an_unknown_total(row: Row) -> None:
    """Success: the size is known already. D2."""
    row.expect(await taken_up(row, "total=*"), disk="D2", requests=1)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("span", [MiB // 2, SIZE], ids=["short spans", "full spans"])
@pytest.mark.parametrize("end_is_told", [True, False])
async def test_R_09_an_unknown_total_of_an_unknown_size(row: Row, framing: str, span: int, end_is_told: bool) -> None:
    """Success: a span's end is not taken for the object's; a 416 tells it, or else a plain request brings all. D2."""
    content = row.emulator.blob_content(SIZE)
    whole, asked = bytes_of(content), []

    def framed(body: bytes, way: str, *, whole: bool = True) -> bytes:
        if way == "length":
            return b"Content-Length: %d\r\n\r\n" % len(body) + body
        chunk = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n"
        return chunk + b"0\r\n\r\n" * whole

    async def behave(stream: trio.SocketStream, number: int) -> None:
        found = re.search(rb"bytes=(\d+)-", await receive_head(stream))
        asked.append(start := int(found[1]) if found is not None else None)
        answer = b'HTTP/1.1 %d X\r\nConnection: close\r\nETag: "v"\r\n%b'
        if start is None:
            body = whole if number else whole[:MiB]
            await stream.send_all(answer % (200, framed(body, "chunked", whole=number > 0)))
        elif start < SIZE:
            body = whole[start : start + span]
            told = b"Content-Range: bytes %d-%d/*\r\n" % (start, start + len(body) - 1)
            await stream.send_all(answer % (206, told + framed(body, framing)))
        else:
            told = b"Content-Range: bytes */%d\r\n" % SIZE if end_is_told else b""
            await stream.send_all(answer % (416, told + framed(b"", "length")))

    async with open_peer(behave) as peer:
        attempt = await row.download_url(f"{peer.root}/f", content=content)
    last = [SIZE] if end_is_told else [SIZE, None]
    due = [None, *range(MiB, SIZE, min(span, 2 * MiB)), *last]
    row.expect(attempt, disk="D2", requests=len(due))
    assert asked == due


async def test_R_10_multipart_for_one_range(row: Row) -> None:
    """Success: it is never taken for content, a plain request brings the whole. D2."""
    attempt = await taken_up(row, "multipart=1")
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt)[1] is None
    assert attempt.result.received_bytes == SIZE


async def test_R_11_ranges_are_declined(row: Row) -> None:
    """Success with one request, as there are no parts. D2."""
    attempt = await row.download("noar=1&norange=1&rate=40m", LARGE, max_connections=4, part_bytes=PART)
    row.expect(attempt, disk="D2", requests=1)
    assert ranges(attempt) == [None]


async def test_R_13_a_longer_span_than_asked_for(row: Row) -> None:
    """Success: nothing of it is written, a plain request brings the whole. D2.

    The matrix has RANGE and D1 here. A plain request needs no range to be believed, so it is the same way out as in
    R-02, R-04 and R-10.
    """
    leave_partial(row, SIZE, 0, MiB, 2 * MiB, SIZE)
    attempt = await row.download("rangelong=4096", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert ranges(attempt) == [f"bytes={MiB}-{2 * MiB - 1}", None]
    assert attempt.result.received_bytes == SIZE


async def test_R_13_more_bytes_than_the_span_that_it_says(row: Row) -> None:
    """Success: reading stops at the span's end. D2."""
    leave_partial(row, SIZE, 0, MiB, 2 * MiB, SIZE)
    attempt = await row.download("overcl=4096", SIZE)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.received_bytes == MiB


async def test_R_13_chunks_go_on_beyond_the_span_that_it_says(row: Row) -> None:
    """Success: of what follows the span nothing is written, not even where the next part is free. D2."""
    content = row.emulator.blob_content(SIZE)
    whole, cut = bytes_of(content), MiB + MiB // 2

    async def behave(stream: trio.SocketStream, number: int) -> None:
        asked = re.search(rb"bytes=(\d+)-(\d+)", await receive_head(stream))
        if asked is None:
            head = f'HTTP/1.1 200 OK\r\nETag: "v"\r\nContent-Length: {SIZE}\r\n\r\n'.encode()
            await stream.send_all(head + (whole if number else whole[:cut]))
            return
        start, last = int(asked[1]), int(asked[2])
        told = f'ETag: "v"\r\nContent-Range: bytes {start}-{last}/{SIZE}\r\nTransfer-Encoding: chunked\r\n\r\n'
        body = whole[start : last + 1] + bytes(SIZE)
        await stream.send_all(f"HTTP/1.1 206 Partial Content\r\n{told}{len(body):x}\r\n".encode() + body)
        await until_left(stream)

    async with open_peer(behave) as peer:
        attempt = await row.download_url(f"{peer.root}/f", content=content, part_bytes=MiB)
        row.expect(attempt, disk="D2")
        assert peer.connections == 3  # cut, too long, and one plain request for the whole
    assert attempt.result.received_bytes == cut + MiB + SIZE


async def test_R_16_a_206_that_nobody_asked_for(row: Row) -> None:
    """ProtocolError after a second try. D0."""
    attempt = await row.download("force206=1", SIZE)
    row.expect_error(attempt, errors.ProtocolError, disk="D0", requests=2)
    assert ranges(attempt) == [None, None]
