"""Who fills a long line, where each connection brings only so much?"""

from __future__ import annotations

from ._bench import Bench, FileSet
from ._links import Link
from ._peers import CURL, CURL_Z, HF_TRANSFER, RANGED
from ._report import Report
from ._transfers import compare
from .capped import goals

_TASKS = 16
_LINK = Link(round_trip=0.04, rate=20_000_000)


def run(bench: Bench) -> Report:
    """Measure one file of 256 MiB, and 64 of 4 MiB, from a server that is 40 ms away."""
    one, several = (FileSet(1, 2**22), FileSet(4, 2**18)) if bench.is_quick else (FileSet(1, 2**28), FileSet(64, 2**22))
    alone = [peer for peer in RANGED if peer is not CURL_Z]
    together = [peer for peer in RANGED if peer is not HF_TRANSFER]  # it is made for single files
    parts = [
        compare(
            bench, "delayed: one file", "A long line.", one, peers=alone, goals=goals, link=_LINK, once={CURL},
            shows_goodput=True,
        ),
        compare(
            bench, "delayed: several files", "A long line.", several, peers=together, goals=goals, link=_LINK,
            tasks=_TASKS, once={CURL}, shows_goodput=True,
        ),
    ]  # fmt: skip
    text = "A proxy delays each connection by 20 ms each way, its handshake too, and lets it bring 20 MB/s."
    return Report.of_parts("delayed", text, parts)
