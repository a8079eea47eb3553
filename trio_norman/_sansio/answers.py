"""What the service's answer means: data, or which error."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from ..errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServiceBrokenError,
    ServiceError,
)
from .jsontext import decode_json
from .redaction import Secret, without_secrets
from .times import http_date, retry_after_seconds

_BY_STATUS: Mapping[int, type[ServiceError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    412: ConflictError,
    429: RateLimitedError,
}


_XML_FIELDS = re.compile(r"<(Code|Message)>([^<]*)</\1>")


def joined_fields(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name; one that came several times is their list, which only some headers may be.

    Source: RFC 9110, section 5.3.
    """
    result: dict[str, str] = {}
    for name, value in fields:
        result[name] = f"{result[name]}, {value}" if name in result else value
    return result


def error_of_status(
    method: str,
    url: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    secrets: Iterable[Secret | None] = (),
) -> ServiceError:
    """Return the error that an answer outside 2xx means.

    Args:
        method: The request's verb.
        url: The request's URL; the error keeps it without its query.
        status: HTTP status.
        headers: Names in lower case.
        body: The start of the error body, for code and message: JSON, an object storage's XML, or some text.
        now: The local clock, used where the answer has no ``Date``.
        secrets: What the error must not repeat, whatever the body says.

    Source: RFC 9110, section 15; wire/pytrio, sections 1.8 and 2.2; wire/norman, section 1.
    """
    code, message, request_id, cause, suggestions = _told(body)
    shown = partial(without_secrets, secrets=tuple(secrets))
    request_id = headers.get("x-request-id", request_id)
    clock = http_date(headers.get("date", "")) or now
    wait = retry_after_seconds(headers.get("retry-after"), now=clock)
    kind = _BY_STATUS.get(status, ServiceBrokenError if status >= 500 else ServiceError)
    if status == 503 and wait is not None:
        kind = RateLimitedError  # it is not broken: it knows when it will answer (RFC 9110, section 15.6.4)
    return kind(
        method,
        url,
        status,
        shown(code),
        shown(message),
        request_id and shown(request_id),
        wait,
        1,
        shown(cause),
        tuple(map(shown, suggestions)),
    )


def _told(body: bytes) -> tuple[str, str, str | None, str, tuple[str, ...]]:
    """Return code, message, request id, cause and suggestions of an error body."""
    try:
        document: Any = decode_json(body)
    except ValueError:
        text = body[:4000].decode(errors="replace").strip()
        if not text.startswith("<"):
            return "", text[:1000], None, "", ()
        fields = {name: html.unescape(value) for name, value in _XML_FIELDS.findall(text)}
        return fields.get("Code", ""), fields.get("Message", ""), None, "", ()  # a page of HTML explains nothing
    if isinstance(document, dict) and isinstance(document.get("detail"), dict):
        document = document["detail"]  # where a framework wraps the service's own error
    code, message = _code_and_message(document)
    told = document if isinstance(document, dict) else {}
    request_id, cause, advice = (told.get(name) for name in ("request_id", "cause", "suggestions"))
    suggestions = tuple(each for each in advice[:5] if isinstance(each, str)) if isinstance(advice, list) else ()
    request_id = request_id if isinstance(request_id, str) else None
    return code, message, request_id, cause if isinstance(cause, str) else "", suggestions


def _code_and_message(document: Any) -> tuple[str, str]:
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        document = document["error"]
    if not isinstance(document, dict):
        return "", ""
    detail = document.get("detail")
    if isinstance(detail, list):
        return "", "; ".join(_rejection(each) for each in detail[:10])
    words = [
        document.get("code") or document.get("error_type"),
        document.get("message") or detail or document.get("error"),
    ]
    code, message = (word if isinstance(word, str) else "" for word in words)
    return code, message


def _rejection(problem: Any) -> str:
    """Tell what is wrong with one field, and never its value, which may be a secret. Source: wire/launch, section 3."""
    if not isinstance(problem, dict):
        return "something is wrong with the request"
    place = problem.get("loc")
    path = ".".join(str(part) for part in place) if isinstance(place, list) else ""
    return f"{problem.get('msg', 'not valid')} @ {path or '$'}"
