"""``bench``: goodput against connections, and what it says of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio

from tests.cli.commandline import Shell, read_all, read_line
from trio_norman.cli._bench import Level, bench, conclusion, document, draw, enough, levels_up_to
from trio_norman.cli._options import OutputFlags
from trio_norman.emulator import Emulator
from trio_norman.errors import ConfigurationError, LocalFileError, TrioNormanError

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
        ((10, 20, 40, 41, 39), 4, "from 4 on, more connections do not pay: they bring 2% more at best"),
        ((10, 9, 8), 1, "from 1 on, more connections do not pay: they bring 0% more at best"),
        ((10, 20, 40), 4, "still grows at 4 connections"),
        ((10, 10.5, 11.5, 11.6), 4, "from 4 on"),
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
    assert rates == [pytest.approx(2 * connections, rel=0.4) for connections in (1, 2, 4)]
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
    for words, error in (
        ([], "no URL"),
        ([emulator.blob_url(0)], "empty"),
        ([emulator.blob_url(5000, sig="bad")], "403"),
        (["http://example.org/x"], "http"),
        (["ftp://example.org/x"], "http"),
    ):
        with pytest.raises(TrioNormanError, match=error):
            await bench(*words, output=OutputFlags(quiet=True))
    with pytest.raises(ConfigurationError, match="open files"):
        await bench(emulator.blob_url(5000), max_connections=1_000_000)
    lost, odd = await shell.run_all(
        ["bench", emulator.blob_url(5000, status=404)], ["bench", emulator.blob_url(5000), "--seconds", "0"]
    )
    assert (lost.code, lost.out, odd.code) == (3, "", 2)


async def test_a_plot_needs_matplotlib_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_norman.cli._bench.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install matplotlib"):
        await bench("http://127.0.0.1:1/x", plot=Path("link.svg"))


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    draw(levels(10, 20, 21), tmp_path / "link.svg")
    assert "goodput, MB/s" in (tmp_path / "link.svg").read_text() or (tmp_path / "link.svg").stat().st_size > 5000
    with pytest.raises(LocalFileError):
        draw(levels(10), tmp_path / "nowhere" / "link.svg")


async def test_stopped_by_ctrl_c_it_tells_what_is_known(shell: Shell) -> None:
    url = service(shell).blob_url(64 * 2**20, rate=SLOW)
    async with shell.start("bench", url, "--seconds", "0.3", "--max-connections", "1024") as process:
        await read_line(process.stdout)  # the heading comes with the first row
        await read_line(process.stdout)
        process.send_signal(signal.SIGINT)
        out, err = await read_all(process.stdout), await read_all(process.stderr)
        assert await process.wait() == 130
    assert out.splitlines()[-1].startswith((b"nothing to compare yet", b"goodput still grows", b"from "))
    assert (b"stopped by Ctrl-C" in err, list(shell.home.iterdir())) == (True, [])


async def test_stopped_by_ctrl_c_it_writes_json_too(shell: Shell) -> None:
    url = service(shell).blob_url(64 * 2**20, rate=SLOW)
    async with shell.start("bench", url, "--json", "--seconds", "60") as process:
        with trio.fail_after(20):
            while not service(shell).requests.of("storage"):  # noqa: ASYNC110 (it is another process that we wait for)
                await trio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        found = json.loads(await read_all(process.stdout))
        assert await process.wait() == 130
    assert (found["levels"], found["is_complete"]) == ([], False)
