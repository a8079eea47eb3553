"""A wall clock that steps, as the package sees it; clocks that never step are left alone."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Self

import attrs
import pytest


@attrs.define(eq=False)
class WallClock:
    """`step` sets it forward or back, for all that asks `time` or `datetime` what time it is."""

    _seconds: float = 0.0

    def step(self, seconds: float) -> None:
        """Set the clock; nobody is told."""
        self._seconds += seconds

    @property
    def has_stepped(self) -> bool:
        """Whether it tells another time than the true clock."""
        return self._seconds != 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Put it into the place of the true one, in the package's own modules and in `time`."""
        true_time, true_now, clock = time.time, datetime.now, self

        class Stepped(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return true_now(tz) + timedelta(seconds=clock._seconds)

        monkeypatch.setattr(time, "time", lambda: true_time() + clock._seconds)
        for name, module in list(sys.modules.items()):
            if name.startswith("trio_norman.") and getattr(module, "datetime", None) is datetime:
                monkeypatch.setattr(module, "datetime", Stepped)
        return self
