"""Heads of HTTP/1.1 in their plainest form, which nearly all of them have, at a tenth of a general parser's cost.

Whatever is not plain beyond doubt gives None, and a general parser decides. What is plain means here what it means
there: tests compare the two on any bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 (RFC 9110, section 5.6.2: what a name is made of)
_VALUE = r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?"
_METHOD = r"(?:GET|POST|PUT|DELETE)"
_REQUEST = re.compile(rf"{_METHOD} /[\x21-\x7e]* HTTP/1\.1\r\nHost: [\x21-\x7e]+\r\n(?:{_TOKEN}: {_VALUE}\r\n)*\r\n")
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([2-5][0-9][0-9])(?: ([\x20-\x7e]*))?")
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*({_VALUE})[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_WITHOUT_CONTENT = frozenset({204, 205, 304})
#: Fields that a plain request has not: they say something of a body, or of the connection.
_FRAMING = frozenset({"connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"})


class PlainHead(NamedTuple):
    """A response head whose body has a length in bytes, on a connection that stays.

    `fields` are its names, as they came, with their values.
    """

    status: int
    reason: str
    fields: list[tuple[str, str]]
    length: int


def plain_request(
    method: str, target: str, authority: str, fields: Sequence[tuple[str, str]], *, length: int | None = None
) -> bytes | None:
    """Write the head of a request; None if that takes more care.

    Args:
        method: In capitals.
        target: Path and query, percent-encoded.
        authority: Value of the Host field.
        fields: Further names and values.
        length: Bytes of the body that follows; None if there is none.

    Source: RFC 9112, section 3.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    framing = "" if length is None else f"Content-Length: {length}\r\n"
    head = f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\n{lines}{framing}\r\n"
    if head.count("\n") != len(fields) + (3 if length is None else 4):  # a value with a line of its own is two fields
        return None
    if _REQUEST.fullmatch(head) is None or any(":" in name or name.lower() in _FRAMING for name, _ in fields):
        return None
    return head.encode("ascii")


def read_plain_head(head: bytes) -> PlainHead | None:
    """Read a response head, from its first byte to its empty line; None if that takes more care.

    Source: RFC 9112, sections 4, 5 and 6.
    """
    if not head.isascii():
        return None
    status_line, *lines = head[:-4].decode("ascii").split("\r\n")
    status = _STATUS_LINE.fullmatch(status_line)
    if status is None or int(status[1]) in _WITHOUT_CONTENT:
        return None
    length, fields = None, []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        name, value = field.groups()
        fields.append((name, value))
        match name.lower():
            case "content-length":
                if length is not None or _LENGTH.fullmatch(value) is None:
                    return None
                length = int(value)
            case "transfer-encoding" | "upgrade":
                return None
            case "connection":
                if value.lower() != "keep-alive":
                    return None
    return None if length is None else PlainHead(int(status[1]), status[2] or "", fields, length)
