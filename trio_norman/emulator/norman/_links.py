"""Links: bodies that the service fetches by itself, from this machine only."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

import attrs
import h11
import trio

from .._objects import RunSync
from ._bodies import StoredBody
from ._refusals import invalid
from ._shapes import Wire

Connect: TypeAlias = Callable[[str, int], Awaitable[trio.abc.Stream]]  # host, port

_RECEIVE = 256 << 10


class LinkError(Exception):
    """A link leads to nothing that can be fetched."""


@attrs.define(eq=False)
class Download:
    """One submitted list of links, and how far it is."""

    entity_type: Literal["Asset", "Input", "Output"]
    entity_id: str
    account_id: str
    request: Wire
    body: StoredBody = attrs.field(repr=False)
    total_bytes: int = 0
    is_done: bool = False

    async def run(self, connect: Connect, run_sync: RunSync) -> None:
        """Fetch all links, one after another, into one body; raises `LinkError`."""
        for link in self.request["links"]:
            await self._fetch(link, connect, run_sync)
        self.is_done = True

    def shown(self, entities: dict[str, Any]) -> dict[str, Any]:
        """Give the state as it is sent, with the objects that are concerned."""
        return {
            "download_request": {name: self.request[name] for name in ("account_id", "model_id", "links")},
            "file_link": self.request["links"][-1],
            "entity_type": self.entity_type,
            "downloaded_bytes": self.body.size,
            "total_bytes": self.total_bytes,
            "file_checksum": self.body.checksum if self.is_done else "",
        } | entities

    async def _fetch(self, link: str, connect: Connect, run_sync: RunSync) -> None:
        url = urlsplit(link)
        host = url.hostname or ""
        if url.scheme != "http" or not _is_here(host):
            raise LinkError("the emulator fetches http links of this machine only")
        try:
            stream = await connect(host, url.port or 80)
        except OSError as error:
            raise LinkError(f"nobody listens at {host}") from error
        async with stream:
            try:
                await self._exchange(url, stream, run_sync)
            except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
                raise LinkError("the answer broke off") from error

    async def _exchange(self, url: SplitResult, stream: trio.abc.Stream, run_sync: RunSync) -> None:
        parser = h11.Connection(h11.CLIENT)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = [("host", url.netloc.rpartition("@")[2]), ("connection", "close"), ("accept", "*/*")]
        await stream.send_all(parser.send(h11.Request(method="GET", target=target, headers=headers)) or b"")
        parser.send(h11.EndOfMessage())
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                parser.receive_data(bytes(await stream.receive_some(_RECEIVE)))
            elif isinstance(event, h11.Response):
                self._look_at(event)
            elif isinstance(event, h11.Data):
                block = bytes(event.data)
                await run_sync(lambda block=block: self.body.append(block))  # type: ignore[misc]

    def _look_at(self, answer: h11.Response) -> None:
        if answer.status_code != 200:
            raise LinkError(f"the answer has status {answer.status_code}")
        for name, value in answer.headers:
            if name == b"content-length":
                self.total_bytes += int(value)


def checked_links(links: list[str]) -> list[str]:
    """Give the links back, or raise `RefusedError` where one is no URL at all, or where there is none."""
    if not links:
        raise invalid("there is no link")
    for link in links:
        try:
            is_url = urlsplit(link).scheme in ("http", "https") and urlsplit(link).hostname
        except ValueError:
            is_url = None
        if not is_url:
            raise invalid("a link must be an http or https URL")
    return links


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
