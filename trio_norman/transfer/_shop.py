"""What all files of one batch share."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import cast

import attrs
import trio

from .._sansio.climbing import Climber
from .._sansio.ranges import ByteRange
from .._sansio.retrying import RetryBudget
from .._sansio.throttling import Throttle
from .._wire._fetching import Answer
from ..errors import ServiceError, TrioNormanError
from ._connections import Connections
from ._folder import Folder
from ._model import (
    DownloadFinished,
    DownloadOptions,
    DownloadRetrying,
    DownloadStarted,
    Event,
    Fetch,
    Link,
    OnEvent,
    Outcome,
    PinningFetch,
    Source,
)
from ._small import SmallFiles

_LOOK_EVERY = 0.05  # seconds
_BURST = 0.25  # seconds' worth of bytes that may come at once under a limit
_SIPS = 4  # parts in which that is taken, so that the bucket hardly ever stands full and loses what would flow in
_FEWEST_AT_FIRST, _MOST_AT_FIRST = 4, 16  # connections that "auto" begins with
_MOST_CONNECTIONS = 64  # that "auto" ever tries
_OF_A_CONNECTION = 3  # descriptors: a socket, the two ends of a pipe
_OF_A_FILE = 2  # descriptors that it holds even while it waits for a connection: a partial and its sidecar
_DESCRIPTORS_KEPT = 32  # for everything else in the process
_NO_LIMIT = 2**31  # more than any batch has files


def most_files(options: DownloadOptions) -> int:
    """Return how many files a batch works on at the same time: no more than there are descriptors for."""
    return max(1, min(options.max_concurrency, _descriptors() // (_OF_A_FILE + _OF_A_CONNECTION)))


def most_connections(options: DownloadOptions) -> int:
    """Return the largest number of connections that a batch may come to."""
    if isinstance(options.max_connections, int):
        return options.max_connections
    files = most_files(options)
    if options.max_connections is None:
        return files
    return max(1, min(_MOST_CONNECTIONS, (_descriptors() - _OF_A_FILE * files) // _OF_A_CONNECTION))


def _descriptors() -> int:
    """Return how many descriptors a batch may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (_NO_LIMIT if soft == resource.RLIM_INFINITY else soft) - _DESCRIPTORS_KEPT


def _first_level(max_concurrency: int) -> int:
    """Return how many connections "auto" begins with: as many as there may be files, within reason."""
    return min(max(max_concurrency, _FEWEST_AT_FIRST), _MOST_AT_FIRST)


@attrs.define
class Progress:
    """How far a batch is; a snapshot, in items and bytes.

    `items_seen` grows as long as the listing goes on; `received_bytes` came over the network, `held_bytes` were there
    from an earlier run.
    """

    items_seen: int = 0
    items_ok: int = 0
    items_skipped: int = 0
    items_failed: int = 0
    received_bytes: int = 0
    held_bytes: int = 0

    @property
    def items_done(self) -> int:
        """Items that are done with, whatever came of them."""
        return self.items_ok + self.items_skipped + self.items_failed


@attrs.define(eq=False)
class Shop:
    """The tools of one batch: where from, where to, how, and the limits that its files share."""

    _fetch: Fetch
    folder: Folder
    options: DownloadOptions
    on_event: OnEvent | None
    luck: Callable[[], float] = random.random
    progress: Progress = attrs.field(factory=Progress)
    connections: Connections = attrs.field(init=False)
    climber: Climber | None = attrs.field(init=False)
    throttle: Throttle | None = attrs.field(init=False)
    disk: trio.CapacityLimiter = attrs.field(init=False)
    hashing: trio.CapacityLimiter = attrs.field(init=False)
    small_files: SmallFiles = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        limit, is_auto = most_connections(self.options), self.options.max_connections == "auto"
        self.climber = Climber(limit, _first_level(self.options.max_concurrency)) if is_auto else None
        self.connections = Connections(limit if self.climber is None else self.climber.target)
        self.disk = trio.CapacityLimiter(limit + 2)
        rate = self.options.bytes_per_second
        self.throttle = None if rate is None else Throttle(rate, max(1024, int(rate * _BURST)))
        overwrite = self.options.existing == "overwrite"
        self.small_files = SmallFiles(self.folder, overwrite, self.options.durable)
        self.hashing = trio.CapacityLimiter(os.cpu_count() or 2)

    def ask(
        self, link: Link, span: ByteRange | None = None, if_range: str | None = None
    ) -> AbstractAsyncContextManager[Answer]:
        """Open the answer to a GET of what a link leads to; see `Fetch`."""
        if link.pinned_pem is None:
            return self._fetch(link.url, span, if_range)
        return cast(PinningFetch, self._fetch)(link.url, span, if_range, link.pinned_pem)

    async def climb(self) -> None:
        """Keep the number of connections at what the link deserves, until cancelled; at once, if it is fixed."""
        while self.climber is not None:
            await trio.sleep(_LOOK_EVERY)
            now, received = trio.current_time(), self.progress.received_bytes
            self.connections.resize(self.climber.observe(now, received, self.connections.busy))

    def next_try(self, source: Source, error: TrioNormanError, budget: RetryBudget) -> float | None:
        """Return the seconds until what ended in `error` is tried again, which is told; None if `error` is final.

        Fewer connections are used from now on if a server has refused a request for there being too many.
        """
        if self.climber is not None and isinstance(error, ServiceError) and error.status in {429, 503}:
            self.connections.resize(self.climber.refused(trio.current_time()))
        wait = budget.after(error, now=trio.current_time(), jitter=self.luck())
        if wait is not None:
            self.emit(DownloadRetrying(source, error, wait))
        return wait

    async def allowance(self, count: int) -> int:
        """Wait until some of `count` bytes may be received, and return how many; they count as received."""
        if self.throttle is None or count == 0:
            return count
        some = min(count, max(1, self.throttle.burst_bytes // _SIPS))
        while self.throttle.allowance(trio.current_time()) < some:  # noqa: ASYNC110 (others may have been quicker)
            await trio.sleep(self.throttle.wait(some, trio.current_time()))
        self.throttle.take(some, trio.current_time())
        return some

    def emit(self, event: Event) -> None:
        """Count an event and pass it on. What the user's callback raises goes through unchanged."""
        match event:
            case DownloadStarted(held_bytes=held):
                self.progress.held_bytes += held
            case DownloadFinished(result=result):
                self._count(result.outcome)
        if self.on_event is not None:
            self.on_event(event)

    def _count(self, outcome: Outcome) -> None:
        self.progress.items_ok += outcome is Outcome.OK
        self.progress.items_skipped += outcome is Outcome.SKIPPED
        self.progress.items_failed += outcome is Outcome.FAILED
