"""What does a request cost, when files are many and small?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._bench import Bench, FileSet
from ._peers import HF_TRANSFER, HTTPX, HTTPX_SYNCED, PEERS, UNSYNCED
from ._report import Goal, Report
from ._transfers import Runs, compare, within

MOST_SECONDS = 0.75
_PEERS = [peer for peer in PEERS if peer not in {HF_TRANSFER, HTTPX_SYNCED}]


def run(bench: Bench) -> Report:
    """Measure 2,000 files of 64 KiB over http."""
    files = FileSet(20, 2**10) if bench.is_quick else FileSet(2000, 2**16)
    return compare(bench, "small", "Many small files over http.", files, peers=_PEERS, goals=goals)


def goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand a time on the clock, start-up included, and a quarter of what `httpx` takes."""
    if UNSYNCED.name not in done:
        return ()
    wall = done[UNSYNCED.name].wall.median
    text = f"{UNSYNCED.name}, verified and with its start-up, takes {wall:.2f} s, at most {MOST_SECONDS:g} s"
    return [Goal(text, wall <= MOST_SECONDS), *within(done, UNSYNCED, 0.25, HTTPX, "wall")]
