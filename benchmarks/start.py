"""How long does it take to import the package?"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ._bench import Bench
from ._measuring import Spread, measure
from ._report import Goal, Panel, Report

MOST_SECONDS = 0.3
_MORE = 3  # times as many runs as elsewhere: these are short
_OURS = "from trio_norman import ServiceClient, download_many"  # what `import trio_norman` puts off is in this
_STATEMENTS = (
    *("pass", "import trio", "import httpx", "import trio, httpx, attrs, cattrs"),
    *("import trio_norman", _OURS),
)


def run(bench: Bench) -> Report:
    """Measure an interpreter that imports nothing, what we stand upon, and us."""
    times: dict[str, list[float]] = {statement: [] for statement in _STATEMENTS}
    with TemporaryDirectory(dir=bench.directory) as scratch:
        for _ in range(bench.repeat * _MORE):
            for statement in _STATEMENTS:
                command = [sys.executable, "-P", "-c", statement]
                times[statement].append(measure(command, Path(scratch)).wall)
    bare = Spread.of(times["pass"])
    spreads = {statement: Spread.of(each) for statement, each in times.items()}
    lines = [
        [
            f"`{statement}`",
            f"{each.median:.3f}",
            f"{each.least:.3f}",
            f"{each.most:.3f}",
            f"{each.median - bare.median:.3f}",
        ]
        for statement, each in spreads.items()
    ]
    ours = spreads[_OURS].median - bare.median
    return Report(
        "start",
        f"Wall seconds of `python -c`; {bench.repeat * _MORE} runs each.",
        ("statement", "median s", "least", "most", "beyond the interpreter"),
        lines,
        times,
        goals=[Goal(f"`{_OURS}` takes {ours:.3f} s, below {MOST_SECONDS:g} s", ours < MOST_SECONDS)],
        panels=[Panel("wall, seconds", spreads)],
    )
