"""What does one large file cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._bench import Bench, FileSet
from ._peers import (
    AIOHTTP,
    ARIA2,
    BARE,
    CURL,
    FETCH_BARE,
    HF_TRANSFER,
    HTTPX,
    OBSTORE,
    REQUESTS,
    UNSYNCED,
    VERIFIED,
    WGET,
)
from ._report import Goal, Report
from ._transfers import Runs, compare, within

_PEERS = (
    *(CURL, WGET, ARIA2, HF_TRANSFER, OBSTORE, AIOHTTP, REQUESTS, HTTPX),
    *(VERIFIED, UNSYNCED, BARE, FETCH_BARE),
)


def run(bench: Bench) -> Report:
    """Measure one file of 1 GiB over http."""
    files = FileSet(1, 2**21 if bench.is_quick else 2**30)
    return compare(bench, "large", "One large file over http.", files, peers=_PEERS, goals=goals)


def goals(done: Mapping[str, Runs]) -> Sequence[Goal]:
    """Demand that bytes cost much less than in curl, and hardly more with a SHA-256."""
    return [*within(done, BARE, 0.6, CURL, "wall", "cpu"), *within(done, UNSYNCED, 1.2, CURL, "wall", "cpu")]
