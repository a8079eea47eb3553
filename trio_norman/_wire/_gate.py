"""One door per origin that a ``Retry-After`` closes for every task at once."""

from __future__ import annotations

import math

import attrs
import trio

from .._sansio.redirects import origin
from ..errors import ServiceError, TrioNormanError


@attrs.define
class Gates:
    """The doors of one client. What one task was told to wait, all tasks of that origin wait."""

    longest: float = 300.0  # seconds; a peer that asks for more closes nothing
    _open_at: dict[tuple[str, str, int], float] = attrs.field(init=False, factory=dict)

    async def wait(self, url: str) -> None:
        """Return once the origin of `url` may be asked again. Cancellation: nothing has happened."""
        if not self._open_at:  # nearly always
            return
        while (until := self._open_at.get(origin(url), -math.inf)) > trio.current_time():  # noqa: ASYNC110 (others may move the moment)
            await trio.sleep_until(until)

    def note(self, url: str, error: TrioNormanError) -> None:
        """Close the door for as long as an answer asked for."""
        if isinstance(error, ServiceError) and error.retry_after is not None and error.retry_after <= self.longest:
            until = trio.current_time() + error.retry_after
            self._open_at[origin(url)] = max(until, self._open_at.get(origin(url), until))
