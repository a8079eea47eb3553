"""A batch as a whole: names, order, errors, back-pressure, events, and its end."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing

from tests.destinations import QUICK, Destination, results_of, sha256_of, sources_of, until
from tests.transfer.fakes import FakeStore
from trio_norman import (
    DownloadAdvanced,
    DownloadFinished,
    DownloadOptions,
    DownloadStarted,
    Event,
    Outcome,
    Source,
    download_many,
    errors,
    run_downloads,
)
from trio_norman.emulator import Emulator
from trio_norman.transfer import Downloads

MiB = 2**20


async def test_every_item_gets_a_result_and_one_bad_item_spoils_no_other(emulator: Emulator, dest: Destination) -> None:
    urls = [emulator.blob_url(1000 * number, name=str(number)) for number in range(1, 30)]
    urls[7] = emulator.blob_url(1000, status=404)
    async with download_many(sources_of(*urls), dest.path, retry=QUICK) as downloads:
        results = await results_of(downloads)
        progress = downloads.progress
    assert {result.source.name for result in results} == {f"f{number}" for number in range(29)}
    (failed,) = [result for result in results if result.error is not None]
    assert (failed.source.name, type(failed.error)) == ("f7", errors.NotFoundError)
    assert len(dest.visible()) == 28
    assert (progress.items_seen, progress.items_ok, progress.items_failed, progress.items_done) == (29, 28, 1, 29)
    assert progress.received_bytes == sum(result.received_bytes for result in results)


async def test_more_files_than_fit_at_once_never_exceed_the_connections(emulator: Emulator, dest: Destination) -> None:
    urls = [emulator.blob_url(12 * MiB, name=str(number)) for number in range(6)]
    options = {"max_connections": 3, "part_bytes": MiB}
    async with download_many(sources_of(*urls, size_bytes=12 * MiB), dest.path, 6, **options) as downloads:  # type: ignore[arg-type]
        results = await results_of(downloads)
    assert {result.outcome for result in results} == {Outcome.OK}
    assert emulator.connections.peak <= 3


async def test_spare_connections_fetch_parts_of_a_large_file(emulator: Emulator, dest: Destination) -> None:
    source = Source.from_url(emulator.blob_url(48 * MiB, rate="60m"), "f", size_bytes=48 * MiB)
    async with download_many([source], dest.path, max_connections=4, part_bytes=8 * MiB) as downloads:
        (result,) = await results_of(downloads)
    assert result.sha256 == sha256_of(emulator.blob_content(48 * MiB))
    assert emulator.connections.peak == 4
    ranges = {request.headers.get("range") for request in emulator.requests.of("storage")}
    assert 6 <= len(ranges) == len(emulator.requests.of("storage")) < 24  # the last parts are shared out once more


async def test_small_files_are_not_starved_by_a_giant(emulator: Emulator, dest: Destination) -> None:
    giant = Source.from_url(emulator.blob_url(24 * MiB, rate="5m"), "giant", size_bytes=24 * MiB)

    async def sources() -> AsyncIterator[Source]:
        yield giant
        await until(lambda: emulator.connections.active >= 4)
        for source in sources_of(*(emulator.blob_url(1000, name=str(number)) for number in range(20))):
            yield source

    async with download_many(sources(), dest.path, 4, part_bytes=MiB) as downloads:
        results = await results_of(downloads)
    assert [result.source.name for result in results][-1] == "giant"
    assert {result.outcome for result in results} == {Outcome.OK}


HOSTILE = [
    "",
    ".",
    "..",
    "a/b",
    "/etc/passwd",
    "..\\x",
    "a\x00b",
    "a\nb",
    "\x1b[31m",
    "-rf",
    "x" * 256,
    "nul",
    "a.",
    "\u202eexe",
]


@pytest.mark.parametrize("size", [-1, 2**63])
def test_a_length_that_none_has_is_refused_when_it_is_given(size: int) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"no object has {size} bytes"):
        Source.from_url("https://example.org/f", "f", size_bytes=size)


async def test_no_name_leads_out_of_the_destination(emulator: Emulator, dest: Destination) -> None:
    sources = [Source.from_url(emulator.blob_url(10), name) for name in [*HOSTILE, "fine"]]
    async with download_many(sources, dest.path) as downloads:
        results = await results_of(downloads)
    refused = [result for result in results if isinstance(result.error, errors.FileNameError)]
    assert len(refused) == len(HOSTILE)
    assert set(dest.visible()) == {"fine"}
    assert len(emulator.requests.of("storage")) == 1  # nothing was asked for the others
    assert {path.name for path in dest.path.parent.iterdir()} == {dest.path.name}


async def test_a_name_of_255_bytes_is_fine(emulator: Emulator, dest: Destination) -> None:
    name = "é" * 127 + "x"
    sources = [Source.from_url(emulator.blob_url(2 * MiB), name)]
    async with download_many(sources, dest.path) as downloads:
        (result,) = await results_of(downloads)
    assert result.outcome is Outcome.OK
    assert set(dest.visible()) == {name}


@pytest.mark.parametrize("second", ["name", "NAME", "na\u0301me".replace("na\u0301me", "name")])
async def test_the_later_of_two_equal_names_is_refused_before_any_byte(
    second: str, emulator: Emulator, dest: Destination
) -> None:
    urls = emulator.blob_url(10), emulator.blob_url(10, name="other")
    sources = [Source.from_url(url, name) for url, name in zip(urls, ("name", second), strict=True)]
    async with download_many(sources, dest.path) as downloads:
        results = await results_of(downloads)
    assert sorted(result.outcome for result in results) == [Outcome.FAILED, Outcome.OK]
    assert len(emulator.requests.of("storage")) == 1


async def test_fail_fast_raises_the_first_error_and_stops_the_rest(emulator: Emulator, dest: Destination) -> None:
    urls = [emulator.blob_url(10, status=404), emulator.blob_url(2 * MiB, stall=MiB)]
    with trio.fail_after(5), pytest.raises(errors.NotFoundError):
        async with download_many(sources_of(*urls), dest.path, fail_fast=True) as downloads:
            await results_of(downloads)
    await emulator.connections.wait_idle()


async def test_a_listing_that_breaks_off_raises_after_what_came_before_is_done(
    emulator: Emulator, dest: Destination
) -> None:
    def listing() -> Iterator[Source]:
        yield from sources_of(emulator.blob_url(1000), emulator.blob_url(2000))
        raise errors.PagingError("GET", "https://service.test/list", ("page 2 repeats",))

    results = []

    async def take_all() -> None:
        async with download_many(listing(), dest.path) as downloads:
            async for result in downloads:
                results.append(result)

    with pytest.raises(errors.PagingError):
        await take_all()
    assert len(results) == len(dest.visible()) == 2


async def test_whoever_is_slow_with_the_last_result_meets_the_end_of_the_list(
    autojump_clock: trio.testing.MockClock, dest: Destination
) -> None:
    store = FakeStore()
    async with download_many([store.source("f", b"x")], dest.path, fetch=store.fetch) as downloads:
        async for result in downloads:
            assert result.outcome is Outcome.OK
            await trio.sleep(10)


async def test_nothing_to_do_ends_at_once(dest: Destination) -> None:
    async with download_many([], dest.path) as downloads:
        assert await results_of(downloads) == []


async def test_whoever_takes_results_slowly_gets_them_all_before_the_error_of_the_listing(dest: Destination) -> None:
    store, names = FakeStore(), []

    def listing() -> Iterator[Source]:
        yield from (store.source(f"f{number}", b"x" * 100) for number in range(6))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):  # noqa: PT012 (its last step raises)
        async with download_many(listing(), dest.path, 8, fetch=store.fetch) as downloads:
            async for result in downloads:
                names.append(result.source.name)
                await trio.testing.wait_all_tasks_blocked(0.01)
    assert sorted(names) == [f"f{number}" for number in range(6)]


async def test_an_endless_listing_ends_with_the_block(emulator: Emulator, dest: Destination) -> None:
    def endless() -> Iterator[Source]:
        number = 0
        while True:
            yield Source.from_url(emulator.blob_url(100, name=str(number)), f"f{number}")
            number += 1

    async with download_many(endless(), dest.path, 4) as downloads:
        for _ in range(10):
            assert (await anext(downloads)).outcome is Outcome.OK
    assert 10 <= len(dest.visible()) <= 10 + 4 + 4
    await emulator.connections.wait_idle()


async def test_whoever_takes_results_slowly_slows_down_the_listing(
    autojump_clock: trio.testing.MockClock, dest: Destination
) -> None:
    store, listed = FakeStore(), 0

    def listing() -> Iterator[Source]:
        nonlocal listed
        for number in range(1000):
            listed += 1
            yield store.source(f"f{number}", b"x" * 100)

    async with download_many(listing(), dest.path, 4, fetch=store.fetch) as downloads:
        for taken in range(1, 20):
            await anext(downloads)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert listed <= taken + 2 * 4 + 2 * 16  # the groups in which sources are listed


async def test_an_error_in_the_callers_block_comes_through_unchanged(emulator: Emulator, dest: Destination) -> None:
    url = emulator.blob_url(2 * MiB, stall=MiB)
    with pytest.raises(KeyError, match="mine"):
        async with download_many(sources_of(url), dest.path):
            raise KeyError("mine")
    await emulator.connections.wait_idle()


async def test_an_error_in_the_callback_ends_the_batch_unchanged(emulator: Emulator, dest: Destination) -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, DownloadAdvanced):
            raise ZeroDivisionError("the display broke")

    with pytest.raises(ZeroDivisionError, match="the display broke"):
        async with download_many(sources_of(emulator.blob_url(2 * MiB)), dest.path, on_event=on_event) as downloads:
            await results_of(downloads)
    await emulator.connections.wait_idle()


async def test_events_tell_the_whole_story(emulator: Emulator, dest: Destination) -> None:
    events: list[Event] = []
    async with download_many(sources_of(emulator.blob_url(3 * MiB)), dest.path, on_event=events.append) as downloads:
        (result,) = await results_of(downloads)
    started, *advanced, finished = events
    assert isinstance(started, DownloadStarted)
    assert isinstance(finished, DownloadFinished)
    assert finished.result == result
    done = [event.done_bytes for event in advanced if isinstance(event, DownloadAdvanced)]
    assert len(done) == len(advanced)
    assert done == sorted(done)
    assert done[-1] == 3 * MiB


async def test_a_batch_can_run_in_the_callers_own_nursery(emulator: Emulator, dest: Destination) -> None:
    sources = sources_of(emulator.blob_url(1000))
    async with trio.open_nursery() as nursery:
        downloads: Downloads = await nursery.start(functools.partial(run_downloads, sources, dest.path))
        (result,) = await results_of(downloads)
    assert result.outcome is Outcome.OK


async def test_a_destination_that_cannot_be_used_is_told_before_any_request(
    emulator: Emulator, dest: Destination
) -> None:
    dest.path.write_text("a file")
    with pytest.raises(errors.LocalFileError):
        async with download_many(sources_of(emulator.blob_url(10)), dest.path):
            pytest.fail("the block must not be entered")
    assert emulator.requests.of("storage") == []


@pytest.mark.parametrize(
    "bad", [{"max_concurrency": 0}, {"max_connections": 0}, {"verify": "maybe"}, {"existing": "?"}, {"part_bytes": 1}]
)
def test_options_have_bounds(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        DownloadOptions(**bad)  # type: ignore[arg-type]


async def test_without_verification_only_announced_digests_are_computed(emulator: Emulator, dest: Destination) -> None:
    silent, telling = emulator.blob_url(2 * MiB, nodigest=1), emulator.blob_url(2 * MiB, name="t")
    async with download_many(sources_of(silent, telling), dest.path, verify=False) as downloads:
        found = {result.source.name: dict(result.digests) for result in await results_of(downloads)}
    assert found["f0"] == {}
    assert set(found["f1"]) == {"sha256", "crc64xz"}


async def test_an_archive_is_read_through_when_asked_for(emulator: Emulator, dest: Destination) -> None:
    checkpoint = emulator.checkpoints[0]
    emulator.inject(nodigest=1)
    good, _ = emulator.archive_url(checkpoint.checkpoint_id)
    emulator.inject(nodigest=1, corrupt=1_500_000)
    bad, _ = emulator.archive_url(checkpoint.checkpoint_id)
    no_archive = emulator.blob_url(2 * MiB, nodigest=1)
    async with download_many(sources_of(good, bad, no_archive), dest.path, verify="archive", retry=QUICK) as downloads:
        found = {result.source.name: result.error for result in await results_of(downloads)}
    assert found["f0"] is None
    assert isinstance(found["f1"], errors.ChecksumMismatchError)
    assert isinstance(found["f2"], errors.ChecksumMismatchError)
    assert dest.hidden() == set()


async def test_the_same_batch_again_transfers_no_body(emulator: Emulator, dest: Destination) -> None:
    urls = [emulator.blob_url(1000 + number, name=str(number)) for number in range(50)]
    for outcome in (Outcome.OK, Outcome.SKIPPED):
        emulator.requests.clear()
        async with download_many(sources_of(*urls), dest.path) as downloads:
            assert {result.outcome for result in await results_of(downloads)} == {outcome}
    assert all(request.sent_bytes == 1 for request in emulator.requests.of("storage"))


async def test_descriptors_stay_few_over_many_files(emulator: Emulator, dest: Destination) -> None:
    peak = 0

    def on_event(event: Event) -> None:
        nonlocal peak
        peak = max(peak, len(os.listdir("/proc/self/fd")))

    before = len(os.listdir("/proc/self/fd"))
    urls = [emulator.blob_url(1000, name=str(number)) for number in range(300)]
    async with download_many(sources_of(*urls), dest.path, 4, on_event=on_event) as downloads:
        assert len(await results_of(downloads)) == 300
    assert peak - before <= 4 * 5
