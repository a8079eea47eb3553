"""What do many files of some size cost, eight at a time?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._bench import Bench, FileSet
from ._peers import HTTPX, VERIFIED
from ._report import Goal, Report
from ._transfers import Runs, compare


def run(bench: Bench) -> Report:
    """Measure 64 files of 16 MiB over http."""
    files = FileSet(4, 2**20) if bench.is_quick else FileSet(64, 2**24)
    return compare(bench, "many", "Many files over http, eight at a time.", files, goals=goals)


def goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand that ours, verified and synced, is at least as fast as `httpx` on Trio by hand, which is neither."""
    if HTTPX.name not in done or VERIFIED.name not in done:
        return ()
    ours, theirs = done[VERIFIED.name].wall.median, done[HTTPX.name].wall.median
    text = f"{VERIFIED.name}, verified and synced, {ours:.2f} s of wall; {HTTPX.name}, neither, {theirs:.2f} s"
    return [Goal(text, ours <= theirs)]
