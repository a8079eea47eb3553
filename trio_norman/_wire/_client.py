"""Calls of a JSON API: one request, its retries, its errors translated, its key bound to one origin."""

from __future__ import annotations

import random
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar, cast

import attrs
import httpx
import trio

from .._sansio.addresses import Vicinity
from .._sansio.answers import error_of_status, joined_fields
from .._sansio.jsontext import decode_json, may_be_json
from .._sansio.limits import Limits
from .._sansio.redaction import Secret
from .._sansio.redirects import REDIRECT_STATUSES, origin
from .._sansio.retrying import SAFE_METHODS, RetryBudget, RetryPolicy
from .._sansio.times import http_date
from ..errors import (
    AddressError,
    ConnectError,
    HeadTimeoutError,
    LimitExceededError,
    NameResolutionError,
    ProtocolError,
    ProxyError,
    RateLimitedError,
    RedirectError,
    ServiceError,
    TlsError,
    TransportError,
    TrioNormanError,
    UndecodableResponseError,
)
from ._connecting import USER_AGENT, ConnectionSettings, has_proxy, lower_headers, new_transport
from ._errors import InnerFramesForgotten, errors_translated
from ._gate import Gates
from ._streaming import Streamed

_SOCKETS = 16
_HAS_LEFT = "trio_norman.has_left"
T = TypeVar("T")

#: Gives the present key of a service, or None while there is none.
Credential = Callable[[], Secret | None]
_QUERY = re.compile(rb"""(\bhttps?:(?:\\?/){2}[^\s"'<>?]*)\?[^\s"'<>]*""", re.IGNORECASE)


class KeyForOneOrigin(httpx.AsyncBaseTransport):
    """Put the key on requests to one origin and on no other, whoever sends them.

    It stands below httpx's client and not in it, as an `httpx.Auth` would: there a redirect takes the header along to
    another origin, and every `response.request` shows the key. A chain of redirects that has left the origin gets the
    key no more, even where it comes back: who sent it back is a stranger.

    `sends_bearer` puts it into ``Authorization`` as well, for services that want it there.
    """

    sends_bearer = False

    def __init__(self, inner: httpx.AsyncBaseTransport, header: str, key: Secret | Credential, root: str) -> None:
        self._inner, self._header, self._origin = inner, header, origin(root)
        self._credential: Credential = (lambda: key) if isinstance(key, Secret) else key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Add the header where it belongs, drop it elsewhere, and pass the request on."""
        headers = httpx.Headers(request.headers)
        headers.pop(self._header, None)
        key = self._credential()
        if origin(str(request.url)) != self._origin:
            request.extensions[_HAS_LEFT] = True  # httpx hands the extensions on to the next request of a chain
        elif key is not None and not request.extensions.get(_HAS_LEFT):
            headers[self._header] = key.reveal()
            if self.sends_bearer:
                headers["Authorization"] = f"Bearer {key.reveal()}"
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
    document: Any = attrs.field(repr=False)  # may hold signed URLs
    date: datetime
    request_id: str | None


@attrs.frozen
class Sent:
    """What goes along with a request, and what is special about it.

    Args:
        content: Its body; in one piece it can be sent again.
        headers: Besides the usual ones.
        repeats_429: Whether a 429 comes before anything was done.
        is_repeatable: Whether the call may be repeated like a safe one, whatever its verb.
        awaits_nothing: Whether an answer without JSON will do.
        secrets: Those of the body and of this one moment, which an error must not repeat.
    """

    content: bytes | AsyncIterable[bytes] | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    repeats_429: bool = False
    is_repeatable: bool = False
    awaits_nothing: bool = False
    secrets: Sequence[Secret] = ()


_NOTHING = Sent()
#: What fails before the service has done anything.
_BEFORE_ANYTHING = (NameResolutionError, ConnectError, TlsError, ProxyError, AddressError, RedirectError)


@attrs.define(eq=False)
class JsonClient:
    """One service's API. `http_client` is the `httpx.AsyncClient` below, with the key on its own origin only.

    `vicinity` knows where the service is: what it hands out is judged by that.
    """

    http_client: httpx.AsyncClient
    root: str
    policy: RetryPolicy
    head_seconds: float
    _key: Secret | None
    door: KeyForOneOrigin
    vicinity: Vicinity
    limits: Limits
    _gates: Gates = attrs.field(init=False)
    _luck: Callable[[], float] = attrs.field(default=random.random)
    _through_proxy: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        self._gates = Gates(self.policy.longest_retry_after)

    async def call(
        self, method: str, path: str, query: Mapping[str, str | int] | None = None, sent: Sent | None = None
    ) -> JsonAnswer:
        """Make one call and decode its answer.

        Safe verbs are repeated within the retry policy; others only if the connection could not even be made, or if
        `sent` says that the service's 429 comes before anything was done.

        Args:
            method: ``GET``, ``DELETE`` and so on.
            path: Behind the root, percent-encoded.
            query: Names and values, unencoded.
            sent: The request's body and further headers.

        Raises:
            TransportError: No whole answer came.
            ServiceError: Any status outside 2xx, but for redirects, which are a `RedirectError`.
            UndecodableResponseError: A 2xx that is not strict JSON.
            LimitExceededError: More than the limit allows (16 MiB).

        Cancellation: a safe call did nothing; another one may have happened.
        """
        return await self._repeated(method, sent, partial(self.attempt, method, path, query, sent))

    async def _repeated(self, method: str, sent: Sent | None, once: Callable[[], Awaitable[T]]) -> T:
        budget = RetryBudget(self.policy)
        while True:
            try:
                return await once()
            except (TransportError, ServiceError) as error:
                wait = budget.after(error, now=trio.current_time(), jitter=self._luck())
                if wait is None or not _may_repeat(method, error, sent):
                    error.attempts = budget.failures
                    if isinstance(error, TransportError) and _may_have_acted(method, error, sent):
                        error.note_lost_answer()
                    raise
            await trio.sleep(wait)

    async def attempt(
        self, method: str, path: str, query: Mapping[str, str | int] | None = None, sent: Sent | None = None
    ) -> JsonAnswer:
        """Do what `call` does, once: for those who have a schedule of their own for trying again."""
        url = f"{self.root}/{path}"
        try:
            await self._gates.wait(url)
            with InnerFramesForgotten():
                return await self._once(method, url, query or {}, sent or _NOTHING)
        except (TransportError, ServiceError) as error:
            self._gates.note(url, error)
            raise

    def without_secrets(self, text: str) -> str:
        """Leave out of a text of the service's what must not be repeated: our key and the queries of signed URLs."""
        return _without_secrets(text.encode(errors="replace"), (self._key,)).decode()

    @asynccontextmanager
    async def open_stream(
        self, method: str, path: str, query: Mapping[str, str | int], sent: Sent
    ) -> AsyncIterator[Streamed]:
        """Make one call and give its answer, a 2xx, while it comes; it is closed with the block.

        It is repeated as `call` does, as long as no head of an answer has come.

        Raises:
            TransportError: No whole head came.
            ServiceError: Any status outside 2xx, but for redirects, which are a `RedirectError`.

        Cancellation: the connection is dropped unless its exchange was complete.
        """
        url = f"{self.root}/{path}"
        response = await self._repeated(method, sent, partial(self._opened, method, url, query, sent))
        headers = joined_fields(lower_headers(response.headers.raw))
        try:
            yield Streamed(method, url, response.status_code, headers, response)
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    async def _opened(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> httpx.Response:
        await self._gates.wait(url)
        try:
            with InnerFramesForgotten():
                response = await self._head(method, url, query, sent)
                if not 200 <= response.status_code < 300:
                    await self._refused(method, url, response, sent)
                return response
        except (TransportError, ServiceError) as error:
            self._gates.note(url, error)
            raise

    async def _head(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> httpx.Response:
        with trio.move_on_after(self.head_seconds), self._translating(method, url):
            return await self._send(method, url, query, sent)
        raise HeadTimeoutError(method, url, f"no answer within {self.head_seconds:g} s")

    async def _refused(self, method: str, url: str, response: httpx.Response, sent: Sent) -> NoReturn:
        try:
            with trio.move_on_after(self.head_seconds):
                self._understood(method, url, response, await self._body(method, url, response), sent)
            raise HeadTimeoutError(method, url, f"no whole answer within {self.head_seconds:g} s")
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    # Requests go straight to the transport. httpx's client would add what is switched off here, at twice the cost, and
    # wrap the body in a generator, which ends for good when a read of it is cancelled.

    async def _send(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> httpx.Response:
        response = await self.door.handle_async_request(
            self.http_client.build_request(
                method, url, params=dict(query), content=sent.content, headers=dict(sent.headers)
            )
        )
        self.vicinity.note(response.extensions.get("trio_norman.peer", ""))
        return response

    def _translating(self, method: str, url: str) -> AbstractContextManager[None]:
        return errors_translated(method, url, through_proxy=self._through_proxy)

    async def _once(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> JsonAnswer:
        with trio.move_on_after(self.head_seconds) as limit, self._translating(method, url):
            response = await self._send(method, url, query, sent)
            try:
                limit.deadline = trio.current_time() + self.head_seconds
                body = await self._body(method, url, response)
            finally:
                # A user's own transport may leak a slot if its closing is cancelled.
                with trio.CancelScope(shield=True):
                    await response.aclose()
            return self._understood(method, url, response, body, sent)
        raise HeadTimeoutError(method, url, f"no whole answer within {self.head_seconds:g} s")

    async def _body(self, method: str, url: str, response: httpx.Response) -> bytes:
        body = bytearray()
        chunks = aiter(cast(AsyncIterable[bytes], response.stream))
        try:
            with errors_translated(method, url, in_body=True):
                async for chunk in chunks:
                    body += chunk
                    if response.status_code >= 300 and len(body) >= self.limits.error_bytes:
                        return bytes(body[: self.limits.error_bytes])
                    if len(body) > self.limits.answer_bytes:
                        raise LimitExceededError(method, url, "the answer", self.limits.answer_bytes)
        finally:
            if isinstance(chunks, AsyncGenerator):  # left to the garbage collector it would be closed somewhen
                await chunks.aclose()
        return bytes(body)

    def _understood(self, method: str, url: str, response: httpx.Response, body: bytes, sent: Sent) -> JsonAnswer:
        headers = joined_fields(lower_headers(response.headers.raw))
        secrets, now = (self._key, *sent.secrets), datetime.now(UTC)
        if response.status_code in REDIRECT_STATUSES:
            raise RedirectError(method, url, f"status {response.status_code} (is the base URL right?)")
        if not 200 <= response.status_code < 300:
            raise error_of_status(method, url, response.status_code, headers, _without_secrets(body, secrets), now=now)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolError(method, url, "the answer is encoded although identity was asked for")
        clock, request_id = http_date(headers.get("date", "")) or now, headers.get("x-request-id")
        if method == "DELETE" or response.status_code == 204 or sent.awaits_nothing:
            return JsonAnswer(url, _tolerated(body), clock, request_id)
        kind = headers.get("content-type", "")
        try:
            document = decode_json(body, deepest=self.limits.answer_depth)
            if may_be_json(kind):
                return JsonAnswer(url, document, clock, request_id)
            problem = "the content type names another format"
        except ValueError as error:
            problem = str(error)
        # Raised here and not above, where the decoder's error, which holds the whole body, would be its context.
        start = _without_secrets(body[:4096], secrets)[:200].decode(errors="replace")
        raise UndecodableResponseError(
            method, url, (f"{problem} @ $", f"content type {kind or 'none'}", f"it begins with {start!r}"), request_id
        )


def _may_repeat(method: str, error: TrioNormanError, sent: Sent | None) -> bool:
    if sent is not None and not isinstance(sent.content, bytes | None):
        return False  # a stream is gone once it was read
    if sent is not None and sent.repeats_429 and isinstance(error, RateLimitedError):
        return True
    if sent is not None and sent.is_repeatable:
        return True
    return method in SAFE_METHODS or isinstance(error, ConnectError | NameResolutionError)


def _may_have_acted(method: str, error: TransportError, sent: Sent | None) -> bool:
    changes = method not in SAFE_METHODS and not (sent is not None and sent.is_repeatable)
    return changes and not isinstance(error, _BEFORE_ANYTHING)


def _without_secrets(body: bytes, secrets: Iterable[Secret | None]) -> bytes:
    """Leave out what an error must not repeat: our keys, which some services quote, and the queries of signed URLs."""
    for secret in secrets:
        if secret:
            body = body.replace(secret.reveal().encode(), b"<redacted>")
    return _QUERY.sub(rb"\1?<redacted>", body)


def _tolerated(body: bytes) -> Any:
    try:
        return decode_json(body)
    except ValueError:
        return None  # where no body is promised, whatever comes is no fault


@asynccontextmanager
async def open_json_client(
    root: str,
    key: Secret | Credential,
    *,
    key_header: str,
    settings: ConnectionSettings,
    policy: RetryPolicy,
    header_value: Secret | None = None,
    max_connections: int = _SOCKETS,
    vicinity: Vicinity | None = None,
) -> AsyncIterator[JsonClient]:
    """Open the client of one API; leaving the block closes its connections.

    Args:
        root: What every path is put behind, without a trailing slash.
        key: The credential, or what gives the present one.
        key_header: Name of the header that carries it.
        settings: How the service is reached.
        policy: Limits of trying again.
        header_value: What stands in that header, if it is not the key itself.
        max_connections: Most sockets at a time.
        vicinity: Where the service is, if several clients of it learn that together.
    """
    transport = settings.transport
    if transport is None:
        transport = await new_transport(settings, max_connections=max_connections)
    door = KeyForOneOrigin(transport, key_header, header_value or key, root)
    http_client = httpx.AsyncClient(
        transport=door,
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT},
        timeout=httpx.Timeout(**settings.timeouts()),
        trust_env=False,
        follow_redirects=False,
        base_url=root,
    )
    http_client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # none is ever kept
    try:
        yield JsonClient(
            http_client,
            root,
            policy,
            settings.head_seconds,
            key if isinstance(key, Secret) else None,
            door,
            vicinity or Vicinity.of(root, settings.allow_hosts),
            settings.limits,
            through_proxy=has_proxy(settings.transport),
        )
    finally:
        if settings.transport is None:
            with trio.CancelScope(shield=True):
                await http_client.aclose()
