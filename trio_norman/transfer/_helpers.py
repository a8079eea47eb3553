"""Connections beside the own one of an object: they come while they pay, and one that fails ends itself alone."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.retrying import RetryBudget, verdict
from ..errors import TrioNormanError
from ._links import Ask, Links, asked
from ._model import Link, Source
from ._pace import FIRST_LOOK, RECONSIDER
from ._restarts import foremost
from ._shop import Shop

_GOODBYE = 0.1  # seconds in which a helper may end its exchange well, so that its connection can be used again


@attrs.define(eq=False)
class Helpers:
    """The helpers of one object; `count` of them are there.

    None of them is needed: what one has not brought is open to all again, so that its failure is no failure of the
    object. It only means that for a while nobody else is asked. Nor does one sleep until a next try or stand in line
    for a slot: the object's own connection cannot end before its helpers, and would wait with them.

    `may_help` tells whether the object can be fetched in parts, `pays` whether another connection would pay now;
    `help` fetches shares by requests that `attempt` makes, and returns what ended it early. All their failures go to
    one budget.
    """

    shop: Shop
    source: Source
    links: Links
    may_help: Callable[[], bool]
    pays: Callable[[], bool]
    help: Callable[[Helpers, RetryBudget], Awaitable[TrioNormanError | None]]
    count: int = attrs.field(init=False, default=0)
    is_under_way: trio.Event = attrs.field(init=False, factory=trio.Event)
    _budget: RetryBudget = attrs.field(init=False)
    _helped_by: Link | None = attrs.field(init=False, default=None)  # what has served one of them last
    _asked_with: Link | None = attrs.field(init=False, default=None)
    _rest_until: float = attrs.field(init=False, default=-math.inf)
    _refused: Link | None = attrs.field(init=False, default=None)  # for good, that is until it is renewed
    _is_hiring: bool = attrs.field(init=False, default=True)
    _scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _leaving: trio.lowlevel.ParkingLot = attrs.field(init=False, factory=trio.lowlevel.ParkingLot)

    def __attrs_post_init__(self) -> None:
        self._budget = RetryBudget(self.shop.options.retry)

    async def recruit(self) -> None:
        """Ask for one after the other once the object `is_under_way`, until it cannot be helped or they are dismissed.

        Raises:
            StartAnewError: If what came shows that the object must be begun anew.
            TransferError: If the file system refuses.
        """
        with self._scope, lone_error_unwrapped(foremost):
            async with trio.open_nursery() as nursery:
                await self.is_under_way.wait()
                await trio.sleep(FIRST_LOOK)
                while self._is_hiring and self.may_help():
                    if not self._is_time():
                        await trio.sleep(RECONSIDER)
                        continue
                    await self.shop.connections.take_spare()
                    if not (self._is_hiring and self.may_help() and self._is_time()):  # it may have been a long wait
                        self.shop.connections.release()
                        continue
                    self.count += 1
                    nursery.start_soon(self._work)
                    await trio.lowlevel.checkpoint()  # the new lane takes its share before the next one is thought of

    def _is_time(self) -> bool:
        if self._refused is not None and not self.links.is_present(self._refused):
            self._refused, self._rest_until = None, -math.inf
        return trio.current_time() >= self._rest_until and self.pays()

    async def _work(self) -> None:
        try:
            failure = await self.help(self, self._budget)
            self.count -= 1  # not after an error: it ends them all, and nobody is the only one left meanwhile
            if failure is not None:
                self._rest(failure)
        finally:
            self.shop.connections.release()
            self._leaving.unpark_all()

    def _rest(self, failure: TrioNormanError) -> None:
        """Ask nobody for a while: ever longer, since a server that serves some connections may refuse one more."""
        now, asked = trio.current_time(), getattr(failure, "retry_after", None) or 0.0
        if now < self._rest_until:  # one outage breaks all connections at once: that is one failure
            self._rest_until = max(self._rest_until, now + asked)
            return
        wait = self.shop.next_try(self.source, failure, self._budget)
        if wait is None and verdict(failure) == "no":
            self._refused, wait = self._asked_with, math.inf
        elif wait is None:
            wait = max(self.shop.options.retry.longest_retry_after, asked)
        self._rest_until = now + wait

    async def attempt(self, ask: Ask) -> TrioNormanError | None:
        """Make one request with a good link and return what went wrong, be it with the link or the request.

        Some stores refuse one connection too many as they refuse a link that has expired. So only a link that has
        served a helper before is worth a new one.
        """
        try:
            link = await self.links.current()
        except TrioNormanError as error:
            return error
        self._asked_with = link
        failure = await asked(ask, link)
        if failure is None:
            self._helped_by = link
        elif self.links.may_have_expired(failure) and (link is self._helped_by or not self.links.is_present(link)):
            try:
                await self.links.renew(link, failure)
            except TrioNormanError as error:
                return error
            return None
        return failure

    async def wait_until_one_leaves(self) -> None:
        """Wait until one of them has ended, well or not."""
        await self._leaving.park()

    async def wait_until_all_left(self) -> None:
        """Ask for no more of them, and wait until the last one has ended, well or not."""
        self._is_hiring = False
        while self.count:
            await self._leaving.park()

    async def say_goodbye(self) -> None:
        """Let them end their exchanges when nothing is missing; whoever takes long is cancelled by `dismiss`."""
        with trio.move_on_after(_GOODBYE):
            await self.wait_until_all_left()

    def dismiss(self) -> None:
        """End all of them at once, and ask for no more."""
        self._scope.cancel()
