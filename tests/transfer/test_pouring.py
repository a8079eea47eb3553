"""One body into one partial, while other lanes look for a share of what it still has to bring."""

from __future__ import annotations

from typing import Any, cast

import attrs
import trio

from trio_norman import DownloadOptions
from trio_norman._sansio.ranges import ByteRange, Ledger
from trio_norman._wire._fetching import Answer
from trio_norman._wire._pump import Moved
from trio_norman.transfer._part import Part
from trio_norman.transfer._pouring import Pouring
from trio_norman.transfer._shop import Shop

MiB = 2**20


@attrs.define(eq=False)
class _Body:
    """An answer, its pump and the partial in one: it brings as many bytes as are asked for."""

    left: int
    unsynced_bytes: int = 0
    came: list[ByteRange] = attrs.field(factory=list)

    def pump(self) -> _Body:
        return self

    def take_from(self, pump: object, offset: int, at_most: int, *, seconds: float) -> Moved:
        self.left -= at_most
        self.came.append(ByteRange(offset, offset + at_most))
        return Moved(at_most)

    def finish(self) -> None:
        assert self.left == 0

    def close(self) -> None:
        pass


@attrs.define(eq=False)
class _CrowdedShop:
    """Whenever somebody waits for the limit on the rate, another lane takes a share meanwhile and brings it at once."""

    ledger: Ledger
    shares: list[ByteRange] = attrs.field(factory=list)
    options: DownloadOptions = attrs.field(factory=DownloadOptions)
    disk: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def allowance(self, count: int) -> int:
        await trio.lowlevel.checkpoint()
        if (other := self.ledger.take()) is not None:
            self.shares.append(ByteRange(other.position, other.stop))
            other.position = other.stop
        return count


async def test_what_waits_for_the_limit_on_the_rate_is_given_to_no_other_lane() -> None:
    ledger = Ledger(part_bytes=64 * MiB, split_bytes=MiB // 16, size=8 * MiB)
    lane = ledger.take()
    assert lane is not None
    body, shop = _Body(8 * MiB), _CrowdedShop(ledger)
    pouring = Pouring(cast(Shop, shop), cast(Part, body), ledger, count=lambda _: None)
    failure: Any = await pouring.pour(cast(Answer, body), lane)
    assert failure is None
    spans = sorted(body.came + shop.shares)
    assert [span.start for span in spans[1:]] == [span.stop for span in spans[:-1]]  # each byte once
    assert (spans[0].start, spans[-1].stop) == (0, 8 * MiB)
