"""When a body is too slow to go on with."""

from __future__ import annotations

import attrs


@attrs.frozen
class StallLimit:
    """A body must bring `bytes_per_second` on average over every window of `seconds`."""

    bytes_per_second: float = attrs.field(default=1024.0, validator=attrs.validators.ge(0))
    seconds: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))


@attrs.define
class StallWatch:
    """The windows of one body: each ends with enough bytes before its deadline, or with the transfer.

    A fast start buys nothing: a window that is full begins the next one, and surplus bytes are not carried over.
    """

    limit: StallLimit
    now: float
    _received: int = attrs.field(init=False, default=0)
    deadline: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.deadline = self.now + self.limit.seconds

    def advance(self, count: int, now: float) -> float:
        """Note `count` bytes at the time `now` and return the deadline, on the same clock."""
        self._received += count
        if self._received >= self.limit.bytes_per_second * self.limit.seconds:
            self._received, self.deadline = 0, now + self.limit.seconds
        return self.deadline

    def excuse(self, seconds: float) -> float:
        """Lengthen the window by time in which nobody was reading, and return the deadline."""
        self.deadline += seconds
        return self.deadline
