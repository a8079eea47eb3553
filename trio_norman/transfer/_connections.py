"""Slots for connections: every file gets its first one in turn, spare ones go to parts of large files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define(eq=False)
class Connections:
    """At most `total` connections at a time; waiters are served in the order in which they came."""

    total: int
    _slots: trio.Semaphore = attrs.field(init=False)
    _spare: trio.lowlevel.ParkingLot = attrs.field(init=False, factory=trio.lowlevel.ParkingLot)

    def __attrs_post_init__(self) -> None:
        self._slots = trio.Semaphore(self.total)

    @property
    def are_wanted(self) -> bool:
        """Whether a file waits for its first connection."""
        return self._slots.statistics().tasks_waiting > 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one slot inside the block. Cancellation: none is held."""
        await self._slots.acquire()
        try:
            yield
        finally:
            self.release()

    async def take_spare(self) -> None:
        """Wait for a slot that no file wants as its first one, and take it; give it back with `release`."""
        while self._slots.value == 0:
            await self._spare.park()
        self._slots.acquire_nowait()

    def release(self) -> None:
        """Give a slot back."""
        self._slots.release()
        if self._slots.value > 0:
            self._spare.unpark()
