from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import secrets, texts, urls
from trio_norman._sansio.addresses import is_loopback
from trio_norman._sansio.limits import DEFAULT_LIMITS
from trio_norman._sansio.redirects import (
    ALLOWED_ELSEWHERE,
    REDIRECT_STATUSES,
    headers_for,
    next_hop,
    origin,
)
from trio_norman.errors import AddressError, RedirectError, TrioNormanError

START = "https://api.example/a/b?key=1"


def hop(location: str | None, *, url: str = START, hops: int = 0, allow_http: bool = False) -> str | TrioNormanError:
    return next_hop(url, location, hops=hops, allow_http=allow_http)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://cdn.example/x?sig=1", "https://cdn.example/x?sig=1"),
        ("/x", "https://api.example/x"),
        ("x", "https://api.example/a/x"),
        ("?y", "https://api.example/a/b?y"),
        ("//cdn.example/x", "https://cdn.example/x"),
        (" /x ", "https://api.example/x"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ],
)
def test_a_redirect_is_followed_to_where_it_points(location: str, target: str) -> None:
    assert hop(location) == target


@pytest.mark.parametrize(
    "location",
    [
        None, "", "file:///etc/passwd", "ftp://h/x", "javascript:alert(1)", "data:,x", "mailto:a@b",
        "https://[", "https://h:99999/", "https://h:x/",
        "/a\r\nX: y", "/a\x00", "/\u00fc", "https://bücher.example/", "/\x7f",
    ],
)  # fmt: skip
def test_a_redirect_without_a_usable_target_is_refused(location: str | None) -> None:
    assert type(hop(location)) is RedirectError


@pytest.mark.parametrize("location", ["https://u:p@h/", "https://u@h/", "//u:p@h/", "https://@h/"])
def test_a_redirect_to_an_address_with_a_user_is_refused_and_the_user_not_shown(location: str) -> None:
    error = hop(location)
    assert type(error) is AddressError
    assert str(error).endswith("GET https://h/: a URL with a user name or password is not contacted")


@given(url=urls(), target=urls(schemes=["http"]), allow_http=st.booleans())
def test_no_redirect_leads_from_https_to_http(url: str, target: str, allow_http: bool) -> None:
    error = hop(target, url=url, allow_http=allow_http)
    assert type(error) is RedirectError
    assert error.reason == "a redirect from https to http"


@pytest.mark.parametrize("location", ["http://169.254.169.254/", "http://h/"])
def test_plain_http_to_another_machine_is_refused_unless_allowed_by_name(location: str) -> None:
    start = "http://localhost:8000/"
    assert type(hop(location, url=start)) is AddressError
    assert hop(location, url=start, allow_http=True) == location
    assert hop("http://127.0.0.1:1/", url=start) == "http://127.0.0.1:1/"


def test_five_redirects_are_followed_and_not_one_more() -> None:
    assert hop("/x", hops=DEFAULT_LIMITS.redirects - 1) == "https://api.example/x"
    assert type(hop("/x", hops=DEFAULT_LIMITS.redirects)) is RedirectError
    assert DEFAULT_LIMITS.redirects == 5


def test_a_loop_ends_after_a_bounded_number_of_requests() -> None:
    url, requests = START, 0
    while isinstance(following := hop("?again", url=url, hops=requests), str):
        url, requests = following, requests + 1
    assert requests == DEFAULT_LIMITS.redirects


def test_a_location_may_lead_to_a_url_as_long_as_the_limit_and_not_one_character_more() -> None:
    longest = "/" + "x" * (DEFAULT_LIMITS.url_characters - len("https://api.example/"))
    assert hop(longest) == f"https://api.example{longest}"
    assert type(hop(longest + "x")) is RedirectError


@pytest.mark.fuzz
@given(
    url=urls(schemes=["https", "http"]),
    location=texts(max_size=60) | urls(schemes=["http", "https", "ftp"]),
    allow_http=st.booleans(),
)
def test_any_location_is_an_http_url_that_may_be_contacted_or_an_error(
    url: str, location: str, allow_http: bool
) -> None:
    target = hop(location, url=url, allow_http=allow_http)
    if isinstance(target, str):
        parts = urlsplit(target)
        assert parts.scheme in {"http", "https"}
        assert parts.hostname
        assert "@" not in parts.netloc
        assert target.isascii()
        assert target.isprintable()
        assert parts.scheme == "https" or allow_http or is_loopback(parts.hostname)
    else:
        assert isinstance(target, RedirectError | AddressError)
        assert str(target).isprintable()


def test_the_redirects_are_these() -> None:
    assert {301, 302, 303, 307, 308} == REDIRECT_STATUSES


# ---- origins and headers


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a", "HTTPS://H:443/b?c", True),
        ("http://h/", "http://h:80/", True),
        ("https://h/", "https://h:444/", False),
        ("https://h/", "https://h:0/", False),
        ("https://h/", "http://h/", False),
        ("https://h/", "http://h:443/", False),
        ("https://h/", "https://a.h/", False),
        ("https://h/", "https://h./", False),
        ("https://[::1]/", "https://[::1]:443/", True),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


def header_lists() -> st.SearchStrategy[list[tuple[str, str]]]:
    """Request headers, harmless and telling ones, in any case."""
    names = [
        "Host",
        "User-Agent",
        "RANGE",
        "If-Range",
        "accept",
        "Authorization",
        "X-API-KEY",
        "Cookie",
        "Referer",
        "X-Y",
    ]
    return st.lists(st.tuples(st.sampled_from(names), st.text("ab", max_size=2)))


@given(headers=header_lists(), first=urls(), target=urls(), stripped=st.booleans())
def test_another_origin_gets_the_listed_headers_only_and_the_first_one_all(
    headers: list[tuple[str, str]], first: str, target: str, stripped: bool
) -> None:
    sent = headers_for(target, headers, first_url=first, stripped=stripped)
    if origin(first) == origin(target) and not stripped:
        assert sent == headers
    else:
        assert sent == [(name, value) for name, value in headers if name.lower() in ALLOWED_ELSEWHERE]


@given(key=secrets(), url=urls())
def test_a_key_that_was_taken_off_is_not_put_on_again_at_the_first_origin(key: str, url: str) -> None:
    headers = [
        ("X-API-KEY", key),
        ("Authorization", f"Bearer {key}"),
        ("Cookie", key),
        ("Referer", key),
        ("Accept", "*/*"),
    ]
    assert headers_for(url, headers, first_url=url, stripped=False) == headers
    assert headers_for(url, headers, first_url=url, stripped=True) == [("Accept", "*/*")]


def test_the_list_of_headers_for_others_is_literally_this() -> None:
    assert {"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "if-match"} == ALLOWED_ELSEWHERE
