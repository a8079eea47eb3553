"""`demo`, `serve` and the help: what a newcomer meets first."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import httpx
import pytest
import trio
from cyclopts import App

from tests.cli.commandline import Shell, read_all, read_line, wait_for_partial
from trio_norman import ServiceClient, __version__
from trio_norman.cli._app import RESUMABLE, app


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_the_demo_twice(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    line = ["demo", "--checkpoints", "3", "--size", "40KiB", "-j", "4", "--port", str(free_port())]
    first = await shell.run(*line)
    assert first.code == 0, first.err
    assert first.out.splitlines()[0].startswith("page 1: training run ")
    assert first.out.splitlines()[1].startswith("page 2: training run ")
    assert "6 of 6 archives" in first.out
    assert "6 of them verified" in first.out
    assert [line.split()[0] for line in first.out.splitlines()[-3:]] == ["echo-sync", "demo-words", "200"]
    assert "200 of 200 futures" in first.out
    files = {path.name: path.read_bytes() for path in (tmp_path / "demo-downloads").glob("*.zip")}
    assert sorted(map(len, files.values())) == [40960] * 6
    assert all(name in first.out for name in files)
    assert "invoked it with a file: FROM A FILE" in first.out
    assert "invoked it with a text: TRIO" in first.out
    assert "invoked it with a stream: FLOWING WORDS" in first.out
    assert (tmp_path / "demo-downloads" / "norman" / "answer.txt").read_bytes() == b"TRIO"
    second = await shell.run(*line)
    assert (second.code, second.out.count("was there, verified")) == (0, 6)
    machine = await shell.run(*line, "--json", "--no-keep")
    assert [each["outcome"] for each in machine.json_lines] == ["skipped"] * 6
    assert not (tmp_path / "demo-downloads").exists()


async def test_a_stopped_demo_goes_on_where_it_was(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    line = ["demo", "--runs", "1", "--checkpoints", "2", "--size", "3MiB", "--port", str(free_port())]
    async with shell.start(*line, "--rate", "1MiB") as process:
        await wait_for_partial(tmp_path / "demo-downloads", at_least=1 << 20)
        process.send_signal(signal.SIGINT)
        with trio.fail_after(2):
            assert await process.wait() == 130
        assert b"stopped by Ctrl-C; partial files are kept" in await read_all(process.stderr)
    again = await shell.run(*line)
    assert again.code == 0
    assert again.out.count("resumed at ") == 2


async def test_the_demo_finds_another_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = await Shell(tmp_path).run("demo", "--runs", "1", "--checkpoints", "1", "--size", "3k", "--port", port)
        nothing = await Shell(tmp_path).run("demo", "--runs", "0")
    assert (ended.code, "is taken" in ended.err) == (0, True)
    assert (nothing.code, nothing.out.splitlines()[0]) == (0, "there was nothing to download")


async def test_the_first_line_of_serve_is_all_that_a_client_needs(tmp_path: Path) -> None:
    shell, words = Shell(tmp_path), ["--runs", "1", "--checkpoints", "2", "--size", "5kB", "--seed", "7", "--actor"]
    async with shell.start("serve", *words) as process:
        facts = json.loads(await read_line(process.stdout))
        assert facts.keys() >= {"base_url", "api_key", "storage_url", "launch_base_url", "version"}
        async with ServiceClient(facts["api_key"], facts["base_url"]).create_rest_client() as rest:
            async with rest.download_checkpoints(rest.iter_user_checkpoints(), tmp_path / "out") as results:
                found = {str(result.item.status): result.size_bytes async for result in results}
        assert found == {"READY": 5000, "LOCAL": 5000}
        async with httpx.AsyncClient(base_url=facts["norman_base_url"]) as norman:
            login = await norman.post("authenticate/login/key", json={"api_key": facts["norman_api_key"]})
            assert login.json()["account"]["name"] == "ada"
        port = facts["base_url"].rpartition(":")[2]
        clash = await shell.run("serve", "--port", port)
        assert (clash.code, "--port" in clash.err) == (2, True)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143


def commands(group: App, *path: str) -> list[tuple[str, ...]]:
    found = []
    for name in group:
        if not name.startswith("-"):
            inner = group[name]
            found += [(*path, name), *(commands(inner, *path, name) if inner.default_command is None else [])]
    return found


def test_every_command_says_what_it_does_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    paths = commands(app)
    assert len(paths) >= 20
    for path in paths:
        app([*path, "--help"])
        text = capsys.readouterr().out
        lines = [line for line in text.splitlines() if line.strip()]
        assert lines[0].startswith("Usage: trio-norman")
        assert "." in lines[1] + lines[2]
        assert "Exit codes:" in text
        if app[path[0]].default_command is not None or len(path) == 2:
            assert "Examples:" in text
            assert f"trio-norman {' '.join(path)}" in text.partition("Examples:")[2]


async def test_help_version_and_mistakes(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    ends = await shell.run_all(
        ["--version"], ["--help"], [], ["nonsense"], ["runs", "list", "--bogus"], ["checkpoints", "download", "--all"],
        ["demo", "--size", "large"], ["whoami", "--api-key=sk-canary"],
    )  # fmt: skip
    assert [ended.code for ended in ends] == [0, 0, 0, 2, 2, 2, 2, 2]
    assert ends[0].out == f"{__version__}\n"
    assert all("demo" in ended.out for ended in ends[1:3])
    assert all(ended.err.startswith("error: ") and ended.err.count("\n") == 1 for ended in ends[3:])
    assert all("--help" in ended.err for ended in ends[3:])
    assert "canary" not in ends[-1].err


def test_the_console_script_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="trio-norman")
    assert script.value == "trio_norman.cli:main"
    assert {"demo", "fetch", "download_checkpoints", "download_assets"} == RESUMABLE


@pytest.mark.parametrize(
    ("line", "absent"),
    [("fetch - --to x", ("rest", "norman", "launch", "emulator")), ("whoami", ("norman", "launch", "emulator"))],
)
def test_a_command_imports_no_service_that_it_does_not_need(line: str, absent: tuple[str, ...]) -> None:
    program = (
        "import sys; from trio_norman.cli._app import app; app.parse_args(sys.argv[1].split());"
        f"assert not {{'trio_norman.' + each for each in {absent}}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, line], check=True)
