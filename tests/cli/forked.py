"""Runs many command lines, each on a terminal of its own, in forks of one process that has imported everything once.

Started as a program, it reads a JSON list of lines from standard input and writes what came of each: starting Python is
most of what a command costs, and so it is paid once.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:  # the program imports what the commands need, and no more
    from tests.cli.commandline import Shell


@attrs.frozen
class Shown:
    """What a command wrote to its terminal, and how it ended."""

    code: int
    written: bytes


async def on_terminals(shell: Shell, lines: Sequence[Sequence[str]], *, typed: str = "no\n") -> list[Shown]:
    """Run the lines one after another, as the shell's user; `typed` is what each finds on its terminal to read."""
    done = await trio.run_process(
        [sys.executable, "-W", "error", "-m", __name__],
        stdin=json.dumps([[list(line), typed] for line in lines]).encode(),
        capture_stdout=True,
        cwd=shell.home,
        env={**shell.environment(TERM="xterm-256color"), "COLUMNS": "400", "PYTHONPATH": str(Path.cwd())},
    )
    return [Shown(code, written.encode("latin-1")) for code, written in json.loads(done.stdout)]


def _run(words: Sequence[str], typed: str) -> tuple[int, str]:
    process, leader = pty.fork()
    if process == 0:
        _be_the_command(words)
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 400, 0, 0))
    os.write(leader, typed.encode())
    written = bytearray()
    while block := read_terminal(leader):
        written += block
    os.close(leader)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), written.decode("latin-1")


def _be_the_command(words: Sequence[str]) -> None:
    from trio_norman.cli import main

    sys.argv = ["trio-norman", *words]
    code = 70  # of a traceback, which is not written: this process is left without a word
    try:
        main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 71
    finally:
        os._exit(code)


def read_terminal(leader: int) -> bytes:
    """Read what was written to a terminal since; nothing is left when nobody writes to it any more. Blocks."""
    try:
        return os.read(leader, 65536)
    except OSError:  # the other side is closed
        return b""


if __name__ == "__main__":
    from trio_norman import launch, norman, rest  # noqa: F401 (for the forks)
    from trio_norman.cli._app import import_all

    import_all()
    json.dump([_run(words, typed) for words, typed in json.load(sys.stdin)], sys.stdout)
