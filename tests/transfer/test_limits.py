"""How many connections and how many bytes a second: found out, limited, and never more than the system allows."""

from __future__ import annotations

import errno
import os
import resource

import pytest
import trio
from trio.testing import MockClock

from tests.destinations import QUICK, Destination, results_of, sha256_of, sources_of
from tests.transfer.fakes import FakeStore
from trio_norman import DownloadOptions, Outcome, Source, StallLimit, download_many, errors
from trio_norman.emulator import Emulator
from trio_norman.transfer._connections import Connections
from trio_norman.transfer._shop import most_connections, most_files

MiB = 2**20


async def test_auto_finds_that_capped_connections_want_to_be_many(emulator: Emulator, dest: Destination) -> None:
    source = Source.from_url(emulator.blob_url(40 * MiB, rate="3m"), "f", size_bytes=40 * MiB)
    async with download_many([source], dest.path, max_connections="auto", part_bytes=4 * MiB) as downloads:
        (result,) = await results_of(downloads)
    assert result.sha256 == sha256_of(emulator.blob_content(40 * MiB))
    assert emulator.connections.peak >= 8


async def test_auto_uses_fewer_connections_after_a_refusal(emulator: Emulator, dest: Destination) -> None:
    refusing = emulator.blob_url(100, name="r", status=429, times=1)
    urls = [refusing, *(emulator.blob_url(100, name=str(number), hdelay=0.2) for number in range(12))]
    async with download_many(sources_of(*urls), dest.path, 4, max_connections="auto", retry=QUICK) as downloads:
        assert {result.outcome for result in await results_of(downloads)} == {Outcome.OK}
    requests = emulator.requests.of("storage")
    refused_at = next(request.started_at for request in requests if request.status == 429)
    later = [request.started_at for request in requests if request.started_at > refused_at + 0.3]
    # Two at a time from then on: in any 100 ms at most two begin (each takes 200 ms).
    assert all(later[index + 2] - later[index] > 0.1 for index in range(len(later) - 2))


@pytest.mark.parametrize("rate", [64 * 1024, MiB])
async def test_a_limited_rate_is_kept(rate: int, autojump_clock: MockClock, dest: Destination) -> None:
    store = FakeStore(piece=16 * 1024)
    sources = [store.source(f"f{number}", bytes(size)) for number, size in enumerate((5 * MiB, 100_000, 100_000))]
    began = trio.current_time()
    # To the test clock a worker thread takes no time or very much: whoever limits the rate must not be judged by it.
    patient = StallLimit(bytes_per_second=0)
    async with download_many(
        sources, dest.path, fetch=store.fetch, bytes_per_second=float(rate), stall=patient
    ) as downloads:
        assert [result.error for result in await results_of(downloads) if result.error] == []
    total, at_once = 5 * MiB + 200_000, rate / 4
    # The test clock also runs while worker threads write, so it shows only that the limit was kept.
    assert trio.current_time() - began >= (total - at_once) / rate


async def test_a_limited_rate_holds_for_the_pumps_too(emulator: Emulator, dest: Destination) -> None:
    began = trio.current_time()
    source = Source.from_url(emulator.blob_url(4 * MiB), "f")
    async with download_many([source], dest.path, bytes_per_second=8.0 * MiB) as downloads:
        (result,) = await results_of(downloads)
    assert result.error is None
    assert trio.current_time() - began >= 0.24  # 0.5 s less the quarter second's worth that may come at once


@pytest.mark.parametrize(("descriptors", "most"), [(1024, 64), (64, 6), (10, 1), (resource.RLIM_INFINITY, 64)])
def test_auto_never_goes_beyond_what_the_system_allows(
    descriptors: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert most_connections(DownloadOptions(max_connections="auto")) == most
    assert most_connections(DownloadOptions(max_connections=500)) == 500
    assert most_connections(DownloadOptions(max_concurrency=3)) == min(3, most)


@pytest.mark.parametrize(
    ("descriptors", "files", "most_of_files", "most"),
    [(64, 32, 6, 6), (128, 60, 19, 19), (128, 8, 8, 26), (4096, 200, 200, 64), (10, 8, 1, 1)],
)
def test_files_that_wait_for_a_connection_need_descriptors_too(
    descriptors: int, files: int, most_of_files: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert most_files(DownloadOptions(max_concurrency=files)) == most_of_files
    assert most_connections(DownloadOptions(max_concurrency=files, max_connections="auto")) == most
    assert most_connections(DownloadOptions(max_concurrency=files)) == most_of_files


async def test_without_a_descriptor_for_a_pipe_another_pump_is_taken(
    emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe2", refuse)
    async with download_many(sources_of(emulator.blob_url(4 * MiB)), dest.path) as downloads:
        (result,) = await results_of(downloads)
    assert result.sha256 == sha256_of(emulator.blob_content(4 * MiB))


async def test_files_get_slots_in_their_order_and_before_parts(autojump_clock: MockClock) -> None:
    connections, order = Connections(1), list[int]()

    async def use(number: int) -> None:
        async with connections.slot():
            order.append(number)
            await trio.sleep(1)

    async def use_spare() -> None:
        await connections.take_spare()
        order.append(99)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(use, number)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(use_spare)
    assert order == [0, 1, 2, 3, 99]
    assert connections.busy == 1


async def test_a_cancelled_waiter_loses_no_slot(autojump_clock: MockClock) -> None:
    connections = Connections(1)
    async with connections.slot():
        for waiting in (connections.slot(), connections.slot()):
            with trio.move_on_after(1):
                async with waiting:
                    pytest.fail("there is no slot")
        with trio.move_on_after(1):
            await connections.take_spare()
        assert connections.busy == 1
    with trio.fail_after(1):
        async with connections.slot():
            assert connections.busy == 1
    assert connections.busy == 0


async def test_a_lower_target_is_reached_as_slots_come_back(autojump_clock: MockClock) -> None:
    connections = Connections(3)
    async with connections.slot():
        async with connections.slot():
            connections.resize(1)
            assert connections.are_wanted
        with trio.move_on_after(1) as scope:
            async with connections.slot():
                pytest.fail("one is busy, and one is all that is allowed")
        assert scope.cancelled_caught
    connections.resize(0)
    assert connections.target == 1


async def test_too_many_requests_for_ever_is_an_error(emulator: Emulator, dest: Destination) -> None:
    urls = sources_of(emulator.blob_url(100, status=429))
    async with download_many(urls, dest.path, max_connections="auto", retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.RateLimitedError)
