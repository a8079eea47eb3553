"""Cancelled anywhere: nothing stays open, and on disk is what was there, a right partial, or the finished file."""

from __future__ import annotations

import functools
import hashlib
from typing import Any, Protocol

import attrs
import pytest
import trio

from tests.destinations import Destination, descriptors
from tests.transfer.fakes import FakeStore
from trio_norman import Outcome, download_many
from trio_norman._sansio.journal import decode

MiB = 2**20
BODY = bytes(range(256)) * 4096 * 2 + b"end"  # 2 MiB and a bit: partial, sidecar, several blocks


class Cancellable(Protocol):
    """A cancel scope, or what cancels one."""

    def cancel(self) -> None: ...


@attrs.define(eq=False)
class CancelAt(trio.abc.Instrument):
    """Counts the steps of all tasks below one scope and cancels it at a given one."""

    scope: Cancellable
    step: int | None
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.step:
            self.scope.cancel()


async def download(store: FakeStore, dest: Destination, **options: Any) -> list[Outcome]:
    sources = [
        store.source("small", BODY[:1000]),
        store.source("middle", BODY),
        store.source("sized", BODY, size_bytes=len(BODY)),
    ]
    async with download_many(sources, dest.path, 2, fetch=store.fetch, **options) as downloads:
        return [result.outcome async for result in downloads]


async def cancelled_at(step: int | None, dest: Destination, **options: Any) -> int:
    """Run the download, cancelled at a step; return how many steps there were."""
    store = FakeStore(piece=256 * 1024)
    with trio.CancelScope() as scope:
        instrument = CancelAt(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await download(store, dest, **options)
        finally:
            trio.lowlevel.remove_instrument(instrument)
    assert store.open_answers == 0
    return instrument.steps


def check(dest: Destination, *, is_first: bool = False) -> None:
    """Every name is as before, a partial that keeps its word, or complete.

    Only in a first run is there never both: later ones fetch again what nobody announced a digest for, to compare it.
    """
    if not dest.path.exists():
        return
    expected = {"small": BODY[:1000], "middle": BODY, "sized": BODY}
    for name, body in expected.items():
        final, part, sidecar = (dest.path / each for each in (name, f".{name}.part", f".{name}.part.json"))
        if final.exists():
            assert final.read_bytes() == body
            assert not (part.exists() and is_first)
        if sidecar.exists() and part.exists():
            journal = decode(sidecar.read_bytes())
            assert journal is not None
            assert journal.is_released
            data = part.read_bytes()
            assert all(data[span.start : span.stop] == body[span.start : span.stop] for span in journal.held)
    known = {each for name in expected for each in (name, f".{name}.part", f".{name}.part.json")}
    assert {path.name for path in dest.path.iterdir()} <= known


@pytest.mark.parametrize("durable", [True, False])
def test_a_download_can_be_cancelled_at_every_step_and_then_goes_on(durable: bool, tmp_path: Any) -> None:
    run = functools.partial(cancelled_at, durable=durable)
    whole = trio.run(functools.partial(run, None, Destination(tmp_path / "whole")))
    check(Destination(tmp_path / "whole"))
    before = descriptors()
    for step in range(1, whole + 1, 1 if durable else 5):  # not durable takes the same steps, less the syncing
        dest = Destination(tmp_path / f"{step}")
        trio.run(functools.partial(run, step, dest))
        check(dest, is_first=True)
        trio.run(functools.partial(run, None, dest))  # resumed, verified, complete
        check(dest)
        assert len(dest.visible()) == 3
        assert dest.hidden() == set()
    assert descriptors() == before


async def test_resuming_can_be_cancelled_at_every_step(dest: Destination) -> None:
    steps = await cancelled_at(None, dest)
    for step in range(10, steps, 7):
        for file in dest.path.iterdir():
            file.unlink()
        for each in (step, step, step // 2):  # cancelled, cancelled again while it goes on, and again
            await cancelled_at(each, dest)
            check(dest)
        await cancelled_at(None, dest)
        check(dest)
        assert len(dest.visible()) == 3


async def test_clearing_away_a_left_partial_can_be_cancelled_at_every_step(dest: Destination) -> None:
    store, before = FakeStore(), descriptors()
    digests = {"sha256": hashlib.sha256(BODY).hexdigest()}
    source = attrs.evolve(store.source("f", BODY, size_bytes=len(BODY)), digests=digests)
    dest.path.mkdir()
    (dest.path / "f").write_bytes(BODY)
    step, instrument = 0, None
    while instrument is None or instrument.steps >= step:
        (dest.path / ".f.part").write_bytes(b"left by an earlier run")
        with trio.CancelScope() as scope:
            step += 1
            instrument = CancelAt(scope, step)
            trio.lowlevel.add_instrument(instrument)
            try:
                async with download_many([source], dest.path, fetch=store.fetch) as downloads:
                    outcomes = [result.outcome async for result in downloads]
            finally:
                trio.lowlevel.remove_instrument(instrument)
        assert descriptors() == before
        assert not (dest.path / ".f.part.json").exists()  # nobody's claim is left
    assert outcomes == [Outcome.SKIPPED]
    assert dest.hidden() == set()


async def test_cancelling_a_stalled_download_returns_at_once(
    autojump_clock: trio.testing.MockClock, dest: Destination
) -> None:
    autojump_clock.autojump_threshold = 0.2  # or it jumps while a thread lets go of the partial
    store = FakeStore(pause=1000.0)
    with trio.move_on_after(5) as scope:
        await download(store, dest)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5, abs=0.01)
    assert store.open_answers == 0
    check(dest)
