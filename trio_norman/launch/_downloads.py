"""A model's files as sources for the transfer engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from .._sansio.redaction import Secret
from ..errors import MalformedResponseError
from ..transfer import Link, Source
from . import _api as api
from ._models import ModelUrls

if TYPE_CHECKING:
    from ._client import LaunchClient

LIFETIME = 3600.0  # seconds of a signed URL. Source: wire/launch, section 12


@attrs.define(eq=False)
class _Urls:
    """The signed URLs of one model: whoever finds one used up asks for all of them, and the others get theirs."""

    client: LaunchClient
    call: api.Call[ModelUrls]
    links: dict[str, Link] = attrs.field(factory=dict)
    _given: set[str] = attrs.field(init=False, factory=set)
    _lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    async def renew(self) -> None:
        """Ask for all URLs."""
        found = (await self.client.ask(self.call)).urls
        if not isinstance(found, dict) or not all(isinstance(url, str) and url for url in found.values()):
            raise MalformedResponseError("POST", self.call.path, ("expected texts by file name @ $.urls",))
        self.links = {name: Link(Secret(url), LIFETIME) for name, url in found.items()}
        self._given = set()

    async def link(self, name: str) -> Link:
        """Return a URL that this file has not had yet."""
        async with self._lock:
            if name in self._given:
                await self.renew()
            if name not in self.links:
                raise MalformedResponseError("POST", self.call.path, (f"{name!r} is no longer there @ $.urls",))
            self._given.add(name)
            return self.links[name]


async def model_sources(
    client: LaunchClient, model_name: str, download_format: str, *, service: str
) -> Sequence[Source]:
    """Ask for the files of a model and describe each to the engine; the engine checks their names."""
    urls = _Urls(client, api.model_urls(model_name, download_format))
    await urls.renew()
    identity = f"{service}#model/{model_name}"
    return [Source(name, partial(urls.link, name), f"{identity}/{name}", item=model_name) for name in urls.links]
