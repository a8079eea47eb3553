"""The benchmarks' own decisions, and one tiny run: their figures are nothing that a test could judge."""

import json
from pathlib import Path

import pytest

from benchmarks import _server, many, memory
from benchmarks.__main__ import CASES, arguments, main
from benchmarks._bench import FileSet, fill, shown_size
from benchmarks._measuring import RunFailedError, Sample, Spread, measure, plain_environment
from benchmarks._peers import HTTPX, PEERS, VERIFIED, Peer, write_lists
from benchmarks._report import Goal, Report, ratio, table
from benchmarks._transfers import Runs


def test_a_spread_is_the_middle_and_both_ends() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert Spread.of([1.0, 2.0]).median == 1.5
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_a_table_lines_up_and_keeps_bars_inside_their_cells() -> None:
    lines = table(("peer", "wall"), [["a|b", "1.00"], ["curl", "10.00"]]).split("\n")
    assert lines == ["| peer |  wall |", "| ---- | ----: |", "| a\\|b |  1.00 |", "| curl | 10.00 |"]
    with pytest.raises(ValueError, match="one cell for each heading"):
        table(("peer",), [["curl", "1.00"]])


def test_a_ratio_without_a_base_is_a_dash() -> None:
    assert (ratio(1.5, 3.0), ratio(1.5, None), ratio(1.5, 0.0)) == ("0.50", "–", "–")  # noqa: RUF001


def test_a_report_shows_goals_and_notes_below_its_table() -> None:
    report = Report("many", "Which?", ("peer",), [["curl"]], {}, [Goal("2 below 3", is_met=True)], ["absent: wget"])
    assert report.markdown().endswith("| curl |\n\n- reached: 2 below 3\n- absent: wget")


def test_the_command_line_knows_its_cases() -> None:
    assert arguments([]).cases == list(CASES)
    assert arguments(["many", "start"]).cases == ["many", "start"]
    assert (arguments([]).repeat, arguments(["--quick"]).repeat, arguments(["--quick", "--repeat", "3"]).repeat) == (
        5,
        1,
        3,
    )


@pytest.mark.parametrize("words", [["hugest"], ["--repeat", "0"], ["--repeat", "some"]])
def test_a_wrong_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        arguments(words)
    assert refused.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(("ours", "is_met"), [(1.0, True), (2.0, True), (2.1, False)])
def test_many_files_must_come_as_fast_as_with_httpx(ours: float, *, is_met: bool) -> None:
    done = {peer.name: Runs(peer, [Sample(wall, 1.0, 0.0, 1.0)]) for peer, wall in ((VERIFIED, ours), (HTTPX, 2.0))}
    assert [goal.is_met for goal in many.goals(done)] == [is_met]
    assert many.goals({}) == ()


def test_memory_must_be_little_and_flat() -> None:
    flat, grown, much = Spread(40, 39, 41), Spread(60, 59, 61), Spread(160, 150, 170)
    assert [goal.is_met for goal in memory.goals(flat, flat, flat)] == [True, True]
    assert [goal.is_met for goal in memory.goals(flat, grown, flat)] == [True, False]
    assert [goal.is_met for goal in memory.goals(flat, flat, much)] == [False, True]


def test_proxies_do_not_reach_the_peers() -> None:
    assert plain_environment([("PATH", "/bin"), ("http_proxy", "x"), ("ALL_PROXY", "x")]) == {"PATH": "/bin"}


def test_sizes_are_shown_in_whole_units() -> None:
    assert [shown_size(size) for size in (2**30, 2**24, 3 * 2**10, 1000)] == ["1 GiB", "16 MiB", "3 KiB", "1000 B"]


def test_files_have_their_size_and_many_names(tmp_path: Path) -> None:
    files = FileSet(10, 1000)
    fill(tmp_path, files)
    assert sorted(path.name for path in tmp_path.iterdir()) == files.names
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {1000}
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 8


def test_every_peer_has_a_name_of_its_own_and_a_command(tmp_path: Path) -> None:
    job = write_lists(["a.bin"], "http://127.0.0.1:1", tmp_path / "to", tmp_path)
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    assert all(peer.command(job) for peer in PEERS)
    assert job.tabbed.read_text() == "http://127.0.0.1:1/a.bin\ta.bin\n"
    assert not Peer("nobody", lambda _: [], "no-such-program").is_present()


def test_a_run_is_measured_as_a_whole_and_its_failure_told(tmp_path: Path) -> None:
    sample = measure(["sh", "-c", "exit 0"], tmp_path)
    assert 0 < sample.wall < 60
    assert 0 < sample.peak_mib < 100
    with pytest.raises(RunFailedError, match="exit code 3: no luck"):
        measure(["sh", "-c", "echo no luck; exit 3"], tmp_path)
    with pytest.raises(RunFailedError, match="did not start"):
        measure(["/no/such/program"], tmp_path)


@pytest.mark.skipif(not _server.is_present(), reason="nginx is not installed")
def test_a_quick_run_prints_a_table_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--quick", "--directory", str(tmp_path), "--results", str(tmp_path / "results")]) == 0
    assert "| 40 × 1 KiB |" in capsys.readouterr().out  # noqa: RUF001
    written = json.loads((tmp_path / "results" / "memory.json").read_text())
    assert written["is_quick"]
    assert all(0 < peak < 500 for peaks in written["figures"].values() for peak in peaks)
