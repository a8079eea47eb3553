"""What stands on the disk: a picture of a tree, and the four outcomes that a download may have there.

D0: the final name is as before, and nothing else is there. D1: as before, and one partial with noted spans, which hold
the right bytes. D2: the final name is complete and right, without a partial. D3: the final name was not touched.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from tests import destinations
from trio_norman._sansio.journal import decode
from trio_norman._sansio.names import partial_stem
from trio_norman.emulator import Content

Expected = Content | bytes | Path  # a path: what another file holds; it may be sparse, and larger than the memory


_ZEROS = bytes(64 * 1024)


@attrs.frozen
class Entry:
    """One name in a tree."""

    mode: int
    inode: int
    size: int
    changed: int  # nanoseconds; of what is written
    held: str  # digest of a file, target of a link

    @classmethod
    def of(cls, path: Path) -> Entry:
        """Look at a path, without following it."""
        found = path.lstat()
        held = ""
        if stat.S_ISLNK(found.st_mode):
            held = str(path.readlink())
        elif stat.S_ISREG(found.st_mode):
            held = digest_of(path)
        is_directory = stat.S_ISDIR(found.st_mode)  # whose size and time follow from the names in it
        return cls(
            found.st_mode,
            found.st_ino,
            0 if is_directory else found.st_size,
            0 if is_directory else found.st_mtime_ns,
            held,
        )


def picture_of(tree: Path) -> dict[Path, Entry]:
    """Look at everything below a directory."""
    return {path: Entry.of(path) for path in sorted(tree.rglob("*"))}


def changes(before: Mapping[Path, Entry], after: Mapping[Path, Entry]) -> list[Path]:
    """Return the paths that are new, gone or not the same."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def bytes_of(expected: Expected) -> bytes:
    """Return the bytes that a file should hold."""
    if isinstance(expected, Path):
        return expected.read_bytes()
    return expected if isinstance(expected, bytes) else destinations.bytes_of(expected)


def size_of(expected: Expected) -> int:
    """Return the length that a file should have."""
    if isinstance(expected, Path):
        return expected.stat().st_size
    return len(expected) if isinstance(expected, bytes) else expected.size


def digest_of(path: Path) -> str:
    """Return a digest of a file that tells nothing of holes in it: blocks of zeros count as if they were not there."""
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as file:
        for start, stop in _extents(file.fileno()):
            for at in range(start, stop, len(_ZEROS)):
                block = os.pread(file.fileno(), min(len(_ZEROS), stop - at), at)
                if block != _ZEROS[: len(block)]:
                    digest.update(b"%d:" % at)
                    digest.update(block)
    return digest.hexdigest()


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """Find where a file is no hole, in whole blocks; all of it on a file system that does not tell."""
    at, size = 0, os.fstat(fd).st_size
    while at < size:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole follows
            return
        hole = os.lseek(fd, data, os.SEEK_HOLE)
        start, at = max(at, data // len(_ZEROS) * len(_ZEROS)), -(-hole // len(_ZEROS)) * len(_ZEROS)
        yield start, min(at, size)


def sha256_of(expected: Expected) -> str:
    """Return the SHA-256 that a file should have."""
    return hashlib.sha256(bytes_of(expected)).hexdigest()


def partial_of(dest: Path, name: str) -> tuple[Path, Path]:
    """Return where the partial of a file lies, and its sidecar."""
    stem = partial_stem(name)
    return dest / f"{stem}.part", dest / f"{stem}.part.json"


def held_bytes(dest: Path, name: str) -> int:
    """Return how many bytes the sidecar of a partial notes, overlaps counted once."""
    journal = decode(partial_of(dest, name)[1].read_bytes())
    if journal is None:
        return 0
    covered = 0
    frontier = 0
    for span in sorted(journal.held, key=lambda span: span.start):
        covered += max(0, span.stop - max(frontier, span.start))
        frontier = max(frontier, span.stop)
    return covered


def faults_of(disk: str, dest: Path, name: str, before: Mapping[Path, Entry], expected: Expected | None) -> list[str]:
    """Say what speaks against an outcome (``D0`` to ``D3``) of one file; nothing does if it is that."""
    final = dest / name
    partials = {path for path in partial_of(dest, name) if os.path.lexists(path)}
    entry = Entry.of(final) if os.path.lexists(final) else None
    wrong: list[str] = []
    if disk == "D2":
        wrong += _not_the_file(final, entry, expected)
    elif entry != before.get(final):
        wrong.append(f"{name} is not as it was before")
    elif disk == "D3" and entry is None:
        wrong.append(f"{name} is not there")
    if disk == "D1":
        wrong += _not_resumable(dest, name, expected)
    elif partials:
        wrong.append(f"there is {', '.join(sorted(path.name for path in partials))}")
    return wrong


def _not_the_file(final: Path, entry: Entry | None, expected: Expected | None) -> list[str]:
    if entry is None or not stat.S_ISREG(entry.mode):
        return [f"{final.name} is no file"]
    if expected is None:
        return ["the row does not say which bytes it expects"]
    if isinstance(expected, Path):
        return [] if digest_of(final) == digest_of(expected) else [f"{final.name} has other bytes than {expected}"]
    whole = bytes_of(expected)
    if entry.size != len(whole):
        return [f"{final.name} has {entry.size} bytes, not {len(whole)}"]
    return [] if final.read_bytes() == whole else [f"{final.name} has wrong bytes"]


def _not_resumable(dest: Path, name: str, expected: Expected | None) -> list[str]:
    part, sidecar = partial_of(dest, name)
    if not part.is_file() or not sidecar.is_file():
        return ["there is no partial with its sidecar"]
    if expected is None:
        return ["the row does not say which bytes it expects"]
    journal, data, whole = decode(sidecar.read_bytes()), part.read_bytes(), bytes_of(expected)
    if journal is None:
        return ["the sidecar cannot be read"]
    if not journal.held:
        return ["the sidecar notes nothing that could be taken up"]
    bad = [span for span in journal.held if data[span.start : span.stop] != whole[span.start : span.stop]]
    wrong = [f"the sidecar notes {span}, and the partial holds other bytes" for span in bad[:3]]
    too_open = [path.name for path in (part, sidecar) if stat.S_IMODE(path.stat().st_mode) != 0o600]
    return wrong + [f"{each} is not private" for each in too_open]
