from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.strategies import is_harmless, json_bytes, json_documents, moments, secrets, texts
from trio_norman._sansio.answers import error_of_status
from trio_norman.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServiceBrokenError,
    ServiceError,
)

URL = "https://pytrio.cn/api/api/runs/r1?key=1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def error_of(status: int = 500, body: bytes = b"", now: datetime = NOW, **headers: str) -> ServiceError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of_status("GET", URL, status, named, body, now=now)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (410, NotFoundError),
        (409, ConflictError),
        (412, ConflictError),
        (429, RateLimitedError),
        (500, ServiceBrokenError),
        (501, ServiceBrokenError),
        (503, ServiceBrokenError),
        (599, ServiceBrokenError),
        (400, ServiceError),
        (405, ServiceError),
        (422, ServiceError),
        (499, ServiceError),
        (301, ServiceError),
    ],
)
def test_every_status_means_its_kind_of_error(status: int, kind: type[ServiceError]) -> None:
    error = error_of(status)
    assert type(error) is kind
    assert (error.method, error.url, error.status) == ("GET", "https://pytrio.cn/api/api/runs/r1", status)


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ({"code": "model_not_found", "message": "no such model", "extra": 1}, "model_not_found", "no such model"),
        ({"message": "bad key"}, "", "bad key"),
        ({"detail": "Not Found"}, "", "Not Found"),
        ({"error": "boom"}, "", "boom"),
        ({"error": {"code": "c", "message": "m"}}, "c", "m"),
        ({"code": 5, "message": ["x"]}, "", ""),
        ({"message": "", "detail": "d"}, "", "d"),
        ({}, "", ""),
        ([1, 2], "", ""),
        ("text", "", ""),
        (None, "", ""),
    ],
)
def test_code_and_message_are_taken_from_where_services_put_them(document: Any, code: str, message: str) -> None:
    error = error_of(body=json.dumps(document).encode())
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b" upstream is down\n", "upstream is down"),
        (b"<html><body>Bad gateway</body></html>", ""),
        (b"  <?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", ""),
        (b"\x1b[31mred\xff", "\\x1b[31mred\N{REPLACEMENT CHARACTER}"),
        (b"", ""),
    ],
)
def test_a_body_that_is_no_json_is_shown_if_a_person_could_read_it(body: bytes, message: str) -> None:
    assert error_of(body=body).message == message


@pytest.mark.fuzz
@given(
    status=st.integers(300, 599), body=json_bytes() | json_documents().map(lambda d: json.dumps({"error": d}).encode())
)
def test_any_body_gives_an_error_of_one_bounded_line(status: int, body: bytes) -> None:
    error = error_of(status, body)
    assert is_harmless(str(error))
    assert len(error.code) <= 201
    assert len(error.message) <= 201


@given(secret=secrets(), word=texts())
def test_a_query_is_never_shown_and_headers_cannot_break_the_line(secret: str, word: str) -> None:
    assume(secret not in word)
    headers = {"x-request-id": word, "retry-after": word, "date": word}
    error = error_of_status("GET", f"https://u:{secret}@h/x?{secret}", 500, headers, b"", now=NOW)
    assert secret not in str(error) + repr(error)
    assert is_harmless(str(error))
    assert error.request_id is not None
    assert is_harmless(error.request_id)


def test_an_answer_without_request_id_has_none() -> None:
    assert error_of().request_id is None
    assert error_of(x_request_id="r-1").request_id == "r-1"


@given(peers=moments(), ours=moments(), seconds=st.integers(1, 10**6))
def test_a_retry_date_is_counted_from_the_answers_own_date(peers: datetime, ours: datetime, seconds: int) -> None:
    later = format_datetime(peers + timedelta(seconds=seconds), usegmt=True)
    assert error_of(429, now=ours, retry_after=later, date=format_datetime(peers, usegmt=True)).retry_after == seconds
    assert error_of(429, now=peers, retry_after=later).retry_after == seconds


def test_whole_seconds_of_retry_after_are_kept() -> None:
    assert error_of(503, retry_after="7").retry_after == 7
    assert error_of(503).retry_after is None


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_says_when_to_come_back_is_busy_and_not_broken(status: int) -> None:
    assert type(error_of(status, retry_after="7")) is RateLimitedError
    assert type(error_of(503, retry_after="soon")) is type(error_of(503)) is ServiceBrokenError
    assert type(error_of(500, retry_after="7")) is ServiceBrokenError
