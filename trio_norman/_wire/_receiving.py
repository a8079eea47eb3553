"""A small HTTP server for messages that a service delivers: one door, one kind of request, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import attrs
import h11
import trio

from .._sansio.callbacks import CallbackDoor
from .._sansio.throttling import Throttle

_HEAD_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024


@attrs.define(eq=False)
class MessageServer:
    """Takes messages on any number of connections.

    Args:
        door: Who is let in.
        take: Called with each message, in the Trio thread; what it cannot read it refuses with a `ValueError`.
        throttle: Requests that are let in; others are told to come again (429).
        most_connections: Further ones are closed at once.
        seconds: For one whole request, and for the silence before it.
    """

    door: CallbackDoor
    take: Callable[[bytes], None]
    throttle: Throttle
    most_connections: int
    seconds: float
    connections: int = attrs.field(init=False, default=0)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it is closed. Cancellation: it is dropped."""
        self.connections += 1
        try:
            if self.connections <= self.most_connections:
                await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return  # the sender has gone, or speaks no HTTP: it will come again, or be asked
        finally:
            self.connections -= 1
            await trio.aclose_forcefully(stream)  # noqa: ASYNC102 (it never blocks)

    async def _serve(self, stream: trio.SocketStream) -> None:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        with trio.CancelScope() as limit:
            while True:
                limit.deadline = trio.current_time() + self.seconds
                try:
                    status = await self._receive(parser, stream)
                except h11.RemoteProtocolError as error:
                    await self._answer(parser, stream, error.error_status_hint)
                    return
                if status is None:
                    return
                await self._answer(parser, stream, status)
                if parser.our_state is not h11.DONE or parser.their_state is not h11.DONE:
                    return
                parser.start_next_cycle()

    async def _receive(self, parser: h11.Connection, stream: trio.SocketStream) -> int | None:
        """Read one request and return the status that answers it; None if there is none any more."""
        head = await _next_event(parser, stream)
        if not isinstance(head, h11.Request):
            return None
        refusal = self._refusal(head)
        if refusal is not None:
            return refusal
        if parser.they_are_waiting_for_100_continue:
            await stream.send_all(parser.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        body = bytearray()
        while isinstance(event := await _next_event(parser, stream), h11.Data):
            body += event.data
            if len(body) > self.door.largest:
                return 413
        if not isinstance(event, h11.EndOfMessage):
            return None
        try:
            self.take(bytes(body))
        except ValueError:
            return 400
        return 204

    def _refusal(self, head: h11.Request) -> int | None:
        fields = {name.lower(): value for name, value in head.headers}
        length = fields.get(b"content-length")
        refusal = self.door.refusal(
            head.method.decode("latin-1"),
            head.target,
            fields.get(b"authorization", b""),
            None if length is None else length.decode("latin-1"),
            is_chunked=b"transfer-encoding" in fields,
        )
        now = trio.current_time()
        if refusal is None and self.throttle.allowance(now) < 1:
            return 429
        if refusal is None:
            self.throttle.take(1, now)
        return refusal

    async def _answer(self, parser: h11.Connection, stream: trio.SocketStream, status: int) -> None:
        # After a refusal the body is not read: the connection is of no further use, and h11 closes it.
        headers = [] if status == 204 else [("Content-Length", "0")]
        headers += [("Retry-After", "1")] if status == 429 else []
        headers += [("WWW-Authenticate", "Basic")] if status == 401 else []
        if parser.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        answer = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode())
        if parser.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            data = parser.send(answer) or b""
            await stream.send_all(data + (parser.send(h11.EndOfMessage()) or b""))


async def _next_event(parser: h11.Connection, stream: trio.SocketStream) -> h11.Event | type[h11.PAUSED]:
    while (event := parser.next_event()) is h11.NEED_DATA:
        parser.receive_data(await stream.receive_some(_READ_BYTES))
    return event  # type: ignore[return-value]
