"""Ask what an object is, by its first byte: some stores sign a URL for GET alone, so HEAD is no way."""

from __future__ import annotations

from contextlib import aclosing

import trio

from .._sansio.expiry import MAY_HAVE_EXPIRED
from .._sansio.heads import Asked, Body, Refused, Unsatisfiable, Version, WholeInstead, read_head
from .._sansio.ranges import ByteRange
from .._sansio.retrying import RetryBudget
from .._wire._fetching import Answer
from ..errors import ServiceError, TransportError
from ._links import Links
from ._model import Source
from ._shop import Shop


async def probe(shop: Shop, source: Source, links: Links, budget: RetryBudget) -> Version:
    """Return what the server tells of the object behind `source`, for one byte of its content.

    Raises:
        TrioNormanError: If nothing can be learnt within the budget.
    """
    while True:
        try:
            async with shop.connections.slot():
                return await _ask(shop, source, links)
        except (TransportError, ServiceError) as error:
            wait = shop.next_try(source, error, budget)
            if wait is None:
                raise
        await trio.sleep(wait)


async def _ask(shop: Shop, source: Source, links: Links) -> Version:
    span = ByteRange(0, 1)
    link = await links.current()
    try:
        async with shop.ask(link, span) as answer:
            reading = read_head(Asked(source.name, answer.url, span), answer.status, answer.headers)
            if isinstance(reading, Body):
                await _take_to_its_end(answer, shop.options.stall.seconds)
    except ServiceError as error:
        if error.status not in MAY_HAVE_EXPIRED or not source.is_renewable:
            raise
        await links.renew(link, error)
        return await _ask(shop, source, links)
    match reading:
        case Body(version=version) | WholeInstead(Body(version=version)):
            return version
        case Unsatisfiable(total):
            return Version(total)
        case Refused(refusal):
            raise refusal


async def _take_to_its_end(answer: Answer, seconds: float) -> None:
    """Take the one byte, so that the connection can be used again; the head has told everything already.

    A body that is longer, or does not come, is left: that costs the connection and nothing else.
    """
    left = 1
    with trio.move_on_after(seconds):
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    return
