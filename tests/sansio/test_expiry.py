from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import moments, texts, urls
from trio_norman._sansio.expiry import renewal_age, url_lifetime

COS = (
    "https://models-1300000000.cos.ap-beijing.myqcloud.com/models/u/t/weights/w.zip?q-sign-algorithm=sha1&q-ak=AKID"
    "&q-sign-time=1766488538%3B1766488898&q-key-time=1766488538%3B1766488898&q-header-list=host&q-url-param-list="
    "&q-signature=0123456789abcdef"
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        (COS, 360.0),
        ("https://h/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T000000Z&X-Amz-Expires=900", 900.0),
        ("https://h/k?X-Goog-Date=20260101T000000Z&X-Goog-Expires=3600&X-Goog-Signature=00", 3600.0),
        ("https://h/k?q-sign-time=100;160&q-key-time=100;130", 30.0),
        ("https://h/k?q-sign-time=200;100", 0.0),
        ("https://h/k", None),
        ("https://h/k?q-sign-time=x;y&X-Amz-Expires=-5", None),
        ("https://h/k?q-sign-time=0;999999999999", None),
        ("http://[", None),
    ],
)
def test_the_lifetime_of_a_signed_url_stands_in_its_query(url: str, seconds: float | None) -> None:
    assert url_lifetime(url) == seconds


@given(url=urls(), start=st.integers(0, 10**11), seconds=st.integers(0, 10**8), moved=st.integers(-(10**6), 10**6))
def test_a_lifetime_depends_on_no_clock_but_the_signers(url: str, start: int, seconds: int, moved: int) -> None:
    signed = f"{url}?q-sign-time={start}%3B{start + seconds}"
    assert url_lifetime(signed, now=NOW + timedelta(seconds=moved)) == seconds


@given(now=moments(), seconds=st.integers(-(10**6), 10**8))
def test_what_the_api_says_beside_the_url_counts_from_its_own_clock(now: datetime, seconds: int) -> None:
    assert url_lifetime("https://h/k", expires=now + timedelta(seconds=seconds), now=now) == max(0, seconds)


def test_an_expiry_without_a_clock_tells_nothing() -> None:
    assert url_lifetime("https://h/k", expires=NOW) is None


@given(told=st.integers(0, 10**6), queried=st.integers(0, 10**6))
def test_of_several_lifetimes_the_shortest_counts(told: int, queried: int) -> None:
    url = f"https://h/k?X-Amz-Expires={queried}"
    assert url_lifetime(url, expires=NOW + timedelta(seconds=told), now=NOW) == min(told, queried)


@pytest.mark.fuzz
@given(
    url=texts()
    | st.builds("https://h/?{}={}".format, st.sampled_from(["q-sign-time", "q-key-time", "X-Amz-Expires"]), texts())
)
def test_any_text_has_a_lifetime_that_is_no_less_than_nothing_or_none(url: str) -> None:
    lifetime = url_lifetime(url)
    assert lifetime is None or lifetime >= 0


@given(lifetime=st.floats(0, 10**9))
def test_a_url_is_renewed_before_its_end_and_not_much_before(lifetime: float) -> None:
    age = renewal_age(lifetime)
    assert age is not None
    assert 0 <= age <= lifetime
    assert lifetime - age <= min(30, lifetime / 10) * 1.0001 + 1e-6


def test_a_url_that_tells_nothing_is_renewed_when_it_is_refused() -> None:
    assert renewal_age(None) is None
