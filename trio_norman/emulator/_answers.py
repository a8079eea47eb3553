"""What the storage answers: statuses, heads, and where the bodies come from. Decided without I/O."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Literal
from xml.sax.saxutils import escape

import attrs

from ._clock import http_date
from ._content import Block, BytesContent, Content, DamagedContent, blocks_of
from ._knobs import Knobs, parsed_size
from ._objects import Digests, StoredObject

Headers = list[tuple[str, str]]

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,30})\s*-\s*(\d{0,30})\s*", re.IGNORECASE | re.ASCII)
_BOUNDARY = "3d6b6a416f9b5"
_ZEROS = bytes(1 << 20)


@attrs.frozen
class Request:
    """One parsed request."""

    method: str
    path: str  # still percent-encoded
    query: str
    headers: dict[str, str]  # lower-case names
    keeps_alive: bool


@attrs.frozen
class Body:
    """Where a body's blocks come from."""

    length: int
    blocks: Callable[[], Iterator[Block]]
    starts_at: int = 0  # offset in the object

    def first(self, length: int) -> Body:
        """Give a body that ends after `length` bytes, or earlier if this one does."""
        kept = min(length, self.length)

        def blocks() -> Iterator[Block]:
            left = kept
            for block in self.blocks():
                if not left:
                    return
                yield block[:left]
                left -= min(left, len(block))

        return Body(kept, blocks, self.starts_at)


@attrs.frozen
class Answer:
    """One response to be."""

    status: int
    headers: Headers
    body: Body
    framing: Literal["length", "chunked", "close"] = "length"
    version: str = "1.1"


def body_of(content: Content, start: int = 0, stop: int | None = None) -> Body:
    """Take a span of a content as a body."""
    end = content.size if stop is None else stop
    return Body(end - start, lambda: blocks_of(content, start, end), start)


def plain_answer(status: int, headers: Headers, body: bytes = b"") -> Answer:
    """Make an answer whose body is held in memory."""
    return Answer(status, headers, body_of(BytesContent(body)))


def error_answer(status: int, code: str, message: str, *, resource: str, headers: Headers | None = None) -> Answer:
    """Make an error as object stores write it."""
    text = (
        f'<?xml version="1.0" encoding="utf-8"?>\n<Error>\n<Code>{code}</Code>\n<Message>{escape(message)}</Message>\n'
        f"<Resource>{escape(resource)}</Resource>\n</Error>\n"
    )
    return plain_answer(status, [*(headers or []), ("Content-Type", "application/xml")], text.encode())


def status_answer(status: int, knobs: Knobs, now: float) -> Answer:
    """Make the answer that ``status=`` asks for."""
    headers: Headers = []
    for text in knobs.texts("ra"):
        dated = re.fullmatch(r"date([ +-]\d+(?:\.\d+)?)", text)  # a plus sign in a query may stand for a space
        shown = http_date(now + float(dated[1].replace(" ", "+"))) if dated else text
        headers.append(("Retry-After", shown))
    if status in (204, 304) or status < 200:
        return plain_answer(status, headers)
    wanted = knobs.text("sbody")
    content_type = knobs.text("sct")
    if wanted is None:
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
        return error_answer(status, phrase.title().replace(" ", ""), phrase, resource="/", headers=headers)
    headers.append(("Content-Type", content_type or "text/plain"))
    try:
        return Answer(status, headers, zeros_body(parsed_size(wanted), filler=b"x"))
    except ValueError:
        return plain_answer(status, headers, wanted.encode("latin-1"))


def zeros_body(length: int, *, filler: bytes = b"\0") -> Body:
    """Make a body of one byte, repeated, of any length."""
    block = filler * len(_ZEROS)

    def blocks() -> Iterator[Block]:
        for start in range(0, length, len(block)):
            yield block[: length - start]

    return Body(length, blocks)


def bomb_body(unpacked: int) -> Body:
    """Make a gzip body that unpacks to so many zeros, in one deflate stream that is never held whole.

    Each mebibyte is compressed with a full flush after it, so its bytes can be repeated.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    whole, rest = divmod(unpacked, len(_ZEROS))
    unit = packer.compress(_ZEROS) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(_ZEROS[:rest]) + packer.flush(zlib.Z_FINISH)
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"

    def blocks() -> Iterator[Block]:
        yield head
        checksum = 0
        for _ in range(whole):
            checksum = zlib.crc32(_ZEROS, checksum)
            yield unit
        checksum = zlib.crc32(_ZEROS[:rest], checksum)
        yield end + struct.pack("<II", checksum, unpacked & 0xFFFFFFFF)

    return Body(len(head) + whole * len(unit) + len(end) + 8, blocks)


def asked_span(header: str | None, size: int) -> tuple[int, int] | Literal["unsatisfiable"] | None:
    """Read a Range header: half-open span, or nothing where the whole object is to be sent.

    Source: RFC 9110, section 14. Several ranges, and what is no range, are ignored as an object store ignores them.
    """
    match = _ONE_RANGE.fullmatch(header or "")
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else "unsatisfiable"
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return "unsatisfiable"
    return start, min(int(last) + 1, size) if last else size


def object_answer(request: Request, stored: StoredObject, digests: Digests | None, knobs: Knobs, now: float) -> Answer:
    """Answer a GET or a HEAD of an object, with the faults that concern ranges, validators and contents."""
    etag = _shown_etag(stored, knobs)
    modified = _shown_date(stored, knobs, now)
    headers: Headers = [("Content-Type", stored.content_type)]
    headers += [("ETag", etag)] if etag else []
    headers += [("Last-Modified", modified)] if modified else []
    headers.append(("Accept-Ranges", "none" if knobs.flag("noar") else "bytes"))
    if digests is not None:
        headers += (digests.spoilt() if knobs.text("sum") == "bad" else digests).headers
    refused = _precondition(request, etag, headers)
    if refused is not None:
        return refused
    if knobs.flag("fail200"):
        return attrs.evolve(error_answer(200, "InternalError", "Please retry.", resource=request.path))
    content: Content = stored.content
    if (corrupt := knobs.size("corrupt")) is not None or knobs.size("zero") is not None:
        content = DamagedContent(content, corrupt, knobs.size("zero"))
    if (bomb := knobs.size("bomb")) is not None:
        return Answer(200, [*headers, ("Content-Encoding", "gzip")], bomb_body(bomb))
    if knobs.text("gzip") == "1":
        packed = gzip.compress(b"".join(blocks_of(content, 0, content.size)), 1, mtime=0)
        return plain_answer(200, [*headers, ("Content-Encoding", "gzip")], packed)
    if knobs.text("gzip") == "lie":
        headers.append(("Content-Encoding", "gzip"))
    span = asked_span(request.headers.get("range"), content.size)
    if span is None and knobs.flag("force206"):
        span = (0, content.size)
    if span is None or knobs.flag("norange") or not _range_granted(request, etag, modified, knobs):
        return Answer(200, headers, body_of(content))
    if span == "unsatisfiable" or knobs.flag("r416"):
        if knobs.text("r416") != "nocr":
            headers.append(("Content-Range", f"bytes */{content.size}"))
        headers = [header for header in headers if header[0] != "Content-Type"]
        return error_answer(416, "InvalidRange", "Not satisfiable.", resource=request.path, headers=headers)
    return _range_answer(content, span, headers, knobs)


def _range_answer(content: Content, span: tuple[int, int], headers: Headers, knobs: Knobs) -> Answer:
    start, stop = span
    stop = min(stop, start + (knobs.size("rangeshort") or content.size))
    stop = min(stop + (knobs.size("rangelong") or 0), content.size)
    shift = knobs.size("shift") or 0
    start = min(max(0, start + shift), content.size)
    stop = min(max(start, stop + shift), content.size)
    said = knobs.size("crshift") or 0
    total = knobs.text("total") or str(content.size)
    line = knobs.text("cr") or f"bytes {start + said}-{stop + said - 1}/{total}"
    if knobs.flag("multipart"):
        kind = next(value for name, value in headers if name == "Content-Type")
        headers = [header for header in headers if header[0] != "Content-Type"]
        headers.append(("Content-Type", f"multipart/byteranges; boundary={_BOUNDARY}"))
        opening = f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Range: {line}\r\n\r\n".encode()
        closing = f"\r\n--{_BOUNDARY}--\r\n".encode()
        return Answer(206, headers, _wrapped(opening, body_of(content, start, stop), closing))
    if not knobs.flag("nocr"):
        headers = [*headers, ("Content-Range", line)]
    if knobs.text("gzip") == "range":
        packed = gzip.compress(b"".join(blocks_of(content, start, stop)), 1, mtime=0)
        return plain_answer(206, [*headers, ("Content-Encoding", "gzip")], packed)
    return Answer(206, headers, body_of(content, start, stop))


def _wrapped(opening: bytes, body: Body, closing: bytes) -> Body:
    def blocks() -> Iterator[Block]:
        yield opening
        yield from body.blocks()
        yield closing

    return Body(len(opening) + body.length + len(closing), blocks, body.starts_at)


def _shown_etag(stored: StoredObject, knobs: Knobs) -> str | None:
    wish = knobs.text("etag")
    if wish == "none":
        return None
    if wish == "weak":
        return f"W/{stored.etag}"
    return wish or stored.etag


def _shown_date(stored: StoredObject, knobs: Knobs, now: float) -> str | None:
    wish = knobs.text("lm")
    if wish == "none":
        return None
    return http_date(stored.modified_at if wish is None else now - float(wish))


def _precondition(request: Request, etag: str | None, headers: Headers) -> Answer | None:
    if_match = request.headers.get("if-match")
    if if_match is not None and not _names(if_match, etag, weakly=False):
        return error_answer(412, "PreconditionFailed", "If-Match does not hold.", resource=request.path)
    if_none_match = request.headers.get("if-none-match")
    if if_none_match is not None and _names(if_none_match, etag, weakly=True):
        return plain_answer(304, [header for header in headers if header[0] != "Content-Type"])
    return None


def _names(header: str, etag: str | None, *, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    if etag is None:
        return False
    tags: Sequence[str] = [tag.strip() for tag in header.split(",")]
    if weakly:
        return etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]
    return not etag.startswith("W/") and etag in tags


def _range_granted(request: Request, etag: str | None, modified: str | None, knobs: Knobs) -> bool:
    condition = request.headers.get("if-range")
    if condition is None or knobs.flag("noifrange"):
        return True
    if knobs.flag("ifrange200"):
        return False
    if condition.startswith(('"', "W/")):
        return condition == etag and not condition.startswith("W/")
    return condition == modified
