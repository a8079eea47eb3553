"""How much memory does a download take, and does it grow with the number or the size of the files?"""

from __future__ import annotations

from ._bench import Bench, FileSet
from ._links import PLAIN, TLS, Link, has_certificates
from ._measuring import Sample, Spread
from ._peers import VERIFIED
from ._report import Goal, Panel, Report
from ._transfers import MOST_MIB

FLAT_MIB = 10.0  # what two peaks may differ by and still count as the same


def run(bench: Bench) -> Report:
    """Measure the peak for few and numerous files, and for a small and a large one over http and https."""
    few, numerous, little, large = FileSet(100, 2**10), FileSet(10_000, 2**10), FileSet(1, 2**28), FileSet(1, 2**30)
    if bench.is_quick:
        few, numerous, little, large = FileSet(4, 2**10), FileSet(40, 2**10), FileSet(1, 2**20), FileSet(1, 2**21)
    plain = [_measure(bench, files, PLAIN) for files in (few, numerous, little, large)]
    secret = [_measure(bench, files, TLS) for files in (little, large)] if has_certificates() else []
    names = [*map(str, (few, numerous)), f"{little}, http", f"{large}, http", f"{little}, https", f"{large}, https"]
    sets = dict(zip(names, [*plain, *secret], strict=False))
    peaks = {name: Spread.of([sample.peak_mib for sample in samples]) for name, samples in sets.items()}
    spreads = list(peaks.values())
    return Report(
        "memory",
        f"Peak memory of {VERIFIED.name}, verified and durable; {bench.repeat} runs each.",
        ("files", "median MiB", "least", "most"),
        [[name, f"{peak.median:.1f}", f"{peak.least:.1f}", f"{peak.most:.1f}"] for name, peak in peaks.items()],
        {name: [sample.peak_mib for sample in samples] for name, samples in sets.items()},
        goals=[
            *little_goals(spreads),
            *flat_goals("numerous files take", spreads[:2]),
            *flat_goals("a large file takes", spreads[2:4]),
            *flat_goals("a large file over https takes", spreads[4:]),
        ],
        notes=[] if secret else ["no https for want of trustme"],
        panels=[Panel("peak memory, MiB", peaks)],
    )


def _measure(bench: Bench, files: FileSet, link: Link) -> list[Sample]:
    with bench.stage(files, link) as stage:
        bench.tell(f"memory: {files}, {'https' if link.is_tls else 'http'}")
        return [stage.measure(VERIFIED.command(stage.job), is_compared=False) for _ in range(bench.repeat)]


def little_goals(peaks: list[Spread]) -> list[Goal]:
    """Demand little memory."""
    most = max(peak.most for peak in peaks)
    return [Goal(f"the highest peak is {most:.1f} MiB, at most {MOST_MIB:g} MiB", most <= MOST_MIB)]


def flat_goals(what: str, peaks: list[Spread]) -> list[Goal]:
    """Demand that the second of two peaks is hardly higher than the first."""
    if len(peaks) != 2:
        return []
    growth = peaks[1].median - peaks[0].median
    return [Goal(f"{what} {growth:+.1f} MiB more, below {FLAT_MIB:g} MiB", growth < FLAT_MIB)]
