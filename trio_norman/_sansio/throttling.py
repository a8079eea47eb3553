"""How many bytes a limited rate allows now."""

from __future__ import annotations

import math

import attrs


def _is_finite(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"'{attribute.name}' must be finite: {value}")


@attrs.define
class Throttle:
    """A bucket of `burst_bytes` that starts full and is refilled with `bytes_per_second`.

    Over any window of s seconds no more than ``bytes_per_second * s + burst_bytes`` are taken. `now` is any clock that
    never goes back, in seconds. All that is remembered is when the bucket will be full again, so asking changes
    nothing, and it makes no difference whether time goes by in one step or in many.

    Args:
        bytes_per_second: Above 0 and finite; no limit at all is no throttle.
        burst_bytes: What the bucket holds, and so the most that can be taken at once; at least 1.

    Raises:
        ValueError: If a limit is out of its bounds.
    """

    bytes_per_second: float = attrs.field(validator=[attrs.validators.gt(0), _is_finite])
    burst_bytes: int = attrs.field(validator=attrs.validators.ge(1))
    _full_at: float = attrs.field(init=False, default=-math.inf)

    def allowance(self, now: float) -> int:
        """Return how many bytes may be taken at the time `now`; at most `burst_bytes`."""
        missing = max(0.0, self._full_at - now) * self.bytes_per_second
        return max(0, math.floor(self.burst_bytes - missing))

    def take(self, count: int, now: float) -> None:
        """Note that `count` bytes are taken at the time `now`.

        Raises:
            ValueError: If `count` is negative or above the allowance.
        """
        if not 0 <= count <= self.allowance(now):
            raise ValueError(f"{count} bytes cannot be taken, {self.allowance(now)} are allowed")
        self._full_at = max(self._full_at, now) + count / self.bytes_per_second

    def wait(self, count: int, now: float) -> float:
        """Return the seconds until `count` bytes may be taken: 0 if that is now, never 0 if it is not.

        Raises:
            ValueError: If `count` is more than the bucket ever holds.
        """
        if count > self.burst_bytes:
            raise ValueError(f"{count} bytes never fit into a bucket of {self.burst_bytes}")
        if count <= self.allowance(now):
            return 0.0
        # Rounded down, the wait would end a hair before the last byte is there, and the caller would come again.
        hair = 8 * math.ulp(max(abs(self._full_at), abs(now)))
        return self._full_at - now - (self.burst_bytes - count) / self.bytes_per_second + hair
