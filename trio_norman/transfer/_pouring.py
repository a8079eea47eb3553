"""From a response's body into a partial file: reading and writing overlap, and at most two blocks are in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.heads import Body
from .._sansio.ranges import LARGEST_SIZE, ByteRange, Lane, Ledger
from .._sansio.stalling import StallWatch
from .._wire._fetching import Answer
from .._wire._pump import Pump
from ..errors import (
    InterruptedTransferError,
    SlowTransferError,
    TransportError,
    TrioNormanError,
)
from ._part import Part
from ._shop import Shop

_BLOCK = 2**20  # bytes that are written at once
_PATIENCE = 0.1  # seconds after which a smaller block is written too, so that a slow body is not lost to a kill
_SYNC_EVERY = 64 * 2**20  # bytes after which a durable download brings its journal to the disk

# Bytes that one visit to a worker thread may bring; another lane can be given none of them, so it is no more than the
# link is likely to bring meanwhile.
_LEAST_STRETCH, _LONGEST_STRETCH = 2**20, 16 * 2**20
_STAY = 0.1  # seconds that one visit may last: after these, progress is told and limits are looked at

_Block = tuple[int, list[bytes]]


@attrs.define(eq=False)
class Pouring:
    """One body on its way into one partial. `count` is called with the size of every block that was written.

    The answer should carry bytes up to `until`: what comes beyond is of no known place in the object, and is only noted
    (`goes_on`).
    """

    shop: Shop
    part: Part
    ledger: Ledger
    count: Callable[[int], None]
    until: int = LARGEST_SIZE
    goes_on: bool = attrs.field(init=False, default=False)

    async def pour(self, answer: Answer, lane: Lane) -> TransportError | None:
        """Write the body as far as the lane goes; return what ended it early. All that came is written either way.

        Raises:
            TransferError: If the file system refuses.

        Cancellation: noticed at once; a block that is being written is finished first.
        """
        pump = answer.pump()
        if pump is not None:
            try:
                return await self._pump(pump, answer, lane)
            finally:
                pump.close()
        failure: TransportError | None = None
        with lone_error_unwrapped():
            async with trio.open_nursery() as nursery:
                send_block, receive_block = trio.open_memory_channel[_Block](0)
                nursery.start_soon(self._write_each, receive_block)
                with send_block:
                    failure = await self._read(answer, lane, send_block)
        return failure

    async def _pump(self, pump: Pump, answer: Answer, lane: Lane) -> TransportError | None:
        watch = StallWatch(self.shop.options.stall, trio.current_time())
        stretch = _LEAST_STRETCH
        while pump.left and self._room(lane):
            asked_at = trio.current_time()
            count = min(self._room(lane), pump.left, stretch)
            lane.reserved = lane.position + count  # first: while we wait for leave, another lane may look for a share
            count = await self.shop.allowance(count)
            lane.reserved = lane.position + count
            watch.excuse(trio.current_time() - asked_at)
            take = partial(self.part.take_from, pump, lane.position, count, seconds=_STAY)
            moved = await trio.to_thread.run_sync(take, limiter=self.shop.disk)
            if moved.count:
                await self._written(ByteRange(lane.position, lane.position + moved.count), lane)
            if moved.ending is not None:
                return moved.ending
            if trio.current_time() >= watch.advance(moved.count, trio.current_time()):
                return _too_slow(answer, watch)
            stretch = min(max(2 * moved.count, _LEAST_STRETCH), _LONGEST_STRETCH)
        if not pump.left:
            pump.finish()
        return None

    async def _write_each(self, receive_block: trio.MemoryReceiveChannel[_Block]) -> None:
        async for offset, buffers in receive_block:
            await self._written(await trio.to_thread.run_sync(self.part.write, offset, buffers, limiter=self.shop.disk))

    async def _written(self, span: ByteRange, lane: Lane | None = None) -> None:
        if lane is not None:
            lane.position = span.stop
        self.ledger.record(span)
        self.count(len(span))
        if self.shop.options.durable and self.part.unsynced_bytes >= _SYNC_EVERY:
            await trio.to_thread.run_sync(self.part.sync, _SYNC_EVERY, limiter=self.shop.disk)

    async def _read(
        self, answer: Answer, lane: Lane, send_block: trio.MemorySendChannel[_Block]
    ) -> TransportError | None:
        begun, pending, waiting = lane.position, [], 0
        flushed_at = trio.current_time()
        watch = StallWatch(self.shop.options.stall, flushed_at)
        failure: TransportError | None = None
        with trio.CancelScope(deadline=watch.deadline) as scope:
            try:
                async with aclosing(answer.chunks()) as chunks:
                    async for chunk in chunks:
                        now = await _paid_for(self.shop, len(chunk), watch, scope)
                        scope.deadline = watch.advance(len(chunk), now)
                        taken = self._take(chunk, lane)
                        pending.append(taken)
                        waiting += len(taken)
                        if waiting >= _BLOCK or now - flushed_at >= _PATIENCE:
                            scope.deadline = math.inf  # the disk's slowness is not the peer's
                            await send_block.send((begun, pending))
                            flushed_at = trio.current_time()
                            scope.deadline = watch.excuse(flushed_at - now)
                            begun, pending, waiting = lane.position, [], 0
                        if len(taken) < len(chunk):
                            self.goes_on = lane.position >= self.until  # else the rest is another lane's
                            break
            except TransportError as error:
                failure = error
        if scope.cancelled_caught:
            failure = _too_slow(answer, watch)
        if waiting:
            await send_block.send((begun, pending))
        return failure

    def _take(self, chunk: bytes, lane: Lane) -> bytes:
        """Return what of a chunk is still this lane's; a longer answer may carry it on into the next part."""
        taken = 0
        while taken < len(chunk) and (room := self._room(lane)):
            step = min(room, len(chunk) - taken)
            lane.position += step
            taken += step
        return chunk if taken == len(chunk) else chunk[:taken]

    def _room(self, lane: Lane) -> int:
        """Return how many bytes of the answer the lane can take next; it goes on into the next part if it may."""
        if not lane.left and lane.stop < self.until:
            self.ledger.extend(lane)
        return min(lane.stop, self.until) - lane.position

    @staticmethod
    async def gather(
        shop: Shop, answer: Answer, body: Body, count: Callable[[int], None]
    ) -> tuple[list[bytes], TrioNormanError | None]:
        """Take a small body into memory: its buffers, and what ended it early. Never more than was promised."""
        whole = answer.whole() if shop.throttle is None else None
        if whole is not None:
            count(len(whole))
            return [whole], None if len(whole) == body.stop else InterruptedTransferError("GET", answer.url)
        buffers: list[bytes] = []
        size = body.stop or 0
        watch = StallWatch(shop.options.stall, trio.current_time())
        with trio.CancelScope(deadline=watch.deadline) as scope:
            try:
                async with aclosing(answer.chunks()) as chunks:
                    async for chunk in chunks:
                        now = await _paid_for(shop, len(chunk), watch, scope)
                        buffers.append(chunk)
                        scope.deadline = watch.advance(len(chunk), now)
            except TransportError as error:
                return buffers, error
        if scope.cancelled_caught:
            return buffers, _too_slow(answer, watch)
        came = sum(map(len, buffers))
        count(came)
        return buffers, None if came == size else InterruptedTransferError("GET", answer.url)


async def _paid_for(shop: Shop, count: int, watch: StallWatch, scope: trio.CancelScope) -> float:
    """Wait until the limit on the rate, if there is one, allows what has come; return the time then."""
    now = trio.current_time()
    if shop.throttle is None:
        return now
    scope.deadline = math.inf  # our own limit is not the peer's slowness
    while count:
        count -= await shop.allowance(count)
    watch.excuse(trio.current_time() - now)
    return trio.current_time()


def _too_slow(answer: Answer, watch: StallWatch) -> SlowTransferError:
    limit = watch.limit
    return SlowTransferError("GET", answer.url, f"below {limit.bytes_per_second:g} B/s for {limit.seconds:g} s")
