"""How soon, and at what cost, do answers of asynchronous predictions arrive?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from ._bench import Bench
from ._measuring import RunFailedError, Sample, Spread, last_line, measure
from ._report import Goal, Panel, Report

_ENDPOINTS = Path(__file__).with_name("_endpoints.py")
_ASKING, _THREADS = "benchmarks._asking", "benchmarks._asking_by_threads"

POLLING, CALLBACKS, THREADS = "trio_norman, polling", "trio_norman, callbacks", "requests, a thread each, a poll in 2 s"
MOST_POLLS, POLLING_SECONDS, CALLBACK_SECONDS, CPU_SHARE, MOST_MIB = 3.0, 0.1, 0.02, 0.2, 100.0


@attrs.frozen
class Run:
    """One client's run: what it cost, and what it tells."""

    sample: Sample
    told: Mapping[str, float]

    @property
    def cpu_each(self) -> float:
        """CPU seconds of one prediction; the start-up is left out, or a run of more predictions would seem cheaper."""
        return self.told["cpu"] / self.told["count"]


def run(bench: Bench) -> Report:
    """Make predictions that take 50 to 500 ms, 64 in flight, and wait for all; then read many streams at once.

    Threads that poll every two seconds need three minutes for all: they make a fifth of the predictions.
    """
    count, few, streams = (40, 40, 20) if bench.is_quick else (5000, 1000, 1000)
    runs = {
        POLLING: _measured(bench, POLLING, [_ASKING, "polling"], count),
        CALLBACKS: _measured(bench, CALLBACKS, [_ASKING, "callbacks"], count),
    }
    if find_spec("requests") is not None:
        runs[THREADS] = _measured(bench, THREADS, [_THREADS], few)
    read = _measured(bench, f"{streams} streams", [_ASKING, "streams"], streams)
    streaming = (
        f"{streams:,} streams of 100 events at once: {read.told['right']:.0f} came whole, in {read.sample.wall:.1f} s"
        f" with {read.sample.cpu:.1f} s of CPU and {read.sample.peak_mib:.0f} MiB"
    )
    return Report(
        "futures",
        f"{count:,} asynchronous predictions of 50–500 ms, 64 in flight: from the end of a task in the emulator to "  # noqa: RUF001
        "its answer in the caller. CPU is a prediction's, without the start-up of the program.",
        ("client", "predictions", "median delay ms", "95 % ms", "polls a task", "wall s", "CPU ms", "peak MiB"),
        [_line(client, each) for client, each in runs.items()],
        {**{client: attrs.asdict(each) for client, each in runs.items()}, "streams": attrs.asdict(read)},
        goals=[
            *([] if bench.is_quick else goals(runs)),
            Goal(f"{streams:,} streams lose no event", read.told["right"] == streams),
        ],
        notes=[streaming, _about_threads(runs, count)],
        panels=[
            Panel("median delay, ms", {name: Spread.of([1000 * each.told["median"]]) for name, each in runs.items()}),
            Panel("CPU a prediction, ms", {name: Spread.of([1000 * each.cpu_each]) for name, each in runs.items()}),
        ],
    )


def goals(runs: Mapping[str, Run]) -> list[Goal]:
    """Demand answers that come soon, few polls, little CPU and flat memory."""
    polling, callbacks = runs[POLLING], runs[CALLBACKS]
    peak = max(polling.sample.peak_mib, callbacks.sample.peak_mib)
    delays = [1000 * each.told["median"] for each in (polling, callbacks)]
    found = [
        Goal(f"median delay with polling {delays[0]:.0f} ms, below 100", delays[0] < 1000 * POLLING_SECONDS),
        Goal(f"median delay with callbacks {delays[1]:.0f} ms, below 20", delays[1] < 1000 * CALLBACK_SECONDS),
        Goal(f"{polling.told['polls']:.2f} polls a task, at most 3", polling.told["polls"] <= MOST_POLLS),
        Goal(f"peak memory {peak:.0f} MiB, below 100", peak < MOST_MIB),
    ]
    if THREADS in runs:
        share = polling.cpu_each / runs[THREADS].cpu_each
        found.append(Goal(f"{share:.2f} × the CPU of threads, each prediction, at most 0.20", share <= CPU_SHARE))  # noqa: RUF001 (times)
    return found


def _line(client: str, each: Run) -> list[str]:
    told, sample = each.told, each.sample
    figures = [f"{1000 * told['median']:.0f}", f"{1000 * told['p95']:.0f}", f"{told['polls']:.2f}"]
    counted = f"{told['count']:,.0f}"
    return [client, counted, *figures, f"{sample.wall:.1f}", f"{1000 * each.cpu_each:.2f}", f"{sample.peak_mib:.0f}"]


def _about_threads(runs: Mapping[str, Run], count: int) -> str:
    if THREADS not in runs:
        return "absent: requests, with which threads ask"
    few = runs[THREADS].told["count"]
    return f"threads made {few:,.0f} of the {count:,} predictions: a poll in 2 s makes them wait, whatever their number"


def _measured(bench: Bench, client: str, words: list[str], count: int) -> Run:
    bench.tell(f"futures: {client}")
    with TemporaryDirectory(dir=bench.directory, prefix="bench-") as name:
        home = Path(name)
        with _serving() as (base_url, api_key):
            command = [sys.executable, "-m", *words, base_url, api_key, str(count)]
            sample = measure(command, home, most_seconds=1800)
        told: Mapping[str, float] = json.loads(last_line(home / "output"))
    if told["count"] != count:
        raise RunFailedError(f"{told['count']} answers came, {count} were asked for")
    return Run(sample, told)


@contextmanager
def _serving() -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-P", str(_ENDPOINTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said:
                raise RunFailedError("the emulator does not start")
            facts = json.loads(said)
            yield facts["base_url"], facts["api_key"]
        finally:
            process.kill()
