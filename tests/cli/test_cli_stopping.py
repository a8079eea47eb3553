"""Signals, kills and what the same line does afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tests.cli.commandline import Shell, is_content, read_all, read_line, wait_for_partial, wait_until
from trio_norman.emulator import Checkpoint, open_emulator

SIZE = 3 << 20
SLOW = 1 << 20  # bytes a second


def is_whole(directory: Path, shell: Shell, checkpoints: Sequence[Checkpoint]) -> bool:
    assert shell.emulator is not None
    return all(
        is_content(directory / f"{each.name}-{each.checkpoint_id}.zip", shell.emulator.content_of(each.checkpoint_id))
        for each in checkpoints
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
async def test_a_signal_stops_a_download_and_the_same_line_goes_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with open_emulator(runs=1, checkpoints=2, size_bytes=SIZE) as emulator:
        shell = Shell(tmp_path, emulator)
        line = ["checkpoints", "download", "--all", "--to", "out", "--json"]
        emulator.inject(rate=SLOW)
        async with shell.start(*line) as process:
            await wait_for_partial(tmp_path / "out", at_least=SLOW // 2)
            process.send_signal(number)
            with trio.fail_after(2):  # a second, and the time that a busy machine takes
                said = await read_all(process.stderr)
                assert await process.wait() == code
        assert said.decode().splitlines()[-1].startswith("stopped by ")
        assert "same line again" in said.decode()
        assert b"Traceback" not in said
        emulator.inject()
        again = await shell.run(*line)
        assert again.code == 0
        assert sum(each["resumed_bytes"] for each in again.json_lines) > 0
        assert is_whole(tmp_path / "out", shell, emulator.checkpoints)
        assert len(list((tmp_path / "out").iterdir())) == 2


_INTERRUPTED_WHILE_IT_IMPORTS = """
import importlib.abc, os, signal, sys

class Interrupter(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            sys.argv[1:] = ["fetch", "-", "--to", "out"]
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
from trio_norman.cli import main
main()
"""


@pytest.mark.parametrize("module", ["trio", "ssl", "httpx", "cyclopts", "trio_norman.errors", "trio_norman.cli._fetch"])
def test_ctrl_c_is_listened_to_before_there_is_anything_to_stop(tmp_path: Path, module: str) -> None:
    words = [sys.executable, "-W", "error", "-c", _INTERRUPTED_WHILE_IT_IMPORTS, module]
    done = subprocess.run(words, capture_output=True, check=False, cwd=tmp_path, env=Shell(tmp_path).environment())
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    assert list(tmp_path.iterdir()) == []


async def test_the_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=2, size_bytes=SIZE) as emulator:
        shell = Shell(tmp_path, emulator)
        emulator.inject(rate=SLOW)
        async with shell.start("checkpoints", "download", "--all", "--to", "out") as process:
            await wait_for_partial(tmp_path / "out", at_least=1)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            with trio.fail_after(2):
                assert await process.wait() == 130


async def test_kill_9_and_the_same_line_again(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=3, size_bytes=SIZE) as emulator:
        shell = Shell(tmp_path, emulator)
        line = ["checkpoints", "download", emulator.training_runs[0].training_run_id, "--to", "out"]
        emulator.inject(rate=SLOW)
        async with shell.start(*line) as process:
            await wait_for_partial(tmp_path / "out", at_least=SLOW)
            process.kill()
            assert await process.wait() == -9
        assert all(path.name.startswith(".") for path in (tmp_path / "out").iterdir())
        emulator.inject()
        assert (await shell.run(*line)).code == 0
        assert is_whole(tmp_path / "out", shell, emulator.checkpoints)
        assert len(list((tmp_path / "out").iterdir())) == 3


async def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=1, size_bytes=SIZE) as emulator:
        shell = Shell(tmp_path, emulator)
        emulator.inject(rate=4 * SLOW)
        line = ["checkpoints", "download", "--all", "--to", "out"]
        async with shell.start(*line, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
            await wait_for_partial(tmp_path / "out", at_least=1)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 0
        assert is_whole(tmp_path / "out", shell, emulator.checkpoints)


async def test_ctrl_c_while_waiting_for_stdin_or_for_the_service(shell: Shell) -> None:
    assert shell.emulator is not None
    rule = shell.emulator.misbehave(".*", delay=3600)
    async with shell.start("runs", "list") as process:
        await wait_until(lambda: rule.hits)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert await read_all(process.stderr) == b"stopped by Ctrl-C\n"
    async with shell.start("fetch", "-", "--to", "out", stdin=-1) as process:
        await wait_until((shell.home / "out").exists)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(2):
            assert await process.wait() == 143
        assert (await read_all(process.stderr)).splitlines()[-1].startswith(b"stopped by SIGTERM")


async def test_whoever_reads_one_result_and_goes_stops_the_rest(tmp_path: Path) -> None:
    async with open_emulator(runs=1, checkpoints=3, size_bytes=SIZE) as emulator:
        shell = Shell(tmp_path, emulator)
        for checkpoint in emulator.checkpoints[1:]:
            emulator.inject(checkpoint.checkpoint_id, rate=2 * SLOW)
        async with shell.start("checkpoints", "download", "--all", "--to", "out", "--json") as process:
            await read_line(process.stdout)
            assert process.stdout is not None
            await process.stdout.aclose()
            with trio.fail_after(20):
                assert await process.wait() == 141
            assert b"Traceback" not in await read_all(process.stderr)
        assert (await shell.run("checkpoints", "download", "--all", "--to", "out")).code == 0
        assert is_whole(tmp_path / "out", shell, emulator.checkpoints)
