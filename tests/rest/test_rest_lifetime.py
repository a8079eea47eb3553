"""The client's block: what it opens, what closes it, and that nothing is left whoever leaves when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.rest.rest_opening import (
    asked,
    at,
    cancelled_at,
    open_in_memory,
    partials,
    service,
    visible,
)
from trio_norman import RestClient, ServiceClient, checkpoint_file_name
from trio_norman.emulator import Emulator
from trio_norman.errors import AuthenticationError, DownloadCancelledError

pytestmark = pytest.mark.usefixtures("api")

MOST_STEPS = 500  # no call of these has as many


async def calls_of(rest: RestClient, emulator: Emulator, dest: Path) -> list[Callable[[], object]]:
    """Everything that a client can be asked for."""
    item = (await rest.list_user_checkpoints()).checkpoints[0]
    run, checkpoint = emulator.training_runs[0].training_run_id, item.checkpoint_id
    return [
        lambda: rest.get_user_info(),
        lambda: rest.list_weights(),
        lambda: rest.get_archive_url(checkpoint),
        lambda: rest.get_training_run(run),
        lambda: rest.list_training_runs(),
        lambda: rest.list_checkpoints(run),
        lambda: rest.get_checkpoint_archive_url(run, checkpoint),
        lambda: rest.list_user_checkpoints(),
        lambda: rest.get_session(emulator.sessions[0].session_id),
        lambda: rest.list_sessions(),
        lambda: rest.get_sampler(emulator.samplers[0].sampler_id),
        lambda: rest.get_checkpoint_info(item.path or ""),
        lambda: rest.whoami(),
        lambda: rest.list_models(),
        lambda: rest.iter_models(),
        lambda: rest.download_checkpoint(item, dest),
        lambda: rest.start_download(item, dest),
        lambda: rest.iter_weights(),
        lambda: rest.iter_training_runs(),
        lambda: rest.iter_checkpoints(run),
        lambda: rest.iter_user_checkpoints(),
        lambda: rest.iter_sessions(),
        lambda: rest.http_client,
        lambda: rest.user_info,
        lambda: rest.delete_checkpoint(run, checkpoint),
    ]


async def test_a_client_outside_its_block_says_that_it_is_closed(emulator: Emulator, tmp_path: Path) -> None:
    async with service(emulator).create_rest_client() as rest:
        calls = await calls_of(rest, emulator, tmp_path)
    emulator.requests.clear()
    for call in calls:
        with pytest.raises(trio.ClosedResourceError, match=r"outside its `async with` block"):  # noqa: PT012 (either way)
            result = call()
            assert isinstance(result, Awaitable)
            await result
    assert asked(emulator) == []
    assert visible(tmp_path) == []


async def test_a_client_is_closed_before_it_is_entered(emulator: Emulator) -> None:
    rest = service(emulator).create_rest_client()
    with pytest.raises(trio.ClosedResourceError):
        await rest.list_training_runs()
    with pytest.raises(trio.ClosedResourceError):
        _ = rest.user_info
    assert asked(emulator) == []


async def test_a_client_is_entered_once(emulator: Emulator) -> None:
    rest = service(emulator).create_rest_client()
    async with rest:
        with pytest.raises(RuntimeError, match=r"entered once.*create_rest_client"):
            await rest.__aenter__()
        await rest.list_sessions()
    with pytest.raises(RuntimeError, match="entered once"):
        await rest.__aenter__()


async def test_a_maker_makes_as_many_clients_as_one_wants_each_with_settings_of_its_own(emulator: Emulator) -> None:
    maker = service(emulator)
    async with maker.create_rest_client() as one, maker.create_rest_client() as other:
        assert one.http_client is not other.http_client
        with pytest.raises(AuthenticationError):
            async with ServiceClient("wrong", emulator.base_url).create_rest_client():
                raise AssertionError("never reached")
        assert (await one.list_sessions()) == (await other.list_sessions())


async def test_a_client_can_be_left_at_once_and_leaves_no_connection(emulator: Emulator) -> None:
    async with service(emulator).create_rest_client():
        pass
    async with service(emulator).create_rest_client() as rest:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(rest.list_training_runs)
        tasks = trio.lowlevel.current_statistics().tasks_living
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living < tasks  # the emulator's tasks of our connections too


async def test_an_error_of_the_block_comes_out_as_it_is(emulator: Emulator) -> None:
    own = KeyError("own")
    with pytest.raises(KeyError) as caught:  # noqa: PT012 (its last step raises)
        async with service(emulator).create_rest_client() as rest:
            await anext(rest.iter_training_runs(1))
            raise own
    assert caught.value is own
    group = ExceptionGroup("own", [ValueError("a"), OSError("b")])
    with pytest.RaisesGroup(ValueError, OSError) as caught_group:
        async with service(emulator).create_rest_client():
            raise group
    assert caught_group.value.exceptions == group.exceptions  # Trio makes a new group of the same errors
    assert caught_group.value.message == "own"


@pytest.mark.parametrize("leave", ["break", "raise", "cancel"])
async def test_a_call_of_another_task_ends_when_the_client_is_closed(
    leave: str, autojump_clock: trio.testing.MockClock
) -> None:
    closed: list[object] = []

    async def call(rest: RestClient) -> None:
        with pytest.raises(trio.ClosedResourceError, match="closed meanwhile"):
            await rest.list_training_runs()
        closed.append(trio.current_time())

    async def iterate(rest: RestClient) -> None:
        with pytest.raises(trio.ClosedResourceError):  # noqa: PT012 (its last step raises)
            async for _ in rest.iter_training_runs():
                raise AssertionError("never reached")
        closed.append(trio.current_time())

    before = trio.current_time()
    async with trio.open_nursery() as others:
        with pytest.raises(KeyError) if leave == "raise" else trio.CancelScope() as scope:
            async with open_in_memory() as (emulator, rest):
                emulator.misbehave(at("runs"), delay=1e6)
                others.start_soon(call, rest)
                others.start_soon(iterate, rest)
                await trio.sleep(5)
                if leave == "raise":
                    raise KeyError
                if leave == "cancel":
                    assert isinstance(scope, trio.CancelScope)
                    scope.cancel()
    assert closed == [before + 5] * 2


async def test_downloads_of_other_tasks_end_when_the_client_is_closed(emulator: Emulator, tmp_path: Path) -> None:
    emulator.inject(stall=100)
    ended: list[str] = []

    async def batch(rest: RestClient, task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(trio.ClosedResourceError, match="closed meanwhile"):  # noqa: PT012 (its last step raises)
            async with rest.download_checkpoints(rest.iter_user_checkpoints(2), tmp_path / "batch") as results:
                task_status.started()
                async for _ in results:
                    raise AssertionError("never reached")
        ended.append("batch")

    async with trio.open_nursery() as others:
        async with service(emulator).create_rest_client() as rest:
            await others.start(batch, rest)  # noqa: ASYNC111 (that it outlives the client is the point)
            transfer = rest.start_download((await rest.list_user_checkpoints()).checkpoints[0], tmp_path / "one")
            while emulator.connections.active < 9:
                await trio.testing.wait_all_tasks_blocked(0.01)
    with pytest.raises(DownloadCancelledError):
        await transfer.wait()
    assert transfer.progress.is_done
    assert ended == ["batch"]
    with trio.fail_after(5):
        await emulator.connections.wait_idle()
    assert visible(tmp_path) == ["batch", "one"]  # two empty folders


async def test_a_nursery_of_the_caller_stops_its_calls_and_not_the_client(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_in_memory() as (emulator, rest):
        emulator.misbehave(at("runs"), delay=1e6)
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(rest.list_training_runs)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        emulator.behave()
        assert (await rest.list_training_runs()).total == 2


# ---- cancellation


async def test_a_call_can_be_cancelled_at_each_of_its_waits(rest: RestClient, emulator: Emulator) -> None:
    run = emulator.training_runs[0].training_run_id
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: rest.get_user_info(),
        lambda: rest.get_training_run(run),
        lambda: anext(rest.iter_user_checkpoints(1)),
    ]
    for call in calls:
        for step in range(1, MOST_STEPS):
            if await cancelled_at(step, call) is not None:
                break
        else:
            raise AssertionError("the call never ends")
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught  # there is one wait at least
    async with trio.open_nursery() as nursery:  # no slot of the pool was lost
        for _ in range(40):
            nursery.start_soon(rest.list_sessions)


async def test_trying_again_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory() as (emulator, rest):
        emulator.misbehave(at("runs"), status=429, retry_after=200)
        for seconds in (0, 1, 100, 250):
            before = trio.current_time()
            with trio.move_on_after(seconds) as scope:
                await rest.list_training_runs()
            assert scope.cancelled_caught
            assert trio.current_time() - before == seconds


async def test_opening_can_be_cancelled_at_each_of_its_waits(emulator: Emulator) -> None:
    async def open_and_call() -> object:
        async with service(emulator).create_rest_client() as rest:
            return await rest.list_sessions()

    for step in range(1, MOST_STEPS):
        if await cancelled_at(step, open_and_call) is not None:
            break
    else:
        raise AssertionError("the client never opens")


async def test_a_download_can_be_cancelled_at_each_wait_of_its_caller(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    item = (await rest.list_user_checkpoints()).checkpoints[0]
    for step in range(1, MOST_STEPS):
        result = await cancelled_at(step, lambda: rest.download_checkpoint(item, tmp_path))
        assert visible(tmp_path) in ([], [checkpoint_file_name(item)])
        if result is not None:
            break
    assert result is not None
    assert result.sha256 == emulator.sha256_of(item.checkpoint_id)
    assert (visible(tmp_path), partials(tmp_path)) == ([result.path.name], [])
    with trio.fail_after(5):
        while emulator.connections.active > 1:  # one may be kept for the next download
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_every_call_is_a_checkpoint(rest: RestClient, emulator: Emulator, tmp_path: Path) -> None:
    for call in await calls_of(rest, emulator, tmp_path):
        result = call()
        if isinstance(result, Coroutine):
            with trio.testing.assert_checkpoints():
                await result
