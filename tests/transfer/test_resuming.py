"""What an earlier run left is taken up where it can be trusted, and nowhere else."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.destinations import QUICK, Destination, bytes_of, results_of, sha256_of, until
from trio_norman import DownloadResult, Outcome, Source, download_many, errors
from trio_norman._sansio.heads import Version
from trio_norman._sansio.journal import Header, Owner, encode_header, encode_span, encode_version
from trio_norman._sansio.ranges import ByteRange
from trio_norman.emulator import Emulator

pytestmark = pytest.mark.usefixtures("each_pump")
MiB = 2**20
SIZE = 6 * MiB


async def download(url: str, dest: Destination, *, size: int | None = SIZE, **digests: str) -> DownloadResult:
    source = Source.from_url(url, "f", size_bytes=size, digests=digests)
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    return result


async def leave_a_partial(emulator: Emulator, dest: Destination, *, size: int | None = SIZE) -> None:
    """Break off a download in its middle, as Ctrl-C does."""
    url = emulator.blob_url(SIZE, stall=3 * MiB)
    async with download_many([Source.from_url(url, "f", size_bytes=size)], dest.path, max_connections=1) as downloads:
        await until(lambda: downloads.progress.received_bytes >= 2 * MiB)


def wanted_ranges(emulator: Emulator) -> list[str | None]:
    return [request.headers.get("range") for request in emulator.requests.of("storage")]


@pytest.mark.parametrize("size", [SIZE, None], ids=["size announced", "size unknown"])
async def test_a_broken_off_download_goes_on_where_it_was(
    size: int | None, emulator: Emulator, dest: Destination
) -> None:
    await leave_a_partial(emulator, dest, size=size)
    assert dest.partial_is_right("f", emulator.blob_content(SIZE))
    emulator.requests.clear()
    result = await download(emulator.blob_url(SIZE), dest, size=size)
    assert result.outcome is Outcome.OK
    assert result.resumed_bytes >= 2 * MiB
    assert result.received_bytes == SIZE - result.resumed_bytes
    (request,) = emulator.requests.of("storage")
    assert request.headers["range"].startswith(f"bytes={result.resumed_bytes}-")
    assert request.headers["if-range"].startswith('"')
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))} == {"f": result.sha256}
    assert dest.hidden() == set()


async def test_a_changed_object_is_fetched_anew(emulator: Emulator, dest: Destination) -> None:
    await leave_a_partial(emulator, dest)
    result = await download(emulator.blob_url(SIZE, flip=0), dest)
    assert result.received_bytes == SIZE
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE, version=1))}


async def test_another_source_of_the_same_name_does_not_inherit_bytes(emulator: Emulator, dest: Destination) -> None:
    await leave_a_partial(emulator, dest)
    result = await download(emulator.blob_url(SIZE, name="other"), dest)
    assert (result.outcome, result.resumed_bytes) == (Outcome.OK, 0)
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE, name="other"))}


async def test_without_a_validator_and_a_digest_nothing_is_resumed(emulator: Emulator, dest: Destination) -> None:
    unknowable: dict[str, Any] = {"etag": "none", "lm": "none", "nodigest": 1}
    url = emulator.blob_url(SIZE, stall=3 * MiB, **unknowable)
    async with download_many([Source.from_url(url, "f", size_bytes=SIZE)], dest.path, max_connections=1) as downloads:
        await until(lambda: downloads.progress.received_bytes >= 2 * MiB)
    result = await download(emulator.blob_url(SIZE, **unknowable), dest)
    assert (result.outcome, result.resumed_bytes) == (Outcome.OK, 0)


def craft(dest: Destination, *, data: bytes, journal: bytes) -> None:
    dest.path.mkdir()
    (dest.path / ".f.part").write_bytes(data)
    (dest.path / ".f.part.json").write_bytes(journal)


def journal_of(url: str, validator: str | None, *spans: ByteRange, synced: bool = True) -> bytes:
    gone = Owner(os.uname().nodename, "another boot", 1, 1)
    lines = [encode_header(Header(url.split("?")[0], gone)), encode_version(Version(SIZE, validator))]
    return b"".join([*lines, *(encode_span(span, synced=synced) for span in spans)])


async def etag_of(emulator: Emulator, url: str) -> str:
    import httpx

    async with httpx.AsyncClient() as client:
        return (await client.head(url)).headers["etag"]


async def test_a_crafted_sidecar_with_holes_is_filled_up(emulator: Emulator, dest: Destination) -> None:
    url = emulator.blob_url(SIZE, signed=False)
    content = bytes_of(emulator.blob_content(SIZE))
    holes = bytes(MiB) + content[MiB : 2 * MiB] + bytes(MiB) + content[3 * MiB : 4 * MiB]
    spans = ByteRange(MiB, 2 * MiB), ByteRange(3 * MiB, 4 * MiB)
    craft(dest, data=holes, journal=journal_of(url, await etag_of(emulator, url), *spans))
    emulator.requests.clear()
    result = await download(url, dest)
    assert (result.outcome, result.resumed_bytes, result.received_bytes) == (Outcome.OK, 2 * MiB, 4 * MiB)
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))}


async def test_after_a_power_cut_only_synced_spans_count(emulator: Emulator, dest: Destination) -> None:
    url = emulator.blob_url(SIZE, signed=False)
    journal = journal_of(url, await etag_of(emulator, url), ByteRange(0, MiB), synced=False)
    craft(dest, data=bytes(MiB), journal=journal)  # the bytes never reached the disk
    result = await download(url, dest)
    assert (result.outcome, result.resumed_bytes) == (Outcome.OK, 0)


@pytest.mark.parametrize("damage", ["truncated", "garbled", "empty", "another format", "more than the file"])
async def test_a_sidecar_that_cannot_be_trusted_means_starting_anew(
    damage: str, emulator: Emulator, dest: Destination
) -> None:
    url = emulator.blob_url(SIZE, signed=False)
    content = bytes_of(emulator.blob_content(SIZE))
    journal = journal_of(url, await etag_of(emulator, url), ByteRange(0, 2 * MiB))
    damaged = {
        "truncated": journal[:40],
        "garbled": b"x" + journal,
        "empty": b"",
        "another format": json.dumps({"version": 99}).encode() + b"\n",
        "more than the file": journal,
    }[damage]
    data = content[: MiB if damage == "more than the file" else 2 * MiB]
    craft(dest, data=data, journal=damaged)
    result = await download(url, dest)
    assert (result.outcome, result.resumed_bytes) == (Outcome.OK, 0)
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))}
    assert dest.hidden() == set()


async def test_wrong_bytes_that_a_sidecar_vouches_for_are_caught_by_the_digest(
    emulator: Emulator, dest: Destination
) -> None:
    url = emulator.blob_url(SIZE, signed=False)
    craft(dest, data=bytes(SIZE), journal=journal_of(url, await etag_of(emulator, url), ByteRange(0, 2 * MiB)))
    result = await download(url, dest)
    assert result.outcome is Outcome.OK
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))}


async def test_a_larger_partial_leaves_no_tail(emulator: Emulator, dest: Destination) -> None:
    craft(dest, data=bytes(2 * SIZE), journal=b"")
    result = await download(emulator.blob_url(SIZE), dest)
    assert result.outcome is Outcome.OK
    assert (dest.path / "f").stat().st_size == SIZE


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "directory"])
async def test_a_planted_partial_is_not_followed(
    kind: str, emulator: Emulator, dest: Destination, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    dest.path.mkdir()
    if kind == "symbolic link":
        (dest.path / ".f.part").symlink_to(victim)
    elif kind == "hard link":
        (dest.path / ".f.part").hardlink_to(victim)
    else:
        (dest.path / ".f.part").mkdir()
    result = await download(emulator.blob_url(SIZE), dest)
    assert victim.read_bytes() == b"precious"
    if kind == "directory":
        assert isinstance(result.error, errors.LocalFileError)
    else:
        assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))}


async def test_one_of_two_downloads_of_one_name_is_told_that_it_is_busy(emulator: Emulator, dest: Destination) -> None:
    url = emulator.blob_url(SIZE, stall=3 * MiB)
    async with download_many([Source.from_url(url, "f", size_bytes=SIZE)], dest.path, max_connections=1) as first:
        await until(lambda: first.progress.received_bytes > 0)
        second = await download(emulator.blob_url(SIZE), dest)
    assert isinstance(second.error, errors.DestinationBusyError)
    assert second.error.retryable
    assert dest.partial_is_right("f", emulator.blob_content(SIZE))


async def test_the_partial_of_a_killed_process_is_taken_over(emulator: Emulator, dest: Destination) -> None:
    url = emulator.blob_url(SIZE, stall=3 * MiB)
    program = """
import sys, trio
from trio_norman import Source, download_many
async def main():
    source = Source.from_url(sys.argv[1], "f", size_bytes=int(sys.argv[3]))
    async with download_many([source], sys.argv[2], max_connections=1) as downloads:
        async for result in downloads:
            print(result)
trio.run(main)
"""
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-c", program, url, str(dest.path), str(SIZE)]
        process = await nursery.start(functools.partial(trio.run_process, command, check=False))
        sidecar = dest.path / ".f.part.json"
        await until(lambda: sidecar.exists() and sidecar.read_bytes().count(b"\n") >= 4)
        busy = await download(emulator.blob_url(SIZE), dest)
        process.kill()
    assert isinstance(busy.error, errors.DestinationBusyError)
    result = await download(emulator.blob_url(SIZE), dest)
    assert result.outcome is Outcome.OK
    assert result.resumed_bytes >= MiB
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))}
    assert dest.hidden() == set()


async def test_a_complete_partial_is_verified_and_published_without_a_request(
    emulator: Emulator, dest: Destination
) -> None:
    url = emulator.blob_url(SIZE, signed=False)
    journal = journal_of(url, await etag_of(emulator, url), ByteRange(0, SIZE))
    craft(dest, data=bytes_of(emulator.blob_content(SIZE)), journal=journal)
    emulator.requests.clear()
    result = await download(url, dest, sha256=sha256_of(emulator.blob_content(SIZE)))
    assert (result.outcome, result.received_bytes, result.verified_by) == (Outcome.OK, 0, ("sha256",))
    assert wanted_ranges(emulator) == []


async def test_a_durable_download_syncs_on_its_way_however_short_the_answers_are(
    emulator: Emulator, dest: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, fdatasync = 0, os.fdatasync

    def count(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", count)
    url = emulator.blob_url(80 * MiB, reset=12 * MiB)  # every answer brings less than what a sync is due after
    result = await download(url, dest, size=80 * MiB)
    assert (result.outcome, syncs) == (Outcome.OK, 1)
