"""Retrieving where it is hard: answers that break again and again, and streams that go on after they were stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.norman.norman_opening import asked, open_in_memory
from trio_norman import OpenInvocation, Retrieval, RetryPolicy
from trio_norman.emulator import Emulator
from trio_norman.errors import InterruptedTransferError, SlowTransferError, TransportError

BODY = bytes(range(256)) * (3 << 12)  # 3 MiB


@asynccontextmanager
async def open_large(retry: RetryPolicy | None = None) -> AsyncIterator[tuple[Emulator, OpenInvocation]]:
    """Open an invocation whose only output is large."""
    async with open_in_memory(retry) as (emulator, norman):
        emulator.norman.register_model("large", lambda inputs: BODY)
        config = {"model_name": "large", "inputs": [{"display_title": "Input", "data": "x"}]}
        async with norman.open_invocation(config) as invocation:
            yield emulator, invocation


async def test_bytes_that_come_once_more_are_no_progress(autojump_clock: MockClock) -> None:
    async with open_large(RetryPolicy(attempts=4)) as (emulator, invocation):
        emulator.norman.inject_retrieval(trunc=2 << 20)
        with pytest.raises(InterruptedTransferError) as caught:
            await invocation.read("Output")
        assert len(asked(emulator, "/retrieve/")) == 4
        assert caught.value.attempts == 4


async def test_an_answer_that_gets_further_each_time_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_large(RetryPolicy(attempts=2)) as (emulator, invocation):

        async def cut_each() -> None:
            for number, at in enumerate((5 << 18, 5 << 19)):
                emulator.norman.inject_retrieval(trunc=at, times=1)
                while len(asked(emulator, "/retrieve/")) == number:  # noqa: ASYNC110 (a log tells nobody)
                    await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_each)
            await trio.testing.wait_all_tasks_blocked()
            assert await invocation.read("Output") == BODY
        assert len(asked(emulator, "/retrieve/")) == 3


async def read_on(stream: Retrieval) -> int:
    return sum([len(chunk) async for chunk in stream])


async def test_a_stream_whose_reading_was_cancelled_never_ends_quietly(autojump_clock: MockClock) -> None:
    async with open_large() as (emulator, invocation):
        emulator.norman.inject_retrieval(stall=1 << 20)
        stream = invocation.outputs["Output"]
        async with stream:
            with trio.move_on_after(1) as scope:
                await read_on(stream)
            assert scope.cancelled_caught
            for _ in range(2):
                with pytest.raises(InterruptedTransferError, match="cancelled before"):
                    await read_on(stream)
        emulator.norman.behave()
        async with stream:
            assert await read_on(stream) == len(BODY)


@pytest.mark.parametrize(("fault", "kind"), [("stall", SlowTransferError), ("trunc", InterruptedTransferError)])
async def test_a_stream_that_failed_never_ends_quietly(
    autojump_clock: MockClock, fault: str, kind: type[TransportError]
) -> None:
    async with open_large() as (emulator, invocation):
        emulator.norman.inject_retrieval(None, **{fault: 1 << 20})
        async with invocation.outputs["Output"] as stream:
            with pytest.raises(kind):
                await read_on(stream)
            with pytest.raises(InterruptedTransferError, match="failed"):
                await read_on(stream)
