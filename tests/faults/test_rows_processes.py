"""Processes that are killed, interrupted, stopped, or two at a time: rows P-01 to P-06, P-08, P-09, M-04 and M-13."""

from __future__ import annotations

import functools
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Literal

import attrs
import pytest
import trio

from tests.cli.commandline import COMMAND, Ended, read_all, read_line, wait_for_partial, wait_until
from tests.destinations import until
from tests.faults import trees
from tests.faults.disks import calls_in, needs_root, strace
from tests.faults.partials import journal_of, plant_partial, spans
from tests.faults.rows import Attempt, MiB, Row
from tests.faults.trees import Expected
from trio_norman import DownloadFinished, DownloadStarted, Source, download_many
from trio_norman._sansio.heads import Version
from trio_norman.emulator._emulator import sha256_of_content
from trio_norman.transfer._model import Options

SLOW = "rate=1m"


def list_of(row: Row, *objects: tuple[str, str, int]) -> Path:
    """Write a list for `fetch`, which may hold the secrets of its URLs: names, faults and sizes."""
    lines = [f"{row.url(fault, size, name=name)}\t{name}" for name, fault, size in objects]
    listing = row.tree / "home" / "list"
    row.exempt.add(listing)
    write_down(row, listing, lines)
    return listing


def write_down(row: Row, listing: Path, lines: Iterable[str]) -> None:
    """Write a list that counts as having been there before."""
    listing.write_text("\n".join(lines) + "\n")
    for attempt in row.attempts:
        attempt.before[listing] = trees.Entry.of(listing)


async def last_words(process: trio.Process) -> bytes:
    """Read what is left to read, and close what we have of a process."""
    said = await read_all(process.stderr)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            await stream.aclose()
    return said


async def tell(process: trio.Process, number: signal.Signals) -> tuple[int, float]:
    """Send a signal; return the exit code, and how many seconds it took, less what a busy machine adds.

    That is told by a program that does nothing, meanwhile: on an idle machine it is over after some hundredths of a
    second, and a command needs several times as much to end.
    """
    told_at, idle = trio.current_time(), 0.0

    async def do_nothing() -> None:
        nonlocal idle
        await trio.run_process([sys.executable, "-I", "-S", "-c", "pass"])
        idle = trio.current_time() - told_at

    async with trio.open_nursery() as nursery:
        process.send_signal(number)
        nursery.start_soon(do_nothing)
        code = await process.wait()
        took = trio.current_time() - told_at
    return code, took - 5 * idle


def contents_of(row: Row, *objects: tuple[str, str, int]) -> dict[str, Expected | None]:
    return {name: row.emulator.blob_content(size, name=name) for name, _, size in objects}


async def fetch(row: Row, listing: Path, *words: str) -> Ended:
    return await row.run_cli("fetch", listing, "--to", row.dest, *words)


def intact(row: Row, attempt: Attempt) -> None:
    """Whatever was cut off: each final name is complete or not there, each noted byte is right, nothing is secret."""
    for note in row.dest.glob(".*.json*"):  # sidecars, and claims that were not finished
        row.show(f"the left-over {note.name}", note.read_bytes())
    for name, expected in attempt.files.items():
        final, (part, sidecar) = row.dest / name, trees.partial_of(row.dest, name)
        now = {final: trees.Entry.of(final)} if final.exists() else {}
        if now:
            complete = trees.faults_of("D2", row.dest, name, attempt.before, expected)
            assert [fault for fault in complete if not fault.startswith("there is")] == []
        if sidecar.exists() and part.exists() and trees.held_bytes(row.dest, name):
            wrong = trees.faults_of("D1", row.dest, name, now, expected)
            if expected is not None and part.stat().st_size == trees.size_of(expected):  # it may be about to be named
                wrong = [fault for fault in wrong if fault != f"{part.name} is not private"]
            assert wrong == []


@pytest.mark.parametrize("is_complete", [False, True])
async def test_P_01_a_note_over_missing_bytes_is_noticed(row: Row, is_complete: bool) -> None:
    """What these tests say after each kill can fail: a sidecar notes bytes that the partial does not hold."""
    whole = trees.bytes_of(row.emulator.blob_content(100_000, name="f"))
    async with row.attempt({"f": whole}) as attempt:
        if is_complete:
            row.plant("f", whole)
        for data, is_right in ((whole[:50_000], True), (bytes(50_000), False)):
            plant_partial(row, data, journal_of("an earlier run", Version(), spans(0, 50_000)))
            with nullcontext() if is_right else pytest.raises(AssertionError, match="the partial holds other bytes"):
                intact(row, attempt)
    attempt.unjudged.clear()


# ---- killed


@attrs.frozen
class Killing:
    """Kill the same command again and again, and then let it end."""

    row: Row
    rounds: int
    number: signal.Signals
    longest: float  # seconds until a kill
    luck: random.Random = attrs.field(factory=lambda: random.Random(20))

    async def one(self, words: Sequence[str | Path]) -> tuple[int, bytes, float]:
        """Run the command, kill it at a random instant; return its code, what it said, and how long it took to end."""
        async with self.row.shell.start(*words) as process:
            with trio.move_on_after(self.luck.uniform(0, self.longest)):
                await process.wait()
            code, took = process.poll(), 0.0
            if code is None:
                code, took = await tell(process, self.number)
            said = await last_words(process)
        self.row.show("what it said", said)
        return code, said, took


async def kill_and_kill(row: Row, rounds: int, size: int, longest: float) -> None:
    """Kill `fetch` of one large file and some small ones; write down what it cost."""
    objects = [("f", "rate=128k", size), *((f"g{number}", "hdelay=0.3", 20_000) for number in range(4))]
    row.emulator.url_lifetime = 3600
    listing, killing = list_of(row, *objects), Killing(row, rounds, signal.SIGKILL, longest)
    contents = {name: trees.bytes_of(content) for name, content in contents_of(row, *objects).items() if content}
    requests = 8 * len(objects) * (rounds + 1)  # attempts of each run
    async with row.attempt(contents, within=3600, memory_mib=900, requests=requests) as attempt:
        for _ in range(rounds):
            # What one kill costs is what came since the last note, some milliseconds' worth of each connection.
            code, _, _ = await killing.one(["fetch", listing, "--to", row.dest])
            assert code in (-signal.SIGKILL, 0)
            intact(row, attempt)
        assert any(place.startswith("the left-over .f.") for place, _ in row.shown)
        listing = list_of(row, *((name, "", size) for name, _, size in objects))
        ended = await fetch(row, listing)
        assert ended.code == 0, ended.err
    row.expect_all(attempt, disk="D2")
    served = sum(request.sent_bytes for request in attempt.requests if "/f" in request.path)
    print(f"\nP-01: {rounds} kills, {served / size:.4f} times the file of {size / MiB:.0f} MiB was served")
    assert served <= 1.15 * size + MiB * (rounds < 100)  # a short loop has the first connections' windows in it


async def test_P_01_killed_again_and_again(row: Row) -> None:
    """Success in the end, at a cost of at most 1.15 times the file; whole files only meanwhile. D1, then D2."""
    await kill_and_kill(row, 8, 8 * MiB, longest=2.2)


@pytest.mark.soak
async def test_P_01_killed_two_hundred_times(row: Row) -> None:
    """Success in the end, at a cost of at most 1.15 times the file. D1, then D2."""
    await kill_and_kill(row, 200, 280 * MiB, longest=4.0)


async def kill_the_demo(row: Row, kills: int, number: signal.Signals) -> None:
    killing = Killing(row, kills, number, longest=2.5)
    line: list[str | Path] = [
        "demo",
        "--runs",
        "1",
        "--checkpoints",
        "3",
        "--size",
        "4MiB",
        "--to",
        row.dest,
        "--port",
        str(_free_port()),
    ]
    async with row.attempt({}, anything_below=row.dest, within=300, memory_mib=300) as attempt:
        for _ in range(kills):
            await killing.one([*line, "--rate", "2MiB"])
        ended = await row.run_cli(*line)
        assert ended.code == 0, ended.err
        async with row.shell.start(*line) as process:
            assert process.stdout is not None
            said = b""
            while said.count(b"was there, verified") < 3:  # each against the digest that the emulator announces
                block = await process.stdout.receive_some()
                assert block, said
                said += block
            process.kill()  # the rest of the demo takes its time
            await last_words(process)
    assert attempt.error is None
    files = [path for path in row.dest.iterdir() if path.is_file()]  # Norman's answers lie in a folder of their own
    assert [file.stat().st_size for file in files] == [4 * MiB] * 3
    for file in files:
        file.unlink()


async def test_P_01_the_demo_killed_twice(row: Row) -> None:
    """Success in the end: the right bytes and nothing else. D2."""
    await kill_the_demo(row, 2, signal.SIGKILL)


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_P_01_the_demo_killed_five_times(row: Row, number: signal.Signals) -> None:
    """Success in the end: the right bytes and nothing else. D2."""
    await kill_the_demo(row, 5, number)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- the order on disk

_WRITTEN = re.compile(r"(?:splice\(.*\.f\.part>, \[(\d+)\]|pwrite64\(.*\.f\.part>, .*, (\d+)\)).* = (\d+)$")


async def test_P_02_the_order_on_disk(row: Row, tmp_path: Path) -> None:
    """Success: data, then its note; its sync, then a note of that; all synced, then the name, then the directory."""
    size = 70 * MiB  # a durable download syncs every 64
    log = tmp_path / "calls"
    listing = list_of(row, ("f", "", size))
    calls = "pwrite64,pwritev,pwritev2,splice,write,fdatasync,fsync,renameat,renameat2,linkat,unlinkat,flock,fcntl"
    words = [
        *strace(log, "-s", "4000", "-e", f"trace={calls}"),
        *COMMAND,
        "fetch",
        str(listing),
        "--to",
        str(row.dest),
        "-j",
        "1",
    ]
    async with row.attempt({"f": row.emulator.blob_content(size, name="f")}, within=60, memory_mib=300) as attempt:
        done = await trio.run_process(
            words, capture_stderr=True, capture_stdout=True, check=False, env=row.shell.environment(), cwd=row.tree
        )
        assert done.returncode == 0, done.stderr.decode()
    row.expect(attempt, disk="D2", requests=1)
    (row.dest / "f").unlink()  # to search it for secrets takes longer than all else
    written, synced, notes = 0, 0, 0
    for call in calls_in(log, *calls.split(",")):
        assert call.split("(")[0] != "flock"
        assert "F_SETLK" not in call
        if moved := _WRITTEN.search(call):
            assert int(moved[1] or moved[2]) == written  # one connection: it is written in order
            written += int(moved[3])
        elif call.startswith(("fdatasync", "fsync")) and ".f.part>" in call:
            synced = written
        elif call.startswith("write") and ".f.part.json>" in call:
            for span in re.finditer(r"\[(\d+), (\d+), ([01]), \d+\]", call):
                notes += 1
                assert int(span[2]) <= (synced if span[3] == "1" else written), call
    assert written == size
    assert notes >= 3
    last = [call.split("(")[0] for call in calls_in(log, *calls.split(",")) if str(row.dest) in call][-5:]
    assert last == ["fsync", "linkat", "unlinkat", "fsync", "unlinkat"]
    ends = [call for call in calls_in(log, "fsync", "linkat") if str(row.dest) in call][-3:]
    assert ".f.part>" in ends[0]
    assert '"f"' in ends[1]
    assert f"{row.dest}>)" in ends[2]


# ---- signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=["TERM", "HUP", "INT"]
)
@pytest.mark.rows("P-04")
async def test_P_03_a_signal(row: Row, number: signal.Signals, code: int) -> None:
    """The signal's exit code within a second, one line that says how to go on, no traceback. D1."""
    objects = [("f", SLOW, 3 * MiB)]
    async with row.attempt(contents_of(row, *objects), within=20) as attempt:
        async with row.shell.start("fetch", list_of(row, *objects), "--to", row.dest) as process:
            await wait_for_partial(row.dest, at_least=1)
            ended_with, took = await tell(process, number)
            said = (await last_words(process)).decode()
    row.show("what it said", said)
    row.expect_disk(attempt, disk="D1")
    assert ended_with == code
    assert took < 1
    assert said.splitlines()[-1].startswith("stopped by ")
    assert "same line again" in said
    assert "Traceback" not in said


@pytest.mark.rows("P-04")
async def test_P_03_nobody_reads_on(row: Row) -> None:
    """Exit code 141 and no traceback, as of ``... | head -1``. D2 of what was told or was to be told, D1."""
    objects = [("f", "", 2000), ("g", "hdelay=0.6", 3000), ("h", "rate=500k", 3 * MiB)]
    async with row.attempt(contents_of(row, *objects), within=20) as attempt:
        async with row.shell.start("fetch", list_of(row, *objects), "--to", row.dest, "--json") as process:
            await read_line(process.stdout)
            assert process.stdout is not None
            await process.stdout.aclose()
            with trio.fail_after(15):
                assert await process.wait() == 141
            said = await last_words(process)
    row.show("what it said", said)
    assert b"Traceback" not in said
    for name in ("f", "g"):
        row.expect_disk(attempt, name, disk="D2")
    row.expect_disk(attempt, "h", disk="D1")


_SLOW_SYNC = """
import os, signal, sys, time
def mark(name):
    open(os.environ[name], "w").close()
real_signal = signal.signal
def slow(fd):
    if not os.path.exists(os.environ["SYNCING"]):
        mark("SYNCING")
        time.sleep(float(os.environ["SECONDS"]))
        mark("SYNCED")
def listen(number, handler):
    before = real_signal(number, handler)
    if os.path.exists(os.environ["SYNCING"]):
        mark("TOLD")
    return before
os.fsync, signal.signal = slow, listen
from trio_norman.cli import main
main()
"""


@pytest.mark.parametrize("times", [1, 2])
async def test_P_04_interrupted_while_it_syncs(row: Row, times: int, tmp_path: Path) -> None:
    """Exit code 130: one Ctrl-C waits for the disk and tells the truth, a second one does not wait. D1, D2."""
    objects = [("f", "", 3 * MiB)]
    marks = {name: tmp_path / name for name in ("SYNCING", "SYNCED", "TOLD")}
    seconds = 0.3 if times == 1 else 5.0
    environment = row.shell.environment(SECONDS=str(seconds), **{name: str(path) for name, path in marks.items()})
    words = [sys.executable, "-c", _SLOW_SYNC, "fetch", str(list_of(row, *objects)), "--to", str(row.dest)]
    async with row.attempt(contents_of(row, *objects), within=20) as attempt:
        async with started(row, words, environment) as process:
            await wait_until(marks["SYNCING"].exists)
            if times == 2:
                process.send_signal(signal.SIGINT)
                await wait_until(marks["TOLD"].exists)  # two signals at the same instant are one
            code, took = await tell(process, signal.SIGINT)
            said = (await last_words(process)).decode()
    row.show("what it said", said)
    assert code == 130
    assert took < (1 + seconds if times == 1 else 1)
    assert marks["SYNCED"].exists() == (times == 1)
    if times == 1:
        row.expect_disk(attempt, disk="D1 D2")
        (line,) = said.splitlines()
        assert line.startswith("stopped by Ctrl-C")
        assert "same line again" in line
    else:  # what is in a thread is not waited for: a partial whose owner is gone
        assert said == ""
        intact(row, attempt)
        attempt.unjudged.clear()
    ended = await fetch(row, list_of(row, *objects))
    assert ended.code == 0
    assert sorted(path.name for path in row.dest.iterdir()) == ["f"]


_SLOW_END = """
import atexit, os, time
def linger():
    open(os.environ["ENDING"], "w").close()
    time.sleep(5)
atexit.register(linger)
from trio_norman.cli import main
main()
"""


async def test_P_04_interrupted_while_it_ends(row: Row, tmp_path: Path) -> None:
    """Exit code 130 at once, without a word: all was done. D2."""
    objects, ending = [("f", "", 3000)], tmp_path / "ending"
    words = [sys.executable, "-c", _SLOW_END, "fetch", str(list_of(row, *objects)), "--to", str(row.dest)]
    async with row.attempt(contents_of(row, *objects), within=20) as attempt:
        async with started(row, words, row.shell.environment(ENDING=str(ending))) as process:
            await wait_until(ending.exists)
            code, took = await tell(process, signal.SIGINT)
            said = (await last_words(process)).decode()
    row.show("what it said", said)
    row.expect_disk(attempt, disk="D2")
    assert (code, took < 1) == (130, True)
    assert "Traceback" not in said


@asynccontextmanager
async def started(row: Row, words: Sequence[str], environment: dict[str, str]) -> AsyncIterator[trio.Process]:
    """Start a program that is no plain command line."""
    run = functools.partial(
        trio.run_process, words, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(functools.partial(run, cwd=row.tree))
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


_IN_OUR_MAIN = re.compile(rb'trio_norman.cli.__init__\.py", line \d+, in main')  # Python's own `site` has one, too


async def interrupted(row: Row, rounds: int) -> None:
    """Send SIGINT at random instants, start and end of the process included."""
    objects = [("f", "rate=8m", 5 * MiB), ("g", "hdelay=0.2", 2000)]
    listing, killing = list_of(row, *objects), Killing(row, rounds, signal.SIGINT, longest=1.3)
    slowest, python_was_stopped = 0.0, 0
    requests = 8 * len(objects) * (rounds + 1)  # attempts of each run
    async with row.attempt(contents_of(row, *objects), within=3600, memory_mib=500, requests=requests) as attempt:
        for _ in range(rounds):
            code, said, took = await killing.one(["fetch", listing, "--to", row.dest, "--quiet"])
            intact(row, attempt)
            slowest = max(slowest, took)
            # Until `main` runs, within the first hundredths of a second, Python says in its own ways what stopped it.
            is_the_interpreters = code == -signal.SIGINT or (b"Traceback" in said and not _IN_OUR_MAIN.search(said))
            python_was_stopped += is_the_interpreters
            if not is_the_interpreters:
                assert code in (130, 0), said
                assert b"Traceback" not in said
            if code == 0 and (row.dest / "f").exists():
                (row.dest / "f").unlink()
        ended = await fetch(row, listing)
        assert ended.code == 0
    print(f"\nM-13: {rounds} interrupts, {python_was_stopped} before our code, the longest return took {slowest:.2f} s")
    row.expect_all(attempt, disk="D2")
    assert slowest < 1
    assert python_was_stopped <= 1 + rounds / 5


async def test_M_13_interrupted_at_any_instant(row: Row) -> None:
    """Exit code 130, or success if it was done; the same line goes on. D1, D2."""
    await interrupted(row, 6)


@pytest.mark.soak
async def test_M_13_interrupted_five_hundred_times(row: Row) -> None:
    """Exit code 130, or success if it was done; the same line goes on. D1, D2."""
    await interrupted(row, 500)


async def test_M_04_interrupted_with_ten_thousand_items_waiting(row: Row) -> None:
    """Exit code 130 within a second. D1 of what was going on, D0 of the rest."""
    lines = (f"{row.url(SLOW, 2 * MiB, name=f'f{number}', signed=False)}\tf{number}" for number in range(10_000))
    listing = row.tree / "home" / "list"
    write_down(row, listing, lines)
    files = {f"f{number}": row.emulator.blob_content(2 * MiB, name=f"f{number}") for number in range(10_000)}
    async with row.attempt(files, within=30) as attempt:
        async with row.shell.start("fetch", listing, "--to", row.dest, "-j", "8") as process:
            await wait_until(lambda: len(list(row.dest.glob(".*.part"))) == 8)
            await wait_for_partial(row.dest, at_least=1)
            code, took = await tell(process, signal.SIGINT)
            said = await last_words(process)
    row.show("what it said", said)
    assert b"Traceback" not in said
    assert code == 130
    assert took < 1
    begun = {path.name[1:].removesuffix(".part") for path in row.dest.glob(".*.part")}
    assert 1 <= len(begun) <= 8  # of those that had received nothing yet nothing is left
    for name in begun:
        row.expect_disk(attempt, name, disk="D1")
    assert {path.name for path in row.dest.iterdir()} == {
        f".{name}.part{end}" for name in begun for end in ("", ".json")
    }
    attempt.unjudged.clear()
    print(f"\nM-04: returned after {took:.2f} s")


# ---- two at a time


_TOGETHER = """
import os, sys, time
from trio_norman.cli import _fetch, _main, main
open(sys.argv.pop(1), "w").close()
while not os.path.exists(os.environ["BEGIN"]):
    time.sleep(0.001)
main()
"""


async def both(
    row: Row, lines: Sequence[Sequence[str]], under: Sequence[Sequence[str]] = ((), ())
) -> list[tuple[int, str]]:
    """Run two command lines from the same instant on, each under another program; return their codes and outputs."""
    ends: list[tuple[int, str]] = []
    begin, *ready = (row.tree.parent / name for name in ("begin", "one-is-ready", "other-is-ready"))
    for path in (begin, *ready):
        path.unlink(missing_ok=True)

    async def run(outer: Sequence[str], is_ready: Path, line: Sequence[str]) -> None:
        words = [*outer, sys.executable, "-W", "error", "-c", _TOGETHER, str(is_ready), *line]
        environment = row.shell.environment(BEGIN=str(begin))
        done = await trio.run_process(
            words, capture_stderr=True, capture_stdout=True, check=False, env=environment, cwd=row.tree
        )
        ends.append((done.returncode, done.stdout.decode() + done.stderr.decode()))

    async with trio.open_nursery() as nursery:
        for each in zip(under, ready, lines, strict=True):
            nursery.start_soon(run, *each)
        await wait_until(lambda: all(path.exists() for path in ready))
        begin.touch()
    return ends


async def race(row: Row, rounds: int, rate: str, under: Sequence[Sequence[str]] = ((), ())) -> None:
    objects = [("f", f"rate={rate}", 3 * MiB), ("g", "hdelay=0.1", 3000)]
    words = ["fetch", str(list_of(row, *objects)), "--to", str(row.dest), "--json"]
    busy = 0
    for _ in range(rounds):
        async with row.attempt(contents_of(row, *objects), within=60) as attempt:
            ends = await both(row, [words, words], under)
        row.expect_all(attempt, disk="D2")
        for code, said in ends:
            row.show("what it said", said)
            assert code in (0, 5, 6), said
            assert code == 0 or "another download" in said
            busy += code != 0
        assert 0 in {code for code, _ in ends}
        for name in ("f", "g"):
            (row.dest / name).unlink()
    assert busy  # else they never met


async def test_P_05_two_processes(row: Row) -> None:
    """One does it; the other finds it done, or DestinationBusyError. D2."""
    await race(row, 2, "8m")


async def another_is_quicker(row: Row, how: Literal["verify", "keep"], *sources: Source) -> Attempt:
    """Download, and let another one finish ``f`` when the first request is under way."""
    async with row.attempt({source.name: row.contents[source.name] for source in sources}) as attempt:
        options = Options(max_connections=1, existing=how)
        async with download_many(sources, row.dest, 1, on_event=attempt.events.append, **options) as downloads:
            await until(lambda: len(row.emulator.requests.of("storage")) > 0)
            row.plant("f", trees.bytes_of(row.contents["f"]))
            attempt.results = {result.source.name: result async for result in downloads}
    return attempt


@pytest.mark.parametrize("how", ["verify", "keep"])
async def test_P_05_another_is_quicker(row: Row, how: Literal["verify", "keep"]) -> None:
    """What another one finishes before the first answer is not fetched again. D3."""
    attempt = await another_is_quicker(row, how, row.source("hdelay=0.1", 3 * MiB))
    row.expect(attempt, disk="D3", requests=2 - (how == "keep"))
    assert attempt.result.received_bytes == 0
    assert [type(event) for event in attempt.events] == [DownloadStarted, DownloadFinished]


async def test_P_05_another_is_quicker_and_nothing_tells_a_digest(row: Row) -> None:
    """What comes is compared with the file that is there; that it began is told once. D3."""
    attempt = await another_is_quicker(row, "verify", row.source("hdelay=0.1&nodigest=1", 3 * MiB))
    row.expect(attempt, disk="D3")
    assert sum(isinstance(event, DownloadStarted) for event in attempt.events) == 1


async def test_P_05_another_is_quicker_while_we_are_busy(row: Row) -> None:
    """The same for a file that waits for its turn. D3."""
    busy = row.source("hdelay=0.1", 5000, name="g")
    attempt = await another_is_quicker(row, "verify", busy, row.source("", 3 * MiB, is_sized=True))
    row.expect(attempt, "f", disk="D3", requests=2)  # of these one byte that brings the digest
    row.expect(attempt, "g", disk="D2")
    assert attempt.results["f"].received_bytes == 0


@pytest.mark.soak
async def test_P_05_two_processes_twenty_times(row: Row) -> None:
    """One does it; the other finds it done, or DestinationBusyError. D2."""
    await race(row, 20, "12m")


_WRITING = re.compile(r"splice\(.*\.f\.part>, \[|pwrite(?:64|v2?)\(\d+<[^>]*\.f\.part>")


async def test_P_05_two_processes_without_locks(row: Row, tmp_path: Path) -> None:
    """The same where locks do nothing; they are never asked for, and one partial has one writer. D2."""
    logs = [tmp_path / "one", tmp_path / "other"]
    neutral = ["-e", "trace=flock,fcntl,splice,pwrite64,pwritev,pwritev2", "-e", "inject=flock:retval=0"]
    await race(row, 1, "4m", [strace(log, *neutral) for log in logs])
    writers = 0
    for log in logs:
        calls = calls_in(log, "flock", "fcntl", "splice", "pwrite64", "pwritev", "pwritev2")
        assert calls
        assert [call for call in calls if call.startswith("flock") or "LK" in call] == []
        writers += any(_WRITING.search(call) for call in calls)
    assert writers == 1


async def test_P_06_two_processes_and_two_contents(row: Row) -> None:
    """One does it; the other gets DestinationBusyError or DestinationExistsError. D2 of the one."""
    lines = []
    contents = {name: row.emulator.blob_content(3 * MiB, name=name) for name in ("one", "other")}
    for name in contents:
        listing = row.tree / "home" / name
        listing.write_text(f"{row.url('rate=12m', 3 * MiB, name=name, signed=False)}\tf\n")
        lines.append(["fetch", str(listing), "--to", str(row.dest), "--json"])
    async with row.attempt({"f": None}, within=60) as attempt:
        ends = await both(row, lines)
    attempt.unjudged.clear()
    assert attempt.problems == []
    assert sorted(code for code, _ in ends) in ([0, 5], [0, 8])
    whole = (row.dest / "f").read_bytes()
    assert [whole == trees.bytes_of(content) for content in contents.values()].count(True) == 1
    assert [path.name for path in row.dest.iterdir()] == ["f"]


# ---- stopped, and short of memory

_PATIENT = """
import sys, trio
from trio_norman import RetryPolicy, Source, StallLimit, download_many
async def main():
    retry, stall = RetryPolicy(attempts=3, initial=0.01), StallLimit(1024, float(sys.argv[3]))
    options = dict(max_connections=1, stall=stall, retry=retry)
    async with download_many([Source.from_url(sys.argv[1], "f")], sys.argv[2], **options) as downloads:
        async for result in downloads:
            print(result.outcome, result.attempts)
trio.run(main)
"""


async def stopped(row: Row, seconds: float, limit: float) -> None:
    url = row.url("rate=2m", 4 * MiB, name="f", signed=False)
    async with row.attempt({"f": row.emulator.blob_content(4 * MiB, name="f")}, within=200) as attempt:
        async with trio.open_nursery() as nursery:
            words = [sys.executable, "-c", _PATIENT, url, str(row.dest), str(limit)]
            run = functools.partial(trio.run_process, words, check=False, stdout=subprocess.PIPE, cwd=row.tree)
            process: trio.Process = await nursery.start(run)
            await wait_for_partial(row.dest, at_least=1)
            process.send_signal(signal.SIGSTOP)
            await trio.sleep(seconds)
            process.send_signal(signal.SIGCONT)
            said = await read_all(process.stdout)
            assert process.stdout is not None
            await process.stdout.aclose()
    outcome, attempts = said.split()
    assert outcome == b"ok"
    assert int(attempts) <= 2
    row.expect(attempt, disk="D2", requests=2)


async def test_P_08_stopped_and_continued(row: Row) -> None:
    """Success: at most one connection is given up for its silence. D2."""
    await stopped(row, 1.5, 0.5)


@pytest.mark.soak
async def test_P_08_stopped_for_a_minute(row: Row) -> None:
    """Success: at most one connection is given up for its silence. D2."""
    await stopped(row, 60, 30)


def _limited_group(row: Row, mib: int) -> tuple[Path, str]:
    needs_root("limiting memory")
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"trio-norman-{row.tree.parent.name}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            (group / limit).write_text(str(mib * MiB))
            return group, limit
        group.rmdir()
    pytest.skip("this machine lets nobody make a cgroup with a limit on memory")


async def short_of_memory(row: Row, mib: int, size: int) -> None:
    group, _ = _limited_group(row, mib)
    objects = [(f"f{number}", "nodigest=1", size) for number in range(4)]
    words = [*COMMAND, "fetch", str(list_of(row, *objects)), "--to", str(row.dest), "-j", "4"]
    shell = ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *words]
    try:
        async with row.attempt({}, anything_below=row.dest, within=900, memory_mib=400) as attempt:
            done = await trio.run_process(
                shell, capture_stderr=True, capture_stdout=True, check=False, env=row.shell.environment(), cwd=row.tree
            )
    finally:
        await wait_until(lambda: not (group / "cgroup.procs").read_text())  # noqa: ASYNC102 (it has its own limit)
        group.rmdir()
    assert attempt.error is None
    assert done.returncode == 0, done.stderr.decode()
    for name, _, _ in objects:
        digest = await trio.to_thread.run_sync(_digest_of, row.dest / name)
        assert digest == sha256_of_content(row.emulator.blob_content(size, name=name))
        (row.dest / name).unlink()


def _digest_of(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def test_P_09_little_memory(row: Row) -> None:
    """Success with 96 MiB for the process and its files' pages. D2."""
    await short_of_memory(row, 96, 40 * MiB)


@pytest.mark.soak
async def test_P_09_little_memory_and_large_files(row: Row) -> None:
    """Success with 200 MiB for four files of 2 GiB. D2."""
    await short_of_memory(row, 200, 2048 * MiB)
