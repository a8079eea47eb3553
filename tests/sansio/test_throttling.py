from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_norman._sansio.throttling import Throttle

rates = st.floats(1e-3, 1e12)
bursts = st.integers(1, 2**40)
times = st.floats(0, 1e6)
pauses = st.floats(0, 100)
shares = st.floats(0, 1)


@given(rate=rates, burst=bursts, start=times, steps=st.lists(st.tuples(pauses, shares), max_size=30))
@settings(deadline=None)
def test_no_window_brings_more_than_the_rate_and_one_burst(
    rate: float, burst: int, start: float, steps: list[tuple[float, float]]
) -> None:
    throttle, now, taken = Throttle(rate, burst), start, list[tuple[float, int]]()
    for pause, share in steps:
        now += pause
        count = int(share * throttle.allowance(now))
        throttle.take(count, now)
        taken.append((now, count))
    for first, (since, _) in enumerate(taken):
        window = 0
        for until, count in taken[first:]:
            window += count
            assert window <= (rate * (until - since) + burst) * (1 + 1e-9)


@given(rate=rates, burst=bursts, start=times, share=shares, wanted=shares, after=pauses)
def test_after_the_wait_the_bytes_are_there_and_hardly_later_than_they_could_be(
    rate: float, burst: int, start: float, share: float, wanted: float, after: float
) -> None:
    throttle = Throttle(rate, burst)
    throttle.take(int(share * burst), start)
    now, count = start + after, int(wanted * burst)
    wait = throttle.wait(count, now)
    assert (wait == 0) == (throttle.allowance(now) >= count)
    assert throttle.allowance(now + wait) >= count
    assert wait <= count / rate + 1e-6 * (1 + burst / rate)


@given(rate=rates, burst=bursts, start=times, counts=st.lists(st.integers(1, 2**40), max_size=20))
def test_nobody_who_waits_starves(rate: float, burst: int, start: float, counts: list[int]) -> None:
    throttle, now = Throttle(rate, burst), start
    for count in (min(count, burst) for count in counts):
        now += throttle.wait(count, now)
        throttle.take(count, now)
    needed = max(0, sum(min(count, burst) for count in counts) - burst) / rate
    assert now - start == pytest.approx(needed, rel=1e-6, abs=1e-6 + len(counts) * math.ulp(now) * 32)


@given(rate=rates, burst=bursts, start=times, share=shares, steps=st.lists(pauses, min_size=1))
def test_time_goes_by_alike_in_one_step_and_in_many(
    rate: float, burst: int, start: float, share: float, steps: list[float]
) -> None:
    watched = Throttle(rate, burst)
    watched.take(int(share * burst), start)
    left_alone, now = copy.copy(watched), start
    for step in steps:
        now += step
        watched.allowance(now)
        watched.wait(burst, now)
    assert watched.allowance(now) == left_alone.allowance(now)


@given(rate=rates, burst=bursts, now=times)
def test_a_bucket_starts_full_and_holds_no_more_later(rate: float, burst: int, now: float) -> None:
    throttle = Throttle(rate, burst)
    assert throttle.allowance(now) == burst
    throttle.take(burst, now)
    assert throttle.allowance(now) == 0
    assert throttle.allowance(now + 2 * burst / rate + 1) == burst


@given(burst=bursts, earlier=st.floats(0, 10))
def test_a_clock_that_went_back_gives_nothing_away(burst: int, earlier: float) -> None:
    throttle = Throttle(1000.0, burst)
    throttle.take(burst, 100.0)
    assert throttle.allowance(100.0 - earlier) == 0


@pytest.mark.parametrize("count", [-1, 11])
def test_more_than_the_allowance_cannot_be_taken(count: int) -> None:
    throttle = Throttle(1.0, 10)
    with pytest.raises(ValueError, match="10 are allowed"):
        throttle.take(count, 0.0)
    assert throttle.allowance(0.0) == 10


def test_what_never_fits_is_refused_instead_of_waited_for() -> None:
    with pytest.raises(ValueError, match="never fit"):
        Throttle(1.0, 10).wait(11, 0.0)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (math.inf, 1), (math.nan, 1), (1.0, 0)])
def test_a_limit_that_limits_nothing_or_everything_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Throttle(rate, burst)
