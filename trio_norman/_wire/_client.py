"""Calls of a JSON API: one request, its retries, its errors translated, its key bound to one origin."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import attrs
import httpx
import trio

from .._sansio.answers import error_of_status
from .._sansio.jsontext import decode_json
from .._sansio.redaction import Secret
from .._sansio.redirects import origin
from .._sansio.retrying import SAFE_METHODS, RetryBudget, RetryPolicy
from .._sansio.times import http_date
from ..errors import (
    ConnectError,
    HeadTimeoutError,
    LimitExceededError,
    NameResolutionError,
    ProtocolError,
    ServiceError,
    TransportError,
    TrioNormanError,
    UndecodableResponseError,
)
from ._connecting import USER_AGENT, ConnectionSettings, lower_headers, new_transport
from ._errors import errors_translated
from ._gate import Gates

LARGEST_BODY = 16 * 2**20  # bytes of one JSON answer
LARGEST_ERROR_BODY = 64 * 1024  # bytes; what comes after is not read
_SOCKETS = 16
_QUERY = re.compile(rb"""(\bhttps?:(?:\\?/){2}[^\s"'<>?]*)\?[^\s"'<>]*""", re.IGNORECASE)


class KeyForOneOrigin(httpx.AsyncBaseTransport):
    """Put the key on requests to one origin and on no other, whoever sends them.

    It stands below httpx's client and not in it, as an `httpx.Auth` would: there a redirect takes the header along to
    another origin, and every `response.request` shows the key.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, header: str, key: Secret, root: str) -> None:
        self._inner, self._header, self._key, self._origin = inner, header, key, origin(root)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Add the header where it belongs, drop it elsewhere, and pass the request on."""
        headers = httpx.Headers(request.headers)
        headers.pop(self._header, None)
        if origin(str(request.url)) == self._origin:
            headers[self._header] = self._key.reveal()
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
            )
        )

    async def aclose(self) -> None:
        """Close what is below."""
        await self._inner.aclose()


@attrs.frozen
class JsonAnswer:
    """A decoded answer: `document` (None without a body), the server's clock, and its name for the request."""

    url: str
    document: Any
    date: datetime
    request_id: str | None


@attrs.define(eq=False)
class JsonClient:
    """One service's API. `http_client` is the `httpx.AsyncClient` below, with the key on its own origin only."""

    http_client: httpx.AsyncClient
    root: str
    policy: RetryPolicy
    head_seconds: float
    _key: Secret
    _gates: Gates = attrs.field(init=False)
    _luck: Callable[[], float] = attrs.field(default=random.random)

    def __attrs_post_init__(self) -> None:
        self._gates = Gates(self.policy.longest_retry_after)

    async def call(self, method: str, path: str, query: Mapping[str, str | int] | None = None) -> JsonAnswer:
        """Make one call and decode its answer.

        Safe verbs are repeated within the retry policy; others only if the connection could not even be made.

        Args:
            method: ``GET``, ``DELETE`` and so on.
            path: Behind the root, percent-encoded.
            query: Names and values, unencoded.

        Raises:
            TransportError: No whole answer came.
            ServiceError: Any status outside 2xx.
            UndecodableResponseError: A 2xx that is not strict JSON.
            LimitExceededError: More than 16 MiB.

        Cancellation: a safe call did nothing; another one may have happened.
        """
        url = f"{self.root}/{path}"
        budget = RetryBudget(self.policy)
        while True:
            try:
                await self._gates.wait(url)
                return await self._once(method, url, query or {})
            except (TransportError, ServiceError) as error:
                self._gates.note(url, error)
                wait = budget.after(error, now=trio.current_time(), jitter=self._luck())
                if wait is None or not _may_repeat(method, error):
                    error.attempts = budget.failures
                    raise
            await trio.sleep(wait)

    async def _once(self, method: str, url: str, query: Mapping[str, str | int]) -> JsonAnswer:
        with trio.move_on_after(self.head_seconds) as limit, errors_translated(method, url):
            request = self.http_client.build_request(method, url, params=dict(query))
            response = await self.http_client.send(request, stream=True)
            try:
                limit.deadline = trio.current_time() + self.head_seconds
                body = await self._body(method, url, response)
            finally:
                # A user's own transport may leak a slot if its closing is cancelled.
                with trio.CancelScope(shield=True):
                    await response.aclose()
            return _understood(method, url, response, body, self._key)
        raise HeadTimeoutError(method, url, f"no whole answer within {self.head_seconds:g} s")

    async def _body(self, method: str, url: str, response: httpx.Response) -> bytes:
        body = bytearray()
        chunks = aiter(cast(AsyncIterable[bytes], response.stream))
        try:
            with errors_translated(method, url, in_body=True):
                async for chunk in chunks:
                    body += chunk
                    if response.status_code >= 300 and len(body) >= LARGEST_ERROR_BODY:
                        return bytes(body[:LARGEST_ERROR_BODY])
                    if len(body) > LARGEST_BODY:
                        raise LimitExceededError(method, url, "the answer", LARGEST_BODY)
        finally:
            if isinstance(chunks, AsyncGenerator):  # left to the garbage collector it would be closed somewhen
                await chunks.aclose()
        return bytes(body)


def _may_repeat(method: str, error: TrioNormanError) -> bool:
    return method in SAFE_METHODS or isinstance(error, ConnectError | NameResolutionError)


def _understood(method: str, url: str, response: httpx.Response, body: bytes, key: Secret) -> JsonAnswer:
    headers = dict(lower_headers(response.headers.raw))
    now = datetime.now(UTC)
    if not 200 <= response.status_code < 300:
        raise error_of_status(method, url, response.status_code, headers, _without_secrets(body, key), now=now)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ProtocolError(method, url, "the answer is encoded although identity was asked for")
    clock, request_id = http_date(headers.get("date", "")) or now, headers.get("x-request-id")
    if method == "DELETE" or response.status_code == 204:
        return JsonAnswer(url, _tolerated(body), clock, request_id)
    try:
        return JsonAnswer(url, decode_json(body), clock, request_id)
    except ValueError as error:
        problem = str(error)
    # Raised here and not above, where the decoder's error, which holds the whole body, would be its context.
    start = _without_secrets(body[:4096], key)[:200].decode(errors="replace")
    kind = headers.get("content-type", "none")
    raise UndecodableResponseError(
        method, url, (f"{problem} @ $", f"content type {kind}", f"it begins with {start!r}"), request_id
    )


def _without_secrets(body: bytes, key: Secret) -> bytes:
    """Leave out what an error must not repeat: our key, which some services quote, and the queries of signed URLs."""
    return _QUERY.sub(rb"\1?<redacted>", body.replace(key.reveal().encode(), b"<redacted>"))


def _tolerated(body: bytes) -> Any:
    try:
        return decode_json(body)
    except ValueError:
        return None  # where no body is promised, whatever comes is no fault


@asynccontextmanager
async def open_json_client(
    root: str, key: Secret, *, key_header: str, settings: ConnectionSettings, policy: RetryPolicy
) -> AsyncIterator[JsonClient]:
    """Open the client of one API; leaving the block closes its connections.

    Args:
        root: What every path is put behind, without a trailing slash.
        key: The credential.
        key_header: Name of the header that carries it.
        settings: How the service is reached.
        policy: Limits of trying again.
    """
    transport = settings.transport
    if transport is None:
        transport = await new_transport(settings, max_connections=_SOCKETS)
    http_client = httpx.AsyncClient(
        transport=KeyForOneOrigin(transport, key_header, key, root),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT},
        timeout=httpx.Timeout(**settings.timeouts()),
        trust_env=False,
        follow_redirects=False,
        base_url=root,
    )
    http_client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # none is ever kept
    try:
        yield JsonClient(http_client, root, policy, settings.head_seconds, key)
    finally:
        if settings.transport is None:
            with trio.CancelScope(shield=True):
                await http_client.aclose()
