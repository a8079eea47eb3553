from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_norman._sansio.climbing import Climber

MB = 10**6


@attrs.frozen
class Link:
    """What `connections` bring together, and what stands in their way."""

    per_connection: float = 8.0 * MB  # bytes a second
    capacity: float = math.inf  # bytes a second, over all connections
    collapse_above: int = 10**9  # connections; each one above it costs `collapse` of the goodput
    collapse: float = 0.0
    delay: float = 0.0  # seconds until a connection brings its first byte, and again until it is at its full rate
    noise: float = 0.0  # each tick brings up to this share more or less
    refuses_above: int = 10**9  # connections

    def goodput(self, connections: float) -> float:
        """Bytes a second that so many connections at full rate bring."""
        surplus = max(0.0, connections - self.collapse_above)
        return min(connections * self.per_connection, self.capacity) * math.pow(1 - self.collapse, surplus)

    def best(self, most: int) -> float:
        """The most that any constant number of connections brings."""
        return max(self.goodput(level) for level in range(1, min(most, self.refuses_above) + 1))

    def fewest(self, most: int, share: float = 0.95) -> int:
        """The fewest connections that bring `share` of the best."""
        return next(level for level in range(1, most + 1) if self.goodput(level) >= share * self.best(most))

    def share(self, age: float) -> float:
        """How far a connection of this age has got, from 0 to 1."""
        return 1.0 if self.delay == 0 else min(1.0, max(0.0, age / self.delay - 1))


@attrs.define
class Run:
    """A simulated download: what was in use and what came, tick for tick."""

    climber: Climber
    tick: float = 0.1  # seconds
    seed: int = 0
    now: float = 1000.0
    received: float = 0.0
    targets: list[int] = attrs.field(factory=list)
    rates: list[float] = attrs.field(factory=list)
    ages: list[float] = attrs.field(factory=list)
    luck: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.luck = random.Random(self.seed)
        self.targets.append(self.climber.observe(self.now, 0, len(self.ages)))

    def go(self, link: Link, seconds: float, demand: Callable[[float], int] = lambda now: 10**9) -> Run:
        """Download over `link` for so long, with work for at most `demand(now)` connections."""
        for _ in range(round(seconds / self.tick)):
            wanted = min(self.climber.target, demand(self.now))
            self.ages = self.ages[:wanted] + [0.0] * (wanted - len(self.ages))
            if len(self.ages) > link.refuses_above:
                self.climber.refused(self.now)
                del self.ages[link.refuses_above :]
            self.now += self.tick
            self.ages = [age + self.tick for age in self.ages]
            full = sum(link.share(age - self.tick / 2) for age in self.ages)
            self.rates.append(link.goodput(full) * (1 + link.noise * self.luck.uniform(-1, 1)))
            self.received += self.rates[-1] * self.tick
            self.targets.append(self.climber.observe(self.now, int(self.received), len(self.ages)))
        return self

    def mean_rate(self, seconds: float) -> float:
        """Goodput over the last `seconds`."""
        return fmean(self.rates[-round(seconds / self.tick) :])

    def mean_target(self, seconds: float) -> float:
        """Connections over the last `seconds`."""
        return fmean(self.targets[-round(seconds / self.tick) :])

    def seconds_to(self, goodput: float) -> float:
        """When a quarter of a second first brought `goodput` on average; infinite if none did."""
        size = max(1, math.ceil(0.25 / self.tick))
        for at in range(len(self.rates) - size + 1):
            if fmean(self.rates[at : at + size]) >= goodput:
                return at * self.tick
        return math.inf


def links() -> st.SearchStrategy[Link]:
    """Links on which some number of connections from 1 to 40 is enough, and many more may do harm."""
    return st.builds(
        lambda rate, enough, harm, delay, noise: Link(
            rate * MB, rate * MB * enough, math.ceil(1.25 * enough), harm, delay, noise
        ),
        rate=st.floats(0.5, 100),
        enough=st.floats(1, 40),
        harm=st.sampled_from([0.0, 0.0, 0.05, 0.2]),
        delay=st.sampled_from([0.0, 0.05, 0.2]),
        noise=st.floats(0, 0.15),
    )


def runs(most: int = 64) -> st.SearchStrategy[Run]:
    """Downloads that are about to begin."""
    return st.builds(
        lambda tick, seed: Run(Climber(most), tick, seed), tick=st.sampled_from([0.1, 0.15, 0.2]), seed=st.integers(0)
    )


thorough = settings(max_examples=30, deadline=None)


@given(link=links(), run=runs())
@thorough
def test_a_steady_link_is_used_nearly_as_well_as_by_the_best_constant_number(link: Link, run: Run) -> None:
    # The worst of thousands of links; the mean is below.
    assert run.go(link, 60).mean_rate(20) >= (0.9 - link.noise) * link.best(64)


def test_on_average_a_noisy_link_is_used_to_more_than_nineteen_twentieths() -> None:
    luck, shares = random.Random(11), []
    for seed in range(60):
        rate, enough = luck.uniform(1, 50) * MB, luck.uniform(1, 40)
        link = Link(rate, rate * enough, math.ceil(1.25 * enough), luck.choice([0, 0.1]), luck.choice([0, 0.1]), 0.12)
        shares.append(Run(Climber(64), seed=seed).go(link, 40).mean_rate(20) / link.best(64))
    assert fmean(shares) >= 0.95


@given(link=links(), run=runs())
@thorough
def test_not_many_more_connections_are_used_than_are_needed(link: Link, run: Run) -> None:
    assert run.go(link, 60).mean_target(20) <= 2 * link.fewest(64) + 1


@given(rate=st.floats(1, 50), enough=st.integers(4, 32), noise=st.floats(0, 0.1), run=runs())
@thorough
def test_many_capped_connections_are_found_within_three_seconds(
    rate: float, enough: int, noise: float, run: Run
) -> None:
    link = Link(rate * MB, rate * MB * enough, noise=noise)
    assert run.go(link, 6).seconds_to(0.9 * link.best(64)) <= 3


@given(
    link=links(),
    most=st.integers(1, 12),
    start=st.integers(1, 20),
    refuses_above=st.integers(1, 12),
    demands=st.lists(st.integers(0, 20), min_size=1),
)
@thorough
def test_the_target_is_never_outside_its_limits(
    link: Link, most: int, start: int, refuses_above: int, demands: list[int]
) -> None:
    run = Run(Climber(most, start))
    run.go(attrs.evolve(link, refuses_above=refuses_above), 20, lambda now: demands[int(now) % len(demands)])
    assert all(1 <= target <= most for target in run.targets)


@given(seed=st.integers(0), noise=st.floats(0, 0.1))
@thorough
def test_where_one_connection_saturates_there_are_few(seed: int, noise: float) -> None:
    run = Run(Climber(64), seed=seed).go(Link(1000 * MB, 1000 * MB, noise=noise), 30)
    assert max(run.targets) <= 16
    assert run.mean_target(20) <= 6


@given(link=links(), run=runs(), demand=st.integers(0, 10))
@thorough
def test_without_demand_there_is_no_climbing(link: Link, run: Run, demand: int) -> None:
    run.go(link, 40, lambda now: demand)
    assert max(run.targets) <= max(4, 2 * (demand + 1))


@given(run=runs())
@thorough
def test_a_probe_that_nobody_has_work_for_is_given_up(run: Run) -> None:
    run.go(Link(), 30, lambda now: 4)
    assert max(run.targets) == 8
    assert run.mean_target(10) < 5


@given(before=st.integers(3, 40), after=st.integers(3, 40), noise=st.floats(0, 0.1), run=runs())
@thorough
def test_a_changed_capacity_is_found_within_seconds(before: int, after: int, noise: float, run: Run) -> None:
    old, new = (Link(8 * MB, 8 * MB * enough, noise=noise) for enough in (before, after))
    run.go(old, 30).go(new, 60)
    assert run.mean_rate(20) >= 0.8 * new.best(64)
    assert run.mean_target(20) <= 3 * new.fewest(64) + 1


@given(above=st.integers(3, 12), noise=st.floats(0, 0.1), run=runs(32))
@thorough
def test_connections_that_begin_to_do_harm_are_taken_back(above: int, noise: float, run: Run) -> None:
    link = Link(collapse_above=above, collapse=0.2, noise=noise)
    run.go(Link(noise=noise), 20).go(link, 30)
    assert run.mean_rate(15) >= 0.75 * link.best(32)


@given(delay=st.sampled_from([0.1, 0.3, 0.5]), noise=st.floats(0, 0.1), seed=st.integers(0))
@thorough
def test_new_connections_may_be_much_slower_to_start_than_the_first(delay: float, noise: float, seed: int) -> None:
    run = Run(Climber(64), seed=seed, ages=[100.0] * 4)
    link = Link(capacity=128 * MB, delay=delay, noise=noise)
    assert run.go(link, 60).mean_rate(20) >= 0.8 * link.best(64)


@given(refuses_above=st.integers(2, 40), noise=st.floats(0, 0.15), run=runs())
@thorough
def test_a_servers_limit_is_found_by_its_refusals_and_then_mostly_kept(
    refuses_above: int, noise: float, run: Run
) -> None:
    link = Link(refuses_above=refuses_above, noise=noise)
    run.go(link, 60)
    assert run.mean_rate(40) >= 0.75 * link.best(64)
    assert fmean(target > refuses_above for target in run.targets[-round(40 / run.tick) :]) < 0.1


@given(link=links(), seconds=st.floats(0, 20), run=runs())
@thorough
def test_a_refusal_halves_the_target_and_those_of_the_same_second_change_nothing(
    link: Link, seconds: float, run: Run
) -> None:
    climber, before = run.climber, run.go(link, seconds).climber.target
    assert climber.refused(run.now) == climber.target == max(1, before // 2)
    assert climber.refused(run.now + 0.9) == max(1, before // 2)
    assert climber.refused(run.now + 1.1) == max(1, before // 4)


@given(run=runs())
@thorough
def test_silence_teaches_nothing(run: Run) -> None:
    run.go(Link(capacity=128 * MB), 30)
    before = run.climber.target
    run.go(Link(capacity=0), 60)
    assert before // 2 <= run.climber.target <= 2 * before


def test_bytes_that_come_slowly_are_measured_for_longer() -> None:
    link = Link(1000.0, 8000.0)
    assert Run(Climber(64)).go(link, 60).mean_rate(30) >= 0.85 * link.best(64)


@pytest.mark.parametrize(("most", "start"), [(0, 4), (-1, 4), (4, 0)])
def test_fewer_than_one_connection_is_refused(most: int, start: int) -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        Climber(most, start)


def test_it_starts_at_four_or_at_what_is_allowed() -> None:
    assert (Climber(64).target, Climber(2).target, Climber(64, 9).target) == (4, 2, 9)
