"""Blocks on their way from the thread that fills them to the thread that sends them. Everything here blocks.

Reading and encrypting take about as long as sending does, and all of them leave the interpreter alone meanwhile: two
threads that pass each other a few blocks keep two processors busy. The blocks are small enough to stay in a
processor's cache, and are used again and again.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import attrs
import trio

from .._wire import _sockets
from ..errors import InterruptedTransferError, SlowTransferError

METHOD = "PUSH"
LOOK_EVERY = 0.1  # seconds after which a thread looks whether it is still wanted
_BLOCKS = 3  # one is filled, one is sent, one evens out which of the two is faster

Fill = Callable[[memoryview], int]


class Relay:
    """A few blocks that are filled, taken and given back in turn; who fills waits until one comes back.

    Args:
        fill: See `PushConnection.send_each`.
        block_bytes: Length of a block.
    """

    def __init__(self, fill: Fill, block_bytes: int) -> None:
        self._fill = fill
        self._full: SimpleQueue[memoryview] = SimpleQueue()
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        for _ in range(_BLOCKS):
            self._free.put(memoryview(bytearray(block_bytes)))

    def fill_each(self) -> None:
        """Fill blocks to the end, which an empty one marks. It leaves within 100 ms after its task was cancelled."""
        count = 1
        while count:
            try:
                room = self._free.get(timeout=LOOK_EVERY)
            except Empty:
                trio.from_thread.check_cancelled()
                continue
            count = self._fill(room)
            self._full.put(room[:count])

    def take(self, seconds: float) -> memoryview | None:
        """Take the next full block; None if there was none for so long."""
        try:
            return self._full.get(timeout=seconds)
        except Empty:
            return None

    def give_back(self, block: memoryview) -> None:
        """Let a block, or any part of it, be filled again."""
        self._free.put(memoryview(block.obj))


@attrs.define(eq=False)
class BlockSender:
    """What sends the blocks of a relay over a socket, whose own timeout is `LOOK_EVERY`; `sent` counts the bytes."""

    url: str
    silence: float
    _sock: socket.socket
    _relay: Relay
    sent: int = attrs.field(init=False, default=0)
    _rest: memoryview | None = attrs.field(init=False, default=None)
    _last_progress: float = attrs.field(init=False, default=0.0)

    def send_for_a_while(self) -> bool:
        """Send for about 100 ms, so that its task can tell how far it is; return False at the end.

        The first visit is over with the first block: whoever watches sees early that it goes on.

        Raises:
            SlowTransferError: If the peer takes nothing for the limit on silence.
            InterruptedTransferError: If the connection breaks.
        """
        end = time.monotonic() + (LOOK_EVERY if self.sent else 0)
        is_over = False
        while not is_over:
            if self._rest is None:
                self._rest = self._relay.take(LOOK_EVERY)
                self._last_progress = time.monotonic()  # only the peer's silence counts, not that of the source
                if self._rest is None:
                    break
                if not self._rest:
                    return False
            self._send_some(self._rest)
            is_over = time.monotonic() >= end
        trio.from_thread.check_cancelled()
        return True

    def _send_some(self, block: memoryview) -> None:
        try:
            count = self._sock.send(block)
        except TimeoutError:
            if time.monotonic() - self._last_progress > self.silence:
                raise SlowTransferError(METHOD, self.url, taken_nothing(self.silence)) from None
            return
        except OSError as error:
            raise InterruptedTransferError(METHOD, self.url, _sockets.reason(error)) from None
        self.sent += count
        self._last_progress = time.monotonic()
        self._rest = block[count:]
        if not self._rest:
            self._rest = None
            self._relay.give_back(block)


def taken_nothing(seconds: float) -> str:
    """Return what an error says of a peer that was silent for so long."""
    return f"nothing was taken for {seconds:g} s"
