"""Heads of requests and responses, by `h11`, stricter where two readers of one head could disagree.

Plain response heads, nearly all there are, are read without it (see `plainheads`); they mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import attrs
import h11
import httpx

from .._sansio.plainheads import read_plain_head

#: A lone LF or CR, or any other control character but the tab (RFC 9110, section 5.5; RFC 9112, section 2.2).
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_STATUS_LINE_START = b"HTTP/1."
#: `h11` ends its texts with the offending bytes, which may hold a secret of ours or anything of the peer's.
_QUOTED_BYTES = re.compile(r":? \(?(?:bytearray\()?b['\"].*", re.DOTALL)
_WITHOUT_CONTENT = frozenset({204, 304})

#: What the framing of a body may be instead of a length in bytes.
CHUNKED: Final = "chunked"
UNTIL_CLOSE: Final = "until close"
Framing = int | str


class OverLimitError(httpx.RemoteProtocolError):
    """A response head is beyond one of the `HeadLimits`."""

    def __init__(self, text: str, limit: int, unit: str) -> None:
        super().__init__(text)
        self.limit, self.unit = limit, unit


@attrs.frozen
class HeadLimits:
    """What a response head may cost us.

    Attributes:
        bytes: Length of one head with its final empty line.
        fields: Number of header fields in one head.
        interim: Number of 1xx responses before the final one.
        seconds: From the request's last byte sent to the final head's last byte received.
    """

    bytes: int
    fields: int
    interim: int
    seconds: float


class Question(NamedTuple):
    """A request as this transport takes it.

    Attributes:
        method: In capitals.
        target: Path and query, percent-encoded.
        fields: Names and values of the head, Host among them.
        stream: The body; None without one, or where `content` is.
        plain: The whole head, if it is known to be valid and there is no `stream`.
        content: The body that goes with `plain`, in one piece.
    """

    method: str
    target: bytes
    fields: Sequence[tuple[bytes, bytes]]
    stream: httpx.AsyncByteStream | None = None
    plain: bytes | None = None
    content: bytes = b""


class Head(NamedTuple):
    """The final head of a response.

    Attributes:
        version: As in ``HTTP/1.1``: the part behind the slash.
        fields: Names, as they came, and values.
        framing: Length of the body in bytes, or `CHUNKED`, or `UNTIL_CLOSE`.
        is_closing: Whether the connection ends with this response.
    """

    status: int
    reason: str
    version: str
    fields: Sequence[tuple[str, str]]
    framing: Framing
    is_closing: bool


def request_head(connection: h11.Connection, question: Question) -> bytes:
    """Write the head of a request.

    Raises:
        httpx.LocalProtocolError: If it is not valid HTTP. The text never quotes a value or the URL.
    """
    if question.method == "CONNECT":
        raise httpx.LocalProtocolError("this transport opens no tunnels")
    problem = ""
    try:
        fields = list(question.fields)
        event = h11.Request(method=question.method.encode("ascii"), target=question.target, headers=fields)
        return connection.send(event)
    except h11.LocalProtocolError as error:
        problem = without_quotes(error)
    except UnicodeEncodeError:
        problem = "illegal method"
    # Raised out here, so that `h11`'s text is not carried along as the context.
    raise httpx.LocalProtocolError(f"the request is not valid HTTP: {problem}")


def request_piece(connection: h11.Connection, event: h11.Data | h11.EndOfMessage) -> bytes:
    """Frame a piece of the request's body, or its end, as the request's own headers promised.

    Raises:
        httpx.LocalProtocolError: If the body is longer or shorter than its Content-Length.
    """
    problem = ""
    try:
        return connection.send(event)
    except h11.LocalProtocolError as error:
        problem = without_quotes(error)
    raise httpx.LocalProtocolError(f"the request's body is not what its headers say: {problem}")


def head_end(received: bytes | bytearray, searched: int, limits: HeadLimits) -> int | None:
    """Find the end of the head that `received` starts with; None if it has not come yet.

    Args:
        searched: Number of leading bytes that an earlier call has seen.

    Raises:
        httpx.RemoteProtocolError: If this is no HTTP/1 response; an `OverLimitError` if it is larger than allowed.
    """
    if received[: len(_STATUS_LINE_START)] != _STATUS_LINE_START[: len(received)]:
        raise httpx.RemoteProtocolError("the response does not start like HTTP/1")
    found = received.find(b"\r\n\r\n", max(0, searched - 3))
    end = found + 4 if found >= 0 else None
    if (len(received) + 1 if end is None else end) > limits.bytes:
        raise OverLimitError(f"response head larger than {limits.bytes} bytes", limits.bytes, "bytes")
    return end


def plain_head(head: bytes, limits: HeadLimits) -> Head | None:
    """Read one complete response head if it is plain; None if `careful_head` must decide.

    Raises:
        OverLimitError: If it has too many fields.
    """
    if head.count(b"\r\n") - 2 > limits.fields:
        raise OverLimitError(f"response head has more than {limits.fields} fields", limits.fields, "fields")
    plain = read_plain_head(head)
    if plain is None:
        return None
    return Head(plain.status, plain.reason, "1.1", plain.fields, plain.length, is_closing=False)


def careful_head(connection: h11.Connection, head: bytes, method: str) -> Head | None:
    """Parse one complete response head; None if it is an interim one.

    Args:
        connection: Has sent the request, and has parsed the interim heads before this one.
        method: Of the request.

    Raises:
        httpx.RemoteProtocolError: If anything about it is malformed or contradictory.

    Source: RFC 9112, section 9.3: a connection of HTTP/1.0 is not used again.
    """
    event = _parsed(connection, head)
    if event is None:
        return None
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
    is_closing = event.http_version < b"1.1" or asks_to_close(fields)
    reason, version = event.reason.decode("latin-1"), event.http_version.decode("ascii")
    return Head(event.status_code, reason, version, fields, framing(method, event), is_closing)


def _parsed(connection: h11.Connection, head: bytes) -> h11.Response | None:
    if _FORBIDDEN.search(head):
        raise httpx.RemoteProtocolError("response head contains control characters")
    problem = ""
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        problem = without_quotes(error)
    else:
        if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            return None
        if isinstance(event, h11.Response) and event.status_code < 600:
            return event
        problem = "unexpected status code"
    raise httpx.RemoteProtocolError(f"the response head is not valid HTTP: {problem}")


def framing(method: str, head: h11.Response) -> Framing:
    """Tell how long the body is: in bytes, or `CHUNKED`, or `UNTIL_CLOSE`.

    Raises:
        httpx.RemoteProtocolError: If the head gives two answers.

    Source: RFC 9112, section 6.3; a response with both framings is refused as its point 3 suggests, and so is
    a chunked one of HTTP/1.0 (section 6.1).
    """
    fields = dict(head.headers)
    chunked, length = b"transfer-encoding" in fields, fields.get(b"content-length")
    if chunked and (length is not None or head.http_version < b"1.1"):
        raise httpx.RemoteProtocolError("the response contradicts itself about the length of its body")
    if method == "HEAD" or head.status_code in _WITHOUT_CONTENT:
        return 0
    if chunked:
        return CHUNKED
    return UNTIL_CLOSE if length is None else int(length)


def asks_to_close(fields: Sequence[tuple[str, str]]) -> bool:
    """Tell whether a Connection field says ``close`` (RFC 9112, section 9.6)."""
    for name, value in fields:
        if name.lower() == "connection" and "close" in value.lower().replace(" ", "").split(","):
            return True
    return False


def without_quotes(error: h11.ProtocolError) -> str:
    """Return the text of an `h11` error without the bytes that it quotes."""
    return _QUOTED_BYTES.sub("", str(error))
