"""Lists as iterators: all pages, one of them ahead, nothing left behind, and no list that goes in circles."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest
import trio
import trio.testing

from tests.rest import rest_opening
from tests.rest.rest_opening import asked, at, open_in_memory, page_text, service, spelt
from trio_norman import PageIterator, RestClient
from trio_norman.emulator import Emulator, PagingFault
from trio_norman.errors import MalformedResponseError, PagingError, ServiceBrokenError

pytestmark = pytest.mark.usefixtures("api")

Listing = Callable[[RestClient, int], PageIterator[Any]]
LISTS: dict[str, tuple[Listing, Callable[[Any], str], Callable[[Emulator], Sequence[str]]]] = {
    "weights": (
        lambda rest, limit: rest.iter_weights(limit),
        lambda weight: weight.cuid,
        lambda emulator: [each.checkpoint_id for each in emulator.weights],
    ),
    "runs": (
        lambda rest, limit: rest.iter_training_runs(limit),
        lambda run: run.training_run_id,
        lambda emulator: [each.training_run_id for each in emulator.training_runs],
    ),
    "checkpoints": (
        lambda rest, limit: rest.iter_user_checkpoints(limit),
        lambda checkpoint: checkpoint.checkpoint_id,
        lambda emulator: [each.checkpoint_id for each in emulator.checkpoints],
    ),
    "sessions": (
        lambda rest, limit: rest.iter_sessions(limit),
        lambda session: session,
        lambda emulator: [each.session_id for each in emulator.sessions],
    ),
}
LANES = 4  # pages that are fetched at once where the service tells the list's length
classic_alone = pytest.mark.parametrize("api", ["classic"], indirect=True)
v1_alone = pytest.mark.parametrize("api", ["v1"], indirect=True)


def listed(kind: str, emulator: Emulator) -> Sequence[str]:
    """Give what the service lists: in the later dialect no weights, but all checkpoints instead."""
    return LISTS["checkpoints" if (kind, rest_opening.SPOKEN) == ("weights", "v1") else kind][2](emulator)


of_each_list = pytest.mark.parametrize("kind", LISTS)


@of_each_list
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 100])
async def test_all_items_come_once_in_order(kind: str, limit: int) -> None:
    listing, key, known = LISTS[kind]
    async with open_in_memory(runs=6, checkpoints=2) as (emulator, rest):
        assert [key(item) async for item in listing(rest, limit)] == known(emulator)
        size = len(listed(kind, emulator))
        if kind == "sessions" and rest.dialect == "classic":  # which does not say that it is over
            assert len(asked(emulator)) == size // limit + 1
        else:
            assert len(asked(emulator)) == -(-size // limit)


@of_each_list
async def test_an_empty_list_ends_at_once(kind: str) -> None:
    async with open_in_memory(runs=0) as (emulator, rest):
        assert [item async for item in LISTS[kind][0](rest, 5)] == []
        assert len(asked(emulator)) == 1


async def test_smaller_pages_than_were_asked_for_are_gone_through_to_the_end() -> None:
    async with open_in_memory(runs=1, checkpoints=7, max_limit=3) as (emulator, rest):
        found = [each.checkpoint_id async for each in rest.iter_user_checkpoints(100)]
        assert found == [each.checkpoint_id for each in emulator.checkpoints]
        assert sorted(parse_qs(each.query)["offset"][0] for each in asked(emulator)) == ["0", "3", "6"]


async def test_the_checkpoints_of_one_run_are_a_list_too(rest: RestClient, emulator: Emulator) -> None:
    run = emulator.training_runs[1].training_run_id
    found = [each async for each in rest.iter_checkpoints(run)]
    assert found == list((await rest.list_checkpoints(run)).checkpoints)
    assert {each.training_run_id for each in found} == {run}


async def test_a_list_of_a_run_that_repeats_itself_is_not_believed(rest: RestClient, emulator: Emulator) -> None:
    body = page_text(checkpoints=[{"checkpoint_id": "c"}, {"checkpoint_id": "c"}])
    emulator.misbehave(".*/checkpoints", status=200, body=body)
    with pytest.raises(PagingError, match="same item twice"):
        await anext(rest.iter_checkpoints("r"))


# ---- reading ahead


@classic_alone
@of_each_list
async def test_the_next_page_and_no_further_one_is_asked_for_while_a_page_is_worked_on(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    listing, key, known = LISTS[kind]
    async with open_in_memory(runs=6, checkpoints=2) as (emulator, rest):
        iterator = listing(rest, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert asked(emulator) == []  # nothing is asked for before somebody wants it
        for page in range(3):
            assert key(await anext(iterator)) == known(emulator)[2 * page]
            await trio.sleep(3600)
            pages = len(known(emulator)) // 2 + (kind == "sessions")
            expected = min(page + 2, pages)
            assert len(asked(emulator)) == expected
            assert key(await anext(iterator)) == known(emulator)[2 * page + 1]
            await trio.sleep(3600)
            assert len(asked(emulator)) == expected


@v1_alone
@of_each_list
async def test_the_next_few_pages_are_asked_for_at_once_where_the_length_is_known(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    listing, key, known = LISTS[kind]
    async with open_in_memory(runs=14, checkpoints=1) as (emulator, rest):
        emulator.state.add_run(checkpoints=14)
        emulator.misbehave("/api/openapi", delay=10)
        iterator = listing(rest, 1)
        before = trio.current_time()
        first = await anext(iterator)
        if kind != "weights":  # of which some pages hold none
            await trio.sleep(3600)
            assert len(asked(emulator)) == 1 + LANES
            assert len({each.started_at for each in asked(emulator)}) == 2  # the first, and all others at once
            before += 3600 - 10
        assert [key(first), *[key(item) async for item in iterator]] == known(emulator)
        pages = len(listed(kind, emulator))
        assert len(asked(emulator)) == pages
        assert trio.current_time() - before <= 10 * (2 + pages / LANES + 1)


async def test_pages_are_fetched_while_others_are_worked_on(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(runs=4) as (emulator, rest):
        emulator.misbehave(at("runs"), delay=10)
        before = trio.current_time()
        async for _ in rest.iter_training_runs(1):
            await trio.sleep(10)
        assert trio.current_time() - before == pytest.approx(50)  # not 80


async def test_two_tasks_share_one_iterator_without_losing_or_repeating_items(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_in_memory(runs=2, checkpoints=20) as (emulator, rest):
        emulator.misbehave(at("checkpoints"), delay=1)
        iterator = rest.iter_user_checkpoints(3)
        found: list[str] = []

        async def take() -> None:
            async for checkpoint in iterator:
                found.append(checkpoint.checkpoint_id)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(take)
        assert sorted(found) == sorted(each.checkpoint_id for each in emulator.checkpoints)


# ---- dropping


@of_each_list
async def test_a_dropped_iterator_holds_nothing_and_asks_for_nothing(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_in_memory(runs=9, checkpoints=2) as (emulator, rest):
        await trio.sleep(3600)
        tasks = trio.lowlevel.current_statistics().tasks_living
        async for _ in LISTS[kind][0](rest, 1):
            break
        gc.collect()
        await trio.sleep(3600)
        # The page, and those ahead; the first checkpoint is no weight, so there it takes a second page.
        expected = 2 if rest.dialect == "classic" else 1 + LANES + (kind == "weights")
        assert len(asked(emulator)) == expected
        assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_the_client_does_not_wait_for_a_page_that_nobody_wants(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(runs=5) as (emulator, rest):
        emulator.misbehave(at("runs"), skip=1, delay=1e6)
        await anext(rest.iter_training_runs(1))
        await trio.testing.wait_all_tasks_blocked()
        assert len(asked(emulator)) >= 2
        before = trio.current_time()
    assert trio.current_time() == before


async def test_dropping_on_real_sockets_leaves_no_connection_behind(emulator: Emulator) -> None:
    async with service(emulator).create_rest_client() as rest:
        for _ in range(40):
            async for _ in rest.iter_user_checkpoints(1):
                break
            async for _ in rest.iter_checkpoints(emulator.training_runs[0].training_run_id):
                break
        gc.collect()
        await rest.list_sessions()


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_an_iterator_says_so_once_its_client_is_closed(taken: int) -> None:
    async with open_in_memory(runs=5) as (_, rest):
        iterator = rest.iter_training_runs(2)
        for _ in range(taken):
            await anext(iterator)
        await trio.testing.wait_all_tasks_blocked()
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError):
            await anext(iterator)


async def test_a_cancelled_iteration_goes_on_where_it_was(autojump_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(runs=6) as (emulator, rest):
        emulator.misbehave(at("runs"), delay=10)
        iterator, found = rest.iter_training_runs(2), []
        while True:
            with trio.move_on_after(3):
                try:
                    found.append((await anext(iterator)).training_run_id)
                except StopAsyncIteration:
                    break
        assert found == [each.training_run_id for each in emulator.training_runs]
        assert len(asked(emulator)) == 3  # a cancelled wait does not ask again


async def test_each_item_is_a_checkpoint_of_trio(rest: RestClient) -> None:
    iterator = rest.iter_user_checkpoints()
    await anext(iterator)
    with trio.testing.assert_checkpoints():
        await anext(iterator)


# ---- lists that lie

CONTRADICTIONS: list[tuple[PagingFault, int, str]] = [
    ("loop", 5, "begins again|repeats|goes beyond"),
    ("same", 2, "asked for|repeats"),
    ("empty", 0, "is empty and says that more follows"),
    ("ignore_offset", 2, "repeats|asked for"),
    ("zero_limit", 0, "limit of 0|page_size"),
]


@pytest.mark.parametrize("kind", ["weights", "runs", "checkpoints"])
@pytest.mark.parametrize(("fault", "right", "problem"), CONTRADICTIONS)
async def test_a_list_that_contradicts_itself_ends_in_an_error_after_what_was_right(
    kind: str, fault: PagingFault, right: int, problem: str
) -> None:
    listing, key, known = LISTS[kind]
    async with open_in_memory(runs=5, checkpoints=3) as (emulator, rest):
        emulator.paging_fault = fault
        found = []
        with pytest.raises(PagingError, match=problem) as caught:  # noqa: PT012 (its last step raises)
            async for item in listing(rest, 2):
                found.append(key(item))
        whole_pages = right - right % 2  # the page on which it shows is not given out
        assert found == known(emulator)[: len(found)]
        assert len(found) >= whole_pages // len(listed(kind, emulator)) * len(known(emulator))
        assert len(asked(emulator)) <= 6 + LANES
        assert caught.value.url.startswith(emulator.base_url)
        assert caught.value.request_id in [f"api-{each.number}" for each in asked(emulator)]
        assert not caught.value.retryable


async def test_sessions_that_never_end_are_noticed() -> None:
    faults: list[PagingFault] = ["loop", "same", "ignore_offset"]
    for fault in faults:
        async with open_in_memory(runs=5) as (emulator, rest):
            emulator.paging_fault = fault
            found = []
            with pytest.raises(PagingError):  # noqa: PT012 (its last step raises)
                async for session in rest.iter_sessions(2):
                    found.append(session)
            assert found == [each.session_id for each in emulator.sessions][: len(found)]
            assert found


@classic_alone
@of_each_list
async def test_a_total_that_lies_changes_nothing(kind: str) -> None:
    listing, key, known = LISTS[kind]
    async with open_in_memory(runs=3, checkpoints=2) as (emulator, rest):
        emulator.paging_fault = "lie_total"
        assert [key(item) async for item in listing(rest, 2)] == known(emulator)


@v1_alone
@of_each_list
async def test_a_total_that_lies_ends_in_an_error_where_nothing_else_tells_the_end(kind: str) -> None:
    listing, key, known = LISTS[kind]
    async with open_in_memory(runs=3, checkpoints=2) as (emulator, rest):
        emulator.paging_fault = "lie_total"
        found = []
        with pytest.raises(PagingError, match="says that more follows"):  # noqa: PT012 (its last step raises)
            async for item in listing(rest, 2):
                found.append(key(item))
        assert found == known(emulator)
        assert len(asked(emulator)) <= len(listed(kind, emulator)) // 2 + LANES + 1


@v1_alone
async def test_a_list_that_is_longer_than_its_total_is_not_believed(rest: RestClient, emulator: Emulator) -> None:
    body = page_text(training_runs=[], checkpoints=[{"checkpoint_id": each} for each in "abc"])
    emulator.misbehave(at("checkpoints"), status=200, body=body)
    with pytest.raises(PagingError, match="said to have 2 items, and page 1 goes beyond"):
        await anext(rest.iter_user_checkpoints())


async def test_a_page_that_fails_fails_in_its_place_in_the_list(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(at("checkpoints"), skip=1, status=500)
    found, checkpoints = [], rest.iter_user_checkpoints(2)
    with pytest.raises(ServiceBrokenError):  # noqa: PT012 (its last step raises)
        async for checkpoint in checkpoints:
            found.append(checkpoint.checkpoint_id)
    assert found == [each.checkpoint_id for each in list(emulator.checkpoints)[:2]]
    tries = [parse_qs(each.query)["offset"] for each in asked(emulator)]
    assert tries[0] == ["0"]
    assert tries.count(["2"]) == 3
    emulator.behave()
    found += [checkpoint.checkpoint_id async for checkpoint in checkpoints]  # it goes on from there
    assert found == [each.checkpoint_id for each in emulator.checkpoints]


async def test_a_page_that_cannot_be_read_says_where(rest: RestClient, emulator: Emulator) -> None:
    runs = [{"training_run_id": "a"}, {"training_run_id": "b", "is_lora": "yes"}, {"base_model": "m"}]
    emulator.misbehave(at("runs"), status=200, body=page_text(training_runs=runs))
    with pytest.raises(MalformedResponseError) as caught:
        await anext(rest.iter_training_runs())
    assert caught.value.problems == (
        "expected bool, got str @ $.training_runs[1].is_lora",
        spelt("a required field is missing @ $.training_runs[2].training_run_id"),
    )
