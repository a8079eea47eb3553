"""Bodies from signed URLs, by a client that holds no credential."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

import attrs
import trio

from .._sansio.addresses import Vicinity, check_address
from .._sansio.answers import error_of_status, joined_fields
from .._sansio.limits import Limits
from .._sansio.ranges import LARGEST_SIZE, ByteRange
from .._sansio.redaction import Secret
from .._sansio.redirects import REDIRECT_STATUSES, headers_for, next_hop, origin
from .._sansio.targets import plain_parts
from ..errors import (
    ProtocolError,
    ProxyError,
    TrioNormanError,
)
from ._asking import Asker, Fields, Response
from ._bodies import LengthBody
from ._connecting import USER_AGENT, ConnectionSettings, new_transport
from ._errors import InnerFramesForgotten, errors_translated
from ._gate import Gates
from ._pieces import explanation, leave
from ._pump import Buffers, Pump, pump_for
from ._sockets import Refusal

_PROXY_LOGIN = 407  # only a proxy answers so (RFC 9110, section 15.5.8)
_MOST_ROOTS = 256  # schemes with authority that are remembered
_FIELDS = (("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", USER_AGENT))


@attrs.define(eq=False)
class Answer:
    """One response whose head has come: `status` (2xx or 416), `headers`, and the body in the order it comes."""

    url: str  # without its query
    status: int
    headers: Sequence[tuple[str, str]]
    _body: AsyncIterable[bytes]
    _own_body: object = None
    _buffers: Buffers = attrs.field(factory=Buffers)

    @property
    def shows_its_end(self) -> bool:
        """Whether the framing itself shows that the body is whole: a length or chunks, not merely the end."""
        return any(name in {"content-length", "transfer-encoding"} for name, _ in self.headers)

    def pump(self) -> Pump | None:
        """Return what moves the body straight from its socket into a file; None if it only comes as `chunks`.

        Whoever takes a pump closes it, and takes no chunks.
        """
        return pump_for(self._own_body, self.url, self._buffers)

    def whole(self) -> bytes | None:
        """Take the body if all of it came with the head, which is how small ones come; else None."""
        return self._own_body.whole() if isinstance(self._own_body, LengthBody) else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, undecoded.

        Raises:
            InterruptedTransferError: If the connection ends before the framing does.
            ProtocolError: If the framing breaks.
        """
        iterator = aiter(self._body)
        try:
            while True:
                with errors_translated("GET", self.url, in_body=True):
                    chunk = await anext(iterator, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            await leave(iterator)  # noqa: ASYNC102 (it waits for nothing)


@attrs.define(eq=False)
class Fetcher:
    """Requests for bodies: redirects by our rules, one door per origin, no cookies, no credentials of its own.

    With a `home`, every URL comes from that service and is judged by where it leads; without one, URLs are the user's
    own, and only where they redirect to is judged.
    """

    _asker: Asker
    _home: Vicinity | None = None
    _gates: Gates = attrs.field(factory=Gates)
    _is_anonymous: bool = attrs.field(default=True, kw_only=True)  # no transport below adds credentials
    buffers: Buffers = attrs.field(init=False, factory=Buffers)
    _checked: set[str] = attrs.field(init=False, factory=set)
    _judges: dict[str, Refusal] = attrs.field(init=False, factory=dict)

    @property
    def _limits(self) -> Limits:
        return self._asker.settings.limits

    def fetch(
        self,
        url: Secret,
        span: ByteRange | None = None,
        if_range: str | None = None,
        pinned_pem: str | None = None,
    ) -> AbstractAsyncContextManager[Answer]:
        """Ask for an object, or for one span of it, and give the answer for as long as the block lasts.

        Args:
            url: The URL, with its signature.
            span: Bytes to ask for, open-ended if it stops at `LARGEST_SIZE`; None for the whole object.
            if_range: Validator of the version that the span must be of.
            pinned_pem: The only certificates that this URL's origin is trusted by; redirects elsewhere are not.

        Raises:
            ConfigurationError: If a certificate is pinned and the transport is not ours.
            TransportError: If no whole head came, the redirects are not followed, or an address is not contacted.
            ServiceError: For every status from 400 on but 416.
            ProtocolError: For a 3xx that is no redirect.

        Cancellation: the connection is dropped unless its exchange was complete.
        """
        fields = [*_FIELDS]
        if span is not None:
            fields.append(("Range", _range_header(span)))
        if if_range is not None:
            fields.append(("If-Range", if_range))
        return _Fetching(self, url.reveal(), fields, pinned_pem, has_range=span is not None)

    async def final_answer(
        self, url: str, fields: Fields, pinned_pem: str | None, *, has_range: bool
    ) -> tuple[Response, str]:
        """Follow redirects to the answer that is none, and tell where it was; whoever gets it closes it."""
        target, hops, stripped, vicinity = url, 0, False, self._home
        if vicinity is None:
            self._check(url)
        refusal = None if vicinity is None else self._judge(vicinity, url)
        while True:
            sent = headers_for(target, fields, first_url=url, stripped=stripped) if hops else fields
            await self._gates.wait(target)
            pin = pinned_pem if hops == 0 or origin(target) == origin(url) else None
            response = await self._asker.get(target, sent, refusal, pin, has_left=stripped)
            if response.status < 300 or (response.status == 416 and has_range):
                return response, target
            try:
                following = await self._follow(response, target, hops)
            finally:
                await response.aclose()  # noqa: ASYNC102 (it waits for nobody)
            if vicinity is None:
                vicinity = Vicinity.of(url, self._asker.settings.allow_hosts)
                vicinity.note(response.peer)
            refusal = self._judge(vicinity, following)
            stripped = stripped or origin(following) != origin(url)
            target, hops = following, hops + 1

    def _judge(self, vicinity: Vicinity, url: str) -> Refusal:
        """Refuse a URL that somebody handed out, by how it looks; return what judges the addresses it leads to."""
        plain = plain_parts(url) if vicinity is self._home else None
        if plain is not None and plain[0] in self._judges and len(url) <= self._limits.url_characters:
            return self._judges[plain[0]]
        allow_http, longest = self._asker.settings.allow_http, self._limits.url_characters
        judge = vicinity.judge("GET", url, allow_http=allow_http, longest=longest)
        if plain is not None and len(self._judges) < _MOST_ROOTS:
            self._judges[plain[0]] = judge
        return judge

    def _check(self, url: str) -> None:
        """Refuse what must not be contacted; of plain URLs only the first of each root can be that, or a long one."""
        plain = plain_parts(url) if len(url) <= self._limits.url_characters else None
        if plain is not None and plain[0] in self._checked:
            return
        allow_http, longest = self._asker.settings.allow_http, self._limits.url_characters
        check_address(url, allow_http=allow_http, longest=longest)
        if plain is not None and len(self._checked) < _MOST_ROOTS:
            self._checked.add(plain[0])

    async def _follow(self, response: Response, target: str, hops: int) -> str:
        """Return where a redirect leads; raise the error that any other answer is."""
        if response.status in REDIRECT_STATUSES:
            location = next((value for name, value in response.fields if name == "location"), None)
            allow_http = self._asker.settings.allow_http
            following: str | TrioNormanError = next_hop(
                target, location, hops=hops, allow_http=allow_http, limits=self._limits
            )
        elif response.status == _PROXY_LOGIN:
            following = ProxyError("GET", target, "407: it wants a login")
        elif response.status < 400:
            following = ProtocolError("GET", target, f"status {response.status} answers no question of ours")
        else:
            following = await self._service_error(response, target)
        if isinstance(following, TrioNormanError):
            self._gates.note(target, following)
            raise following
        return following

    async def _service_error(self, response: Response, target: str) -> TrioNormanError:
        most, seconds = self._limits.error_bytes, self._asker.settings.head_seconds
        told = await explanation(response.body, "GET", target, most=most, seconds=seconds)
        headers, now = joined_fields(response.fields), datetime.now(UTC)
        error = error_of_status("GET", target, response.status, headers, told, now=now)
        if self._is_anonymous:
            error.note_no_key()
        return error


class _Fetching(AbstractAsyncContextManager[Answer]):
    """The block in which an answer lasts; a generator would do, at three times the price."""

    def __init__(self, fetcher: Fetcher, url: str, fields: Fields, pinned_pem: str | None, *, has_range: bool) -> None:
        self._fetcher, self._url, self._fields, self._has_range = fetcher, url, fields, has_range
        self._pinned_pem = pinned_pem
        self._response: Response

    async def __aenter__(self) -> Answer:
        with InnerFramesForgotten():
            self._response, target = await self._fetcher.final_answer(
                self._url, self._fields, self._pinned_pem, has_range=self._has_range
            )
        response = self._response
        own_body, buffers = response.own_body, self._fetcher.buffers
        return Answer(_without_query(target), response.status, response.fields, response.body, own_body, buffers)

    async def __aexit__(self, *_: object) -> None:
        await self._response.aclose()


def _range_header(span: ByteRange) -> str:
    last = "" if span.stop >= LARGEST_SIZE else span.stop - 1
    return f"bytes={span.start}-{last}"


def _without_query(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0]


@asynccontextmanager
async def open_fetcher(
    settings: ConnectionSettings | None = None, *, max_connections: int = 8, home: Vicinity | None = None
) -> AsyncIterator[Fetcher]:
    """Open what fetches bodies; leaving the block closes its connections.

    Args:
        settings: How peers are reached.
        max_connections: Sockets at one time.
        home: The service that hands out the URLs; None if they are the user's own.
    """
    settings = settings or ConnectionSettings()
    if settings.transport is not None:
        yield Fetcher(Asker(settings.transport, settings), home)
        return
    transport = await new_transport(settings, max_connections=max_connections)
    try:
        yield Fetcher(Asker(transport, settings, is_own=True), home)
    finally:
        with trio.CancelScope(shield=True):  # it waits for nobody: sockets are closed where they stand
            await transport.aclose()
