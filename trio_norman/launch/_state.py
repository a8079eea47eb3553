"""What is open for as long as a client's block lasts, and its limits."""

from __future__ import annotations

from typing import TypeVar

import attrs
import trio

from .._wire._client import JsonAnswer, JsonClient, Sent
from .._wire._connecting import ConnectionSettings
from .._wire._fetching import Fetcher
from . import _api as api
from ._models import Model
from ._poller import Poller
from ._receiver import OpenReceiver

M = TypeVar("M", bound=Model)

QUICK_CALLS = 32  # at a time, of those that are answered at once; polls have sockets of their own
_POLLS_AT_ONCE = 16


@attrs.frozen(kw_only=True)
class LaunchLimits:
    """How long and how much a `LaunchClient` bears.

    Args:
        predict_seconds: Limit on a synchronous answer, and on a stream's head. The service itself gives up after 300.
        idle_seconds: Longest silence of a stream; the service pings every 15 seconds.
        largest_event: Most bytes of one event of a stream.
        polls_at_once: Most polls in flight.
    """

    predict_seconds: float = attrs.field(default=330.0, validator=attrs.validators.gt(0))
    idle_seconds: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    largest_event: int = attrs.field(default=8 * 2**20, validator=attrs.validators.ge(1))
    polls_at_once: int = attrs.field(default=_POLLS_AT_ONCE, validator=attrs.validators.ge(1))


@attrs.frozen(eq=False)
class OpenState:
    """What exists only between entering and leaving the client's block."""

    quick: JsonClient
    quick_calls: trio.Semaphore
    patient: JsonClient
    fetcher: Fetcher
    connection: ConnectionSettings
    nursery: trio.Nursery
    poller: Poller
    receiver: OpenReceiver | None
    idle_seconds: float
    largest_event: int

    async def call(self, client: JsonClient, call: api.Call[M], sent: Sent) -> JsonAnswer:
        """Make a call that is answered at once, when its turn comes.

        There are never more of them than sockets: waiting for one of those would count as the service's silence.
        """
        try:
            self.quick_calls.acquire_nowait()
        except trio.WouldBlock:
            await self.quick_calls.acquire()
        try:
            return await client.call(call.method, call.path, call.query, sent)
        finally:
            self.quick_calls.release()
