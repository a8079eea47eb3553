"""Spans of bytes: which are held, which are being fetched, which come next."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Self

import attrs

#: The largest size that any arithmetic here is asked to carry: what fits a signed 64-bit file offset.
LARGEST_SIZE = 2**63 - 1

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)


@attrs.frozen(order=True)
class ByteRange:
    """The bytes from `start` up to, but not including, `stop`."""

    start: int = attrs.field(validator=attrs.validators.ge(0))
    stop: int = attrs.field()

    @stop.validator
    def _stop_follows_start(self, attribute: attrs.Attribute[int], stop: int) -> None:
        if stop < self.start:
            raise ValueError(f"a range that starts at {self.start} cannot stop at {stop}")

    def __len__(self) -> int:
        return self.stop - self.start


@attrs.frozen
class ContentRange:
    """A parsed ``Content-Range``: the span that a 206 carries (None in a 416), and the object's length if told."""

    span: ByteRange | None
    total: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a header value; None if it is anything but a valid single range of bytes.

        Source: RFC 9110, section 14.4.
        """
        match = _CONTENT_RANGE.fullmatch(text.strip())
        if match is None:
            return None
        first, last, length = match.groups()
        total = None if length == "*" else int(length)
        if total is not None and total > LARGEST_SIZE:
            return None
        if first is None:
            return None if total is None else cls(None, total)
        if int(last) < int(first) or (total is not None and int(last) >= total) or int(last) >= LARGEST_SIZE:
            return None
        return cls(ByteRange(int(first), int(last) + 1), total)


def merged(spans: Iterable[ByteRange]) -> list[ByteRange]:
    """Return the same bytes as the fewest spans, in file order; empty spans vanish."""
    result: list[ByteRange] = []
    for span in sorted(spans):
        if not span:
            continue
        if result and span.start <= result[-1].stop:
            result[-1] = ByteRange(result[-1].start, max(result[-1].stop, span.stop))
        else:
            result.append(span)
    return result


def join_in(spans: list[ByteRange], span: ByteRange) -> None:
    """Add a span to `spans`, which are and stay what `merged` returns, at the price of a search among them."""
    if not span:
        return
    first = bisect_left(spans, span.start, key=lambda each: each.stop)
    behind = bisect_right(spans, span.stop, key=lambda each: each.start)
    touched = spans[first:behind]
    if touched:
        span = ByteRange(min(span.start, touched[0].start), max(span.stop, touched[-1].stop))
    spans[first:behind] = [span]


def missing_ranges(size: int, held: Iterable[ByteRange], *, at_most: int) -> list[ByteRange]:
    """Cut the bytes that are not held yet into requests.

    Args:
        size: Length of the whole object, in bytes.
        held: Half-open spans, in any order; they may overlap.
        at_most: Longest span that one request may ask for, in bytes; at least 1.

    Returns:
        Spans in file order that cover every missing byte exactly once.

    Raises:
        ValueError: If a held span reaches past `size`.

    Source: RFC 9110, section 14.1.2. Its ranges include their last byte; ours do not.
    """
    plan: list[ByteRange] = []
    frontier = 0
    for span in [*merged(held), ByteRange(size, size)]:
        if span.stop > size:
            raise ValueError(f"{span} reaches past the object's {size} bytes")
        starts = range(frontier, span.start, at_most)
        plan += [ByteRange(start, min(start + at_most, span.start)) for start in starts]
        frontier = max(frontier, span.stop)
    return plan


@attrs.define(eq=False)
class Lane:
    """One connection's share: it has received up to `position` and goes on to `stop`.

    Bytes before `reserved` are on their way and cannot be given to another lane any more.
    """

    position: int
    stop: int
    reserved: int = 0

    @property
    def left(self) -> int:
        """Bytes still to come; more than any object has while nobody knows the end."""
        return self.stop - self.position

    @property
    def spare(self) -> ByteRange:
        """What could still be given to another lane."""
        return ByteRange(min(max(self.position, self.reserved), self.stop), self.stop)


@attrs.define
class Ledger:
    """Which bytes of one object are on disk, which lane fetches what, and what a free lane should do next.

    While the size is unknown (None) there is one share that ends at `LARGEST_SIZE`.

    Args:
        part_bytes: Longest span that one request asks for, once the size is known.
        split_bytes: A share is divided between two lanes only if each half keeps at least this many bytes.
        size: Length of the object, None until a response has told it.
        held: Spans that are on disk already.
    """

    part_bytes: int = attrs.field(validator=attrs.validators.ge(1))
    split_bytes: int = attrs.field(validator=attrs.validators.ge(1))
    size: int | None = None
    held: list[ByteRange] = attrs.field(factory=list, converter=merged)
    _open: list[ByteRange] = attrs.field(init=False, factory=list)
    _lanes: list[Lane] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        end = LARGEST_SIZE if self.size is None else self.size
        self._open = missing_ranges(end, self.held, at_most=max(end, 1))

    @property
    def frontier(self) -> int:
        """Length of the prefix that is wholly on disk, in bytes."""
        return self.held[0].stop if self.held and self.held[0].start == 0 else 0

    @property
    def held_bytes(self) -> int:
        """How many bytes are on disk."""
        return sum(len(span) for span in self.held)

    @property
    def is_complete(self) -> bool:
        """Whether every byte of an object of known size is on disk."""
        return self.size is not None and self.held_bytes == self.size

    @property
    def lanes(self) -> Sequence[Lane]:
        """The shares that are being fetched now."""
        return tuple(self._lanes)

    def open_whole(self) -> Lane:
        """Give the whole object to one lane; what was held or shared out before is forgotten."""
        lane = Lane(0, LARGEST_SIZE if self.size is None else self.size)
        self.held, self._open, self._lanes = [], [], [lane]
        return lane

    def set_size(self, size: int) -> None:
        """Note the length that a response has told, or that the end of the body has shown.

        Raises:
            ValueError: If bytes past it are on disk, or on their way there.
        """
        furthest = max([span.stop for span in self.held] + [lane.position for lane in self._lanes], default=0)
        if furthest > size:
            raise ValueError(f"{furthest} bytes came of an object of {size}")
        self.size = size
        self._open = [ByteRange(span.start, min(span.stop, size)) for span in self._open if span.start < size]
        for lane in self._lanes:
            lane.stop = min(lane.stop, size)

    def can_take(self) -> bool:
        """Whether another lane would find something to do."""
        return bool(self._open) or self._largest_share() is not None

    def covers_all(self, lane: Lane) -> bool:
        """Whether a lane has the whole object for itself, none of which is held yet."""
        return self._lanes == [lane] and not self._open and not self.held and lane.position == 0

    def take(self) -> Lane | None:
        """Give a free lane its share: missing bytes in file order, else half of the largest share of another."""
        if not self._open:
            self._split()
        if not self._open:
            return None
        share = self._next_part()
        lane = Lane(share.start, share.stop)
        self._lanes.append(lane)
        return lane

    def extend(self, lane: Lane) -> bool:
        """Let a lane whose response goes on carry on into the next part, if nobody else has it."""
        if not self._open or self._open[0].start != lane.stop:
            return False
        lane.stop = self._next_part().stop
        return True

    def release(self, lane: Lane) -> None:
        """Take a lane out; what it has not received is open again."""
        self._lanes.remove(lane)
        self._open = merged([*self._open, ByteRange(lane.position, lane.stop)])

    def record(self, span: ByteRange) -> None:
        """Note that `span` is on disk."""
        join_in(self.held, span)

    def _next_part(self) -> ByteRange:
        first = self._open.pop(0)
        stop = first.stop if self.size is None else min(first.stop, first.start + self.part_bytes)
        if stop < first.stop:
            self._open.insert(0, ByteRange(stop, first.stop))
        return ByteRange(first.start, stop)

    def _largest_share(self) -> Lane | None:
        large = [lane for lane in self._lanes if self.size is not None and len(lane.spare) >= 2 * self.split_bytes]
        return max(large, key=lambda lane: len(lane.spare), default=None)

    def _split(self) -> None:
        lane = self._largest_share()
        if lane is not None:
            middle = lane.spare.start + len(lane.spare) // 2
            self._open, lane.stop = [ByteRange(middle, lane.stop)], middle
