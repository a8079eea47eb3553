"""How long a signed URL may still be used, judged by the clock of the server that signed it."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

#: Statuses with which storages refuse a signed URL that has expired (but not only such): a new URL may help once.
MAY_HAVE_EXPIRED = frozenset({401, 403, 410})
_LONGEST = 10 * 365 * 86_400  # seconds; what claims more is taken for a mistake


def url_lifetime(url: str, *, expires: datetime | None = None, now: datetime | None = None) -> float | None:
    """Return for how many seconds from its signing a URL is good; None if nothing tells.

    Args:
        url: The signed URL; its query is looked at for the signature forms of COS, S3 and GCS.
        expires: What the API said beside the URL.
        now: The signing server's own clock (the ``Date`` of its answer), so that a wrong local clock does no harm.

    Source: wire/pytrio, section 1.5 (``q-sign-time`` and ``q-key-time``).
    """
    try:
        query = dict(parse_qsl(urlsplit(url).query))
    except ValueError:  # no URL at all: whoever sends the request will say so
        query = {}
    seconds = [
        _cos_lifetime(query.get("q-sign-time", "")),
        _cos_lifetime(query.get("q-key-time", "")),
        _s3_lifetime(query),
        None if expires is None or now is None else (expires - now).total_seconds(),
    ]
    known = [max(0.0, value) for value in seconds if value is not None and value < _LONGEST]
    return min(known, default=None)


def tells_expiry(code: str, message: str) -> bool:
    """Whether a storage's refusal says that the URL has expired, rather than that it was never good.

    Source: error codes of COS and S3 ("Request has expired", ExpiredToken) and of GCS (ExpiredToken).
    """
    return "expired" in f"{code} {message}".lower()


def renewal_age(lifetime: float | None) -> float | None:
    """Return the age in seconds at which a URL is renewed before use: a tenth, at most 30 s, before its end."""
    return None if lifetime is None else lifetime - min(30.0, lifetime / 10)


def _cos_lifetime(text: str) -> float | None:
    match = re.fullmatch(r"(\d{1,12});(\d{1,12})", text, re.ASCII)
    return None if match is None else float(int(match[2]) - int(match[1]))


def _s3_lifetime(query: dict[str, str]) -> float | None:
    text = query.get("X-Amz-Expires") or query.get("X-Goog-Expires") or ""
    return float(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else None
