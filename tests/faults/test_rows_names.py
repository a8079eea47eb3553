"""What stands under the final name, and what names may be: rows F-05 to F-07, F-11, F-13 and F-15."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.destinations import bytes_of, sha256_of, until
from tests.faults.disks import needs_root
from tests.faults.rows import MiB, Row
from trio_norman import DownloadAdvanced, Source, download_many, errors

SIZES = pytest.mark.parametrize("size", [5000, 3 * MiB], ids=["small", "large"])
EXISTING = pytest.mark.parametrize("existing", ["verify", "overwrite"])


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@SIZES
@pytest.mark.parametrize("is_told", [False, True])
async def test_F_05_the_same_file_is_there(row: Row, size: int, is_told: bool) -> None:
    """Skipped without a body: one byte is asked for where nobody told a digest, else nothing. D3."""
    content = row.emulator.blob_content(size, name="f")
    row.plant("f", bytes_of(content))
    digests = {"sha256": sha256_of(content)} if is_told else None
    attempt = await row.download(size=size, digests=digests)
    row.expect(attempt, disk="D3", requests=0 if is_told else 1)
    assert sum(request.sent_bytes for request in attempt.requests) <= 1


@SIZES
@pytest.mark.parametrize("length", [1, None, 4 * MiB])
async def test_F_05_another_file_is_there(row: Row, size: int, length: int | None) -> None:
    """DestinationExistsError without a body. D0."""
    row.plant("f", b"x" * (size if length is None else length))
    attempt = await row.download(size=size)
    row.expect_error(attempt, errors.DestinationExistsError, disk="D0", requests=1)
    assert sum(request.sent_bytes for request in attempt.requests) <= 1


@SIZES
async def test_F_05_another_file_is_there_and_is_replaced(row: Row, size: int) -> None:
    """Success: it is replaced in one step. D2."""
    old = row.plant("f", b"old")
    async with row.attempt({"f": row.emulator.blob_content(size, name="f")}) as attempt:
        source = row.source("rate=40m", size)
        async with download_many([source], row.dest, max_connections=1, existing="overwrite") as downloads:
            while downloads.progress.items_done == 0:
                assert old.read_bytes() in (b"old", bytes_of(row.emulator.blob_content(size, name="f")))
                await trio.sleep(0.001)
            attempt.results["f"] = await anext(downloads)
    row.expect(attempt, disk="D2", requests=1)


@SIZES
async def test_F_05_another_file_is_there_and_is_kept(row: Row, size: int) -> None:
    """Skipped without a request. D3."""
    row.plant("f", b"old")
    attempt = await row.download(size=size, existing="keep")
    assert attempt.result.sha256 is None
    row.contents["f"] = b"old"
    row.expect_disk(attempt, disk="D3")
    assert attempt.result.outcome == "skipped"
    assert attempt.requests == []


def put(kind: str, path: Path) -> None:
    """Put something there that is no regular file."""
    path.parent.mkdir(parents=True)
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(f"{path.parent.name}/{path.name}")  # relative: such names are short
        case "device":
            needs_root("making a device")
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))  # /dev/full


@EXISTING
@SIZES
@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device"])
async def test_F_06_no_regular_file_is_there(row: Row, kind: str, size: int, existing: Any) -> None:
    """DestinationExistsError before any request; it is never opened, nor replaced. D0."""
    put(kind, row.dest / "f")
    attempt = await row.download(size=size, existing=existing, within=5)
    row.expect_error(attempt, errors.DestinationExistsError, disk="D0", requests=0)


LINKS = pytest.mark.parametrize("target", ["inside", "outside", "dangling", "directory"])


def link(row: Row, target: str) -> Path:
    row.dest.mkdir()
    inside, outside = row.plant("inside", b"precious"), row.tree / "work" / "outside"
    outside.write_bytes(b"precious")
    to = {"inside": inside, "outside": outside, "dangling": row.tree / "nothing", "directory": row.tree / "home"}
    (row.dest / "f").symlink_to(to[target])
    return to[target]


@LINKS
@SIZES
async def test_F_07_a_link_is_there(row: Row, target: str, size: int) -> None:
    """DestinationExistsError before any request; link and target stay. D0."""
    link(row, target)
    attempt = await row.download(size=size)
    row.expect_error(attempt, errors.DestinationExistsError, disk="D0", requests=0)


@LINKS
@SIZES
async def test_F_07_a_link_is_there_and_is_replaced(row: Row, target: str, size: int) -> None:
    """Success: the link itself is replaced, its target stays. D2."""
    aim = link(row, target)
    attempt = await row.download(size=size, existing="overwrite")
    row.expect(attempt, disk="D2", requests=1)
    assert aim.exists() == (target != "dangling")


_UNHURRIED = {5000: "hdelay=0.1", 3 * MiB: "rate=20m"}


def _has_begun(row: Row, size: int) -> Callable[[], bool]:
    """Tell whether a file is under way: a small one has no partial."""
    if size < MiB:
        return lambda: len(row.emulator.requests.of("storage")) > 0
    return lambda: (row.dest / ".f.part").exists()


@SIZES
async def test_F_11_a_file_appears(row: Row, size: int) -> None:
    """DestinationExistsError at the end; what was fetched stays as a partial, if it had one. D1, D0."""
    files = {"f": row.emulator.blob_content(size, name="f")}
    async with (
        row.attempt(files) as attempt,
        download_many([row.source(_UNHURRIED[size], size)], row.dest, max_connections=1) as downloads,
    ):
        await until(_has_begun(row, size))
        row.plant("f", b"quicker")
        attempt.results["f"] = await anext(downloads)
    disk = "D0" if size < MiB else "D1"
    row.expect_error(attempt, errors.DestinationExistsError, disk=disk, requests=1)


async def test_F_11_a_file_appears_before_the_first_answer(row: Row) -> None:
    """DestinationExistsError without a body. D0."""
    async with row.attempt({"f": row.emulator.blob_content(3 * MiB, name="f")}) as attempt:
        source = row.source("hdelay=0.1", 3 * MiB)
        async with download_many([source], row.dest, max_connections=1) as downloads:
            await until(_has_begun(row, 0))
            row.plant("f", b"quicker")
            attempt.results["f"] = await anext(downloads)
    row.expect_error(attempt, errors.DestinationExistsError, disk="D0", requests=2)
    assert attempt.result.received_bytes == 0


@SIZES
async def test_F_11_a_file_appears_and_is_replaced(row: Row, size: int) -> None:
    """Success. D2."""
    files = {"f": row.emulator.blob_content(size, name="f")}
    source = row.source(_UNHURRIED[size], size)
    async with row.attempt(files) as attempt:
        async with download_many([source], row.dest, max_connections=1, existing="overwrite") as downloads:
            await until(_has_begun(row, size))
            row.plant("f", b"quicker")
            attempt.results["f"] = await anext(downloads)
    row.expect(attempt, disk="D2", requests=1)


@SIZES
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
async def test_F_13_the_umask(row: Row, size: int, umask: int) -> None:
    """Success: the file's mode is what the umask says; before it is complete, only its owner can read it. D2."""
    before, modes = os.umask(umask), set[int]()

    def look(event: object) -> None:
        if isinstance(event, DownloadAdvanced):
            modes.update(stat.S_IMODE(path.stat().st_mode) for path in row.dest.iterdir())

    try:
        async with row.attempt({"f": row.emulator.blob_content(size, name="f")}) as attempt:
            async with download_many([row.source("", size)], row.dest, max_connections=1, on_event=look) as downloads:
                attempt.results["f"] = await anext(downloads)
        row.expect(attempt, disk="D2", requests=1)
    finally:
        os.umask(before)
    assert modes == ({0o600} if size > MiB else set())
    assert stat.S_IMODE((row.dest / "f").stat().st_mode) == 0o666 & ~umask


@SIZES
@pytest.mark.parametrize("mode", [0o640, 0o4755, 0o400])
async def test_F_13_the_mode_of_a_replaced_file(row: Row, size: int, mode: int) -> None:
    """Success: a file keeps its mode if it is replaced and ours; it never gets another user. D2."""
    row.plant("f", b"old").chmod(mode)
    row.expect(await row.download(size=size, existing="overwrite"), disk="D2", requests=1)
    assert stat.S_IMODE((row.dest / "f").stat().st_mode) == mode & 0o777


@SIZES
async def test_F_13_the_mode_of_somebody_elses_file(row: Row, size: int) -> None:
    """Success: it is replaced by one of our own mode. D2."""
    needs_root("giving a file away")
    old = row.plant("f", b"old")
    old.chmod(0o606)
    os.chown(old, 65534, 65534)
    row.expect(await row.download(size=size, existing="overwrite"), disk="D2", requests=1)
    assert stat.S_IMODE((row.dest / "f").stat().st_mode) == 0o644
    assert (row.dest / "f").stat().st_uid == os.geteuid()


@SIZES
async def test_F_13_a_directory_that_hands_on_its_group(row: Row, size: int) -> None:
    """Success: the file belongs to the directory's group. D2."""
    needs_root("giving a directory away")
    row.dest.mkdir()
    os.chown(row.dest, 0, 65534)
    row.dest.chmod(0o2775)
    row.expect(await row.download(size=size), disk="D2", requests=1)
    status = (row.dest / "f").stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (65534, 0o644)


LONGEST = ["a" * 255, "é" * 127 + "a", "漢" * 85, "🙂" * 63 + "abc", "a" * 251 + ".zip"]


@SIZES
@pytest.mark.parametrize("name", LONGEST, ids=["ascii", "2 bytes", "3 bytes", "4 bytes", "ending"])
async def test_F_15_the_longest_name(row: Row, size: int, name: str) -> None:
    """Success; the names beside it are no longer than 255 bytes either. D2."""
    files = {name: row.emulator.blob_content(size, name="f")}
    seen = set[str]()
    async with row.attempt(files) as attempt:
        source = Source.from_url(row.url("rate=30m", size, name="f"), name)
        async with download_many([source], row.dest, max_connections=1) as downloads:
            while downloads.progress.items_done == 0:
                seen |= {each.name for each in row.dest.iterdir()}
                await trio.sleep(0.002)
            attempt.results[name] = await anext(downloads)
    row.expect(attempt, disk="D2", requests=1)
    assert all(len(each.encode()) <= 255 for each in seen)
    assert size < MiB or len(seen) > 1


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "漢" * 85 + "a", "🙂" * 64])
async def test_F_15_a_name_that_is_too_long(row: Row, name: str) -> None:
    """FileNameError before any request. D0."""
    async with row.attempt({}) as attempt:
        async with download_many([Source.from_url(row.url(), name)], row.dest, max_connections=1) as downloads:
            result = await anext(downloads)
    assert type(result.error) is errors.FileNameError
    row.show("the error", result.error)
    assert attempt.problems == []
    assert attempt.requests == []
    assert list(row.dest.iterdir()) == []


@pytest.mark.parametrize(("length", "is_fine"), [(4000, True), (4096, False)])
async def test_F_15_the_longest_path(row: Row, length: int, is_fine: bool) -> None:
    """Success up to what the system takes; LocalFileError before any request beyond it. D2, D0."""
    level, dest = "d" * 100, row.tree / "work"
    while len(str(dest)) + 1 + len(level) <= length:
        dest /= level
    dest /= "e" * max(1, length - len(str(dest)) - 1)
    async with row.attempt({}, anything_below=row.tree / "work" / level) as attempt:
        async with download_many([Source.from_url(row.url(), "f")], dest) as downloads:
            assert (await anext(downloads)).error is None
            assert (dest / "f").stat().st_size == MiB
    assert attempt.problems == []
    assert (attempt.error is None) == is_fine
    if not is_fine:
        assert type(attempt.error) is errors.LocalFileError
        assert attempt.requests == []
