"""Sends answers, and breaks them where the knobs say so."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Literal

import attrs
import trio

from ._answers import Answer, Body, zeros_body
from ._content import READ_BLOCK
from ._knobs import Knobs
from ._log import LoggedRequest
from ._wire import Wire

_PACES_PER_SECOND = 20  # a slowed body is sent in about so many pieces a second
_LINES_AT_ONCE = 500  # interim answers, or trailers
_JOINED_WITH_HEAD = 64 * 1024  # bytes; a body up to this size leaves in one segment with its head
_BROKEN_CHUNKS = {"size": b"zz\r\n", "digits": b"0" * 20 + b"f" * 20 + b"\r\n", "crlf": b"4\r\nabcdXX"}


@attrs.frozen
class Cut:
    """Where a body stops, and how."""

    at: int  # body bytes before it
    kind: Literal["reset", "trunc", "stall", "badchunk"]


def first_cut(knobs: Knobs, body: Body) -> Cut | None:
    """Find the knob that strikes first."""
    cuts = []
    for kind in ("reset", "trunc", "stall", "badchunk"):
        at = knobs.size(kind)
        if at is not None:
            relative = at - body.starts_at if knobs.flag("abs") else at
            cuts.append(Cut(max(0, relative), kind))
    return min(cuts, key=lambda cut: cut.at, default=None)


def head_of(answer: Answer, knobs: Knobs, *, closes: bool) -> bytes:
    """Write status line and headers, faults included."""
    status = answer.status
    known = status in HTTPStatus._value2member_map_
    phrase = HTTPStatus(status).phrase if known else "Unknown"
    lines = [f"HTTP/{answer.version} {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    length = knobs.text("cl") or str(answer.body.length)
    if answer.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    if (answer.framing == "length" and status not in (204, 304)) or knobs.flag("tecl") or knobs.text("cl"):
        lines.append(f"Content-Length: {length}")
    if knobs.flag("dupcl"):
        lines.append(f"Content-Length: {answer.body.length + 1}")
    lines.append(f"Connection: {'close' if closes else 'keep-alive'}")
    lines += [f"X-Padding-{number}: {number}" for number in range(knobs.size("hdrs") or 0)]
    lines += knobs.texts("hdr")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


@attrs.define(eq=False)
class Pace:
    """How fast a body goes: as fast as it can, or `rate` bytes per second from now on."""

    rate: int | None
    _started: float = attrs.field(factory=trio.current_time, init=False)
    _sent: int = attrs.field(default=0, init=False)

    def piece_size(self, room: int) -> int:
        """Give the size of the next piece, `room` at most."""
        return room if self.rate is None else min(room, max(1, self.rate // _PACES_PER_SECOND))

    def wait_before(self, length: int) -> float:
        """Count a piece, and give the seconds to wait before it may be sent."""
        if self.rate is None:
            return 0
        self._sent += length
        return self._started + self._sent / max(1, self.rate) - trio.current_time()


@attrs.define(eq=False)
class Sending:
    """One answer on its way."""

    wire: Wire
    answer: Answer
    knobs: Knobs
    record: LoggedRequest
    cut_in: Callable[[], float]  # seconds until the URL's end cuts the body
    ready: Callable[[int], Awaitable[None]]  # awaited before the object is read from this offset on
    _unsent_head: bytes = attrs.field(default=b"", init=False)

    async def run(self, *, with_body: bool, keeps_alive: bool) -> bool:
        """Send it all; tell whether the connection can be used again."""
        knobs, answer = self.knobs, self.answer
        lies = any(knobs.text(name) for name in ("cl", "dupcl", "tecl", "overcl"))
        closes = answer.framing == "close" or not keeps_alive or lies
        await self.wire.pause(knobs.number("hdelay") or 0)
        if knobs.flag("nohead"):
            await self.wire.sever(rst=knobs.text("reset") is not None)
        if (raw := knobs.text("raw")) is not None:
            await self.wire.send(raw.encode("latin-1"))
            await self.wire.sever(rst=False)
        for left in range(knobs.size("interim") or 0, 0, -_LINES_AT_ONCE):
            await self.wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * min(left, _LINES_AT_ONCE))
        self.record.status = answer.status
        self._unsent_head = head_of(answer, knobs, closes=closes)
        if (padding := knobs.size("hdrsize")) is not None:
            start, end, rest = self._unsent_head.partition(b"\r\n")
            await self.wire.send(start + end + b"X-Padding: ")
            await self._send_filler(b"p", padding)
            self._unsent_head = end + rest
        if (drip := knobs.number("hdrip")) is not None:
            await self._drip_head(drip)
        if with_body and answer.status not in (204, 304):
            await self._send_body()
            await self._send_end()
        await self._send_head()
        self.record.is_finished = True
        if (drop := knobs.text("drop")) is not None:
            await self.wire.sever(rst=drop == "rst")
        return not closes

    async def _send_body(self) -> None:
        body = self.answer.body
        cut, pace, sent = first_cut(self.knobs, body), Pace(self.knobs.size("rate")), 0
        blocks = body.blocks()
        while sent < body.length:
            await self.ready(body.starts_at + sent + READ_BLOCK)
            rest = memoryview(next(blocks))
            while rest:
                if cut is not None and sent >= cut.at:
                    pace, cut = await self._strike(cut), None
                room = len(rest) if cut is None else min(len(rest), cut.at - sent)
                piece = rest[: pace.piece_size(room)]
                if (wait := pace.wait_before(len(piece))) > 0:
                    await self._send_head()
                    await self.wire.pause(wait)
                if self.cut_in() <= 0:
                    await self._send_head()
                    await self.wire.sever(rst=False)
                # Noted before it is sent, as the client may look at the log the moment that it has the last byte.
                sent += len(piece)
                self.record.sent_bytes += len(piece)
                self.record.is_finished = sent == body.length
                await self._send_piece(piece)
                rest = rest[len(piece) :]
        if cut is not None and sent >= cut.at:
            await self._strike(cut)

    async def _strike(self, cut: Cut) -> Pace:
        """Do what the cut is about; where the body goes on after it, give the new pace."""
        await self._send_head()
        if cut.kind == "stall":
            drip = self.knobs.size("drip")
            if drip is None:
                await self.wire.pause(math.inf)
            return Pace(drip)
        if cut.kind == "badchunk":
            await self.wire.send(_BROKEN_CHUNKS[self.knobs.text("badkind") or "size"])
        return await self.wire.sever(rst=cut.kind == "reset", ragged=self.knobs.flag("ragged"))

    async def _send_piece(self, piece: memoryview) -> None:
        if self.answer.framing == "chunked":
            start = self._unsent_head + b"%x" % len(piece)
            if extension := self.knobs.size("chunkext"):
                await self.wire.send(start + b";x=")
                await self._send_filler(b"e", extension)
                start = b""
            await self.wire.send(b"".join((start, b"\r\n", piece, b"\r\n")))
        elif self._unsent_head and len(piece) <= _JOINED_WITH_HEAD:
            await self.wire.send(b"".join((self._unsent_head, piece)))
        else:
            await self._send_head()
            await self.wire.send(piece)
        self._unsent_head = b""

    async def _send_end(self) -> None:
        if self.answer.framing == "chunked":
            await self._send_head()
            await self.wire.send(b"0\r\n")
            trailers = range(self.knobs.size("trailers") or 0)
            for first in trailers[::_LINES_AT_ONCE]:
                some = trailers[first : first + _LINES_AT_ONCE]
                await self.wire.send(b"".join(b"X-Trailer-%d: x\r\n" % each for each in some))
            await self.wire.send(b"\r\n")
        if (extra := self.knobs.size("overcl")) is not None:
            await self._send_head()
            await self._send_filler(b"+", extra)

    async def _send_filler(self, filler: bytes, length: int) -> None:
        for block in zeros_body(length, filler=filler).blocks():
            await self.wire.send(block)

    async def _send_head(self) -> None:
        if self._unsent_head:
            head, self._unsent_head = self._unsent_head, b""
            await self.wire.send(head)

    async def _drip_head(self, pause: float) -> None:
        head, self._unsent_head = self._unsent_head, b""
        for position in range(len(head)):
            await self.wire.send(head[position : position + 1])
            await self.wire.pause(pause)
