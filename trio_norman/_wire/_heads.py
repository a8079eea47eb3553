"""Heads of requests and responses, by `h11`, stricter where two readers of one head could disagree."""

from __future__ import annotations

import re
from typing import Final

import attrs
import h11
import httpx

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


def request_head(connection: h11.Connection, request: httpx.Request) -> bytes:
    """Write the head of `request`.

    Raises:
        httpx.LocalProtocolError: If it is not valid HTTP. The text never quotes a value or the URL.
    """
    if request.method == "CONNECT":
        raise httpx.LocalProtocolError("this transport opens no tunnels")
    problem = ""
    try:
        event = h11.Request(
            method=request.method.encode("ascii"), target=request.url.raw_path, headers=request.headers.raw
        )
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
        httpx.RemoteProtocolError: If this is no HTTP/1 response, or already larger than allowed.
    """
    if received[: len(_STATUS_LINE_START)] != _STATUS_LINE_START[: len(received)]:
        raise httpx.RemoteProtocolError("the response does not start like HTTP/1")
    found = received.find(b"\r\n\r\n", max(0, searched - 3))
    end = found + 4 if found >= 0 else None
    if (len(received) + 1 if end is None else end) > limits.bytes:
        raise httpx.RemoteProtocolError(f"response head larger than {limits.bytes} bytes")
    return end


def response_head(
    connection: h11.Connection, head: bytes, limits: HeadLimits
) -> h11.Response | h11.InformationalResponse:
    """Parse one complete response head.

    Raises:
        httpx.RemoteProtocolError: If anything about it is malformed, contradictory or too much.
    """
    if head.count(b"\r\n") - 2 > limits.fields:
        raise httpx.RemoteProtocolError(f"response head has more than {limits.fields} fields")
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
            return event
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


def asks_to_close(headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether a Connection header says ``close`` (RFC 9112, section 9.6)."""
    for name, value in headers:
        if name.lower() == b"connection" and b"close" in value.lower().replace(b" ", b"").split(b","):
            return True
    return False


def without_quotes(error: h11.ProtocolError) -> str:
    """Return the text of an `h11` error without the bytes that it quotes."""
    return _QUOTED_BYTES.sub("", str(error))
