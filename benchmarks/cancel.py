"""Does a pool of five still work after thousands of cancelled requests?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ._bench import Bench, FileSet
from ._measuring import Sample, Spread, last_line, measure
from ._report import Goal, Panel, Report

_RUNNER = Path(__file__).with_name("_cancelling.py")
_CLIENTS = {"stock": "httpx's own transport", "ours": "trio_norman.TrioTransport"}


def run(bench: Bench) -> Report:
    """Cancel requests at moments that wander through the exchange, then make one that must work."""
    count = 20 if bench.is_quick else 10_000
    lines: list[list[str]] = []
    figures: dict[str, dict[str, Any]] = {}
    with bench.stage(FileSet(1, 2**18)) as stage:
        for which, client in _CLIENTS.items():
            bench.tell(f"cancel: {client}")
            command = [sys.executable, "-P", str(_RUNNER), which, stage.job.plain.read_text().strip(), str(count)]
            sample: Sample = measure(command, stage.home)
            cancelled, sockets, ending = last_line(stage.home / "output").split()
            lines.append([client, cancelled, ending, sockets, f"{sample.wall:.2f}", f"{sample.cpu:.2f}"])
            figures[which] = {
                "cancelled": int(cancelled),
                "ending": ending,
                "open_sockets": int(sockets),
                "wall": sample.wall,
                "cpu": sample.cpu,
            }
    ours = figures["ours"]
    costs = {
        title: {client: Spread.of([figures[which][figure]]) for which, client in _CLIENTS.items()}
        for title, figure in (("wall, seconds", "wall"), ("CPU, seconds", "cpu"))
    }
    return Report(
        "cancel",
        f"{count:,} requests on a pool of 5, ten at a time, each cancelled 0–5 ms after its start unless it is done "  # noqa: RUF001
        "by then; then one more.",
        ("transport", "cancelled", "the one after", "sockets left", "wall s", "CPU s"),
        lines,
        figures,
        goals=[
            Goal("the request after the cancelled ones works with our transport", ours["ending"] == "200"),
            Goal("our transport leaves no socket open", ours["open_sockets"] == 0),
        ],
        panels=[Panel(title, bars) for title, bars in costs.items()],
    )
