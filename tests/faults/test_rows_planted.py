"""Partials that were planted, harmed or left behind: rows F-08, F-10, F-12, F-14, F-16 to F-18, P-07 and P-10."""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.cli.commandline import COMMAND
from tests.destinations import QUICK, bytes_of, sha256_of, until
from tests.faults.disks import failing, mounted, needs_root, program
from tests.faults.partials import identity_of
from tests.faults.peers import open_peer, receive_head
from tests.faults.rows import MiB, Row
from trio_norman import DownloadStarted, Source, StallLimit, download_many, errors
from trio_norman._sansio.heads import Version
from trio_norman._sansio.journal import Header, Owner, encode_header, encode_release, encode_span, encode_version
from trio_norman._sansio.ranges import ByteRange
from trio_norman.transfer._owners import this_process

SIZE = 3 * MiB
PART, SIDECAR = ".f.part", ".f.part.json"


async def leave_a_partial(row: Row, size: int = SIZE, at: int = 2 * MiB) -> None:
    """Do what an earlier run did that was cut off."""
    attempt = await row.download(f"reset={at}&times=9", size, retry=attrs.evolve(QUICK, attempts=1))
    row.expect_error(attempt, errors.InterruptedTransferError, disk="D1")


# ---- planted


@pytest.mark.parametrize("name", [PART, SIDECAR])
@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "hard link", "fifo", "somebody's"])
async def test_F_08_something_was_planted(row: Row, name: str, kind: str) -> None:
    """Success with a fresh partial; what was planted is not followed, and its target stays. D2."""
    victim = row.tree / "work" / "victim"
    victim.write_bytes(b"precious")
    row.dest.mkdir()
    planted = row.dest / name
    match kind:
        case "symbolic link":
            planted.symlink_to(victim)
        case "dangling link":
            planted.symlink_to(row.tree / "nothing")
        case "hard link":
            planted.hardlink_to(victim)
        case "fifo":
            os.mkfifo(planted)
        case _:
            needs_root("giving a file away")
            blocking = encode_header(Header(identity_of(row, SIZE), this_process()))
            planted.write_bytes(b"x" * 9 * MiB if name == PART else blocking)  # we seem to be at it already
            planted.chmod(0o666)
            os.chown(planted, 65534, 65534)
    kept = os.open(planted, os.O_PATH | os.O_NOFOLLOW)  # its number is given to no other file as long as this is open
    try:
        row.expect(await row.download(size=SIZE, within=5), disk="D2", requests=1)
        status = (row.dest / "f").stat()
        assert not os.path.samestat(status, os.fstat(kept))
    finally:
        os.close(kept)
    assert status.st_uid == os.geteuid()
    assert victim.stat().st_nlink == 1


@pytest.mark.parametrize("name", [PART, SIDECAR])
async def test_F_08_a_directory_was_planted(row: Row, name: str) -> None:
    """LocalFileError; the directory stays with what is in it."""
    (row.dest / name).mkdir(parents=True)
    (row.dest / name / "precious").write_bytes(b"precious")
    attempt = await row.download(size=SIZE, within=5)
    attempt.unjudged.clear()  # the partial's name is taken from the start: neither D0 nor D1 can be seen here
    assert type(attempt.error_of("f")) is errors.LocalFileError
    assert attempt.problems == []
    assert (row.dest / name / "precious").read_bytes() == b"precious"
    assert not (row.dest / "f").exists()
    assert len(attempt.requests) <= 1


# ---- harmed while it is being written


def remove(part: Path) -> None:
    part.unlink()


def cut_off(part: Path) -> None:
    os.truncate(part, 0)


def cut_a_little(part: Path) -> None:
    os.truncate(part, part.stat().st_size - 1000)


def replace(part: Path) -> None:
    part.unlink()
    part.write_bytes(bytes(SIZE))


def replace_by_a_link(part: Path) -> None:
    part.unlink()
    part.symlink_to("/etc/hostname")


LENGTH, CHUNKED = b"Content-Length: %d\r\n" % SIZE, b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("framing", "has_digest", "quiet"),
    [(LENGTH, True, 0), (LENGTH, False, 0.2), (CHUNKED, False, 0.05)],
    ids=["with a digest", "without", "chunked"],
)
@pytest.mark.parametrize("harm", [remove, cut_off, cut_a_little, replace, replace_by_a_link])
async def test_F_10_the_partial_is_harmed(
    row: Row, harm: Callable[[Path], None], framing: bytes, has_digest: bool, quiet: float
) -> None:
    """ChecksumMismatchError, or success after a restart; never wrong bytes. D0, D2."""
    content = row.emulator.blob_content(SIZE, name="f")
    body, half, part = bytes_of(content), SIZE // 2, row.dest / PART
    reached = half if framing is LENGTH else MiB  # pieces are gathered until there is enough to write
    digest = b"Repr-Digest: sha-256=:%s:\r\n" % base64.b64encode(bytes.fromhex(sha256_of(content)))

    async def send(stream: trio.SocketStream, piece: bytes) -> None:
        await stream.send_all(piece if framing is LENGTH else b"%x\r\n%s\r\n" % (len(piece), piece))

    async def behave(stream: trio.SocketStream, number: int) -> None:
        await receive_head(stream)
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n%s%s\r\n" % (framing, digest if has_digest else b"")
        )
        await send(stream, body[:half])
        if number == 0:
            await until(lambda: part.exists() and part.stat().st_size >= reached)
            await trio.sleep(quiet)  # until another visit of the writing thread, or until nothing is being written
            harm(part)
        await send(stream, body[half:])
        await stream.send_all(b"" if framing is LENGTH else b"0\r\n\r\n")

    async with open_peer(behave) as peer:
        attempt = await row.download_url(f"{peer.root}/f", content=content, stall=StallLimit())
    if attempt.result.error is None:  # it was noticed when all was read, and fetched once more
        assert harm in (cut_off, cut_a_little)
        row.expect(attempt, disk="D2", requests=2)
    elif harm in (remove, cut_off, cut_a_little):
        row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0", requests=2)
    else:  # what lies there now is a stranger's, and not ours to remove
        attempt.unjudged.clear()
        assert attempt.problems == []
        assert type(attempt.result.error) is errors.ChecksumMismatchError
        assert peer.connections <= 2
        assert os.listdir(row.dest) == [PART]
        assert harm is replace_by_a_link or part.read_bytes() == bytes(SIZE)


# ---- longer than the file


@pytest.mark.parametrize("how", ["noted", "without a sidecar", "garbled", "smaller version"])
async def test_F_12_a_partial_that_is_longer_than_the_file(row: Row, how: str) -> None:
    """Success: there is no stale tail. D2."""
    if how in ("noted", "smaller version"):
        await leave_a_partial(row, 6 * MiB, 5 * MiB)
        if how == "noted":  # what belongs to the present version, and more behind it
            with (row.dest / PART).open("ab") as part:
                part.write(b"stale" * MiB)
    else:
        row.plant(PART, b"stale" * MiB).chmod(0o600)
        if how == "garbled":
            row.plant(SIDECAR, b"garbled\n").chmod(0o600)
    size = 6 * MiB if how == "noted" else SIZE
    row.expect(await row.download(size=size), disk="D2", requests=2)


# ---- tidying up


@pytest.mark.parametrize("name", [PART, SIDECAR])
async def test_F_14_only_ones_own_files_are_removed(row: Row, name: str) -> None:
    """ChecksumMismatchError; what somebody else has put in the partial's place stays."""
    async with row.attempt({"f": row.emulator.blob_content(SIZE, name="f")}) as attempt:
        async with download_many(
            [row.source("rate=12m&corrupt=9", SIZE)], row.dest, max_connections=1, retry=QUICK
        ) as downloads:
            await until(lambda: downloads.progress.received_bytes > MiB)
            (row.dest / name).unlink()
            (row.dest / name).write_bytes(b"precious")
            attempt.results["f"] = await anext(downloads)
    attempt.unjudged.clear()
    assert attempt.problems == []
    assert type(attempt.result.error) is errors.ChecksumMismatchError
    assert {path.name: path.read_bytes() for path in row.dest.iterdir()} == {name: b"precious"}


@pytest.mark.parametrize(("fault", "kind"), [("status=404", errors.NotFoundError), ("cl=x", errors.ProtocolError)])
async def test_F_14_nothing_is_left_of_what_never_began(
    row: Row, fault: str, kind: type[errors.TrioNormanError]
) -> None:
    """The fault's own error; neighbours stay. D0."""
    row.plant("neighbour", b"precious")
    row.plant(".g.part", b"of another one")
    row.expect_error(await row.download(fault, SIZE, is_sized=True), kind, disk="D0")


# ---- file systems


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_F_16_another_file_system_than_that_of_temporary_files(row: Row, kind: str) -> None:
    """Success: the partial lies beside the final name from its first byte, and TMPDIR stays empty. D2."""
    with mounted(kind, row.dest, 16):
        async with row.attempt({"f": row.emulator.blob_content(SIZE, name="f")}) as attempt:
            async with download_many([row.source("rate=20m", SIZE)], row.dest, max_connections=1) as downloads:
                await until(lambda: (row.dest / PART).exists())
                inode = (row.dest / PART).stat().st_ino
                attempt.results["f"] = await anext(downloads)
        assert (row.dest / "f").stat().st_ino == inode
        if (row.dest / "lost+found").exists():
            (row.dest / "lost+found").rmdir()
        row.expect(attempt, disk="D2", requests=1)
        small = await row.download_all([row.source(size=1000, name="g")])
        row.expect(small, disk="D2", requests=1)
        assert os.listdir(tempfile.gettempdir()) == []


@pytest.mark.parametrize("size", [5000, SIZE])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
async def test_F_17_directories_cannot_be_synced(
    row: Row, code: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success. D2."""

    def is_directory(fd: int) -> bool:
        return stat.S_ISDIR(os.fstat(fd).st_mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync, code, only=is_directory))
        row.expect(await row.download(size=size), disk="D2", requests=1)


@pytest.mark.parametrize("size", [5000, SIZE])
async def test_F_17_syncing_the_directory_fails(row: Row, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """LocalFileError: the file has its name, and nothing shows that it would have it after a power cut."""

    def is_directory(fd: int) -> bool:
        return stat.S_ISDIR(os.fstat(fd).st_mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync, errno.EIO, only=is_directory))
        attempt = await row.download(size=size)
    attempt.unjudged.clear()
    assert attempt.problems == []
    assert type(attempt.result.error) is errors.LocalFileError
    assert (row.dest / "f").read_bytes() == bytes_of(row.emulator.blob_content(size, name="f"))
    assert os.listdir(row.dest) == ["f"]
    row.plant("other", b"")
    assert (row.dest / "f").stat().st_mode == (row.dest / "other").stat().st_mode  # no longer that of a partial
    row.expect(await row.download(size=size), disk="D3")  # the next run finds it, and no partial


@pytest.mark.parametrize("size", [5000, SIZE])
@pytest.mark.parametrize("has_twin", [False, True])
async def test_F_17_no_hard_links(row: Row, size: int, has_twin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Success; what is there already is still not replaced. D2, D0."""
    monkeypatch.setattr(os, "link", failing(os.link, errno.EOPNOTSUPP))
    if has_twin:
        row.plant("f", b"x" * size)
        row.expect_error(await row.download(size=size), errors.DestinationExistsError, disk="D0")
    else:
        row.expect(await row.download(size=size), disk="D2", requests=1)


@pytest.mark.parametrize(
    ("one", "other"), [("File.bin", "file.BIN"), ("stra\u00dfe", "STRASSE"), ("\u00e9", "e\u0301")]
)
async def test_F_17_names_that_some_file_systems_take_for_the_same(row: Row, one: str, other: str) -> None:
    """FileNameError for the later one, before any byte of it. D2, D0.

    Not on such a file system: many a kernel cannot mount an ext4 with ``casefold``, although it can be made.
    """
    first = Source.from_url(row.url(size=5000, name="f"), one)
    async with row.attempt({one: row.emulator.blob_content(5000, name="f")}) as attempt:
        async with download_many(
            [first, Source.from_url(row.url(size=5000, name="g"), other)], row.dest, max_connections=1
        ) as downloads:
            results = [result async for result in downloads]
    (refused,) = [result for result in results if result.error is not None]
    (attempt.results[one],) = [result for result in results if result.error is None]
    row.expect(attempt, one, disk="D2", requests=1)
    assert type(refused.error) is errors.FileNameError
    assert refused.source.name == other


async def test_F_18_few_descriptors_and_many_files(row: Row) -> None:
    """Success with as many files at once as descriptors allow; none is lost. D2."""
    names = [f"f{number}" for number in range(200)]
    size = [MiB + 1 if number % 10 == 0 else 2000 for number in range(200)]
    listing = row.tree / "home" / "list"
    lines = [f"{row.url(size=size[at], name=name, signed=False)}\t{name}" for at, name in enumerate(names)]
    listing.write_text("\n".join(lines))
    files = {name: bytes_of(row.emulator.blob_content(size[at], name=name)) for at, name in enumerate(names)}
    for jobs in ("32", "8"):
        async with row.attempt(files, within=30) as attempt:
            ended = await _run_with_descriptors(row, 64, "fetch", listing, "--to", row.dest, "-j", jobs)
        row.show("what it said", ended.stderr + ended.stdout)
        assert ended.returncode == 0, ended.stderr.decode()[-2000:]
        row.expect_all(attempt, requests=200)
        for name in names:
            (row.dest / name).unlink()


async def _run_with_descriptors(row: Row, most: int, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    limited = [program("prlimit"), f"--nofile={most}", *COMMAND, *map(str, words)]
    return await trio.run_process(
        limited,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=row.shell.environment(),
        cwd=row.tree / "home",
    )


# ---- left behind


async def craft(
    row: Row, owner: Owner, *, is_released: bool = False, first_line: Callable[[str], bytes] | None = None
) -> None:
    """Put a partial there, half of it right, as some owner would have left it."""
    await leave_a_partial(row)
    sidecar = row.dest / SIDECAR
    lines = sidecar.read_bytes().splitlines(keepends=True)
    identity = json.loads(lines[0])[2]
    kept = [line for line in lines[1:] if json.loads(line)[0] != "released"]
    first = encode_header(Header(identity, owner)) if first_line is None else first_line(identity)
    sidecar.write_bytes(b"".join([first, *kept, *([encode_release()] if is_released else [])]))


def dead_process() -> int:
    """Return the id of a process that has ended."""
    return int(subprocess.run(["/bin/sh", "-c", "echo $$"], capture_output=True, check=True).stdout)


@pytest.mark.parametrize("who", ["dead", "number given anew", "another boot", "let go"])
async def test_P_07_what_a_dead_owner_left(row: Row, who: str) -> None:
    """Success without asking: what is trusted of it is taken over. D2."""
    me = this_process()
    owner = {
        "dead": attrs.evolve(me, process=dead_process()),
        "number given anew": attrs.evolve(me, started=me.started - 1),
        "another boot": attrs.evolve(me, boot="another boot"),
        "let go": me,
    }[who]
    await craft(row, owner, is_released=who == "let go")
    again = await row.download("", SIZE)
    row.expect(again, disk="D2")
    assert (again.result.resumed_bytes > 0) == (who != "another boot")  # nothing of it was synced


FOREIGN: dict[str, dict[str, Any]] = {
    "another machine": {"host": "elsewhere"},
    "another container": {"namespace": 1, "process": 2**22 + 1},  # nobody has that number here
}


@pytest.mark.parametrize("who", ["living", *FOREIGN])
async def test_P_07_a_living_owner(row: Row, who: str) -> None:
    """DestinationBusyError before any request: two never write one partial. D1."""
    await craft(row, attrs.evolve(this_process(), **FOREIGN.get(who, {})))
    attempt = await row.download("", SIZE, is_sized=True)
    error = row.expect_error(attempt, errors.DestinationBusyError, disk="D1", requests=0)
    assert error.retryable


@pytest.mark.parametrize("who", FOREIGN)
async def test_P_07_another_machine_that_is_silent_for_long(row: Row, who: str) -> None:
    """Success: it is taken over. D2."""
    await craft(row, attrs.evolve(this_process(), **FOREIGN[who]))
    long_ago = (row.dest / SIDECAR).stat().st_mtime - 3600
    os.utime(row.dest / SIDECAR, (long_ago, long_ago))
    row.expect(await row.download("", SIZE), disk="D2")


CLAIM = ".f.part.json.take"


@pytest.mark.parametrize("who", ["dead", "living", "unnamed", "unnamed for long", "planted"])
async def test_P_07_killed_while_claiming(row: Row, who: str) -> None:
    """Success: a claim that was cut short is taken over, one that is being made is left alone. D2, D1."""
    dead = attrs.evolve(this_process(), process=dead_process())
    await craft(row, dead)
    claim = row.plant(CLAIM, b"")
    if who in ("dead", "living"):
        claim.write_bytes(encode_header(Header("some source", dead if who == "dead" else this_process())))
    elif who == "planted":
        claim.unlink()
        claim.symlink_to(row.tree / "nothing")
    elif who == "unnamed for long":
        os.utime(claim, (claim.stat().st_mtime - 60,) * 2)
    is_free = who not in ("living", "unnamed")
    async with row.attempt({"f": row.contents["f"], CLAIM: None}) as attempt:
        async with download_many([row.source("", SIZE, is_sized=True)], row.dest, max_connections=1) as downloads:
            attempt.results["f"] = await anext(downloads)
    if is_free:
        row.expect(attempt, "f", disk="D2")
        assert attempt.result.resumed_bytes > 0
        assert claim.name not in os.listdir(row.dest)
    else:
        row.expect_error(attempt, errors.DestinationBusyError, "f", disk="D1", requests=0)
        assert claim.exists()
    attempt.unjudged.discard(CLAIM)


def of_format(number: object) -> Callable[[str], bytes]:
    """Make first lines of another format, of a process that has died, with a right checksum."""

    def first_line(identity: str) -> bytes:
        dead = attrs.evolve(this_process(), process=dead_process())
        items = ["trio-norman", number, identity, dead.host, dead.boot, dead.process, dead.started]
        return json.dumps([*items, zlib.crc32(json.dumps(items).encode())]).encode() + b"\n"

    return first_line


@pytest.mark.parametrize("first", [of_format(0), of_format(2), of_format("1.0"), b'{"version": 2}\n', b"\n", b""])
async def test_P_10_a_sidecar_of_another_program_version(row: Row, first: bytes | Callable[[str], bytes]) -> None:
    """Success from the first byte on; that nothing was held is told. D2."""
    await craft(row, this_process(), first_line=(lambda _: first) if isinstance(first, bytes) else first)
    again = await row.download("", SIZE)
    row.expect(again, disk="D2", requests=1)
    assert (again.result.resumed_bytes, again.result.received_bytes) == (0, SIZE)
    assert [event.held_bytes for event in again.events if isinstance(event, DownloadStarted)] == [0]


async def test_P_10_a_sidecar_of_this_program_version(row: Row) -> None:
    """Success, resumed: nothing but the number tells the others apart. D2."""
    await craft(row, this_process(), first_line=of_format(1))
    again = await row.download("", SIZE)
    row.expect(again, disk="D2")
    assert again.result.resumed_bytes > 0


async def test_P_10_an_unknown_line_ends_what_is_believed(row: Row) -> None:
    """Success: what stands before a line that a newer version wrote is taken over. D2."""
    await leave_a_partial(row)
    sidecar = row.dest / SIDECAR
    lines = sidecar.read_bytes().splitlines(keepends=True)
    items = ["compressed", 5]
    unknown = json.dumps([*items, zlib.crc32(json.dumps(items).encode())]).encode() + b"\n"
    owner = attrs.evolve(this_process(), process=dead_process())
    first = encode_header(Header(json.loads(lines[0])[2], owner))
    more = [*encode_version(Version(SIZE)).splitlines(keepends=True), encode_span(ByteRange(0, SIZE), synced=True)]
    sidecar.write_bytes(b"".join([first, *lines[1:-1], unknown, *more]))
    again = await row.download("", SIZE)
    row.expect(again, disk="D2")
    assert 0 < again.result.resumed_bytes <= 2 * MiB
