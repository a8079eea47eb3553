"""Slots for connections: every file gets its first one in turn, spare ones go to parts of large files."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

_QUIET = 0.05  # seconds without a new file after which even the last free slot goes to a part


@attrs.define(eq=False)
class Connections:
    """At most `total` connections at a time; files that wait are served in the order in which they came.

    One slot is kept free while new files keep coming: else each would have to wait until a part of a large one is done.
    """

    total: int
    _slots: trio.Semaphore = attrs.field(init=False)
    _spare: trio.lowlevel.ParkingLot = attrs.field(init=False, factory=trio.lowlevel.ParkingLot)
    _last_file: float = attrs.field(init=False, default=-math.inf)

    def __attrs_post_init__(self) -> None:
        self._slots = trio.Semaphore(self.total)

    @property
    def are_wanted(self) -> bool:
        """Whether a file waits for its first connection."""
        return self._slots.statistics().tasks_waiting > 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one slot inside the block, for a file. Cancellation: none is held."""
        await self._slots.acquire()
        self._last_file = trio.current_time()
        try:
            yield
        finally:
            self.release()

    async def take_spare(self) -> None:
        """Wait for a slot that no file needs, and take it; give it back with `release`."""
        while True:
            quiet_at = self._last_file + _QUIET
            if self._slots.value > 1 or (self._slots.value == 1 and trio.current_time() >= quiet_at):
                self._slots.acquire_nowait()
                return
            with trio.move_on_at(quiet_at if self._slots.value == 1 else math.inf):
                await self._spare.park()

    def release(self) -> None:
        """Give a slot back."""
        self._slots.release()
        if self._slots.value > 0:
            self._spare.unpark()
