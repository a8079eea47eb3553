"""Peers side by side on one set of files: one after the other in turn, medians of several runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

import attrs

from ._bench import Bench, FileSet, Stage
from ._links import PLAIN, Link
from ._measuring import RunFailedError, Sample, Spread
from ._peers import CURL, PEERS, TASKS, Peer, has_auto
from ._report import Goal, Panel, Report, ratio

_HEADINGS = ("peer", "sha256", "synced", "wall s", "CPU s", "peak MiB", "wall ÷ curl", "CPU ÷ curl")
MOST_MIB = 80.0  # of memory, for us, in every case


@attrs.define
class Runs:
    """All runs of one peer, and what went wrong with it."""

    peer: Peer
    samples: list[Sample] = attrs.field(factory=list)
    failure: str = ""

    @property
    def wall(self) -> Spread:
        """Seconds on the clock."""
        return Spread.of([sample.wall for sample in self.samples])

    @property
    def cpu(self) -> Spread:
        """Seconds on the processors."""
        return Spread.of([sample.cpu for sample in self.samples])

    @property
    def peak_mib(self) -> Spread:
        """Peak of the resident memory."""
        return Spread.of([sample.peak_mib for sample in self.samples])

    def goodput(self, files: FileSet) -> Spread:
        """Millions of bytes a second."""
        return Spread.of([files.count * files.size / sample.wall / 1e6 for sample in self.samples])

    def figures(self, base: Runs | None) -> dict[str, Any]:
        """Return everything, with ratios to `base`, for JSON."""
        figures: dict[str, Any] = {
            "peer": self.peer.name,
            "verifies": self.peer.verifies,
            "syncs": self.peer.syncs,
            "is_serial": self.peer.is_serial,
            "failure": self.failure or None,
            "runs": [attrs.asdict(sample) for sample in self.samples],
        }
        if self.samples:
            for name in ("wall", "cpu", "peak_mib"):
                figures[name] = attrs.asdict(getattr(self, name))
                figures[f"{name}_to_curl"] = (
                    None if base is None else getattr(self, name).median / getattr(base, name).median
                )
        return figures


Goals = Callable[[Mapping[str, Runs]], Sequence[Goal]]


def no_goals(_: Mapping[str, Runs]) -> Sequence[Goal]:
    """Only measure."""
    return ()


def compare(
    bench: Bench,
    case: str,
    question: str,
    files: FileSet,
    *,
    peers: Sequence[Peer] = PEERS,
    goals: Goals = no_goals,
    link: Link = PLAIN,
    tasks: int = TASKS,
    once: Collection[Peer] = (),
    shows_goodput: bool = False,
) -> Report:
    """Let every peer that is here download `files`, in turn, and report; absent ones are named.

    Args:
        bench: How often and where.
        case: Name of the report.
        question: What it is about, in a sentence.
        files: What is downloaded.
        peers: Who downloads.
        goals: What has to be reached.
        link: How the server is reached.
        tasks: Files at a time, for whoever can.
        once: Peers that are so slow at this that one run has to do.
        shows_goodput: Whether bytes a second say more than seconds.
    """
    absent = [peer for peer in peers if not peer.is_present()]
    here = [Runs(peer) for peer in peers if peer not in absent]
    with bench.stage(files, link, tasks=tasks) as stage:
        for turn in range(bench.repeat):
            bench.tell(f"{case}: run {turn + 1} of {bench.repeat}")
            for runs in Random(turn).sample(here, len(here)):  # or the same one would always come before it
                if turn == 0 or runs.peer not in once:
                    _run(stage, runs, is_compared=not runs.samples)
    done = {runs.peer.name: runs for runs in here if runs.samples}
    base = done.get(CURL.name)
    return Report(
        case,
        f"{question} {files}, {tasks} at a time; {bench.repeat} runs each, whole processes: median (least–most)."  # noqa: RUF001 (a range)
        if files.count > 1
        else f"{question} {files}; {bench.repeat} runs each, whole processes: median (least–most).",  # noqa: RUF001
        (*_HEADINGS, "MB/s") if shows_goodput else _HEADINGS,
        [_line(runs, base, files if shows_goodput else None) for runs in done.values()],
        {
            "files": attrs.asdict(files),
            "link": attrs.asdict(link),
            "peers": [runs.figures(base) for runs in here],
            "absent": [peer.name for peer in absent],
        },
        notes=_notes(here, absent, [peer.name for peer in once if peer.name in done and bench.repeat > 1]),
        goals=() if bench.is_quick else [*goals(done), *memory_goals(done)],
        panels=_panels(done, files if shows_goodput else None),
    )


def _notes(here: Sequence[Runs], absent: Sequence[Peer], once: Sequence[str]) -> list[str]:
    notes = [f"absent: {', '.join(peer.name for peer in absent)}"] if absent else []
    notes += [f"failed: {runs.peer.name}: {runs.failure}" for runs in here if runs.failure]
    notes += [f"run only once: {', '.join(once)}"] if once else []
    return notes if has_auto() else [*notes, 'this trio_norman has no max_connections="auto"']


def _panels(done: Mapping[str, Runs], files: FileSet | None) -> list[Panel]:
    panels = [
        Panel("wall, seconds", {name: runs.wall for name, runs in done.items()}),
        Panel("CPU, seconds", {name: runs.cpu for name, runs in done.items()}),
    ]
    if files is None or not done:
        return panels if done else []
    return [Panel("goodput, MB/s", {name: runs.goodput(files) for name, runs in done.items()}), *panels]


def memory_goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand that none of ours takes much memory."""
    peaks = [runs.peak_mib.most for runs in done.values() if runs.peer.is_ours]
    if not peaks:
        return ()
    text = f"the highest peak of ours is {max(peaks):.1f} MiB, at most {MOST_MIB:g} MiB"
    return [Goal(text, max(peaks) <= MOST_MIB)]


def within(done: Mapping[str, Runs], ours: Peer, most: float, base: Peer, *figures: str) -> list[Goal]:
    """Demand that medians of ours (``wall``, ``cpu``) are at most so many times those of another; both must be here."""
    if ours.name not in done or base.name not in done:
        return []
    goals = []
    for figure in figures:
        mine, theirs = getattr(done[ours.name], figure).median, getattr(done[base.name], figure).median
        text = f"{figure} of {ours.name} is {mine / theirs:.2f} × {base.name}, at most {most:g} ×"  # noqa: RUF001
        goals.append(Goal(text, mine <= most * theirs))
    return goals


def best_of_all(done: Mapping[str, Runs], ours: Peer) -> list[Goal]:
    """Demand that nobody else is faster, beyond the hundredth that is noise."""
    others = [runs for runs in done.values() if not runs.peer.is_ours]
    if ours.name not in done or not others:
        return []
    best = min(others, key=lambda runs: runs.wall.median)
    mine, theirs = done[ours.name].wall.median, best.wall.median
    text = f"{ours.name}, {mine:.2f} s, is not slower than the best peer, {best.peer.name}, {theirs:.2f} s"
    return [Goal(text, mine <= theirs * 1.01)]


def _run(stage: Stage, runs: Runs, *, is_compared: bool) -> None:
    if runs.failure:
        return
    try:
        runs.samples.append(stage.measure(runs.peer.command(stage.job), is_compared=is_compared))
    except RunFailedError as error:
        runs.failure, runs.samples = str(error), []


def _line(runs: Runs, base: Runs | None, files: FileSet | None) -> list[str]:
    peer = runs.peer
    cells = [
        peer.name + (" (one by one)" if peer.is_serial else ""),
        "yes" if peer.verifies == "sha256" else peer.verifies,
        "yes" if peer.syncs else "no",
        str(runs.wall),
        str(runs.cpu),
        f"{runs.peak_mib.median:.0f}",
        ratio(runs.wall.median, None if base is None else base.wall.median),
        ratio(runs.cpu.median, None if base is None else base.cpu.median),
    ]
    return cells if files is None else [*cells, f"{runs.goodput(files).median:.0f}"]
