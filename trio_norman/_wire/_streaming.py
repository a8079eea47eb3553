"""Answers whose bodies are taken while they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from ..errors import InterruptedTransferError, SlowTransferError
from ._bodies import ChunkedBody
from ._errors import errors_translated
from ._pieces import leave


@attrs.frozen
class Streamed:
    """A 2xx answer whose body is still to come; the names of `headers` are in lower case."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    #: The body as it comes, undecoded. Iterating it raises what the transport does: see `errors_translated`.
    chunks: AsyncIterable[bytes]

    @asynccontextmanager
    async def open_chunks(self, *, idle_seconds: float) -> AsyncIterator[Chunks]:
        """Give the body as it comes, for as long as the block lasts."""
        iterator = aiter(self.chunks)
        try:
            yield Chunks(self.method, self.url, idle_seconds, iterator)
        finally:
            await leave(iterator)  # noqa: ASYNC102 (it waits for nothing)


@attrs.define(eq=False)
class Chunks:
    """A body that comes piece by piece, undecoded."""

    method: str
    url: str
    _idle_seconds: float
    _iterator: AsyncIterator[bytes]
    _is_broken: bool = attrs.field(init=False, default=False)

    def receive_nowait(self) -> bytes | None:
        """Return what is here already, at a tenth of the cost of `receive`; None if that must be asked.

        Raises:
            InterruptedTransferError: If the connection has broken.
            ProtocolError: If the framing breaks.
        """
        if not isinstance(self._iterator, ChunkedBody):
            return None
        with errors_translated(self.method, self.url, in_body=True):
            return self._iterator.receive_nowait()

    async def receive(self) -> bytes | None:
        """Return what comes next; None at the end.

        Raises:
            SlowTransferError: If nothing comes for the idle limit.
            InterruptedTransferError: If the connection ends before the framing does.
            ProtocolError: If the framing breaks.

        Cancellation: nothing is lost over our own transport. Another one may end its body when a read is cancelled;
        what would then look like the end is an `InterruptedTransferError`.
        """
        if self._is_broken:
            raise InterruptedTransferError(self.method, self.url, "reading was cancelled before")
        is_through = False
        try:
            with trio.move_on_after(self._idle_seconds), errors_translated(self.method, self.url, in_body=True):
                chunk = await anext(self._iterator, None)
                is_through = True
                return chunk
        finally:
            self._is_broken = not is_through and isinstance(self._iterator, AsyncGenerator)
        raise SlowTransferError(self.method, self.url, f"nothing came for {self._idle_seconds:g} s")
