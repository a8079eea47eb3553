"""The key of a service, on requests to that service and on no others."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from .._sansio.redaction import Secret
from .._sansio.redirects import origin

#: The request extension by which a chain of redirects is known to have left its first origin.
HAS_LEFT = "trio_norman.has_left"

#: Gives the present key of a service, or None while there is none.
Credential = Callable[[], Secret | None]


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

    def key_fields(self) -> dict[str, str]:
        """Return the headers with which a request to the one origin carries the key; none while there is no key."""
        key = self._credential()
        if key is None:
            return {}
        bearer = {"Authorization": f"Bearer {key.reveal()}"} if self.sends_bearer else {}
        return {self._header: key.reveal(), **bearer}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Add the header where it belongs, drop it elsewhere, and pass the request on."""
        headers = httpx.Headers(request.headers)
        headers.pop(self._header, None)
        if origin(str(request.url)) != self._origin:
            request.extensions[HAS_LEFT] = True  # httpx hands the extensions on to the next request of a chain
        elif not request.extensions.get(HAS_LEFT):
            headers.update(self.key_fields())
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
            )
        )

    async def aclose(self) -> None:
        """Close what is below."""
        await self._inner.aclose()
