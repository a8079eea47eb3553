"""When to ask again for a task that is not done: learnt from the tasks before it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

import attrs

SHORTEST = 0.05  # seconds between two polls of one task, and before the first
LONGEST = 2.0

_REMEMBERED = 128  # tasks
_ENOUGH = 8  # tasks, before which nothing is known
_SHARES = (0.3, 0.6, 0.85, 0.98)  # of the tasks, by whose end a poll is due
_GROWTH = 1.5
_MOST_PATIENCE = 30.0  # seconds


@attrs.define(eq=False)
class PollSchedule:
    """The times at which tasks of one endpoint are asked for, in seconds since they were made.

    A poll that finds a task done tells only that it ended since the poll before; any moment between both is taken for
    its end, by luck: middles would pile up at a few places, and draw the polls there. What share of the last 128 tasks
    was done when is known, and a task is asked for when 30 % of them would be done, then 60 %, 85 % and 98 %: four
    polls at most for nearly every task, close to its end if all take equally long. (Middles and quarters took 2.7
    polls of durations that are spread evenly, for the delays that these have with 2.4.) Beyond what was ever seen, and
    before anything was, the wait grows by half each time, from `shortest` to `longest`.
    """

    shortest: float = SHORTEST
    longest: float = LONGEST
    _durations: deque[float] = attrs.field(init=False, factory=lambda: deque(maxlen=_REMEMBERED))
    _marks: list[float] | None = attrs.field(init=False, default=None)

    def learn(self, pending_at: float, done_at: float, *, jitter: float = 0.5) -> None:
        """Note a task that was seen going on `pending_at` seconds after its making, and over at `done_at`.

        Where nobody looked before, `pending_at` is 0; what a callback tells exactly has both the same.

        Args:
            pending_at: See above.
            done_at: See above.
            jitter: Luck in [0, 1): where in between it ended.
        """
        pending = max(0.0, min(pending_at, done_at))
        self._durations.append(pending + (max(done_at, 0.0) - pending) * jitter)
        self._marks = None

    def wait(self, age: float, polls: int, *, jitter: float) -> float:
        """Return the seconds until the next poll, between `shortest` and `longest`, give or take a tenth.

        Args:
            age: Seconds since the task was made.
            polls: How often it was asked for already.
            jitter: Luck in [0, 1): so that tasks that were made together are not asked for together for ever.
        """
        marks = self._known_marks()
        earliest = age + self.shortest
        at = bisect_right(marks, age + self.shortest / 2)
        due = max(marks[at], earliest) if at < len(marks) else age + self._grown(age, polls)
        wait = min(max(due - age, self.shortest), self.longest)
        return wait * (0.9 + 0.2 * jitter)

    def patience(self, polls: int = 0, *, jitter: float) -> float:
        """Return the seconds after which a task whose end would be announced is asked for nevertheless.

        At most 30, give or take a tenth: for so long an announcement that was lost goes unnoticed, however long tasks
        take. They grow by half with each poll.

        Args:
            polls: How often it was asked for already.
            jitter: Luck in [0, 1).
        """
        marks = self._known_marks()
        wait = max(1.0, 2.0 * marks[-1] if marks else 0.0) * _GROWTH ** min(polls, 20)
        return min(wait, _MOST_PATIENCE) * (0.9 + 0.2 * jitter)

    def _grown(self, age: float, polls: int) -> float:
        if self._known_marks():
            return max(self.shortest, age / 4)
        return self.shortest * _GROWTH ** min(polls, 20)

    def _known_marks(self) -> list[float]:
        if self._marks is None:
            known = sorted(self._durations)
            last = len(known) - 1
            self._marks = [] if len(known) < _ENOUGH else [known[round(share * last)] for share in _SHARES]
        return self._marks
