"""How many bytes a limited rate allows now."""

from __future__ import annotations

import math

import attrs


@attrs.define
class Throttle:
    """A bucket of `burst_bytes` that starts full and is refilled with `bytes_per_second`.

    Over any window of s seconds no more than ``bytes_per_second * s + burst_bytes`` are taken. `now` is any clock that
    never goes back, in seconds. Asking changes nothing, so it makes no difference whether time goes by in one step
    or in many.

    Args:
        bytes_per_second: Above 0 and finite; no limit at all is no throttle.
        burst_bytes: What the bucket holds, and so the most that can be taken at once; at least 1.

    Raises:
        ValueError: If a limit is out of its bounds.
    """

    bytes_per_second: float = attrs.field()
    burst_bytes: int = attrs.field(validator=attrs.validators.ge(1))
    _level: float = attrs.field(init=False)
    _since: float = attrs.field(init=False, default=-math.inf)

    @bytes_per_second.validator
    def _is_a_limit(self, attribute: attrs.Attribute[float], rate: float) -> None:
        if not 0 < rate < math.inf:
            raise ValueError(f"'bytes_per_second' must be above 0 and finite: {rate}")

    def __attrs_post_init__(self) -> None:
        self._level = float(self.burst_bytes)

    def allowance(self, now: float) -> int:
        """Return how many bytes may be taken at the time `now`; at most `burst_bytes`."""
        return math.floor(self._level_at(now))

    def take(self, count: int, now: float) -> None:
        """Note that `count` bytes are taken at the time `now`.

        Raises:
            ValueError: If `count` is negative or above the allowance.
        """
        if not 0 <= count <= self.allowance(now):
            raise ValueError(f"{count} bytes cannot be taken, {self.allowance(now)} are allowed")
        self._level, self._since = self._level_at(now) - count, max(now, self._since)

    def wait(self, count: int, now: float) -> float:
        """Return the seconds until `count` bytes may be taken: 0 if that is now, never 0 if it is not.

        Raises:
            ValueError: If `count` is more than the bucket ever holds.
        """
        if count > self.burst_bytes:
            raise ValueError(f"{count} bytes never fit into a bucket of {self.burst_bytes}")
        if count <= self.allowance(now):
            return 0.0
        ready_at = self._since + (count - self._level) / self.bytes_per_second
        # Rounded down, the wait would end a hair before the last byte is there, and the caller would come again.
        hair = 4 * (math.ulp(ready_at) + math.ulp(self.burst_bytes) / self.bytes_per_second)
        return ready_at - now + hair

    def _level_at(self, now: float) -> float:
        return min(self.burst_bytes, self._level + max(0.0, now - self._since) * self.bytes_per_second)
