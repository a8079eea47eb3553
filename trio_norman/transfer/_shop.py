"""What all files of one batch share."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import attrs
import trio

from ._connections import Connections
from ._folder import Folder
from ._model import (
    DownloadAdvanced,
    DownloadFinished,
    DownloadOptions,
    DownloadStarted,
    Event,
    Fetch,
    OnEvent,
    Outcome,
)
from ._small import SmallFiles


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

    fetch: Fetch
    folder: Folder
    options: DownloadOptions
    on_event: OnEvent | None
    luck: Callable[[], float] = random.random
    progress: Progress = attrs.field(factory=Progress)
    connections: Connections = attrs.field(init=False)
    disk: trio.CapacityLimiter = attrs.field(init=False)
    hashing: trio.CapacityLimiter = attrs.field(init=False)
    small_files: SmallFiles = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        total = self.options.max_connections or self.options.max_concurrency
        self.connections = Connections(total)
        self.disk = trio.CapacityLimiter(total + 2)
        overwrite = self.options.existing == "overwrite"
        self.small_files = SmallFiles(self.folder, overwrite, self.options.durable)
        self.hashing = trio.CapacityLimiter(os.cpu_count() or 2)

    def emit(self, event: Event) -> None:
        """Count an event and pass it on. What the user's callback raises goes through unchanged."""
        match event:
            case DownloadStarted(held_bytes=held):
                self.progress.held_bytes += held
            case DownloadFinished(result=result):
                self._count(result.outcome)
            case DownloadAdvanced():
                pass
            case _:
                pass
        if self.on_event is not None:
            self.on_event(event)

    def _count(self, outcome: Outcome) -> None:
        self.progress.items_ok += outcome is Outcome.OK
        self.progress.items_skipped += outcome is Outcome.SKIPPED
        self.progress.items_failed += outcome is Outcome.FAILED
