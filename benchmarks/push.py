"""How fast are encrypted pushes, alone and side by side, and how soon is an invocation answered?"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ._bench import Bench, FileSet, fill
from ._measuring import RunFailedError, Sample, Spread, last_line, measure
from ._report import Goal, Panel, Report
from .listing import is_possible

RATIO, SPEEDUP, LATE, MOST_MIB = 0.7, 3.0, 0.3, 100.0
CAP = 20_000_000  # bytes per second of each connection
MODEL_SECONDS = 0.05
_PUSHING = Path(__file__).with_name("_pushing.py")
_SERVICE = Path(__file__).with_name("_push_service.py")
_EMULATING = Path(__file__).with_name("_emulating_norman.py")


def run(bench: Bench) -> Report:
    """Push one large body beside the plain cipher, 16 smaller ones on slow connections, and ask a quick model."""
    parts = [_alone(bench), _side_by_side(bench), _large(bench)]
    if is_possible():
        parts.append(_asked(bench))
    return Report.of_parts("push", "Encrypted pushes to a service that throws everything away, and invocations.", parts)


def _alone(bench: Bench) -> Report:
    size = 2**22 if bench.is_quick else 2**30
    ciphers, pushes, samples = [], [], []
    with _home(bench, FileSet(1, size)) as (home, file), _serving([_SERVICE, "0"]) as url:
        for _ in range(bench.repeat):
            bench.tell("push: one body")
            ciphers.append(_seconds(home, "cipher", str(size))[0][0])
            seconds, sample = _seconds(home, "push", url, str(file))
            pushes.append(seconds[0])
            samples.append(sample)
    ratios = [cipher / push for cipher, push in zip(ciphers, pushes, strict=True)]
    rates = {
        "ChaCha20 alone, in the cache": Spread.of([size / each / 1e6 for each in ciphers]),
        "pushed: file, cipher, checksum, socket": Spread.of([size / each / 1e6 for each in pushes]),
    }
    met = Goal(f"a push has {max(ratios):.2f} of the plain cipher's rate, at least {RATIO:g}", max(ratios) >= RATIO)
    return Report(
        "push-one",
        f"One body of {size >> 20} MiB, MB/s.",
        ("what", "MB/s"),
        [[name, str(spread)] for name, spread in rates.items()],
        {"cipher": ciphers, "push": pushes, "cpu": [sample.cpu for sample in samples]},
        goals=[] if bench.is_quick else [met],
        panels=[Panel("MB/s", rates)],
    )


def _side_by_side(bench: Bench) -> Report:
    size = 2**16 if bench.is_quick else 8 * 2**20
    seconds: dict[str, Spread] = {}
    with _home(bench, FileSet(1, size)) as (home, file), _serving([_SERVICE, str(CAP)]) as url:
        for name, uploads in (("one after another", "1"), ("16 at once", "16")):
            bench.tell(f"push: {name}")
            taken = [_seconds(home, "parallel", url, str(file), uploads)[0][0] for _ in range(bench.repeat)]
            seconds[name] = Spread.of(taken)
    serial, parallel = (spread.median for spread in seconds.values())
    text = f"16 at once are {serial / parallel:.1f} times as fast as one after another, at least {SPEEDUP:g} times"
    return Report(
        "push-many",
        f"16 inputs of {size >> 10} KiB, each connection capped at {CAP // 1_000_000} MB/s, seconds.",
        ("how", "seconds"),
        [[name, str(spread)] for name, spread in seconds.items()],
        {name: spread.median for name, spread in seconds.items()},
        goals=[] if bench.is_quick else [Goal(text, serial / parallel >= SPEEDUP)],
        panels=[Panel("seconds", seconds)],
    )


def _large(bench: Bench) -> Report:
    """Measure the memory of a body of 2 GiB: a sparse file goes up, zeros come down."""
    size = 2**22 if bench.is_quick else 2**31
    with TemporaryDirectory(dir=bench.directory, prefix="bench-") as name:
        home = Path(name)
        file, saved = home / "sparse", home / "saved"
        with file.open("wb") as opened:
            opened.truncate(size)
        with _serving([_SERVICE, "0", str(size)]) as url:
            bench.tell("push: memory")
            up = _seconds(home, "push", url, str(file))[1]
            down = _seconds(home, "save", url, str(saved))[1]
        if saved.stat().st_size != size:
            raise RunFailedError("what came is not what was sent")
    peaks = {"up": Spread.of([up.peak_mib]), "down": Spread.of([down.peak_mib])}
    most = max(up.peak_mib, down.peak_mib)
    return Report(
        "push-memory",
        f"Peak memory of a body of {size >> 20} MiB, MiB.",
        ("way", "MiB"),
        [[name, f"{spread.median:.1f}"] for name, spread in peaks.items()],
        {name: spread.median for name, spread in peaks.items()},
        goals=[Goal(f"the highest peak is {most:.1f} MiB, below {MOST_MIB:g} MiB", most < MOST_MIB)],
        panels=[Panel("MiB", peaks)],
    )


def _asked(bench: Bench) -> Report:
    count = 3 if bench.is_quick else 20
    with TemporaryDirectory(dir=bench.directory, prefix="bench-") as name:
        with _serving([_EMULATING, str(MODEL_SECONDS)]) as told:
            bench.tell("push: invocations")
            facts = json.loads(told)
            seconds, _ = _seconds(Path(name), "invoke", facts["url"], facts["key"], str(count))
    late = [each - MODEL_SECONDS for each in seconds]
    text = f"the median answer comes {statistics.median(late):.2f} s after the model, at most {LATE:g} s"
    spread = {"answered": Spread.of(late)}
    return Report(
        "push-invoke",
        f"{count} invocations of a model that takes {MODEL_SECONDS * 1000:.0f} ms on the emulator, one after another: "
        "seconds beyond the model's own, uploading and fetching included.",
        ("what", "seconds"),
        [["answered", str(spread["answered"])]],
        {"seconds": seconds},
        goals=[] if bench.is_quick else [Goal(text, statistics.median(late) <= LATE)],
        panels=[Panel("seconds", spread)],
    )


@contextmanager
def _home(bench: Bench, files: FileSet) -> Iterator[tuple[Path, Path]]:
    with TemporaryDirectory(dir=bench.directory, prefix="bench-") as name:
        fill(Path(name), files)
        yield Path(name), Path(name) / files.names[0]


@contextmanager
def _serving(words: Sequence[str | Path]) -> Iterator[str]:
    """Run a service for as long as the block lasts, and give the first line that it says."""
    command = [sys.executable, "-P", *map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            told = process.stdout.readline().decode().strip()
            if not told:
                raise RunFailedError("the service does not start")
            yield told
        finally:
            process.kill()


def _seconds(home: Path, *words: str) -> tuple[list[float], Sample]:
    sample = measure([sys.executable, "-P", str(_PUSHING), *words], home)
    try:
        return [float(word) for word in last_line(home / "output").split()], sample
    except ValueError:
        raise RunFailedError(last_line(home / "output")) from None
