"""Hostile archives under `verify="archive"`: they are read, within bounds, and nothing of them is ever written."""

from __future__ import annotations

import bz2
import io
import lzma
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.destinations import QUICK, results_of
from tests.faults.leftovers import forget_peak_memory, peak_mib, resident_mib
from tests.transfer.fakes import FakeStore
from trio_norman import Outcome, download_many
from trio_norman.errors import ChecksumMismatchError, TrioNormanError, UnprovenError
from trio_norman.transfer._archives import check_archive

MiB = 2**20
_ROOM = 32  # MiB that a check may take, whatever the archive
_SECONDS = 5.0


def archive(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for entry, content in entries:
            opened.writestr(entry, content)
    return file.getvalue()


def of_kind(name: str, kind: int) -> zipfile.ZipInfo:
    """Name an entry that is no regular file."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def one_entry_many_times(
    packed: bytes, times: int, *, method: int = zipfile.ZIP_STORED, size: int | None = None, crc: int = 0
) -> bytes:
    """Put an archive together whose every entry leads to the same bytes, and says of them what it likes."""
    length = len(packed) if size is None else size
    facts = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, crc, len(packed), length, 1, 0)
    listed = b"PK\x01\x02\x14\x03" + facts + bytes(14) + b"a"
    start = b"PK\x03\x04" + facts + b"a" + packed
    count, at = times.to_bytes(8, "little"), (len(start) + len(listed) * times).to_bytes(8, "little")
    span = struct.pack("<QQ", len(listed) * times, len(start))
    end = b"PK\x06\x06" + struct.pack("<QHHII", 44, 45, 45, 0, 0) + count + count + span
    end += b"PK\x06\x07" + bytes(4) + at + b"\x01\0\0\0" + b"PK\x05\x06" + bytes(4) + b"\xff" * 12 + bytes(2)
    return start + listed * times + end


def of_lzma(content: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": MiB, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 273}]
    header = b"\x09\x04\x05\x00" + struct.pack("<BI", 93, MiB)
    return header + lzma.compress(content, lzma.FORMAT_RAW, filters=filters)


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def all_below(home: Path) -> set[Path]:
    return set(home.rglob("*"))


#: What each of them makes of an unpacker that trusts it.
CORPUS: dict[str, Callable[[Path], bytes]] = {
    "climbs": lambda _: archive(("../evil", b"x"), ("a/../../evil", b"x"), ("..\\evil", b"x")),
    "is absolute": lambda home: archive((f"{home}/evil", b"x"), ("C:\\evil", b"x")),
    "begins like the destination": lambda _: archive(("../dest-evil", b"x")),
    "links and writes through it": lambda home: archive(
        (of_kind("away", stat.S_IFLNK), str(home).encode()), ("away/evil", b"x")
    ),
    "links to a file": lambda _: archive((of_kind("f0", stat.S_IFLNK), b"../evil"), ("f0", b"x")),
    "has devices": lambda _: archive(*[(of_kind(f"{kind}", kind), b"") for kind in (stat.S_IFBLK, stat.S_IFIFO)]),
    "has odd names": lambda _: archive((".", b"x"), ("..", b"x"), ("evil/", b""), ("a" * 5000, b"x")),
    "has a name twice": lambda _: archive(("evil", b"x"), ("evil", b"y"), ("evil", b"../f0")),
    "nests": lambda _: archive(*[(f"{number}.zip", archive(("a", bytes(MiB)))) for number in range(16)]),
}


@pytest.mark.parametrize("what", CORPUS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_SEC_12_nothing_of_an_archive_is_written(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success: it is a file like any other, and the only one that there is afterwards."""
    monkeypatch.chdir(tmp_path)  # where somebody might unpack
    body, store, dest = CORPUS[what](tmp_path), FakeStore(), tmp_path / "dest"
    async with download_many([store.source("f0", body)], dest, fetch=store.fetch, verify="archive") as downloads:
        (result,) = await results_of(downloads)
    assert result.outcome is Outcome.OK, result.error
    assert all_below(tmp_path) == {dest, dest / "f0"}
    assert (dest / "f0").read_bytes() == body


#: Each would take the memory or the time of a machine: what it is, what it leads to.
BOMBS: dict[str, tuple[Callable[[], bytes], type[TrioNormanError], str]] = {
    "300,000 entries": (lambda: one_entry_many_times(b"", 300_000), UnprovenError, "archive_entries"),
    "an entry too many": (lambda: one_entry_many_times(b"", 16_385), UnprovenError, "more than 16384 entries"),
    "names without end": (lambda: archive(*[(f"{n}{'x' * 60_000}", b"") for n in range(100)]), UnprovenError, "too lo"),
    "claims 4 GiB": (lambda: one_entry_many_times(b"x", 1, size=2**32 - 1), UnprovenError, "archive_ratio"),
    "overlaps": (
        lambda: one_entry_many_times(deflated(bytes(MiB)), 2000, method=zipfile.ZIP_DEFLATED, size=MiB),
        UnprovenError,
        "archive_ratio",
    ),
    "bzip2 that says less": (
        lambda: one_entry_many_times(bz2.compress(bytes(96 * MiB)), 1, method=zipfile.ZIP_BZIP2, size=MiB),
        ChecksumMismatchError,
        "entry a",
    ),
    "LZMA that says less": (
        lambda: one_entry_many_times(of_lzma(bytes(96 * MiB)), 1, method=zipfile.ZIP_LZMA, size=MiB),
        ChecksumMismatchError,
        "entry a",
    ),
    "a dictionary of 4 GiB": (
        lambda: one_entry_many_times(b"\x09\x04\x05\x00\x5d" + b"\xff" * 40, 1, method=zipfile.ZIP_LZMA, size=64 * MiB),
        ChecksumMismatchError,
        "entry a",
    ),
}


@pytest.mark.parametrize("what", BOMBS)
async def test_SEC_12_an_archive_takes_bounded_memory_and_time(what: str, tmp_path: Path) -> None:
    """UnprovenError for what is beyond a limit, ChecksumMismatchError for lies; memory is flat. D0."""
    make, kind, words = BOMBS[what]
    body, store = make(), FakeStore()
    forget_peak_memory()
    before, began = resident_mib(), time.thread_time()
    sources = [store.source("f0", body)]
    async with download_many(sources, tmp_path, fetch=store.fetch, verify="archive", retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert type(result.error) is kind
    assert words in str(result.error)
    assert peak_mib() - before < _ROOM + 2 * len(body) / MiB  # what is small is held in memory as it comes
    assert time.thread_time() - began < _SECONDS
    assert all_below(tmp_path) == set()


async def checked(body: bytes, *, entries: int = 10, ratio: int = 100) -> None:
    check = partial(check_archive, "f", lambda: io.BytesIO(body), entries=entries, ratio=ratio)
    await trio.to_thread.run_sync(check)


async def test_SEC_12_entries_and_expansion_are_limited_at_n_and_not_below() -> None:
    """n are read, n + 1 are an UnprovenError."""
    await checked(archive(*[(f"{number}", b"") for number in range(10)]))
    with pytest.raises(UnprovenError, match="more than 10 entries"):
        await checked(archive(*[(f"{number}", b"") for number in range(11)]))
    await checked(archive(("a", b"PK\x01\x02" * 20), method=zipfile.ZIP_STORED))  # what an entry holds counts not
    content = bytes(64 * MiB)
    one = partial(one_entry_many_times, deflated(content), 1, method=zipfile.ZIP_DEFLATED, crc=zlib.crc32(content))
    await checked(one(size=len(content)))
    with pytest.raises(UnprovenError, match="more than 67108864 bytes"):
        await checked(one(size=len(content) + 1))
    with pytest.raises(ChecksumMismatchError, match="entry a"):
        await checked(one(size=len(content) + 1), ratio=2000)
