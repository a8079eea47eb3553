"""Bytes to a signed URL, by a client that holds no credential."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import httpx
import trio

from .._sansio.addresses import Vicinity
from .._sansio.answers import error_of_status, joined_fields
from .._sansio.redaction import Secret
from ..errors import HeadTimeoutError
from ._connecting import USER_AGENT, ConnectionSettings, has_proxy, lower_headers, new_transport, request_extensions
from ._errors import InnerFramesForgotten, errors_translated


async def put_bytes(settings: ConnectionSettings, url: Secret, body: bytes, *, home: Vicinity) -> None:
    """Put `body` where a signed URL of the service `home` leads. Nothing is repeated, and no redirect is followed.

    Raises:
        AddressError: If the URL must not be contacted, or leads where a service's URL must not.
        TransportError: If no whole head came.
        ServiceError: For every status from 300 on.

    Cancellation: the bytes may have arrived.
    """
    target = url.reveal()
    refusal = home.judge("PUT", target, allow_http=settings.allow_http, longest=settings.limits.url_characters)
    headers = [("Accept", "*/*"), ("User-Agent", USER_AGENT)]
    extensions = request_extensions(settings, refusal)
    request = httpx.Request("PUT", target, headers=headers, content=body, extensions=extensions)
    transport = settings.transport or await new_transport(settings, max_connections=1)
    try:
        translating = errors_translated("PUT", target, through_proxy=has_proxy(settings.transport))
        with trio.move_on_after(settings.head_seconds), InnerFramesForgotten(), translating:
            await _exchange(transport, request, target, settings.limits.error_bytes)
            return
        raise HeadTimeoutError("PUT", target, f"no answer within {settings.head_seconds:g} s")
    finally:
        if settings.transport is None:
            with trio.CancelScope(shield=True):  # it waits for nobody
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
