"""Invoking models: what is checked beforehand, waiting, and what comes back."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.norman.norman_opening import (
    answer,
    asked,
    body_of,
    echo,
    model,
    open_in_memory,
    signature,
)
from tests.rest.rest_opening import cancelled_at
from trio_norman import InputConfig, InvocationConfig, Norman, OutputConfig, Retrieval, RetryPolicy
from trio_norman._sansio.flagging import LONGEST_WAIT, Flag, FlagWatch
from trio_norman.errors import (
    ConfigurationError,
    JobFailedError,
    JobTimeoutError,
    NotFoundError,
    TransportError,
)


async def test_a_configuration_is_a_mapping_or_an_object(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, norman):
        config = InvocationConfig(
            model_name="echo",
            inputs=[InputConfig(display_title="Input", data="x")],
            outputs=[OutputConfig(display_title="Output")],
        )
        assert await answer(norman, config) == b"x"
        with pytest.raises(ConfigurationError, match="no InvocationConfig"):
            await norman.invoke("echo")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="unknown field"):
            await norman.invoke(InvocationConfig(model_name="echo", extra={"x": 1}))
        given_: Any = echo("y")["inputs"]  # dicts in an object are as good as objects
        assert await answer(norman, InvocationConfig(model_name="echo", inputs=given_)) == b"y"
        assert await answer(norman, {"model_name": "echo", "inputs": config.inputs}) == b"x"
        wrong: Any
        for wrong in ("abc", [{"data": "x"}], [5], 5):
            with pytest.raises(ConfigurationError, match="cannot be used"):
                await norman.invoke(InvocationConfig(model_name="echo", inputs=wrong))


async def test_a_model_that_is_not_there(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, norman):
        with pytest.raises(NotFoundError):
            await norman.invoke({"model_name": "nobody"})


async def test_inputs_with_a_default_may_be_left_out(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, norman):
        inputs = [
            signature("Words"),
            signature("Tone", default_value="loud"),
            signature("Mood", hidden=True, default_value="glad"),
            signature("Name", default_value=""),
        ]
        await norman.upload_model(model({"File": b"w"}, inputs))
        given_ = {"model_name": "shouter", "inputs": [{"display_title": "Words", "data": "hello"}]}
        async with norman.open_invocation(given_) as invocation:
            assert await invocation.read("Answer") == b"hello"
            entries = {each.display_title: each.id for each in invocation.invocation.inputs}
            run = invocation.invocation
            tone = norman.retrieve.get_invocation_input(None, run.account_id, run.model_id, run.id, entries["Tone"])
            assert await tone.read() == b"loud"
            ids = (run.account_id, run.model_id, run.id, entries["Name"])
            assert await norman.retrieve.get_invocation_input(None, *ids).read() == b""


async def test_a_service_that_does_not_list_by_name_is_asked_without(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/models/get", status=400)
        assert await answer(norman, echo("x")) == b"x"
        with pytest.raises(ConfigurationError, match="no input called") as caught:
            await norman.invoke({"model_name": "echo", "inputs": [{"display_title": "Imput", "data": "x"}]})
        assert caught.value.orphans[0].startswith("invocation ")
        assert "left at the service" in caught.value.__notes__[0]


async def test_outputs_are_bytes_or_streams_as_the_configuration_says(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.norman.register_model(
            "split", lambda inputs: {"A": b"a" * 100_000, "B": b"b" * 100_000}, outputs=["A", "B"]
        )
        config = {"model_name": "split", "inputs": [{"display_title": "Input", "data": "x"}]}
        config["outputs"] = [{"display_title": "B", "consume_mode": "stream", "data": "meaningless"}]
        outputs = await norman.invoke(config)
        assert outputs["A"] == bytearray(b"a" * 100_000)
        assert isinstance(outputs["A"], bytearray)
        stream = outputs["B"]
        assert isinstance(stream, Retrieval)
        with pytest.raises(trio.ClosedResourceError):
            _ = stream.headers
        async with stream:
            assert (stream.size_bytes, stream.headers["content-type"]) == (100_000, "text/plain")
            assert b"".join([chunk async for chunk in stream]) == b"b" * 100_000
            with pytest.raises(RuntimeError):
                await stream.__aenter__()
        assert await stream.read() == b"b" * 100_000


async def test_a_stream_may_be_left_early_and_entered_again(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.norman.register_model("large", lambda inputs: bytes(1 << 20))
        config = {"model_name": "large", "inputs": [{"display_title": "Input", "data": "x"}]}
        async with norman.open_invocation(config) as invocation:
            stream = invocation.outputs["Output"]
            for _ in range(3):
                async with stream:
                    assert await anext(aiter(stream))
            assert len(await invocation.read("Output")) == 1 << 20
            assert set(await invocation.read_all()) == {"Output"}


async def test_saved_outputs_are_whole_files(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_in_memory() as (_, norman):
        async with norman.open_invocation(echo("content")) as invocation:
            results = await invocation.save_outputs(tmp_path / "out")
            assert [(result.path.name, result.outcome, result.item) for result in results] == [
                ("Output", "ok", "Output")
            ]
            await invocation.save_outputs(tmp_path / "out", names={"Output": "named.txt"})
            saved = await invocation.outputs["Output"].save(tmp_path / "third.txt")
            with pytest.raises(ConfigurationError, match="no output called 'Input'"):
                await invocation.save_outputs(tmp_path, names={"Input": "x"})
        files = [saved.path, *(tmp_path / "out").iterdir()]
        assert {path.name: path.read_bytes() for path in files} == dict.fromkeys(
            ["third.txt", "Output", "named.txt"], b"content"
        )


# ---- waiting


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(-1, 9))))
def test_done_is_when_every_entity_has_a_flag_and_all_are_finished(seen: list[tuple[str, str, int]]) -> None:
    watch = FlagWatch(("a", "b"))
    watch.observe(Flag(*each) for each in seen)
    ours = [each for each in seen if each[0] in "ab"]
    assert watch.is_done == ({each[0] for each in ours} == {"a", "b"} and {each[2] for each in ours} == {3})
    assert (watch.failed is not None) == any(each[2] == 4 for each in ours)
    assert watch.is_done == (not watch.unfinished)


def test_looks_come_soon_at_first_and_never_rarer_than_every_five_seconds() -> None:
    watch = FlagWatch(("a",))
    waits = [watch.next_wait() for _ in range(60)]
    assert waits[0] == 0.2
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT == 5.0
    elapsed = 0.0
    for wait in waits:
        assert wait <= max(0.2, 0.2 + 0.31 * elapsed)  # an answer is late by a third of its time at most
        elapsed += wait


async def test_an_answer_is_there_soon_after_the_model_is_done(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.norman.invocations.seconds = 0.05
        began = trio.current_time()
        await norman.invoke(echo("x"))
        assert trio.current_time() - began < 0.35


async def test_an_unknown_flag_is_waited_for_like_any_other(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.norman.inject_flags(shown_as="Input_GPU_Warming", times=50)
        assert await answer(norman, echo("x")) == b"x"


async def test_flags_that_do_not_show_yet_are_no_success(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        rule = emulator.norman.inject_flags(hidden=True, times=40)
        assert await answer(norman, echo("x")) == b"x"
        assert rule.hits > 40


@pytest.mark.parametrize("value", [2, 7])
async def test_a_flag_that_never_finishes_ends_with_the_time_limit_and_is_named(
    autojump_clock: MockClock, value: int
) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.norman.inject_flags(flag_name="Model_Function_Run", value=value)
        began = trio.current_time()
        with pytest.raises(JobTimeoutError) as caught:
            await norman.invoke(echo("x"), max_seconds=60)
        assert trio.current_time() - began == pytest.approx(60, abs=2)
        assert caught.value.unfinished[0].startswith("Model_Function_Run of ")
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.orphans


@pytest.mark.parametrize("max_seconds", [0, -1, float("nan")])
async def test_a_time_limit_that_is_none_is_refused_before_anything_is_asked(
    autojump_clock: MockClock, max_seconds: float
) -> None:
    async with open_in_memory() as (emulator, norman):
        with pytest.raises(ValueError, match="max_seconds"):
            await norman.invoke(echo("x"), max_seconds=max_seconds)
        with pytest.raises(ValueError, match="max_seconds"):
            await norman.upload_model(model({"File": b"w"}), max_seconds=max_seconds)
        assert asked(emulator) == []


async def test_a_model_that_fails_is_told_with_the_services_own_words(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):

        def fail(_: object) -> bytes:
            raise RuntimeError("out of paper")

        emulator.norman.register_model("broken", fail)
        with pytest.raises(JobFailedError) as caught:
            await norman.invoke({"model_name": "broken", "inputs": [{"display_title": "Input", "data": "x"}]})
        error = caught.value
        assert error.flag_name == "Model_Function_Run"
        assert error.entity_id in error.orphans[0]
        assert error.title or error.message


async def test_a_failure_that_nothing_explains_is_still_that_failure(autojump_clock: MockClock) -> None:
    async with open_in_memory(RetryPolicy(attempts=1)) as (emulator, norman):
        emulator.norman.inject_flags(flag_name="Output_S3_Storage", value=4)
        emulator.misbehave("/v0/persist/notifications/get", status=500)
        with pytest.raises(JobFailedError, match="Output_S3_Storage of") as caught:
            await norman.invoke(echo("x"))
        assert any("no notification explains it" in note for note in caught.value.__notes__)


async def test_flags_that_cannot_be_asked_for_now_and_then_do_no_harm(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/flags/get", status=503, times=3)
        assert await answer(norman, echo("x")) == b"x"


async def test_an_invocation_whose_answer_was_lost_may_have_been_made(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/invocations/by-name", drop=True)
        with pytest.raises(TransportError) as caught:
            await norman.invoke(echo("x"))
        assert caught.value.orphans == ("perhaps an invocation of 'echo': the answer was lost",)
        assert len(asked(emulator, "by-name")) == 1


# ---- its life


async def test_outside_its_block_everything_is_closed(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, norman):
        stream = (
            await norman.invoke(echo("x") | {"outputs": [{"display_title": "Output", "consume_mode": "stream"}]})
        )["Output"]
    assert isinstance(stream, Retrieval)
    closed: list[Callable[[], Any]] = [
        lambda: norman.invoke(echo("x")),
        lambda: norman.upload_model({}),
        lambda: norman.get_account(),
        lambda: norman.persist.models.get_models(),
        lambda: stream.read(),
    ]
    for call in closed:
        with pytest.raises((trio.ClosedResourceError, ConfigurationError)):
            await call()
    with pytest.raises(RuntimeError, match="entered once"):
        await norman.__aenter__()


async def test_closing_the_client_ends_what_is_under_way(autojump_clock: MockClock) -> None:
    ends: list[Exception] = []

    async def invoke(norman: Norman) -> None:
        try:
            await norman.invoke(echo("x"))
        except trio.ClosedResourceError as error:
            ends.append(error)

    async with trio.open_nursery() as nursery:
        async with open_in_memory() as (emulator, norman):
            emulator.norman.inject_flags(flag_name="Model_Function_Run", value=2)
            nursery.start_soon(invoke, norman)
            await trio.sleep(30)
            assert ends == []
    assert len(ends) == 1


async def test_an_invocation_can_be_cancelled_at_each_of_its_waits(autojump_clock: MockClock) -> None:
    gc.collect()
    step, finished = 0, False
    while not finished:
        step += 1
        async with open_in_memory() as (emulator, norman):
            finished = await cancelled_at(step, lambda: norman.invoke(echo("x"))) is not None
            with trio.fail_after(5):
                while emulator.norman.push_connections.active:  # noqa: ASYNC110 (a counter tells nobody)
                    await trio.sleep(0.1)
            assert await norman.persist.models.get_models()  # the client is as good as before
    assert step > 10


async def test_a_limit_on_uploads_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="max_uploads"):
        Norman("k", "http://127.0.0.1:1/v0", max_uploads=0)


async def test_the_flags_that_are_asked_for_are_those_of_the_invocation_and_its_entries(
    autojump_clock: MockClock,
) -> None:
    async with open_in_memory() as (emulator, norman):
        async with norman.open_invocation(echo("x")) as opened:
            run = opened.invocation
        node = body_of(asked(emulator, "/flags/get")[-1])["filter"]["children"][0]
        assert node["value"] == [run.id, run.inputs[0].id, run.outputs[0].id]
        assert (node["table"], node["column"], node["operator"]) == ("Status_Flags", "Entity_ID", "IN")
