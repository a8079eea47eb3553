from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import http_dates, iso_times, moments, texts
from trio_norman._sansio.times import Timestamp, http_date, retry_after_seconds

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def date_like() -> st.SearchStrategy[str]:
    """Texts that have much of a date."""
    words = """Mon Tue, Sunday, Jan Dec 06-Nov-94 1 6 31 99 1994 0 -5 08:49:37 8:49 08.49.37 :: 1:2:3:4 GMT EST
        +0000 -0000 +9999 -9999 +99999999999 AM , - ( ) 99999999999999999999 ١٢ ² 0001-01-01T00:00:00+01:00
        2026-03-11T06:56:11Z"""
    word = st.sampled_from(words.split())
    return st.builds(str.join, st.sampled_from([" ", "", ",", "-"]), st.lists(word, max_size=8))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Tue, 23 Dec 2025 11:15:38 GMT", datetime(2025, 12, 23, 11, 15, 38, tzinfo=UTC)),
        ("2026-03-11T06:56:11.475000Z", datetime(2026, 3, 11, 6, 56, 11, 475000, tzinfo=UTC)),
        ("2026-03-11T10:00:00Z", datetime(2026, 3, 11, 10, tzinfo=UTC)),
        ("2026-03-11T10:00:00", datetime(2026, 3, 11, 10, tzinfo=UTC)),
        ("2026-03-11 10:00:00+08:00", datetime(2026, 3, 11, 2, tzinfo=UTC)),
        ("2026-03-11t10:00:00.5-0130", datetime(2026, 3, 11, 11, 30, 0, 500000, tzinfo=UTC)),
        ("2026-03-11T10:00:00.123456789Z", datetime(2026, 3, 11, 10, 0, 0, 123456, tzinfo=UTC)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun Nov  6 08:49:37 1994", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
    ],
)
def test_both_ways_to_write_a_moment_are_read(text: str, moment: datetime) -> None:
    stamp = Timestamp.parse(text)
    assert (stamp, stamp.raw, stamp.tzinfo) == (moment, text, UTC)


@given(written=iso_times())
def test_every_spelling_of_an_iso_time_means_the_same_moment(written: tuple[str, datetime]) -> None:
    text, moment = written
    stamp = Timestamp.parse(text)
    assert stamp == moment
    assert stamp.raw == text


@given(text=http_dates(), moment=moments())
def test_http_dates_are_read_to_the_second_and_in_utc(text: str, moment: datetime) -> None:
    assert Timestamp.parse(text).strftime("%a, %d %b %Y %H:%M:%S GMT") == text
    assert http_date(moment.strftime("%a, %d %b %Y %H:%M:%S +0200")) == moment - timedelta(hours=2)


@pytest.mark.fuzz
@given(text=texts() | date_like())
def test_any_text_is_a_moment_in_utc_or_a_value_error(text: str) -> None:
    try:
        stamp = Timestamp.parse(text)
    except ValueError as error:
        problem = str(error)
        assert problem.isprintable()
    else:
        assert stamp.tzinfo is UTC
        assert stamp.raw == text


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026", "2026-03-11", "2026-13-11T10:00:00Z", "2026-02-30T10:00:00Z", "2026-03-11T24:00:00Z",
        "2026-03-11T10:00:60Z", "2026-03-11T10:00:00+25:00", "2026-03-11T10:00Z", "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00", "Tue, 32 Dec 2025 11:15:38 GMT", "٢٠٢٦-03-11T10:00:00Z", "2026-03-11T10:00:00Z\n",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|date|must be|format|offset|range"):
        Timestamp.parse(text)


@pytest.mark.fuzz
@given(text=texts() | date_like())
def test_any_text_is_an_http_date_in_utc_or_none(text: str) -> None:
    moment = http_date(text)
    assert moment is None or moment.tzinfo is UTC


@given(written=iso_times(), protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_a_timestamp_survives_pickling_and_copying_with_its_text(written: tuple[str, datetime], protocol: int) -> None:
    stamp = Timestamp.parse(written[0])
    for twin in (pickle.loads(pickle.dumps(stamp, protocol)), copy.copy(stamp), copy.deepcopy(stamp)):
        assert (type(twin), twin, twin.raw) == (Timestamp, stamp, stamp.raw)


@given(written=iso_times(), seconds=st.integers(-(10**6), 10**6))
def test_what_is_reckoned_from_a_timestamp_can_be_pickled_too(written: tuple[str, datetime], seconds: int) -> None:
    later = Timestamp.parse(written[0]) + timedelta(seconds=seconds)
    assert pickle.loads(pickle.dumps(later)) == copy.deepcopy(later) == written[1] + timedelta(seconds=seconds)


# ---- Retry-After


@given(seconds=st.integers(0, 10**12 - 1), space=st.sampled_from(["", " ", "\t"]))
def test_whole_seconds_are_what_they_say(seconds: int, space: str) -> None:
    assert retry_after_seconds(f"{space}{seconds}{space}", now=NOW) == seconds


@given(now=moments(), seconds=st.integers(-1000, 1000))
def test_a_date_is_counted_from_the_peers_clock_and_one_that_has_passed_says_nothing(
    now: datetime, seconds: int
) -> None:
    text = (now + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_seconds(text, now=now) == (seconds if seconds > 0 else None)
    local = now.astimezone(timezone(timedelta(hours=8)))
    assert retry_after_seconds(text, now=local) == retry_after_seconds(text, now=now)


@pytest.mark.parametrize("text", [None, "", "-1", "+1", "1.5", "NaN", "inf", "1e999", "soon", "1, 2", "٣", "0x10"])
def test_a_wait_that_makes_no_sense_is_none(text: str | None) -> None:
    assert retry_after_seconds(text, now=NOW) is None


def test_ten_years_are_read_as_ten_years() -> None:
    assert retry_after_seconds("315360000", now=NOW) == 315360000


@pytest.mark.fuzz
@given(text=texts() | date_like())
def test_any_text_is_a_wait_of_no_less_than_nothing_or_none(text: str) -> None:
    seconds = retry_after_seconds(text, now=NOW)
    assert seconds is None or seconds >= 0


# ---- counts of seconds


@given(moment=moments(), is_in_milliseconds=st.booleans())
def test_a_count_of_seconds_or_milliseconds_is_the_moment(moment: datetime, is_in_milliseconds: bool) -> None:
    seconds = int(moment.timestamp())
    if is_in_milliseconds and abs(seconds) < 10**8:
        return  # so few milliseconds are taken for seconds
    stamp = Timestamp.from_unix(seconds * 1000 if is_in_milliseconds else seconds)
    assert stamp.timestamp() == seconds
    assert Timestamp.parse(stamp.raw) == stamp


@pytest.mark.parametrize("number", [1e20, -1e20, float("inf"), float("nan"), -1e14])
def test_a_count_that_is_no_moment_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="outside the years"):
        Timestamp.from_unix(number)
