"""The benchmarks' own decisions, and one tiny run: their figures are nothing that a test could judge."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from benchmarks import _plotting, _server, capped, delayed, futures, large, listing, many, memory, small, tls
from benchmarks.__main__ import CASES, arguments, document, main
from benchmarks._bench import Bench, FileSet, fill, shown_size
from benchmarks._links import Link, certify, delaying, has_certificates
from benchmarks._measuring import RunFailedError, Sample, Spread, measure, plain_environment
from benchmarks._peers import (
    ARIA2_RANGES,
    BARE,
    CURL,
    CURL_Z,
    HTTPX,
    PEERS,
    RANGED,
    UNSYNCED,
    VERIFIED,
    Peer,
    write_lists,
)
from benchmarks._readme import block, last_results
from benchmarks._report import Goal, Panel, Report, ratio, table
from benchmarks._transfers import Runs, memory_goals


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
    assert [arguments(words).repeat for words in ([], ["--quick"], ["--quick", "--repeat", "7"])] == [3, 1, 7]
    assert arguments(["many", "many"]).cases == ["many"]


@pytest.mark.parametrize("words", [["hugest"], ["--repeat", "0"], ["--repeat", "some"], ["--quick", "--full"]])
def test_a_wrong_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        arguments(words)
    assert refused.value.code == 2
    assert "error:" in capsys.readouterr().err


def runs_of(*walls: tuple[Peer, float], peak_kib: float = 1.0) -> dict[str, Runs]:
    return {peer.name: Runs(peer, [Sample(wall, wall, 0.0, peak_kib)]) for peer, wall in walls}


@pytest.mark.parametrize(("ours", "is_met"), [(1.0, True), (2.0, True), (2.1, False)])
def test_many_files_must_come_as_fast_as_with_httpx(ours: float, *, is_met: bool) -> None:
    assert [goal.is_met for goal in many.goals(runs_of((VERIFIED, ours), (HTTPX, 2.0)))] == [is_met]
    assert list(many.goals({})) == []


def test_goals_are_ratios_of_medians() -> None:
    done = runs_of((BARE, 0.5), (CURL, 1.0), (UNSYNCED, 1.3))
    assert [(goal.is_met, goal.text[:5].strip()) for goal in large.goals(done)] == [
        (True, "wall"),
        (True, "cpu o"),
        (False, "wall"),
        (False, "cpu o"),
    ]
    assert [goal.is_met for goal in tls.goals(done)] == [True, True]
    assert [goal.is_met for goal in tls.goals_together(runs_of((BARE, 1.1), (CURL_Z, 1.0)))] == [False]
    assert [goal.is_met for goal in small.goals(runs_of((UNSYNCED, 0.7), (HTTPX, 2.0)))] == [True, False]
    assert small.goals({}) == ()


@pytest.mark.parametrize(("ours", "is_met"), [(2.0, True), (2.02, True), (2.1, False)])
def test_nobody_may_be_faster_on_a_limited_line(ours: float, *, is_met: bool) -> None:
    done = runs_of((CURL, 30.0), (ARIA2_RANGES, 2.0), (BARE, ours), (VERIFIED, 0.1))
    assert [goal.is_met for goal in capped.goals(done)] == [is_met]
    assert capped.goals({}) == []


def test_none_of_ours_may_take_much_memory() -> None:
    assert [goal.is_met for goal in memory_goals(runs_of((BARE, 1.0), peak_kib=79 * 1024))] == [True]
    assert [goal.is_met for goal in memory_goals(runs_of((BARE, 1.0), (CURL, 1.0), peak_kib=81 * 1024))] == [False]
    assert memory_goals(runs_of((CURL, 1.0), peak_kib=81 * 1024)) == ()


def test_memory_must_be_little_and_flat() -> None:
    flat, grown, much = Spread(40, 39, 41), Spread(60, 59, 61), Spread(160, 150, 170)
    assert [goal.is_met for goal in memory.little_goals([flat, flat])] == [True]
    assert [goal.is_met for goal in memory.little_goals([flat, much])] == [False]
    assert [goal.is_met for goal in memory.flat_goals("many", [flat, flat])] == [True]
    assert [goal.is_met for goal in memory.flat_goals("many", [flat, grown])] == [False]
    assert memory.flat_goals("https", []) == []
    assert [goal.is_met for goal in listing.growth_goals(10, 40.0, 1000, 59.0)] == [True]
    assert [goal.is_met for goal in listing.growth_goals(10, 40.0, 1000, 61.0)] == [False]


A_REPORT = Report(
    "many",
    "Which?",
    ("peer", "wall"),
    [["curl", "1.00"]],
    {"any": [1]},
    [Goal("2 below 3", is_met=True)],
    ["absent: wget"],
    [Panel("wall, seconds", {"curl": Spread(1.0, 0.9, 1.2), "trio_norman": Spread(0.5, 0.4, 0.6)})],
)
MACHINE = {
    "processor": "a fast one", "cores": 2, "memory_gib": 4, "kernel": "Linux 6", "python": "CPython 3.11",
    "load_before": [0.1, 0.2, 0.3], "when": "2026-01-01T00:00:00+00:00", "versions": {"curl": "8", "wget": None},
}  # fmt: skip


def test_a_report_survives_being_written_down() -> None:
    report = Report.of_parts("all", "Everything.", [A_REPORT])
    written = json.loads(json.dumps(report.document()))
    assert Report.read(written).markdown() == report.markdown()
    assert Report.read(written).parts[0].panels == A_REPORT.panels
    assert report.markdown().startswith("## all\n\nEverything.\n\n### many\n\nWhich?\n\n| peer")


def test_the_readme_has_machine_tables_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = document(A_REPORT, MACHINE, repeat=3, is_quick=False)
    (tmp_path / "many.json").write_text(json.dumps(written))
    results = last_results(tmp_path, ["large", "many"])
    shown = block(results, tmp_path / "docs")
    assert shown.startswith("a fast one, 2 cores, 4 GiB, Linux 6, CPython 3.11; load before: 0.1; 2026-01-01")
    assert "curl 8.\n\n### many\n\nWhich?\n\n![many](docs/many.svg)\n\n| peer" in shown
    assert "![" not in block(results)
    assert "they say nothing" in block([{**written, "is_quick": True}])


def test_nothing_to_show_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--readme", "--results", str(tmp_path)]) == 1
    assert "no results" in capsys.readouterr().err


def test_a_case_is_drawn_with_its_parts(tmp_path: Path) -> None:
    report = Report.of_parts("all", "Everything.", [A_REPORT, A_REPORT])
    assert [name for name, _ in _plotting.rows_of(report)] == ["many", "many"]
    if not _plotting.can_plot():
        pytest.skip("matplotlib is not installed")
    assert _plotting.draw(report, tmp_path / "all.svg")
    assert "trio_norman" in (tmp_path / "all.svg").read_text()
    assert not _plotting.draw(Report("none", "", (), (), None), tmp_path / "none.svg")


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
    everybody = {*PEERS, *RANGED}
    assert len({peer.name for peer in everybody}) == len(everybody)
    trusting = attrs.evolve(job, ca_file=tmp_path / "authority.pem")
    for peer in everybody:
        assert peer.command(job)
        assert any("authority.pem" in str(word) for word in peer.command(trusting))
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


@contextmanager
def sending(count: int) -> Iterator[str]:
    """Serve one connection: read a byte, send so many, and then send back what comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(bytes(count))
                while data := connection.recv(1000):
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)
        assert not thread.is_alive()


def test_a_far_server_takes_its_time_and_loses_nothing() -> None:
    count = 3_000_000
    with sending(count) as address, delaying(address, Link(round_trip=0.1, rate=10_000_000)) as far:
        with socket.create_connection(("127.0.0.1", int(far.rpartition(":")[2])), timeout=10) as connection:
            began = time.monotonic()
            connection.sendall(b"!")
            connection.recv(1, socket.MSG_PEEK)
            first = time.monotonic() - began
            while count:
                count -= len(connection.recv(min(count, 65536)))
            last = time.monotonic() - began
            connection.sendall(b"echo")
            assert connection.recv(100) == b"echo"
            echoed = time.monotonic() - began - last
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
    assert first >= 0.2  # the handshake's round trip and the request's own
    assert last - first >= 0.25  # 3 MB at 10 MB/s, but for what comes with the first piece
    assert echoed >= 0.1


def test_a_far_server_that_is_gone_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with delaying(f"http://127.0.0.1:{listener.getsockname()[1]}", Link(round_trip=0.02)) as far:
            with socket.create_connection(("127.0.0.1", int(far.rpartition(":")[2])), timeout=10) as connection:
                listener.accept()[0].close()
                assert connection.recv(1) == b""


@pytest.mark.skipif(not has_certificates(), reason="trustme is not installed")
def test_the_authority_vouches_for_the_server(tmp_path: Path) -> None:
    made = certify(tmp_path)
    ssl.create_default_context(cafile=made.authority)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.chain, made.key)


needs_nginx = pytest.mark.skipif(not _server.is_present(), reason="nginx is not installed")


@needs_nginx
@pytest.mark.parametrize("run", [large.run, tls.run, capped.run, delayed.run])
def test_a_quick_run_has_no_failures(run: Callable[[Bench], Report], tmp_path: Path) -> None:
    report = run(Bench(1, is_quick=True, directory=tmp_path))
    for each in [report, *report.parts]:
        assert [note for note in each.notes if note.startswith("failed")] == []
        assert bool(each.lines) is bool(each.panels)
    assert list(tmp_path.iterdir()) == []


def test_a_quick_listing_skips_everything(tmp_path: Path) -> None:
    assert [line[0] for line in listing.run(Bench(1, is_quick=True, directory=tmp_path)).lines] == ["200", "400"]


def test_a_quick_run_of_futures_answers_everything(tmp_path: Path) -> None:
    report = futures.run(Bench(1, is_quick=True, directory=tmp_path))
    assert [line[0] for line in report.lines][:2] == [futures.POLLING, futures.CALLBACKS]
    assert [goal.is_met for goal in report.goals] == [True]


def test_the_goals_of_futures() -> None:
    def run(cpu: float, median: float, polls: float, count: int = 5000) -> futures.Run:
        told = {"count": count, "median": median, "polls": polls, "cpu": cpu}
        return futures.Run(Sample(1.0, 99.0, 0.0, 1024.0), told)

    threads = run(2.0, 1.0, 2.0, count=1000)
    good = {futures.POLLING: run(1.9, 0.09, 2.9), futures.CALLBACKS: run(1.0, 0.01, 0.0), futures.THREADS: threads}
    bad = {futures.POLLING: run(2.1, 0.11, 3.1), futures.CALLBACKS: run(1.0, 0.03, 0.0), futures.THREADS: threads}
    assert [goal.is_met for goal in futures.goals(good)] == [True] * 5
    assert [goal.is_met for goal in futures.goals(bad)] == [False, False, False, True, False]


@needs_nginx
def test_a_quick_run_prints_a_table_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--quick", "--directory", str(tmp_path), "--results", str(tmp_path / "results")]) == 0
    assert "| 40 × 1 KiB " in capsys.readouterr().out  # noqa: RUF001
    written = json.loads((tmp_path / "results" / "memory.json").read_text())
    assert written["is_quick"]
    assert all(0 < peak < 500 for peaks in written["figures"].values() for peak in peaks)
