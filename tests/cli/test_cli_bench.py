"""``bench``: goodput against connections, and what it says of it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.cli.commandline import Shell, read_all, read_line
from trio_norman.cli._bench import Level, conclusion, document, enough, levels_up_to
from trio_norman.emulator import Emulator

SLOW = 2_000_000  # bytes a second that the emulator gives each connection


def service(shell: Shell) -> Emulator:
    assert shell.emulator is not None
    return shell.emulator


def levels(*rates: float) -> list[Level]:
    return [Level(2**index, 2.0, int(rate * 2e6), 0.5) for index, rate in enumerate(rates)]


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (6, [1, 2, 4, 6])])
def test_levels_double_and_end_with_the_largest(most: int, expected: list[int]) -> None:
    assert list(levels_up_to(most)) == expected


@pytest.mark.parametrize(
    ("rates", "connections", "words"),
    [
        ((10, 20, 40, 41, 39), 4, "more than 4 connections do not pay: more bring 2% at best"),
        ((10, 9, 8), 1, "more than 1 connections do not pay: more bring nothing"),
        ((10, 20, 40), 4, "still grows at 4 connections"),
        ((10, 10.5, 11.5, 11.6), 4, "more than 4"),
        ((10,), 1, "nothing to compare"),
        ((0, 0), 1, "do not pay"),
    ],
)
def test_more_must_pay(rates: tuple[float, ...], connections: int, words: str) -> None:
    measured = levels(*rates)
    chosen = enough(measured)
    assert chosen is not None
    assert chosen.connections == connections
    assert words in conclusion(measured)


def test_nothing_measured_is_no_level() -> None:
    assert enough([]) is None
    found = document(["https://example.org/a?signature=secret"], [], is_complete=False)
    assert found == {"urls": ["https://example.org/a"], "levels": [], "enough": None, "is_complete": False}


async def test_goodput_grows_with_connections_where_each_is_slow(shell: Shell) -> None:
    url = service(shell).blob_url(64 * 2**20, rate=SLOW)
    line = ["bench", url, "--seconds", "0.6", "--max-connections", "4"]
    rows, asked = await shell.run_all(line, [*line, "--json"])
    rates = [level["mb_per_second"] for level in asked.json["levels"]]
    assert (rows.code, asked.code, rows.err, asked.err) == (0, 0, "", "")
    assert [level["connections"] for level in asked.json["levels"]] == [1, 2, 4]
    assert all(2 * connections * 0.6 < rate < 2 * connections * 1.5 for connections, rate in zip((1, 2, 4), rates, strict=True))  # fmt: skip
    assert (asked.json["enough"], asked.json["is_complete"]) == (4, True)
    assert [row.split()[0] for row in rows.out.splitlines()] == ["connections", "1", "2", "4", "goodput"]
    assert "signature" not in rows.out + asked.out
    assert list(shell.home.iterdir()) == []


async def test_objects_without_ranges_and_small_ones_come_whole(shell: Shell) -> None:
    emulator = service(shell)
    urls = [emulator.blob_url(2**20, norange=1), emulator.blob_url(1000)]
    ended = await shell.run("bench", *urls, "--seconds", "0.2", "--max-connections", "2", "--json")
    assert ended.code == 0
    assert "such small objects" in ended.err
    assert all(level["received_bytes"] > 0 for level in ended.json["levels"])


async def test_what_cannot_be_measured(shell: Shell) -> None:
    emulator = service(shell)
    lines: list[tuple[list[str], int, str]] = [
        ([], 2, "no URL"),
        ([emulator.blob_url(0)], 2, "empty"),
        ([emulator.blob_url(5000, status=404)], 3, "404"),
        ([emulator.blob_url(5000, sig="bad")], 4, "403"),
        (["http://example.org/x"], 2, "--allow-http"),
        (["ftp://example.org/x"], 2, "http"),
        ([emulator.blob_url(5000), "--max-connections", "1000000"], 2, "open files"),
        ([emulator.blob_url(5000), "--seconds", "0"], 2, "> 0"),
    ]
    for (_, code, word), ended in zip(
        lines, await shell.run_all(*(["bench", *words] for words, _, _ in lines)), strict=True
    ):
        assert (ended.code, ended.out) == (code, "")
        assert word in ended.err


async def test_a_plot_needs_matplotlib_before_anything_is_measured(shell: Shell) -> None:
    (shell.home / "matplotlib.py").write_text("raise ImportError\n")
    url = service(shell).blob_url(5000)
    hidden = f"{shell.home}/none"
    ended = await shell.run("bench", url, "--plot", "link.svg", env={"PYTHONPATH": hidden}) if not _has_matplotlib() else None
    if ended is not None:
        assert (ended.code, ended.out) == (2, "")
        assert "pip install matplotlib" in ended.err


def _has_matplotlib() -> bool:
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


async def test_stopped_by_ctrl_c_it_tells_what_is_known(shell: Shell) -> None:
    url = service(shell).blob_url(64 * 2**20, rate=SLOW)
    async with shell.start("bench", url, "--seconds", "0.3", "--max-connections", "1024") as process:
        await read_line(process.stdout)  # the heading comes with the first row
        await read_line(process.stdout)
        process.send_signal(signal.SIGINT)
        out, err = await read_all(process.stdout), await read_all(process.stderr)
        assert await process.wait() == 130
    assert out.splitlines()[-1] in (b"nothing to compare yet", out.splitlines()[-1])
    assert b"stopped by Ctrl-C" in err
    assert [each.name for each in Path(shell.home).iterdir()] == []
