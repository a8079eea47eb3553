"""As much of Socket.IO as the official SDK needs to start: Engine.IO 4 over HTTP long polling, without an upgrade.

Source: the Engine.IO protocol, version 4, and the requests that the SDK was seen to make.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import attrs
import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

_PING_INTERVAL = 25.0  # seconds
_SEPARATOR = "\x1e"


@attrs.define(eq=False)
class _Client:
    send_packet: trio.MemorySendChannel[str]
    receive_packet: trio.MemoryReceiveChannel[str]


@attrs.define(eq=False)
class SocketIo:
    """The connections of clients; each is a queue of packets that wait for the next poll."""

    api_key: Callable[[], str]
    _clients: dict[str, _Client] = attrs.field(factory=dict, init=False)
    _opened: int = attrs.field(default=0, init=False)

    async def endpoint(self, request: Request) -> Response:
        """Answer one request to ``/socket.io/``."""
        query = request.query_params
        if query.get("transport") != "polling" or query.get("EIO") != "4":
            return JSONResponse({"code": 0, "message": "Transport unknown"}, 400)
        if "sid" not in query:
            return self._open(query.get("apiKey", ""))
        client = self._clients.get(query["sid"])
        if client is None:
            return JSONResponse({"code": 1, "message": "Session ID unknown"}, 400)
        if request.method == "POST":
            for packet in (await request.body()).decode().split(_SEPARATOR):
                self._take(query["sid"], client, packet)
            return PlainTextResponse("ok")
        return PlainTextResponse(await self._next_packets(client))

    def _open(self, key: str) -> Response:
        if key != self.api_key():
            return JSONResponse({"code": 4, "message": "Forbidden"}, 403)
        self._opened += 1
        sid = f"s{self._opened}"
        send_packet, receive_packet = trio.open_memory_channel[str](math.inf)
        self._clients[sid] = _Client(send_packet, receive_packet)
        opening = {
            "sid": sid,
            "upgrades": [],
            "pingInterval": int(_PING_INTERVAL * 1000),
            "pingTimeout": 20000,
            "maxPayload": 1_000_000,
        }
        return PlainTextResponse(f"0{json.dumps(opening)}")

    def _take(self, sid: str, client: _Client, packet: str) -> None:
        if packet.startswith("40"):
            client.send_packet.send_nowait(f'40{{"sid":"n-{sid}"}}')
        elif packet == "1":
            client.send_packet.send_nowait("6")  # lets go of the poll that still waits
            self._clients.pop(sid, None)

    async def _next_packets(self, client: _Client) -> str:
        with trio.move_on_after(_PING_INTERVAL):
            packets = [await client.receive_packet.receive()]
            while client.receive_packet.statistics().current_buffer_used:
                packets.append(client.receive_packet.receive_nowait())
            return _SEPARATOR.join(packets)
        return "2"
