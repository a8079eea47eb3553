"""One request on one connection, up to the end of the head that answers it."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

import attrs
import h11
import httpx
import trio

from .._sansio.retrying import SAFE_METHODS
from . import _heads, _sockets
from ._heads import Head, HeadLimits, Question

#: Read at once while a head is awaited, in bytes: a small answer comes whole, a large body is not copied twice.
_HEAD_PIECE_BYTES = 128 * 1024
#: A body up to this length, in bytes, travels with its head in one packet.
JOINED_BODY_BYTES = 64 * 1024


def _seconds(given: float | None) -> float:
    return math.inf if given is None else given


@attrs.frozen
class Silences:
    """Longest waits for a single step, in seconds, as `httpx.Timeout` means them."""

    connect: float = attrs.field(default=None, converter=_seconds)
    read: float = attrs.field(default=None, converter=_seconds)
    write: float = attrs.field(default=None, converter=_seconds)
    pool: float = attrs.field(default=None, converter=_seconds)

    @classmethod
    def of(cls, request: httpx.Request) -> Silences:
        """Read them from the request's extensions; what is missing or None has no limit."""
        given: Mapping[str, float | None] = request.extensions.get("timeout", {})
        return cls(given.get("connect"), given.get("read"), given.get("write"), given.get("pool"))


class Answer(NamedTuple):
    """The final head of a response, and where its body is to be taken from.

    Attributes:
        rest: Bytes that came after the head.
        parser: Has parsed the head, and is ready to parse a body in chunks; None where there is none to come.
        is_sent: Whether the peer waited for the whole request.
    """

    head: Head
    rest: bytes
    parser: h11.Connection | None
    is_sent: bool


class Exchange:
    """Sends one request over a connection and receives the head of its answer.

    Attributes:
        is_answered: Whether the peer has sent anything at all.
    """

    def __init__(self, sock: socket.socket, question: Question, limits: HeadLimits, silences: Silences) -> None:
        self._socket = sock
        self._question = question
        self._limits = limits
        self._silences = silences
        self._parser: h11.Connection | None = None
        self._received = b""
        self._searched = 0  # leading bytes of `_received` that hold no end of a head
        self._interim = 0
        self._final: Head | None = None
        self._is_ended = False
        self._is_body_begun = False
        self.is_answered = False

    @property
    def is_repeatable(self) -> bool:
        """Whether the request can be sent again, and changes nothing: the answer may be all that was lost."""
        has_body = isinstance(self._question.stream, httpx.ByteStream) or not self._is_body_begun
        return has_body and self._question.method in SAFE_METHODS

    async def run(self) -> Answer:
        """Send the request, or as much of it as the peer waits for, and receive the final head.

        Raises:
            httpx.LocalProtocolError: If the request is not valid HTTP.
            httpx.WriteTimeout, httpx.WriteError: If it cannot be sent and no answer says why.
            httpx.ReadTimeout: If the whole head did not come in time.
            httpx.ReadError: If the connection broke.
            httpx.RemoteProtocolError: If the peer hung up, or if what came is not HTTP as we can trust it.

        Cancellation: the connection is of no further use.
        """
        failure: httpx.WriteError | None = None
        is_sent = False
        try:
            is_sent = await self._send()
        except httpx.WriteError as error:
            # A peer that refuses a request half-way answers and hangs up, in this order (RFC 9112, section 9.5).
            failure = error
        try:
            head = await self._receive_final_head()
        except (httpx.ReadError, httpx.RemoteProtocolError):
            if failure is not None and not self.is_answered:
                raise failure from failure.__cause__
            raise
        return Answer(head, self._received, self._parser, is_sent)

    async def _send(self) -> bool:
        """Send the request; False if the peer answered before it was all sent."""
        question = self._question
        if question.plain is not None:
            return await self._write(question.plain + question.content)
        parser = self._parser = self._new_parser()
        head, stream = _heads.request_head(parser, question), question.stream
        if stream is not None and not isinstance(stream, httpx.ByteStream):
            return await self._write(head) and await self._send_stream(stream, parser)
        chunks = [] if stream is None else [_framed(parser, chunk) async for chunk in stream if chunk]
        body = b"".join(chunks) + _framed_end(parser)
        if len(body) <= JOINED_BODY_BYTES:
            return await self._write(head + body)
        return await self._write(head) and await self._write(body)

    async def _send_stream(self, stream: httpx.AsyncByteStream, parser: h11.Connection) -> bool:
        self._is_body_begun = True
        chunks = aiter(stream)
        async with contextlib.aclosing(chunks) if isinstance(chunks, AsyncGenerator) else contextlib.nullcontext():
            async for chunk in chunks:
                if self._has_answer_come() or not await self._write(_framed(parser, chunk)):
                    return False
        return await self._write(_framed_end(parser))

    def _new_parser(self) -> h11.Connection:
        return h11.Connection(h11.CLIENT, max_incomplete_event_size=self._limits.bytes)

    def _told_parser(self) -> h11.Connection:
        """Return a parser that knows the request, though it may have been sent without one."""
        if self._parser is None:
            self._parser = self._new_parser()
            _heads.request_head(self._parser, self._question)
            if self._question.content:
                _framed(self._parser, self._question.content)
            _framed_end(self._parser)
        return self._parser

    async def _write(self, data: bytes) -> bool:
        return await _sockets.send_all(
            self._socket, data, silence=self._silences.write, is_answered=self._has_answer_come
        )

    def _has_answer_come(self) -> bool:
        """Look, while we are still sending, whether the final head is here or the peer has hung up."""
        data = _sockets.receive_nowait(self._socket, _HEAD_PIECE_BYTES)
        if data is None:
            return False
        self._take(data)
        return self._is_ended or self._find_final_head() is not None

    def _take(self, data: bytes) -> None:
        self._received += data
        self._is_ended = not data
        self.is_answered = self.is_answered or bool(data)

    def _find_final_head(self) -> Head | None:
        """Parse the heads that are here, up to the final one, which leaves the body's first bytes in `_received`."""
        while self._final is None:
            end = _heads.head_end(self._received, self._searched, self._limits)
            if end is None:
                self._searched = len(self._received)
                break
            head, self._received, self._searched = self._received[:end], self._received[end:], 0
            self._final = self._read_head(head)
            if self._final is None:
                self._count_interim()
        return self._final

    def _read_head(self, head: bytes) -> Head | None:
        method = self._question.method
        plain = _heads.plain_head(head, self._limits)
        if plain is not None and method != "HEAD":
            return plain
        return _heads.careful_head(self._told_parser(), head, method)

    def _count_interim(self) -> None:
        self._interim += 1
        most = self._limits.interim
        if self._interim > most:
            raise _heads.OverLimitError(f"more than {most} interim responses", most, "interim responses")

    async def _receive_final_head(self) -> Head:
        until = trio.current_time() + self._limits.seconds
        while (head := self._find_final_head()) is None:
            if self._is_ended:
                cut = "inside the response head" if self.is_answered else "without an answer"
                raise httpx.RemoteProtocolError(f"the peer closed the connection {cut}")
            self._take(await self._read(until))
        return head

    async def _read(self, until: float) -> bytes:
        silence = self._silences.read
        return await _sockets.receive(
            self._socket,
            _HEAD_PIECE_BYTES,
            awaited="the response head",
            silence=silence,
            until=until,
            is_later=not self.is_answered,
        )


def _framed(parser: h11.Connection, chunk: bytes) -> bytes:
    return _heads.request_piece(parser, h11.Data(data=chunk))


def _framed_end(parser: h11.Connection) -> bytes:
    return _heads.request_piece(parser, h11.EndOfMessage())
