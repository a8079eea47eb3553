from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_norman._sansio.sse import SseDecoder, SseEvent, SseTooLargeError

ENDS = ["\r\n", "\n", "\r"]
#: What other line splitters take for line ends, and what else may stand in a value.
VALUES = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20) | st.sampled_from(
    ["", " ", "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb\x0cc\x1cd", ":", "\ufeff", "  two spaces", "null"]
)


def decoded(data: bytes, *, sizes: list[int] | None = None, largest: int = 2**20) -> list[SseEvent]:
    decoder, events, at = SseDecoder(largest), list[SseEvent](), 0
    for size in [*(sizes or []), len(data)]:
        events += decoder.feed(data[at : at + size])
        at += size
    return events


@given(
    st.lists(st.lists(VALUES, min_size=1, max_size=3), max_size=4),
    st.lists(st.sampled_from(ENDS), min_size=1, max_size=6),
    st.lists(st.integers(1, 7), max_size=40),
)
def test_events_are_the_same_however_they_are_cut_and_lines_end(
    written: list[list[str]], ends: list[str], sizes: list[int]
) -> None:
    """CR before LF would be one end, so of neighbours that could join up the first is made CRLF."""
    lines = [line for event in written for line in (*(f"data: {value}" for value in event), "")]
    data = ""
    for number, line in enumerate(lines):
        end, following = ends[number % len(ends)], ends[(number + 1) % len(ends)]
        joins = end == "\r" and following == "\n" and number + 1 < len(lines) and not lines[number + 1]
        data += line + ("\r\n" if joins else end)
    expected = ["\n".join(event) for event in written]
    assert [event.data for event in decoded(data.encode(), sizes=sizes)] == expected
    assert [event.data for event in decoded(data.encode())] == expected


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\r\r") == [SseEvent("1")]
    assert decoder.feed(b"\ndata: 2\n\n") == [SseEvent("2")]
    assert not decoder.is_inside_event


@given(st.binary(max_size=200), st.lists(st.integers(0, 9), max_size=30))
def test_any_bytes_are_some_events_and_cutting_makes_no_difference(data: bytes, sizes: list[int]) -> None:
    assert decoded(data, sizes=sizes) == decoded(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b": comment\n\n", []),
        (b"data\n\n", [SseEvent("")]),
        (b"data:\ndata:\n\n", [SseEvent("\n")]),
        (b"data:  two\n\n", [SseEvent(" two")]),
        (b"event: e\ndata: x\n\ndata: y\n\n", [SseEvent("x", "e"), SseEvent("y")]),
        (b"event: lost\n\ndata: y\n\n", [SseEvent("y")]),
        (b"id: 7\ndata: x\n\ndata: y\n\n\n\n", [SseEvent("x", id="7"), SseEvent("y", id="7")]),
        (b"id: 7\ndata: x\n\nid: 8\0\ndata: y\n\n", [SseEvent("x", id="7"), SseEvent("y", id="7")]),
        (b"retry: x\nunknown: z\nDATA: n\ndata: y\n\n", [SseEvent("y")]),
        (b"\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n", [SseEvent("x")]),
        (b"data: \xff\n\n", [SseEvent("\ufffd")]),
    ],
)
def test_fields_are_read_as_the_standard_says(data: bytes, expected: list[SseEvent]) -> None:
    assert decoded(data) == expected


def test_the_servers_wait_before_connecting_again_is_kept_only_if_it_is_a_number() -> None:
    decoder = SseDecoder()
    decoder.feed(b"retry: 1500\nretry: soon\nretry: -1\nretry: 99999999999\n")
    assert decoder.retry_seconds == 1.5


@pytest.mark.parametrize("data", [b"data: unfinished", b"data: no blank line\n", b"event: e\n", b": half a comment"])
def test_a_stream_that_ends_inside_an_event_shows_it(data: bytes) -> None:
    decoder = SseDecoder()
    assert decoder.feed(data) == []
    assert decoder.is_inside_event


@pytest.mark.parametrize("data", [b"", b"data: x\n\n", b": ping\n\n", b"data: x\r\r"])
def test_a_stream_that_ends_between_events_shows_nothing(data: bytes) -> None:
    decoder = SseDecoder()
    decoder.feed(data)
    assert not decoder.is_inside_event


def test_lines_and_events_are_limited() -> None:
    assert decoded(b"data: 0123\n\n", largest=11) == [SseEvent("0123")]
    with pytest.raises(SseTooLargeError, match="line of more than 9"):
        decoded(b"data: 0123\n\n", largest=9)
    with pytest.raises(SseTooLargeError, match="event of more than 20"):
        decoded(b"data: 012\n" * 3, largest=20)
    with pytest.raises(SseTooLargeError, match="line"):
        decoded(b"x" * 11, sizes=[1] * 11, largest=10)
    assert decoded(b": c\n" * 9 + b"data: 1\n\n", largest=10) == [SseEvent("1")]


def test_bytes_that_come_one_by_one_take_linear_time() -> None:
    """Joining anew for each byte would take minutes."""
    decoder, began = SseDecoder(), time.process_time()
    for _ in range(200_000):
        decoder.feed(b"x")
    decoder.feed(b"\n")
    for _ in range(100_000):
        decoder.feed(b"data\n")
    assert [len(event.data) for event in decoder.feed(b"\n")] == [99_999]
    assert time.process_time() - began < 10
