"""URLs cut into what a request needs."""

from __future__ import annotations

import re

#: A path and a query as RFC 3986 allows them, percent-encoding complete.
_SAFE = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]*(?:%[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+,;=:@/]*)*"
_ROOT = r"https?://[a-z0-9][a-z0-9.\-]*(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?"
_PLAIN = re.compile(rf"({_ROOT})(/(?!/){_SAFE}(?:\?{_SAFE})?)")
#: Such a segment has to be resolved first.
_DOT_SEGMENT = re.compile(r"/\.{1,2}(?:[/?]|$)")


def plain_parts(url: str) -> tuple[str, str] | None:
    """Cut a URL into scheme with authority, and path with query; None if it must be normalised before it is sent.

    Nothing is said about whether the host exists, or may be contacted.

    Source: RFC 3986, sections 3 and 5.2.4.
    """
    match = _PLAIN.fullmatch(url)
    if match is None or ("/." in match[2] and _DOT_SEGMENT.search(match[2])):
        return None
    return match[1], match[2]
