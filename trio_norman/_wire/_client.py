"""Calls of a JSON API: one request, its retries, its errors translated, its key bound to one origin."""

from __future__ import annotations

import math
import random
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import attrs
import httpx
import trio

from .._sansio.addresses import Vicinity
from .._sansio.answers import error_of_status, joined_fields
from .._sansio.jsontext import decode_json, may_be_json
from .._sansio.limits import Limits
from .._sansio.redaction import Redaction, Secret
from .._sansio.redirects import REDIRECT_STATUSES
from .._sansio.retrying import SAFE_METHODS, RetryBudget, RetryPolicy
from .._sansio.times import http_date
from .._sansio.unpacking import Gauge, encoding_unasked
from ..errors import (
    AddressError,
    ConnectError,
    HeadTimeoutError,
    LimitExceededError,
    NameResolutionError,
    ProxyError,
    RedirectError,
    ServiceError,
    TlsError,
    TransportError,
    TrioNormanError,
    UndecodableResponseError,
)
from ._asking import Asker, Response
from ._connecting import USER_AGENT, ConnectionSettings, has_proxy, new_transport
from ._errors import InnerFramesForgotten, errors_translated
from ._gate import Gates
from ._keys import Credential, KeyForOneOrigin
from ._pieces import leave
from ._streaming import Streamed

_SOCKETS = 16
#: What every request says; a call may say otherwise.
_USUAL_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
_WITH_CONTENT = frozenset({"POST", "PUT"})  # these tell their length even if it is 0: RFC 9110, section 8.6
T = TypeVar("T")


@attrs.frozen
class JsonAnswer:
    """A decoded answer: `document` (None without a body), and the server's name for the request."""

    url: str
    document: Any = attrs.field(repr=False)  # may hold signed URLs
    request_id: str | None
    _said_date: str  # as its header has it; few callers want to know
    _came_at: datetime

    @property
    def date(self) -> datetime:
        """The server's clock, or ours where it does not tell."""
        return http_date(self._said_date) or self._came_at


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
    _asker: Asker
    door: KeyForOneOrigin
    vicinity: Vicinity
    limits: Limits
    _gates: Gates = attrs.field(init=False)
    _redaction: Redaction = attrs.field(init=False, repr=False)
    _luck: Callable[[], float] = attrs.field(default=random.random)
    _through_proxy: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        self._gates = Gates(self.policy.longest_retry_after)
        self._redaction = Redaction((self._key,))

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
            LimitExceededError: More than the limit allows (16 MiB), or what would unpack to more.

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
        return self._redaction.of(text)

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
        try:
            yield Streamed(method, url, response.status, joined_fields(response.fields), response.body)
        finally:
            await response.aclose()  # noqa: ASYNC102 (it shields what may wait)

    async def _opened(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> Response:
        await self._gates.wait(url)
        try:
            with InnerFramesForgotten():
                response = await self._head(method, url, query, sent)
                if not 200 <= response.status < 300:
                    await self._read(method, url, response, sent)  # raises what it means
                return response
        except (TransportError, ServiceError) as error:
            self._gates.note(url, error)
            raise

    # Requests go straight to the transport. httpx's client would add what is switched off here, at twice the cost, and
    # wrap the body in a generator, which ends for good when a read of it is cancelled. Plain requests over our own
    # transport do without httpx's types too, and without a watch: it keeps these limits itself.

    async def _head(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> Response:
        response = await self._ask_plainly(method, url, query, sent)
        if response is None:
            response = await self._ask_through_httpx(method, url, query, sent)
        self.vicinity.note(response.peer)
        return response

    async def _ask_plainly(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> Response | None:
        if not isinstance(sent.content, bytes | None):
            return None
        target = f"{url}?{httpx.QueryParams(dict(query))}" if query else url
        every = {**_USUAL_HEADERS, **sent.headers, **self.door.key_fields()}
        fields = list({name.lower(): (name, value) for name, value in every.items()}.values())  # the last one counts
        content = sent.content or (b"" if method in _WITH_CONTENT else None)
        return await self._asker.ask_plainly(method, target, fields, content)

    async def _ask_through_httpx(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> Response:
        # Our own transport begins to count when the request is sent: neither a queue nor a long body is a silent peer.
        watched = math.inf if self._asker.is_own else self.head_seconds
        with trio.move_on_after(watched), self._translating(method, url):
            request = self.http_client.build_request(
                method, url, params=dict(query), content=sent.content, headers=dict(sent.headers)
            )
            return Response.of(await self.door.handle_async_request(request))
        raise HeadTimeoutError(method, url, f"no answer within {self.head_seconds:g} s")

    def _translating(self, method: str, url: str) -> AbstractContextManager[None]:
        return errors_translated(method, url, through_proxy=self._through_proxy)

    async def _once(self, method: str, url: str, query: Mapping[str, str | int], sent: Sent) -> JsonAnswer:
        return await self._read(method, url, await self._head(method, url, query, sent), sent)

    async def _read(self, method: str, url: str, response: Response, sent: Sent) -> JsonAnswer:
        try:
            return self._understood(method, url, response, await self._body(method, url, response), sent)
        finally:
            await response.aclose()  # noqa: ASYNC102 (it shields what may wait)

    async def _body(self, method: str, url: str, response: Response) -> bytes:
        whole = response.whole() if response.status < 300 else None
        if whole is not None:
            if len(whole) > self.limits.answer_bytes:
                raise LimitExceededError(method, url, "the answer", self.limits.answer_bytes)
            return whole
        with trio.move_on_after(self.head_seconds):
            return await self._gathered(method, url, response)
        raise HeadTimeoutError(method, url, f"no whole answer within {self.head_seconds:g} s")

    async def _gathered(self, method: str, url: str, response: Response) -> bytes:
        body, chunks = bytearray(), aiter(response.body)
        try:
            with errors_translated(method, url, in_body=True):
                async for chunk in chunks:
                    body += chunk
                    if response.status >= 300 and len(body) >= self.limits.error_bytes:
                        return bytes(body[: self.limits.error_bytes])
                    if len(body) > self.limits.answer_bytes:
                        raise LimitExceededError(method, url, "the answer", self.limits.answer_bytes)
        finally:
            await leave(chunks)  # noqa: ASYNC102 (it waits for nothing)
        return bytes(body)

    def _understood(self, method: str, url: str, response: Response, body: bytes, sent: Sent) -> JsonAnswer:
        headers, status = joined_fields(response.fields), response.status
        secrets, now = (self._key, *sent.secrets), datetime.now(UTC)
        if status in REDIRECT_STATUSES:
            raise RedirectError(method, url, f"status {status} (is the base URL right?)")
        if not 200 <= status < 300:
            raise error_of_status(method, url, status, headers, body, now=now, secrets=secrets)
        if headers.get("content-encoding", "identity").lower() != "identity":
            gauge = Gauge(self.limits.answer_bytes)
            gauge.feed(body)
            raise encoding_unasked(url, gauge, method=method)
        date, request_id = headers.get("date", ""), headers.get("x-request-id")
        redaction = Redaction(secrets) if sent.secrets else self._redaction
        request_id = request_id and redaction.of(request_id)
        if method == "DELETE" or status == 204 or sent.awaits_nothing:
            return JsonAnswer(url, _tolerated(body), request_id, date, now)
        kind = headers.get("content-type", "")
        try:
            document = decode_json(body, deepest=self.limits.answer_depth)
            if may_be_json(kind):
                return JsonAnswer(url, document, request_id, date, now)
            problem = "the content type names another format"
        except ValueError as error:
            problem = str(error)
        # Raised here and not above, where the decoder's error, which holds the whole body, would be its context.
        start, kind = redaction.of(body[:4096].decode(errors="replace"))[:200], redaction.of(kind)
        problems = (f"{problem} @ $", f"content type {kind or 'none'}", f"it begins with {start!r}")
        raise UndecodableResponseError(method, url, problems, request_id or None)


def _may_repeat(method: str, error: TrioNormanError, sent: Sent | None) -> bool:
    if sent is not None and not isinstance(sent.content, bytes | None):
        return False  # a stream is gone once it was read
    if sent is not None and sent.repeats_429 and isinstance(error, ServiceError) and error.status == 429:
        return True
    if sent is not None and sent.is_repeatable:
        return True
    return method in SAFE_METHODS or isinstance(error, ConnectError | NameResolutionError)


def _may_have_acted(method: str, error: TransportError, sent: Sent | None) -> bool:
    changes = method not in SAFE_METHODS and not (sent is not None and sent.is_repeatable)
    return changes and not isinstance(error, _BEFORE_ANYTHING)


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
        headers=_USUAL_HEADERS,
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
            Asker(transport, settings, is_own=settings.transport is None),
            door,
            vicinity or Vicinity.of(root, settings.allow_hosts),
            settings.limits,
            through_proxy=has_proxy(settings.transport),
        )
    finally:
        if settings.transport is None:
            with trio.CancelScope(shield=True):
                await http_client.aclose()
