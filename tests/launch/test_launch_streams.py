"""Streams: their rows of the fault matrix, and what else is promised of them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import (
    STREAMING,
    ask,
    cut,
    event,
    open_in_memory,
    send_instead,
    streamed,
    streaming_endpoint,
)
from trio_norman.emulator import ContainerError, open_emulator
from trio_norman.errors import (
    ConfigurationError,
    InterruptedTransferError,
    LimitExceededError,
    MalformedResponseError,
    NotFoundError,
    ProtocolError,
    RedirectError,
    ServiceBrokenError,
    SlowTransferError,
    UndecodableResponseError,
)
from trio_norman.launch import LaunchClient, LaunchLimits

WORDS = ["plain", "grüße", "日本", "😀", "line\u2028para\u2029nel\x85vt\x0bff\x0cfs\x1cend", ""]


async def test_E3_01_utf8_split_at_every_byte(autojump_clock: MockClock) -> None:
    """Identical events."""
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, *cut(b"".join(map(event, WORDS)), 1))
        assert await streamed(client) == WORDS


@pytest.mark.parametrize("size", [1, 2, 3, 64])
async def test_E3_02_any_line_end(size: int, autojump_clock: MockClock) -> None:
    """Identical events, no phantom event, wherever a line end is cut."""
    data = event(1, "\r\n") + event(2, "\n") + event(3, "\r") + event(4, "\r\n")
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, *cut(data, size))
        assert await streamed(client) == [1, 2, 3, 4]


async def test_E3_02_an_event_that_ends_with_cr_is_not_held_back(autojump_clock: MockClock) -> None:
    """Given at once, although the LF that may follow has not come."""
    gate = trio.Event()

    async def values(args: Any) -> AsyncIterator[int]:
        yield 1
        await gate.wait()

    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "streaming", values)
        async with (await streaming_endpoint(client, "slow")).predict(ask()) as stream:
            assert (await anext(stream)).value == 1
            gate.set()


async def test_E3_03_only_cr_and_lf_end_lines(autojump_clock: MockClock) -> None:
    """One line, whatever else other splitters cut at."""
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei"
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, event(odd))
        assert await streamed(client) == [odd]


async def test_E3_04_byte_order_marks(autojump_clock: MockClock) -> None:
    """Skipped at the start, kept in the middle (where it makes the field an unknown one)."""
    mark = b"\xef\xbb\xbf"
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, mark[:1], mark[1:] + event(1), mark + event(2), event("\ufeffx"))
        assert await streamed(client) == [1, "\ufeffx"]


@pytest.mark.parametrize("size", [1, 20])
async def test_E3_05_last_event_without_its_blank_line(size: int, autojump_clock: MockClock) -> None:
    """Not given; InterruptedTransferError after the events before it."""
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, *cut(event(1) + event(2)[:-2], size))
        got = list[Any]()
        async with (await streaming_endpoint(client)).predict(ask()) as stream:
            with pytest.raises(InterruptedTransferError, match="inside an event"):
                got += [response.value async for response in stream]
            assert [response async for response in stream] == []
        assert got == []  # the comprehension never got as far as its end


async def test_E3_06_odd_fields_are_as_the_standard_has_them(autojump_clock: MockClock) -> None:
    """As in the standard: comments and unknown fields are nothing, empty data is an event that is no JSON."""
    odd = b": ping\r\n\r\nid: 1\0\r\nretry: x\r\nunknown: y\r\nevent: token\r\n"
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, odd, event(1), b"id: 5\r\n\r\n\r\n", event(2))
        assert await streamed(client) == [1, 2]
        emulator.behave()
        send_instead(emulator, b"data\n\n")
        with pytest.raises(UndecodableResponseError):
            await streamed(client)


@pytest.mark.parametrize("block", [b"x" * 65536, b"data: 1\n" * 8192], ids=["a line", "lines"])
async def test_E3_07_an_event_without_end(block: bytes, autojump_clock: MockClock) -> None:
    """LimitExceededError at the limit, and nothing of it is read any further."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += len(block)
            yield block

    async with open_in_memory(limits=LaunchLimits(largest_event=2**20)) as (emulator, client):
        send_instead(emulator, body=endless)
        with pytest.raises(LimitExceededError, match="1048576 bytes"):
            await streamed(client)
        assert sent <= 2**20 * 1.5


async def test_E3_08_connection_lost_after_some_events(autojump_clock: MockClock) -> None:
    """InterruptedTransferError after what came whole: the service cannot resume, and nothing is asked twice."""
    whole = event(1) + event(2)
    async with open_in_memory() as (emulator, client):
        rule = emulator.misbehave(
            STREAMING, status=200, body=whole + event(3), content_type="text/event-stream", cut_at=len(whole)
        )
        async with (await streaming_endpoint(client)).predict(ask()) as stream:
            assert [(await anext(stream)).value for _ in range(2)] == [1, 2]
            with pytest.raises(InterruptedTransferError):
                await anext(stream)
        assert rule.hits == 1


async def test_E3_09_silence(autojump_clock: MockClock) -> None:
    """SlowTransferError after the idle limit; comments are signs of life."""

    async def values(args: float) -> AsyncIterator[int]:
        yield 1
        await trio.sleep(args)
        yield 2

    async with open_in_memory(limits=LaunchLimits(idle_seconds=20)) as (emulator, client):
        emulator.register_endpoint("slow", "streaming", values)
        assert await streamed(client, 3600.0, "slow") == [1, 2]  # a ping every 15 seconds
        emulator.launch.ping_seconds = math.inf
        began = trio.current_time()
        with pytest.raises(SlowTransferError, match="nothing came for 20 s"):
            await streamed(client, 3600.0, "slow")
        assert trio.current_time() - began == pytest.approx(20)


@pytest.mark.parametrize(
    ("status", "content_type", "kind"),
    [
        (200, "text/html", ProtocolError),
        (200, "application/json", ProtocolError),
        (200, "", ProtocolError),
        (307, "text/plain", RedirectError),
        (404, "application/json", NotFoundError),
        (500, "application/json", ServiceBrokenError),
    ],
)
async def test_E3_10_no_event_stream(
    status: int, content_type: str, kind: type[Exception], autojump_clock: MockClock
) -> None:
    """An error with what the service said, never an empty stream; a 204 is one."""
    async with open_in_memory() as (emulator, client):
        emulator.misbehave(STREAMING, status=status, content_type=content_type, body='{"detail":"no \\u001b[1mmodel"}')
        with pytest.raises(kind) as raised:
            await streamed(client)
        assert "\x1b" not in str(raised.value)
        emulator.behave()
        emulator.misbehave(STREAMING, status=204)
        assert await streamed(client) == []


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"data: {broken\n\n", UndecodableResponseError),
        (b"data: \xff\n\n", UndecodableResponseError),
        (b'data: {"status":"SUCCESS","status":"FAILURE"}\n\n', UndecodableResponseError),
        (b"data: []\n\n", MalformedResponseError),
        (b'data: {"detail":"gone"}\n\n', MalformedResponseError),
    ],
)
async def test_E3_11_events_that_cannot_be_read(data: bytes, kind: type[Exception], autojump_clock: MockClock) -> None:
    """A typed error in place of that event, and the stream is over; `[DONE]` is its clean end."""
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, event(1), data, event(2))
        async with (await streaming_endpoint(client)).predict(ask()) as stream:
            assert (await anext(stream)).value == 1
            with pytest.raises(kind):
                await anext(stream)
            emulator.behave()
        send_instead(emulator, event(1), b"data: [DONE]\n\n", event(2))
        assert await streamed(client) == [1]


async def test_E3_12_who_reads_stops_early() -> None:
    """The connection is closed at once: the service sees it."""

    async def values(args: Any) -> AsyncIterator[int]:
        for number in range(1_000_000):
            yield number
            await trio.sleep(0.001)

    async with open_emulator(runs=0) as emulator:
        emulator.register_endpoint("endless", "streaming", values)
        async with LaunchClient(emulator.api_key, emulator.launch_base_url) as client:
            async with (await streaming_endpoint(client, "endless")).predict(ask()) as stream:
                async for _ in stream:
                    break
            with trio.fail_after(10):
                while emulator.api_connections.active > 1:  # noqa: ASYNC110 (the one of the look-up stays)
                    await trio.sleep(0.01)
            (request,) = [each for each in emulator.requests if each.path == STREAMING]
            assert not request.is_finished


async def test_a_stream_that_is_cancelled_is_closed(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "streaming", lambda args: range(1000), delay=1.0)
        endpoint = await streaming_endpoint(client, "slow")
        got = list[Any]()
        with trio.move_on_after(3.5):
            async with endpoint.predict(ask()) as stream:
                async for response in stream:
                    got.append(response.value)
        assert got == [0, 1, 2]
        async with endpoint.predict(ask()) as stream:
            with trio.move_on_after(0.5):
                await anext(stream)
            assert (await anext(stream)).value == 0


async def test_a_failure_before_the_first_event_is_an_answer(autojump_clock: MockClock) -> None:
    def fails(args: Any) -> Any:
        raise ContainerError(503)

    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("broken", "streaming", fails)
        async with (await streaming_endpoint(client, "broken")).predict(ask()) as stream:
            (response,) = [each async for each in stream]
        assert (response.status, response.status_code, response.is_failure) == ("FAILURE", 503, True)


async def test_a_stream_outside_its_client_is_refused(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, client):
        endpoint = await streaming_endpoint(client)
    with pytest.raises(trio.ClosedResourceError):
        async with endpoint.predict(ask()):
            pass


async def test_what_a_stream_would_ignore_is_refused(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await streaming_endpoint(client)
        before = len(emulator.requests)
        with pytest.raises(ConfigurationError, match="callback_url"):
            async with endpoint.predict(ask(callback_url="http://127.0.0.1:9/x")):
                pass
        assert len(emulator.requests) == before
