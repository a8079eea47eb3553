"""Requests as the storage reads them, with `h11`.

The answers are written by hand instead, because a correct HTTP library refuses to send most faults.
"""

from __future__ import annotations

import attrs
import h11

from ._answers import Request
from ._wire import Wire

_HEAD_LIMIT = 64 * 1024  # bytes


@attrs.frozen(eq=False)
class ReceivedRequest:
    """One request, whole."""

    head: h11.Request
    body: bytes

    @property
    def header_list(self) -> list[tuple[str, str]]:
        """The headers in order, with lower-case names."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.head.headers]

    @property
    def request(self) -> Request:
        """What decides the answer."""
        headers = dict(self.header_list)
        target = self.head.target.decode("latin-1")
        path, _, query = target.partition("?")
        keeps_alive = self.head.http_version != b"1.0" and "close" not in headers.get("connection", "").lower()
        return Request(self.head.method.decode("latin-1"), path, query, headers, keeps_alive)


async def receive_request(wire: Wire) -> ReceivedRequest | None:
    """Read one request; nothing once the client has no more, or speaks no HTTP."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT)
    head: h11.Request | None = None
    body = bytearray()
    try:
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await wire.receive())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                wire.early = parser.trailing_data[0]
                return ReceivedRequest(head, bytes(body))
            else:
                return None
    except h11.RemoteProtocolError:
        await wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return None
