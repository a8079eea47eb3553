"""What one run of one process costs, and what several runs tell."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

_STOPWATCH = Path(__file__).with_name("_stopwatch.py")
_MOST_SECONDS = 600.0  # a process that takes longer hangs
_KIB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1.0  # macOS reports ru_maxrss in bytes


class RunFailedError(Exception):
    """A measured process did not do what it was started for."""


@attrs.frozen
class Sample:
    """One run of a whole process tree: seconds on the clock and on the processors, and its peak memory."""

    wall: float
    user: float
    system: float
    peak_kib: float

    @property
    def cpu(self) -> float:
        """Seconds on the processors."""
        return self.user + self.system

    @property
    def peak_mib(self) -> float:
        """Peak of the resident memory."""
        return self.peak_kib / 1024


def measure(command: Sequence[str], scratch: Path, *, most_seconds: float = _MOST_SECONDS) -> Sample:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        scratch: Directory for what the run leaves behind beside its result.
        most_seconds: After these it hangs.

    Raises:
        RunFailedError: If it exits with another code than 0; the text ends with what it said.
    """
    figures, said = scratch / "figures", scratch / "output"
    figures.unlink(missing_ok=True)
    stopwatch = [sys.executable, "-I", "-S", str(_STOPWATCH), str(figures)]
    with open(said, "wb") as output:
        try:
            subprocess.run(
                [*stopwatch, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=plain_environment(os.environ.items()),
                timeout=most_seconds,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise RunFailedError(f"not done after {most_seconds:g} s") from None
        except subprocess.CalledProcessError as error:
            raise RunFailedError(f"did not start: {last_line(said)}") from error
    code, wall, user, system, peak = figures.read_text().split()
    if code != "0":
        raise RunFailedError(f"exit code {code}: {last_line(said)}")
    return Sample(float(wall), float(user), float(system), float(peak) * _KIB_PER_UNIT)


def plain_environment(variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the environment without proxies, which some peers would ask for 127.0.0.1 too."""
    return {name: value for name, value in variables if not name.lower().endswith("_proxy")}


def last_line(file: Path) -> str:
    """Return the last thing that a process said, shortened."""
    lines = file.read_text(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")


@attrs.frozen
class Spread:
    """The middle of several figures, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Summarise figures, at least one.

        Raises:
            ValueError: If there is none.
        """
        if not figures:
            raise ValueError("nothing was measured")
        return cls(statistics.median(figures), min(figures), max(figures))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"  # noqa: RUF001 (a range has an en dash)
