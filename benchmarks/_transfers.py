"""Peers side by side on one set of files: one after the other in turn, medians of several runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import attrs

from ._bench import Bench, FileSet, Stage
from ._measuring import RunFailedError, Sample, Spread
from ._peers import CURL, PEERS, Peer
from ._report import Goal, Report, ratio

_HEADINGS = ("peer", "sha256", "synced", "wall s", "CPU s", "peak MiB", "wall ÷ curl", "CPU ÷ curl")


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
) -> Report:
    """Let every peer that is here download `files`, in turn, and report; absent ones are named."""
    absent = [peer for peer in peers if not peer.is_present()]
    here = [Runs(peer) for peer in peers if peer not in absent]
    with bench.stage(files) as stage:
        for turn in range(bench.repeat):
            bench.tell(f"{case}: run {turn + 1} of {bench.repeat}")
            for runs in Random(turn).sample(here, len(here)):  # or the same one would always come before it
                _run(stage, runs, is_compared=not runs.samples)
    done = {runs.peer.name: runs for runs in here if runs.samples}
    base = done.get(CURL.name)
    notes = [f"absent: {', '.join(peer.name for peer in absent)}"] if absent else []
    notes += [f"failed: {runs.peer.name}: {runs.failure}" for runs in here if runs.failure]
    return Report(
        case,
        f"{question} {files}; {bench.repeat} runs each, whole processes: median (least–most).",  # noqa: RUF001 (a range)
        _HEADINGS,
        [_line(runs, base) for runs in done.values()],
        {
            "files": attrs.asdict(files),
            "peers": [runs.figures(base) for runs in here],
            "absent": [peer.name for peer in absent],
        },
        notes=notes,
        goals=() if bench.is_quick else goals(done),
    )


def _run(stage: Stage, runs: Runs, *, is_compared: bool) -> None:
    if runs.failure:
        return
    try:
        runs.samples.append(stage.measure(runs.peer.command(stage.job), is_compared=is_compared))
    except RunFailedError as error:
        runs.failure, runs.samples = str(error), []


def _line(runs: Runs, base: Runs | None) -> list[str]:
    peer = runs.peer
    return [
        peer.name + (" (one by one)" if peer.is_serial else ""),
        "yes" if peer.verifies == "sha256" else peer.verifies,
        "yes" if peer.syncs else "no",
        str(runs.wall),
        str(runs.cpu),
        f"{runs.peak_mib.median:.0f}",
        ratio(runs.wall.median, None if base is None else base.wall.median),
        ratio(runs.cpu.median, None if base is None else base.cpu.median),
    ]
