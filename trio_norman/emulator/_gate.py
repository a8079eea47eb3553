"""What every API request goes through: the log, the key, the rules of misbehaviour, the client's leaving."""

from __future__ import annotations

import json
from collections.abc import Callable

import attrs
import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._clock import WallClock, http_date
from ._launch_paths import is_launch_path
from ._log import LoggedRequest, RequestLog
from ._misbehaviour import Misbehaviour

_BODY_LIMIT = 64 << 20  # bytes of a request


@attrs.define(eq=False)
class Late:
    """An ASGI application that is made when it is first asked: to route everything takes longer than a short test."""

    make: Callable[[], ASGIApp]
    _made: ASGIApp | None = attrs.field(default=None, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        self._made = self._made or self.make()
        await self._made(scope, receive, send)


@attrs.define(eq=False)
class Gate:
    """An ASGI application around the API."""

    app: ASGIApp
    clock: WallClock
    requests: RequestLog
    api_key: Callable[[], str] | None  # nothing: the application looks at credentials itself
    rules: list[Misbehaviour]
    drops: dict[tuple[object, ...], Callable[[], None]]  # client's address -> resets its connection
    server: str = "api"  # what the log calls it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = self._note(scope)
        record.body = await _whole_body(receive)
        async with trio.open_nursery() as nursery:
            # A client that leaves must not keep a long poll or a delay alive.
            nursery.start_soon(_cancel_when_left, receive, nursery.cancel_scope)
            await self._serve(scope, record, self._noting(send, record))
            nursery.cancel_scope.cancel(reason="the request is answered")

    async def _serve(self, scope: Scope, record: LoggedRequest, send: Send) -> None:
        for rule in self.rules:
            if rule.strikes(record.method, scope["path"]):
                await trio.sleep(rule.delay)
                if rule.acts:
                    await self._ask(scope, record, _keep_to_oneself)
                if rule.drop:
                    self.drops.get(tuple(scope["client"]), _do_nothing)()
                    return
                if rule.status is not None:
                    await _send_raw(rule, send)
                    return
                break
        if not self._has_key(record) and not _has_a_key_of_its_own(scope["path"]):
            body = json.dumps({"code": "unauthorized", "message": "the API key is missing or wrong"}).encode()
            await _send_whole(401, [("content-type", "application/json")], body, send)
            return
        await self._ask(scope, record, send)

    async def _ask(self, scope: Scope, record: LoggedRequest, send: Send) -> None:
        unread = [{"type": "http.request", "body": record.body, "more_body": False}]

        async def receive_held() -> Message:
            if unread:
                return unread.pop()
            return await trio.sleep_forever()

        await self.app(scope, receive_held, send)

    def _has_key(self, record: LoggedRequest) -> bool:
        """Whether the key is right, wherever it stands."""
        if self.api_key is None:
            return True
        key = self.api_key()
        bearer = record.headers.get("authorization", f"Bearer {key}")
        return (record.headers.get("x-api-key"), bearer) == (key, f"Bearer {key}")

    def _note(self, scope: Scope) -> LoggedRequest:
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        path = scope.get("raw_path") or scope["path"].encode()
        target = (path.decode("latin-1").partition("?")[0], scope["query_string"].decode("latin-1"))
        return self.requests.note(self.server, scope["method"], target, headers, self.clock.now())

    def _noting(self, send: Send, record: LoggedRequest) -> Send:
        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"date", http_date(self.clock.now()).encode()),
                    (b"x-request-id", f"{self.server}-{record.number}".encode()),
                ]
            if message["type"] == "http.response.body":
                record.sent_bytes += len(message.get("body", b""))
                record.is_finished = not message.get("more_body", False)
            await send(message)

        return send_noted


def _has_a_key_of_its_own(path: str) -> bool:
    return path.startswith("/socket.io/") or is_launch_path(path)


def _do_nothing() -> None:
    """Stand in for a connection that is none: there, an application without an answer is failure enough."""


async def _keep_to_oneself(message: Message) -> None:
    """Send nothing, as one who has done what was asked and cannot say so."""


async def _whole_body(receive: Receive) -> bytes:
    body = bytearray()
    while len(body) < _BODY_LIMIT:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    return bytes(body)


async def _cancel_when_left(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel(reason="the client left")


async def _send_raw(rule: Misbehaviour, send: Send) -> None:
    headers = [("content-type", rule.content_type), *rule.headers]
    if callable(rule.body):
        await _start(rule.status or 200, headers, send)
        for block in rule.body():
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    body = rule.body.encode() if isinstance(rule.body, str) else rule.body
    if rule.cut_at is not None:
        await _start(rule.status or 200, [*headers, ("content-length", str(len(body)))], send)
        await send({"type": "http.response.body", "body": body[: rule.cut_at], "more_body": True})
        return  # an application that ends without the rest makes its server close the connection
    await _send_whole(rule.status or 200, headers, body, send)


async def _send_whole(status: int, headers: list[tuple[str, str]], body: bytes, send: Send) -> None:
    length = [] if status in (204, 304) else [("content-length", str(len(body)))]
    await _start(status, [*headers, *length], send)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _start(status: int, headers: list[tuple[str, str]], send: Send) -> None:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
