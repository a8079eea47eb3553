"""A body that may be left before its end, whichever transport it comes from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress

import trio

from ..errors import TransportError
from ._errors import HTTPX_ERRORS, errors_translated

_MOST_RECEIVED = 100_000  # pieces that a body may hold back; none of ours holds back one


async def leave(pieces: AsyncIterator[bytes]) -> None:
    """End a body's iterator, which need not have come to its end. Cancellation: it waits for nothing.

    Bodies of httpx are generators that drive others. To close one leaves those to the garbage collector, and so to a
    task of Trio's own that outlives the block; a cancelled read ends them from the innermost one on.
    """
    if not isinstance(pieces, AsyncGenerator):
        return
    with trio.CancelScope() as scope, suppress(*HTTPX_ERRORS):  # however it ends, nobody wants to know any more
        scope.cancel(reason="the body is left before its end")
        for _ in range(_MOST_RECEIVED):
            if await anext(pieces, None) is None:
                break
    with trio.CancelScope(shield=True):
        await pieces.aclose()


async def explanation(body: AsyncIterable[bytes], method: str, url: str, *, most: int, seconds: float) -> bytes:
    """Read the start of the body that explains an error. One that is cut short, or takes too long, explains less.

    Args:
        body: The body; it is left.
        method: Of the request.
        url: Of the request.
        most: Bytes to read.
        seconds: How long it may take.
    """
    told, pieces = bytearray(), aiter(body)
    try:
        with trio.move_on_after(seconds), suppress(TransportError), errors_translated(method, url, in_body=True):
            async for piece in pieces:
                told += piece[: most - len(told)]
                if len(told) >= most:
                    break
    finally:
        await leave(pieces)  # noqa: ASYNC102 (it waits for nothing)
    return bytes(told)
