"""On a terminal: bars, questions, and names that would like to take it over."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
from pathlib import Path

import trio

from tests.cli.commandline import Shell, names
from tests.cli.forked import read_terminal
from trio_norman.emulator import open_emulator

# What rich itself sends: colours, erasing and moving by lines, the cursor on and off.
OURS = re.compile(rb"\x1b\[[0-9;]*m|\x1b\[\d*[AK]|\x1b\[2K|\x1b\[\?25[lh]|[\r\n]")
HOSTILE = (
    "\x1b]0;owned\x07a",
    "\x1b[2Jb",
    "\x9b31mc",
    "d\re",
    "f\u202eg",
    "h\u200bi",
    "[bold red]j[/bold red]",
    "[/]k",
    "l\x7fm",
    "n\nexit 0",
    ":smile: o",
    "{task.description}p",
)


async def on_terminal(shell: Shell, *words: str, typed: bytes = b"", stop_after: bytes = b"") -> tuple[int, bytes]:
    """Run a command on a terminal of its own; give its exit code and everything that it wrote there."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    written = bytearray()
    environment = {**shell.environment(TERM="xterm-256color"), "COLUMNS": "120"}
    try:
        async with shell.start(*words, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
            os.close(follower)
            os.write(leader, typed)
            while block := await trio.to_thread.run_sync(read_terminal, leader):
                written += block
                if stop_after and stop_after in written:
                    process.terminate()
                    stop_after = b""
            return await process.wait(), bytes(written)
    finally:
        os.close(leader)


def foreign_controls(written: bytes) -> bytes:
    """Return the bytes that a terminal would obey and that are not of our own making."""
    rest = OURS.sub(b"", written).decode()
    return "".join(character for character in rest if ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0).encode()


async def test_bars_are_drawn_and_taken_away(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=2, size_bytes=1 << 20) as emulator:
        emulator.inject(rate=1 << 20)
        shell = Shell(tmp_path, emulator)
        code, written = await on_terminal(shell, "checkpoints", "download", "--all", "--to", "out")
        assert code == 0
        assert b"/2 files" in written
        assert "━".encode() in written
        assert b" of 1.0 MiB" in written
        assert written.count(b"\x1b[?25l") == written.count(b"\x1b[?25h")  # the cursor is given back
        assert b"2 files: 2 fetched" in written
        assert emulator.sha256_of(emulator.checkpoints[0].checkpoint_id).encode() in written


async def test_stopped_bars_leave_the_terminal_in_order(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=1, size_bytes=1 << 20) as emulator:
        emulator.inject(rate=1 << 15)
        shell = Shell(tmp_path, emulator)
        code, written = await on_terminal(shell, "checkpoints", "download", "--all", "--to", "out", stop_after=b"MB/s")
        assert code == 143
        end = OURS.sub(b"", written.rpartition(b"\x1b[?25h")[2])
        assert end == b"stopped by SIGTERM; partial files are kept: run the same line again to go on"


async def test_hostile_names_do_nothing_to_the_bars(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=0, size_bytes=3000) as emulator:
        run = emulator.training_runs[0]
        for name in HOSTILE:
            emulator.state.add_checkpoint(run.training_run_id, name=name)
        emulator.inject(rate=4000)
        shell = Shell(tmp_path, emulator)
        code, written = await on_terminal(shell, "checkpoints", "download", "--all", "--to", "out")
        assert code in {0, 6}
        assert foreign_controls(written) == b""
        assert b"\xe2\x80\xae" not in written  # right-to-left override
        assert b"files" in written  # it was slow enough for bars
        assert all(name.isprintable() for name in names(tmp_path / "out"))
        assert names(tmp_path) == {"out"}


async def test_deleting_asks_on_a_terminal(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=2, size_bytes=3000) as emulator:
        checkpoint = emulator.checkpoints[0]
        shell = Shell(tmp_path, emulator)
        words = ["checkpoints", "delete", checkpoint.training_run_id, checkpoint.checkpoint_id]
        code, written = await on_terminal(shell, *words, typed=b"no\n")
        assert (code, len(emulator.checkpoints)) == (1, 2)
        assert b"for good?" in written
        code, written = await on_terminal(shell, *words, typed=b"yes\n")
        assert (code, len(emulator.checkpoints)) == (0, 1)
