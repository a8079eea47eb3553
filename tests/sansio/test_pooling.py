from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trio_norman._sansio.pooling import PoolLedger, Ticket


class Pool(RuleBasedStateMachine):
    """Requests that come, wait, give up and give back, against a model that knows every connection."""

    @initialize(
        at_most=st.integers(1, 4), of_one=st.none() | st.integers(1, 4), idle_seconds=st.sampled_from([0.0, 5.0, 50.0])
    )
    def begin(self, at_most: int, of_one: int | None, idle_seconds: float) -> None:
        self.ledger: PoolLedger[str] = PoolLedger(at_most=at_most, at_most_per_origin=of_one, idle_seconds=idle_seconds)
        self.at_most, self.of_one, self.idle_seconds = at_most, of_one or at_most, idle_seconds
        self.now, self.opened = 0.0, 0
        self.holding: list[tuple[Ticket[str], str]] = []
        self.waiting: list[Ticket[str]] = []
        self.idle: dict[str, tuple[str, float]] = {}  # connection to its origin and its last use

    def settle(self) -> None:
        """Close what the pool has let go of."""
        for connection in self.ledger.retired():
            del self.idle[connection]

    @property
    def gone(self) -> set[str]:
        """Connections that are too old to be used."""
        return {each for each, (_, since) in self.idle.items() if self.now - since >= self.idle_seconds}

    @rule(origin=st.sampled_from("abc"))
    def ask(self, origin: str) -> None:
        old = self.gone
        usable = [each for each, (of, _) in self.idle.items() if of == origin and each not in old]
        ticket = self.ledger.ask(origin, self.now)
        if ticket.is_granted:
            assert (ticket.connection is not None) == bool(usable)
            if usable:
                assert ticket.connection == usable[-1]
                self.holding.append((ticket, usable[-1]))
                del self.idle[usable[-1]]
            else:
                self.opened += 1
                self.holding.append((ticket, f"{origin}#{self.opened}"))
        else:
            self.waiting.append(ticket)
        self.settle()
        assert not old & set(self.idle)

    @precondition(lambda self: self.holding)
    @rule(data=st.data(), is_reusable=st.booleans())
    def give_back(self, data: st.DataObject, is_reusable: bool) -> None:
        ticket, connection = data.draw(st.sampled_from(self.holding))
        self.holding.remove((ticket, connection))
        if is_reusable:
            self.idle[connection] = (str(ticket.origin), self.now)
        granted = self.ledger.give_back(ticket, connection if is_reusable else None, self.now)
        if granted is not None:
            assert granted is next(each for each in self.waiting if each.is_granted)
            before = self.waiting[: self.waiting.index(granted)]
            self.waiting.remove(granted)
            if granted.connection is None:
                self.opened += 1
                self.holding.append((granted, f"{granted.origin}#{self.opened}"))
            else:
                assert self.idle.pop(granted.connection)[0] == granted.origin
                self.holding.append((granted, granted.connection))
            self.settle()
            # Only those whose own origin has no room are passed over.
            assert all(self.slots_of(str(each.origin)) >= self.of_one for each in before)
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ticket)
        self.ledger.withdraw(ticket)
        self.ledger.withdraw(ticket)

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def slots_of(self, origin: str) -> int:
        held = sum(ticket.origin == origin for ticket, _ in self.holding)
        return held + sum(of == origin for of, _ in self.idle.values())

    @invariant()
    def the_books_agree_with_what_is_open(self) -> None:
        assert self.ledger.open == len(self.holding) + len(self.idle) <= self.at_most
        assert self.ledger.idle == len(self.idle)
        assert self.ledger.waiting == len(self.waiting)
        assert not any(ticket.is_granted for ticket in self.waiting)
        assert all(self.slots_of(origin) <= self.of_one for origin in "abc")

    @invariant()
    def nobody_waits_while_there_is_room(self) -> None:
        for ticket in self.waiting:
            full = len(self.holding) == self.at_most
            assert full or self.slots_of(str(ticket.origin)) >= self.of_one
            assert full or not any(of == ticket.origin for of, _ in self.idle.values())

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        assert self.ledger.close() == self.waiting
        assert set(self.ledger.retired()) == set(self.idle)
        for ticket, connection in self.holding:
            assert self.ledger.give_back(ticket, connection, self.now) is None
            assert self.ledger.retired() == [connection]
        assert (self.ledger.open, self.ledger.idle, self.ledger.waiting) == (0, 0, 0)


Pool.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestPool = Pool.TestCase


@given(requests=st.integers(1, 50), at_most=st.integers(1, 5))
def test_requests_of_one_origin_are_served_in_the_order_in_which_they_came(requests: int, at_most: int) -> None:
    ledger: PoolLedger[str] = PoolLedger(at_most=at_most, at_most_per_origin=None, idle_seconds=60)
    tickets = [ledger.ask("a", 0.0) for _ in range(requests)]
    served = [ticket for ticket in tickets if ticket.is_granted]
    assert served == tickets[:at_most]
    for turn in range(requests):
        following = ledger.give_back(served[turn], f"c{turn}", 0.0)
        served += [] if following is None else [following]
    assert served == tickets


def test_the_connection_of_another_origin_makes_room() -> None:
    ledger: PoolLedger[str] = PoolLedger(at_most=1, at_most_per_origin=None, idle_seconds=60)
    ledger.give_back(ledger.ask("a", 0.0), "connection", 0.0)
    ticket = ledger.ask("b", 1.0)
    assert (ticket.is_granted, ticket.connection) == (True, None)
    assert ledger.retired() == ["connection"]


def test_an_origin_at_its_own_limit_holds_up_nobody_else() -> None:
    ledger: PoolLedger[str] = PoolLedger(at_most=2, at_most_per_origin=1, idle_seconds=60)
    first, second = ledger.ask("a", 0.0), ledger.ask("a", 0.0)
    assert (first.is_granted, second.is_granted, ledger.ask("b", 0.0).is_granted) == (True, False, True)
    assert ledger.give_back(first, None, 0.0) is second


@pytest.mark.parametrize(
    ("at_most", "of_one", "idle_seconds"), [(0, None, 1.0), (1, 0, 1.0), (1, None, -1.0), (1, None, float("nan"))]
)
def test_a_pool_without_room_is_refused(at_most: int, of_one: int | None, idle_seconds: float) -> None:
    with pytest.raises(ValueError, match="a pool needs room"):
        PoolLedger(at_most=at_most, at_most_per_origin=of_one, idle_seconds=idle_seconds)


def test_closing_retires_what_is_idle_and_keeps_nothing_that_comes_back() -> None:
    ledger: PoolLedger[str] = PoolLedger(at_most=2, at_most_per_origin=None, idle_seconds=60)
    busy, idle, waiting = ledger.ask("a", 0.0), ledger.ask("b", 0.0), ledger.ask("c", 0.0)
    ledger.withdraw(waiting)
    ledger.give_back(idle, "idle", 0.0)
    assert (ledger.close(), ledger.retired()) == ([], ["idle"])
    assert ledger.give_back(busy, "busy", 0.0) is None
    assert (ledger.retired(), ledger.open) == (["busy"], 0)


def test_of_idle_connections_the_one_used_last_is_taken_and_the_others_stay() -> None:
    ledger: PoolLedger[str] = PoolLedger(at_most=2, at_most_per_origin=None, idle_seconds=60)
    for ticket, connection in [(ledger.ask("a", 0.0), "older"), (ledger.ask("a", 0.0), "newer")]:
        ledger.give_back(ticket, connection, 0.0)
    assert ledger.ask("a", 1.0).connection == "newer"
    assert (ledger.idle, ledger.open, ledger.retired()) == (1, 2, [])
