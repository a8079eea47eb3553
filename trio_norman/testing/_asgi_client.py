"""Requests to an ASGI application whose bodies flow while they are made.

`httpx.ASGITransport` gathers the whole answer first, so it can carry neither a stream nor a cancelled one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import unquote

import attrs
import httpx
import trio
from starlette.types import ASGIApp, Message, Receive, Scope

from ._limits import read_limit


@attrs.define(eq=False)
class _Exchange:
    """One request and its answer, between the application's task and the client's."""

    request: httpx.Request
    send_body: trio.MemorySendChannel[bytes]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    started: trio.Event = attrs.field(factory=trio.Event, init=False)
    status: int | None = attrs.field(default=None, init=False)
    headers: list[tuple[bytes, bytes]] = attrs.field(factory=list, init=False)
    is_whole: bool = attrs.field(default=False, init=False)
    _is_read: bool = attrs.field(default=False, init=False)

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer; it is cancelled with `scope`."""
        with self.scope, self.send_body:
            try:
                await app(_scope_of(self.request), self._receiver(), self._send)
            finally:
                self.started.set()

    def _receiver(self) -> Receive:
        unread = aiter(cast(httpx.AsyncByteStream, self.request.stream))

        async def receive() -> Message:
            if self._is_read:
                return await trio.sleep_forever()  # a client that leaves cancels the application
            async for block in unread:
                return {"type": "http.request", "body": block, "more_body": True}
            self._is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}

        return receive

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
            self.started.set()
        elif message["type"] == "http.response.body":
            if message.get("body") and self.request.method != "HEAD":
                await self.send_body.send(bytes(message["body"]))
            if not message.get("more_body", False):
                self.is_whole = True
                self.send_body.close()
            await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class _AnswerStream(httpx.AsyncByteStream, AsyncIterator[bytes]):
    # No generator: one that is dropped before its end would be reported by Trio.
    _exchange: _Exchange
    _receive_body: trio.MemoryReceiveChannel[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with read_limit(self._exchange.request):
                return await self._receive_body.receive()
        except trio.EndOfChannel:
            if not self._exchange.is_whole:
                raise httpx.RemoteProtocolError("incomplete answer: the application ended inside it") from None
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self._exchange.scope.cancel(reason="the answer is closed")
        self._receive_body.close()
        await trio.lowlevel.checkpoint()


async def ask_application(app: ASGIApp, request: httpx.Request, nursery: trio.Nursery) -> httpx.Response:
    """Send a request to an ASGI application, which runs in the nursery until its answer is read or closed.

    Raises:
        httpx.ReadTimeout: If the head does not come within the request's limit.
        httpx.RemoteProtocolError: If the application ends without an answer.
    """
    send_body, receive_body = trio.open_memory_channel[bytes](0)
    exchange = _Exchange(request, send_body)
    nursery.start_soon(exchange.run, app)
    answer = _AnswerStream(exchange, receive_body)
    try:
        with read_limit(request):
            await exchange.started.wait()
        if exchange.status is None:
            raise httpx.RemoteProtocolError("the application ended without an answer", request=request)
    except BaseException:
        exchange.scope.cancel(reason="the request is given up")
        receive_body.close()
        raise
    return httpx.Response(
        exchange.status, headers=exchange.headers, stream=answer, extensions={"http_version": b"HTTP/1.1"}
    )


def _scope_of(request: httpx.Request) -> Scope:
    raw_path, _, query = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 0),
    }
