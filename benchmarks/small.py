"""What does a request cost, when files are many and small?"""

from __future__ import annotations

from ._bench import Bench, FileSet
from ._report import Report
from ._transfers import compare


def run(bench: Bench) -> Report:
    """Measure 2,000 files of 64 KiB over http."""
    files = FileSet(20, 2**10) if bench.is_quick else FileSet(2000, 2**16)
    return compare(bench, "small", "Many small files over http, eight at a time.", files)
