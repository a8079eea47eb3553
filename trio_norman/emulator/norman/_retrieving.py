"""Retrieving bodies: raw bytes, streamed, with the storage's faults where a test wants them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs
import trio
from starlette.types import Receive, Scope, Send

from .._answers import Answer, Request, object_answer, status_answer
from .._clock import WallClock
from .._content import Block
from .._knobs import Knobs, knob_query, split_query
from .._objects import RunSync, StoredObject
from .._sending import Pace, first_cut
from ._bodies import StoredBody

_KNOBS = """
times reset trunc stall drip rate abs hdelay status ra sbody sct fail200 norange noar shift crshift nocr cr total
rangeshort rangelong force206 r416 multipart noifrange ifrange200 corrupt zero gzip bomb etag lm
"""
_VALIDATORS = ("ETag", "Last-Modified", "Accept-Ranges")
_HEADS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"ID3": "audio/mpeg",
    b"RIFF": "audio/wav",
    b"\xff\xf1": "audio/aac",
}


def checked_knobs(wishes: Mapping[str, object]) -> Knobs:
    """Read knobs; raises `ValueError` for those that mean nothing here."""
    for name in wishes:
        if name not in _KNOBS.split():
            raise ValueError(f"retrieving knows no fault knob {name!r}")
    return split_query(knob_query(wishes))[1]


@attrs.define(eq=False)
class Retrieval:
    """One answer with a body, as an ASGI application."""

    entity_id: str
    body: StoredBody
    knobs: Knobs
    clock: WallClock
    run_sync: RunSync
    serves_ranges: bool
    drop: Callable[[Scope], None]  # resets the client's connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        content_type = await self._content_type()
        answer = self._answer(Request(scope["method"], scope["path"], "", headers, keeps_alive=True), content_type)
        await trio.sleep(self.knobs.number("hdelay") or 0)
        shown = [*answer.headers, ("content-length", str(answer.body.length))]
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in shown]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        if scope["method"] == "HEAD" or await self._send_body(answer, scope, send):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _answer(self, request: Request, content_type: str) -> Answer:
        if (status := self.knobs.size("status")) is not None:
            return status_answer(status, self.knobs, self.clock.now())
        identity = f"norman {self.entity_id} {self.body.checksum}"
        stored = StoredObject(identity, self.body, self.clock.epoch, content_type, is_private=False)
        if self.serves_ranges:
            return object_answer(request, stored, None, self.knobs, self.clock.now())
        plain = object_answer(attrs.evolve(request, headers={}), stored, None, self.knobs, self.clock.now())
        return attrs.evolve(plain, headers=[each for each in plain.headers if each[0] not in _VALIDATORS])

    async def _send_body(self, answer: Answer, scope: Scope, send: Send) -> bool:
        """Send the blocks; tell whether the end may follow."""
        cut, pace, sent = first_cut(self.knobs, answer.body), Pace(self.knobs.size("rate")), 0
        blocks = answer.body.blocks()
        while sent < answer.body.length or (cut is not None and sent >= cut.at):
            if cut is not None and sent >= cut.at:
                if cut.kind != "stall":
                    if cut.kind == "reset":
                        self.drop(scope)
                    return False
                drip = self.knobs.size("drip")
                await trio.sleep(math.inf if drip is None else 0)
                cut, pace = None, Pace(drip)
                continue
            rest = memoryview(await self._next_block(lambda: next(blocks)))
            while rest and not (cut is not None and sent >= cut.at):
                room = len(rest) if cut is None else min(len(rest), cut.at - sent)
                piece = rest[: pace.piece_size(room)]
                await trio.sleep(max(0.0, pace.wait_before(len(piece))))
                await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
                sent, rest = sent + len(piece), rest[len(piece) :]
        return True

    async def _next_block(self, read: Callable[[], Block]) -> Block:
        return await self.run_sync(read) if self.body.is_on_disk else read()

    async def _content_type(self) -> str:
        head = bytes(await self._next_block(lambda: self.body.read(0, 512)))
        if head[4:8] == b"ftyp":
            return "video/mp4"
        for start, content_type in _HEADS.items():
            if head.startswith(start):
                return content_type
        return "text/plain" if _is_text(head) else "application/octet-stream"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        return error.end == len(head) and error.start > 0 and len(head) - error.start < 4
    return bool(text) and all(each.isprintable() or each.isspace() for each in text)
