"""Delivers the answers of asynchronous tasks, as the service does: three attempts, any 2xx counts, then silence."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import h11
import trio

_WAITS = (0.0, 1.0, 2.0)  # seconds before each attempt


@attrs.frozen
class Delivery:
    """One attempt to deliver: where to, and the status that answered it (None if nothing did)."""

    url: str
    status: int | None


@attrs.define(eq=False)
class Courier:
    """Delivers callbacks, and remembers its attempts.

    `owner` is the user id with which everything but Basic credentials is replaced; `is_on_strike` delivers nothing.
    """

    owner: str
    is_on_strike: bool = False
    deliveries: list[Delivery] = attrs.field(factory=list)

    async def deliver(self, url: str, auth: Mapping[str, Any] | None, answer: Mapping[str, Any]) -> None:
        """Deliver one answer. Cancellation: it may have arrived."""
        basic = auth if auth is not None and auth.get("kind") == "basic" else {"username": self.owner, "password": ""}
        pair = base64.b64encode(f"{basic['username']}:{basic['password']}".encode()).decode()
        for wait in _WAITS:
            await trio.sleep(wait)
            if self.is_on_strike:
                return
            status = await _post(url, f"Basic {pair}", json.dumps(answer).encode())
            self.deliveries.append(Delivery(url, status))
            if status is not None and 200 <= status < 300:
                return


async def _post(url: str, authorization: str, body: bytes) -> int | None:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return None
    parser = h11.Connection(h11.CLIENT)
    headers = [
        ("Host", parts.netloc),
        ("Authorization", authorization),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = parser.send(h11.Request(method="POST", target=target or "/", headers=headers)) or b""
    sent = head + (parser.send(h11.Data(data=body)) or b"") + (parser.send(h11.EndOfMessage()) or b"")
    try:
        async with await trio.open_tcp_stream(parts.hostname, parts.port or 80) as stream:
            await stream.send_all(sent)
            while True:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    parser.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Response):
                    return int(event.status_code)
                elif not isinstance(event, h11.InformationalResponse):
                    return None
    except (OSError, trio.BrokenResourceError, h11.ProtocolError):
        return None
