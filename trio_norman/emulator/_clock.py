"""Wall time that follows Trio's clock, so that a test's clock moves expiry, dates and delays alike."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate

import attrs
import trio


@attrs.define(eq=False)
class WallClock:
    """The emulator's wall time: `epoch` (Unix seconds) plus the Trio time that has passed since."""

    epoch: float
    _started: float = attrs.field(factory=trio.current_time, init=False)

    def now(self) -> float:
        """Give the wall time in Unix seconds."""
        return self.epoch + trio.current_time() - self._started

    def jump(self, seconds: float) -> None:
        """Set the wall time forward, or back; running waits are not touched."""
        self.epoch += seconds


def http_date(moment: float) -> str:
    """Write Unix seconds as an HTTP date."""
    return formatdate(int(moment), usegmt=True)


def iso_date(moment: float) -> str:
    """Write Unix seconds as ISO 8601 in UTC with ``Z``; fractions only where there are some."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
