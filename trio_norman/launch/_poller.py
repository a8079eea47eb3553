"""One task that asks for all others: whatever is awaited is asked for once, however many wait for it."""

from __future__ import annotations

import heapq
import math
import weakref
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import attrs
import trio

from .._lifetimes import handed
from .._sansio.polling import PollSchedule
from .._sansio.retrying import RetryBudget, RetryPolicy
from .._sansio.tasks import TaskAnswer
from ..errors import ServiceError, TransportError, TrioNormanError

#: An answer, as it was read and as it came.
Told = tuple[TaskAnswer, Mapping[str, Any]]
#: Asks once about a task, by its id.
Ask = Callable[[str], Awaitable[Told]]

_EARLY = 256  # callbacks that are kept of tasks that nobody has asked for yet
_TOGETHER_SECONDS = 0.01  # by which a poll may come early, so that one waking of the poller serves several
INTERESTED_SECONDS = 5.0  # for which `done()` keeps a task asked for, though nobody waits


@attrs.define(eq=False)
class Turn:
    """What those who wait now wait for: an answer, or the error that they all get. Who asks again gets another turn."""

    over: trio.Event = attrs.field(factory=trio.Event)
    error: Exception | None = None


@attrs.define(eq=False)
class Watch:
    """What is known of one task, shared by everybody who waits for it."""

    task_id: str = attrs.field(repr=False)  # whoever knows it can read the answer
    schedule: PollSchedule = attrs.field(repr=False)
    is_announced: bool = False  # a callback is expected
    made_at: float = attrs.field(factory=trio.current_time)
    asked_at: float = attrs.field(factory=trio.current_time)  # or made, if it never was asked for
    answer: TaskAnswer | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict)
    last_status: str = ""
    polls: int = 0
    pending_at: float = 0.0  # seconds after its making at which it was last seen going on
    waiting: int = 0
    interested_until: float = -math.inf
    is_scheduled: bool = False
    turn: Turn = attrs.field(factory=Turn)
    budget: RetryBudget | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still wants to know."""
        is_open = self.answer is None and self.turn.error is None
        return is_open and (self.waiting > 0 or trio.current_time() < self.interested_until)

    def settle(self, answer: TaskAnswer, raw: Mapping[str, Any]) -> None:
        """Take the answer in; what comes later is a repetition."""
        if self.answer is None:
            self.answer, self.raw, self.last_status = answer, raw, str(answer.status)
            self.turn.over.set()

    def fail(self, error: Exception) -> None:
        """Tell everybody who waits now that asking failed."""
        self.turn.error = error
        self.turn.over.set()

    def forgive(self) -> None:
        """Begin anew after a failure."""
        if self.turn.error is not None:
            self.turn, self.budget = Turn(), None


@attrs.define(eq=False)
class Poller:
    """Asks for tasks, each at its time, with a bounded number of requests in flight.

    Args:
        ask: Asks once.
        policy: How often a failing poll is tried again before those who wait are told.
        luck: Gives jitter, in [0, 1).
        at_once: Most requests in flight.
    """

    _ask: Ask
    _policy: RetryPolicy
    _luck: Callable[[], float]
    _at_once: int
    _watches: weakref.WeakValueDictionary[str, Watch] = attrs.field(init=False, factory=weakref.WeakValueDictionary)
    _schedules: dict[str, PollSchedule] = attrs.field(init=False, factory=dict)
    _due: list[tuple[float, int, Watch]] = attrs.field(init=False, factory=list)
    _order: count[int] = attrs.field(init=False, factory=count)
    _wake: trio.Event = attrs.field(init=False, factory=trio.Event)
    _early: dict[str, Told] = attrs.field(init=False, factory=dict)

    def watch(self, task_id: str, endpoint: str, *, is_announced: bool = False, is_new: bool = True) -> Watch:
        """Return what is known of a task; nothing is asked before somebody wants to know.

        Args:
            task_id: Its id.
            endpoint: Whose tasks take how long is learnt for each.
            is_announced: Whether a callback is expected.
            is_new: Whether it was made just now. One that may have been done long ago is asked for at once.
        """
        found = self._watches.get(task_id)
        if found is None:
            schedule = self._schedules.setdefault(endpoint, PollSchedule())
            found = self._watches[task_id] = Watch(task_id, schedule, is_announced=is_announced)
            found.asked_at = found.made_at if is_new else -math.inf
        if task_id in self._early:
            found.settle(*self._early.pop(task_id))
        return found

    def want(self, watch: Watch) -> None:
        """See to it that a task is asked for."""
        watch.forgive()
        if watch.answer is None and not watch.is_scheduled:
            watch.is_scheduled = True
            self._push(watch, self._next(watch))

    def announce(self, task_id: str, answer: TaskAnswer, raw: Mapping[str, Any]) -> None:
        """Take in what a callback says. It may come before its task's id has: then it is kept for a while."""
        watch = self._watches.get(task_id)
        if watch is None:
            self._early[task_id] = answer, raw
            while len(self._early) > _EARLY:
                del self._early[next(iter(self._early))]
            return
        if watch.answer is None:
            age = trio.current_time() - watch.made_at
            watch.schedule.learn(age, age)
        watch.settle(answer, raw)

    async def run(self) -> None:
        """Ask for ever."""
        send_watch, receive_watch = trio.open_memory_channel[Watch](0)
        async with trio.open_nursery() as nursery:
            with send_watch:
                for _ in range(self._at_once):
                    nursery.start_soon(self._poll_each, receive_watch)
                while True:
                    await self._wait_until_due()
                    soon = trio.current_time() + _TOGETHER_SECONDS
                    while self._due and self._due[0][0] <= soon:
                        await handed(send_watch, self._pop())

    async def _wait_until_due(self) -> None:
        while not self._due or self._due[0][0] > trio.current_time():
            self._wake = trio.Event()
            with trio.move_on_at(self._due[0][0] if self._due else math.inf):
                await self._wake.wait()

    def _pop(self) -> Watch:
        return heapq.heappop(self._due)[2]

    def _push(self, watch: Watch, due: float) -> None:
        heapq.heappush(self._due, (due, next(self._order), watch))
        if self._due[0][2] is watch:
            self._wake.set()

    def _next(self, watch: Watch) -> float:
        """Return when to ask for a task, which may be in the past."""
        if watch.asked_at == -math.inf:
            return watch.asked_at
        if watch.is_announced:
            return watch.asked_at + watch.schedule.patience(watch.polls, jitter=self._luck())
        age = watch.asked_at - watch.made_at
        return watch.asked_at + watch.schedule.wait(age, watch.polls, jitter=self._luck())

    async def _poll_each(self, receive_watch: trio.MemoryReceiveChannel[Watch]) -> None:
        async for watch in receive_watch:
            due = await self._poll(watch) if watch.is_wanted else None
            watch.is_scheduled = due is not None
            if due is not None:
                self._push(watch, due)

    async def _poll(self, watch: Watch) -> float | None:
        """Ask once, and return when to ask again."""
        began = trio.current_time()
        watch.polls += 1
        try:
            answer, raw = await self._ask(watch.task_id)
        except TrioNormanError as error:
            return self._after(watch, error)
        except Exception as error:  # noqa: BLE001 (it belongs to those who wait, not to the client's nursery)
            watch.fail(error)
            return None
        finally:
            watch.asked_at = trio.current_time()
        watch.budget, watch.last_status = None, str(answer.status)
        if not answer.is_final:
            watch.pending_at = began - watch.made_at
            return self._next(watch) if watch.is_wanted else None
        if watch.answer is None:
            # What the answer took to come is no part of the task: learnt as such, it would make the next polls late.
            watch.schedule.learn(watch.pending_at, began - watch.made_at, jitter=self._luck())
        watch.settle(answer, raw)
        return None

    def _after(self, watch: Watch, error: TrioNormanError) -> float | None:
        watch.budget = watch.budget or RetryBudget(self._policy)
        wait = watch.budget.after(error, now=trio.current_time(), jitter=self._luck())
        if wait is None:
            if isinstance(error, TransportError | ServiceError):
                error = attrs.evolve(error, attempts=watch.budget.failures)
            watch.fail(error)
            return None
        return trio.current_time() + wait
