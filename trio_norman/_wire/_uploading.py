"""Bodies that are sent in pieces: to a signed URL, by a client that holds no credential, or anywhere."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self, cast

import attrs
import httpx
import trio

from .._sansio.addresses import Vicinity
from .._sansio.answers import error_of_status, joined_fields
from .._sansio.redaction import Secret
from .._sansio.redirects import REDIRECT_STATUSES
from .._sansio.retrying import RetryBudget, RetryPolicy
from .._sansio.stalling import StallLimit, StallWatch
from ..errors import HeadTimeoutError, RedirectError, ServiceError, SlowTransferError, TransportError, TrioNormanError
from ._connecting import USER_AGENT, ConnectionSettings, has_proxy, lower_headers, new_transport, request_extensions
from ._errors import InnerFramesForgotten, errors_translated
from ._pieces import explanation
from ._sockets import Refusal

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
            SlowTransferError: If the body stalls.
            HeadTimeoutError: If the whole of it has left, or nothing could yet, and there is no answer.
        """
        self._scope.deadline = trio.current_time() + self._head_seconds
        with self._scope:
            yield
        if self._scope.cancelled_caught:
            if self._watch is not None and not self._is_sent:
                raise SlowTransferError(method, url, "the body was not taken")
            raise HeadTimeoutError(method, url, f"no answer within {self._head_seconds:g} s")


async def blocks_of(content: bytes) -> AsyncGenerator[bytes, None]:
    """Cut a body into pieces, so that its progress shows."""
    for start in range(0, len(content), BLOCK_BYTES):
        yield content[start : start + BLOCK_BYTES]


async def put_bytes(
    settings: ConnectionSettings,
    url: Secret,
    body: bytes,
    *,
    home: Vicinity,
    policy: RetryPolicy,
    luck: Callable[[], float] = random.random,
) -> None:
    """Put `body` where a signed URL of the service `home` leads, and follow no redirect.

    The same bytes under the same name are the same thing: what fails in passing is repeated from the first byte on.

    Args:
        settings: How peers are reached.
        url: Where to.
        body: All of it.
        home: Where the service is, which says where it may send us.
        policy: Limits of trying again.
        luck: Spreads the waits; gives numbers in [0, 1).

    Raises:
        AddressError: If the URL must not be contacted, or leads where a service's URL must not.
        RedirectError: If the storage sends us elsewhere.
        SlowTransferError: If the body is taken at less than 1 KiB/s.
        TransportError: If no whole head came.
        ServiceError: For every other status from 300 on, even if it comes before the body was sent.

    Cancellation: the bytes may have arrived.
    """
    target, budget = url.reveal(), RetryBudget(policy)
    refusal = home.judge("PUT", target, allow_http=settings.allow_http, longest=settings.limits.url_characters)
    transport = settings.transport or await new_transport(settings, max_connections=1)
    try:
        while True:
            try:
                await _put_once(transport, settings, target, refusal, body)
                return
            except (TransportError, ServiceError) as error:
                wait = budget.after(error, now=trio.current_time(), jitter=luck())
                if wait is None:
                    error.attempts = budget.failures
                    raise
            await trio.sleep(wait)
    finally:
        if settings.transport is None:
            with trio.CancelScope(shield=True):  # it waits for nobody
                await transport.aclose()


async def _put_once(
    transport: httpx.AsyncBaseTransport, settings: ConnectionSettings, target: str, refusal: Refusal, body: bytes
) -> None:
    headers = [("Accept", "*/*"), ("User-Agent", USER_AGENT), ("Content-Length", str(len(body)))]
    pieces = blocks_of(body)
    watched = WatchedBody(pieces, settings.head_seconds)
    extensions = request_extensions(settings, refusal)
    translating = errors_translated("PUT", target, through_proxy=has_proxy(settings.transport))
    with InnerFramesForgotten():  # around all of it: they hold the signed URL
        try:
            with watched.watch("PUT", target), translating:
                request = httpx.Request("PUT", target, headers=headers, content=watched, extensions=extensions)
                response = await transport.handle_async_request(request)
        finally:
            with trio.CancelScope(shield=True):  # it waits for nobody
                await pieces.aclose()
        try:
            if response.status_code >= 300:
                raise await _refusal_told(response, settings, target)
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()


async def _refusal_told(response: httpx.Response, settings: ConnectionSettings, target: str) -> TrioNormanError:
    status = response.status_code
    if status in REDIRECT_STATUSES:
        return RedirectError("PUT", target, f"status {status}: what is uploaded follows nothing")
    body, most = cast(httpx.AsyncByteStream, response.stream), settings.limits.error_bytes
    told = await explanation(body, "PUT", target, most=most, seconds=settings.head_seconds)
    headers = joined_fields(lower_headers(response.headers.raw))
    error = error_of_status("PUT", target, status, headers, told, now=datetime.now(UTC))
    error.note_no_key()
    return error
