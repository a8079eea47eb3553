"""The time limits that an httpx client passes to its transport."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import trio


@contextmanager
def read_limit(request: httpx.Request) -> Iterator[None]:
    """Raise `httpx.ReadTimeout` when the block takes longer than the request allows for one read."""
    limit = request.extensions.get("timeout", {}).get("read")
    with trio.move_on_after(math.inf if limit is None else limit) as scope:
        yield
    if scope.cancelled_caught:
        raise httpx.ReadTimeout("the peer was silent for too long", request=request)
