"""From a socket into a file without a detour through Python objects. Everything here blocks, in worker threads.

There are three ways for a body of known length, and each keeps the same promises: so many bytes from here into that
file at that offset, counted, never more than asked for, and never longer than asked for without coming back. What is
neither (chunks, an end by closing, somebody else's transport) comes as pieces through the Trio thread instead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import trio

from ..errors import InterruptedTransferError, TransportError
from ._bodies import LengthBody
from ._sockets import reason

WORTH_IT = 256 * 1024  # bytes; a shorter body costs less through the Trio thread
_PIPE = 2**20  # bytes, what an ordinary user may ask for
_BUFFER = 512 * 1024  # bytes
_MOST_FREE = 16  # buffers that are kept
_NAP = 0.05  # seconds that a thread waits for the peer before it looks whether it is still wanted
_TRIES = 100  # within a second, where a file system says to come again
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@attrs.frozen
class Moved:
    """What one visit to a worker thread has brought: `count` bytes, and what ended the body early, if something did."""

    count: int
    ending: TransportError | None = None


class _PeerError(Exception):
    """The connection is of no further use; the text says why."""


class Pump(ABC):
    """One body on its way from its socket into a file; `_ready` bytes have left the socket and wait to be written."""

    def __init__(self, body: LengthBody, url: str) -> None:
        self._body, self._url = body, url
        self._socket = body.socket
        self._ready = 0
        self._waiting = select.poll()
        self._waiting.register(self._socket, select.POLLIN)

    @property
    def left(self) -> int:
        """Bytes of the body that have not been moved yet."""
        return len(self._body.leading) + self._body.remaining

    def move(
        self,
        fd: int,
        offset: int,
        at_most: int,
        *,
        seconds: float,
        least: int = 0,
        tell: Callable[[int], object] = lambda written: None,
    ) -> Moved:
        """Write the next bytes of the body into a file.

        It comes back when `at_most` bytes are written, when `seconds` are over, or within 50 ms after the calling task
        was cancelled; what was written until then is counted.

        Args:
            fd: The file.
            offset: Where in it the next byte goes.
            at_most: Number of bytes, at most `left`.
            seconds: Longest stay.
            least: How long the file is already; nothing more is written if it is shorter by then.
            tell: Is told after each step how many bytes this visit has written so far.

        Raises:
            OSError: If the file cannot be written; nothing was, then, in this visit.
        """
        moved = 0
        end = time.monotonic() + seconds
        try:
            moved = self._move_leading(fd, offset, at_most)
            least = max(least, offset + moved) if moved else least
            while moved < at_most:
                self._ready = self._ready or self._fill(at_most - moved)
                if self._ready:
                    if os.fstat(fd).st_size < least:
                        break  # somebody has cut the file: another byte would hide it
                    step = self._drain(fd, offset + moved, min(self._ready, at_most - moved))
                    moved += step
                    least = max(least, offset + moved)
                    self._ready -= step
                    self._body.remaining -= step
                    tell(moved)
                else:
                    self._waiting.poll(_NAP * 1000)
                if time.monotonic() >= end or _is_cancelled():
                    break
        except _PeerError as error:
            return Moved(moved, InterruptedTransferError("GET", self._url, str(error)))
        except OSError:
            if moved == 0:
                raise
        return Moved(moved)  # after an error with something moved, the next visit meets the error again

    def finish(self) -> None:
        """Give the connection back, in the Trio thread: every byte of the body was moved."""
        self._body.finished()

    @abstractmethod
    def close(self) -> None:
        """Let go of what this pump holds besides the socket."""

    @abstractmethod
    def _fill(self, at_most: int) -> int:
        """Take what is there off the socket, at most so many bytes; 0 if nothing is there yet."""

    @abstractmethod
    def _drain(self, fd: int, offset: int, count: int) -> int:
        """Write bytes that are ready; return how many."""

    def _move_leading(self, fd: int, offset: int, at_most: int) -> int:
        moved = 0
        while self._body.leading and moved < at_most:  # a short write is legal: nothing else may come before the rest
            written = persistently(os.pwrite, fd, self._body.leading[: at_most - moved], offset + moved)
            self._body.leading = self._body.leading[written:]
            moved += written
        return moved

    def _ended(self) -> _PeerError:
        return _PeerError(f"it ended {self._body.remaining - self._ready} bytes before the body's end")


class SplicePump(Pump):
    """Plain HTTP on Linux: the bytes go from socket to pipe to file inside the kernel."""

    def __init__(self, body: LengthBody, url: str, _: Buffers) -> None:
        super().__init__(body, url)
        self._out, self._into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._taken = memoryview(b"")  # has left the pipe already
        with suppress(OSError):  # with less room it takes more calls
            fcntl.fcntl(self._into, fcntl.F_SETPIPE_SZ, _PIPE)

    @classmethod
    def suits(cls, sock: socket.socket) -> bool:
        """Whether the system can do this for the socket."""
        return hasattr(os, "splice") and not isinstance(sock, ssl.SSLSocket)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._out)
        os.close(self._into)

    def _fill(self, at_most: int) -> int:
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
        try:
            held = os.splice(self._socket.fileno(), self._into, min(at_most, _PIPE), flags=flags)
        except _NOTHING_YET:
            return 0
        except OSError as error:
            raise _PeerError(reason(error)) from None
        if held == 0:
            raise self._ended()
        return held

    def _drain(self, fd: int, offset: int, count: int) -> int:
        if not self._taken:
            try:
                return persistently(os.splice, self._out, fd, count, offset_dst=offset, flags=os.SPLICE_F_MOVE)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            self._taken = memoryview(os.read(self._out, count))  # this file system cannot splice
        written = persistently(os.pwrite, fd, self._taken[:count], offset)
        self._taken = self._taken[written:]
        return written


@attrs.define(eq=False)
class Buffers:
    """Buffers that wait for the next body: a new one costs the kernel more than a small body does."""

    _free: list[bytearray] = attrs.field(init=False, factory=list, repr=False)

    def take(self) -> bytearray:
        """Return one that nobody uses."""
        return self._free.pop() if self._free else bytearray(_BUFFER)

    def give_back(self, buffer: bytearray) -> None:
        """Keep one for the next body."""
        if len(self._free) < _MOST_FREE:
            self._free.append(buffer)


class BufferPump(Pump):
    """HTTPS, and plain HTTP elsewhere: the bytes go through one buffer that is used again and again."""

    def __init__(self, body: LengthBody, url: str, buffers: Buffers) -> None:
        super().__init__(body, url)
        self._buffers, self._whole = buffers, buffers.take()
        self._buffer = memoryview(self._whole)
        self._start = 0

    @classmethod
    def suits(cls, sock: socket.socket) -> bool:
        """Whether the system can do this for the socket: every system can."""
        return True

    def close(self) -> None:
        """Give the buffer back."""
        self._buffer.release()
        self._buffers.give_back(self._whole)

    def _fill(self, at_most: int) -> int:
        room, held = self._buffer[:at_most], 0
        try:
            while held < len(room):  # a TLS socket gives one record at a time, and a write for each would cost more
                count = self._socket.recv_into(room[held:])
                if count == 0:
                    break
                held += count
        except _NOTHING_YET:
            if held == 0:
                return 0
        except OSError as error:
            if held == 0:
                raise _PeerError("TLS was cut" if isinstance(error, ssl.SSLError) else reason(error)) from None
        if held == 0:
            raise self._ended()
        self._start = 0
        return held

    def _drain(self, fd: int, offset: int, count: int) -> int:
        written = persistently(os.pwrite, fd, self._buffer[self._start : self._start + count], offset)
        self._start += written
        return written


#: The ways to move a body of known length, the cheapest first.
KINDS: tuple[type[SplicePump] | type[BufferPump], ...] = (SplicePump, BufferPump)


def persistently(write: Callable[..., int], *args: Any, **options: Any) -> int:
    """Call what writes to a file again for as long as it says to come again, up to a second; return what it does."""
    for _ in range(_TRIES):
        try:
            return write(*args, **options)
        except BlockingIOError:
            time.sleep(1 / _TRIES)
    return write(*args, **options)


def pump_for(body: object, url: str, buffers: Buffers) -> Pump | None:
    """Return the cheapest pump for a body; None where its pieces must go through the Trio thread.

    Args:
        body: What a response has as the extension ``trio_norman.body``, None without it.
        url: Where it comes from, without its query; for errors.
        buffers: Where those that need one find it.
    """
    if not isinstance(body, LengthBody) or body.remaining < WORTH_IT:
        return None
    for kind in KINDS:
        if kind.suits(body.socket):
            with suppress(OSError):  # no descriptor is free for its pipe: the next one needs none
                return kind(body, url, buffers)
    return None


def _is_cancelled() -> bool:
    try:
        trio.from_thread.check_cancelled()
    except trio.Cancelled:  # noqa: ASYNC103 (a thread only leaves early; its task meets the cancellation itself)
        return True  # noqa: ASYNC104
    return False
