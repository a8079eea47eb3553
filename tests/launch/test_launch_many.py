"""Many requests at once: one bad one spoils no other, and no answer is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import (
    ASYNC,
    ask,
    async_endpoint,
    open_in_memory,
    streaming_endpoint,
    sync_endpoint,
)
from trio_norman import RetryPolicy
from trio_norman.emulator import ContainerError
from trio_norman.errors import AuthenticationError, ConfigurationError, EndpointTimeoutError
from trio_norman.launch import Answers, EndpointResponse


async def test_many_answers_come_in_order_of_completion(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=lambda args: 10.0 - args)
        endpoint = await async_endpoint(client, "slow")
        async with endpoint.predict_many([ask(number) for number in range(10)]) as answers:
            got = [outcome.value async for _, outcome in answers if isinstance(outcome, EndpointResponse)]
        assert sorted(got) == list(range(10))
        assert got[0] > got[-1]


async def test_one_bad_request_spoils_no_other(autojump_clock: MockClock) -> None:
    def model(args: Any) -> Any:
        if args == 3:
            raise ContainerError(400, "no")
        return args

    requests = [ask(number, request_id=str(number)) for number in range(6)]
    requests += [ask(7, callback_url="http://h", request_id="ignored"), ask(8, request_id="2")]
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("picky", "sync", model)
        async with (await sync_endpoint(client, "picky")).predict_many(requests, 2) as answers:
            outcomes = [(request.request_id, request.args, outcome) async for request, outcome in answers]
    failed = {args: type(each).__name__ for _, args, each in outcomes if isinstance(each, Exception)}
    assert failed == {3: "ServiceError", 7: "ConfigurationError", 8: "ConfigurationError"}
    assert len(outcomes) == 8


async def test_back_pressure_reaches_both_ways(autojump_clock: MockClock) -> None:
    taken, flying, most = 0, 0, 0

    async def requests() -> AsyncIterator[Any]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield ask(number)

    async def model(args: Any) -> Any:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await trio.sleep(1)
        flying -= 1
        return args

    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("busy", "sync", model)
        async with (await sync_endpoint(client, "busy")).predict_many(requests(), 5) as answers:
            await trio.sleep(60)
            assert taken <= 2 * 5 + 2
            assert len([1 async for _ in answers]) == 100
    assert most == 5


async def test_an_answer_that_is_late_is_a_timeout_in_its_place(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        for name, kind in (("a", "async"), ("s", "sync"), ("st", "streaming")):
            emulator.register_endpoint(name, kind, lambda args: [args], delay=lambda args: args)
            endpoint = await client.get_model_endpoint(name)
            async with endpoint.predict_many([ask(1), ask(100)], timeout=10) as answers:
                outcomes = {request.args: outcome async for request, outcome in answers}
            assert isinstance(outcomes[100], EndpointTimeoutError)
            assert not isinstance(outcomes[1], Exception)


async def test_leaving_early_stops_asking(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        async with endpoint.predict_many((ask(number) for number in range(10_000)), 4) as answers:
            async for _ in answers:
                break
        asked = len(emulator.requests)
        await trio.sleep(100)
        assert len(emulator.requests) == asked < 20
        with pytest.raises(ZeroDivisionError):
            await all_answers(endpoint.predict_many((ask(1 // number) for number in (1, 0)), 1))
        with pytest.raises(ValueError, match="max_in_flight"):
            await all_answers(endpoint.predict_many([], 0))


async def test_answers_are_not_quietly_over_after_their_block(autojump_clock: MockClock) -> None:
    async def wait(answers: Answers) -> None:
        with pytest.raises(trio.ClosedResourceError, match="after their block"):
            await anext(answers)

    async with open_in_memory() as (emulator, client), trio.open_nursery() as nursery:
        emulator.register_endpoint("slow", "sync", lambda args: args, delay=60)
        async with (await sync_endpoint(client, "slow")).predict_many(map(ask, range(3))) as answers:
            nursery.start_soon(wait, answers)  # noqa: ASYNC111 (it waits beyond the block: that is the test)
            await trio.sleep(1)
        await wait(answers)


async def all_answers(opening: AbstractAsyncContextManager[Answers]) -> list[Any]:
    async with opening as answers:
        return [answer async for answer in answers]


async def test_events_of_many_streams_are_gathered(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("count", "streaming", range)
        async with (await streaming_endpoint(client, "count")).predict_many(map(ask, range(1, 20))) as answers:
            async for request, outcome in answers:
                assert isinstance(outcome, tuple)
                assert [response.value for response in outcome] == list(range(request.args))


async def test_no_task_is_lost_with_its_answer(autojump_clock: MockClock) -> None:
    async with open_in_memory(retry=RetryPolicy(attempts=1)) as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=lambda args: args)
        endpoint = await async_endpoint(client, "slow")
        bad = ask(0, timeout_seconds=1)
        async with endpoint.predict_many([ask(1), ask(100), bad], timeout=10) as answers:
            outcomes = {request.args: outcome async for request, outcome in answers}
        late, refused = outcomes[100], outcomes[0]
        assert isinstance(late, EndpointTimeoutError)
        assert late.last_status == "PENDING"
        assert isinstance(refused, ConfigurationError)
        assert client.future_of(refused) is None
        future = client.future_of(late)
        assert future is not None
        assert future.async_task_id not in f"{late} {late!r}"
        assert (await future.get(timeout=100)).value == 100

        emulator.misbehave(f"{ASYNC}/", method="GET", status=401, times=1)
        async with endpoint.predict_many([ask(2)]) as answers:
            ((_, failed),) = [answer async for answer in answers]
        assert isinstance(failed, AuthenticationError)
        kept = client.future_of(failed)
        assert kept is not None
        assert (await kept.get(timeout=10)).value == 2
