"""Which redirects are followed, and with which headers."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from ..errors import AddressError, ConfigurationError, RedirectError, TrioNormanError
from .addresses import check_address
from .limits import DEFAULT_LIMITS, Limits

#: The only headers that go to another origin than the first one.
ALLOWED_ELSEWHERE = frozenset({"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "if-match"})
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of `url`, the unit to which credentials are bound. Source: RFC 6454."""
    parts = urlsplit(url)
    usual = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname or "", usual if parts.port is None else parts.port


def next_hop(
    url: str, location: str | None, *, hops: int, allow_http: bool, limits: Limits = DEFAULT_LIMITS
) -> str | TrioNormanError:
    """Return where a redirect of a GET leads, or the error that it is.

    Args:
        url: The URL that answered.
        location: Its ``Location``, None if it sent none.
        hops: Redirects that were followed before this one.
        allow_http: Whether plain http to other machines was allowed by name.
        limits: How many hops are followed, and how long a URL may be.

    Source: RFC 9110, section 15.4.
    """
    longest = limits.url_characters
    if hops >= limits.redirects:
        return RedirectError("GET", url, f"more than {limits.redirects} redirects")
    if not location or len(location) > longest or not location.isascii() or not location.isprintable():
        return RedirectError("GET", url, "the redirect has no usable target")
    try:
        target = urljoin(url, location.strip())
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
            return RedirectError("GET", url, "a redirect from https to http")
        check_address(target, allow_http=allow_http, longest=longest)
    except (ValueError, ConfigurationError):
        return RedirectError("GET", url, "the redirect's target is no http or https URL")
    except AddressError as error:
        return error
    return target


def headers_for(
    target: str, headers: Iterable[tuple[str, str]], *, first_url: str, stripped: bool
) -> list[tuple[str, str]]:
    """Return the headers that may go to `target`; once `stripped` they stay so, even back at the first origin."""
    if not stripped and origin(target) == origin(first_url):
        return list(headers)
    return [(name, value) for name, value in headers if name.lower() in ALLOWED_ELSEWHERE]
