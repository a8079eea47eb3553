"""The key of a service, on requests to that service and on no others."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from .._sansio.redaction import Secret
from .._sansio.redirects import headers_for, origin

#: The request extension by which a chain of redirects is known to have left its first origin.
HAS_LEFT = "trio_norman.has_left"

_FRAMING = frozenset({"content-length", "transfer-encoding"})  # where the body ends, which is part of no secret

#: Gives the present key of a service, or None while there is none.
Credential = Callable[[], Secret | None]


class KeyForOneOrigin(httpx.AsyncBaseTransport):
    """Put the key on requests to one origin and on no other, whoever sends them.

    It stands below httpx's client and not in it, as an `httpx.Auth` would: there a redirect takes the header along to
    another origin, and every `response.request` shows the key. Another origin gets a short list of headers and nothing
    else that the caller or httpx had for the one. A chain of redirects that has left the origin gets the key and those
    headers no more, even where it comes back: who sent it back is a stranger.

    `sends_bearer` puts it into ``Authorization`` as well, for services that want it there.
    """

    sends_bearer = False

    def __init__(self, inner: httpx.AsyncBaseTransport, header: str, key: Secret | Credential, root: str) -> None:
        self._inner, self._header, self._root = inner, header, root
        self._credential: Credential = (lambda: key) if isinstance(key, Secret) else key

    def key_fields(self) -> dict[str, str]:
        """Return the headers with which a request to the one origin carries the key; none while there is no key."""
        key = self._credential()
        if key is None:
            return {}
        bearer = {"Authorization": f"Bearer {key.reveal()}"} if self.sends_bearer else {}
        return {self._header: key.reveal(), **bearer}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Add the header where it belongs, drop it and most others elsewhere, and pass the request on."""
        url, every = str(request.url), request.headers.multi_items()
        if origin(url) != origin(self._root):
            request.extensions[HAS_LEFT] = True  # httpx hands the extensions on to the next request of a chain
        has_left = HAS_LEFT in request.extensions
        kept = headers_for(url, every, first_url=self._root, stripped=has_left)
        headers = httpx.Headers(kept + [field for field in every if has_left and field[0].lower() in _FRAMING])
        headers.pop(self._header, None)
        if not has_left:
            headers.update(self.key_fields())
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
            )
        )

    async def aclose(self) -> None:
        """Close what is below."""
        await self._inner.aclose()
