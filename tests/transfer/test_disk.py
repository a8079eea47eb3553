"""A disk that refuses: typed errors, nothing lost that was written, nothing half-written under a final name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.destinations import QUICK, Destination, results_of, sha256_of, until
from trio_norman import DownloadResult, Outcome, Source, download_many, errors
from trio_norman.emulator import Emulator

pytestmark = pytest.mark.usefixtures("each_pump")
MiB = 2**20
SIZE = 4 * MiB


async def download(emulator: Emulator, dest: Destination, *, size: int = SIZE, **options: Any) -> DownloadResult:
    source = Source.from_url(emulator.blob_url(size), "f", size_bytes=size)
    async with download_many([source], dest.path, retry=QUICK, **options) as downloads:
        (result,) = await results_of(downloads)
    return result


def refusing(call: Callable[..., Any], code: int, *, after: int = 0) -> Callable[..., Any]:
    calls, is_splice = 0, call is os.splice

    def refuse(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        is_about_a_file = not is_splice or "offset_dst" in kwargs
        calls += is_about_a_file
        if is_about_a_file and calls > after:
            raise OSError(code, os.strerror(code))
        return call(*args, **kwargs)

    return refuse


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_full_disk_keeps_what_was_written(
    code: int, emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for call in ("splice", "pwrite", "pwritev"):
            patch.setattr(os, call, refusing(getattr(os, call), code, after=2))
        result = await download(emulator, dest)
    assert isinstance(result.error, errors.NoSpaceError)
    assert dest.partial_is_right("f", emulator.blob_content(SIZE))
    again = await download(emulator, dest)
    assert again.outcome is Outcome.OK
    assert again.resumed_bytes > 0


async def test_a_disk_that_cannot_splice_says_that_it_is_full(
    emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def full_beyond(fd: int, data: bytes, offset: int) -> int:
        room = 2 * MiB + 1000 - offset
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, memoryview(data)[: min(room, 100_000)], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "splice", refusing(os.splice, errno.EINVAL))
        patch.setattr(os, "pwrite", full_beyond)
        patch.setattr(os, "pwritev", lambda fd, buffers, offset: full_beyond(fd, b"".join(buffers), offset))
        result = await download(emulator, dest)
    assert isinstance(result.error, errors.NoSpaceError)
    assert dest.partial_is_right("f", emulator.blob_content(SIZE))
    again = await download(emulator, dest)
    assert again.outcome is Outcome.OK
    assert again.resumed_bytes > MiB


async def test_a_full_disk_leaves_nothing_of_a_small_file(
    emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", refusing(os.pwritev, errno.ENOSPC))
        result = await download(emulator, dest, size=1000)
    assert isinstance(result.error, errors.NoSpaceError)
    assert list(dest.path.iterdir()) == []


async def test_too_little_room_is_told_before_anything_is_asked(emulator: Emulator, dest: Destination) -> None:
    source = Source.from_url(emulator.blob_url(SIZE), "f", size_bytes=2**60)
    async with download_many([source], dest.path) as downloads:
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.NoSpaceError)
    assert emulator.requests.of("storage") == []
    assert dest.hidden() == set()


@pytest.mark.parametrize("name", ["fsync", "link"])
async def test_a_failure_at_the_very_end_is_no_success(
    name: str, emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, name, refusing(getattr(os, name), errno.EIO))
        result = await download(emulator, dest)
    assert isinstance(result.error, errors.LocalFileError)
    assert dest.visible() == {}
    assert (await download(emulator, dest)).outcome is Outcome.OK


async def test_short_writes_lose_nothing(
    emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwritev, pwrite, splice = os.pwritev, os.pwrite, os.splice

    def short_pwritev(fd: int, buffers: Sequence[bytes], offset: int) -> int:
        return pwritev(fd, [b"".join(buffers)[:1000]], offset)

    def short_pwrite(fd: int, data: bytes, offset: int) -> int:
        return pwrite(fd, bytes(data)[:300_000], offset)

    def short_splice(source: int, target: int, count: int, **options: Any) -> int:
        return splice(source, target, min(count, 5000), **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", short_pwritev)
        patch.setattr(os, "pwrite", short_pwrite)
        patch.setattr(os, "splice", short_splice)
        result = await download(emulator, dest)
    assert result.outcome is Outcome.OK
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))}


async def test_without_hard_links_everything_works_the_same(
    emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refusing(os.link, errno.EOPNOTSUPP))
    assert (await download(emulator, dest)).outcome is Outcome.OK
    assert (await download(emulator, dest)).outcome is Outcome.SKIPPED
    (dest.path / "f").write_bytes(b"another")
    assert isinstance((await download(emulator, dest)).error, errors.DestinationExistsError)
    assert dest.hidden() == set()


@pytest.mark.parametrize("damage", ["removed", "replaced"])
async def test_a_partial_that_somebody_replaces_meanwhile_is_noticed(
    damage: str, emulator: Emulator, dest: Destination
) -> None:
    source = Source.from_url(emulator.blob_url(SIZE, rate="8m"), "f", size_bytes=SIZE)
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        await until(lambda: downloads.progress.received_bytes > 0)
        part = dest.path / ".f.part"
        part.unlink()
        if damage == "replaced":
            part.write_bytes(bytes(SIZE))
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.ChecksumMismatchError)
    assert dest.visible() == {}


async def test_a_durable_file_is_synced_before_it_has_its_name(
    emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        call = getattr(os, name)

        def note(*args: Any, **kwargs: Any) -> Any:
            is_folder = name == "fsync" and Path(f"/proc/self/fd/{args[0]}").readlink().is_dir()
            calls.append("sync folder" if is_folder else name)
            return call(*args, **kwargs)

        return note

    for name in ("fsync", "link"):
        monkeypatch.setattr(os, name, noted(name))
    await download(emulator, dest)
    assert calls == ["fsync", "link", "sync folder"]
    calls.clear()
    (dest.path / "f").unlink()
    await download(emulator, dest, durable=False)
    assert "fsync" not in calls
    assert "sync folder" not in calls
