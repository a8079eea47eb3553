"""Bodies from signed URLs, by a client that holds no credential."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import attrs
import httpx
import trio

from .._sansio.answers import error_of_status
from .._sansio.ranges import LARGEST_SIZE, ByteRange
from .._sansio.redaction import Secret
from .._sansio.redirects import REDIRECT_STATUSES, headers_for, next_hop, origin
from .._sansio.settings import check_address
from ..errors import HeadTimeoutError, InterruptedTransferError, ProtocolError, TrioNormanError
from ._connecting import USER_AGENT, ConnectionSettings, lower_headers, new_transport, request_extensions
from ._errors import errors_translated
from ._gate import Gates
from ._pump import Pump, pump_for

LARGEST_ERROR_BODY = 64 * 1024  # bytes; what comes after is not read


@attrs.define(eq=False)
class Answer:
    """One response whose head has come: `status` (2xx or 416), `headers`, and the body in the order it comes."""

    url: str  # without its query
    status: int
    headers: Sequence[tuple[str, str]]
    _response: httpx.Response

    @property
    def shows_its_end(self) -> bool:
        """Whether the framing itself shows that the body is whole: a length or chunks, not merely the end."""
        return any(name in {"content-length", "transfer-encoding"} for name, _ in self.headers)

    def pump(self) -> Pump | None:
        """Return what moves the body straight from its socket into a file; None if it only comes as `chunks`.

        Whoever takes a pump closes it, and takes no chunks.
        """
        return pump_for(self._response.extensions.get("trio_norman.body"), self.url)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, undecoded.

        Raises:
            InterruptedTransferError: If the connection ends before the framing does.
            ProtocolError: If the framing breaks.
        """
        iterator = aiter(cast(AsyncIterable[bytes], self._response.stream))
        try:
            while True:
                with errors_translated("GET", self.url, in_body=True):
                    chunk = await anext(iterator, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            if isinstance(iterator, AsyncGenerator):  # left to the garbage collector it would be closed somewhen
                await iterator.aclose()  # noqa: ASYNC102 (it is the body's own end, and closing a socket waits for nobody)


@attrs.define(eq=False)
class Fetcher:
    """Requests for bodies: redirects by our rules, one door per origin, no cookies, no credentials."""

    _transport: httpx.AsyncBaseTransport
    _settings: ConnectionSettings
    _gates: Gates = attrs.field(factory=Gates)

    @asynccontextmanager
    async def fetch(
        self, url: Secret, span: ByteRange | None = None, if_range: str | None = None
    ) -> AsyncIterator[Answer]:
        """Ask for an object, or for one span of it, and give the answer for as long as the block lasts.

        Args:
            url: The URL, with its signature.
            span: Bytes to ask for, open-ended if it stops at `LARGEST_SIZE`; None for the whole object.
            if_range: Validator of the version that the span must be of.

        Raises:
            TransportError: If no whole head came, or the redirects are not followed.
            ServiceError: For every status from 400 on but 416.
            ProtocolError: For a 3xx that is no redirect.

        Cancellation: the connection is dropped unless its exchange was complete.
        """
        headers = [("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", USER_AGENT)]
        headers += [] if span is None else [("Range", _range_header(span))]
        headers += [] if if_range is None else [("If-Range", if_range)]
        target, hops, stripped = url.reveal(), 0, False
        check_address(target, allow_http=self._settings.allow_http)
        while True:
            sent = headers_for(target, headers, first_url=url.reveal(), stripped=stripped) if hops else headers
            response = await self._head(target, sent)
            try:
                if response.status_code < 300 or (response.status_code == 416 and span is not None):
                    answered = list(lower_headers(response.headers.raw))
                    yield Answer(_without_query(target), response.status_code, answered, response)
                    return
                following = await self._follow(response, target, hops)
            finally:
                await _close(response)  # noqa: ASYNC102 (it shields itself)
            stripped = stripped or origin(following) != origin(url.reveal())
            target, hops = following, hops + 1

    async def _head(self, target: str, headers: Sequence[tuple[str, str]]) -> httpx.Response:
        await self._gates.wait(target)
        with errors_translated("GET", target):
            request = httpx.Request("GET", target, headers=headers, extensions=request_extensions(self._settings))
            with trio.move_on_after(self._settings.head_seconds):
                return await self._transport.handle_async_request(request)
        raise HeadTimeoutError("GET", target, f"no response head within {self._settings.head_seconds:g} s")

    async def _follow(self, response: httpx.Response, target: str, hops: int) -> str:
        """Return where a redirect leads; raise the error that any other answer is."""
        if response.status_code in REDIRECT_STATUSES:
            location = response.headers.get("location")
            following: str | TrioNormanError = next_hop(
                target, location, hops=hops, allow_http=self._settings.allow_http
            )
        elif response.status_code < 400:
            following = ProtocolError("GET", target, f"status {response.status_code} answers no question of ours")
        else:
            following = await self._service_error(response, target)
        if isinstance(following, TrioNormanError):
            self._gates.note(target, following)
            raise following
        return following

    async def _service_error(self, response: httpx.Response, target: str) -> TrioNormanError:
        body = bytearray()
        with trio.move_on_after(self._settings.head_seconds):
            try:
                with errors_translated("GET", target, in_body=True):
                    async for chunk in cast(AsyncIterable[bytes], response.stream):
                        body += chunk[: LARGEST_ERROR_BODY - len(body)]
                        if len(body) >= LARGEST_ERROR_BODY:
                            break
            except InterruptedTransferError:
                body += b""  # an error whose explanation was cut short is still that error
        headers = dict(lower_headers(response.headers.raw))
        return error_of_status("GET", target, response.status_code, headers, bytes(body), now=datetime.now(UTC))


async def _close(response: httpx.Response) -> None:
    # A user's own transport may free its slot only if closing is not itself cancelled.
    with trio.CancelScope(shield=True):
        await response.aclose()


def _range_header(span: ByteRange) -> str:
    last = "" if span.stop >= LARGEST_SIZE else span.stop - 1
    return f"bytes={span.start}-{last}"


def _without_query(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0]


@asynccontextmanager
async def open_fetcher(
    settings: ConnectionSettings | None = None, *, max_connections: int = 8
) -> AsyncIterator[Fetcher]:
    """Open what fetches bodies; leaving the block closes its connections."""
    settings = settings or ConnectionSettings()
    if settings.transport is not None:
        yield Fetcher(settings.transport, settings)
        return
    transport = await new_transport(settings, max_connections=max_connections)
    try:
        yield Fetcher(transport, settings)
    finally:
        with trio.CancelScope(shield=True):  # it waits for nobody: sockets are closed where they stand
            await transport.aclose()
