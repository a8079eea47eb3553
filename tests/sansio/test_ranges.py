from __future__ import annotations

import copy
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from tests.strategies import byte_ranges, damages, sizes, texts
from trio_norman._sansio.ranges import (
    LARGEST_SIZE,
    ByteRange,
    ContentRange,
    Lane,
    Ledger,
    join_in,
    merged,
    missing_ranges,
)


def bytes_of(*spans: ByteRange) -> list[int]:
    """Return every byte of every span, once for each span that has it."""
    return sorted(at for span in spans for at in range(span.start, span.stop))


# ---- spans


@given(start=st.integers(-5, 20), stop=st.integers(-5, 20))
def test_a_span_never_starts_before_the_object_nor_stops_before_it_starts(start: int, stop: int) -> None:
    if 0 <= start <= stop:
        assert len(ByteRange(start, stop)) == stop - start
    else:
        with pytest.raises(ValueError, match=r"start|stop"):
            ByteRange(start, stop)


@given(spans=st.lists(byte_ranges()))
def test_merging_keeps_exactly_the_same_bytes(spans: list[ByteRange]) -> None:
    assert bytes_of(*merged(spans)) == sorted(set(bytes_of(*spans)))


@given(spans=st.lists(byte_ranges()))
def test_merged_spans_are_in_order_not_empty_and_do_not_touch(spans: list[ByteRange]) -> None:
    result = merged(spans)
    assert all(span.start < span.stop for span in result)
    assert all(left.stop < right.start for left, right in pairwise(result))
    assert merged(reversed(result)) == result


@given(held=st.lists(byte_ranges()), at_most=st.integers(1, 64))
def test_every_missing_byte_is_asked_for_once(held: list[ByteRange], at_most: int) -> None:
    plan = missing_ranges(200, held, at_most=at_most)
    assert bytes_of(*plan) == sorted(set(range(200)) - set(bytes_of(*held)))
    assert plan == sorted(plan)
    assert all(1 <= len(span) <= at_most for span in plan)


@given(size=st.integers(0, 199), held=st.lists(byte_ranges()))
def test_a_plan_is_refused_exactly_if_a_held_byte_lies_past_the_end(size: int, held: list[ByteRange]) -> None:
    if any(span and span.stop > size for span in held):
        with pytest.raises(ValueError, match="reaches past"):
            missing_ranges(size, held, at_most=10)
    else:
        assert all(span.stop <= size for span in missing_ranges(size, held, at_most=10))


@given(size=sizes(), parts=st.integers(1, 9))
def test_a_plan_has_no_more_requests_than_needed(size: int, parts: int) -> None:
    at_most = max(1, -(-size // parts))
    plan = missing_ranges(size, [], at_most=at_most)
    assert len(plan) == -(-size // at_most)
    assert sum(len(span) for span in plan) == size


# ---- Content-Range


@given(first=sizes(), last=sizes(), total=st.none() | sizes())
def test_content_range_is_read_exactly_if_its_numbers_fit_each_other(first: int, last: int, total: int | None) -> None:
    text = f"bytes {first}-{last}/{'*' if total is None else total}"
    makes_sense = first <= last < LARGEST_SIZE and (total is None or last < total)
    assert ContentRange.parse(text) == (ContentRange(ByteRange(first, last + 1), total) if makes_sense else None)


@given(total=sizes())
def test_an_unsatisfied_content_range_tells_the_length_only(total: int) -> None:
    assert ContentRange.parse(f"bytes */{total}") == ContentRange(None, total)


@pytest.mark.parametrize(
    ("text", "span", "total"),
    [
        ("bytes 0-0/1", ByteRange(0, 1), 1),
        ("bytes 42-1233/1234", ByteRange(42, 1234), 1234),
        ("bytes 42-1233/*", ByteRange(42, 1234), None),
        ("  BYTES 5-9/10 ", ByteRange(5, 10), 10),
        ("bytes 4294967296-4294967297/4294967298", ByteRange(2**32, 2**32 + 2), 2**32 + 2),
        ("bytes */47022", None, 47022),
    ],
)
def test_content_range_reads_the_forms_of_the_standard(text: str, span: ByteRange | None, total: int | None) -> None:
    assert ContentRange.parse(text) == ContentRange(span, total)


@pytest.mark.parametrize(
    "text",
    [
        "", "bytes", "bytes */*", "bytes 5-9", "bytes 5-4/9", "bytes 5-9/9", "bytes x-y/z", "items 0-0/1",
        "bytes=0-0/1", "bytes 0-0/1, bytes 2-2/3", "bytes -5/9", "bytes 5-/9", "bytes +5-9/10", "bytes 0-0/-1",
        "bytes ٣-٤/٩", "bytes 1e3-2e3/9e9", "bytes 0-99999999999999999999/*",
    ],
)  # fmt: skip
def test_content_range_refuses_everything_else(text: str) -> None:
    assert ContentRange.parse(text) is None


@given(text=texts() | st.builds(lambda a, b: b.on(a).decode("latin-1"), st.just(b"bytes 12-345/6789"), damages()))
def test_whatever_content_range_says_is_none_or_lies_inside_the_object(text: str) -> None:
    told = ContentRange.parse(text)
    if told is not None and told.span is not None:
        assert len(told.span) >= 1
        assert told.total is None or told.span.stop <= told.total
    else:
        assert told is None or told.total is not None


# ---- the ledger


class Download(RuleBasedStateMachine):
    """Lanes that come, go, break and write late, against a model that counts single bytes."""

    lanes = Bundle("lanes")
    arrivals = Bundle("arrivals")

    @initialize(
        size=st.integers(0, 60),
        is_known=st.booleans(),
        held=st.lists(byte_ranges(60), max_size=3),
        part=st.integers(1, 30),
        split=st.integers(1, 12),
    )
    def begin(self, size: int, is_known: bool, held: list[ByteRange], part: int, split: int) -> None:
        inside = [ByteRange(min(span.start, size), min(span.stop, size)) for span in held]
        self.size, self.part, self.split = size, part, split
        self.ledger = Ledger(part, split, size if is_known else None, inside)
        self.held = set(bytes_of(*inside))
        self.on_their_way: list[ByteRange] = []
        self.live: list[Lane] = []

    @rule(target=lanes)
    def take(self) -> Lane | None:
        before = {id(lane): lane.stop for lane in self.live}
        can_take = self.ledger.can_take()
        lane = self.ledger.take()
        assert can_take == (lane is not None)
        if lane is None:
            return None
        assert lane.left >= 1
        if self.ledger.size is not None:
            assert lane.left <= self.part
        for other in self.live:  # a share that was split keeps enough, and so has enough been taken from it
            if other.stop != before[id(other)]:
                assert other.stop - max(other.position, other.reserved) >= self.split
                assert before[id(other)] - other.stop >= self.split
        self.live.append(lane)
        return lane

    def is_live(self, lane: Lane | None) -> bool:
        return any(lane is other for other in self.live)

    @rule(target=arrivals, lane=lanes, share=st.floats(0, 1))
    def receive(self, lane: Lane | None, share: float) -> ByteRange | None:
        if lane is None or not self.is_live(lane):
            return None
        end = min(lane.stop, self.size)
        count = round(share * max(0, end - lane.position))
        if not count:
            return None
        span = ByteRange(lane.position, lane.position + count)
        lane.position += count
        self.on_their_way.append(span)
        return span

    @rule(lane=lanes, ahead=st.integers(0, 20))
    def reserve(self, lane: Lane | None, ahead: int) -> None:
        if lane is not None and self.is_live(lane):
            lane.reserved = lane.position + ahead

    @rule(span=consumes(arrivals))
    def record(self, span: ByteRange | None) -> None:
        if span is not None and span in self.on_their_way:
            self.on_their_way.remove(span)
            self.ledger.record(span)
            self.held |= set(bytes_of(span))

    @rule(lane=lanes)
    def extend(self, lane: Lane | None) -> None:
        if lane is None or not self.is_live(lane):
            return
        before = lane.stop
        assert self.ledger.extend(lane) == (lane.stop > before)
        assert lane.stop - before <= self.part

    @rule(lane=consumes(lanes))
    def release(self, lane: Lane | None) -> None:
        if lane is not None and self.is_live(lane):
            self.ledger.release(lane)
            self.live = [other for other in self.live if other is not lane]

    @precondition(lambda self: self.ledger.size is None)
    @rule()
    def learn_the_size(self) -> None:
        self.ledger.set_size(self.size)

    @precondition(lambda self: self.ledger.size is None)
    @rule(too_small=st.integers(0, 59))
    def hear_a_size_that_is_too_small(self, too_small: int) -> None:
        furthest = max([*self.held, -1]) + 1
        furthest = max([furthest] + [lane.position for lane in self.live])
        assume(too_small < furthest)
        with pytest.raises(ValueError, match="bytes came"):
            self.ledger.set_size(too_small)

    @rule(target=lanes)
    def start_over(self) -> Lane:
        lane = self.ledger.open_whole()
        self.held, self.on_their_way, self.live = set(), [], [lane]
        assert self.ledger.covers_all(lane)
        return lane

    @invariant()
    def every_byte_is_held_or_on_its_way_or_goes_to_exactly_one_lane(self) -> None:
        rest = copy.deepcopy(self.ledger)
        if rest.size is None:
            rest.set_size(self.size)
        while rest.take() is not None:
            assert len(rest.lanes) <= len(self.live) + self.size  # dealing comes to an end
        shares = bytes_of(*(ByteRange(lane.position, lane.stop) for lane in rest.lanes))
        arrived = bytes_of(*self.on_their_way)
        assert sorted([*shares, *arrived, *self.held]) == list(range(self.size))

    @invariant()
    def the_books_say_what_is_on_disk(self) -> None:
        assert self.ledger.held == merged(self.ledger.held)
        assert set(bytes_of(*self.ledger.held)) == self.held
        assert self.ledger.held_bytes == len(self.held)
        assert self.ledger.frontier == next(at for at in range(self.size + 1) if at not in self.held)
        assert self.ledger.is_complete == (self.ledger.size is not None and len(self.held) == self.size)

    @invariant()
    def the_ledger_shows_the_lanes_that_are_out(self) -> None:
        assert [id(lane) for lane in self.ledger.lanes] == [id(lane) for lane in self.live]
        for lane in self.live:
            has_all = lane.position == 0 and lane.stop >= self.size
            if self.ledger.covers_all(lane):
                assert has_all
            elif len(self.live) == 1 and self.ledger.size:
                assert not has_all

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        if self.ledger.size is None:
            self.ledger.set_size(self.size)
        for span in self.on_their_way:
            self.ledger.record(span)
        rounds = 0
        while not self.ledger.is_complete:
            rounds += 1
            assert rounds <= len(self.live) + self.size
            lane = next(iter(self.ledger.lanes), None) or self.ledger.take()
            assert lane is not None
            self.ledger.record(ByteRange(lane.position, lane.stop))
            lane.position = lane.stop
            self.ledger.release(lane)


Download.TestCase.settings = settings(max_examples=80, stateful_step_count=20, deadline=None)
TestDownload = Download.TestCase


@given(size=st.integers(1, 10_000), part=st.integers(1, 2000))
def test_a_lone_lane_that_always_extends_needs_one_request(size: int, part: int) -> None:
    ledger = Ledger(part, 1, size)
    lane = ledger.take()
    assert lane is not None
    extensions = 0
    while ledger.extend(lane):
        extensions += 1
    assert (lane.position, lane.stop, ledger.can_take()) == (0, size, size >= 2)
    assert extensions == -(-size // part) - 1


@given(size=st.integers(1, 400), part=st.integers(1, 100), split=st.integers(1, 100), lanes=st.integers(1, 8))
def test_requests_are_bounded_by_parts_and_splits(size: int, part: int, split: int, lanes: int) -> None:
    ledger = Ledger(part, split, size)
    requests = 0
    while not ledger.is_complete:
        while len(ledger.lanes) < lanes and ledger.take() is not None:
            requests += 1
        lane = min(ledger.lanes, key=lambda lane: lane.left)
        ledger.record(ByteRange(lane.position, lane.stop))
        lane.position = lane.stop
        ledger.release(lane)
    assert requests <= -(-size // part) + size // split


@given(held=st.lists(byte_ranges(), max_size=5), size=st.integers(0, 199))
def test_a_ledger_refuses_to_begin_with_bytes_past_the_end(held: list[ByteRange], size: int) -> None:
    assume(any(span and span.stop > size for span in held))
    with pytest.raises(ValueError, match="reaches past"):
        Ledger(10, 1, size, held)


def test_a_free_lane_gets_half_of_what_is_not_on_its_way_yet() -> None:
    ledger = Ledger(100, 10, 100)
    first = ledger.take()
    assert first is not None
    first.position, first.reserved = 20, 60
    second = ledger.take()
    assert second is not None
    assert (first.stop, second.position, second.stop) == (80, 80, 100)
    first.reserved = 75
    second.reserved = 95
    assert not ledger.can_take()
    assert ledger.take() is None


def test_while_the_size_is_unknown_one_lane_has_everything() -> None:
    ledger = Ledger(10, 1)
    lane = ledger.take()
    assert lane is not None
    assert lane.left == LARGEST_SIZE
    assert ledger.covers_all(lane)
    assert ledger.take() is None
    assert not ledger.extend(lane)
    lane.position = 5
    with pytest.raises(ValueError, match="5 bytes came of an object of 4"):
        ledger.set_size(4)
    ledger.set_size(30)
    assert (lane.position, lane.stop) == (5, 30)


def test_a_lane_that_was_forgotten_cannot_be_released() -> None:
    ledger = Ledger(10, 1, 20)
    lane = ledger.take()
    ledger.open_whole()
    assert lane is not None
    with pytest.raises(ValueError, match="not in list"):
        ledger.release(lane)


def test_an_object_of_no_bytes_is_complete_before_it_begins() -> None:
    ledger = Ledger(10, 1, 0)
    assert ledger.is_complete
    assert not ledger.can_take()
    assert ledger.take() is None


def test_offsets_past_32_bits_are_exact() -> None:
    size = 6 * 2**30
    ledger = Ledger(2**23, 2**20, size, [ByteRange(0, size - 2**20)])
    lane = ledger.take()
    assert lane is not None
    assert (lane.position, lane.stop) == (size - 2**20, size)
    ledger.record(ByteRange(lane.position, lane.stop))
    assert ledger.frontier == size
    assert ledger.is_complete


@given(spans=st.lists(byte_ranges(40)))
def test_spans_that_come_one_by_one_are_the_same_as_those_that_come_together(spans: list[ByteRange]) -> None:
    joined: list[ByteRange] = []
    for count, span in enumerate(spans, 1):
        join_in(joined, span)
        assert joined == merged(spans[:count])
