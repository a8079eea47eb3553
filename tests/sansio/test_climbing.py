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
        return min(connections * self.per_connection, self.capacity) * (1 - self.collapse) ** surplus

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
