"""What the groups of low-level calls have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs

from . import _calls as api
from ._session import Session

T = TypeVar("T")


@attrs.frozen(eq=False, repr=False)
class Service:
    """A group of calls of an open `Norman`.

    Every call raises `TransportError`, `ServiceError` or `MalformedResponseError` as its kind of failure is, and
    `trio.ClosedResourceError` outside the client's block. Calls that only read, or do no more when they are made
    twice, are repeated within the retry policy. Cancellation: these calls did nothing; another one may have happened.
    """

    _session: Callable[[], Session]

    async def _ask(self, call: api.Call[T]) -> T:
        return await self._session().ask(call)
