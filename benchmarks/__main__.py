"""Run the benchmarks: ``python -m benchmarks [CASE ...] [--repeat N] [--quick]``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _server, cancel, large, many, memory, small, start
from ._bench import Bench
from ._machine import describe, in_words
from ._report import Report

CASES: Mapping[str, Callable[[Bench], Report]] = {
    "large": large.run,
    "many": many.run,
    "small": small.run,
    "memory": memory.run,
    "start": start.run,
    "cancel": cancel.run,
}
_WITHOUT_SERVER = {"start"}
_RESULTS = Path(__file__).with_name("results")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules[__package__].__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"which ones, by default all: {', '.join(CASES)}")
    parser.add_argument("--repeat", type=_at_least_one, metavar="N", help="runs of every peer (default: 5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="tiny amounts, to see that everything works")
    parser.add_argument(
        "--directory", type=Path, default=tempfile.gettempdir(), metavar="DIR",
        help="where files and downloads lie, on a file system with 3 GiB free (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--results",
        type=Path,
        default=_RESULTS,
        metavar="DIR",
        help="where the JSON goes (default: benchmarks/results)",
    )
    chosen = parser.parse_args(words)
    unknown = [case for case in chosen.cases if case not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    chosen.cases = chosen.cases or list(CASES)
    chosen.repeat = chosen.repeat or (1 if chosen.quick else 5)
    return chosen


def _at_least_one(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main(words: Sequence[str] | None = None) -> int:
    """Run the chosen cases, print their tables and write their figures down; 1 if nothing could be measured."""
    chosen = arguments(words)
    bench = Bench(chosen.repeat, chosen.quick, chosen.directory)
    cases = list(dict.fromkeys(chosen.cases))
    if not _server.is_present():
        skipped = [case for case in cases if case not in _WITHOUT_SERVER]
        bench.tell(
            f"skipped for want of nginx (Debian: apt-get install nginx-light): {', '.join(skipped) or 'nothing'}"
        )
        cases = [case for case in cases if case in _WITHOUT_SERVER]
    machine = describe()
    if cases:
        print(in_words(machine))
    chosen.results.mkdir(parents=True, exist_ok=True)
    for case in cases:
        report = CASES[case](bench)
        print(f"\n{report.markdown()}", flush=True)
        figures = document(report, machine, repeat=bench.repeat, is_quick=bench.is_quick)
        (chosen.results / f"{case}.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if cases else 1


def document(report: Report, machine: dict[str, Any], *, repeat: int, is_quick: bool) -> dict[str, Any]:
    """Return what is written down of a report."""
    return {
        "case": report.case,
        "question": report.question,
        "repeat": repeat,
        "is_quick": is_quick,
        "machine": machine,
        "goals": [{"text": goal.text, "is_met": goal.is_met} for goal in report.goals],
        "notes": list(report.notes),
        "figures": report.figures,
    }


if __name__ == "__main__":
    sys.exit(main())
