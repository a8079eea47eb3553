"""Files on their way out: opened as regular ones only, measured once, and watched for changes."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from ..errors import ConfigurationError, LocalFileError, SourceChangedError
from ._folder import local_errors


@attrs.frozen(eq=False)
class Body:
    """A body of known length that can be read any number of times, by one task at a time.

    `read_into(offset, room)` fills `room` as far as the body goes and returns how many bytes there were;
    `check` raises if what is read is no longer what was measured. Both block.
    """

    name: str
    size: int
    read_into: Callable[[int, memoryview], int] = attrs.field(repr=False)
    check: Callable[[], None] = attrs.field(repr=False, default=lambda: None)
    is_in_memory: bool = False


@asynccontextmanager
async def open_file(name: str, path: Path) -> AsyncIterator[Body]:
    """Open a regular file as a body.

    Raises:
        ConfigurationError: If there is none, or it is no regular file.
        LocalFileError: If it cannot be read.
    """
    fd = await trio.to_thread.run_sync(_open_regular, name, path)
    try:
        yield body_of(name, fd, os.fstat(fd))
    finally:
        os.close(fd)


def check_file(name: str, path: Path) -> None:
    """Refuse a path that cannot be pushed; raises as `open_file`. Blocks."""
    os.close(_open_regular(name, path))


def _open_regular(name: str, path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer would block
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ConfigurationError(f"the file of {name} does not exist", "give the path of an existing file") from None
    except OSError as error:
        raise LocalFileError(name, error.strerror or "cannot be opened") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ConfigurationError(f"the path of {name} is no regular file", "give a file, or open it as a stream")
    return fd


def body_of(name: str, fd: int, measured: os.stat_result, start: int = 0) -> Body:
    """Give an open file, of which `measured` was known before, from `start` on as a body; the caller closes it."""

    def read_into(offset: int, room: memoryview) -> int:
        with local_errors(name):
            return os.preadv(fd, [room], start + offset)

    def check() -> None:
        now = os.fstat(fd)
        if (now.st_size, now.st_mtime_ns) != (measured.st_size, measured.st_mtime_ns):
            raise SourceChangedError(name, "its size or time changed while it was being sent")

    return Body(name, max(0, measured.st_size - start), read_into, check)
