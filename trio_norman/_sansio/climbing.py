"""How many connections a bulk download should use, found by trying."""

from __future__ import annotations

import math
from collections import deque

import attrs

#: What more connections must bring: goodput has to grow by more than their number to this power. A doubling must
#: bring 11 %, a quarter more 3.4 %; fewer connections are better as soon as they lose less than that.
PRICE = 0.15
#: By how much a probe differs from the level that it is compared with, and how many seconds that level is measured
#: before: the smaller the step, the smaller the difference that must stand out of the noise.
STEPS = ((1.25, 1.0), (1.5, 0.5), (2.0, 0.25))
FINEST, MIDDLE, COARSEST = range(3)
#: Goodput is sampled over at least so many seconds and bytes; a link that is too slow for that, over so many seconds.
SAMPLE_SECONDS, SAMPLE_BYTES, LONGEST_SAMPLE_SECONDS = 0.05, 2**14, 1.0
#: A probe is measured for so many seconds; longer, up to the second figure, while noise hides what it brought.
SHORTEST_SECONDS, LONGEST_SECONDS = 0.25, 1.5
#: As long as every doubling has paid, a level is measured for so many seconds only, and the next doubling pays without
#: further proof if goodput has grown by so much: then nothing but the connections' number limits.
START_SECONDS, START_GAIN = 0.1, 1.6
#: A level is known by its last seconds only, because links change.
MEMORY_SECONDS = 2.0
#: The least noise that a sample is believed to have, as a share of the goodput.
LEAST_NOISE = 0.1
#: What comes in the first seconds after a change is ignored. A link whose first bytes took longer gets twice that time.
SETTLE_SECONDS, LONGEST_SETTLE_SECONDS = 0.075, 1.0
#: A probe for which there is no demand is given up after so many seconds.
PATIENCE_SECONDS = 2.0
#: Once no step pays, the level is held: for so many seconds at first, then twice as long each time, up to the limit.
FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS = 2.0, 6.0
#: A hold ends early if goodput leaves this band around what it was: the link has changed.
USUAL = (0.7, 1.4)
#: Refusals within so many seconds are one; the level that was refused is avoided for so many.
REFUSAL_SECONDS, REFUSAL_MEMORY_SECONDS = 1.0, 60.0


@attrs.define
class Goodput:
    """What one level brought lately, in samples of seconds and bytes."""

    samples: deque[tuple[float, int]] = attrs.field(factory=deque)

    @property
    def seconds(self) -> float:
        """How long was measured."""
        return sum(seconds for seconds, _ in self.samples)

    @property
    def rate(self) -> float:
        """Bytes a second; 0 if nothing was measured."""
        return sum(count for _, count in self.samples) / self.seconds if self.samples else 0.0

    @property
    def doubt(self) -> float:
        """Variance of the rate's relative error, as far as the samples' own scatter tells."""
        rate, number = self.rate, len(self.samples)
        scatter = sum((count / seconds / rate - 1) ** 2 for seconds, count in self.samples) / number if rate else 0.0
        return max(scatter, LEAST_NOISE**2) / number

    def add(self, seconds: float, count: int) -> None:
        """Add a sample and forget what is too old."""
        self.samples.append((seconds, count))
        while self.seconds - self.samples[0][0] >= MEMORY_SECONDS:
            self.samples.popleft()


@attrs.define(eq=False)
class Climber:
    """The number of connections that a link deserves: `target`, between 1 and `most`.

    It holds the best level known, and compares it with one probe at a time: first twice as many, again and again while
    that pays, at a quick pace while it pays in full; then finer steps, up and down; then it waits, longer each time,
    and tries the finest steps again. A step that pays makes the next one coarser. Nothing is learnt while the
    connections in use differ from the target.

    Args:
        most: Never more connections than this; at least 1.
        start: The first level, if `most` allows it; at least 1.

    Raises:
        ValueError: If a limit is below 1.
    """

    most: int = attrs.field(validator=attrs.validators.ge(1))
    start: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    target: int = attrs.field(init=False)
    _best: int = attrs.field(init=False)
    _best_goodput: Goodput = attrs.field(init=False, factory=Goodput)
    _probe_goodput: Goodput = attrs.field(init=False, factory=Goodput)
    _usual_rate: float = attrs.field(init=False, default=0.0)
    _awaited_rate: float = attrs.field(init=False, default=0.0)
    _is_starting: bool = attrs.field(init=False, default=True)
    _is_upward: bool = attrs.field(init=False, default=True)
    _step: int = attrs.field(init=False, default=COARSEST)
    _hold_seconds: float = attrs.field(init=False, default=FIRST_HOLD_SECONDS)
    _hold_until: float = attrs.field(init=False, default=-math.inf)
    _changed_at: float = attrs.field(init=False, default=-math.inf)
    _settle_seconds: float = attrs.field(init=False, default=SETTLE_SECONDS)
    _reached_at: float = attrs.field(init=False, default=math.nan)
    _mark: tuple[float, int] | None = attrs.field(init=False, default=None)
    _refused_at: float = attrs.field(init=False, default=-math.inf)
    _ceiling: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.target = self._best = min(self.start, self.most)
        self._ceiling = self.most

    def observe(self, now: float, received_bytes: int, busy: int) -> int:
        """Note how far the download is, and return the present target. Call it every 0.05 to 0.25 seconds.

        Args:
            now: Seconds on a monotonic clock.
            received_bytes: Bytes of bodies received since the beginning, over all connections.
            busy: Connections in use now, those that are being opened included, of the kind that `target` limits.
        """
        if 8 * abs(busy - self.target) > self.target:
            self._reached_at, self._mark = math.nan, None
            if self.target > self._best and now - self._changed_at >= PATIENCE_SECONDS:
                self._reject(now)
            return self.target
        if math.isnan(self._reached_at):
            self._reached_at = now
        since_reached = now - self._reached_at
        if received_bytes == 0:
            self._settle_seconds = min(max(self._settle_seconds, 2 * since_reached), LONGEST_SETTLE_SECONDS)
        elif self._mark is None:
            self._mark = (now, received_bytes) if since_reached >= self._settle_seconds else None
        else:
            self._sample(now, received_bytes, *self._mark)
        return self.target

    def refused(self, now: float) -> int:
        """Note that the server refused a request for there being too many, and return the target, which is halved.

        Refusals within a second are one. The refused level is not tried again for a minute.
        """
        if now - self._refused_at >= REFUSAL_SECONDS:
            self._refused_at = now
            self._ceiling = max(1, self.target * 7 // 8)
            self._best, self._best_goodput = max(1, self.target // 2), Goodput()
            self._is_starting, self._is_upward, self._step, self._awaited_rate = False, True, MIDDLE, 0.0
            self._hold_until = now + REFUSAL_SECONDS
            self._move(self._best, now)
        return self.target

    def _sample(self, now: float, received_bytes: int, since: float, before: int) -> None:
        seconds, count = now - since, max(0, received_bytes - before)
        if seconds < (SAMPLE_SECONDS if count >= SAMPLE_BYTES else LONGEST_SAMPLE_SECONDS):
            return
        self._mark = (now, received_bytes)
        if self.target == self._best:
            if not self._has_recovered(count / seconds, since):
                return
            self._best_goodput.add(seconds, count)
            self._rest(now)
        else:
            self._probe_goodput.add(seconds, count)
            self._judge(now)

    def _has_recovered(self, rate: float, since: float) -> bool:
        """Tell whether connections that were closed for a probe and opened again are in full flow at `since`.

        The goodput to wait for is known there, so it shows how long new connections really take.
        """
        taken = since - self._reached_at
        if self._awaited_rate and taken < LONGEST_SETTLE_SECONDS:
            if rate < self._awaited_rate:
                return False
            self._settle_seconds = max(self._settle_seconds, (self._settle_seconds + taken) / 2)
        self._awaited_rate = 0.0
        return True

    def _rest(self, now: float) -> None:
        """Stay at the best level until it is known well enough and its time is over, then probe another."""
        rate = self._best_goodput.rate
        if now < self._hold_until:
            low, high = USUAL
            is_known = self._best_goodput.seconds >= STEPS[FINEST][1]
            if is_known and not low * self._usual_rate <= rate <= high * self._usual_rate:
                self._is_upward, self._step = rate > self._usual_rate, MIDDLE
                self._hold_seconds, self._hold_until = FIRST_HOLD_SECONDS, now
                self._best_goodput = Goodput()
        elif rate and self._best_goodput.seconds >= (START_SECONDS if self._is_starting else STEPS[self._step][1]):
            level = self._next_level(now)
            if level == self._best:
                self._reject(now)
            else:
                self._move(level, now)

    def _next_level(self, now: float) -> int:
        factor = STEPS[self._step][0]
        if not self._is_upward:
            return max(1, min(self._best - 1, round(self._best / factor)))
        limit = self.most if now - self._refused_at >= REFUSAL_MEMORY_SECONDS else self._ceiling
        return max(self._best, min(limit, max(self._best + 1, round(self._best * factor))))

    def _judge(self, now: float) -> None:
        """Compare the probe with the best level, once the difference stands out of the noise or time is up."""
        best, probe = self._best_goodput, self._probe_goodput
        if self._is_starting and probe.seconds >= START_SECONDS and probe.rate >= START_GAIN * best.rate:
            self._accept(now)
            return
        gain = probe.rate / best.rate / (self.target / self._best) ** PRICE - 1
        is_clear = abs(gain) >= math.sqrt(best.doubt + probe.doubt)
        enough = STEPS[self._step][1] if gain > 0 else SHORTEST_SECONDS
        if probe.seconds >= (enough if is_clear else LONGEST_SECONDS):
            # Where noise has the last word, fewer connections get the benefit of the doubt.
            if gain > 0 and (is_clear or not self._is_upward):
                self._accept(now)
            else:
                self._reject(now)

    def _accept(self, now: float) -> None:
        self._best, self._best_goodput, self._probe_goodput = self.target, self._probe_goodput, Goodput()
        self._step = min(self._step + 1, COARSEST)
        self._hold_seconds = FIRST_HOLD_SECONDS
        self._rest(now)

    def _reject(self, now: float) -> None:
        """Go back to the best level; try a finer step next, then the other direction, then hold."""
        self._usual_rate, self._best_goodput = self._best_goodput.rate, Goodput()
        self._awaited_rate = (self._usual_rate + self._probe_goodput.rate) / 2 if self.target < self._best else 0.0
        if (
            self._is_starting
        ):  # what was measured in haste may have been a burst: compare the same once more, at leisure
            self._is_starting = False
        elif self._step > FINEST:
            self._step -= 1
        elif self._is_upward:
            self._is_upward = False
        else:
            self._is_upward = True
            self._hold_until = now + self._hold_seconds
            self._hold_seconds = min(2 * self._hold_seconds, LONGEST_HOLD_SECONDS)
        self._move(self._best, now)

    def _move(self, level: int, now: float) -> None:
        self.target, self._changed_at, self._probe_goodput = level, now, Goodput()
        self._reached_at, self._mark = math.nan, None
