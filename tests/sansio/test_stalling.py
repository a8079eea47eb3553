from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_norman._sansio.stalling import StallLimit, StallWatch

LIMIT = StallLimit(1000.0, 30.0)


def outlived(watch: StallWatch, pieces: list[tuple[float, int]]) -> float | None:
    """Feed (pause, bytes) to a watch and return when its deadline passed, or None if it never did."""
    now, deadline = watch.now, watch.deadline
    for pause, count in pieces:
        now += pause
        if now > deadline:
            return deadline
        deadline = watch.advance(count, now)
    return None


@given(rate=st.integers(1000, 100_000), seconds=st.integers(1, 300))
def test_a_body_at_the_limit_or_above_it_is_never_too_slow(rate: int, seconds: int) -> None:
    assert outlived(StallWatch(LIMIT, 0.0), [(1.0, rate)] * seconds) is None


@given(rate=st.integers(0, 999), start=st.integers(0, 10**9), before=st.integers(0, 40))
def test_a_body_below_the_limit_is_stopped_within_two_windows_however_fast_it_began(
    rate: int, start: int, before: int
) -> None:
    pieces = [(1.0, start)] * before + [(1.0, rate)] * 61
    stopped = outlived(StallWatch(LIMIT, 0.0), pieces)
    assert stopped is not None
    assert stopped <= before + 60


@given(now=st.floats(0, 10**6))
def test_a_silent_body_is_stopped_after_one_window(now: float) -> None:
    assert StallWatch(LIMIT, now).deadline == now + 30


def test_a_window_is_full_at_its_last_byte_and_not_one_before() -> None:
    watch = StallWatch(LIMIT, 0.0)
    assert watch.advance(29_999, 29.0) == 30.0
    assert watch.advance(1, 29.5) == 59.5


def test_surplus_is_not_carried_into_the_next_window() -> None:
    watch = StallWatch(LIMIT, 0.0)
    assert watch.advance(10**9, 1.0) == 31.0
    assert watch.advance(29_999, 30.0) == 31.0


@given(pieces=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50_000))))
def test_a_deadline_never_moves_back_and_is_never_more_than_one_window_ahead(pieces: list[tuple[float, int]]) -> None:
    watch, now = StallWatch(LIMIT, 0.0), 0.0
    for pause, count in pieces:
        now, before = now + pause, watch.deadline
        assert before <= watch.advance(count, now) <= max(before, now + 30.0)


@given(seconds=st.floats(0, 1000))
def test_time_in_which_nobody_read_is_not_the_peers_fault(seconds: float) -> None:
    watch = StallWatch(LIMIT, 0.0)
    assert watch.excuse(seconds) == watch.deadline == 30.0 + seconds


def test_a_limit_of_nothing_is_met_by_every_sign_of_life() -> None:
    watch = StallWatch(StallLimit(0.0, 30.0), 0.0)
    assert watch.advance(0, 29.0) == 59.0


@pytest.mark.parametrize(("rate", "seconds"), [(-1.0, 30.0), (1.0, 0.0), (1.0, -1.0)])
def test_a_limit_that_no_body_could_be_judged_by_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        StallLimit(rate, seconds)


def test_the_default_limit_is_a_kibibyte_a_second_over_half_a_minute() -> None:
    assert (StallLimit().bytes_per_second, StallLimit().seconds) == (1024, 30)
