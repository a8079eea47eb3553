from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_norman._sansio.polling import LONGEST, SHORTEST, PollSchedule

AGES = st.floats(0, 10_000)
LUCK = st.floats(0, 1, exclude_max=True)


def taught(durations: list[float]) -> PollSchedule:
    schedule = PollSchedule()
    for each in durations:
        schedule.learn(each, each)
    return schedule


@given(st.lists(st.floats(0, 1000), max_size=40), AGES, st.integers(0, 10_000), LUCK)
def test_a_wait_is_never_shorter_or_longer_than_the_bounds(
    durations: list[float], age: float, polls: int, jitter: float
) -> None:
    wait = taught(durations).wait(age, polls, jitter=jitter)
    assert SHORTEST * 0.9 <= wait <= LONGEST * 1.1


@given(st.floats(-5, 1000), st.floats(-5, 1000), st.integers(8, 20))
def test_nothing_that_is_learnt_breaks_the_bounds(pending: float, done: float, times: int) -> None:
    schedule = PollSchedule()
    for _ in range(times):
        schedule.learn(pending, done)
    assert SHORTEST * 0.9 <= schedule.wait(0, 0, jitter=0.5) <= LONGEST * 1.1
    assert schedule.patience(jitter=0.5) >= 0.9


@given(st.integers(0, 50))
def test_before_anything_is_known_the_wait_grows_to_its_bound(polls: int) -> None:
    schedule = PollSchedule()
    assert schedule.wait(1, polls, jitter=0.5) <= schedule.wait(1, polls + 1, jitter=0.5)
    assert PollSchedule().wait(0, 0, jitter=0.5) == pytest.approx(SHORTEST)
    assert schedule.wait(100, 50, jitter=0.5) == pytest.approx(LONGEST)


def test_the_first_poll_comes_when_three_in_ten_tasks_would_be_done() -> None:
    schedule = taught([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2])
    assert schedule.wait(0, 0, jitter=0.5) == pytest.approx(0.6)
    assert schedule.wait(0.6, 1, jitter=0.5) == pytest.approx(0.3)


def test_jitter_parts_what_was_made_together() -> None:
    schedule = PollSchedule()
    assert schedule.wait(0, 0, jitter=0.0) < schedule.wait(0, 0, jitter=0.99)


def test_an_announced_answer_is_asked_for_only_when_it_is_late() -> None:
    assert PollSchedule().patience(jitter=0.5) == pytest.approx(1.0)
    assert taught([3.0] * 10).patience(jitter=0.5) == pytest.approx(6.0)
    assert taught([3.0] * 10).patience(2, jitter=0.5) == pytest.approx(13.5)
    assert taught([600.0] * 10).patience(jitter=0.5) == pytest.approx(30.0)
    assert PollSchedule().patience(1000, jitter=0.5) == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("draw", "most_polls", "most_delay"),
    [
        (lambda luck: luck.uniform(0.05, 0.5), 3.0, 0.1),
        (lambda luck: 0.3, 2.2, 0.06),
        (lambda luck: 0.02, 1.1, 0.06),
        (lambda luck: luck.choice([0.1, 5.0]), 4.0, 0.15),
    ],
    ids=["50-500 ms", "all alike", "quick", "two kinds"],
)
def test_a_few_polls_find_the_end_soon(
    draw: Callable[[random.Random], float], most_polls: float, most_delay: float
) -> None:
    """Simulated: each poll takes 10 ms and tells how the task was in the middle of it."""
    luck, schedule = random.Random(1), PollSchedule()
    polls, delays = list[int](), list[float]()
    for _ in range(1500):
        duration, age, count, pending = draw(luck), 0.0, 0, 0.0
        while True:
            age += schedule.wait(age, count, jitter=luck.random())
            count, asked = count + 1, age
            age += 0.01
            if asked + 0.005 >= duration:
                break
            pending = asked
        schedule.learn(pending, age)
        polls.append(count)
        delays.append(age - duration)
    assert statistics.mean(polls) <= most_polls
    assert statistics.median(delays) <= most_delay


def test_a_service_that_becomes_faster_is_noticed() -> None:
    schedule = taught([2.0] * 128)
    for _ in range(400):
        first = schedule.wait(0, 0, jitter=0.5)
        schedule.learn(0, first)  # done at the very first poll, each time
    assert schedule.wait(0, 0, jitter=0.5) < 0.1


def test_evenly_spread_tasks_take_two_and_a_half_polls() -> None:
    """A poll tells that a task ended since the one before: by luck its end may have been anywhere in between."""
    luck, schedule, polls = random.Random(3), PollSchedule(), 0
    for _ in range(2000):
        ends, age, asked = luck.uniform(0.05, 0.5), 0.0, 0
        while age < ends:
            before, age = age, age + schedule.wait(age, asked, jitter=luck.random())
            asked += 1
        polls += asked
        schedule.learn(before, age, jitter=luck.random())
    assert polls / 2000 < 2.6


@given(st.floats(0, 5), st.floats(0, 5), st.floats(0, 1, exclude_max=True))
def test_what_is_learnt_lies_between_the_last_two_polls(pending: float, done: float, jitter: float) -> None:
    pending, done = sorted((pending, done))
    schedule = PollSchedule(shortest=0.0, longest=10.0)
    for _ in range(8):
        schedule.learn(pending, done, jitter=jitter)
    assert pending - 1e-6 <= schedule.wait(0, 0, jitter=0.5) <= done + 1e-6
