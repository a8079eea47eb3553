"""What happens where the final name is taken."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.destinations import IMPATIENT, QUICK, Destination, bytes_of, results_of, sha256_of, until
from tests.transfer.fakes import FakeStore
from trio_norman import DownloadResult, Outcome, Secret, Source, download_many, errors
from trio_norman._sansio.ranges import ByteRange
from trio_norman._wire._fetching import Answer
from trio_norman.emulator import Emulator

MiB = 2**20
SIZES = pytest.mark.parametrize("size", [5000, 3 * MiB], ids=["small", "with a partial"])


async def download(
    url: str, dest: Destination, *, digests: dict[str, str] | None = None, **options: Any
) -> DownloadResult:
    source = Source.from_url(url, "f", digests=digests)
    async with download_many([source], dest.path, retry=QUICK, **options) as downloads:
        (result,) = await results_of(downloads)
    return result


def put(dest: Destination, body: bytes) -> os.stat_result:
    dest.path.mkdir(exist_ok=True)
    (dest.path / "f").write_bytes(body)
    return (dest.path / "f").stat()


@SIZES
async def test_the_same_file_is_skipped_and_not_touched(size: int, emulator: Emulator, dest: Destination) -> None:
    before = put(dest, bytes_of(emulator.blob_content(size)))
    result = await download(emulator.blob_url(size), dest)
    after = (dest.path / "f").stat()
    assert (result.outcome, result.verified_by, result.received_bytes) == (Outcome.SKIPPED, ("sha256", "crc64xz"), 0)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [request.headers.get("range") for request in emulator.requests.of("storage")] == ["bytes=0-0"]


async def test_a_known_digest_saves_even_the_question(emulator: Emulator, dest: Destination) -> None:
    put(dest, bytes_of(emulator.blob_content(5000)))
    digests = {"sha256": sha256_of(emulator.blob_content(5000))}
    result = await download(emulator.blob_url(5000), dest, digests=digests)
    assert result.outcome is Outcome.SKIPPED
    assert emulator.requests.of("storage") == []


@SIZES
@pytest.mark.parametrize("knobs", [{}, {"nodigest": 1}], ids=["digest announced", "nothing announced"])
async def test_another_file_is_left_alone_and_told(
    knobs: dict[str, Any], size: int, emulator: Emulator, dest: Destination
) -> None:
    put(dest, b"x" * size)
    result = await download(emulator.blob_url(size, **knobs), dest)
    assert isinstance(result.error, errors.DestinationExistsError)
    assert (dest.path / "f").read_bytes() == b"x" * size
    if dest.hidden():  # what had to be fetched for comparing is kept: asked to overwrite, it need not come again
        emulator.requests.clear()
        replaced = await download(emulator.blob_url(size, **knobs), dest, existing="overwrite")
        assert (replaced.outcome, replaced.received_bytes) == (Outcome.OK, 0)
    assert dest.hidden() == set()


@SIZES
async def test_without_any_announced_digest_the_content_is_fetched_and_compared(
    size: int, emulator: Emulator, dest: Destination
) -> None:
    before = put(dest, bytes_of(emulator.blob_content(size)))
    result = await download(emulator.blob_url(size, nodigest=1), dest)
    assert result.outcome is Outcome.SKIPPED
    assert (dest.path / "f").stat().st_ino == before.st_ino
    assert dest.hidden() == set()


@SIZES
async def test_overwriting_replaces_at_the_very_end(size: int, emulator: Emulator, dest: Destination) -> None:
    put(dest, b"old")
    failed = await download(emulator.blob_url(size, corrupt=1), dest, existing="overwrite")
    assert failed.outcome is Outcome.FAILED
    assert (dest.path / "f").read_bytes() == b"old"
    result = await download(emulator.blob_url(size), dest, existing="overwrite")
    assert result.outcome is Outcome.OK
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(size))}


async def test_keeping_asks_nobody(emulator: Emulator, dest: Destination) -> None:
    put(dest, b"old")
    result = await download(emulator.blob_url(5000), dest, existing="keep")
    assert result.outcome is Outcome.SKIPPED
    assert emulator.requests.of("storage") == []


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling link", "link to outside"])
async def test_what_is_no_regular_file_is_never_opened(
    kind: str, emulator: Emulator, dest: Destination, tmp_path: Path
) -> None:
    dest.path.mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    match kind:
        case "directory":
            (dest.path / "f").mkdir()
        case "fifo":
            os.mkfifo(dest.path / "f")
        case "dangling link":
            (dest.path / "f").symlink_to(tmp_path / "nothing")
        case _:
            (dest.path / "f").symlink_to(victim)
    with trio.fail_after(5):
        result = await download(emulator.blob_url(5000), dest)
    assert isinstance(result.error, errors.DestinationExistsError)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "nothing").exists()


@SIZES
async def test_a_file_that_appears_meanwhile_is_not_overwritten(
    size: int, emulator: Emulator, dest: Destination
) -> None:
    source = Source.from_url(emulator.blob_url(size, hdelay=0.2), "f")
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        await until(lambda: bool(emulator.requests.of("storage")))
        put(dest, b"quicker")
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.DestinationExistsError)
    assert (dest.path / "f").read_bytes() == b"quicker"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
async def test_finished_files_have_the_mode_that_the_umask_says(
    umask: int, emulator: Emulator, dest: Destination
) -> None:
    before = os.umask(umask)
    try:
        for size in (5000, 3 * MiB):
            await download(emulator.blob_url(size), dest, existing="overwrite")
            assert stat.S_IMODE((dest.path / "f").stat().st_mode) == 0o666 & ~umask
    finally:
        os.umask(before)


async def test_partial_files_are_private(emulator: Emulator, dest: Destination) -> None:
    source = Source.from_url(emulator.blob_url(3 * MiB, stall=2 * MiB), "f")
    async with download_many([source], dest.path) as downloads:
        await until(lambda: downloads.progress.received_bytes > 0)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in dest.path.iterdir()}
    assert modes == {0o600}


class _Odd:
    """A body that does not come, or one without end."""

    def __init__(self, *, is_endless: bool) -> None:
        self._is_endless = is_endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._is_endless:
            await trio.lowlevel.checkpoint()
            yield b"x"
        await trio.sleep_forever()


@pytest.mark.parametrize("is_endless", [True, False], ids=["endless", "silent"])
async def test_the_first_byte_is_neither_waited_for_nor_read_without_end(is_endless: bool, dest: Destination) -> None:
    store = FakeStore()
    source = store.source("f", b"x" * 100)
    put(dest, b"x" * 100)

    @asynccontextmanager
    async def fetch(url: Secret, span: ByteRange | None = None, if_range: str | None = None) -> AsyncIterator[Answer]:
        async with store.fetch(url, span, if_range) as answer:
            body = _Odd(is_endless=is_endless)
            yield answer if span is None else Answer(answer.url, answer.status, answer.headers, body)

    with trio.fail_after(5):
        async with download_many([source], dest.path, fetch=fetch, retry=QUICK, stall=IMPATIENT) as downloads:
            (result,) = await results_of(downloads)
    assert (result.error, result.outcome) == (None, Outcome.SKIPPED)
