"""README.md tells the truth: its programs run, its shell lines work, its tables are those of the code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from trio_norman.cli._exits import Exit
from trio_norman.emulator import Emulator, open_emulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "newsfragments").glob("*.md"))]


def blocks(language: str) -> list[str]:
    """Give the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@attrs.frozen
class Reader:
    """Somebody who tries what they read, in a folder of their own."""

    folder: Path
    emulator: Emulator

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the text tells of."""
        return {
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TRIO_NORMAN_API_KEY": self.emulator.api_key,
            "TRIO_NORMAN_BASE_URL": self.emulator.base_url,
            "NORMAN_API_KEY": self.emulator.norman_api_key,
            "NORMAN_BASE_URL": self.emulator.norman_base_url,
        }

    async def run(self, *words: str) -> str:
        """Run a command, which must succeed, and give what it wrote."""
        done = await trio.run_process(
            words, cwd=self.folder, env=self.environment, capture_stdout=True, capture_stderr=True, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        return done.stdout.decode()

    async def serve(self, line: str) -> None:
        """Run a server until it has said where it is."""
        start = partial(
            trio.run_process,
            ["sh", "-c", f"exec {line}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            check=False,
        )
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(start)
            assert process.stdout is not None
            said = b""
            with trio.fail_after(30):
                while not said.endswith(b"\n"):
                    said += await process.stdout.receive_some(1) or b"\n"
            assert {"base_url", "storage_url", "api_key", "version"} <= set(json.loads(said))
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 128 + signal.SIGTERM


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    async with open_emulator(runs=2, checkpoints=12, size_bytes=20_000) as emulator:
        yield Reader(tmp_path, emulator)


def test_the_readme_says_how_to_begin() -> None:
    assert "`make demo`" in README
    assert "`make test`" in README
    first = README.split("\n## ")[0].strip().splitlines()
    assert len(first) <= 7  # the title and five lines


@pytest.mark.parametrize("program", blocks("python"), ids=range(len(blocks("python"))))
async def test_each_program_runs(reader: Reader, program: str) -> None:
    async with await trio.open_file(reader.folder / "program.py", "w") as file:
        await file.write(program)
    written = await reader.run(sys.executable, "-W", "error", "program.py")
    assert written.strip()
    assert "failed" not in written
    names = await trio.to_thread.run_sync(os.listdir, reader.folder / "models")
    assert names
    assert not [name for name in names if name.startswith(".")]


def test_the_first_program_is_short() -> None:
    assert len(blocks("python")[0].splitlines()) <= 22


@pytest.mark.parametrize("block", blocks("console"), ids=range(len(blocks("console"))))
async def test_each_shell_line_works(reader: Reader, block: str) -> None:
    lines = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    assert lines
    for line in lines:
        if line.startswith("make "):
            assert line.split()[1] in targets()
        elif line.startswith("trio-norman serve"):
            await reader.serve(line)
        else:
            await reader.run("sh", "-c", line)


def test_every_command_is_shown_or_helps_itself() -> None:
    shown = "\n".join(blocks("console"))
    for command in ("demo", "serve", "fetch", "whoami", "runs list", "checkpoints download"):
        assert f"$ trio-norman {command}" in shown


def targets() -> set[str]:
    """Give what can be made."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_text_says_can_be_made_can_be_made(document: Path) -> None:
    assert set(re.findall(r"`make ([a-z]+)`", document.read_text())) <= targets()


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    table = README.partition("| code | meaning |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    told = {int(code) for row in rows for code in row.split(",")} | {141}
    assert told == {int(code) for code in Exit} | {129, 130, 143}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_layout_is_the_one_that_is_there() -> None:
    listing = re.search(r"^```text\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
    assert listing is not None
    rows = [(len(line) - len(line.lstrip()), line.split()[0]) for line in listing[1].splitlines()]
    inside = {name.rstrip("/") for depth, name in rows if depth}
    there = {
        path.name for path in (ROOT / "trio_norman").iterdir() if not path.name.startswith(("__pycache__", "_version"))
    }
    assert inside == there - {"py.typed"}
    for depth, name in rows:
        assert depth or (ROOT / name).exists()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_fragments_are_named_as_the_habit_is(document: Path) -> None:
    if document.parent.name == "newsfragments" and document.name != "README.md":
        assert re.fullmatch(r"(\d+|\+[a-z0-9-]+)\.(breaking|feature|bugfix|doc|misc)\.md", document.name)
        assert document.read_text().strip()
