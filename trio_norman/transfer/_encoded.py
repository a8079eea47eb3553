"""Bodies that come encoded although identity was asked for: they are looked into, and not taken."""

from __future__ import annotations

from contextlib import aclosing

import trio

from .._sansio.unpacking import LOOKED_AT, encoding_unasked, new_gauge
from .._wire._fetching import Answer
from ..errors import TransportError, TrioNormanError


async def refused_encoding(answer: Answer, size: int | None, seconds: float) -> TrioNormanError:
    """Return the error that an encoded body is; what it begins with tells whether it is a bomb.

    Args:
        answer: Nothing of its body has been taken.
        size: Length of the object, in bytes, if it was announced.
        seconds: How long to look at most.

    Cancellation: the body was taken in part.
    """
    gauge, left = new_gauge(size), LOOKED_AT
    with trio.move_on_after(seconds):
        try:
            async with aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    gauge.feed(chunk[:left])
                    left -= len(chunk)
                    if left <= 0 or gauge.is_beyond:
                        break
        except TransportError:
            pass  # what came before it broke is enough to tell
    return encoding_unasked(answer.url, gauge)
