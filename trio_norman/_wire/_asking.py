"""One GET and the head that answers it, over our own transport without httpx's types, or over anybody's with them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from typing import Any, cast

import attrs
import httpx
import trio

from .._sansio.plainheads import plain_get
from .._sansio.targets import plain_parts
from ..errors import ConfigurationError, HeadTimeoutError, LimitExceededError, TransportError
from ._bodies import Body
from ._connecting import ConnectionSettings, has_proxy, lower_headers, request_extensions
from ._errors import HTTPX_ERRORS, errors_translated, translated
from ._exchange import Silences
from ._heads import Question
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
        self, url: str, fields: Fields, refusal: Refusal | None = None, pinned_pem: str | None = None
    ) -> Response:
        """Send a GET, following nothing, and return the answer.

        Args:
            url: Where to.
            fields: The request's header.
            refusal: Says why an address must not be contacted, or nothing; only our own transport asks it.
            pinned_pem: Certificates, in PEM form, that the peer is trusted by alone.

        Raises:
            TransportError: If no whole head came.
            LimitExceededError: If the head is too large.
            ConfigurationError: If a certificate is pinned and the transport is not ours.

        Cancellation: the connection is closed.
        """
        if self.is_own and isinstance(self.transport, TrioTransport):
            plain = self._plain(url, fields)
            if plain is not None:
                origin, question = plain
                trusting = origin if pinned_pem is None else origin._replace(pinned_pem=pinned_pem)
                return await self._get_plainly(self.transport, url, trusting, question, refusal)
        return await self._get_through_httpx(url, fields, self._extensions(refusal, pinned_pem))

    def _extensions(self, refusal: Refusal | None, pinned_pem: str | None) -> dict[str, Any]:
        extensions = request_extensions(self.settings, refusal)
        if pinned_pem is None:
            return extensions
        if not isinstance(self.transport, TrioTransport):
            advice = "leave ConnectionSettings.transport out, or make it a TrioTransport"
            raise ConfigurationError("a transport of your own cannot be told whom to trust for one request", advice)
        return {**extensions, PINNED_PEM: pinned_pem}

    def _plain(self, url: str, fields: Fields) -> tuple[Origin, Question] | None:
        parts = plain_parts(url)
        if parts is None:
            return None
        root, target = parts
        origin, authority = self._roots.get(root) or self._new_root(root)
        head = plain_get(target, authority, fields)
        if head is None:
            return None
        named = [(b"Host", authority.encode()), *((name.encode(), value.encode()) for name, value in fields)]
        return origin, Question("GET", target.encode(), named, None, head)

    def _new_root(self, root: str) -> tuple[Origin, str]:
        if len(self._roots) >= _MOST_ROOTS:
            self._roots.clear()
        with errors_translated("GET", root):
            url = httpx.URL(root)
            self._roots[root] = known = (origin_of(url), url.netloc.decode("ascii"))
        return known

    async def _get_plainly(
        self, transport: TrioTransport, url: str, origin: Origin, question: Question, refusal: Refusal | None
    ) -> Response:
        failure: TransportError | LimitExceededError
        try:
            head, body, peer = await transport.ask(origin, question, self._silences, refusal=refusal)
            return Response(head.status, [(name.lower(), value) for name, value in head.fields], body, body, peer)
        except HTTPX_ERRORS as error:
            failure = translated(error, "GET", url)
        raise failure  # out here, or the original would be its context

    async def _get_through_httpx(self, url: str, fields: Fields, extensions: dict[str, Any]) -> Response:
        with errors_translated("GET", url, through_proxy=has_proxy(self.transport)):
            request = httpx.Request("GET", url, headers=list(fields), extensions=extensions)
            with trio.move_on_after(self.settings.head_seconds):
                response = await self.transport.handle_async_request(request)
                named = list(lower_headers(response.headers.raw))
                body = cast(AsyncIterable[bytes], response.stream)
                own_body = response.extensions.get("trio_norman.body")
                peer = response.extensions.get("trio_norman.peer", "")
                return Response(response.status_code, named, body, own_body, peer, response)
        raise HeadTimeoutError("GET", url, f"no response head within {self.settings.head_seconds:g} s")
