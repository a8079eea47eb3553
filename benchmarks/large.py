"""What does one large file cost?"""

from __future__ import annotations

from ._bench import Bench, FileSet
from ._peers import PEERS
from ._report import Report
from ._transfers import compare


def run(bench: Bench) -> Report:
    """Measure one file of 1 GiB over http."""
    files = FileSet(1, 2**21 if bench.is_quick else 2**30)
    peers = [peer for peer in PEERS if peer.name != "curl -Z"]  # it has nothing to do in parallel
    return compare(bench, "large", "One large file over http.", files, peers=peers)
