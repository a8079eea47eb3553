"""Requests over a connection in memory, read as a real transport would read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import attrs
import h11
import httpx
import trio

from ._limits import read_limit
from ._streams import MemoryStream

_HEAD_LIMIT = 100 * 1024  # bytes, as httpx's own transport has it


@attrs.define(eq=False)
class _Connection:
    """The client's side of one HTTP/1.1 exchange."""

    stream: MemoryStream
    request: httpx.Request
    parser: h11.Connection = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)

    async def send_request(self) -> None:
        """Send head and body; what the peer says before it has all of that is read later."""
        request = self.request
        target = request.url.raw_path
        head = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        try:
            await self.stream.send_all(self.parser.send(head) or b"")
            async for block in cast(httpx.AsyncByteStream, request.stream):
                await self.stream.send_all(self.parser.send(h11.Data(data=block)) or b"")
            self.parser.send(h11.EndOfMessage())
        except trio.BrokenResourceError:
            pass  # the answer may be there nevertheless; if not, reading says so

    async def receive_head(self) -> h11.Response:
        """Read on to the final head."""
        while True:
            event = await self.next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise httpx.RemoteProtocolError("the server closed the connection without an answer")

    async def next_event(self) -> h11.Event:
        """Read the next event; raises what a transport on sockets raises."""
        while True:
            try:
                event = self.parser.next_event()
                if event is h11.PAUSED:
                    raise httpx.RemoteProtocolError("the server changed the protocol")
                if event is not h11.NEED_DATA:
                    return cast(h11.Event, event)
                with read_limit(self.request):
                    data = await self.stream.receive_some(64 * 1024)
                if not data and self.parser.their_state is h11.SEND_RESPONSE:
                    raise httpx.RemoteProtocolError("the server closed the connection without an answer")
                self.parser.receive_data(data)
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error), request=self.request) from error
            except trio.BrokenResourceError as error:
                raise httpx.ReadError(str(error), request=self.request) from error


@attrs.define(eq=False)
class _AnswerStream(httpx.AsyncByteStream, AsyncIterator[bytes]):
    # No generator: one that is dropped before its end would be reported by Trio.
    _connection: _Connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        event = await self._connection.next_event()
        if not isinstance(event, h11.Data):
            raise StopAsyncIteration
        return bytes(event.data)

    async def aclose(self) -> None:
        await self._connection.stream.aclose()


async def ask_stream(stream: MemoryStream, request: httpx.Request) -> httpx.Response:
    """Send a request over a fresh connection, which is closed with the answer.

    Raises:
        httpx.ReadError: If the connection is reset.
        httpx.ReadTimeout: If the peer is silent for longer than the request allows.
        httpx.RemoteProtocolError: If the answer is no HTTP/1.1, or ends too early.
    """
    connection = _Connection(stream, request)
    try:
        await connection.send_request()
        head = await connection.receive_head()
    except BaseException:
        stream.close()
        raise
    return httpx.Response(
        head.status_code,
        headers=head.headers.raw_items(),
        stream=_AnswerStream(connection),
        extensions={"http_version": b"HTTP/" + head.http_version, "reason_phrase": head.reason},
    )
