"""Run the benchmarks: ``python -m benchmarks [CASE ...] [--repeat N] [--quick] [--full]``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import (
    _links,
    _plotting,
    _readme,
    _server,
    cancel,
    capped,
    delayed,
    futures,
    large,
    listing,
    many,
    memory,
    push,
    small,
    start,
    tls,
)
from ._bench import Bench
from ._machine import describe, in_words
from ._report import Report

CASES: Mapping[str, Callable[[Bench], Report]] = {
    "large": large.run,
    "many": many.run,
    "small": small.run,
    "tls": tls.run,
    "capped": capped.run,
    "delayed": delayed.run,
    "cancel": cancel.run,
    "memory": memory.run,
    "listing": listing.run,
    "push": push.run,
    "futures": futures.run,
    "start": start.run,
}
_WITHOUT_SERVER = {"start", "listing", "push", "futures"}
_RESULTS = Path(__file__).with_name("results")
_REPEAT = 3


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules[__package__].__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"which ones, by default all: {', '.join(CASES)}")
    parser.add_argument(
        "--repeat", type=_at_least_one, metavar="N", help=f"runs of every peer (default: {_REPEAT}; quick: 1)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny amounts, to see that everything works")
    parser.add_argument("--full", action="store_true", help="largest amounts, whatever time it takes: a million items")
    parser.add_argument(
        "--directory", type=Path, default=tempfile.gettempdir(), metavar="DIR",
        help="where files and downloads lie, on a file system with 3 GiB free (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--results",
        type=Path,
        default=_RESULTS,
        metavar="DIR",
        help="where JSON and plots go (default: benchmarks/results)",
    )
    parser.add_argument(
        "--readme", action="store_true", help="measure nothing: print the last results as README.md has them"
    )
    parser.add_argument(
        "--publish", type=Path, metavar="DIR", help="draw the plots into DIR too, where README.md finds them"
    )
    chosen = parser.parse_args(words)
    unknown = [case for case in chosen.cases if case not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    if chosen.quick and chosen.full:
        parser.error("--quick and --full contradict each other")
    chosen.cases = list(dict.fromkeys(chosen.cases)) or list(CASES)
    chosen.repeat = chosen.repeat or (1 if chosen.quick else _REPEAT)
    return chosen


def _at_least_one(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main(words: Sequence[str] | None = None) -> int:
    """Run the chosen cases, print their tables and write their figures down; 1 if nothing could be measured."""
    chosen = arguments(words)
    if chosen.readme:
        return _show(chosen)
    bench = Bench(chosen.repeat, chosen.quick, chosen.directory, chosen.full)
    cases = [case for case in chosen.cases if not _said_to_be_skipped(bench, case)]
    machine = describe()
    if cases:
        print(in_words(machine))
    chosen.results.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for case in cases:
        case_began = time.monotonic()
        report = CASES[case](bench)
        print(f"\n{report.markdown()}", flush=True)
        bench.tell(f"{case} took {time.monotonic() - case_began:.0f} s")
        figures = document(report, machine, repeat=bench.repeat, is_quick=bench.is_quick)
        (chosen.results / f"{case}.json").write_text(json.dumps(figures, indent=2) + "\n")
        _draw(bench, report, [chosen.results, *([chosen.publish] if chosen.publish else [])])
    bench.tell(f"elapsed: {time.monotonic() - began:.0f} s")
    return 0 if cases else 1


def _said_to_be_skipped(bench: Bench, case: str) -> bool:
    wants = ""
    if case not in _WITHOUT_SERVER and not _server.is_present():
        wants = "nginx (Debian: apt-get install nginx-light)"
    elif case == "tls" and not _links.has_certificates():
        wants = "trustme, which makes certificates"
    elif case in {"listing", "futures"} and not listing.is_possible():
        wants = "the emulator: pip install 'trio-norman[emulator]'"
    if wants:
        bench.tell(f"skipped: {case}, for want of {wants}")
    return bool(wants)


def _draw(bench: Bench, report: Report, directories: Sequence[Path]) -> None:
    if not _plotting.can_plot():
        bench.tell(f"{report.case}: no plot, for want of matplotlib")
        return
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
        _plotting.draw(report, directory / f"{report.case}.svg")


def _show(chosen: argparse.Namespace) -> int:
    """Print what README.md shows of the last results; 1 if there are none."""
    documents = _readme.last_results(chosen.results, chosen.cases)
    if not documents:
        print("there are no results yet", file=sys.stderr)
        return 1
    if chosen.publish:
        bench = Bench(1, is_quick=True, directory=chosen.directory)
        for each in documents:
            _draw(bench, Report.read(each), [chosen.publish])
    print(_readme.block(documents, chosen.publish if chosen.publish and _plotting.can_plot() else None))
    return 0


def document(report: Report, machine: dict[str, Any], *, repeat: int, is_quick: bool) -> dict[str, Any]:
    """Return what is written down of a report."""
    return {"repeat": repeat, "is_quick": is_quick, "machine": machine, **report.document()}


if __name__ == "__main__":
    sys.exit(main())
