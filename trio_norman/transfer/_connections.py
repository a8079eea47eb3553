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
    """At most `target` connections at a time; files that wait are served in the order in which they came.

    One slot is kept free while new files keep coming: else each would have to wait until a part of a large one is done.
    """

    target: int
    busy: int = attrs.field(init=False, default=0)
    _files: trio.lowlevel.ParkingLot = attrs.field(init=False, factory=trio.lowlevel.ParkingLot)
    _spare: trio.lowlevel.ParkingLot = attrs.field(init=False, factory=trio.lowlevel.ParkingLot)
    _last_file: float = attrs.field(init=False, default=-math.inf)

    @property
    def are_wanted(self) -> bool:
        """Whether whoever works on a part should stop after it: a file waits, or the target has sunk."""
        return bool(self._files) or self.busy > self.target

    async def take_for_file(self) -> None:
        """Wait for a slot in turn, and take it; give it back with `release`. Cancellation: none is held."""
        if self.busy >= self.target or self._files:
            await self._files.park()  # whoever wakes us has taken the slot for us
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
            self.busy += 1
        self._last_file = trio.current_time()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one slot inside the block, for a file. Cancellation: none is held."""
        await self.take_for_file()
        try:
            yield
        finally:
            self.release()

    async def take_spare(self) -> None:
        """Wait for a slot that no file needs, and take it; give it back with `release`."""
        while True:
            free, quiet_at = self.target - self.busy, self._last_file + _QUIET
            if free > 1 or (free == 1 and trio.current_time() >= quiet_at):
                self.busy += 1
                return
            with trio.move_on_at(quiet_at if free == 1 else math.inf):
                await self._spare.park()

    async def come_back_after(self, seconds: float) -> None:
        """Wait with a slot in hand; then let go of it, if the target has sunk below what is busy, and take one in turn.

        So whoever was refused for there being too many comes back one by one.

        Cancellation: the slot counts as held, as before.
        """
        await trio.sleep(seconds)
        if self.busy > self.target:
            self.release()
            try:
                await self.take_for_file()
            except BaseException:
                self.busy += 1
                raise

    def release(self) -> None:
        """Give a slot back."""
        self.busy -= 1
        self._hand_out()

    def resize(self, target: int) -> None:
        """Change the limit, at least 1; what is busy beyond it stays until it is given back."""
        self.target = max(1, target)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._files and self.busy < self.target:
            self.busy += 1
            self._files.unpark()
        if self.busy < self.target:
            self._spare.unpark(count=self.target - self.busy)
