"""How much memory does a download take, and does it grow with the number or the size of the files?"""

from __future__ import annotations

from ._bench import Bench, FileSet
from ._measuring import Sample, Spread
from ._peers import VERIFIED
from ._report import Goal, Report

MOST_MIB = 150.0
FLAT_MIB = 10.0  # what two peaks may differ by and still count as the same


def run(bench: Bench) -> Report:
    """Measure the peak for 100 and 10,000 files of 1 KiB, and for one of 1 GiB."""
    few, numerous, large = FileSet(100, 2**10), FileSet(10_000, 2**10), FileSet(1, 2**30)
    if bench.is_quick:
        few, numerous, large = FileSet(4, 2**10), FileSet(40, 2**10), FileSet(1, 2**21)
    sets = {str(files): _measure(bench, files) for files in (few, numerous, large)}
    peaks = {name: Spread.of([sample.peak_mib for sample in samples]) for name, samples in sets.items()}
    lines = [[name, f"{peak.median:.1f}", f"{peak.least:.1f}", f"{peak.most:.1f}"] for name, peak in peaks.items()]
    return Report(
        "memory",
        f"Peak memory of {VERIFIED.name}, verified and durable; {bench.repeat} runs each.",
        ("files", "median MiB", "least", "most"),
        lines,
        {name: [sample.peak_mib for sample in samples] for name, samples in sets.items()},
        goals=goals(peaks[str(few)], peaks[str(numerous)], peaks[str(large)]),
    )


def _measure(bench: Bench, files: FileSet) -> list[Sample]:
    with bench.stage(files) as stage:
        bench.tell(f"memory: {files}")
        return [stage.measure(VERIFIED.command(stage.job), is_compared=False) for _ in range(bench.repeat)]


def goals(few: Spread, numerous: Spread, large: Spread) -> list[Goal]:
    """Demand little memory, and the same for few and for numerous files."""
    most = max(few.most, numerous.most, large.most)
    growth = numerous.median - few.median
    return [
        Goal(f"the highest peak is {most:.1f} MiB, below {MOST_MIB:g} MiB", most < MOST_MIB),
        Goal(f"numerous files take {growth:+.1f} MiB more than few, below {FLAT_MIB:g} MiB", growth < FLAT_MIB),
    ]
