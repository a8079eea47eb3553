"""Bodies of responses. Each holds the lease of its connection and ends it: well at its own end, or by closing."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import Self

import h11
import httpx
import trio

from . import _heads, _sockets
from ._exchange import Answer
from ._pool import Lease

#: Read at once from a chunked body, in bytes: the parser copies what it holds with each chunk it takes out.
_CHUNKED_PIECE_BYTES = 64 * 1024
_TOO_LARGE = 431  # `h11`'s status for a chunk's head, or trailers, beyond the limit


class BrokenBodyError(httpx.RemoteProtocolError):
    """The framing breaks inside a body: what came before is good, as it is before a cut."""


class Body(httpx.AsyncByteStream, ABC):
    """A body on its way: iterate it once, or close it.

    Any error, cancellation included, closes the connection. `aclose` closes it too unless the body is complete;
    it never waits, and is no checkpoint, so that it never replaces an error on its way out.
    """

    def __init__(self, lease: Lease, answer: Answer, *, is_reusable: bool, silence: float) -> None:
        self._lease = lease
        self._is_reusable = is_reusable and answer.is_sent
        self._silence = silence

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> bytes:
        """Receive the next piece; it is as long as what is there, but not empty.

        Raises:
            httpx.ReadTimeout: If nothing came within the request's read timeout.
            httpx.ReadError: If the connection broke, or TLS ended without its closing alert.
            httpx.RemoteProtocolError: If the connection ended before the body, or the framing is broken.
            trio.ClosedResourceError: If the body was closed before its end.
        """

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Close the connection unless the body is complete. Never blocks."""
        self._lease.abandon()

    async def _receive(self, at_most: int) -> bytes:
        if self._lease.socket is None:
            raise trio.ClosedResourceError("this response has been closed")
        try:
            return await _sockets.receive(
                self._lease.socket, at_most, awaited="the rest of the body", silence=self._silence
            )
        except BaseException:
            self._lease.abandon()
            raise

    def _complete(self) -> None:
        if self._is_reusable:
            self._lease.release()
        else:
            self._lease.abandon()


class LengthBody(Body):
    """A body whose length was announced; it goes from the socket to the reader as it is.

    Its attributes are for the package's own pumps, which take the bytes from the socket by themselves. The response
    has it as the extension ``trio_norman.body``, and only while there are bytes that have not been received.

    Attributes:
        leading: The first bytes of the body, which came with the head; they have left the socket.
        remaining: Number of bytes that come after those.
    """

    def __init__(self, lease: Lease, answer: Answer, length: int, *, is_reusable: bool, silence: float) -> None:
        # Whatever comes after the end was sent unasked, so that nothing on this connection can be trusted.
        is_exact = len(answer.rest) <= length
        super().__init__(lease, answer, is_reusable=is_reusable and is_exact, silence=silence)
        self.leading = answer.rest[:length]
        self.remaining = length - len(self.leading)
        if not self.remaining:
            self._complete()

    @property
    def socket(self) -> socket.socket:
        """The connection: a non-blocking stdlib socket, an `ssl.SSLSocket` for https. Do not close it.

        Receive first and wait only when that would block: TLS may hold bytes that no longer show on the socket.
        Whoever uses it in another thread closes the response after that thread is done.

        Raises:
            trio.ClosedResourceError: If the body is complete or closed.
        """
        if self._lease.socket is None:
            raise trio.ClosedResourceError("this response has been closed")
        return self._lease.socket

    def whole(self) -> bytes | None:
        """Take the body if it is all here; None if there is more to come, or some was taken already."""
        if self.remaining or not self.leading:
            return None
        piece, self.leading = self.leading, b""
        return piece

    @trio.lowlevel.enable_ki_protection
    def finished(self) -> None:
        """Tell that `leading` and all `remaining` bytes have been taken: the connection can be used again."""
        self.leading, self.remaining = b"", 0
        self._complete()

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> bytes:
        """Receive the next piece of up to 256 KiB; see `Body`."""
        if self.leading:  # no checkpoint: the head has just been waited for
            piece, self.leading = self.leading, b""
            return piece
        if not self.remaining:
            raise StopAsyncIteration
        piece = await self._receive(min(self.remaining, _sockets.PIECE_BYTES))
        if not piece:
            self._lease.abandon()
            raise httpx.RemoteProtocolError(f"the connection ended {self.remaining} bytes before the body's end")
        self.remaining -= len(piece)
        if not self.remaining:
            self._complete()
        return piece


class ChunkedBody(Body):
    """A body in chunks (RFC 9112, section 7.1); extensions and trailers are read and dropped, within limits."""

    def __init__(self, lease: Lease, answer: Answer, *, is_reusable: bool, silence: float) -> None:
        super().__init__(lease, answer, is_reusable=is_reusable, silence=silence)
        if answer.parser is None:
            raise ValueError("only a general parser can take chunks apart")
        self._parser = answer.parser
        self._is_ended = False
        self._problem: httpx.RemoteProtocolError | None = None
        if answer.rest:
            self._parser.receive_data(answer.rest)

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> bytes:
        """Receive the next piece, which may span several chunks; see `Body`."""
        while not self._is_ended:
            if self._lease.socket is None:
                raise trio.ClosedResourceError("this response has been closed")
            piece = self._parsed()
            if piece:
                return piece
            if not self._is_ended:
                self._parser.receive_data(await self._receive(_CHUNKED_PIECE_BYTES))
        raise StopAsyncIteration

    def receive_nowait(self) -> bytes | None:
        """Take the next piece if it is here; None if it must be waited for, or there is none any more.

        Raises:
            httpx.ReadError, httpx.RemoteProtocolError: As `Body` tells; the connection is closed.
        """
        if self._is_ended or self._lease.socket is None:
            return None
        try:
            data = _sockets.receive_nowait(self._lease.socket, _CHUNKED_PIECE_BYTES)
        except httpx.ReadError:
            self._lease.abandon()
            raise
        if data is not None:
            self._parser.receive_data(data)
        return self._parsed() or None

    def _parsed(self) -> bytes:
        """Take what has been received out of its chunks, and end the lease at the last one.

        What stands before a broken chunk is given first: it can be trusted as much as before a cut.
        """
        pieces: list[bytearray | bytes] = []
        whole = 0  # pieces before the last chunk
        event: object = None
        try:
            while self._problem is None and isinstance(event := self._parser.next_event(), h11.Data):
                whole = len(pieces) if event.chunk_start else whole
                pieces.append(event.data)
        except h11.RemoteProtocolError as error:
            if "chunk footer" in str(error):  # of this chunk it is not even known that it was one
                del pieces[whole:]
            kind = httpx.RemoteProtocolError if error.error_status_hint == _TOO_LARGE else BrokenBodyError
            self._problem = kind(f"the chunked body is broken: {_heads.without_quotes(error)}")
        if self._problem is not None and not pieces:
            self._lease.abandon()
            raise self._problem
        if isinstance(event, h11.EndOfMessage):
            self._is_ended = True
            self._is_reusable = self._is_reusable and not self._parser.trailing_data[0]
            self._complete()
        return b"".join(pieces)


class UntilCloseBody(Body):
    """A body that ends with its connection; over TLS only an announced end counts (RFC 9112, section 9.8)."""

    def __init__(self, lease: Lease, answer: Answer, *, silence: float) -> None:
        super().__init__(lease, answer, is_reusable=False, silence=silence)
        self._leading = answer.rest
        self._is_ended = False

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> bytes:
        """Receive the next piece of up to 256 KiB; see `Body`."""
        if self._is_ended:
            raise StopAsyncIteration
        piece, self._leading = self._leading, b""
        piece = piece or await self._receive(_sockets.PIECE_BYTES)
        if not piece:
            self._is_ended = True
            self._complete()
            raise StopAsyncIteration
        return piece


def body_of(answer: Answer, lease: Lease, *, asked_to_close: bool, silence: float) -> Body:
    """Choose the body that the head announces, and give it the lease.

    Args:
        asked_to_close: Whether our own request said that the connection ends with it.
        silence: Longest wait for each piece, in seconds.

    Source: RFC 9112, sections 6.3 and 9.3.
    """
    framing, is_reusable = answer.head.framing, not (asked_to_close or answer.head.is_closing)
    if isinstance(framing, int):
        return LengthBody(lease, answer, framing, is_reusable=is_reusable, silence=silence)
    if framing == _heads.CHUNKED:
        return ChunkedBody(lease, answer, is_reusable=is_reusable, silence=silence)
    return UntilCloseBody(lease, answer, silence=silence)
