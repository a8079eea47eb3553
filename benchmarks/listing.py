"""Does a batch whose items are all here already take more memory, the more there are?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from ._bench import Bench
from ._measuring import RunFailedError, Sample, Spread, last_line, measure
from ._report import Goal, Panel, Report

GROWTH_MIB = 20.0
FEW = 1000
_EMULATING = Path(__file__).with_name("_emulating.py")
_LISTING = Path(__file__).with_name("_listing.py")


def run(bench: Bench) -> Report:
    """List checkpoints of the emulator page by page, look for each on the disk, and skip it.

    Every item goes all the way through the engine but for the network: its page, its name, a look at what stands
    under that name, its result. Nothing of it may stay behind.
    """
    many = 400 if bench.is_quick else 1_000_000 if bench.is_full else 100_000
    few = 200 if bench.is_quick else FEW
    samples = {few: _measure(bench, few), many: _measure(bench, many)}
    peaks = {f"{count:,} items": Spread.of([sample.peak_mib]) for count, sample in samples.items()}
    return Report(
        "listing",
        "Items that the emulator lists in pages of 200, all of them here already: listed, looked for, and skipped.",
        ("items", "wall s", "CPU s", "peak MiB", "items/s"),
        [_line(count, sample) for count, sample in samples.items()],
        {str(count): attrs.asdict(sample) for count, sample in samples.items()},
        goals=[] if bench.is_quick else growth_goals(few, samples[few].peak_mib, many, samples[many].peak_mib),
        notes=[] if bench.is_full or bench.is_quick else ["1,000,000 items take several minutes: `--full`"],
        panels=[Panel("peak memory, MiB", peaks)],
    )


def _line(count: int, sample: Sample) -> list[str]:
    figures = (f"{sample.wall:.2f}", f"{sample.cpu:.2f}", f"{sample.peak_mib:.1f}", f"{count / sample.wall:,.0f}")
    return [f"{count:,}", *figures]


def is_possible() -> bool:
    """Tell whether the emulator is installed: it is an extra."""
    return all(find_spec(module) is not None for module in ("starlette", "hypercorn"))


def growth_goals(few: int, few_mib: float, many: int, many_mib: float) -> list[Goal]:
    """Demand that memory hardly grows with the number of items."""
    growth = many_mib - few_mib
    text = f"{many:,} items take {growth:+.1f} MiB more than {few:,}, at most {GROWTH_MIB:g} MiB"
    return [Goal(text, growth <= GROWTH_MIB)]


def _measure(bench: Bench, count: int) -> Sample:
    bench.tell(f"listing: {count:,} items")
    with TemporaryDirectory(dir=bench.directory, prefix="bench-") as name:
        home = Path(name)
        directory = home / "here"
        directory.mkdir()
        with _emulating(count, directory) as (base_url, api_key):
            command = [sys.executable, "-P", str(_LISTING), base_url, api_key, str(directory)]
            sample = measure(command, home, most_seconds=3600)
        told = last_line(home / "output")
        if told != f"{count} 0":
            raise RunFailedError(f"not all were skipped: {told}")
        return sample


@contextmanager
def _emulating(count: int, directory: Path) -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-P", str(_EMULATING), str(count), str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            told = process.stdout.readline()
            if not told:
                raise RunFailedError("the emulator does not start")
            facts = json.loads(told)
            yield facts["base_url"], facts["api_key"]
        finally:
            process.kill()
