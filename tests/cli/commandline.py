"""Runs the real command line in processes of its own, against an emulator in the test's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from trio_norman.emulator import Emulator
from trio_norman.emulator._content import Content

#: Makes a command watch what it executes, and say so on stderr.
AUDITED = str(Path(__file__).parents[1] / "audited")
COMMAND = (sys.executable, "-W", "error", "-m", "trio_norman.cli")


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[dict[str, Any]]:
        """Standard output as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@attrs.frozen
class Shell:
    """A user: a directory of their own, and the service they have an account at."""

    home: Path
    emulator: Emulator | None = None

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Return the user's environment, with changes (None takes a variable out)."""
        kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
        kept["PYTHONPATH"] = os.pathsep.join([AUDITED, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).strip(":")
        given: dict[str, str | None] = {**kept, "HOME": str(self.home), "LANG": "C.UTF-8", "COLUMNS": "200"}
        if self.emulator is not None:
            given |= {"TRIO_NORMAN_BASE_URL": self.emulator.base_url, "TRIO_NORMAN_API_KEY": self.emulator.api_key}
        return {name: value for name, value in {**given, **changes}.items() if value is not None}

    async def run(self, *words: str | Path, stdin: bytes = b"", env: Mapping[str, str | None] | None = None) -> Ended:
        """Run one command to its end."""
        done = await trio.run_process(
            [*COMMAND, *map(str, words)],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=self.home,
            env=self.environment(**(env or {})),
        )
        ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ended.err, ended.err
        return ended

    async def run_all(self, *lines: Sequence[str | Path]) -> list[Ended]:
        """Run several commands at the same time; starting Python is most of what they do."""
        ends: dict[int, Ended] = {}

        async def run_one(index: int, line: Sequence[str | Path]) -> None:
            ends[index] = await self.run(*line)

        async with trio.open_nursery() as nursery:
            for index, line in enumerate(lines):
                nursery.start_soon(run_one, index, line)
        return [ends[index] for index in range(len(lines))]

    @asynccontextmanager
    async def start(self, *words: str | Path, **streams: Any) -> AsyncIterator[trio.Process]:
        """Start a command that the test will stop; it is killed if it still runs in the end."""
        chosen: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": self.environment(),
            "preexec_fn": _default_signals,
            **streams,
        }
        start = partial(trio.run_process, [*COMMAND, *map(str, words)], check=False, cwd=self.home, **chosen)
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(start)
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


def _default_signals() -> None:
    # A test run in the background of a shell ignores SIGINT, and its children would inherit that.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


async def read_all(stream: trio.abc.ReceiveStream | None) -> bytes:
    """Read what a process writes until it closes the stream."""
    assert stream is not None
    return b"".join([block async for block in stream])


async def read_line(stream: trio.abc.ReceiveStream | None) -> bytes:
    """Read the first line that a process writes."""
    assert stream is not None
    line = b""
    while not line.endswith(b"\n"):
        block = await stream.receive_some(1)
        assert block, line
        line += block
    return line


def is_content(path: Path, content: Content) -> bool:
    """Whether a file holds exactly these bytes."""
    return path.stat().st_size == content.size and path.read_bytes() == content.read(0, content.size)


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another process does: nothing but looking again and again tells."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 (the event is in another process)
            await trio.sleep(0.02)


async def wait_for_partial(directory: Path, *, at_least: int) -> None:
    """Wait until a partial file in the directory has so many bytes."""
    await wait_until(lambda: any(size >= at_least for size in _partial_sizes(directory)))


def _partial_sizes(directory: Path) -> list[int]:
    return [path.stat().st_size for path in directory.glob(".*.part")]


def names(directory: Path) -> set[str]:
    """Return the names in a directory."""
    return {path.name for path in directory.iterdir()}
