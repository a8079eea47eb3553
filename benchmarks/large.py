"""What does one large file cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._bench import Bench, FileSet
from ._peers import BARE, CURL, CURL_Z, PEERS, UNSYNCED
from ._report import Goal, Report
from ._transfers import Runs, compare, within


def run(bench: Bench) -> Report:
    """Measure one file of 1 GiB over http."""
    files = FileSet(1, 2**21 if bench.is_quick else 2**30)
    peers = [peer for peer in PEERS if peer is not CURL_Z]  # it has nothing to do in parallel
    return compare(bench, "large", "One large file over http.", files, peers=peers, goals=goals)


def goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand that bytes cost much less than in curl, and hardly more with a SHA-256."""
    return [*within(done, BARE, 0.6, CURL, "wall", "cpu"), *within(done, UNSYNCED, 1.2, CURL, "wall", "cpu")]
