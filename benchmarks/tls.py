"""What does https cost, for one large file and for several at once?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._bench import Bench, FileSet
from ._links import TLS
from ._peers import AIOHTTP, ARIA2, BARE, CURL, CURL_Z, FETCH_BARE, HTTPX, OBSTORE, UNSYNCED
from ._report import Goal, Report
from ._transfers import Runs, compare, within

_PEERS = (CURL, CURL_Z, ARIA2, OBSTORE, AIOHTTP, HTTPX, UNSYNCED, BARE, FETCH_BARE)


def run(bench: Bench) -> Report:
    """Measure one file of 1 GiB, and eight of 128 MiB, with a certificate that was made for the occasion."""
    one, several = (FileSet(1, 2**21), FileSet(4, 2**20)) if bench.is_quick else (FileSet(1, 2**30), FileSet(8, 2**27))
    alone = [peer for peer in _PEERS if peer is not CURL_Z]
    parts = [
        compare(bench, "tls: one file", "Over https.", one, peers=alone, goals=goals, link=TLS),
        compare(bench, "tls: several files", "Over https.", several, peers=_PEERS, goals=goals_together, link=TLS),
    ]
    return Report.of_parts("tls", "https from nginx, the certificate verified.", parts)


def goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand no more than curl takes."""
    return within(done, BARE, 1.0, CURL, "wall", "cpu")


def goals_together(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand that several files are decrypted at the same time."""
    return within(done, BARE, 1.0, CURL_Z, "wall")
