"""One object on its way home: lanes fetch its spans into one partial, or its small body into memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.endings import End, Ended, read_end
from .._sansio.heads import (
    UNKNOWN,
    Asked,
    Body,
    Refused,
    Unsatisfiable,
    Version,
    WholeInstead,
    read_head,
    size_beyond_limit,
    size_contradiction,
    what_contradicts,
)
from .._sansio.ranges import LARGEST_SIZE, ByteRange, Lane, Ledger
from .._sansio.retrying import News, RetryBudget
from .._wire._fetching import Answer
from ..errors import RangeNotHonouredError, ServiceError, SourceChangedError, TransportError, TrioNormanError
from ._digesting import Digester, wanted_algorithms
from ._encoded import refused_encoding
from ._helpers import Helpers
from ._links import Ask, Links
from ._model import DownloadAdvanced, Link, Source
from ._pace import LARGEST_SPLIT, Pace
from ._part import Part
from ._pouring import Pouring
from ._restarts import MOST_RESTARTS, StartAnewError, foremost, is_all_here
from ._shop import Shop
from ._small import SMALL

_Attempt = Callable[[Ask], Awaitable[TrioNormanError | None]]


@attrs.define(eq=False)
class ObjectDownload:
    """The bytes of one source, from its first request until all of them are here.

    Afterwards they are in `small`, or in `part`, which `claim` gets if there is none. `announced` is what the caller
    said of the object, `seen` what the server's answers say of the version that is being fetched.
    """

    shop: Shop
    source: Source
    announced: Version
    budget: RetryBudget
    links: Links
    claim: Callable[[Version], Awaitable[Part]]
    part: Part | None = None
    small: bytes | None = attrs.field(default=None, repr=False)  # up to a MiB of the file
    seen: Version = UNKNOWN
    received_bytes: int = 0
    attempts: int = 0
    restarts: int = 0
    is_encoded: bool = attrs.field(init=False, default=False)  # what came last said so of itself
    goes_on: bool = attrs.field(init=False, default=False)  # a body did, when all bytes of the object were here
    digester: Digester | None = attrs.field(init=False, default=None)
    _news: News = attrs.field(init=False, factory=News)
    _ledger: Ledger = attrs.field(init=False)
    _may_range: bool = attrs.field(init=False, default=True)
    _whole_lane: Lane | None = attrs.field(init=False, default=None)
    _pace: Pace = attrs.field(init=False, factory=Pace)
    _helpers: Helpers | None = attrs.field(init=False, default=None)
    _waiting: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)  # it ends when nothing is missing
    _nursery: trio.Nursery = attrs.field(init=False)
    _first: tuple[Answer, Body] | None = attrs.field(init=False, default=None)
    _first_stack: AsyncExitStack = attrs.field(init=False)
    _dropped: Version = attrs.field(init=False, default=UNKNOWN)  # what was fetched before a restart, if it goes on

    def __attrs_post_init__(self) -> None:
        if self.part is not None:
            self.seen = self.part.version
            self._prepare(self.part.held)

    @property
    def known(self) -> Version:
        """Everything that is known of the version which is being fetched."""
        return self.announced.joined(self.seen)

    @property
    def size(self) -> int:
        """Length of the object, once it is here."""
        return len(self.small) if self.small is not None else self._ledger.size or 0

    def count_restart(self, reason: TrioNormanError) -> None:
        """Note that the object is fetched from its first byte again; raise `reason` if that was tried often enough."""
        self.restarts += 1
        if self.restarts > MOST_RESTARTS:
            raise reason from None

    async def start_anew(self, *, single: bool, is_same: bool = False) -> None:
        """Forget every byte and all that was seen; the partial is emptied.

        `is_same`: the same version should come once more, since nothing but a failure made this necessary.
        """
        self._dropped = self.seen if is_same else UNKNOWN
        self.seen, self._may_range, self.small = UNKNOWN, self._may_range and not single, None
        self.goes_on = False
        self._news.begin_anew()
        if self.digester is not None:
            self.digester.forget()
        if self.part is not None:
            await trio.to_thread.run_sync(self.part.start_anew, self.announced, limiter=self.shop.disk)
        self._prepare([])

    def _prepare(self, held: list[ByteRange]) -> None:
        part_bytes = self.shop.options.part_bytes if self._may_range else LARGEST_SIZE
        size = self.known.size or None  # of an empty object nothing is missing; one request shall show that it is there
        self._ledger = Ledger(part_bytes, LARGEST_SPLIT, size, held)
        if self.part is not None and self.digester is not None:
            self._digest(self.part)

    def _digest(self, part: Part) -> Digester:
        self.digester = self.digester or Digester(part, self._ledger, self.shop.hashing)
        self.digester.begin(self._ledger, self.algorithms())
        return self.digester

    def algorithms(self) -> list[str]:
        """Return the digests that are computed: those that were announced, and SHA-256 if asked for."""
        return wanted_algorithms(self.known.digests, verify=bool(self.shop.options.verify))

    async def fetch_all(self) -> None:
        """Bring every missing byte; hold one connection slot while calling this.

        Raises:
            StartAnewError: If what has come is of no use.
            TrioNormanError: If it cannot be brought.
        """
        async with AsyncExitStack() as self._first_stack:
            if self.part is None and await self._fetch_small():
                return
            if self.part is None:
                self._prepare([])
            self._helpers = None
            self._pace.begin()
            with lone_error_unwrapped(foremost):
                async with trio.open_nursery() as self._nursery:
                    if self.part is not None:
                        self._start_helpers(self.part)
                    await self._work()

    async def _fetch_small(self) -> bool:
        """Ask for the object; take it if it is small, which needs no lanes, else keep the answer for the first one."""
        failure = await self.links.attempt(self._ask_plainly)
        if failure is not None:
            await self._first_stack.aclose()
            await self._pause(failure, self.budget)
        return self.small is not None

    async def _ask_plainly(self, link: Link) -> TrioNormanError | None:
        self.attempts += 1
        answer = await self._first_stack.enter_async_context(self.shop.ask(link))
        self.links.note_success(link)
        match read_head(Asked(self.source.name, answer.url), answer.status, answer.headers):
            case Body() as body if body.stop is not None and body.stop <= SMALL:
                return await self._contradiction(body, answer) or await self._take_small(answer, body, self.budget)
            case Body() as body:
                self._first = (answer, body)
                return None
            case Refused(error):
                return error
            case other:
                raise AssertionError(f"an answer to a range that was not asked for: {other}")

    def _start_helpers(self, part: Part) -> None:
        """Let digests follow what is written, and spare connections join in; a small body needs neither."""
        if self._helpers is None:
            digester = self._digest(part)
            self._helpers = Helpers(
                self.shop, self.source, self.links, self._may_be_helped, self._help_pays, self._help
            )
            self._nursery.start_soon(digester.follow)
            self._nursery.start_soon(self._helpers.recruit)

    def _may_be_helped(self) -> bool:
        return self._may_range and self.known.may_be_combined

    def _help_pays(self) -> bool:
        self._pace.weigh(self._ledger, self.received_bytes, self._connections)
        limits = (self.received_bytes, self._connections, self.shop.connections.busy)
        return bool(self._ledger.lanes) and self._ledger.can_take() and not self._pace.is_limited_elsewhere(*limits)

    @property
    def _connections(self) -> int:
        return 1 + (0 if self._helpers is None else self._helpers.count)

    async def _work(self) -> None:
        """Fetch one share after the other on the object's own connection, until helpers have brought the rest, too."""
        try:
            while (lane := self._next_lane()) is not None or await self._helpers_may_leave_some():
                if lane is None:
                    continue
                if not self._may_range and not self._ledger.covers_all(lane):
                    self._ledger.release(lane)
                    raise StartAnewError(RangeNotHonouredError(self.source.name), single=True)
                failure = await self._fetch_lane(lane, self.budget, self.links.attempt)
                if failure is not None:
                    await self._recover(failure)
        finally:
            if self._helpers is not None:
                self._helpers.dismiss()
            if self.digester is not None:
                self.digester.wake()  # it is the end of the lanes that shows the end of an object of unknown size

    async def _helpers_may_leave_some(self) -> bool:
        """Wait until a helper has left and its share may be open again; False if there is none, or no need."""
        if self._helpers is None or not self._helpers.count:
            return False
        await self._unless_complete(self._helpers.wait_until_one_leaves)
        if self._is_complete:
            await self._helpers.say_goodbye()
        return not self._is_complete

    async def _unless_complete(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for something, but no longer than until helpers have brought everything."""
        with trio.CancelScope() as self._waiting:
            if not self._is_complete:
                await wait()

    @property
    def _is_complete(self) -> bool:
        return self._helpers is not None and self._ledger.is_complete

    async def _help(self, helpers: Helpers, budget: RetryBudget) -> TrioNormanError | None:
        """Fetch one share after the other beside the own connection; return what ended one early."""
        while (lane := self._next_lane()) is not None:
            if not self._may_range and not self._ledger.covers_all(lane):
                self._ledger.release(lane)
                return None
            failure = await self._fetch_lane(lane, budget, helpers.attempt)
            if failure is not None or self.shop.connections.are_wanted:
                return failure
        return None

    def _next_lane(self) -> Lane | None:
        self._pace.weigh(self._ledger, self.received_bytes, self._connections)
        return self._ledger.take() if self._may_range or not self._ledger.lanes else None

    async def _fetch_lane(self, lane: Lane, budget: RetryBudget, attempt: _Attempt) -> TrioNormanError | None:
        """Fetch one share as far as it goes; return what ended it early."""
        try:
            if self._first is not None:
                (answer, body), self._first, self._whole_lane = self._first, None, lane
                async with self._first_stack:
                    return await self._take_body(lane, answer, body, budget)
            failure = await attempt(partial(self._exchange, lane, budget))
            if isinstance(failure, ServiceError) and failure.status == 412 and self.seen.validator is not None:
                raise StartAnewError(SourceChangedError(self.source.name, str(failure)), single=False) from None
            return failure
        finally:
            if lane in self._ledger.lanes:
                self._ledger.release(lane)

    async def _exchange(self, lane: Lane, budget: RetryBudget, link: Link) -> TrioNormanError | None:
        self.attempts += 1
        is_whole = self._ledger.covers_all(lane)
        span = None if is_whole else ByteRange(lane.position, lane.stop)
        if_range = None if is_whole else self.seen.validator
        asked_at = trio.current_time()
        async with self.shop.ask(link, span, if_range) as answer:
            self._pace.latency = trio.current_time() - asked_at
            self.links.note_success(link)
            asked = Asked(self.source.name, answer.url, span)
            reading = read_head(asked, answer.status, answer.headers)
            match reading:
                case Refused(RangeNotHonouredError() as error):
                    raise StartAnewError(error, single=True)
                case Refused(error):
                    return error
                case Unsatisfiable() as beyond if is_all_here(beyond, lane, self._ledger, self.known, self.seen):
                    self._set_size(lane.position)
                    return None
                case Unsatisfiable(total) if wrong := size_contradiction(self.source.name, self.announced.size, total):
                    return wrong
                case Unsatisfiable(total):
                    why = f"nothing begins at {lane.position}, the object has {total} bytes"
                    raise StartAnewError(RangeNotHonouredError(self.source.name, why), single=True)
                case WholeInstead(body):
                    return await self._take_whole(lane, answer, body, budget)
                case Body():
                    self._whole_lane = lane if is_whole else self._whole_lane
                    return await self._take_body(lane, answer, reading, budget)

    async def _take_whole(self, lane: Lane, answer: Answer, body: Body, budget: RetryBudget) -> TrioNormanError | None:
        """A range was asked for and everything comes: make do with it, if no other lane is at work."""
        changed = body.version.differs_from(self.seen)
        if self._whole_lane in self._ledger.lanes and not changed:
            self._may_range = False  # the lane that has everything coming will go on into this share
            return None
        if self._connections > 1:
            error = SourceChangedError(self.source.name, changed or "the server stopped honouring ranges")
            raise StartAnewError(error, single=not changed)
        self._ledger.release(lane)
        self._may_range = self._may_range and bool(changed)
        if changed:
            self.count_restart(SourceChangedError(self.source.name, changed))
        await self.start_anew(single=self.restarts == MOST_RESTARTS)
        lane = self._whole_lane = self._ledger.open_whole()
        try:
            return await self._take_body(lane, answer, body, budget)
        finally:
            if lane in self._ledger.lanes:
                self._ledger.release(lane)

    async def _take_body(self, lane: Lane, answer: Answer, body: Body, budget: RetryBudget) -> TrioNormanError | None:
        wrong = await self._contradiction(body, answer)
        if wrong is not None:
            return wrong
        self._may_range = self._may_range and not body.declines_ranges
        if changed := body.version.differs_from(self._dropped):
            self.count_restart(SourceChangedError(self.source.name, changed))
        self._dropped = UNKNOWN
        is_piece = lane is not self._whole_lane
        if is_piece and not self.known.joined(body.version).may_be_combined:
            why = "nothing tells whether two answers are of one version"
            raise StartAnewError(RangeNotHonouredError(self.source.name, why), single=True)
        is_small = self.part is None and body.stop is not None and body.stop <= SMALL
        if is_small and body.start == 0:
            failure = await self._take_small(answer, body, budget)
            if self.small is not None:
                self._set_size(len(self.small))
                lane.position = lane.stop
            return failure
        await self._note(body.version)
        assert self.part is not None  # noqa: S101 (_note has claimed it)
        count = partial(self._count, budget, self._ledger.size)
        until = body.stop if is_piece else self.known.size
        pouring = Pouring(self.shop, self.part, self._ledger, count, LARGEST_SIZE if until is None else until)
        failure = await pouring.pour(answer, lane)
        if pouring.goes_on and is_piece:
            raise StartAnewError(
                RangeNotHonouredError(self.source.name, "it carries more bytes than it says"), single=True
            )
        self.goes_on = self.goes_on or (pouring.goes_on and body.stop is None)
        return failure or self._end_of(lane, Ended(body, lane.position, is_piece, answer.shows_its_end), answer, budget)

    def _beyond_limit(self, size: int) -> TrioNormanError | None:
        largest = self.shop.options.largest_bytes if self.announced.size is None else size
        return size_beyond_limit(self.source.identity, size, largest)

    async def _contradiction(self, body: Body, answer: Answer) -> TrioNormanError | None:
        """Return what is wrong if an answer is not about the announced object; start anew if it changed since."""
        self.is_encoded = body.is_encoded
        told = body.version
        error = what_contradicts(self.source.name, self.announced, told) or self._beyond_limit(told.size or 0)
        if body.is_encoded and (error is not None or not self.announced.digests):
            return await refused_encoding(answer, self.announced.size, self.shop.options.stall.seconds)
        changed = "" if error is not None else told.differs_from(self.seen)
        if changed:
            raise StartAnewError(SourceChangedError(self.source.name, changed), single=False)
        return error

    async def _note(self, version: Version) -> None:
        """Take in what an answer says of the object; the first one also claims the partial."""
        joined = self.seen.joined(version)
        if joined.size is not None:
            self._set_size(joined.size)
        if self.part is None:
            self.part = await self.claim(self.announced.joined(joined))
            await self._write_down(joined)
            self._start_helpers(self.part)
        elif joined != self.seen:
            await self._write_down(joined)
            if self.digester is not None and self._ledger.frontier == 0:
                self.digester.begin(self._ledger, self.algorithms())
        if self._helpers is not None:
            self._helpers.is_under_way.set()

    async def _write_down(self, joined: Version) -> None:
        assert self.part is not None  # noqa: S101 (callers have one)
        self.seen = joined
        held = tuple(self._ledger.held)
        await trio.to_thread.run_sync(self.part.note_version, self.known, held, limiter=self.shop.disk)

    def _set_size(self, size: int) -> None:
        try:
            self._ledger.set_size(size)
        except ValueError as error:
            raise StartAnewError(SourceChangedError(self.source.name, str(error)), single=False) from None

    async def _take_small(self, answer: Answer, body: Body, budget: RetryBudget) -> TrioNormanError | None:
        self.seen = self.seen.joined(body.version)
        self._news.begin_anew()
        buffers, failure = await Pouring.gather(self.shop, answer, body, partial(self._count, budget, body.stop))
        if failure is None:
            self.small = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        return failure

    def _end_of(self, lane: Lane, ended: Ended, answer: Answer, budget: RetryBudget) -> TrioNormanError | None:
        """Return what is wrong with a body that ended by itself."""
        if lane.position >= lane.stop:
            return None
        end = read_end(self.source.name, answer.url, ended, self.known)
        if end is End.OBJECT:
            self._set_size(lane.position)
        elif end is End.SPAN and not budget.allows_short_answer(ended.length, size=self._ledger.size):
            return RangeNotHonouredError(self.source.name, "the server sends less than was asked for, again and again")
        return end if isinstance(end, TrioNormanError) else None

    def _count(self, budget: RetryBudget, size: int | None, received: int) -> None:
        """Count bytes that were written (or are in memory)."""
        self.received_bytes += received
        too_large = self._beyond_limit(self._ledger.held_bytes) if size is None else None
        if too_large is not None:
            raise too_large
        self.shop.progress.received_bytes += received
        budget.advance(self._news.count(received), size=size)
        if self._is_complete:
            self._waiting.cancel()
        if self.digester is not None:
            self.digester.wake()
        if self.shop.on_event is not None:
            done = self._ledger.held_bytes if self.part is not None else received
            self.shop.emit(DownloadAdvanced(self.source, done, size))

    async def _recover(self, failure: TrioNormanError) -> None:
        """Wait until the next try, and see whether it can go on from here; raise what is final."""
        try:
            await self._pause(failure, self.budget)
        except (TransportError, ServiceError):
            if self._helpers is None or not self._helpers.count:
                raise
            # Others are still served: only what remains when they have ended shows whether this was final.
            await self._unless_complete(self._helpers.wait_until_all_left)
        is_started = self._ledger.held_bytes > 0 or self._connections > 1
        if is_started and not self._may_be_helped() and not self._is_complete:
            raise StartAnewError(failure, single=True, is_paid_for=True)

    async def _pause(self, failure: TrioNormanError, budget: RetryBudget) -> None:
        wait = self.shop.next_try(self.source, failure, budget)
        if wait is None:
            if isinstance(failure, TransportError | ServiceError):
                failure.attempts = budget.total_failures
            raise failure
        await self._unless_complete(partial(self.shop.connections.come_back_after, wait))
