"""A download's destination as tests look at it, and the settings that make failures quick."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from trio_norman import DownloadResult, RetryPolicy, Source, StallLimit
from trio_norman._sansio.journal import decode
from trio_norman.emulator import Content
from trio_norman.transfer import Downloads

#: Quick, and still every kind of retrying.
QUICK = RetryPolicy(attempts=5, initial=0.01, longest=0.05)
IMPATIENT = StallLimit(bytes_per_second=1024, seconds=0.3)


@attrs.frozen
class Destination:
    """A directory, and what may be in it."""

    path: Path

    def visible(self) -> dict[str, str]:
        """Return the finished files with their SHA-256."""
        files = [file for file in self.path.iterdir() if not file.name.startswith(".")]
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def hidden(self) -> set[str]:
        """Return what is there besides finished files."""
        return {file.name for file in self.path.iterdir() if file.name.startswith(".")} if self.path.exists() else set()

    def partial_is_right(self, name: str, content: Content) -> bool:
        """Whether there is one partial, and every byte that its sidecar claims is there."""
        if self.hidden() != {f".{name}.part", f".{name}.part.json"}:
            return False
        journal = decode((self.path / f".{name}.part.json").read_bytes())
        data, whole = (self.path / f".{name}.part").read_bytes(), bytes_of(content)
        return journal is not None and all(data[s.start : s.stop] == whole[s.start : s.stop] for s in journal.held)


def bytes_of(content: Content) -> bytes:
    """Return all bytes of an emulated object."""
    return bytes(content.read(0, content.size))


def sha256_of(content: Content) -> str:
    """Return the SHA-256 of an emulated object."""
    return hashlib.sha256(bytes_of(content)).hexdigest()


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def results_of(downloads: Downloads) -> Sequence[DownloadResult]:
    """Take all results of a batch."""
    return [result async for result in downloads]


def sources_of(*urls: str, size_bytes: int | None = None) -> list[Source]:
    """Describe URLs under the names f0, f1, and so on."""
    return [Source.from_url(url, f"f{number}", size_bytes=size_bytes) for number, url in enumerate(urls)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens on real sockets or in another process; the test's own limit bounds it."""
    while not condition():  # noqa: ASYNC110 (nobody there could set an event)
        await trio.sleep(0.005)
