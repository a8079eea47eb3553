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
    """Cuts blocks of bytes into numbered lines of text, of at most `longest` bytes."""

    longest: int = _LONGEST_LINE
    _number: int = 0
    _pieces: list[bytes] = attrs.field(init=False, factory=list)  # of the line that is not complete
    _length: int = attrs.field(init=False, default=0)

    def feed(self, block: bytes) -> Iterator[tuple[int, str]]:
        """Yield each line that is complete now, with its number, counted from 1.

        Raises:
            ConfigurationError: If a line is not UTF-8, or longer than `longest`.
        """
        yield from map(_sound, self.cut(block))
        if self._length > self.longest:
            raise self._too_long(self._number + 1)

    def finish(self) -> Iterator[tuple[int, str]]:
        """Yield the last line if no line end followed it; raises as `feed`."""
        yield from map(_sound, self.rest())

    def cut(self, block: bytes) -> Iterator[tuple[int, str | ConfigurationError]]:
        """Yield the lines as `feed` does, with the error in place of one that is none."""
        *ends, rest = block.split(b"\n")
        for end in ends:
            self._keep(end)
            yield self._next()
        self._keep(rest)

    def rest(self) -> Iterator[tuple[int, str | ConfigurationError]]:
        """Yield the last line as `finish` does, or the error in its place."""
        if self._length:
            yield self._next()

    def _keep(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self.longest:  # it is only counted on, to its end
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    def _next(self) -> tuple[int, str | ConfigurationError]:
        line, length = b"".join(self._pieces), self._length
        self._pieces, self._length = [], 0
        self._number += 1
        if length > self.longest:
            return self._number, self._too_long(self._number)
        try:
            return self._number, line.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError:
            return self._number, ConfigurationError(f"line {self._number} is not UTF-8")

    def _too_long(self, number: int) -> ConfigurationError:
        return ConfigurationError(f"line {number} is longer than {self.longest} bytes")


def _sound(line: tuple[int, str | ConfigurationError]) -> tuple[int, str]:
    number, text = line
    if isinstance(text, ConfigurationError):
        raise text
    return number, text


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
            async for line in lines:
                number, text = _sound(line)
                entry = read_entry(text, number=number)
                if entry is not None:
                    yield entry  # noqa: ASYNC119 (the batch closes this generator)

    async def lines(self, longest: int = _LONGEST_LINE) -> AsyncGenerator[tuple[int, str | ConfigurationError], None]:
        """Yield each line with its number, counted from 1; the error in place of one that is none.

        Args:
            longest: Most bytes of a line.

        Raises:
            ConfigurationError: If the list cannot be read.
        """
        splitter = LineSplitter(longest)
        while block := await trio.to_thread.run_sync(self._read, abandon_on_cancel=True):
            for each in splitter.cut(block):
                yield each
        for each in splitter.rest():
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
