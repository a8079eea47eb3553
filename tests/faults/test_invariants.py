"""The fixture of the rows can fail: each invariant is broken here once, and noticed."""

from __future__ import annotations

import base64
import logging
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from tests.destinations import until
from tests.faults import leftovers
from tests.faults.peers import open_peer, saying
from tests.faults.rows import Attempt, MiB, Row, ViolationError, open_row
from tests.faults.secrecy import PIECE, Canaries, everything_about
from tests.faults.trees import partial_of
from trio_norman import StallLimit, errors
from trio_norman._sansio.addresses import check_address

SIZE = 3 * MiB


@asynccontextmanager
async def violated(tmp_path: Path, capfd: pytest.CaptureFixture[str], says: str) -> AsyncIterator[Row]:
    """Open a row that must fail."""
    with pytest.raises(ViolationError, match=says):
        async with open_row(tmp_path / "tree", lambda: "".join(capfd.readouterr()), patience=0.3) as row:
            yield row


# ---- what is left


async def test_a_descriptor_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I7: left: descriptor .*null"):
        left = os.open("/dev/null", os.O_RDONLY)
    os.close(left)


async def test_a_socket_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I7: left: descriptor .*socket"):
        left = socket.socket()
    left.close()


async def test_a_connection_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I7: 1 connections are open") as row:
        host, _, port = row.emulator.storage_url.removeprefix("http://").partition(":")
        left = await trio.open_tcp_stream(host, int(port))
        await until(lambda: row.emulator.connections.active == 1)
    await left.aclose()


async def test_a_thread_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    go_on = threading.Event()
    async with violated(tmp_path, capfd, "I7: left: thread stray"):
        thread = threading.Thread(target=go_on.wait, name="stray")
        thread.start()
    go_on.set()
    thread.join()


async def test_a_call_in_a_worker_thread_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    go_on = threading.Event()
    async with trio.open_nursery() as nursery:
        async with violated(tmp_path, capfd, "I7: left: thread .*wait"):
            nursery.start_soon(in_a_thread, go_on.wait)
            await trio.testing.wait_all_tasks_blocked()
        go_on.set()


async def in_a_thread(wait: Callable[[], object]) -> None:
    await trio.to_thread.run_sync(wait)


async def test_a_task_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with trio.open_nursery() as nursery:
        async with violated(tmp_path, capfd, "I7: left: task trio.sleep_forever"):
            nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()


def started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE)


async def test_a_process_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I7: left: process"):
        process = started("-c", "input()")
    process.communicate(b"\n")


# ---- what shows


def shown_in_log(row: Row, secret: str) -> None:
    logging.getLogger("httpx").debug("asked with %s", secret)


def shown_in_a_new_log(row: Row, secret: str) -> None:
    logging.getLogger("trio_norman.nobody_knew").debug("asked", extra={"key": secret}, exc_info=KeyError(secret))


def shown_in_output(row: Row, secret: str) -> None:
    os.write(2, secret.encode())


def shown_in_a_file(row: Row, secret: str) -> None:
    (row.tree / "home" / "config").write_bytes(b"\xff" + secret.encode())


def shown_in_a_large_file(row: Row, secret: str) -> None:
    (row.tree / "home" / "dump").write_bytes(bytes(3 * MiB) + secret.encode())


def shown_in_a_name(row: Row, secret: str) -> None:
    (row.tree / "home" / quote(secret, safe="")).touch()


def shown_in_a_repr(row: Row, secret: str) -> None:
    row.show("an object", {"headers": [secret]})


@pytest.mark.parametrize(
    "leak",
    [
        shown_in_log,
        shown_in_a_new_log,
        shown_in_output,
        shown_in_a_file,
        shown_in_a_large_file,
        shown_in_a_name,
        shown_in_a_repr,
    ],
)
async def test_the_key_shows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], leak: Callable[[Row, str], None]
) -> None:
    async with violated(tmp_path, capfd, "I3: key .* shows in") as row:
        leak(row, row.emulator.api_key)


async def test_a_signature_shows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I3: signature .* shows in the output") as row:
        row.expect(await row.download())
        os.write(1, row.emulator.requests[0].query[-100:].encode())


async def test_a_secret_shows_in_the_arguments_of_a_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I3: key .* shows in a command's arguments") as row:
        await row.run_cli("--help", row.emulator.api_key)


SECRET = "key/0123456789abcdef0123+456789ABCDEF01="


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        SECRET[5 : 5 + PIECE],
        SECRET[-PIECE:],
        quote(SECRET, safe=""),
        quote(quote(SECRET, safe=""), safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"a" + SECRET.encode()).decode(),
        base64.b64encode(b"ab" + SECRET.encode()).decode(),
        base64.urlsafe_b64encode(b"ab" + SECRET.encode()).decode(),
        SECRET.encode().hex(),
    ],
)
def test_a_secret_is_found_in_every_form(text: str) -> None:
    canaries = Canaries({"key": SECRET})
    assert canaries.found_in([("x", f"before {text} after")])
    assert canaries.found_in([("x", SECRET[: PIECE - 1])]) == []


def test_everything_about_an_error_is_searched() -> None:
    canaries = Canaries({"key": SECRET})
    cause, context = KeyError(), ValueError(SECRET)
    cause.add_note(SECRET)
    error = ExceptionGroup("several", [ValueError()])
    assert canaries.found_in([("error", everything_about(error))]) == []
    error.exceptions[0].__cause__ = cause
    assert canaries.found_in([("error", everything_about(error))])
    cause.__notes__.clear()
    cause.__context__ = context
    assert canaries.found_in([("error", everything_about(error))])
    assert SECRET not in "".join(traceback.format_exception(ValueError()))


def test_arguments_of_our_frames_can_be_searched() -> None:
    with pytest.raises(errors.AddressError) as caught:
        check_address(f"http://192.0.2.1/?{SECRET}", allow_http=False)
    canaries = Canaries({"key": SECRET})
    assert canaries.found_in([("error", everything_about(caught.value))]) == []
    assert canaries.found_in([("error", everything_about(caught.value, with_arguments=True))])


# ---- what is on the disk


async def test_a_file_lies_outside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I4: work/stray was changed") as row:
        async with row.attempt({"f": b""}) as attempt:
            (row.tree / "work" / "stray").touch()
        row.expect_disk(attempt, disk="D0")


async def test_a_file_lies_beside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I4: work/dest/.f.new was changed") as row:
        async with row.attempt({"f": b""}) as attempt:
            row.dest.mkdir()
            (row.dest / ".f.new").touch()
        row.expect_disk(attempt, disk="D0")


async def test_nothing_is_expected(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "does not say what it expects") as row:
        await row.download()


async def test_nothing_is_expected_of_one_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "does not say what it expects of g") as row:
        row.expect(await row.download_all([row.source(name="f"), row.source(name="g")]), "f")


async def test_something_is_wrong_in_an_attempt_of_which_nothing_is_expected(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with violated(tmp_path, capfd, "I4: home/stray was changed") as row:
        async with row.attempt({}, anything_below=row.dest):
            row.dest.mkdir()
            for name in (row.dest / "f", row.tree / "home" / "stray"):
                name.write_bytes(b"")


async def test_the_result_of_one_file_is_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "there is no result of g") as row:
        attempt = await row.download_all([row.source(name="f"), row.source(name="g")])
        del attempt.results["g"]
        row.expect_all(attempt)


def truncated(row: Row) -> None:
    os.truncate(row.dest / "f", SIZE - 1)


def changed(row: Row) -> None:
    with (row.dest / "f").open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"other")


def removed(row: Row) -> None:
    (row.dest / "f").unlink()


def replaced_by_a_link(row: Row) -> None:
    (row.dest / "f").rename(row.dest / "g")
    (row.dest / "f").symlink_to("g")


def accompanied(row: Row) -> None:
    partial_of(row.dest, "f")[0].touch()


@pytest.mark.parametrize("spoil", [truncated, changed, removed, replaced_by_a_link, accompanied])
async def test_D2_is_a_file_that_is_right_and_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], spoil: Callable[[Row], None]
) -> None:
    async with violated(tmp_path, capfd, "I1: not D2") as row:
        attempt = await row.download("", SIZE)
        row.expect(attempt, disk="D2")
        spoil(row)
        row.expect(attempt, disk="D2")


def without_sidecar(row: Row) -> None:
    partial_of(row.dest, "f")[1].unlink()


def garbled(row: Row) -> None:
    partial_of(row.dest, "f")[1].write_bytes(b"[]\n")


def with_nothing_noted(row: Row) -> None:
    sidecar = partial_of(row.dest, "f")[1]
    lines = sidecar.read_bytes().splitlines(keepends=True)
    sidecar.write_bytes(b"".join(lines[:2]))  # without the spans


def with_other_bytes(row: Row) -> None:
    partial_of(row.dest, "f")[0].write_bytes(bytes(SIZE))


def public(row: Row) -> None:
    partial_of(row.dest, "f")[0].chmod(0o644)


def with_a_final_file(row: Row) -> None:
    (row.dest / "f").touch()


@pytest.mark.parametrize(
    "spoil", [without_sidecar, garbled, with_nothing_noted, with_other_bytes, public, with_a_final_file]
)
async def test_D1_is_a_partial_that_can_be_taken_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], spoil: Callable[[Row], None]
) -> None:
    async with violated(tmp_path, capfd, "I1: not D1") as row:
        attempt = await row.download("reset=1m&abs=1", SIZE)
        row.expect_error(attempt, errors.InterruptedTransferError, disk="D1")
        spoil(row)
        row.expect_disk(attempt, disk="D1")


async def test_D0_is_as_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I1: not D0: f is not as it was before") as row:
        path = row.plant("f", b"old")
        async with row.attempt({"f": b"new"}) as attempt:
            path.write_bytes(b"odd")
        row.expect_disk(attempt, disk="D0")


async def test_D3_is_the_same_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I1: not D3: f is not as it was before") as row:
        path = row.plant("f", b"same")
        async with row.attempt({"f": b"same"}) as attempt:
            os.utime(path, ns=(1, 1))
        row.expect_disk(attempt, disk="D3")


async def test_D3_needs_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I1: not D3: f is not there") as row:
        async with row.attempt({"f": b"same"}) as attempt:
            pass
        row.expect_disk(attempt, disk="D3")


# ---- what came of it, and at what cost


async def test_success_and_failure_are_told_apart(row: Row) -> None:
    good = await row.download(size=SIZE)
    with pytest.raises(ViolationError, match="f ended with None, not with"):
        row.expect_error(good, errors.NotFoundError, disk="D2")
    bad = await row.download_all([row.source("status=404", name="g")])
    with pytest.raises(ViolationError, match="g failed"):
        row.expect(bad, disk="D0")
    with pytest.raises(ViolationError, match=r"g ended with .*, not with"):
        row.expect_error(bad, errors.ServiceError, disk="D0")


async def test_a_wrong_digest_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I2: the digest") as row:
        attempt = await row.download()
        attempt.results["f"].digests["sha256"] = "0" * 64  # type: ignore[index]
        row.expect(attempt)


async def test_too_many_requests(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I9: 2 requests, not 1") as row:
        row.expect(await row.download("reset=1&times=1"), requests=1)


async def test_too_many_connections(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I9: 2 connections at the same time, not 1") as row:
        host, _, port = row.emulator.storage_url.removeprefix("http://").partition(":")
        async with row.attempt({"f": b""}, connections=1) as attempt:
            for stream in [await trio.open_tcp_stream(host, int(port)) for _ in range(2)]:
                await until(lambda: row.emulator.connections.total == 2)
                await stream.aclose()
        row.expect_disk(attempt, disk="D0")


async def test_too_many_requests_where_the_row_does_not_say_how_many(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with violated(tmp_path, capfd, "I9: 6 requests, not 5") as row:
        attempt = await row.download()
        attempt.requests *= 6
        row.expect(attempt)


async def contact_twice(row: Row, **limits: Any) -> Attempt:
    """Have two connections to another peer than the emulator at the same time."""
    async with open_peer(saying(b"")) as peer, row.attempt({"f": b""}, **limits) as attempt:
        for stream in [await trio.open_tcp_stream(peer.host, peer.port) for _ in range(2)]:
            await stream.aclose()
    return attempt


async def test_too_many_requests_of_another_peer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I9: 2 requests, not 1") as row:
        row.expect(await contact_twice(row, requests=1), disk="D0")


async def test_too_many_connections_to_another_peer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I9: 2 connections at the same time, not 1") as row:
        row.expect_disk(await contact_twice(row, connections=1), disk="D0")


async def test_connections_one_after_another_are_one_at_a_time(row: Row) -> None:
    async with row.attempt({"f": b""}, connections=1, requests=3) as attempt, open_peer(saying(b"")) as peer:
        for _ in range(3):
            await (await trio.open_tcp_stream(peer.host, peer.port)).aclose()
    row.expect(attempt, disk="D0")
    assert (attempt.elsewhere, attempt.peak) == (3, 1)


async def test_too_much_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I6: still running after 0.2 s") as row:
        attempt = await row.download("hdelay=999", within=0.2)
        row.expect_disk(attempt, disk="D0")


async def test_too_late_after_being_cancelled(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, r"I6: ended 1\.\d+ s after it was cancelled") as row:
        async with row.attempt({"f": b""}) as attempt:
            attempt.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1.6)
        row.expect_cancelled(attempt, disk="D0")


async def test_too_much_memory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I5: the memory grew by") as row:
        async with row.attempt({"f": b""}, memory_mib=32) as attempt:
            # Far more than the limit: what other tests left behind may be given back at the same time.
            assert len(b"x" * (256 * MiB)) > len(attempt.files)
        row.expect_disk(attempt, disk="D0")


async def test_memory_that_was_freed_before_hides_no_growth(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I5: the memory grew by") as row:
        pieces = [b"x" * 100_000 for _ in range(400)]
        pieces = pieces[-1:]  # behind which the allocator keeps the others' room
        async with row.attempt({"f": b""}, memory_mib=16) as attempt:
            pieces = [b"x" * 100_000 for _ in range(400)]
        row.expect_disk(attempt, disk="D0")
        assert len(pieces) == 400


async def test_a_cancellation_is_swallowed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with violated(tmp_path, capfd, "I10: the cancellation did not get through") as row:
        async with row.attempt({"f": b""}) as attempt:
            attempt.cancel()
            with suppress(trio.Cancelled):
                await trio.sleep(1)
        row.expect_cancelled(attempt)


async def test_a_good_row_is_good(row: Row) -> None:
    """All of it holds, an answer from an existing file and a cancelled download included."""
    whole = await row.download(size=SIZE)
    row.expect(whole, requests=1)
    row.expect(await row.download(size=SIZE), disk="D3")
    sources = [row.source(name="g"), row.source("status=404", name="h")]
    both = await row.download_all(sources)
    row.expect_error(both, errors.NotFoundError, "h", disk="D0")
    row.expect_all(both)
    patient = StallLimit(bytes_per_second=1, seconds=60)
    source = row.source("stall=1m", SIZE, name="i")
    stalled = await row.download_all([source], cancel_after=1, stall=patient)
    assert row.expect_cancelled(stalled, disk="D1") == "D1"
    assert row.held("i") == MiB
    assert (await row.run_cli("--version")).code == 0
    assert leftovers.resident_mib() > 10
