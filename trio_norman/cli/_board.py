"""How far a batch is, as a progress display needs it. No clock, no terminal: events in, figures out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from ..transfer import (
    DownloadAdvanced,
    DownloadFinished,
    DownloadResult,
    DownloadRetrying,
    DownloadStarted,
    Event,
    Outcome,
    Source,
)
from ._sizes import shown_rate, shown_seconds, shown_size

_WINDOW = 5.0  # seconds over which a rate is taken


@attrs.define(eq=False)
class ActiveFile:
    """One file that is being worked on."""

    source: Source  # also keeps its `id` from being given to another source
    done_bytes: int
    size_bytes: int | None
    received_bytes: int = 0
    is_waiting: bool = False  # for the next attempt


@attrs.define(eq=False)
class Board:
    """The figures of one batch.

    `expected_items` and `expected_bytes` are what the listing has given so far; they are totals once `is_listed`.
    """

    expected_items: int = 0
    expected_bytes: int | None = 0  # None once an item's size was not known
    is_listed: bool = False
    items_ok: int = 0
    items_skipped: int = 0
    items_failed: int = 0
    _settled_bytes: int = attrs.field(init=False, default=0)
    _received_bytes: int = attrs.field(init=False, default=0)
    _active: dict[int, ActiveFile] = attrs.field(init=False, factory=dict)
    _samples: deque[tuple[float, int]] = attrs.field(init=False, factory=deque)
    _began: float | None = attrs.field(init=False, default=None)

    def expect(self, size_bytes: int | None) -> None:
        """Count one more item that will come."""
        self.expected_items += 1
        if self.expected_bytes is not None:
            self.expected_bytes = None if size_bytes is None else self.expected_bytes + size_bytes

    def note(self, event: Event) -> None:
        """Take in what the engine tells."""
        match event:
            case DownloadStarted(source=source, size_bytes=size, held_bytes=held):
                self._active[id(source)] = ActiveFile(source, held, size)
            case DownloadAdvanced(source=source, done_bytes=done, size_bytes=size):
                self._advance(self._active.get(id(source)), done, size)
            case DownloadRetrying(source=source):
                if id(source) in self._active:
                    self._active[id(source)].is_waiting = True
            case DownloadFinished(result=result):
                self._finish(result)

    def _advance(self, file: ActiveFile | None, done: int, size: int | None) -> None:
        if file is None:
            return
        fresh = max(0, done - file.done_bytes)  # it goes back where a file is begun anew
        file.received_bytes += fresh
        self._received_bytes += fresh
        file.done_bytes, file.size_bytes, file.is_waiting = done, size, False

    def _finish(self, result: DownloadResult) -> None:
        file = self._active.pop(id(result.source), None)
        counted = 0 if file is None else file.received_bytes
        self._received_bytes += max(0, result.received_bytes - counted)
        self._settled_bytes += result.size_bytes or (0 if file is None else file.done_bytes)
        self.items_ok += result.outcome is Outcome.OK
        self.items_skipped += result.outcome is Outcome.SKIPPED
        self.items_failed += result.outcome is Outcome.FAILED

    @property
    def active(self) -> Sequence[ActiveFile]:
        """The files that are being worked on, oldest first."""
        return list(self._active.values())

    @property
    def items_done(self) -> int:
        """Items that are done with, whatever came of them."""
        return self.items_ok + self.items_skipped + self.items_failed

    @property
    def done_bytes(self) -> int:
        """Bytes that are here: of finished files, and of those under way."""
        return self._settled_bytes + sum(file.done_bytes for file in self._active.values())

    @property
    def received_bytes(self) -> int:
        """Bytes that came over the network."""
        return self._received_bytes

    @property
    def total_bytes(self) -> int | None:
        """Bytes of the whole batch, if that is known."""
        return self.expected_bytes if self.is_listed else None

    @property
    def total_items(self) -> int | None:
        """Items of the whole batch, if that is known."""
        return self.expected_items if self.is_listed else None

    def tick(self, now: float) -> None:
        """Take a sample for the rate; `now` is in seconds of any clock that only goes forward."""
        self._began = now if self._began is None else self._began
        self._samples.append((now, self._received_bytes))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Bytes per second over the last few seconds."""
        if len(self._samples) < 2:
            return 0.0
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will probably take, by bytes where their total is known, otherwise by items."""
        if self.total_bytes is not None:
            return max(0, self.total_bytes - self.done_bytes) / self.rate if self.rate > 0 else None
        if self.total_items is None or not self.items_done or self._began is None or not self._samples:
            return None
        elapsed = self._samples[-1][0] - self._began
        return elapsed / self.items_done * max(0, self.total_items - self.items_done)

    def line(self) -> str:
        """Return the state as one line of text."""
        more = "" if self.is_listed else "+"
        words = [f"{self.items_done}/{max(self.expected_items, self.items_done)}{more} files"]
        total = "" if self.total_bytes is None else f" of {shown_size(self.total_bytes)}"
        words += [f"{shown_size(self.done_bytes)}{total}", shown_rate(self.rate)]
        if self.items_failed:
            words.append(f"{self.items_failed} failed")
        if self.seconds_left is not None:
            words.append(f"{shown_seconds(self.seconds_left)} left")
        return ", ".join(words)

    def summary(self, seconds: float) -> str:
        """Return what came of the whole batch as one line of text."""
        words = [f"{self.items_ok} fetched"] if self.items_ok else []
        words += [f"{self.items_skipped} already there"] if self.items_skipped else []
        words += [f"{self.items_failed} failed"] if self.items_failed else []
        noun = "file" if self.items_done == 1 else "files"
        told = [f"{self.items_done} {noun}: {', '.join(words)}" if words else "no files"]
        if self._received_bytes and seconds > 0:
            rate = shown_rate(self._received_bytes / seconds)
            told.append(f"{shown_size(self._received_bytes)} received in {seconds:.1f} s ({rate})")
        return "; ".join(told)
