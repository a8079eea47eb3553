"""Who may have a connection: the books of a connection pool, without the connections' own workings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import attrs

#: Whatever stands for an idle connection; only its identity matters.
C = TypeVar("C", bound=Hashable)


@attrs.define(eq=False)
class Ticket(Generic[C]):
    """One request's claim to a connection of `origin`: it waits in the queue, or it holds one slot.

    Once `is_granted`, `connection` is the idle connection that came with the slot, or None: open one.
    """

    origin: Hashable
    is_granted: bool = False
    connection: C | None = None


class PoolLedger(Generic[C]):
    """Slots, idle connections and the queue for them; every change is one plain call, so none is half done.

    A slot is the right to have one connection open. Requests get theirs first come, first served; one whose
    origin is at its own limit is passed over by requests for other origins, and by no others. Of several
    idle connections the one used last is taken, so that the rest can grow old.

    Args:
        at_most: Connections open at one time, idle ones included; at least 1.
        at_most_per_origin: The same for one origin; None for no limit of its own.
        idle_seconds: How long a connection is kept for a next request; 0 keeps none.

    Raises:
        ValueError: If a limit is below 1 or `idle_seconds` is negative.
    """

    def __init__(self, *, at_most: int, at_most_per_origin: int | None, idle_seconds: float) -> None:
        if at_most < 1 or (at_most_per_origin is not None and at_most_per_origin < 1) or not idle_seconds >= 0:
            raise ValueError("a pool needs room for one connection, and an idle time of 0 or more seconds")
        self._at_most = at_most
        self._at_most_per_origin = at_most if at_most_per_origin is None else at_most_per_origin
        self._idle_seconds = idle_seconds
        self._slots: Counter[Hashable] = Counter()
        self._taken = 0
        self._queue: dict[Ticket[C], None] = {}
        # Both in order of the last use: everything that is idle, and the same by origin.
        self._idle: dict[C, tuple[Hashable, float]] = {}
        self._idle_of: dict[Hashable, dict[C, None]] = {}
        self._retired: list[C] = []
        self.is_closed = False

    @property
    def open(self) -> int:
        """Slots in use: idle connections, and those that a request holds or is opening."""
        return self._taken

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return len(self._queue)

    def ask(self, origin: Hashable, now: float) -> Ticket[C]:
        """Claim a connection to `origin`; look at `Ticket.is_granted` whether there is one at once.

        Args:
            origin: Connections are only reused for the origin that they were opened for.
            now: Seconds on any clock that never goes back, the same for every call.
        """
        self._expire(now)
        ticket: Ticket[C] = Ticket(origin)
        if not self._grant(ticket):
            self._queue[ticket] = None
        return ticket

    def withdraw(self, ticket: Ticket[C]) -> None:
        """Take a ticket that is still waiting out of the queue."""
        self._queue.pop(ticket, None)

    def give_back(self, ticket: Ticket[C], connection: C | None, now: float) -> Ticket[C] | None:
        """End the claim of a granted ticket, exactly once.

        Args:
            connection: The connection, if it can serve another request; None if it is closed.
            now: As for `ask`.

        Returns:
            The waiting ticket that was granted in its place, if any.
        """
        if connection is None or self.is_closed or self._idle_seconds == 0:
            if connection is not None:
                self._retired.append(connection)
            self._free(ticket.origin)
        else:
            self._idle[connection] = (ticket.origin, now)
            self._idle_of.setdefault(ticket.origin, {})[connection] = None
        self._expire(now)
        return self._grant_next()

    def retired(self) -> list[C]:
        """Return the connections that have expired or lost their place since the last call: close them."""
        retired, self._retired = self._retired, []
        return retired

    def close(self) -> list[Ticket[C]]:
        """Retire every idle connection and empty the queue; return the tickets that waited in vain."""
        self.is_closed = True
        for connection in list(self._idle):
            self._retire(connection)
        waited, self._queue = list(self._queue), {}
        return waited

    def _grant(self, ticket: Ticket[C]) -> bool:
        """Give `ticket` an idle connection of its origin, or else a free slot, or else another origin's."""
        mine = self._idle_of.get(ticket.origin)
        if mine:
            ticket.connection = next(reversed(mine))
            self._forget_idle(ticket.connection)
            ticket.is_granted = True
            return True
        if self._slots[ticket.origin] >= self._at_most_per_origin:
            return False
        if self._taken >= self._at_most:
            if not self._idle:
                return False
            self._retire(next(iter(self._idle)))
        self._slots[ticket.origin] += 1
        self._taken += 1
        ticket.is_granted = True
        return True

    def _grant_next(self) -> Ticket[C] | None:
        # One connection was given back, so one ticket can be granted at most.
        granted = next(self._grantable(), None)
        if granted is not None:
            del self._queue[granted]
        return granted

    def _grantable(self) -> Iterator[Ticket[C]]:
        return (ticket for ticket in self._queue if self._grant(ticket))

    def _expire(self, now: float) -> None:
        while self._idle:
            oldest, (_, since) = next(iter(self._idle.items()))
            if now - since < self._idle_seconds:
                return
            self._retire(oldest)

    def _retire(self, connection: C) -> None:
        origin = self._forget_idle(connection)
        self._retired.append(connection)
        self._free(origin)

    def _forget_idle(self, connection: C) -> Hashable:
        origin, _ = self._idle.pop(connection)
        mine = self._idle_of[origin]
        del mine[connection]
        if not mine:
            del self._idle_of[origin]
        return origin

    def _free(self, origin: Hashable) -> None:
        self._taken -= 1
        self._slots[origin] -= 1
        if not self._slots[origin]:
            del self._slots[origin]
