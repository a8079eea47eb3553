"""Connections that outlive a request, and the queue for them; owns no task and no nursery."""

from __future__ import annotations

import socket
from typing import NamedTuple

import httpx
import trio

from .._sansio.pooling import PoolLedger, Ticket
from . import _sockets


class Origin(NamedTuple):
    """Whom a connection leads to: it serves this scheme, host and port alone, for requests that trust alike."""

    scheme: str
    host: bytes
    port: int
    pinned_pem: str | None = None


class Lease:
    """One request's right to a connection, from the pool's grant until exactly one of its two ends.

    Attributes:
        socket: The connection; None before it is opened and after the lease has ended.
    """

    def __init__(self, pool: Pool, ticket: Ticket[socket.socket]) -> None:
        self._pool = pool
        self._ticket: Ticket[socket.socket] | None = ticket
        self.socket = ticket.connection

    @trio.lowlevel.enable_ki_protection
    def release(self) -> None:
        """End well: the exchange is complete, and the connection goes to the next request if it is still quiet."""
        self._end(keep=self.socket is not None and _sockets.is_quiet(self.socket))

    @trio.lowlevel.enable_ki_protection
    def abandon(self) -> None:
        """End anyhow: the connection is closed at once. Does nothing if the lease has ended."""
        self._end(keep=False)

    @trio.lowlevel.enable_ki_protection
    def drop_connection(self) -> None:
        """Close the connection but keep the right to have one."""
        if self.socket is not None:
            _sockets.close(self.socket)
            self.socket = None

    def _end(self, *, keep: bool) -> None:
        if self._ticket is None:
            return
        if not keep:
            self.drop_connection()
        ticket, self._ticket = self._ticket, None
        sock, self.socket = self.socket, None
        self._pool.give_back(ticket, sock)


class Pool:
    """Hands out leases, first come, first served; see `PoolLedger` for its rules.

    An idle connection that expires stays open until the next request or the pool's end comes by: there is no
    task that would look.
    """

    def __init__(self, ledger: PoolLedger[socket.socket]) -> None:
        self.ledger = ledger
        self._granted: dict[Ticket[socket.socket], trio.Event] = {}

    async def lease(self, origin: Origin, *, seconds: float) -> Lease:
        """Wait for a connection to `origin`, or for the right to open one.

        Args:
            seconds: Longest wait.

        Raises:
            httpx.PoolTimeout: If none came free in time.
            trio.ClosedResourceError: If the pool is closed, or is closed meanwhile.

        Cancellation: the place in the queue is given up; a grant that came at the same instant is passed on.
        """
        if self.ledger.is_closed:
            raise trio.ClosedResourceError("this transport has been closed")
        ticket = self.ledger.ask(origin, trio.current_time())
        self._close_retired()
        if not ticket.is_granted:
            await self._wait(ticket, seconds)
        lease = Lease(self, ticket)
        if lease.socket is not None and not _sockets.is_quiet(lease.socket):
            lease.drop_connection()
        return lease

    def give_back(self, ticket: Ticket[socket.socket], sock: socket.socket | None) -> None:
        """Take a connection (None if it is closed) back from a lease that ends, and serve the queue."""
        served = self.ledger.give_back(ticket, sock, trio.current_time())
        self._close_retired()
        if served is not None:
            self._granted[served].set()

    def close(self) -> None:
        """Close the idle connections and turn the queue away; connections in use are closed when they are done."""
        turned_away = self.ledger.close()
        self._close_retired()
        for ticket in turned_away:
            self._granted[ticket].set()

    async def _wait(self, ticket: Ticket[socket.socket], seconds: float) -> None:
        granted = self._granted[ticket] = trio.Event()
        try:
            with trio.move_on_after(seconds):
                await granted.wait()
        except BaseException:
            if ticket.is_granted:  # at the instant of our cancellation
                Lease(self, ticket).release()
            raise
        finally:
            self.ledger.withdraw(ticket)
            del self._granted[ticket]
        if not ticket.is_granted:
            if self.ledger.is_closed:
                raise trio.ClosedResourceError("this transport has been closed")
            raise httpx.PoolTimeout(f"no connection came free within {seconds:g} s")

    def _close_retired(self) -> None:
        for sock in self.ledger.retired():
            _sockets.close(sock)
