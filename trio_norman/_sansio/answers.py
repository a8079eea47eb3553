"""What the service's answer means: data, or which error."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
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


def error_of_status(
    method: str, url: str, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> ServiceError:
    """Return the error that an answer outside 2xx means.

    Args:
        method: The request's verb.
        url: The request's URL; the error keeps it without its query.
        status: HTTP status.
        headers: Names in lower case.
        body: The start of the error body, for code and message: JSON, or some text.
        now: The local clock, used where the answer has no ``Date``.

    Source: RFC 9110, section 15; wire/pytrio, sections 1.8 and 2.2.
    """
    kind = _BY_STATUS.get(status, ServiceBrokenError if status >= 500 else ServiceError)
    code, message = _code_and_message(body)
    clock = http_date(headers.get("date", "")) or now
    wait = retry_after_seconds(headers.get("retry-after"), now=clock)
    return kind(method, url, status, code, message, headers.get("x-request-id"), wait)


def _code_and_message(body: bytes) -> tuple[str, str]:
    try:
        document: Any = decode_json(body)
    except ValueError:
        text = body[:1000].decode(errors="replace").strip()
        return "", "" if text.startswith("<") else text  # a page of HTML or XML explains nothing in 200 characters
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        document = document["error"]
    if not isinstance(document, dict):
        return "", ""
    words = [document.get("code"), document.get("message") or document.get("detail") or document.get("error")]
    code, message = (word if isinstance(word, str) else "" for word in words)
    return code, message
