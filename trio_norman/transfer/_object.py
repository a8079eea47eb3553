"""One object on its way home: lanes fetch its spans into one partial, or its small body into memory."""

from __future__ import annotations

import math
from functools import partial

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.heads import Asked, Body, Refused, Unsatisfiable, Version, WholeInstead, read_head, size_contradiction
from .._sansio.ranges import LARGEST_SIZE, ByteRange, Lane, Ledger
from .._sansio.retrying import RetryBudget
from .._wire._fetching import Answer
from ..errors import (
    ChecksumMismatchError,
    InterruptedTransferError,
    RangeNotHonouredError,
    ServiceError,
    SourceChangedError,
    TransportError,
    TrioNormanError,
    UnprovenError,
)
from ._digesting import Digester, wanted_algorithms
from ._links import Links
from ._model import DownloadAdvanced, DownloadRetrying, Link, Source
from ._part import Part
from ._pouring import Pouring
from ._shop import Shop
from ._small import SMALL

# A share is divided only if each half is worth a new connection: so many seconds of work, within these bounds in bytes.
_WORTH_IT, _LEAST_SPLIT, _LARGEST_SPLIT = 0.25, 2**20, 16 * 2**20
# A connection that brings so many bytes a second is not what limits: the disk is, or the processor, and there several
# writers of one file stand in each other's way.
_FAST, _FIRST_LOOK = 256 * 2**20, 0.03
_RECONSIDER = 0.1  # seconds between two looks whether another connection would pay
_DENIED = frozenset({401, 403})


@attrs.define(eq=False)
class StartAnewError(Exception):
    """What has come is of no use: begin at the first byte, with one plain request if `single`.

    `is_paid_for` tells that the retry budget has already allowed it; else the number of restarts is limited.
    """

    reason: TrioNormanError
    single: bool
    is_paid_for: bool = False


def foremost(errors: list[BaseException]) -> BaseException:
    """Of several failed lanes raise what is final; that one of them wants to start anew matters less."""
    return min(errors, key=lambda error: (isinstance(error, StartAnewError), isinstance(error, Exception)))


@attrs.define(eq=False)
class ObjectDownload:
    """The bytes of one source, from its first request until all of them are here.

    Afterwards they are in `small`, or in `part`. `announced` is what the caller said of the object, `seen` what the
    server's answers say of the version that is being fetched.
    """

    shop: Shop
    source: Source
    announced: Version
    budget: RetryBudget
    links: Links
    part: Part | None = None
    small: bytes | None = None
    seen: Version = attrs.field(factory=Version)
    received_bytes: int = 0
    attempts: int = 0
    digester: Digester | None = attrs.field(init=False, default=None)
    _ledger: Ledger = attrs.field(init=False)
    _may_range: bool = attrs.field(init=False, default=True)
    _whole_lane: Lane | None = attrs.field(init=False, default=None)
    _is_under_way: trio.Event = attrs.field(init=False, factory=trio.Event)
    _lanes_open: int = attrs.field(init=False, default=0)
    _began: float = attrs.field(init=False, default=math.inf)
    _has_helpers: bool = attrs.field(init=False, default=False)
    _nursery: trio.Nursery = attrs.field(init=False)
    _recruiting: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        held = [] if self.part is None else self.part.held
        self.seen = Version() if self.part is None else self.part.version
        self._prepare(held)

    @property
    def known(self) -> Version:
        """Everything that is known of the version which is being fetched."""
        return self.announced.joined(self.seen)

    @property
    def size(self) -> int:
        """Length of the object, once it is here."""
        return len(self.small) if self.small is not None else self._ledger.size or 0

    async def start_anew(self, *, single: bool) -> None:
        """Forget every byte and all that was seen; the partial is emptied."""
        self.seen, self._may_range, self.small = Version(), self._may_range and not single, None
        if self.digester is not None:
            self.digester.forget()
        if self.part is not None:
            await trio.to_thread.run_sync(self.part.start_anew, self.announced, limiter=self.shop.disk)
        self._prepare([])

    def _prepare(self, held: list[ByteRange]) -> None:
        part_bytes = self.shop.options.part_bytes if self._may_range else LARGEST_SIZE
        size = self.known.size or None  # of an empty object nothing is missing; one request shall show that it is there
        self._ledger = Ledger(part_bytes, _LARGEST_SPLIT, size, held)
        if self.part is not None and self.digester is not None:
            self._digest(self.part)

    def _digest(self, part: Part) -> None:
        self.digester = self.digester or Digester(part, self._ledger, self.shop.hashing)
        self.digester.begin(self._ledger, self.algorithms())

    def algorithms(self) -> list[str]:
        """Return the digests that are computed: those that were announced, and SHA-256 if asked for."""
        return wanted_algorithms(self.known.digests, verify=bool(self.shop.options.verify))

    async def fetch_all(self) -> None:
        """Bring every missing byte; hold one connection slot while calling this.

        Raises:
            StartAnewError: If what has come is of no use.
            TrioNormanError: If it cannot be brought.
        """
        self._has_helpers, self._began = False, trio.current_time()
        with lone_error_unwrapped(foremost):
            async with trio.open_nursery() as self._nursery:
                if self.part is not None:
                    self._start_helpers(self.part)
                await self._work(self.budget, is_extra=False)

    def _start_helpers(self, part: Part) -> None:
        """Let digests follow what is written, and spare connections join in; a small body needs neither."""
        if not self._has_helpers:
            self._has_helpers = True
            self._digest(part)
            self._recruiting = trio.CancelScope()
            self._is_under_way = trio.Event()
            self._nursery.start_soon(self._follow)
            self._nursery.start_soon(self._recruit)

    async def _follow(self) -> None:
        assert self.digester is not None  # noqa: S101 (made before this was started)
        await self.digester.follow()

    async def _recruit(self) -> None:
        with self._recruiting:
            await self._is_under_way.wait()
            await trio.sleep(_FIRST_LOOK)
            while self._may_range and self.known.may_be_combined:
                self._weigh_splits()
                if not self._ledger.can_take() or self._lane_speed() > _FAST:
                    await trio.sleep(_RECONSIDER)
                    continue
                await self.shop.connections.take_spare()
                if not self._ledger.can_take() or not self._may_range:
                    self.shop.connections.release()
                    return
                self._nursery.start_soon(self._work_beside)
                await trio.lowlevel.checkpoint()  # the new lane takes its share before the next one is thought of

    def _weigh_splits(self) -> None:
        """Adapt what is worth a connection of its own to what a connection has brought so far."""
        if trio.current_time() - self._began >= _RECONSIDER:
            self._ledger.split_bytes = int(min(max(self._lane_speed() * _WORTH_IT, _LEAST_SPLIT), _LARGEST_SPLIT))

    def _lane_speed(self) -> float:
        """Return what one connection has brought so far, in bytes a second."""
        return self.received_bytes / max(trio.current_time() - self._began, 0.001) / max(self._lanes_open, 1)

    async def _work_beside(self) -> None:
        try:
            await self._work(RetryBudget(self.shop.options.retry), is_extra=True)
        finally:
            self.shop.connections.release()

    async def _work(self, budget: RetryBudget, *, is_extra: bool) -> None:
        # Each worker has a budget of its own: one outage breaks all connections at once, and that is one failure each.
        self._lanes_open += 1
        try:
            while (lane := self._next_lane()) is not None:
                if not self._may_range and not self._ledger.covers_all(lane):
                    self._ledger.release(lane)
                    if is_extra:
                        return
                    raise StartAnewError(RangeNotHonouredError(self.source.name), single=True)
                failure = await self._fetch_lane(lane, budget)
                if failure is not None:
                    await self._recover(failure, budget)
                elif is_extra and self.shop.connections.are_wanted and self._lanes_open > 1:
                    return
        finally:
            self._lanes_open -= 1
            if self._lanes_open == 0:
                self._recruiting.cancel()
                if self.digester is not None:
                    self.digester.wake()  # it is the end of the lanes that shows the end of an object of unknown size

    def _next_lane(self) -> Lane | None:
        self._weigh_splits()
        return self._ledger.take() if self._may_range or not self._ledger.lanes else None

    async def _fetch_lane(self, lane: Lane, budget: RetryBudget) -> TrioNormanError | None:
        """Fetch one share as far as it goes; return what ended it early."""
        try:
            link = await self.links.current()
            try:
                return await self._exchange(lane, link, budget)
            except ServiceError as error:
                if error.status not in _DENIED or not self.source.is_renewable:
                    return error
                await self.links.renew(link, error)
                return None
            except TransportError as error:
                return error
        finally:
            if lane in self._ledger.lanes:
                self._ledger.release(lane)

    async def _exchange(self, lane: Lane, link: Link, budget: RetryBudget) -> TrioNormanError | None:
        is_whole = self._ledger.covers_all(lane)
        span = None if is_whole else ByteRange(lane.position, lane.stop)
        if_range = None if is_whole else self.seen.validator
        self.attempts += 1
        async with self.shop.fetch(link.url, span, if_range) as answer:
            self.links.note_success(link)
            asked = Asked(self.source.name, answer.url, span)
            reading = read_head(asked, answer.status, answer.headers)
            match reading:
                case Refused(RangeNotHonouredError() as error):
                    raise StartAnewError(error, single=True)
                case Refused(error):
                    return error
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
        if self._lanes_open > 1:
            error = SourceChangedError(self.source.name, changed or "the server stopped honouring ranges")
            raise StartAnewError(error, single=not changed)
        self._ledger.release(lane)
        self._may_range = self._may_range and bool(changed)
        await self.start_anew(single=False)
        lane = self._whole_lane = self._ledger.open_whole()
        try:
            return await self._take_body(lane, answer, body, budget)
        finally:
            if lane in self._ledger.lanes:
                self._ledger.release(lane)

    async def _take_body(self, lane: Lane, answer: Answer, body: Body, budget: RetryBudget) -> TrioNormanError | None:
        contradiction = self._contradiction(body.version)
        if contradiction is not None:
            return contradiction
        is_piece = lane is not self._whole_lane
        if is_piece and not self.known.joined(body.version).may_be_combined:
            why = "nothing tells whether two answers are of one version"
            raise StartAnewError(RangeNotHonouredError(self.source.name, why), single=True)
        is_small = self.part is None and body.stop is not None and body.stop <= SMALL
        if is_small and body.start == 0:
            return await self._take_small(lane, answer, body, budget)
        await self._note(body.version)
        assert self.part is not None  # noqa: S101 (_note has claimed it)
        pouring = Pouring(self.shop, self.part, self._ledger, partial(self._count, budget))
        failure = await pouring.pour(answer, lane)
        return failure or self._end_of(lane, answer, body, budget)

    def _contradiction(self, version: Version) -> TrioNormanError | None:
        """Return what is wrong if an answer is not about the announced object; start anew if it changed since."""
        name = self.source.name
        error = size_contradiction(name, self.announced.size, version.size)
        for algorithm, digest in self.announced.digests.items():
            told = version.digests.get(algorithm, digest)
            if told != digest:
                error = error or ChecksumMismatchError(name, "by the server's own headers", algorithm, digest, told)
        changed = "" if error is not None else version.differs_from(self.seen)
        if changed:
            raise StartAnewError(SourceChangedError(name, changed), single=False)
        return error

    async def _note(self, version: Version) -> None:
        """Take in what an answer says of the object; the first one also claims the partial."""
        joined = self.seen.joined(version)
        if joined.size is not None:
            self._set_size(joined.size)
        if self.part is None:
            claim = (self.shop.folder, self.source.name, self.source.identity, self.announced.joined(joined))
            self.part = await trio.to_thread.run_sync(Part.claim, *claim, limiter=self.shop.disk)
            await self._write_down(joined)
            self._start_helpers(self.part)
        elif joined != self.seen:
            await self._write_down(joined)
            if self.digester is not None and self._ledger.frontier == 0:
                self.digester.begin(self._ledger, self.algorithms())
        self._is_under_way.set()

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

    async def _take_small(self, lane: Lane, answer: Answer, body: Body, budget: RetryBudget) -> TrioNormanError | None:
        self.seen = self.seen.joined(body.version)
        buffers, failure = await Pouring.gather(self.shop, answer, body, partial(self._count, budget))
        if failure is None:
            self.small = b"".join(buffers)
            self._set_size(len(self.small))
            lane.position = lane.stop
        return failure

    def _end_of(self, lane: Lane, answer: Answer, body: Body, budget: RetryBudget) -> TrioNormanError | None:
        """Return what is wrong with a body that ended by itself."""
        if self._ledger.size is None:
            if not answer.shows_its_end and not self.known.digests:
                return UnprovenError(self.source.name, "the server told no length and just closed the connection")
            self._set_size(lane.position)
        if lane.position >= lane.stop:
            return None
        if body.stop is not None and body.stop < lane.stop:  # a shorter span than was asked for is legal: ask on
            return self._short_answer(budget)
        return InterruptedTransferError("GET", answer.url)

    def _short_answer(self, budget: RetryBudget) -> TrioNormanError | None:
        error = RangeNotHonouredError(self.source.name, "the server sends less than was asked for, again and again")
        budget.failures += 1
        return error if budget.failures >= budget.policy.attempts else None

    def _count(self, budget: RetryBudget, received: int) -> None:
        """Count bytes that were written (or are in memory)."""
        self.received_bytes += received
        self.shop.progress.received_bytes += received
        budget.advance(received, size=self._ledger.size)
        if self.digester is not None:
            self.digester.wake()
        done = self._ledger.held_bytes if self.part is not None else received
        self.shop.emit(DownloadAdvanced(self.source, done, self._ledger.size))

    async def _recover(self, failure: TrioNormanError, budget: RetryBudget) -> None:
        """Wait until the next try, or raise what is final."""
        self.shop.note_refusal(failure)
        wait = budget.after(failure, now=trio.current_time(), jitter=self.shop.luck())
        if wait is None:
            if isinstance(failure, TransportError | ServiceError):
                failure.attempts = budget.total_failures
            raise failure
        self.shop.emit(DownloadRetrying(self.source, failure, wait))
        await trio.sleep(wait)
        is_started = self._ledger.held_bytes > 0 or self._lanes_open > 1
        if is_started and not (self._may_range and self.known.may_be_combined):
            raise StartAnewError(failure, single=True, is_paid_for=True)
