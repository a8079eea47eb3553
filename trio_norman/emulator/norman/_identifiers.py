"""Identifiers as the service makes them: decimal numbers of 128 bits that grow with time."""

from __future__ import annotations

import hashlib

import attrs

from .._clock import WallClock

_GREGORIAN = 12_219_292_800  # seconds from 1582-10-15, where UUID time begins, to 1970


@attrs.define(eq=False)
class IdentifierMaker:
    """Makes identifiers; no two are equal, and later ones are greater."""

    seed: int
    clock: WallClock
    _last: int = attrs.field(default=0, init=False)

    def next(self) -> str:
        """Make one: a version-1 UUID with the most significant part of its time in front."""
        ticks = int((self.clock.now() + _GREGORIAN) * 10_000_000)
        self._last = ticks = max(ticks, self._last + 1)
        node = hashlib.blake2b(f"norman node {self.seed}".encode(), digest_size=8).digest()
        rest = int.from_bytes(node, "big") & (1 << 62) - 1 | 1 << 63
        time_hi = ticks >> 48 & 0x0FFF | 0x1000
        return str(time_hi << 112 | (ticks >> 32 & 0xFFFF) << 96 | (ticks & 0xFFFFFFFF) << 64 | rest)
