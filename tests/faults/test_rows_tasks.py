"""Tasks, channels and cancelling: rows M-01 to M-03 and M-05 to M-12."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any

import attrs
import pytest
import trio

from tests.destinations import QUICK, until
from tests.faults import trees
from tests.faults.disks import is_partial
from tests.faults.partials import journal_of, plant_partial, spans
from tests.faults.rows import MiB, Row
from tests.transfer.test_cancelling import CancelAt
from trio_norman import (
    DownloadAdvanced,
    DownloadFinished,
    DownloadStarted,
    Outcome,
    ServiceClient,
    Source,
    download_many,
    errors,
)
from trio_norman._sansio.heads import Version

SIZE = 2 * MiB
ONCE = attrs.evolve(QUICK, attempts=1)


# ---- cancelled at every step


async def cancelled_at_each_step(row: Row, stride: int) -> None:
    """Cancel a batch before its first step, its second one, and so on.

    One file is resumed, verified and published, one is small, and of one there is an earlier run's partial beside it.
    """
    await row.download(f"reset={SIZE // 2}&times=1", SIZE, retry=ONCE)
    row.attempts[-1].unjudged.clear()
    names = {name: row.emulator.blob_content(SIZE if name == "f" else 5000, name=name) for name in "fgh"}
    whole = trees.bytes_of(names["h"])
    row.plant("h", whole)
    plant_partial(row, whole[:50], journal_of("an earlier run", Version(), spans(0, 50)), name="h")
    lasting = [*trees.partial_of(row.dest, "f"), row.dest / "h", *trees.partial_of(row.dest, "h")]
    left = {path: path.read_bytes() for path in lasting}
    sources = [
        row.source("", SIZE),
        row.source("", 5000, name="g", is_sized=True),
        row.source("", 5000, name="h", is_sized=True, digests={"sha256": trees.sha256_of(whole)}),
    ]
    outcomes, slowest = Counter[str](), 0.0
    step, is_over = 1, False
    while not is_over:
        for path in row.dest.iterdir():
            path.unlink()
        for path, data in left.items():
            path.write_bytes(data)
            path.chmod(0o600)
        async with row.attempt(names, within=20) as attempt:
            instrument = CancelAt(attempt, step)
            trio.lowlevel.add_instrument(instrument)
            try:
                async with download_many(sources, row.dest, 2) as downloads:
                    async for result in downloads:
                        attempt.results[result.source.name] = result
            finally:
                trio.lowlevel.remove_instrument(instrument)
        is_over = instrument.steps < step
        if not is_over:
            slowest = max(slowest, trio.current_time() - attempt.cancelled_at)
            allowed = {"f": "D1 D2", "g": "D0 D2", "h": "D1 D3"}
            found = [row.expect_disk(attempt, name, disk=disk) for name, disk in allowed.items()]
            outcomes[" ".join(found)] += 1
            assert attempt.scope.cancelled_caught or found == ["D2", "D2", "D3"]
        row.attempts.remove(attempt)
        step += stride
    row.expect(attempt, "h", disk="D3")
    row.expect_all(attempt, disk="D2")
    row.attempts.append(attempt)
    print(f"\nM-01: {sum(outcomes.values())} of {step} steps, outcomes of the files {dict(outcomes)}")
    print(f"M-01: the longest return after a cancel took {slowest:.3f} s")
    assert any(found.startswith("D1 ") for found in outcomes)


async def test_M_01_cancelled_at_any_step(row: Row) -> None:
    """The cancellation gets through, within a second. D0, D1, D2."""
    await cancelled_at_each_step(row, stride=3)


@pytest.mark.soak
@pytest.mark.alone
async def test_M_01_cancelled_at_every_step(row: Row) -> None:
    """The cancellation gets through, within a second. D0, D1, D2."""
    await cancelled_at_each_step(row, stride=1)


async def cancelled_after_any_time(row: Row, times: list[float]) -> None:
    late: dict[float, float] = {}
    files = {f"f{number}": row.emulator.blob_content(SIZE, name="f") for number in range(len(times))}
    url = row.url(f"stall={SIZE // 2}", SIZE, name="f")

    async def one(number: int, seconds: float) -> None:
        started = trio.current_time()
        with trio.move_on_after(seconds) as scope:
            async with download_many([Source.from_url(url, f"f{number}")], row.dest) as downloads:
                async for _ in downloads:
                    pytest.fail("the server stalls")
        assert scope.cancelled_caught
        late[seconds] = trio.current_time() - started - seconds

    sleepers: list[float] = []

    async def sleep_as_long(seconds: float) -> None:
        deadline = trio.current_time() + seconds
        await trio.sleep_until(deadline)
        sleepers.append(trio.current_time() - deadline)

    # Each of the batches may hold what came of its body: they are many at a time.
    async with row.attempt(files, within=30, memory_mib=96) as attempt, trio.open_nursery() as nursery:
        for number, seconds in enumerate(times):
            nursery.start_soon(one, number, seconds)
            nursery.start_soon(sleep_as_long, seconds)
    found = Counter(row.expect_disk(attempt, name, disk="D0 D1") for name in files)
    lates = sorted(late.values())
    usual = lates[len(lates) // 2]
    print(f"\nM-02: {len(times)} times, {dict(found)}, returned {usual:.3f} s late, at most {lates[-1]:.3f} s")
    busy = sorted(sleepers)  # how late whoever does nothing at all wakes up
    assert found["D1"] > 0
    # A cancelled download takes some turns of the loop and a call to a thread, each of which is as late as a sleeper.
    assert usual <= 0.1 + 3 * busy[len(busy) // 2]
    assert lates[-1] <= 1.0 + busy[-1]


async def test_M_02_cancelled_after_any_time(row: Row) -> None:
    """Back within 0.1 s from a stalled server. D0, D1."""
    await cancelled_after_any_time(row, [number / 20 for number in range(41)])


@pytest.mark.soak
@pytest.mark.alone
async def test_M_02_cancelled_after_many_times(row: Row) -> None:
    """Back within 0.1 s from a stalled server. D0, D1."""
    for start in range(10):
        await cancelled_after_any_time(row, [start * 0.005 + number / 20 for number in range(41)])
        for path in row.dest.iterdir():
            path.unlink()


_FINAL: dict[str, Callable[..., bool]] = {
    "fsync": is_partial,
    "link": lambda old, new, **options: new == "f",
    "rename": lambda old, new, **options: new == "f",
    "unlink": lambda name, **options: name == ".f.part",
}


@pytest.mark.parametrize(("call", "size"), [*product(("fsync", "link", "rename"), (5000, SIZE)), ("unlink", SIZE)])
async def test_M_03_cancelled_while_the_disk_is_busy(
    row: Row, call: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is waited for, and then it is too late to stop: all is done. D2."""
    is_running, is_over, real = threading.Event(), threading.Event(), getattr(os, call)

    def slow(*args: Any, **kwargs: Any) -> Any:
        if is_running.is_set() or not _FINAL[call](*args, **kwargs):
            return real(*args, **kwargs)
        is_running.set()
        time.sleep(0.2)
        returned = real(*args, **kwargs)
        is_over.set()
        return returned

    existing: Any = "overwrite" if call == "rename" else "verify"
    files = {"f": row.emulator.blob_content(size, name="f")}
    async with row.attempt(files, within=5) as attempt:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, slow)
            async with download_many([row.source("", size)], row.dest, existing=existing) as downloads:
                await until(is_running.is_set)
                assert not is_over.is_set()
                attempt.cancel()
                async for result in downloads:
                    attempt.results["f"] = result
    assert is_over.is_set()
    row.expect_cancelled(attempt, disk="D2")


# ---- who takes the results


@pytest.mark.parametrize("how", ["break", "error", "cancel"])
async def test_M_05_who_takes_the_results_stops(row: Row, how: str) -> None:
    """The downloads stop with the block, and no connection is left. D2 of what was taken, D1."""
    names = {f"f{number}": row.emulator.blob_content(SIZE, name=f"f{number}") for number in range(12)}
    sources = [row.source("" if name == "f0" else "rate=1m", SIZE, name=name) for name in names]

    async def take() -> None:
        async with download_many(sources, row.dest, 4) as downloads:
            async for _ in downloads:
                await until(lambda: row.emulator.connections.active > 1)
                if how == "error":
                    raise KeyError("mine")
                if how == "cancel":
                    attempt.cancel()
                    continue
                break

    async with row.attempt(names, within=10, connections=4) as attempt:
        if how == "error":
            with pytest.raises(KeyError, match="mine"):
                await take()
        else:
            await take()
        with trio.CancelScope(shield=True), trio.fail_after(5):
            await row.emulator.connections.wait_idle()
    row.expect_disk(attempt, "f0", disk="D2")
    for name in [*names][1:]:
        row.expect_disk(attempt, name, disk="D0 D1")
    assert len(attempt.requests) < 12


async def test_M_06_who_takes_the_results_is_slow(row: Row) -> None:
    """What is under way is finished, and nothing more is asked for; memory stays flat. D2."""
    size, most = 5 * MiB, 1 + 2 + 2  # files: taken, waiting to be taken, held by their workers
    sources = [Source.from_url(row.url("", size, name="f"), f"f{number}") for number in range(8)]
    whole = trees.bytes_of(row.emulator.blob_content(size, name="f"))
    async with row.attempt({each.name: whole for each in sources}, memory_mib=16, connections=2) as attempt:
        async with download_many(sources, row.dest, 2) as downloads:
            first = await anext(downloads)
            attempt.results[first.source.name] = first
            last = -1
            while last != (last := sum(each.sent_bytes for each in row.emulator.requests)):  # noqa: ASYNC110 (nobody tells)
                await trio.sleep(0.3)
            assert len(row.emulator.requests.of("storage")) <= most
            assert last <= most * size
            async for result in downloads:
                attempt.results[result.source.name] = result
    row.expect_all(attempt)
    for each in sources:  # to search them for secrets takes longer than all else
        (row.dest / each.name).unlink()


# ---- many, few, closed


async def test_M_07_a_thousand_cancelled_requests(row: Row) -> None:
    """The next request works; no connection is left at the service, nor more than allowed at a time. D0."""
    dice = random.Random(7)
    async with row.attempt({"f": None}, within=30) as attempt:
        async with row.service.create_rest_client() as rest:
            started = trio.current_time()
            await rest.list_training_runs()
            longest = 20 * (trio.current_time() - started)

            async def ask_and_give_up() -> None:
                for _ in range(50):
                    with trio.move_on_after(dice.random() ** 2 * longest):
                        await rest.list_training_runs()

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask_and_give_up)
            assert (await rest.list_training_runs()).training_runs
            await until(lambda: row.emulator.api_connections.active <= 16)  # what was given up is let go of there
    row.expect_disk(attempt, disk="D0")


async def test_M_08_one_of_a_hundred_fails(row: Row) -> None:
    """NotFoundError of the one, success of the others. D0, D2."""
    sources = [row.source("status=404" if number == 40 else "", 3000, name=f"f{number}") for number in range(100)]
    attempt = await row.download_all(sources, max_concurrency=4, max_connections=4)
    row.expect_error(attempt, errors.NotFoundError, "f40", disk="D0")
    row.expect_all(attempt)


async def test_M_08_one_fails_and_ends_the_batch(row: Row) -> None:
    """NotFoundError of the batch; the others stop, and what they have is kept. D0, D1."""
    sources = [row.source("rate=1m", 3 * MiB, name=name) for name in "abc"]
    sources.append(row.source("status=404&hdelay=0.4", 3 * MiB))
    attempt = await row.download_all(sources, max_connections=4, fail_fast=True)
    assert type(attempt.error) is errors.NotFoundError
    assert attempt.seconds < 2
    for name in "abc":
        row.expect_disk(attempt, name, disk="D1")
    row.expect_disk(attempt, "f", disk="D0")


@pytest.mark.parametrize(("files", "connections"), [(1, 1), (1, 4), (3, 1), (8, 2)])
async def test_M_09_the_smallest_limits(row: Row, files: int, connections: int) -> None:
    """Success, without a deadlock. D2."""
    sources = [row.source("", size, name=f"f{size}") for size in (0, 1, 5000, SIZE, 5 * MiB)]
    attempt = await row.download_all(
        sources, max_concurrency=files, max_connections=connections, part_bytes=MiB, bytes_per_second=20.0 * MiB
    )
    row.expect_all(attempt)


async def test_M_10_a_client_that_is_not_open(row: Row) -> None:
    """ClosedResourceError before and after its block, RuntimeError for a second entry and outside of Trio. D0."""
    async with row.attempt({"f": None}, within=10) as attempt:
        rest = row.service.create_rest_client()
        with pytest.raises(trio.ClosedResourceError):
            await rest.list_training_runs()
        async with rest:
            (item, *_) = [item async for item in rest.iter_user_checkpoints()]
            with pytest.raises(RuntimeError):
                async with rest:
                    pytest.fail("it was entered twice")
            async with trio.open_nursery() as nursery:
                for use in (rest.list_training_runs, rest.list_sessions):  # any task may use it
                    nursery.start_soon(use)
        for call in (rest.list_training_runs, lambda: rest.download_checkpoint(item, row.dest)):
            with pytest.raises(trio.ClosedResourceError), trio.fail_after(2):
                await call()
    row.expect_disk(attempt, disk="D0")
    outcome: list[BaseException] = []

    def outside() -> None:
        coroutine = ServiceClient(row.emulator.api_key, row.emulator.base_url).create_rest_client().__aenter__()
        try:
            coroutine.send(None)
        except BaseException as error:  # noqa: ASYNC103, BLE001 (it is what the test is about)
            outcome.append(error)
        finally:
            coroutine.close()

    thread = threading.Thread(target=outside)
    thread.start()
    thread.join(5)
    assert [type(error) for error in outcome] == [RuntimeError]


@pytest.mark.parametrize(
    ("at", "disk"), [(DownloadStarted, "D0"), (DownloadAdvanced, "D1"), (DownloadFinished, "D2"), (None, "D2")]
)
async def test_M_11_the_users_own_code_raises(row: Row, at: type | None, disk: str) -> None:
    """The very same error comes out, of the callback or of the loop's body; nothing goes on. D0, D1, D2."""
    mine = KeyError("mine")

    def note(event: object) -> None:
        if at is not None and isinstance(event, at):
            raise mine

    async with row.attempt({"f": row.emulator.blob_content(SIZE, name="f")}, within=10) as attempt:
        with pytest.raises(KeyError) as caught:  # noqa: PT012 (it is the block that raises)
            async with download_many([row.source("", SIZE)], row.dest, on_event=note) as downloads:
                async for _ in downloads:
                    if at is None:
                        raise mine
        assert caught.value is mine
    row.expect_disk(attempt, disk=disk)


async def iterate(make: Callable[[], AsyncIterator[object]], how: str) -> None:
    if how == "never begun":
        make()
        return
    iterator = make()
    await anext(iterator)
    if how == "break":
        async for _ in iterator:
            break


@pytest.mark.parametrize("how", ["never begun", "dropped", "break"])
@pytest.mark.parametrize("which", ["iter_training_runs", "iter_user_checkpoints"])
@pytest.mark.emulator(runs=3, checkpoints=2)
async def test_M_12_an_iterator_is_dropped(row: Row, which: str, how: str) -> None:
    """Nothing is left and nothing warns: what it needs belongs to the client. D0."""
    async with row.attempt({"f": None}, within=10) as attempt, row.service.create_rest_client() as rest:
        await iterate(getattr(rest, which), how)
        gc.collect()
        assert (await rest.list_training_runs()).training_runs
    row.expect_disk(attempt, disk="D0")


async def test_M_12_results_are_dropped(row: Row) -> None:
    """The block's end stops what goes on, whoever still holds the results. D1."""
    async with row.attempt({"f": row.emulator.blob_content(SIZE, name="f")}, within=10) as attempt:
        async with download_many([row.source(f"stall={MiB}", SIZE)], row.dest) as downloads:
            await until(lambda: downloads.progress.received_bytes > 0)
        with pytest.raises(StopAsyncIteration):
            await anext(downloads)
    row.expect_disk(attempt, disk="D1")
    assert Outcome.OK not in {result.outcome for result in attempt.results.values()}
