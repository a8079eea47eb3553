"""What can be pushed besides files: bytes and streams, each with a length that is known beforehand."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Set,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, BinaryIO

import trio

from ..errors import ConfigurationError, LocalFileError, NoSpaceError, SourceChangedError
from ..transfer._folder import local_errors
from ..transfer._outgoing import Body, body_of

_BINARY = "open it in binary mode"
_PIECE = 256 * 1024  # bytes that are read at once from a stream that is being spooled


@asynccontextmanager
async def open_bytes(name: str, data: bytes) -> AsyncIterator[Body]:
    """Give bytes as a body."""
    view = memoryview(data)

    def read_into(offset: int, room: memoryview) -> int:
        some = view[offset : offset + len(room)]
        room[: len(some)] = some
        return len(some)

    yield Body(name, len(data), read_into, is_in_memory=True)


def check_stream(name: str, data: Any) -> None:
    """Refuse what shows without reading that no bytes can be read from it; nothing is taken out of it.

    Raises:
        ConfigurationError: If it is no stream, a file that is closed, write-only or not binary, or a collection of
            something else than bytes, or one without order.
    """
    if not is_stream(data):
        raise ConfigurationError(f"the data of {name} is no stream", "give an object that can be read or iterated over")
    file = getattr(data, "wrapped", data)  # what Trio has made of a file object
    file = getattr(file, "file", file)  # below a temporary file that has a name
    if getattr(file, "closed", False) is True:
        raise ConfigurationError(f"the stream of {name} is closed", "open it once more")
    if isinstance(file, io.TextIOBase):
        raise ConfigurationError(f"the stream of {name} gives str", _BINARY)
    if isinstance(file, io.IOBase) and not file.readable():
        raise ConfigurationError(f"the stream of {name} cannot be read", "open it for reading, in binary mode")
    if isinstance(data, Collection) and not _is_readable(data):
        for piece in data:
            _check_piece(name, piece)


def is_stream(data: Any) -> bool:
    """Whether something can be read, or iterated over in an order that means something."""
    if isinstance(data, str | bytes | bytearray | Mapping | Set | range):
        return False
    return _is_readable(data) or isinstance(data, AsyncIterable | Iterable)


def _is_readable(data: Any) -> bool:
    return callable(getattr(data, "read", None)) or callable(getattr(data, "receive_some", None))


def _check_piece(name: str, piece: Any) -> None:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise ConfigurationError(f"the stream of {name} gives {type(piece).__name__}", _BINARY)


@contextmanager
def _read_errors(name: str, stream: Any) -> Iterator[None]:
    """Turn what reading a file object meets with into one of our errors: it may be closed at any time."""
    try:
        with local_errors(name):
            yield
    except ValueError as error:  # the word of Python's own for a file that is closed
        if getattr(stream, "closed", False) is not True:
            raise
        raise LocalFileError(name, "its stream was closed while it was being sent") from error


@asynccontextmanager
async def open_stream(name: str, stream: Any) -> AsyncIterator[Body]:
    """Open a synchronous or asynchronous stream of bytes as a body, from where it stands.

    A file object that can seek is measured and read where it is; anything else is first spooled to a nameless file.

    Raises:
        ConfigurationError: If it is no stream any more, or gives something else than bytes.
        NoSpaceError: If there is no room for spooling.
        LocalFileError: If it cannot be read, or is closed meanwhile.
    """
    check_stream(name, stream)  # once more: it may have been closed meanwhile
    stream = getattr(stream, "wrapped", stream)
    with _read_errors(name, stream):
        measured = await trio.to_thread.run_sync(_measured, name, stream)
    if measured is not None:
        body, start = measured
        try:
            yield body
            return
        except SourceChangedError as error:
            changed = error
        with _read_errors(name, stream):
            await trio.to_thread.run_sync(stream.seek, start)  # who tries again begins where we have begun
        raise changed
    with tempfile.TemporaryFile() as spool:
        await _spool(name, stream, spool)
        yield body_of(name, spool.fileno(), os.fstat(spool.fileno()))


def _measured(name: str, stream: Any) -> tuple[Body, int] | None:
    """Return a stream as a body, and where it stands, if it can seek; None if it cannot."""
    try:
        if not stream.seekable():
            return None
        start = stream.tell()
        size = stream.seek(0, os.SEEK_END) - start
        stream.seek(start)
    except (AttributeError, OSError, TypeError):
        return None

    def read_into(offset: int, room: memoryview) -> int:
        with _read_errors(name, stream):
            if stream.tell() != start + offset:
                stream.seek(start + offset)
            piece = stream.read(len(room)) or b""
        room[: len(piece)] = piece
        return len(piece)

    return Body(name, max(0, size), read_into), start


async def _spool(name: str, stream: Any, spool: BinaryIO) -> None:
    async with aclosing(_pieces(name, stream)) as pieces:
        async for piece in pieces:
            _check_piece(name, piece)
            try:
                await trio.to_thread.run_sync(spool.write, piece)
            except OSError as error:
                raise NoSpaceError(name, f"while it was spooled: {error.strerror}") from error
    await trio.to_thread.run_sync(spool.flush)


async def _pieces(name: str, stream: Any) -> AsyncGenerator[Any, None]:
    if isinstance(stream, AsyncIterable):
        async for piece in stream:
            yield piece
    elif callable(getattr(stream, "receive_some", None)):  # a stream of Trio's
        while piece := await stream.receive_some():
            yield piece
    elif callable(getattr(stream, "read", None)):
        while piece := await _read(name, stream):
            yield piece
    else:
        pieces = iter(stream)
        while (piece := await _in_thread(partial(next, pieces, None))) is not None:
            yield piece


async def _read(name: str, stream: Any) -> Any:
    """Read from a file object whose `read` may be a coroutine function."""
    with _read_errors(name, stream):
        found = await _in_thread(partial(stream.read, _PIECE))
        return await found if hasattr(found, "__await__") else found


async def _in_thread(read: Callable[[], Any]) -> Any:
    # A pipe that nobody writes to must not hold up cancellation: its thread is left to itself then.
    return await trio.to_thread.run_sync(read, abandon_on_cancel=True)
