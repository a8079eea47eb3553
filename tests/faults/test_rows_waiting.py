"""Waiting for what a service works on, and what its answer leads to: rows N-06, N-12, N-13 and N-15."""

from __future__ import annotations

import json
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.faults.rows import Row
from tests.faults.services import launch_attempt, norman_attempt
from tests.launch.launch_opening import ASYNC, SYNC, ask, async_endpoint, sync_endpoint
from tests.norman.norman_opening import answer, echo
from tests.wallclock import WallClock
from trio_norman import Norman, errors
from trio_norman.emulator import TaskLostError, WorkerError
from trio_norman.launch import CallbackReceiver, LaunchClient

DAY = 86_400.0
JOB = "/v1/batch-jobs/bat_1"
LOOKS = (f"{ASYNC}/", JOB, "/flags/get")  # paths of requests that ask how something is


def raising(error: Callable[[], Exception]) -> Callable[[Any], Any]:
    """Give a model that fails."""

    def model(args: Any) -> Any:
        raise error()

    return model


def tell_of_tasks(row: Row, status: str, **rule: Any) -> None:
    """Have polls answered with this status."""
    told = {"task_id": "t", "status": status, "result": None, "traceback": None, "status_code": None}
    row.emulator.misbehave(f"{ASYNC}/", method="GET", **{"status": 200, "body": json.dumps(told), **rule})


def tell_of_jobs(row: Row, status: str, **rule: Any) -> None:
    """Have looks at a batch job answered with this status."""
    row.emulator.misbehave(JOB, method="GET", status=200, body=json.dumps({"status": status}), **rule)


# ---- N-06: words that nobody knew


async def test_N_06_a_task_whose_status_nobody_knows(row: Row) -> None:
    """EndpointTimeoutError at the deadline, which names the status. D0."""
    tell_of_tasks(row, "SOMETHING_NEW")
    async with launch_attempt(row) as (attempt, client):
        future = await (await async_endpoint(client)).predict(ask())
        await future.get(timeout=0.4)
    error = row.expect_error(attempt, errors.EndpointTimeoutError, disk="D0")
    assert "its task is SOMETHING_NEW" in str(error)


async def test_N_06_a_batch_job_whose_status_nobody_knows(row: Row) -> None:
    """EndpointTimeoutError at the deadline, which names the status. D0."""
    tell_of_jobs(row, "SOMETHING_NEW")
    async with launch_attempt(row) as (attempt, client):
        await client.batch_jobs.wait("bat_1", timeout=0.4)
    error = row.expect_error(attempt, errors.EndpointTimeoutError, disk="D0")
    assert "its task is SOMETHING_NEW" in str(error)


async def test_N_06_a_flag_whose_value_nobody_knows(row: Row) -> None:
    """JobTimeoutError at the deadline, which names the step and the value. D0."""
    row.emulator.norman.inject_flags(flag_name="Model_Function_Run", value=7)
    async with norman_attempt(row) as (attempt, norman):
        await norman.invoke(echo("x"), max_seconds=0.5)
    error = row.expect_error(attempt, errors.JobTimeoutError, disk="D0")
    (step,) = error.unfinished
    assert step.startswith("Model_Function_Run of ")
    assert step.endswith(", which is 7")


# ---- N-12: tasks that never end well


async def test_N_12_a_lost_task(row: Row) -> None:
    """EndpointTimeoutError that names the status. D0."""
    row.emulator.register_endpoint("lossy", "async", raising(TaskLostError))
    async with launch_attempt(row) as (attempt, client):
        future = await (await async_endpoint(client, "lossy")).predict(ask())
        await future.get(timeout=0.4)
    error = row.expect_error(attempt, errors.EndpointTimeoutError, disk="D0")
    assert "its task is UNDEFINED" in str(error)


@pytest.mark.parametrize("is_called_back", [False, True])
async def test_N_12_a_failed_task(row: Row, is_called_back: bool) -> None:
    """EndpointTaskError with the service's message, escaped; also if it comes as a callback. D0."""
    row.emulator.register_endpoint("broken", "async", raising(lambda: WorkerError("\x1b]0;title\x07 exploded\u202e")))
    receiver = CallbackReceiver() if is_called_back else None
    async with launch_attempt(row, callback_receiver=receiver) as (attempt, client):
        response = await (await (await async_endpoint(client, "broken")).predict(ask())).get(timeout=9)
        response.raise_for_status()
    error = row.expect_error(attempt, errors.EndpointTaskError, disk="D0")
    assert "exploded" in str(error)
    assert all(bool(task.body.get("callback_auth")) == is_called_back for task in row.emulator.launch.tasks.values())
    assert not {"\x1b", "\x07", "\u202e"} & set(str(error))


async def test_N_12_unknown_after_it_was_made(row: Row) -> None:
    """NotFoundError with the service's message; asked again, the future has its answer. D0."""
    gone = '{"detail":"The specified task could not be found."}'
    row.emulator.misbehave(f"{ASYNC}/", method="GET", status=404, body=gone, times=1)
    async with launch_attempt(row) as (attempt, client):
        future = await (await async_endpoint(client)).predict(ask("there"))
        try:
            await future.get(timeout=9)
        except errors.TrioNormanError:
            assert (await future.get(timeout=9)).value == "there"  # noqa: ASYNC120 (nobody cancels it)
            raise
    error = row.expect_error(attempt, errors.NotFoundError, disk="D0")
    assert "could not be found" in str(error)
    assert future.async_task_id not in str(error)


# ---- N-13: the wall clock steps


async def wait_for_a_task(row: Row, client: LaunchClient) -> None:
    row.emulator.register_endpoint("slow", "async", lambda args: args, delay=0.4)
    future = await (await async_endpoint(client, "slow")).predict(ask(1))
    assert (await future.get(timeout=5)).value == 1


async def wait_for_a_job(row: Row, client: LaunchClient) -> None:
    tell_of_jobs(row, "RUNNING", times=4)
    tell_of_jobs(row, "SUCCESS")
    assert (await client.batch_jobs.wait("bat_1", timeout=5)).is_final


async def wait_for_an_invocation(row: Row, norman: Norman) -> None:
    row.emulator.norman.inject_flags(flag_name="Model_Function_Run", value=2, times=3)
    assert await answer(norman, echo(b"x"), max_seconds=5) == b"x"


@pytest.mark.parametrize("step", [DAY, -DAY])
@pytest.mark.parametrize(
    ("opened", "wait"),
    [
        (launch_attempt, wait_for_a_task),
        (launch_attempt, wait_for_a_job),
        (norman_attempt, wait_for_an_invocation),
    ],
)
async def test_N_13_the_wall_clock_steps_while_waiting(
    row: Row, opened: Any, wait: Callable[[Row, Any], Awaitable[None]], step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success, as if nothing had happened: waits follow a clock that never steps. D0."""
    clock = WallClock().install(monkeypatch)

    async def step_soon() -> None:
        while not any(look in each.path for each in row.emulator.requests for look in LOOKS):  # noqa: ASYNC110
            await trio.sleep(0.005)
        clock.step(step)

    async with opened(row, within=6) as (attempt, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(step_soon)
            await wait(row, client)
            assert clock.has_stepped, "the wait was over before"
    row.expect(attempt, disk="D0")
    assert attempt.seconds < 4


# ---- N-15: results that are stored


async def test_N_15_a_pickled_result(row: Row) -> None:
    """Success: bytes are handed over as bytes, and the object only by the name of the risk. D0."""
    row.emulator.register_endpoint("art", "sync", lambda args: {"sum": args}, artifact=True)
    async with launch_attempt(row) as (attempt, client):
        response = await (await sync_endpoint(client, "art")).predict(ask(3, return_pickled=True))
        assert response.result is None
        assert response.result_url is not None
        assert pickle.dumps({"sum": 3}) == await response.fetch_result()
        assert await response.fetch_result(unsafe_unpickle=True) == {"sum": 3}
    row.expect(attempt, disk="D0")
    assert attempt.requests
    assert not any("authorization" in each.headers for each in attempt.requests)


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("s3://bucket/key.pkl?signature=", errors.ConfigurationError, "'s3' cannot be fetched"),
        ("file:///etc/passwd?signature=", errors.ConfigurationError, "'file'"),
        ("http://example.org/x.pkl?signature=", errors.AddressError, "plain http outside this machine"),
        ("https://10.0.0.1/x.pkl?signature=", errors.AddressError, "is a private address"),
    ],
)
async def test_N_15_a_result_url_that_must_not_be_contacted(
    row: Row, url: str, kind: type[errors.TrioNormanError], words: str
) -> None:
    """ConfigurationError for another scheme, AddressError for another place: before anything is sent. D0."""
    told = {"status": "SUCCESS", "result": {"result_url": url + row.secret("result")}, "status_code": 200}
    row.emulator.misbehave(SYNC, status=200, body=json.dumps({**told, "traceback": None}))
    async with launch_attempt(row) as (attempt, client):
        response = await (await sync_endpoint(client)).predict(ask())
        await response.fetch_result()
    error = row.expect_error(attempt, kind, disk="D0", requests=0)
    assert words in str(error)
