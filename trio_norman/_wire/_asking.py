"""One request and the head that answers it, over our own transport without httpx's types, or anybody's with them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from typing import Any, cast

import attrs
import httpx
import trio

from .._sansio.plainheads import plain_request
from .._sansio.targets import plain_parts
from ..errors import ConfigurationError, HeadTimeoutError, LimitExceededError, TransportError
from ._bodies import Body, LengthBody
from ._connecting import ConnectionSettings, has_proxy, lower_headers, request_extensions
from ._errors import HTTPX_ERRORS, errors_translated, translated
from ._exchange import JOINED_BODY_BYTES, Silences
from ._heads import Question
from ._keys import HAS_LEFT
from ._pool import Origin
from ._sockets import Refusal
from ._transport import PINNED_PEM, TrioTransport, origin_of

Fields = Sequence[tuple[str, str]]

_MOST_ROOTS = 256  # origins that are remembered


@attrs.define(eq=False)
class Response:
    """A response whose head has come: names in lower case, and the body, which is closed with `aclose`.

    `own_body` is the body as our own transport has it and `peer` the address that it came from, if it comes from there.
    """

    status: int
    fields: Fields
    body: AsyncIterable[bytes]
    own_body: object = None
    peer: str = ""
    _response: httpx.Response | None = None

    @classmethod
    def of(cls, response: httpx.Response) -> Response:
        """Take a response that httpx's types describe, of any transport."""
        body, extensions = cast(AsyncIterable[bytes], response.stream), response.extensions
        own_body, peer = extensions.get("trio_norman.body"), extensions.get("trio_norman.peer", "")
        return cls(response.status_code, list(lower_headers(response.headers.raw)), body, own_body, peer, response)

    def whole(self) -> bytes | None:
        """Take the body if it came with the head; None if there is more to come, or it is empty."""
        return self.own_body.whole() if isinstance(self.own_body, LengthBody) else None

    async def aclose(self) -> None:
        """Close the connection unless the body was read to its end."""
        if isinstance(self.body, Body):
            await self.body.aclose()  # it waits for nothing
        elif self._response is not None:
            # A user's own transport may free its slot only if closing is not itself cancelled.
            with trio.CancelScope(shield=True):
                await self._response.aclose()


@attrs.define(eq=False)
class Asker:
    """Asks over `transport`, within the limits of `settings`.

    A transport that was made from the same settings keeps their limits itself: `is_own` then spares a second watch.
    """

    transport: httpx.AsyncBaseTransport
    settings: ConnectionSettings
    is_own: bool = False
    _silences: Silences = attrs.field(init=False)
    _roots: dict[str, tuple[Origin, str]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        limits = self.settings.timeouts()
        self._silences = Silences(limits["connect"], limits["read"], limits["write"], limits["pool"])

    async def get(
        self,
        url: str,
        fields: Fields,
        refusal: Refusal | None = None,
        pinned_pem: str | None = None,
        *,
        has_left: bool = False,
    ) -> Response:
        """Send a GET, following nothing, and return the answer.

        Args:
            url: Where to.
            fields: The request's header.
            refusal: Says why an address must not be contacted, or nothing; only our own transport asks it.
            pinned_pem: Certificates, in PEM form, that the peer is trusted by alone.
            has_left: Whether redirects have led here from another origin: then no key goes along, not even back home.

        Raises:
            TransportError: If no whole head came.
            LimitExceededError: If the head is too large.
            ConfigurationError: If a certificate is pinned and the transport is not ours.

        Cancellation: the connection is closed.
        """
        plain = await self.ask_plainly("GET", url, fields, refusal=refusal, pinned_pem=pinned_pem)
        if plain is not None:
            return plain
        return await self._get_through_httpx(url, fields, self._extensions(refusal, pinned_pem, has_left=has_left))

    async def ask_plainly(
        self,
        method: str,
        url: str,
        fields: Fields,
        content: bytes | None = None,
        *,
        refusal: Refusal | None = None,
        pinned_pem: str | None = None,
    ) -> Response | None:
        """Send a request as `get` does, with any body in one piece, if it is plain and the transport is our own.

        Otherwise nothing is sent and the result is None: httpx's types are needed.
        """
        if not self.is_own or not isinstance(self.transport, TrioTransport):
            return None
        plain = self._plain(method, url, fields, content)
        if plain is None:
            return None
        origin, question = plain
        trusting = origin if pinned_pem is None else origin._replace(pinned_pem=pinned_pem)
        return await self._ask_plainly(self.transport, url, trusting, question, refusal)

    def _extensions(self, refusal: Refusal | None, pinned_pem: str | None, *, has_left: bool) -> dict[str, Any]:
        extensions = {**request_extensions(self.settings, refusal), **({HAS_LEFT: True} if has_left else {})}
        if pinned_pem is None:
            return extensions
        if not isinstance(self.transport, TrioTransport):
            advice = "leave ConnectionSettings.transport out, or make it a TrioTransport"
            raise ConfigurationError("a transport of your own cannot be told whom to trust for one request", advice)
        return {**extensions, PINNED_PEM: pinned_pem}

    def _plain(self, method: str, url: str, fields: Fields, content: bytes | None) -> tuple[Origin, Question] | None:
        parts = plain_parts(url)
        if parts is None or (content is not None and len(content) > JOINED_BODY_BYTES):
            return None
        root, target = parts
        origin, authority = self._roots.get(root) or self._new_root(root)
        length = None if content is None else len(content)
        head = plain_request(method, target, authority, fields, length=length)
        if head is None:
            return None
        framing = [] if length is None else [(b"Content-Length", str(length).encode())]
        named = [(name.encode(), value.encode()) for name, value in fields]
        every = [(b"Host", authority.encode()), *named, *framing]
        return origin, Question(method, target.encode(), every, None, head, content or b"")

    def _new_root(self, root: str) -> tuple[Origin, str]:
        if len(self._roots) >= _MOST_ROOTS:
            self._roots.clear()
        with errors_translated("GET", root):
            url = httpx.URL(root)
            self._roots[root] = known = (origin_of(url), url.netloc.decode("ascii"))
        return known

    async def _ask_plainly(
        self, transport: TrioTransport, url: str, origin: Origin, question: Question, refusal: Refusal | None
    ) -> Response:
        failure: TransportError | LimitExceededError
        try:
            head, body, peer = await transport.ask(origin, question, self._silences, refusal=refusal)
            return Response(head.status, [(name.lower(), value) for name, value in head.fields], body, body, peer)
        except HTTPX_ERRORS as error:
            failure = translated(error, question.method, url)
        raise failure  # out here, or the original would be its context

    async def _get_through_httpx(self, url: str, fields: Fields, extensions: dict[str, Any]) -> Response:
        with errors_translated("GET", url, through_proxy=has_proxy(self.transport)):
            request = httpx.Request("GET", url, headers=list(fields), extensions=extensions)
            with trio.move_on_after(self.settings.head_seconds):
                return Response.of(await self.transport.handle_async_request(request))
        raise HeadTimeoutError("GET", url, f"no response head within {self.settings.head_seconds:g} s")
