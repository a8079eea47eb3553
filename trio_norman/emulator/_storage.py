"""The object storage: a small HTTP/1.1 server that can also be a bad one.

`h11` reads the requests. The answers are written by hand, because a correct HTTP library refuses to send most faults.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Awaitable, Callable

import attrs
import h11
import trio

from ._answers import Answer, Request, error_answer, object_answer, status_answer
from ._archives import ArchiveContent
from ._clock import WallClock, http_date
from ._knobs import Knobs, split_query
from ._log import ConnectionCount, RequestLog
from ._objects import Objects, StoredObject
from ._redirects import redirect_answer
from ._sending import Sending
from ._signing import Refusal, UrlSigner
from ._wire import ClientLeftError, SeveredError, Wire

_HEAD_LIMIT = 64 * 1024
_DIGESTED_UNASKED = 1 << 30  # bytes; larger objects get digests only with ``digest=1``
_PREPARED_AHEAD = 256 << 20  # bytes; a larger archive's checksum is computed while its body is sent


@attrs.define(eq=False)
class Storage:
    """Serves objects on any number of streams; `roots` are its two origins."""

    objects: Objects
    signer: UrlSigner
    clock: WallClock
    requests: RequestLog
    connections: ConnectionCount
    seed: int
    roots: dict[str, str]  # "storage" and "other" -> root of the URL
    _seen: dict[tuple[str, Knobs], int] = attrs.field(factory=dict, init=False)
    _first_use: dict[tuple[str, str], float] = attrs.field(factory=dict, init=False)

    async def serve(self, stream: trio.abc.HalfCloseableStream, server: str = "storage") -> None:
        """Serve one connection until either side ends it, then close it.

        Args:
            stream: The connection; a `trio.SocketStream`, or any stream in memory.
            server: Which of the two origins it came in on: ``storage`` or ``other``.
        """
        with self.connections.one_more():
            async with trio.open_nursery() as nursery:
                await self._converse(Wire(stream), server, nursery)
                nursery.cancel_scope.cancel(reason="the connection is closed")

    async def _converse(self, wire: Wire, server: str, nursery: trio.Nursery) -> None:
        try:
            while (received := await self._receive_request(wire)) is not None:
                if not await self._serve_request(wire, received, server, nursery):
                    break
        except (ClientLeftError, SeveredError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await wire.stream.aclose()

    async def _receive_request(self, wire: Wire) -> _Received | None:
        """Read one request with its body; nothing once the client has no more."""
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
                    return _Received(head, bytes(body))
                else:
                    return None
        except h11.RemoteProtocolError:
            await wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return None

    async def _serve_request(self, wire: Wire, received: _Received, server: str, nursery: trio.Nursery) -> bool:
        request = received.request
        record = self.requests.note(
            server, request.method, (request.path, request.query), received.header_list, self.clock.now()
        )
        record.body = received.body
        try:
            signature, asked = split_query(request.query)
            answer, knobs, stored = await self._answer(request, signature, asked, server)
        except (ValueError, KeyError) as error:  # a knob that is misspelt, or has no such value
            answer = error_answer(400, "InvalidArgument", str(error), resource=request.path)
            signature, asked, knobs, stored = {}, Knobs(), Knobs(), None
        answer = _framed(answer, knobs, record.number, self.clock.now())
        sending = Sending(wire, answer, knobs, record, self._cut_in(request, signature, knobs), self._ready_for(stored))
        if stored is not None and stored.content.size > _PREPARED_AHEAD and request.method == "GET":
            nursery.start_soon(self.objects.finish_checksum, stored.content)
        return await sending.run(with_body=request.method != "HEAD", keeps_alive=request.keeps_alive)

    async def _answer(
        self, request: Request, signature: dict[str, str], asked: Knobs, server: str
    ) -> tuple[Answer, Knobs, StoredObject | None]:
        key = (request.path, asked)
        count = self._seen[key] = self._seen.get(key, 0) + 1
        knobs = asked if self._strikes(request.path, asked, count) else asked.standing
        if request.method not in ("GET", "HEAD"):
            headers = [("Allow", "GET, HEAD")]
            return (
                error_answer(405, "MethodNotAllowed", "Only GET and HEAD.", resource=request.path, headers=headers),
                knobs,
                None,
            )
        stored = self._find(request.path, asked, count)
        refusal = self._refusal(request, signature, knobs, stored)
        if refusal is not None:
            return error_answer(refusal.status, refusal.code, refusal.message, resource=request.path), knobs, None
        if (status := knobs.size("status")) is not None:
            return status_answer(status, knobs, self.clock.now()), knobs, None
        if request.method == "HEAD" and (status := knobs.size("headstatus")) is not None:
            return status_answer(status, knobs, self.clock.now()), knobs, None
        here, other = self.roots["storage"], self.roots["other"]
        if server == "other":
            here, other = other, here
        redirect = redirect_answer(request.path, request.query, knobs, here=here, other=other)
        if redirect is not None:
            return redirect, knobs, None
        if stored is None:
            message = "The specified key does not exist."
            return error_answer(404, "NoSuchKey", message, resource=request.path), knobs, None
        wants_digest = stored.content.size <= _DIGESTED_UNASKED or knobs.flag("digest")
        digests = None
        if wants_digest and not knobs.flag("nodigest"):
            digests = await self.objects.digests(stored)
        if knobs.text("etag") == "rand":
            luck = self._luck(request.path, "etag", count).randbytes(16).hex()
            knobs = Knobs((*knobs.pairs, ("etag", f'"{luck}"')))
        return object_answer(request, stored, digests, knobs), knobs, stored

    def _find(self, path: str, asked: Knobs, count: int) -> StoredObject | None:
        flip = asked.text("flip")
        version = 0
        if flip == "each":
            version = count
        elif flip is not None and count > int(flip):
            version = 1
        size = asked.size("size")
        if asked.text("flipc") == "0":
            return self.objects.find(path, tag=version, size=size)
        return self.objects.find(path, version=version, size=size)

    def _refusal(
        self, request: Request, signature: dict[str, str], knobs: Knobs, stored: StoredObject | None
    ) -> Refusal | None:
        if not signature and not (stored is not None and stored.is_private) and not knobs.flag("sig"):
            return None
        if signature and ("authorization" in request.headers or "x-api-key" in request.headers):
            return Refusal(400, "InvalidArgument", "Only one authentication mechanism is allowed.")
        if knobs.flag("sig"):
            return Refusal(403, "SignatureDoesNotMatch", "The request signature is not valid.")
        refusal = self.signer.refusal(request.path, signature, self.clock.now())
        if refusal is None and self._expires_in(request, signature, knobs) <= 0:
            return Refusal(403, "AccessDenied", "Request has expired")
        return refusal

    def _strikes(self, path: str, asked: Knobs, count: int) -> bool:
        times, chance = asked.size("times"), asked.number("p")
        if times is not None and count > times:
            return False
        return chance is None or self._luck(path, asked.text("pseed") or "", count).random() < chance

    def _luck(self, path: str, noun: str, count: int) -> random.Random:
        text = f"{self.seed} {path} {noun} {count}"
        return random.Random(hashlib.blake2b(text.encode(), digest_size=8).digest())

    def _expires_in(self, request: Request, signature: dict[str, str], knobs: Knobs) -> float:
        lifetime = knobs.number("expire")
        if lifetime is None:
            return math.inf
        key = (request.path, signature.get("q-signature", "") + knobs.standing.pairs.__repr__())
        first = self._first_use.setdefault(key, self.clock.now())
        return first + lifetime - self.clock.now()

    def _cut_in(self, request: Request, signature: dict[str, str], knobs: Knobs) -> Callable[[], float]:
        if not knobs.flag("expire_cut"):
            return lambda: math.inf
        return lambda: self._expires_in(request, signature, knobs)

    def _ready_for(self, stored: StoredObject | None) -> Callable[[int], Awaitable[None]]:
        content = stored.content if stored is not None else None

        async def ready(offset: int) -> None:
            if isinstance(content, ArchiveContent) and offset > content.tail_start:
                await self.objects.finish_checksum(content)

        return ready


@attrs.frozen(eq=False)
class _Received:
    head: h11.Request
    body: bytes

    @property
    def header_list(self) -> list[tuple[str, str]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.head.headers]

    @property
    def request(self) -> Request:
        headers = dict(self.header_list)
        target = self.head.target.decode("latin-1")
        path, _, query = target.partition("?")
        keeps_alive = self.head.http_version != b"1.0" and "close" not in headers.get("connection", "").lower()
        return Request(self.head.method.decode("latin-1"), path, query, headers, keeps_alive)


def _framed(answer: Answer, knobs: Knobs, number: int, now: float) -> Answer:
    """Add the headers that every answer has, and choose how its body is delimited."""
    headers = [
        ("Date", http_date(now)),
        ("Server", "emulated-object-storage"),
        ("x-cos-request-id", f"storage-{number}"),
        *answer.headers,
    ]
    answer = attrs.evolve(answer, headers=headers)
    if knobs.flag("http10"):
        return attrs.evolve(answer, framing="close", version="1.0")
    if knobs.flag("close"):
        return attrs.evolve(answer, framing="close")
    if any(knobs.text(name) for name in ("chunked", "badchunk", "chunkext", "trailers")):
        return attrs.evolve(answer, framing="chunked")
    short = knobs.size("shortcl")
    return answer if short is None else attrs.evolve(answer, body=answer.body.first(short))
