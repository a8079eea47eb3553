"""Bodies that are sent in pieces: to a signed URL, by a client that holds no credential, or anywhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self, cast

import attrs
import httpx
import trio

from .._sansio.addresses import Vicinity
from .._sansio.answers import error_of_status, joined_fields
from .._sansio.redaction import Secret
from .._sansio.stalling import StallLimit, StallWatch
from ..errors import HeadTimeoutError
from ._connecting import USER_AGENT, ConnectionSettings, has_proxy, lower_headers, new_transport, request_extensions
from ._errors import InnerFramesForgotten, errors_translated

BLOCK_BYTES = 256 * 1024


@attrs.define(eq=False)
class WatchedBody:
    """A body on its way out: as long as its pieces are taken it goes on, and the answer's time begins at its end.

    Iterate it once, inside a block of `watch`. It is no generator: some transports leave those to the collector.

    Args:
        pieces: What is sent; each is taken when the one before it has left. Whoever made it closes it.
        head_seconds: Limit on the answer, from the last byte on.
        stall: Below which speed the peer is given up.
    """

    _pieces: AsyncIterator[bytes]
    _head_seconds: float
    _stall: StallLimit = attrs.field(factory=StallLimit)
    _scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _watch: StallWatch | None = attrs.field(init=False, default=None)
    _last: int = attrs.field(init=False, default=0)  # length of the piece that is on its way
    _is_sent: bool = attrs.field(init=False, default=False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._watch = self._watch or StallWatch(self._stall, trio.current_time())
        self._scope.deadline = self._watch.advance(self._last, trio.current_time())
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._is_sent, self._scope.deadline = True, trio.current_time() + self._head_seconds
            raise
        self._last = len(piece)
        return piece

    @contextmanager
    def watch(self, method: str, url: str) -> Iterator[None]:
        """Give up, within the block, when the body stalls or the answer to it does not come.

        Raises:
            HeadTimeoutError: If that happens.
        """
        self._scope.deadline = trio.current_time() + self._head_seconds
        with self._scope:
            yield
        if self._scope.cancelled_caught:
            why = f"no answer within {self._head_seconds:g} s" if self._is_sent else "the body was not taken"
            raise HeadTimeoutError(method, url, why)


async def blocks_of(content: bytes) -> AsyncGenerator[bytes, None]:
    """Cut a body into pieces, so that its progress shows."""
    for start in range(0, len(content), BLOCK_BYTES):
        yield content[start : start + BLOCK_BYTES]


async def put_bytes(settings: ConnectionSettings, url: Secret, body: bytes, *, home: Vicinity) -> None:
    """Put `body` where a signed URL of the service `home` leads. Nothing is repeated, and no redirect is followed.

    Raises:
        AddressError: If the URL must not be contacted, or leads where a service's URL must not.
        TransportError: If no whole head came; the body may take its time, as long as it is not below 1 KiB/s.
        ServiceError: For every status from 300 on.

    Cancellation: the bytes may have arrived.
    """
    target = url.reveal()
    refusal = home.judge("PUT", target, allow_http=settings.allow_http, longest=settings.limits.url_characters)
    headers = [("Accept", "*/*"), ("User-Agent", USER_AGENT), ("Content-Length", str(len(body)))]
    extensions = request_extensions(settings, refusal)
    pieces = blocks_of(body)
    watched = WatchedBody(pieces, settings.head_seconds)
    request = httpx.Request("PUT", target, headers=headers, content=watched, extensions=extensions)
    transport = settings.transport or await new_transport(settings, max_connections=1)
    try:
        translating = errors_translated("PUT", target, through_proxy=has_proxy(settings.transport))
        with watched.watch("PUT", target), InnerFramesForgotten(), translating:
            await _exchange(transport, request, target, settings.limits.error_bytes)
    finally:
        with trio.CancelScope(shield=True):  # neither waits for anybody
            await pieces.aclose()
            if settings.transport is None:
                await transport.aclose()


async def _exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request, target: str, most: int) -> None:
    response = await transport.handle_async_request(request)
    try:
        if response.status_code >= 300:
            told = bytearray()
            async for chunk in cast(httpx.AsyncByteStream, response.stream):
                told += chunk[: most - len(told)]
                if len(told) >= most:
                    break
            headers = joined_fields(lower_headers(response.headers.raw))
            raise error_of_status("PUT", target, response.status_code, headers, bytes(told), now=datetime.now(UTC))
    finally:
        with trio.CancelScope(shield=True):
            await response.aclose()
