"""How fast the connections of one object are, and with it whether another one would pay."""

from __future__ import annotations

import math
import time

import attrs
import trio

from .._sansio.ranges import Ledger

# A share is divided only if each half is worth a new request: so many times as long as an answer takes to begin, within
# these bounds in seconds; and within these in bytes.
_WORTH_IT, _LEAST_WORTH, _MOST_WORTH = 3.0, 0.05, 0.25
LEAST_SPLIT, LARGEST_SPLIT = 2**18, 16 * 2**20
# A connection that brings so many bytes a second is not what limits: the disk is, or the processor, and there several
# writers of one file stand in each other's way.
_FAST = 256 * 2**20
_BUSY = 0.5  # processor seconds that each connection costs in a second: then the processor limits, and not the link
FIRST_LOOK, RECONSIDER = 0.03, 0.05  # seconds before the first look whether another connection would pay, and between


@attrs.define(eq=False)
class Pace:
    """What was measured since `begin`; `latency` is how many seconds the last answer took to begin."""

    latency: float = _MOST_WORTH
    _began: float = attrs.field(init=False, default=math.inf)
    _cpu_began: float = attrs.field(init=False, default=0.0)

    def begin(self) -> None:
        """Start to measure."""
        self._began, self._cpu_began = trio.current_time(), time.process_time()

    def weigh(self, ledger: Ledger, received: int, lanes: int) -> None:
        """Adapt what is worth a request of its own to what a connection has brought, as soon as that is known.

        Args:
            ledger: Of the object.
            received: Bytes that came so far.
            lanes: Connections that bring them now.
        """
        if trio.current_time() - self._began >= RECONSIDER:
            worth = self._speed(received, lanes) * min(max(self.latency * _WORTH_IT, _LEAST_WORTH), _MOST_WORTH)
            ledger.split_bytes = int(min(max(worth, LEAST_SPLIT), LARGEST_SPLIT))

    def is_limited_elsewhere(self, received: int, lanes: int, busy: int) -> bool:
        """Whether the disk or the processor is what limits, so that another connection would only be in the way.

        Args:
            received: As for `weigh`.
            lanes: As for `weigh`.
            busy: Connections that are in use for all objects.
        """
        used, elapsed = time.process_time() - self._cpu_began, trio.current_time() - self._began
        return self._speed(received, lanes) > _FAST or used > _BUSY * elapsed * max(busy, 1)

    def _speed(self, received: int, lanes: int) -> float:
        """Return what one connection has brought so far, in bytes a second."""
        return received / max(trio.current_time() - self._began, 0.001) / max(lanes, 1)
