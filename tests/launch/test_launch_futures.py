"""Futures and their one poller, under a clock that jumps."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import ASYNC, ask, async_endpoint, open_in_memory, polls
from trio_norman import RetryPolicy
from trio_norman.emulator import ContainerError, Emulator, WorkerError
from trio_norman.errors import (
    AuthenticationError,
    EndpointTaskError,
    EndpointTimeoutError,
    MalformedResponseError,
    ServiceBrokenError,
    ServiceError,
    TrioNormanError,
)
from trio_norman.launch import EndpointResponseFuture, LaunchLimits


def tell_of_tasks(emulator: Emulator, status: str, **rule: Any) -> None:
    """Have polls answered with this status."""
    told = {"task_id": "t", "status": status, "result": None, "traceback": None, "status_code": None}
    emulator.misbehave(f"{ASYNC}/", method="GET", **{"status": 200, "body": json.dumps(told), **rule})


async def test_an_answer_comes_soon_after_it_is_there(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=0.3)
        future = await (await async_endpoint(client, "slow")).predict(ask({"x": 1}))
        began = trio.current_time()
        response = await future.get()
        assert 0.3 <= trio.current_time() - began < 0.5
        assert (response.value, response.result, response.status) == ({"x": 1}, '{"x": 1}', "SUCCESS")
        assert response.raw["task_id"] == future.async_task_id
        assert (await future.get()).value == {"x": 1}
        assert future.done()


@pytest.mark.parametrize("seconds", [0, -1, -0.5, float("nan"), 0.0])
async def test_a_timeout_that_is_none_is_a_value_error(seconds: float, autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        future = await (await async_endpoint(client)).predict(ask())
        with pytest.raises(ValueError, match="timeout"):
            await future.get(timeout=seconds)
        assert polls(emulator) == 0


async def test_an_expired_wait_is_a_timeout_of_three_families_and_loses_nothing(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=60)
        future = await (await async_endpoint(client, "slow")).predict(ask(5))
        began = trio.current_time()
        for kind in (EndpointTimeoutError, TimeoutError, trio.TooSlowError):
            with pytest.raises(kind, match="slow within 10 s"):
                await future.get(timeout=10)
        assert trio.current_time() - began == pytest.approx(30)
        assert (await future.get(timeout=40)).value == 5
        assert not future._client.open_state.poller._due


async def test_a_timeout_names_how_the_task_was(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=60)
        future = await (await async_endpoint(client, "slow")).predict(ask())
        with pytest.raises(EndpointTimeoutError, match="its task is STARTED") as raised:
            await future.get(timeout=20)
        assert (raised.value.endpoint, raised.value.seconds, raised.value.retryable) == ("slow", 20, True)
        assert future.async_task_id not in str(raised.value)


async def test_a_short_wait_finds_an_answer_that_is_long_there(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=60)
        future = await (await async_endpoint(client, "slow")).predict(ask(5))
        with pytest.raises(EndpointTimeoutError):
            await future.get(timeout=30)
        await trio.sleep(600)
        assert (await future.get(timeout=0.01)).value == 5


async def test_many_waiters_share_the_polls_of_one_task(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=10)
        future = await (await async_endpoint(client, "slow")).predict(ask(5))
        again = client.future("slow", future.async_task_id)
        values = list[Any]()

        async def wait(each: EndpointResponseFuture) -> None:
            values.append((await each.get()).value)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(wait, again if number % 2 else future)
        assert values == [5] * 50
        assert polls(emulator) < 20


async def test_nobody_waits_and_nothing_is_asked(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=60)
        future = await (await async_endpoint(client, "slow")).predict(ask())
        await trio.sleep(100)
        assert polls(emulator) == 0
        with trio.move_on_after(0.5):
            await client.future("slow", "unknown").get()
        before = polls(emulator)
        await trio.sleep(100)
        assert polls(emulator) <= before + 1
        assert not future.done()
        await trio.sleep(1)
        assert future.done()


async def test_done_keeps_asking_for_a_while(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=30)
        future = await (await async_endpoint(client, "slow")).predict(ask())
        looks = 0
        while not future.done():
            looks += 1
            await trio.sleep(1)
        assert 30 <= looks <= 33
        assert polls(emulator) <= 31


async def test_a_future_is_made_again_from_its_name_and_id(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, client):
        future = await (await async_endpoint(client)).predict(ask("once"))
        kept = pickle.dumps((future.endpoint_name, future.async_task_id))
        await trio.sleep(5)
        again = client.future(*pickle.loads(kept))
        assert (await again.get(timeout=0.01)).value == "once"
        assert future.async_task_id not in repr(future)


@pytest.mark.parametrize("task_id", ["", " ", "a/b", "..", "x\ny"])
async def test_an_id_that_cannot_be_one_is_refused(task_id: str, autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, client):
        with pytest.raises(ValueError, match="async_task_id"):
            client.future("any", task_id)


def fails(kind: Callable[[], Exception]) -> Callable[[Any], Any]:
    def model(args: Any) -> Any:
        raise kind()

    return model


@pytest.mark.parametrize(
    ("kind", "status", "code", "said"),
    [
        (lambda: WorkerError("boom \x1b[31m"), "FAILURE", None, "boom \\x1b"),
        (lambda: RuntimeError("boom"), "SUCCESS", 500, "SUCCESS with status code 500"),
        (lambda: ContainerError(400, {"detail": "no"}), "SUCCESS", 400, "status code 400"),
    ],
)
async def test_a_failed_task_is_an_answer_until_it_is_asked_to_raise(
    kind: Callable[[], Exception], status: str, code: int | None, said: str, autojump_clock: MockClock
) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("broken", "async", fails(kind))
        response = await (await (await async_endpoint(client, "broken")).predict(ask())).get(timeout=9)
        assert (response.status, response.status_code, response.is_failure) == (status, code, True)
        with pytest.raises(EndpointTaskError) as raised:
            response.raise_for_status()
        assert said in str(raised.value)
        assert raised.value.endpoint == "broken"


async def test_an_artifact_that_fails_shows_its_traceback(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("broken", "async", fails(lambda: KeyError("weights")), artifact=True)
        response = await (await (await async_endpoint(client, "broken")).predict(ask())).get(timeout=9)
        assert (response.status, response.status_code) == ("SUCCESS", None)
        with pytest.raises(EndpointTaskError, match="KeyError"):
            response.raise_for_status()


async def test_N_12_a_task_that_never_finishes(autojump_clock: MockClock) -> None:
    """EndpointTimeoutError of the caller's wait, with polls that become fewer."""
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=10**6)
        future = await (await async_endpoint(client, "slow")).predict(ask())
        with pytest.raises(EndpointTimeoutError):
            await future.get(timeout=600)
        assert polls(emulator) <= 340  # one in two seconds, after the first ones


@pytest.mark.parametrize("status", ["PENDING", "UNDEFINED", "RETRY", "SOMETHING_NEW"])
async def test_N_12_a_task_goes_backwards(status: str, autojump_clock: MockClock) -> None:
    """Success: whatever is not final is asked for again, unknown words too."""
    async with open_in_memory() as (emulator, client):
        tell_of_tasks(emulator, "STARTED", times=2)
        tell_of_tasks(emulator, status, times=3)
        future = await (await async_endpoint(client)).predict(ask("late"))
        assert (await future.get(timeout=60)).value == "late"


async def test_N_12_an_id_that_nobody_knows(autojump_clock: MockClock) -> None:
    """EndpointTimeoutError: the service calls it pending."""
    async with open_in_memory() as (_, client):
        with pytest.raises(EndpointTimeoutError, match="its task is PENDING"):
            await client.future("any", "4d1f5a1c-unknown").get(timeout=30)


async def test_transient_errors_lose_no_future(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await async_endpoint(client)
        futures = [await endpoint.predict(ask(number)) for number in range(20)]
        emulator.misbehave(f"{ASYNC}/", method="GET", status=503, times=30)
        emulator.misbehave(f"{ASYNC}/", method="GET", status=429, retry_after=2, times=5)
        emulator.misbehave(f"{ASYNC}/", method="GET", drop=True, times=5)
        got = list[Any]()

        async def wait(future: EndpointResponseFuture) -> None:
            got.append((await future.get(timeout=120)).value)

        async with trio.open_nursery() as nursery:
            for future in futures:
                nursery.start_soon(wait, future)
        assert sorted(got) == list(range(20))


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"status": 401, "body": '{"detail":"Could not authenticate user"}'}, AuthenticationError),
        ({"status": 503}, ServiceBrokenError),
        ({"status": 200, "body": "[]"}, MalformedResponseError),
        ({"status": 200, "body": '{"detail":"sorry"}'}, MalformedResponseError),
        ({"status": 200, "body": "<html>"}, MalformedResponseError),
    ],
)
async def test_a_poll_that_fails_for_good_is_told_to_whoever_waits_and_can_be_repeated(
    rule: dict[str, Any], kind: type[TrioNormanError], autojump_clock: MockClock
) -> None:
    async with open_in_memory(retry=RetryPolicy(attempts=3, initial=0.1)) as (emulator, client):
        future = await (await async_endpoint(client)).predict(ask("kept"))
        emulator.misbehave(f"{ASYNC}/", method="GET", **rule)
        with pytest.raises(kind) as raised:
            await future.get(timeout=60)
        assert future.async_task_id not in str(raised.value) + str(raised.value.args)
        if isinstance(raised.value, ServiceBrokenError):
            assert raised.value.attempts == 3
        emulator.behave()
        assert (await future.get(timeout=60)).value == "kept"


async def test_an_error_reaches_all_who_wait_even_if_one_asks_again_at_once(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        future = await (await async_endpoint(client)).predict(ask("kept"))
        emulator.misbehave(f"{ASYNC}/", method="GET", status=401, times=1)
        errors, values = list[AuthenticationError](), list[Any]()

        async def wait() -> None:
            try:
                await future.get()
            except AuthenticationError as error:
                errors.append(error)
            values.append((await future.get()).value)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(wait)
        assert values == ["kept"] * 5
        assert len({id(error) for error in errors}) == 5


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"detail": {"traceback": "Traceback boom"}}, "Traceback boom"),
        ({"detail": {"foo": 1}}, '{"foo": 1}'),
        ({"detail": [{"msg": "bad input", "loc": ["x"]}]}, "bad input"),
        ({"detail": "no model"}, "no model"),
        ({"detail": ""}, '""'),
    ],
)
async def test_an_error_body_in_place_of_a_result_is_a_failure_and_kept(
    result: Any, said: str, autojump_clock: MockClock
) -> None:
    async with open_in_memory() as (emulator, client):
        told = {"task_id": "t", "status": "SUCCESS", "result": result, "traceback": None, "status_code": None}
        emulator.misbehave(f"{ASYNC}/", method="GET", status=200, body=json.dumps(told))
        response = await (await (await async_endpoint(client)).predict(ask())).get(timeout=9)
        assert response.value == result
        with pytest.raises(EndpointTaskError) as raised:
            response.raise_for_status()
        assert said in str(raised.value)


@pytest.mark.parametrize(
    "result", [None, "text", [1, 2], {"other": 1}, 7, {"detail": "hello"}, {"detail": "hello", "answer": 42}]
)
async def test_any_result_is_an_answer(result: Any, autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        told = {"task_id": "t", "status": "SUCCESS", "result": result, "traceback": None, "status_code": 200}
        emulator.misbehave(f"{ASYNC}/", method="GET", status=200, body=json.dumps(told))
        response = await (await (await async_endpoint(client)).predict(ask())).get(timeout=9)
        assert response.value == result
        assert response.raise_for_status() is response


async def test_polls_in_flight_are_bounded(autojump_clock: MockClock) -> None:
    async with open_in_memory(limits=LaunchLimits(polls_at_once=3)) as (emulator, client):
        endpoint = await async_endpoint(client)
        futures = [await endpoint.predict(ask(number)) for number in range(30)]
        emulator.misbehave(f"{ASYNC}/", method="GET", delay=1.0)
        await trio.sleep(5)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for future in futures:
                nursery.start_soon(future.get)
        assert trio.current_time() - began == pytest.approx(10, abs=0.5)


async def test_waits_end_when_the_client_is_closed(autojump_clock: MockClock) -> None:
    async def wait(future: EndpointResponseFuture) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await future.get()

    async with trio.open_nursery() as nursery, open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=60)
        future = await (await async_endpoint(client, "slow")).predict(ask())
        done = await (await async_endpoint(client)).predict(ask("kept"))
        await done.get()
        nursery.start_soon(wait, future)
        await trio.sleep(1)
    assert (await done.get()).value == "kept"
    with pytest.raises(trio.ClosedResourceError):
        await future.get()
    with pytest.raises(trio.ClosedResourceError):
        future.done()


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.05, 0.0999, 0.11, 3.0])
async def test_a_cancelled_wait_loses_nothing(seconds: float, autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=2)
        emulator.misbehave(ASYNC, method="GET", delay=0.1)
        future = await (await async_endpoint(client, "slow")).predict(ask(3))
        with trio.move_on_after(seconds):
            await future.get()
        assert (await future.get(timeout=10)).value == 3


async def test_a_lost_answer_to_a_new_task_is_not_asked_for_twice(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await async_endpoint(client)
        for retry_after in (None, 1):
            rule = emulator.misbehave(ASYNC, method="POST", status=503, retry_after=retry_after, times=1)
            with pytest.raises(ServiceError):
                await endpoint.predict(ask())
            assert rule.hits == 1
            emulator.behave()
        emulator.misbehave(ASYNC, method="POST", status=429, body='{"error":"Too many requests"}', times=2)
        assert (await (await endpoint.predict(ask("then"))).get()).value == "then"
