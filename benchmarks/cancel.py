"""Does a pool of five still work after hundreds of cancelled requests?"""

from __future__ import annotations

import sys
from pathlib import Path

from ._bench import Bench, FileSet
from ._measuring import Sample, last_line, measure
from ._report import Goal, Report

_RUNNER = Path(__file__).with_name("_cancelling.py")
_CLIENTS = {"stock": "httpx's own transport", "ours": "trio_norman.TrioTransport"}


def run(bench: Bench) -> Report:
    """Cancel 200 requests at moments that wander through the exchange, then make one that must work."""
    count = 20 if bench.is_quick else 200
    lines, figures = [], {}
    with bench.stage(FileSet(1, 2**18)) as stage:
        for which, client in _CLIENTS.items():
            command = [sys.executable, "-P", str(_RUNNER), which, stage.job.plain.read_text().strip(), str(count)]
            sample: Sample = measure(command, stage.home)
            cancelled, ending = last_line(stage.home / "output").split()
            lines.append([client, cancelled, ending, f"{sample.wall:.2f}", f"{sample.cpu:.2f}"])
            figures[which] = {"cancelled": int(cancelled), "ending": ending, "wall": sample.wall, "cpu": sample.cpu}
    return Report(
        "cancel",
        f"{count} requests on a pool of 5, cancelled 0–5 ms after their start, then one more.",  # noqa: RUF001
        ("transport", "cancelled", "the one after", "wall s", "CPU s"),
        lines,
        figures,
        goals=[
            Goal("the request after the cancelled ones works with our transport", figures["ours"]["ending"] == "200")
        ],
    )
