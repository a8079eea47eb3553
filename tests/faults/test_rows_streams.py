"""Streams of events: rows E3, over sockets. How bytes are cut into events is tested in tests/sansio, too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from tests.faults.rows import MiB, Row
from tests.faults.services import launch_attempt
from tests.launch.launch_opening import STREAMING, ask, cut, event, send_instead, streaming_endpoint
from trio_norman import errors
from trio_norman.launch import LaunchLimits

WORDS = ["plain", "grüße", "日本", "😀", "line\u2028para\u2029nel\x85vt\x0bff\x0cfs\x1cend", ""]


async def read(row: Row, *blocks: bytes, **limits: Any) -> tuple[list[Any], Any]:
    """Read a stream that consists of these blocks, if any are given; return its values, and the attempt."""
    if blocks:
        row.emulator.behave()
        send_instead(row.emulator, *blocks)
    got = list[Any]()
    async with launch_attempt(row, **limits) as (attempt, client):
        async with (await streaming_endpoint(client)).predict(ask()) as stream:
            async for response in stream:  # one by one: what came before an error is kept
                got.append(response.value)
    return got, attempt


async def reads(row: Row, *blocks: bytes) -> list[Any]:
    """Read such a stream to its end, without an error."""
    got, attempt = await read(row, *blocks)
    row.expect(attempt, disk="D0")
    return got


async def dropped(row: Row) -> None:
    """Wait until the service has seen the end of every connection but the one that the endpoint was looked up on."""
    with trio.fail_after(5):
        while row.emulator.api_connections.active > 1:  # noqa: ASYNC110 (it has no event)
            await trio.sleep(0.01)


async def test_E3_01_utf8_split_at_every_byte(row: Row) -> None:
    """Identical events."""
    assert await reads(row, *cut(b"".join(map(event, WORDS)), 1)) == WORDS


@pytest.mark.parametrize("size", [1, 2, 3, 64])
async def test_E3_02_any_line_end(row: Row, size: int) -> None:
    """Identical events, no phantom event, wherever a line end is cut."""
    data = event(1, "\r\n") + event(2, "\n") + event(3, "\r") + event(4, "\r\n")
    assert await reads(row, *cut(data, size)) == [1, 2, 3, 4]


async def test_E3_02_an_event_that_ends_with_cr_is_not_held_back(row: Row) -> None:
    """Given at once, although the LF that may follow has not come."""
    gate = trio.Event()

    async def values(args: Any) -> AsyncIterator[int]:
        yield 1
        await gate.wait()

    row.emulator.register_endpoint("slow", "streaming", values)
    async with launch_attempt(row, within=5) as (attempt, client):
        async with (await streaming_endpoint(client, "slow")).predict(ask()) as stream:
            assert (await anext(stream)).value == 1
            gate.set()
    row.expect(attempt, disk="D0")


async def test_E3_03_only_cr_and_lf_end_lines(row: Row) -> None:
    """One line, whatever else other splitters cut at."""
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei"
    assert await reads(row, event(odd)) == [odd]


async def test_E3_04_byte_order_marks(row: Row) -> None:
    """Skipped at the start, kept in the middle (where it makes the field an unknown one)."""
    mark = b"\xef\xbb\xbf"
    assert await reads(row, mark[:1], mark[1:] + event(1), mark + event(2), event("\ufeffx")) == [1, "\ufeffx"]


@pytest.mark.parametrize("size", [1, 20])
async def test_E3_05_last_event_without_its_blank_line(row: Row, size: int) -> None:
    """Not given; InterruptedTransferError after the events before it."""
    got, attempt = await read(row, *cut(event(1) + event(2)[:-2], size))
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D0")
    assert "inside an event" in str(error)
    assert got == [1]


async def test_E3_06_odd_fields_are_as_the_standard_has_them(row: Row) -> None:
    """As in the standard: comments and unknown fields are nothing, empty data is an event that is no JSON."""
    odd = b": ping\r\n\r\nid: 1\0\r\nretry: x\r\nunknown: y\r\nevent: token\r\n"
    assert await reads(row, odd, event(1), b"id: 5\r\n\r\n\r\n", event(2)) == [1, 2]
    _, attempt = await read(row, b"data\n\n")
    row.expect_error(attempt, errors.UndecodableResponseError, disk="D0")


@pytest.mark.parametrize("block", [b"x" * 65536, b"data: 1\n" * 8192], ids=["a line", "lines"])
async def test_E3_07_an_event_without_end(row: Row, block: bytes) -> None:
    """LimitExceededError at the limit; nothing of it is read any further, and the memory is bounded."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += len(block)
            yield block

    send_instead(row.emulator, body=endless)
    _, attempt = await read(row, memory_mib=32, within=10, limits=LaunchLimits(largest_event=MiB))
    error = row.expect_error(attempt, errors.LimitExceededError, disk="D0")
    assert error.limit == MiB
    assert sent < 16 * MiB  # and the buffers in between


async def test_E3_08_connection_lost_after_some_events(row: Row) -> None:
    """InterruptedTransferError after what came whole: the service cannot resume, and nothing is asked twice."""
    whole = event(1) + event(2)
    rule = row.emulator.misbehave(
        STREAMING, status=200, body=whole + event(3), content_type="text/event-stream", cut_at=len(whole)
    )
    got, attempt = await read(row)
    row.expect_error(attempt, errors.InterruptedTransferError, disk="D0")
    assert (got, rule.hits) == ([1, 2], 1)


async def test_E3_09_silence(row: Row) -> None:
    """SlowTransferError after the idle limit."""

    async def values(args: Any) -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    row.emulator.register_endpoint("slow", "streaming", values)
    got = list[Any]()
    async with launch_attempt(row, within=2, limits=LaunchLimits(idle_seconds=0.2)) as (attempt, client):
        async with (await streaming_endpoint(client, "slow")).predict(ask()) as stream:
            async for response in stream:
                got.append(response.value)
    error = row.expect_error(attempt, errors.SlowTransferError, disk="D0")
    assert "nothing came for 0.2 s" in str(error)
    assert got == [1]


@pytest.mark.parametrize(
    ("status", "content_type", "kind"),
    [
        (200, "text/html", errors.ProtocolError),
        (200, "application/json", errors.ProtocolError),
        (200, "", errors.ProtocolError),
        (307, "text/plain", errors.RedirectError),
        (404, "application/json", errors.NotFoundError),
        (500, "application/json", errors.ServiceBrokenError),
    ],
)
async def test_E3_10_no_event_stream(
    row: Row, status: int, content_type: str, kind: type[errors.TrioNormanError]
) -> None:
    """An error with what the service said, never an empty stream."""
    told = '{"detail":"no \\u001b[1mmodel"}'
    row.emulator.misbehave(STREAMING, status=status, content_type=content_type, body=told)
    _, attempt = await read(row)
    assert "\x1b" not in str(row.expect_error(attempt, kind, disk="D0"))


async def test_E3_10_no_content(row: Row) -> None:
    """Success: a 204 is an empty stream."""
    row.emulator.misbehave(STREAMING, status=204)
    assert await reads(row) == []


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"data: {broken\n\n", errors.UndecodableResponseError),
        (b"data: \xff\n\n", errors.UndecodableResponseError),
        (b'data: {"status":"SUCCESS","status":"FAILURE"}\n\n', errors.UndecodableResponseError),
        (b"data: []\n\n", errors.MalformedResponseError),
        (b'data: {"detail":"gone"}\n\n', errors.MalformedResponseError),
    ],
)
async def test_E3_11_events_that_cannot_be_read(row: Row, data: bytes, kind: type[errors.TrioNormanError]) -> None:
    """A typed error in place of that event; the stream is over, and its connection closed though more was to come."""

    def endless() -> Iterator[bytes]:
        yield event(1) + data
        while True:
            yield event(2)

    send_instead(row.emulator, body=endless)
    async with launch_attempt(row) as (attempt, client):
        try:
            async with (await streaming_endpoint(client)).predict(ask()) as stream:
                assert (await anext(stream)).value == 1
                try:
                    await anext(stream)
                except errors.TrioNormanError:
                    assert [response async for response in stream] == []
                    raise
        except errors.TrioNormanError:
            await dropped(row)  # noqa: ASYNC120 (nobody cancels it)
            raise
    row.expect_error(attempt, kind, disk="D0")


async def test_E3_11_the_word_that_ends_a_stream(row: Row) -> None:
    """Success: `[DONE]` is its clean end, whatever follows."""
    assert await reads(row, event(1), b"data: [DONE]\n\n", event(2)) == [1]


async def counting(args: Any) -> AsyncIterator[int]:
    """Count without end."""
    number = 0
    while True:
        yield number
        number += 1
        await trio.sleep(0.001)


async def test_E3_12_who_reads_stops_early(row: Row) -> None:
    """The connection is closed at once: the service sees it."""
    row.emulator.register_endpoint("endless", "streaming", counting)
    async with launch_attempt(row) as (attempt, client):
        async with (await streaming_endpoint(client, "endless")).predict(ask()) as stream:
            async for _ in stream:
                break
        await dropped(row)
        (request,) = [each for each in row.emulator.requests if each.path == STREAMING]
        assert not request.is_finished
    row.expect(attempt, disk="D0")
