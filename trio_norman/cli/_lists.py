"""A list of downloads, read only as fast as the downloads go on."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import attrs
import trio

from .._sansio.manifest import Entry, read_entry
from ..errors import ConfigurationError

_BLOCK = 256 * 1024  # bytes that are read at once
_LONGEST_LINE = 64 * 1024  # bytes

STDIN = "-"


@attrs.define(eq=False)
class LineSplitter:
    """Cuts blocks of bytes into numbered lines of text."""

    _number: int = 0
    _rest: bytes = b""

    def feed(self, block: bytes) -> Iterator[tuple[int, str]]:
        """Yield each line that is complete now, with its number, counted from 1.

        Raises:
            ConfigurationError: If a line is not UTF-8, or longer than 64 KiB.
        """
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            yield self._next(line)
        if len(self._rest) > _LONGEST_LINE:
            self._next(self._rest)

    def finish(self) -> Iterator[tuple[int, str]]:
        """Yield the last line if no line end followed it; raises as `feed`."""
        if self._rest:
            yield self._next(self._rest)

    def _next(self, line: bytes) -> tuple[int, str]:
        self._number += 1
        if len(line) > _LONGEST_LINE:
            raise ConfigurationError(f"line {self._number} is longer than {_LONGEST_LINE} bytes")
        try:
            return self._number, line.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError(f"line {self._number} is not UTF-8") from None


@attrs.define(eq=False)
class ListFile:
    """An open list: a file, or stdin."""

    _fd: int

    @property
    def can_be_read_twice(self) -> bool:
        """Whether it is a regular file, so that it can be counted before it is read."""
        return stat.S_ISREG(os.fstat(self._fd).st_mode)

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield the entries.

        Raises:
            ConfigurationError: At the first line that is none, naming its number.
        """
        async with aclosing(self.lines()) as lines:
            async for number, line in lines:
                entry = read_entry(line, number=number)
                if entry is not None:
                    yield entry  # noqa: ASYNC119 (the batch closes this generator)

    async def lines(self) -> AsyncGenerator[tuple[int, str], None]:
        """Yield each line with its number, counted from 1.

        Raises:
            ConfigurationError: If a line is not UTF-8, or longer than 64 KiB.
        """
        splitter = LineSplitter()
        while block := await trio.to_thread.run_sync(self._read, abandon_on_cancel=True):
            for each in splitter.feed(block):
                yield each
        for each in splitter.finish():
            yield each

    async def count(self) -> int:
        """Return how many lines there are that are neither empty nor comments; the list can then still be read."""
        return await trio.to_thread.run_sync(self._count, abandon_on_cancel=True)

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, _BLOCK)
        except OSError as error:
            raise ConfigurationError(f"the list cannot be read: {error.strerror}") from None

    def _count(self) -> int:
        start = os.lseek(self._fd, 0, os.SEEK_CUR)
        with open(os.dup(self._fd), "rb") as file:
            total = sum(1 for line in file if line.strip() and not line.startswith(b"#"))
        os.lseek(self._fd, start, os.SEEK_SET)
        return total


@asynccontextmanager
async def open_list(path: str) -> AsyncIterator[ListFile]:
    """Open a list by its path; ``-`` is stdin.

    Raises:
        ConfigurationError: If it cannot be opened.
    """
    if path == STDIN:
        yield ListFile(0)
        return
    try:
        fd = await trio.to_thread.run_sync(os.open, Path(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"the list {path} cannot be read: {error.strerror}") from None
    try:
        yield ListFile(fd)
    finally:
        os.close(fd)
