"""Standard output and standard error.

What is written to standard output goes through a worker thread, since a reader may be slow and the Trio thread must
not wait for it; and past Python's buffered file, whose lock a thread that is left behind would take along.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.redaction import printable
from ..errors import LocalFileError

Write = Callable[[str], Awaitable[None]]

_LINES_AHEAD = 256
_LONGEST_LINE = 1000  # characters of one message on stderr


class OutputClosedError(Exception):
    """Nobody reads our standard output any more, as after ``| head -1``."""


def json_text(value: Any) -> str:
    """Return JSON in plain ASCII: no control character and nothing that a terminal would interpret."""
    return json.dumps(value, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


def complain(text: str, advice: str = "") -> None:
    """Write one line ``error: ...`` to stderr."""
    say(f"error: {text}" + (f": {advice}" if advice else ""))


def say(text: str) -> None:
    """Write one line to stderr, whatever the text contains; a stderr that is gone is no reason to fail."""
    if sys.stderr is not None:
        data = f"{one_line(text)}\n".encode(sys.stderr.encoding or "utf-8", "backslashreplace")
        with suppress(OSError):
            _write_all(sys.stderr.fileno(), data)


def one_line(text: str) -> str:
    """Return a message as one line without control characters, of bounded length."""
    return printable(text, at_most=_LONGEST_LINE)


def is_terminal(stream: Any) -> bool:
    """Whether a standard stream is there and leads to a terminal."""
    return stream is not None and stream.isatty()


async def write_out(text: str) -> None:
    """Write text to standard output.

    Raises:
        OutputClosedError: If its reader is gone.
        LocalFileError: If it cannot be written for another reason, a full disk for example.
    """
    if sys.stdout is None:  # its number may belong to any other file by now
        raise OutputClosedError
    data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    try:
        await trio.to_thread.run_sync(_write_all, sys.stdout.fileno(), data, abandon_on_cancel=True)
    except BrokenPipeError:
        raise OutputClosedError from None
    except OSError as error:
        raise LocalFileError("standard output", error.strerror or "") from error


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # somebody who shares this pipe has made it non-blocking
            select.select([], [fd], [])


@asynccontextmanager
async def open_output() -> AsyncIterator[Write]:
    """Give a function that writes texts to standard output, in order and many at once, by a task of its own.

    What was written inside the block is out when the block is left, even by an error (not by cancellation).

    Raises:
        OutputClosedError: If the reader is gone.
        LocalFileError: As `write_out`.
    """
    failure: Exception | None = None
    with lone_error_unwrapped():
        async with trio.open_nursery() as nursery:
            send_text, receive_text = trio.open_memory_channel[str](_LINES_AHEAD)
            nursery.start_soon(_write_each, receive_text)
            with send_text:
                try:
                    yield send_text.send
                except Exception as error:  # noqa: BLE001 (raised below, when what came before it is written)
                    failure = error
    if failure is not None:
        raise failure


async def _write_each(receive_text: trio.MemoryReceiveChannel[str]) -> None:
    async for text in receive_text:
        texts = [text]
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                texts.append(receive_text.receive_nowait())
        await write_out("".join(texts))
