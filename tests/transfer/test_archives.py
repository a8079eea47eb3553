"""Archives without an announced digest, read through against their own checksums: `verify="archive"`."""

from __future__ import annotations

import io
import zipfile
from functools import partial

import pytest
import trio

from tests.destinations import QUICK, Destination
from tests.transfer.fakes import FakeStore
from trio_norman import DownloadResult, Outcome, download_many, errors
from trio_norman.transfer._archives import check_archive

_NAME = "a.txt"
_AT = 30 + len(_NAME)  # where the entry's own bytes begin, behind its header
MiB = 2**20


def archive(method: int = zipfile.ZIP_DEFLATED, content: bytes = b"hello world " * 2000) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        opened.writestr(_NAME, content)
    return bytearray(file.getvalue())


async def download(dest: Destination, *bodies: bytes) -> list[DownloadResult]:
    store = FakeStore()
    sources = [store.source(f"f{number}", body) for number, body in enumerate(bodies)]
    async with download_many(sources, dest.path, 1, fetch=store.fetch, verify="archive", retry=QUICK) as downloads:
        return [result async for result in downloads]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("at", [_AT, _AT + 14])
async def test_a_broken_entry_is_the_error_of_its_item_alone(method: int, at: int, dest: Destination) -> None:
    good, bad = archive(method), archive(method)
    for place in range(at, at + 12):
        bad[place] ^= 0xFF
    broken, whole = await download(dest, bytes(bad), bytes(good))
    assert type(broken.error) is errors.ChecksumMismatchError
    assert _NAME in str(broken.error)
    assert whole.outcome is Outcome.OK
    assert list(dest.visible()) == ["f1"]
    assert dest.hidden() == set()


@pytest.mark.parametrize("how", ["encrypted", "unknown method"])
async def test_an_entry_that_cannot_be_read_proves_nothing_and_is_not_fetched_again(
    how: str, dest: Destination
) -> None:
    odd = archive()
    central = odd.index(b"PK\x01\x02")
    odd[central + 8 if how == "encrypted" else central + 10] |= 1 if how == "encrypted" else 97
    (result,) = await download(dest, bytes(odd))
    assert type(result.error) is errors.UnprovenError
    assert result.attempts == 1
    assert dest.hidden() | dest.visible().keys() == set()


async def test_a_directory_cut_short_is_no_archive(dest: Destination) -> None:
    (result,) = await download(dest, bytes(archive()[:-40]))
    assert type(result.error) is errors.ChecksumMismatchError


async def test_reading_a_long_entry_can_be_cancelled_after_each_step() -> None:
    class Slow(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.taken += len(found)
            if self.taken > MiB:
                trio.from_thread.run_sync(scope.cancel)
            return found

    file = Slow(archive(zipfile.ZIP_STORED, bytes(16 * MiB)))
    with trio.CancelScope() as scope:
        await trio.to_thread.run_sync(partial(check_archive, "f", lambda: file, entries=10, ratio=100))
    assert scope.cancelled_caught
    assert file.taken <= 4 * MiB
    assert file.closed
