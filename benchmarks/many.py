"""What do many files of some size cost, eight at a time?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._bench import Bench, FileSet
from ._peers import BARE, CURL_Z, HF_TRANSFER, HTTPX, PEERS, VERIFIED
from ._report import Goal, Report
from ._transfers import Runs, compare, within

_PEERS = [peer for peer in PEERS if peer is not HF_TRANSFER]  # it is made for single files


def run(bench: Bench) -> Report:
    """Measure 64 files of 16 MiB over http."""
    files = FileSet(4, 2**20) if bench.is_quick else FileSet(64, 2**24)
    return compare(bench, "many", "Many files over http.", files, peers=_PEERS, goals=goals)


def goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand less than ``curl -Z`` takes, and less than `httpx` even where ours verifies and syncs."""
    return [*within(done, BARE, 0.7, CURL_Z, "wall", "cpu"), *within(done, VERIFIED, 1.0, HTTPX, "wall")]
