"""Retrieving: bodies that break off, again and again, streams that are read on, and whose token it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.norman.norman_opening import (
    asked,
    echo,
    model,
    open_in_memory,
    open_on_sockets,
)
from trio_norman import OpenInvocation, Retrieval, RetryPolicy
from trio_norman.emulator import Emulator
from trio_norman.errors import (
    ConfigurationError,
    InterruptedTransferError,
    NotFoundError,
    ServiceError,
    SlowTransferError,
    TransportError,
)
from trio_norman.norman import Invocation

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


async def drained(retrieval: Retrieval) -> int:
    async with retrieval as stream:
        return await read_on(stream)


async def test_a_body_that_breaks_off_is_fetched_again_as_bytes_and_told_as_a_stream() -> None:
    async with open_on_sockets() as (emulator, norman):
        emulator.norman.register_model("large", lambda inputs: bytes(range(256)) * 4096)
        config = {"model_name": "large", "inputs": [{"display_title": "Input", "data": "x"}]}
        async with norman.open_invocation(config) as invocation:
            emulator.norman.inject_retrieval(reset=100_000, times=1)
            assert await invocation.read("Output") == bytes(range(256)) * 4096
            emulator.norman.inject_retrieval(reset=100_000)
            with pytest.raises(InterruptedTransferError):
                await drained(invocation.outputs["Output"])
            emulator.norman.inject_retrieval(stall=100_000)
            with pytest.raises(TransportError, match="stalled"):
                await drained(invocation.outputs["Output"])


@pytest.mark.parametrize("ranges", [False, True])
async def test_a_saved_body_that_breaks_off_is_gone_on_with_where_ranges_are_offered(
    tmp_path: Path, ranges: bool
) -> None:
    async with open_on_sockets() as (emulator, norman):
        emulator.norman.serves_ranges = ranges
        body = bytes(range(256)) * 16384
        emulator.norman.register_model("large", lambda inputs: body)
        config = {"model_name": "large", "inputs": [{"display_title": "Input", "data": "x"}]}
        async with norman.open_invocation(config) as invocation:
            emulator.norman.inject_retrieval(reset=3 << 20, times=1)
            result = await invocation.outputs["Output"].save(tmp_path / "output.bin")
            assert result.path.read_bytes() == body
            assert result.received_bytes < 6 << 20 if ranges else result.received_bytes > 6 << 20


async def test_errors_of_retrieving_are_typed_and_tokens_of_ones_own_are_used(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        async with norman.open_invocation(echo("abc")) as opened:
            run: Invocation = opened.invocation
            ids = (run.account_id, run.model_id, run.id)
            token = await norman.get_access_token()
            output = norman.retrieve.get_invocation_output(token, *ids, run.outputs[0].id)
            assert await output.read() == b"abc"
            assert token.reveal() not in repr(output)
            bad = norman.retrieve.get_invocation_output("not.a.token", *ids, run.outputs[0].id)
            with pytest.raises(ServiceError) as caught:
                await bad.read()
            assert caught.value.status == 401
            missing = norman.retrieve.get_invocation_output(None, *ids, "77")
            with pytest.raises(NotFoundError):
                await missing.read()
            with pytest.raises(ConfigurationError):
                norman.retrieve.get_model_asset(None, "1", "..", "3")
            emulator.norman.inject_retrieval(status=503, times=2)
            assert await output.read() == b"abc"


async def test_many_outputs_and_assets_come_home_through_the_engine(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_in_memory() as (_, norman):
        made = await norman.upload_model(model({"File": b"weights", "Logo": b"logo"}))

        async def ids() -> AsyncIterator[str]:
            yield made.id
            yield "77"

        async with norman.download_assets(ids(), tmp_path / "assets", max_concurrency=2) as results:
            found = {result.path.name: result async for result in results}
        assert found.pop("model-77").error is not None
        assert {each.item.asset_name: each.path.read_bytes() for each in found.values()} == {
            "File": b"weights",
            "Logo": b"logo",
        }
        runs = []
        for text in ("one", "two"):
            async with norman.open_invocation(echo(text)) as opened:
                runs.append(opened.invocation)
        async with norman.download_outputs([runs[0], runs[1].id, "78"], tmp_path / "outputs") as results:
            done = [result async for result in results]
        assert sorted(each.path.read_bytes() for each in done if each.error is None) == [b"one", b"two"]
        assert len(done) == 3

        async def download(ids: Any) -> None:
            async with norman.download_assets(ids, tmp_path) as results:
                async for _ in results:
                    pass

        with pytest.raises(ConfigurationError, match="put it into a list"):
            await download(made.id)
