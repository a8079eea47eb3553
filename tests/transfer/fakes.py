"""A source of bytes without sockets: for counting steps, and for clocks that jump."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from trio_norman import Secret, Source
from trio_norman._sansio.ranges import ByteRange
from trio_norman._wire._fetching import Answer
from trio_norman.transfer import Link


class _Pieces:
    def __init__(self, body: bytes, piece: int, pause: float) -> None:
        self._body, self._piece, self._pause = body, piece, pause

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), self._piece):
            await trio.sleep(self._pause)
            yield self._body[start : start + self._piece]


@attrs.define(eq=False)
class FakeStore:
    """Objects by URL; answers whole and ranged GETs, with ETags, piece by piece."""

    objects: dict[str, bytes] = attrs.field(factory=dict)
    piece: int = 64 * 1024
    pause: float = 0.0  # seconds before each piece
    open_answers: int = 0
    asked: list[tuple[str, ByteRange | None]] = attrs.field(factory=list)

    def source(self, name: str, body: bytes, *, size_bytes: int | None = None) -> Source:
        """Put an object in and describe it."""
        url = f"https://store.test/{name}"
        self.objects[url] = body

        async def link() -> Link:
            await trio.lowlevel.checkpoint()
            return Link(url)

        return Source(name, link, url, size_bytes)

    @asynccontextmanager
    async def fetch(
        self, url: Secret, span: ByteRange | None = None, if_range: str | None = None
    ) -> AsyncIterator[Answer]:
        """Answer as `trio_norman.transfer.Fetch` wants it."""
        await trio.lowlevel.checkpoint()
        body = self.objects[url.reveal()]
        self.asked.append((url.reveal(), span))
        headers = [("etag", f'"{len(body)}"')]
        status = 200
        part = body
        if span is not None:
            stop = min(span.stop, len(body))
            part, status = body[span.start : stop], 206
            headers.append(("content-range", f"bytes {span.start}-{stop - 1}/{len(body)}"))
        headers.append(("content-length", str(len(part))))
        self.open_answers += 1
        try:
            yield Answer(url.reveal(), status, headers, _Pieces(part, self.piece, self.pause))
        finally:
            self.open_answers -= 1
