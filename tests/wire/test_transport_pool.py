"""The pool: limits, order, eviction, and that nothing is lost however requests end."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator

import attrs
import httpx
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.test_transport_peer import OK, Line, answering, books, fetch, open_sockets, serving
from trio_norman._sansio.pooling import PoolLedger, Ticket
from trio_norman._wire._pool import Origin
from trio_norman._wire._transport import TrioTransport

Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "keep", "drop", "withdraw", "wait"]), st.integers(0, 7)), max_size=80
)


@attrs.define
class Model:
    """Drives a ledger the way a pool does, and knows what must hold after every step."""

    ledger: PoolLedger[int]
    at_most: int
    at_most_per_origin: int
    now: float = 0.0
    opened: int = 0
    held: dict[Ticket[int], int] = attrs.field(factory=dict)
    waiting: list[Ticket[int]] = attrs.field(factory=list)
    idle: dict[int, object] = attrs.field(factory=dict)

    def step(self, verb: str, number: int) -> None:
        if verb == "ask":
            ticket = self.ledger.ask(number % 3, self.now)
            self.take_retired()
            self.hold(ticket) if ticket.is_granted else self.waiting.append(ticket)
        elif verb == "wait":
            self.now += number
        elif verb == "withdraw" and self.waiting:
            self.ledger.withdraw(self.waiting.pop(number % len(self.waiting)))
        elif verb in {"keep", "drop"} and self.held:
            self.give_back([*self.held][number % len(self.held)], keep=verb == "keep")
        self.check()

    def hold(self, ticket: Ticket[int]) -> None:
        if ticket.connection is None:
            self.opened += 1
            self.held[ticket] = self.opened
        else:
            assert self.idle.pop(ticket.connection) == ticket.origin
            self.held[ticket] = ticket.connection

    def give_back(self, ticket: Ticket[int], *, keep: bool) -> None:
        connection = self.held.pop(ticket)
        if keep:
            self.idle[connection] = ticket.origin
        served = self.ledger.give_back(ticket, connection if keep else None, self.now)
        if served is not None:
            earlier = self.waiting[: self.waiting.index(served)]
            assert all(ticket.origin != served.origin for ticket in earlier)
            self.waiting.remove(served)
            if served.connection is not None:
                self.hold(served)
        self.take_retired()
        if served is not None and served not in self.held:
            self.hold(served)

    def take_retired(self) -> None:
        for connection in self.ledger.retired():
            del self.idle[connection]

    def check(self) -> None:
        ledger = self.ledger
        assert (ledger.open, ledger.idle, ledger.waiting) == (
            len(self.held) + len(self.idle),
            len(self.idle),
            len(self.waiting),
        )
        assert ledger.open <= self.at_most
        for origin in range(3):
            assert self.slots_of(origin) <= self.at_most_per_origin
        for ticket in self.waiting:
            is_full = ledger.open == self.at_most and not ledger.idle
            assert ticket.origin not in self.idle.values()
            assert is_full or self.slots_of(ticket.origin) == self.at_most_per_origin

    def slots_of(self, origin: object) -> int:
        return [*(ticket.origin for ticket in self.held), *self.idle.values()].count(origin)


@given(steps=STEPS, at_most=st.integers(1, 4), per_origin=st.integers(1, 4), idle_seconds=st.integers(0, 9))
def test_no_step_loses_a_slot_or_leaves_one_unused(
    steps: list[Step], at_most: int, per_origin: int, idle_seconds: int
) -> None:
    ledger: PoolLedger[int] = PoolLedger(at_most=at_most, at_most_per_origin=per_origin, idle_seconds=idle_seconds)
    model = Model(ledger, at_most, per_origin)
    for verb, number in steps:
        model.step(verb, number)
    while model.held:
        model.step("drop", 0)
    assert not model.waiting
    ledger.close()
    model.take_retired()
    assert (ledger.open, ledger.idle, ledger.waiting) == (0, 0, 0)


def test_of_idle_connections_the_last_used_is_taken_and_the_others_expire() -> None:
    ledger: PoolLedger[str] = PoolLedger(at_most=9, at_most_per_origin=None, idle_seconds=10)
    first, second = ledger.ask("a", 0), ledger.ask("a", 0)
    ledger.give_back(first, "old", 1)
    ledger.give_back(second, "new", 2)
    assert ledger.ask("a", 10).connection == "new"
    assert ledger.ask("a", 11).connection is None
    assert ledger.retired() == ["old"]


def test_another_origins_idle_connection_makes_room() -> None:
    ledger: PoolLedger[str] = PoolLedger(at_most=2, at_most_per_origin=None, idle_seconds=10)
    one, two = ledger.ask("a", 0), ledger.ask("b", 0)
    ledger.give_back(two, "b1", 1)
    ledger.give_back(one, "a1", 2)
    assert ledger.ask("c", 3).is_granted
    assert ledger.retired() == ["b1"]
    assert ledger.ask("a", 3).connection == "a1"
    assert not ledger.ask("b", 3).is_granted


async def test_requests_wait_their_turn_and_a_cancelled_one_costs_nothing() -> None:
    served: list[int] = []

    async def ask(number: int, scope: trio.CancelScope) -> None:
        with scope:
            await fetch(transport, peer.url(), headers={"X-Number": str(number)})
            served.append(number)

    async with serving(answering(OK)) as peer, TrioTransport(max_connections=1) as transport:
        await fetch(transport, peer.url())
        assert books(transport) == (1, 1, 0)
        held = await transport._pool.lease(Origin("http", b"127.0.0.1", peer.port), seconds=1)
        scopes = [trio.CancelScope() for _ in range(6)]
        async with trio.open_nursery() as nursery:
            for number, scope in enumerate(scopes):
                nursery.start_soon(ask, number, scope)
                await trio.testing.wait_all_tasks_blocked()
            assert books(transport) == (1, 0, 6)
            scopes[2].cancel()
            await trio.testing.wait_all_tasks_blocked()
            scopes[0].cancel()  # at the very instant when its turn comes
            held.release()
        assert served == [1, 3, 4, 5]
        assert books(transport) == (1, 1, 0)
        assert peer.accepted == 1


async def test_a_request_gives_up_waiting_for_its_turn() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await line.request()

    async with serving(script) as peer, TrioTransport(max_connections_per_origin=1) as transport:
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        with pytest.raises(httpx.PoolTimeout, match=r"no connection came free within 0\.005 s"):
            await fetch(transport, peer.url(), extensions={"timeout": {"pool": 0.005}})
        assert books(transport) == (1, 0, 0)
        await response.aclose()


async def test_closing_turns_the_queue_away() -> None:
    refused: list[int] = []

    async def ask() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await fetch(transport, peer.url())
        refused.append(1)

    async def script(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await line.request()

    async with serving(script) as peer:
        transport = TrioTransport(max_connections=1)
        response = await transport.handle_async_request(httpx.Request("GET", peer.url()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await transport.aclose()
        assert len(refused) == 2
        await response.aclose()
        assert books(transport) == (0, 0, 0)


async def test_an_idle_connection_gives_way_to_another_origin() -> None:
    async with serving(answering(OK)) as one, serving(answering(OK)) as two:
        async with TrioTransport(max_connections=1) as transport:
            await fetch(transport, one.url())
            await fetch(transport, two.url())
            await one.all_gone()
            assert (one.accepted, two.accepted) == (1, 1)
            assert books(transport) == (1, 1, 0)


LONG = b"x" * 400_000


async def moody(line: Line) -> None:
    """Answer by the path: whole, long, in chunks, half, or not at all."""
    while (request := await line.request()) is not None:
        path = request.split()[1]
        if path == b"/long":
            await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(LONG), LONG))
        elif path == b"/chunked":
            await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await trio.lowlevel.checkpoint()
            await line.send(b"0\r\n\r\n")
        elif path == b"/half":
            await line.send(OK[:-2])
        elif path != b"/silent":
            await line.send(OK)


class SlowBody(httpx.AsyncByteStream):
    """A body of a few pieces with a checkpoint before each."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            yield b"x" * 1000


@attrs.define(eq=False)
class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task goes to sleep for the `count`-th time."""

    task: trio.lowlevel.Task
    scope: trio.CancelScope
    count: int

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.count -= 1
            if not self.count:
                self.scope.cancel()


@pytest.mark.parametrize("path", ["/", "/long", "/chunked", "/half", "/silent"])
@pytest.mark.parametrize("is_fresh", [True, False])
async def test_a_cancel_at_each_wait_leaves_nothing_behind(path: str, is_fresh: bool) -> None:
    before = open_sockets()
    async with serving(moody) as peer:
        async with TrioTransport(max_connections=1, keepalive_expiry=0 if is_fresh else 30) as transport:
            for count in range(1, 100):
                if not is_fresh:
                    await fetch(transport, peer.url())
                with trio.CancelScope() as scope, contextlib.suppress(httpx.ReadTimeout):
                    instrument = CancelAt(trio.lowlevel.current_task(), scope, count)
                    trio.lowlevel.add_instrument(instrument)
                    await fetch(transport, peer.url(path), extensions={"timeout": {"read": 0.005}})
                trio.lowlevel.remove_instrument(instrument)
                taken, idle, waiting = books(transport)
                assert taken == idle
                assert not waiting
                if not scope.cancelled_caught:
                    break
            assert (await fetch(transport, peer.url())).content == b"hello"
        await peer.all_gone()
    assert open_sockets() == before


@pytest.mark.rows("M-07")
async def test_a_thousand_cancelled_requests_leave_the_pool_whole() -> None:
    """The next request works; never more connections than allowed, none left after the end."""
    dice = random.Random(20)
    before = open_sockets()
    finished = 0

    async def ask(transport: TrioTransport, url: str, longest: float) -> None:
        nonlocal finished
        for _ in range(50):
            path = dice.choice(["/", "/long", "/chunked", "/half", "/silent"])
            # The stream itself, not as `content`: httpx would wrap it, and closes the wrapper alone.
            stream = SlowBody() if dice.random() < 0.3 else httpx.ByteStream(b"x" * 3000)
            with trio.move_on_after(dice.random() ** 2 * longest):
                headers = {"Host": "x", "Content-Length": "3000"}
                await fetch(transport, url + path, "PUT", stream=stream, headers=headers)
                finished += 1

    async with serving(moody) as peer:
        async with TrioTransport(max_connections=5) as transport:
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(fetch, transport, peer.url())
            longest = max(0.02, 3 * (trio.current_time() - began))  # on a busy machine nothing would finish in 20 ms
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask, transport, peer.url()[:-1], longest)
            taken, idle, waiting = books(transport)
            assert (taken - idle, waiting) == (0, 0)
            assert 20 < finished < 980
            responses = [
                await transport.handle_async_request(httpx.Request("GET", peer.url("/long"))) for _ in range(5)
            ]
            for response in responses:
                assert await response.aread() == LONG
        await peer.all_gone()
    assert open_sockets() == before


@pytest.mark.rows("M-07")
async def test_cancelled_requests_of_an_httpx_client_leave_the_pool_whole() -> None:
    """The next request works; never more connections than allowed, none left after the end."""
    dice = random.Random(21)
    before = open_sockets()
    transport = TrioTransport(max_connections=5)
    async with serving(moody) as peer:
        async with httpx.AsyncClient(transport=transport, timeout=None) as client:
            for _ in range(200):
                with trio.move_on_after(dice.random() * 0.004):
                    await client.get(peer.url(dice.choice(["/", "/long", "/half", "/silent"])))
            assert books(transport)[0] == books(transport)[1]
            async with client.stream("GET", peer.url("/long")) as response:
                assert await response.aread() == LONG
        await peer.all_gone()
    assert open_sockets() == before
