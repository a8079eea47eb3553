"""Streams: what is promised of them besides the rows of the fault matrix, which tests/faults has."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import (
    ask,
    open_in_memory,
    streamed,
    streaming_endpoint,
)
from trio_norman.emulator import ContainerError
from trio_norman.errors import (
    ConfigurationError,
    SlowTransferError,
)
from trio_norman.launch import LaunchLimits


async def test_E3_09_comments_are_signs_of_life(autojump_clock: MockClock) -> None:
    """Success as long as the service pings; SlowTransferError once it does not."""

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
