"""Who opens enough connections, where the server gives each only so much?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._bench import Bench, FileSet
from ._links import Link
from ._peers import BARE, CURL, CURL_Z, RANGED
from ._report import Goal, Report
from ._transfers import Runs, best_of_all, compare


def run(bench: Bench) -> Report:
    """Measure one file of 256 MiB from a server that gives every connection 8 MiB a second."""
    files = FileSet(1, 2**22 if bench.is_quick else 2**28)
    peers = [peer for peer in RANGED if peer is not CURL_Z]
    return compare(
        bench, "capped", "8 MiB/s for each connection.", files, peers=peers, goals=goals, link=Link(limit_rate="8m"),
        once={CURL}, shows_goodput=True,
    )  # fmt: skip


def goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand that nobody is faster than ours, which is not told how many connections to open."""
    return best_of_all(done, BARE)
