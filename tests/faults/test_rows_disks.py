"""Disks that are full, refuse, or write less than asked: rows F-01 to F-04 and F-09."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.commandline import COMMAND
from tests.faults.disks import calls_in, failing, into_a_file, is_partial, mounted, needs_root, strace
from tests.faults.rows import MiB, Row
from tests.faults.trees import partial_of
from tests.transfer.conftest import PUMPS
from trio_norman import Outcome, errors
from trio_norman._wire import _pump

SIZE = 5 * MiB
SMALL, LARGE = 100_000, 2 * MiB
NOBODY = 65534


@pytest.fixture(params=PUMPS)
def each_pump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_pump, "KINDS", PUMPS[request.param])
    return str(request.param)


# ---- full


@pytest.mark.usefixtures("each_pump")
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_F_01_the_disk_becomes_full(row: Row, kind: str) -> None:
    """NoSpaceError at once; what was written stays, and is gone on with when there is room. D1."""
    with mounted(kind, row.dest, 8 if kind == "ext4" else 6):
        ballast = row.plant("ballast", bytes(4 * MiB if kind == "ext4" else 3 * MiB))
        attempt = await row.download(size=SIZE)  # the size is not known before the answer, and then is too late
        row.expect_error(attempt, errors.NoSpaceError, disk="D0", requests=1)
        attempt = await row.download("chunked=1", SIZE)  # nothing tells the size
        error = row.expect_error(attempt, errors.NoSpaceError, disk="D1", requests=1)
        assert not error.retryable
        assert row.held() > MiB
        ballast.unlink()
        again = await row.download("", SIZE)
        row.expect(again, disk="D2")
        assert again.result.resumed_bytes > MiB


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_F_01_the_disk_is_full_already(row: Row, kind: str) -> None:
    """NoSpaceError before any request where the size is known, else as soon as it is. D0."""
    with mounted(kind, row.dest, 4):
        attempt = await row.download(size=64 * MiB, is_sized=True)
        row.expect_error(attempt, errors.NoSpaceError, disk="D0", requests=0)
        attempt = await row.download(size=64 * MiB)
        row.expect_error(attempt, errors.NoSpaceError, disk="D0", requests=1)


async def test_F_01_a_small_file_on_a_full_disk(row: Row) -> None:
    """NoSpaceError, and nothing is left of it. D0."""
    with mounted("tmpfs", row.dest, 1):
        row.plant("ballast", bytes(MiB - 50_000))
        attempt = await row.download(size=SMALL)
        row.expect_error(attempt, errors.NoSpaceError, disk="D0", requests=1)


async def test_F_01_room_for_one_of_two(row: Row) -> None:
    """NoSpaceError for the one, success for the other. D0, D2."""
    with mounted("tmpfs", row.dest, 4):
        attempt = await row.download_all([row.source(size=64 * MiB, name="g"), row.source(size=MiB + 1)])
        row.expect_error(attempt, errors.NoSpaceError, "g", disk="D0")
        row.expect(attempt, "f", disk="D2")


@pytest.mark.parametrize("is_torn", [False, True])
async def test_F_01_no_room_for_the_sidecar(row: Row, is_torn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """NoSpaceError; although nothing more can be noted, the partial is not taken for somebody's. D1, then D2."""
    write, calls = os.write, 0

    def write_to_full_disk(fd: int, data: bytes) -> int:
        nonlocal calls
        is_sidecar = ".json" in Path(f"/proc/self/fd/{fd}").readlink().name  # under the name that it was made with
        calls += is_sidecar
        if not is_sidecar or calls <= 4:
            return write(fd, data)
        if is_torn and calls == 5:
            return write(fd, data[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_to_full_disk)
        attempt = await row.download("rate=10m", SIZE)
        row.expect_error(attempt, errors.NoSpaceError, disk="D1", requests=1)
    row.expect(await row.download("", SIZE), disk="D2")


# ---- failing


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_F_02_syncing_fails(row: Row, code: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """LocalFileError or NoSpaceError; bytes that could not be synced are not trusted. D0."""
    kind = errors.LocalFileError if code == errno.EIO else errors.NoSpaceError
    with monkeypatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, failing(getattr(os, name), code, only=is_partial))
        row.expect_error(await row.download(size=size), kind, disk="D0", requests=1)
    again = await row.download(size=size)
    row.expect(again, disk="D2")
    assert again.result.resumed_bytes == 0


async def test_F_02_syncing_in_the_middle_fails(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """LocalFileError; what was noted before is not trusted either. D0."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(os.fdatasync, errno.EIO, only=is_partial))
        attempt = await row.download(size=80 * MiB, memory_mib=40)
        row.expect_error(attempt, errors.LocalFileError, disk="D0", requests=1)
        assert attempt.result.received_bytes < 80 * MiB


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("existing", ["verify", "overwrite"])
@pytest.mark.parametrize(("size", "disk"), [(SMALL, "D0"), (LARGE, "D1")])
@pytest.mark.rows("F-14")
async def test_F_02_renaming_fails(
    row: Row, size: int, disk: str, existing: Any, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LocalFileError or NoSpaceError; the old file stays, the complete partial too, a small one is removed. D1, D0."""
    kind = errors.LocalFileError if code == errno.EIO else errors.NoSpaceError
    call = "link" if existing == "verify" else "rename"
    if existing == "overwrite":
        row.plant("f", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(getattr(os, call), code, only=_is_final))
        attempt = await row.download(size=size, existing=existing)
        row.expect_error(attempt, kind, disk=disk, requests=1)
    again = await row.download(size=size, existing=existing)
    row.expect(again, disk="D2", requests=1)
    assert again.result.received_bytes <= SMALL + 1


@pytest.mark.rows("F-14")
async def test_F_02_naming_fails_where_all_files_have_names(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """LocalFileError; nothing is left of a small file where one cannot be written without a name. D0, then D2."""

    def is_nameless(path: object, flags: int, *args: Any, **kwargs: Any) -> bool:
        return flags & os.O_TMPFILE == os.O_TMPFILE

    monkeypatch.setattr(os, "open", failing(os.open, errno.EOPNOTSUPP, only=is_nameless))
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", failing(os.link, errno.EIO, only=_is_final))
        row.expect_error(await row.download(size=SMALL), errors.LocalFileError, disk="D0", requests=1)
    row.expect(await row.download(size=SMALL), disk="D2", requests=1)


def _is_final(old: str, new: str, *args: Any, **kwargs: Any) -> bool:
    return new == "f"


_RENAMING_FAILS = """
import errno, os
real = os.rename
def rename(old, new, **options):
    if new == "f":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    real(old, new, **options)
os.rename = rename
from trio_norman.cli import main
main()
"""


async def ended(row: Row, words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a program of the row's user to its end; what it says is searched for secrets."""
    done = await trio.run_process(
        words, capture_stdout=True, capture_stderr=True, check=False, env=row.shell.environment(), cwd=row.tree
    )
    row.show("what it said", done.stderr + done.stdout)
    return done


async def test_F_02_renaming_fails_at_the_command_line(row: Row) -> None:
    """Exit code 8, and the file is named. D0."""
    row.plant("f", b"old")
    row.contents["f"] = row.emulator.blob_content(SMALL, name="f")
    listing = row.tree / "home" / "list"
    listing.write_text(f"{row.url(size=SMALL, name='f', signed=False)}\tf\n")
    words = ["fetch", str(listing), "--to", str(row.dest), "--force"]
    async with row.attempt({"f": row.contents["f"]}) as attempt:
        done = await ended(row, [sys.executable, "-W", "error", "-c", _RENAMING_FAILS, *words])
    assert done.returncode == 8
    assert b"f: " in done.stderr
    assert b"Traceback" not in done.stderr
    row.expect_disk(attempt, disk="D0")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_F_02_closing_fails(
    row: Row, size: int, durable: bool, overwrite: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LocalFileError or NoSpaceError before the name is given if nothing was synced; else success. D0, D2."""
    close, kind = os.close, errors.LocalFileError if code == errno.EIO else errors.NoSpaceError
    existing = "overwrite" if overwrite else "verify"

    def close_badly(fd: int) -> None:
        was_partial = is_partial(fd)
        close(fd)
        if was_partial:
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close_badly)
        attempt = await row.download(size=size, durable=durable, existing=existing)
    if durable and (size == LARGE or not overwrite):
        row.expect(attempt, disk="D2", requests=1)
    else:
        row.expect_error(attempt, kind, disk="D0", requests=1)


# ---- limited


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("each_pump")
async def test_F_03_the_largest_file(row: Row) -> None:
    """NoSpaceError at the limit, and SIGXFSZ kills nobody. D1, and success without the limit."""
    with largest_file(3 * MiB):
        attempt = await row.download("rate=30m", SIZE)
    row.expect_error(attempt, errors.NoSpaceError, disk="D1", requests=1)
    row.expect(await row.download("", SIZE), disk="D2")


async def test_F_03_the_largest_file_and_a_small_one(row: Row) -> None:
    """NoSpaceError; nothing is left of a small file. D0."""
    with largest_file(SMALL // 2):
        attempt = await row.download(size=SMALL)
    row.expect_error(attempt, errors.NoSpaceError, disk="D0", requests=1)


# ---- read-only


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights; the last id stays, so that there is a way back."""
    needs_root("becoming another user")
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("mode", [0o755, 0o766, 0o644, 0o000])
@pytest.mark.parametrize("is_owner", [True, False])
async def test_F_04_a_directory_without_rights(row: Row, mode: int, is_owner: bool) -> None:
    """LocalFileError before any request. D0."""
    mode = mode & 0o577 if is_owner else mode  # its owner may not write; the others never may, or not enter
    row.dest.mkdir()
    if is_owner:
        os.chown(row.dest, NOBODY, NOBODY)
    row.dest.chmod(mode)
    async with row.attempt({"f": None}, within=2) as attempt:
        with as_nobody():
            await _download(row, Path(row.dest.name))
    row.dest.chmod(0o755)
    row.expect_error(attempt, errors.LocalFileError, disk="D0", requests=0)


async def test_F_04_a_directory_that_cannot_be_made(row: Row) -> None:
    """LocalFileError before any request. D0."""
    async with row.attempt({"f": None}, within=2) as attempt:
        with as_nobody():
            await _download(row, Path("missing/dest"))
    row.expect_error(attempt, errors.LocalFileError, disk="D0", requests=0)
    assert not (row.tree / "work" / "missing").exists()


async def test_F_04_a_read_only_file_system(row: Row) -> None:
    """LocalFileError before any request. D0."""
    with mounted("tmpfs", row.dest, 1):
        from tests.faults.disks import _run, program

        _run(program("mount"), "-o", "remount,ro", row.dest)
        async with row.attempt({"f": None}, within=2) as attempt:
            await _download(row, row.dest)
        row.expect_error(attempt, errors.LocalFileError, disk="D0", requests=0)


@pytest.mark.parametrize("where", ["work/file", "work/file/below"])
async def test_F_04_a_file_where_a_directory_should_be(row: Row, where: str) -> None:
    """LocalFileError before any request. D0."""
    (row.tree / "work" / "file").write_bytes(b"precious")
    async with row.attempt({"f": None}, within=2) as attempt:
        await _download(row, row.tree / where)
    row.expect_error(attempt, errors.LocalFileError, disk="D0", requests=0)


async def test_F_04_a_missing_directory_is_made(row: Row) -> None:
    """Success. D2."""
    assert not row.dest.exists()
    row.expect(await row.download(), disk="D2", requests=1)


@pytest.mark.usefixtures("each_pump")
async def test_F_04_read_only_in_the_middle(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """LocalFileError without another try; what was noted stays. D1."""
    refused, sidecar = Counter[str](), partial_of(row.dest, "f")[1]

    def read_only(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            if _is_of_a_file(call, args, kwargs) and (refused or (sidecar.exists() and row.held())):
                refused[call.__name__] += 1
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return call(*args, **kwargs)

        return refuse

    data, rest = ("splice", "pwrite", "pwritev"), ("fsync", "fdatasync", "ftruncate", "fchmod", "utime")
    with monkeypatch.context() as patch:
        for name in (*data, *rest, "write", "unlink", "rename", "link"):
            patch.setattr(os, name, read_only(getattr(os, name)))
        attempt = await row.download("rate=10m", 3 * MiB)
        row.expect_error(attempt, errors.LocalFileError, disk="D1", requests=1)
    assert row.held() > 0
    assert refused.keys() & data
    assert refused.keys() >= {"write", "utime"}  # the sidecar's last words


def _is_of_a_file(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if call.__name__ == "splice":
        return into_a_file(**kwargs)
    return not isinstance(args[0], int) or stat.S_ISREG(os.fstat(args[0]).st_mode)


async def _download(row: Row, dest: Path) -> None:
    from trio_norman import Source, download_many

    async with download_many([Source.from_url(row.url(), "f")], dest) as results:
        assert [result.outcome async for result in results] == [Outcome.FAILED]


# ---- short


def short(call: Callable[..., int], most: int) -> Callable[..., int]:
    def pwrite(fd: int, data: Any, offset: int) -> int:
        return call(fd, bytes(data)[:most], offset)

    def pwritev(fd: int, buffers: Sequence[bytes], offset: int) -> int:
        return call(fd, [b"".join(buffers)[:most]], offset)

    def splice(source: int, target: int, count: int, **options: Any) -> int:
        return call(source, target, min(count, most) if into_a_file(**options) else count, **options)

    fakes: dict[str, Callable[..., int]] = {"pwrite": pwrite, "pwritev": pwritev, "splice": splice}
    return fakes[call.__name__]


@pytest.mark.usefixtures("each_pump")
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("most", [997, 65_521])
async def test_F_09_short_writes(row: Row, most: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Success, exact. D2."""
    with monkeypatch.context() as patch:
        for name in ("pwrite", "pwritev", "splice"):
            patch.setattr(os, name, short(getattr(os, name), most))
        row.expect(await row.download(size=size), disk="D2", requests=1)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_F_09_writes_that_must_be_made_again(
    row: Row, each_pump: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success, exact: every other write to a file is told to come again. D2."""
    calls = Counter[str]()

    def come_again(call: Callable[..., int]) -> Callable[..., int]:
        def write(*args: Any, **kwargs: Any) -> int:
            if call.__name__ != "splice" or into_a_file(**kwargs):
                calls[call.__name__] += 1
                if calls[call.__name__] % 2:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return call(*args, **kwargs)

        return write

    with monkeypatch.context() as patch:
        for name in ("pwrite", "pwritev", "splice"):
            patch.setattr(os, name, come_again(getattr(os, name)))
        row.expect(await row.download(size=size), disk="D2", requests=1)
    by = {"splice": "splice", "buffer": "pwrite", "portable": "pwritev"}[each_pump]
    assert calls["pwritev" if size == SMALL else by] > 1


async def test_F_09_writes_that_a_signal_interrupts(row: Row, tmp_path: Path) -> None:
    """Success, exact: the interpreter makes a call again that the system has interrupted (PEP 475). D2."""
    log, listing, names = tmp_path / "calls", row.tree / "home" / "list", {"f": 2 * MiB, "g": SMALL}
    listing.write_text("".join(f"{row.url('', names[name], name=name, signed=False)}\t{name}\n" for name in names))
    calls = "splice,pwrite64,pwritev,pwritev2"
    interrupted = strace(log, "-e", f"trace={calls}", "-e", f"inject={calls}:error=EINTR:when=1+2")
    files = {name: row.emulator.blob_content(size, name=name) for name, size in names.items()}
    async with row.attempt(files) as attempt:
        await ended(row, [*interrupted, *COMMAND, "fetch", str(listing), "--to", str(row.dest)])
    row.expect_all(attempt, disk="D2", requests=2)
    injected = [call for call in calls_in(log, *calls.split(",")) if "INJECTED" in call]
    assert any(".f.part>, [" in call for call in injected)
    assert any(call.startswith("pwritev") for call in injected)
