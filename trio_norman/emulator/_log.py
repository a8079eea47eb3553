"""What the emulator saw: requests and connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs
import trio


@attrs.define(eq=False)
class LoggedRequest:
    """One request as it came in, and how far its answer got."""

    number: int
    server: str  # "api", "storage", "other", "actor" or "norman"
    method: str
    path: str  # still percent-encoded
    query: str
    headers: Mapping[str, str]  # lower-case names; repeated ones joined with a comma
    header_list: Sequence[tuple[str, str]] = attrs.field(repr=False)
    started_at: float  # emulated wall time, Unix seconds
    body: bytes = attrs.field(default=b"", repr=False)
    status: int | None = None
    sent_bytes: int = 0  # body bytes handed over, without chunk framing; up to 256 KiB may be on the way
    is_finished: bool = False


@attrs.define(eq=False)
class RequestLog:
    """The last requests, oldest first; iterate over it, or index it."""

    keep: int = 100_000
    _held: deque[LoggedRequest] = attrs.field(init=False)
    total: int = attrs.field(default=0, init=False)  # also counts what is no longer held

    def __attrs_post_init__(self) -> None:
        self._held = deque(maxlen=self.keep)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(tuple(self._held))

    def __getitem__(self, position: int) -> LoggedRequest:
        return self._held[position]

    def of(self, *servers: str) -> list[LoggedRequest]:
        """Give the requests to these servers: ``api``, ``storage``, ``other``, ``actor``, ``norman``."""
        return [request for request in self._held if request.server in servers]

    def clear(self) -> None:
        """Forget what was seen; numbering goes on."""
        self._held.clear()

    def note(
        self,
        server: str,
        method: str,
        target: tuple[str, str],
        header_list: Sequence[tuple[str, str]],
        started_at: float,
    ) -> LoggedRequest:
        """Append a request; `target` is its path and its query."""
        headers: dict[str, str] = {}
        for name, value in header_list:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.total += 1
        path, query = target
        request = LoggedRequest(self.total, server, method, path, query, headers, header_list, started_at)
        self._held.append(request)
        return request


@attrs.define(eq=False)
class ConnectionCount:
    """How many connections are open now, were open at most, and were opened in all."""

    active: int = 0
    peak: int = 0
    total: int = 0
    _waiters: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False, repr=False)

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a connection for as long as the block lasts."""
        self.active += 1
        self.total += 1
        self.peak = max(self.peak, self.active)
        try:
            yield
        finally:
            self.active -= 1
            if not self.active:
                self._waiters.unpark_all()

    async def wait_idle(self) -> None:
        """Wait until no connection is open."""
        while self.active:
            await self._waiters.park()
        await trio.lowlevel.checkpoint()
