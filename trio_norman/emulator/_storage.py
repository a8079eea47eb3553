"""The object storage: a small HTTP/1.1 server that can also be a bad one."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from ._answers import Answer, Request, error_answer, object_answer, status_answer
from ._archives import ArchiveContent
from ._clock import WallClock, http_date
from ._knobs import Knobs, split_query
from ._log import ConnectionCount, RequestLog
from ._objects import Digests, Objects, StoredObject
from ._redirects import redirect_answer
from ._requests import ReceivedRequest, receive_request
from ._sending import Sending
from ._signing import Refusal, UrlSigner
from ._wire import ClientLeftError, SeveredError, Wire

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
    _storms: dict[float, float] = attrs.field(factory=dict, init=False)  # seconds of `until` -> when they began
    _first_use: dict[tuple[str, str], float] = attrs.field(factory=dict, init=False)

    async def serve(self, stream: trio.abc.Stream, server: str = "storage") -> None:
        """Serve one connection until either side ends it, then close it.

        Args:
            stream: The connection; a `trio.SocketStream`, one with TLS around it, or any stream in memory.
            server: Where it came in: ``storage`` or ``other``, the two origins, or ``actor``.
        """
        with self.connections.one_more():
            async with trio.open_nursery() as nursery:
                await self._converse(Wire(stream), server, nursery)
                nursery.cancel_scope.cancel(reason="the connection is closed")

    async def _converse(self, wire: Wire, server: str, nursery: trio.Nursery) -> None:
        try:
            while (received := await receive_request(wire)) is not None:
                if not await self._serve_request(wire, received, server, nursery):
                    break
        except (ClientLeftError, SeveredError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await wire.stream.aclose()

    async def _serve_request(self, wire: Wire, received: ReceivedRequest, server: str, nursery: trio.Nursery) -> bool:
        request = received.request
        record = self.requests.note(
            server, request.method, (request.path, request.query), received.header_list, self.clock.now()
        )
        record.body = received.body
        signature: dict[str, str] = {}
        knobs, stored = Knobs(), None
        try:
            signature, asked = split_query(request.query)
        except ValueError as error:
            answer = error_answer(400, "InvalidArgument", str(error), resource=request.path)
        else:
            answer, knobs, stored = await self._answer(request, signature, asked, server)
        answer = _framed(answer, knobs, record.number, self.clock.now())
        cut_in = self._cut_in(request, signature, knobs, stored)
        sending = Sending(wire, answer, knobs, record, cut_in, self._ready_for(stored))
        if stored is not None and stored.content.size > _PREPARED_AHEAD and request.method == "GET":
            nursery.start_soon(self.objects.finish_checksum, stored.content)
        return await sending.run(with_body=request.method != "HEAD", keeps_alive=request.keeps_alive)

    async def _answer(
        self, request: Request, signature: dict[str, str], asked: Knobs, server: str
    ) -> tuple[Answer, Knobs, StoredObject | None]:
        """Decide on the answer; give the knobs that strike, and the object that is sent, with it."""
        key = (request.path, asked)
        count = self._seen[key] = self._seen.get(key, 0) + 1
        knobs = asked if self._strikes(request.path, asked, count) else asked.standing
        stored = self._find(request.path, asked, count)
        answer = self._refusal_answer(request, signature, knobs, stored) or self._wished_answer(request, knobs, server)
        if answer is not None:
            return answer, knobs, None
        if stored is None:
            message = "The specified key does not exist."
            return error_answer(404, "NoSuchKey", message, resource=request.path), knobs, None
        if knobs.text("etag") == "rand":
            luck = self._luck(request.path, "etag", count).randbytes(16).hex()
            knobs = Knobs((*knobs.pairs, ("etag", f'"{luck}"')))
        digests = await self._digests(stored, knobs)
        return object_answer(request, stored, digests, knobs, self.clock.now()), knobs, stored

    def _wished_answer(self, request: Request, knobs: Knobs, server: str) -> Answer | None:
        """Give the answer that a knob asks for in place of the object."""
        status = knobs.size("status")
        if status is None and request.method == "HEAD":
            status = knobs.size("headstatus")
        if status is not None:
            return status_answer(status, knobs, self.clock.now())
        here, other = self.roots["storage"], self.roots["other"]
        if server == "other":
            here, other = other, here
        return redirect_answer(request.path, request.query, knobs, here=here, other=other)

    async def _digests(self, stored: StoredObject, knobs: Knobs) -> Digests | None:
        wanted = stored.content.size <= _DIGESTED_UNASKED or knobs.flag("digest")
        return await self.objects.digests(stored) if wanted and not knobs.flag("nodigest") else None

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

    def _refusal_answer(
        self, request: Request, signature: dict[str, str], knobs: Knobs, stored: StoredObject | None
    ) -> Answer | None:
        if request.method not in ("GET", "HEAD"):
            refusal: Refusal | None = Refusal(405, "MethodNotAllowed", "Only GET and HEAD.")
        else:
            refusal = self._refusal(request, signature, knobs, stored)
        if refusal is None:
            return None
        headers = [("Allow", "GET, HEAD")] if refusal.status == 405 else []
        return error_answer(refusal.status, refusal.code, refusal.message, resource=request.path, headers=headers)

    def _refusal(
        self, request: Request, signature: dict[str, str], knobs: Knobs, stored: StoredObject | None
    ) -> Refusal | None:
        if knobs.flag("sig"):
            return Refusal(403, "SignatureDoesNotMatch", "The request signature is not valid.")
        if signature and ("authorization" in request.headers or "x-api-key" in request.headers):
            return Refusal(400, "InvalidArgument", "Only one authentication mechanism is allowed.")
        if self._expires_in(request, signature, knobs) <= 0:
            return Refusal(403, "AccessDenied", "Request has expired")
        if signature or (stored is not None and stored.is_private):
            return self.signer.refusal(request.path, signature, self.clock.now())
        return None

    def _strikes(self, path: str, asked: Knobs, count: int) -> bool:
        times, chance = asked.size("times"), asked.number("p")
        if times is not None and count > times:
            return False
        lasting, now = asked.number("until"), self.clock.now()
        if lasting is not None and now >= self._storms.setdefault(lasting, now) + lasting:
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

    def _cut_in(
        self, request: Request, signature: dict[str, str], knobs: Knobs, stored: StoredObject | None
    ) -> Callable[[], float]:
        if stored is None or not knobs.flag("expire_cut"):
            return lambda: math.inf
        return lambda: self._expires_in(request, signature, knobs)

    def _ready_for(self, stored: StoredObject | None) -> Callable[[int], Awaitable[None]]:
        content = stored.content if stored is not None else None

        async def ready(offset: int) -> None:
            if isinstance(content, ArchiveContent) and offset > content.tail_start:
                await self.objects.finish_checksum(content)

        return ready


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
