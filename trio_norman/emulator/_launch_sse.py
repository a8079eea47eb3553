"""Server-sent events as the Launch service sends them: CRLF, one line of data an event, a ping now and then."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ._clock import WallClock

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "Connection": "keep-alive",
    "X-Accel-Buffering": "no",
}


class SseResponse(Response):
    """A stream of events, chunked, each sent as soon as it is there."""

    def __init__(self, events: AsyncGenerator[Any, None], ping_seconds: float, clock: WallClock) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events, self._ping_seconds, self._clock = events, ping_seconds, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head, events and pings."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def send_block(block: str) -> None:  # the server itself sends one after the other
            await send({"type": "http.response.body", "body": block.encode(), "more_body": True})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ping, send_block)
            async with aclosing(self._events) as events:
                async for event in events:
                    await send_block(f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\r\n\r\n")
            nursery.cancel_scope.cancel(reason="the stream is over")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _ping(self, send_block: Any) -> None:
        while True:
            await trio.sleep(self._ping_seconds)
            moment = datetime.fromtimestamp(self._clock.now(), UTC)
            await send_block(f": ping - {moment:%Y-%m-%d %H:%M:%S.%f}\r\n\r\n")
