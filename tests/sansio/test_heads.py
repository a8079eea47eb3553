from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.strategies import byte_ranges, etags, moments, sizes, texts, versions, weak_etags
from trio_norman._sansio.heads import (
    Asked,
    Body,
    Refused,
    Unsatisfiable,
    Version,
    WholeInstead,
    read_head,
    size_contradiction,
)
from trio_norman._sansio.ranges import LARGEST_SIZE, ByteRange
from trio_norman.errors import ProtocolError, RangeNotHonouredError

URL = "https://store/object"
WHOLE = Asked("w.zip", URL)
TAG = ("etag", '"v1"')


def asked_for(span: ByteRange) -> Asked:
    return Asked("w.zip", URL, span)


def partial(span: ByteRange, total: int | str, **more: str) -> list[tuple[str, str]]:
    """Return the headers of a 206 that carries `span`."""
    headers = {"content-range": f"bytes {span.start}-{span.stop - 1}/{total}", "content-length": str(len(span))}
    return list((headers | {name.replace("_", "-"): value for name, value in more.items()}).items())


def why(answer: object, kind: type[Exception]) -> str:
    assert isinstance(answer, Refused)
    assert type(answer.error) is kind
    return str(answer.error)


# ---- whole objects


@given(size=sizes(), tag=etags())
def test_a_plain_answer_brings_the_whole_object(size: int, tag: str) -> None:
    headers = [("content-length", str(size)), ("etag", tag)]
    body = Body(0, size, Version(size, tag))
    assert read_head(WHOLE, 200, headers) == body
    assert read_head(asked_for(ByteRange(5, 9)), 200, headers) == WholeInstead(body)


@pytest.mark.parametrize(
    "headers",
    [[], [("transfer-encoding", "chunked")], [("transfer-encoding", "chunked"), ("content-length", "5")]],
)
def test_without_a_length_that_counts_only_the_framing_shows_the_end(headers: Sequence[tuple[str, str]]) -> None:
    assert read_head(WHOLE, 200, headers) == Body(0, None, Version())


@pytest.mark.parametrize(
    "length", ["-1", "+5", "1e30", "9" * 5000, "5, 6", "", " ", "0x10", "٣", "5;6", str(LARGEST_SIZE + 1)]
)
def test_a_length_that_makes_no_sense_is_refused(length: str) -> None:
    assert "Content-Length" in why(read_head(WHOLE, 200, [("content-length", length)]), ProtocolError)
    span = ByteRange(0, 5)
    headers = partial(span, 10, content_length=length)
    assert "contradict" in why(read_head(asked_for(span), 206, headers), RangeNotHonouredError)


@pytest.mark.parametrize("length", ["5", " 5 ", "5, 5", "5,5,5"])
def test_a_length_said_more_than_once_is_read_if_it_is_the_same(length: str) -> None:
    assert read_head(WHOLE, 200, [("content-length", length)]) == Body(0, 5, Version(5))


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 206, 226, 299, 100, 416])
def test_a_plain_request_takes_no_other_success_than_200(status: int) -> None:
    span = ByteRange(0, 10)
    assert f"status {status}" in why(read_head(WHOLE, status, partial(span, 10)), ProtocolError)


@pytest.mark.parametrize("status", [201, 204, 304])
def test_a_range_request_takes_no_other_success_than_200_and_206(status: int) -> None:
    assert f"status {status}" in why(read_head(asked_for(ByteRange(0, 5)), status, []), ProtocolError)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "GZIP", "gzip, gzip", "identity, gzip", "unheard-of"])
@pytest.mark.parametrize("status", [200, 206])
def test_an_encoded_body_is_never_taken_for_the_object(coding: str, status: int) -> None:
    span = ByteRange(0, 5)
    headers = partial(span, 10, content_encoding=coding)
    answer = read_head(asked_for(span), status, headers)
    if isinstance(answer, Refused):  # for good, or a range instead of which the whole object is asked for
        assert "encod" in str(answer.error)
        assert isinstance(answer.error, RangeNotHonouredError) == (status == 206)
        return
    body = answer.body if isinstance(answer, WholeInstead) else answer
    assert isinstance(body, Body)
    assert body.is_encoded  # only an announced digest can show that it is the object


@pytest.mark.parametrize("coding", ["identity", " Identity ", ""])
def test_the_identity_coding_is_no_coding(coding: str) -> None:
    assert isinstance(read_head(WHOLE, 200, [("content-encoding", coding)]), Body)


# ---- ranges


@pytest.mark.fuzz
@given(asked=byte_ranges(), came=byte_ranges(), total=st.integers(0, 250))
def test_a_part_is_taken_exactly_if_it_starts_as_asked_and_stops_no_later(
    asked: ByteRange, came: ByteRange, total: int
) -> None:
    assume(asked and came)
    answer = read_head(asked_for(asked), 206, [*partial(came, total), TAG])
    if came.start == asked.start and came.stop <= min(asked.stop, total):
        assert answer == Body(came.start, came.stop, Version(total, '"v1"'))
    else:
        why(answer, RangeNotHonouredError)


@given(span=byte_ranges(), off=st.integers(-300, 300))
def test_a_part_must_be_as_long_as_its_content_range_says(span: ByteRange, off: int) -> None:
    assume(span and off and len(span) + off >= 0)
    headers = partial(span, 500, content_length=str(len(span) + off))
    assert "contradict" in why(read_head(asked_for(span), 206, headers), RangeNotHonouredError)


def test_a_part_of_an_object_of_untold_length_is_taken() -> None:
    assert read_head(asked_for(ByteRange(5, 10)), 206, partial(ByteRange(5, 10), "*")) == Body(5, 10, Version())


@pytest.mark.parametrize("told", [None, "", "bytes x-y/z", "items 5-9/10", "bytes */10", "bytes 5-9", "bytes 9-5/10"])
def test_a_part_that_does_not_say_what_it_is_is_refused(told: str | None) -> None:
    headers = [] if told is None else [("content-range", told)]
    assert "which bytes" in why(read_head(asked_for(ByteRange(5, 10)), 206, headers), RangeNotHonouredError)


def test_a_multipart_answer_is_never_taken_for_content() -> None:
    span = ByteRange(5, 10)
    headers = partial(span, 10, content_type="Multipart/ByteRanges; boundary=x")
    assert "multipart" in why(read_head(asked_for(span), 206, headers), RangeNotHonouredError)


@pytest.mark.parametrize(
    ("headers", "total"),
    [
        ([("content-range", "bytes */10")], 10),
        ([("content-range", "bytes */0")], 0),
        ([("content-range", "bytes */*")], None),
        ([("content-range", "bytes 0-4/10")], None),
        ([("content-range", "nonsense")], None),
        ([], None),
    ],
)
def test_an_unsatisfiable_range_tells_the_length_if_it_can_be_read(
    headers: Sequence[tuple[str, str]], total: int | None
) -> None:
    assert read_head(asked_for(ByteRange(5, 10)), 416, headers) == Unsatisfiable(total)


def test_digests_of_the_message_are_not_taken_for_those_of_the_object() -> None:
    md5 = ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")
    span = ByteRange(0, 5)
    whole = read_head(WHOLE, 200, [md5])
    part = read_head(asked_for(span), 206, [*partial(span, 10), md5])
    assert isinstance(whole, Body)
    assert isinstance(part, Body)
    assert whole.version.digests == {"md5": "d41d8cd98f00b204e9800998ecf8427e"}
    assert part.version.digests == {}


# ---- validators


def validator_of(*headers: tuple[str, str]) -> str | None:
    body = read_head(WHOLE, 200, headers)
    assert isinstance(body, Body)
    return body.version.validator


@given(tag=etags(), weak=weak_etags(), moment=moments())
def test_only_a_strong_tag_is_a_validator_and_no_date_helps_a_weak_one(tag: str, weak: str, moment: datetime) -> None:
    dates = [("last-modified", format_datetime(moment, usegmt=True)), ("date", "Fri, 01 Jan 2300 00:00:00 GMT")]
    assert validator_of(("etag", tag), *dates) == tag
    assert validator_of(("etag", weak), *dates) is None


@pytest.mark.parametrize("tag", ["v1", '"v1', 'v1"', '"v"1"', '"v 1"', '"v\x001"', '"', "*", 'w/"v1"'])
def test_a_malformed_tag_is_no_validator(tag: str) -> None:
    assert validator_of(("etag", tag)) is None


@given(modified=moments(), seconds=st.integers(-1000, 1000))
def test_a_date_is_a_validator_exactly_if_the_answer_is_over_a_minute_younger(modified: datetime, seconds: int) -> None:
    text = format_datetime(modified, usegmt=True)
    date = format_datetime(modified + timedelta(seconds=seconds), usegmt=True)
    assert validator_of(("last-modified", text), ("date", date)) == (text if seconds > 60 else None)


def test_a_date_that_cannot_be_compared_is_no_validator() -> None:
    good = "Tue, 23 Dec 2025 11:15:38 GMT"
    assert validator_of(("last-modified", good)) is None
    assert validator_of(("last-modified", good), ("date", "yesterday")) is None
    assert validator_of(("last-modified", "yesterday"), ("date", good)) is None
    assert validator_of(("date", good)) is None


# ---- versions


@given(version=versions())
def test_a_version_does_not_differ_from_itself_nor_from_the_unknown(version: Version) -> None:
    assert version.differs_from(version) == ""
    assert version.differs_from(Version()) == ""
    assert Version().differs_from(version) == ""
    assert Version().joined(version) == version == version.joined(Version())


@given(one=versions(), other=versions())
def test_versions_differ_both_ways_or_not_at_all(one: Version, other: Version) -> None:
    assert bool(one.differs_from(other)) == bool(other.differs_from(one))


@given(one=versions(), other=versions())
def test_what_two_answers_say_together_contradicts_neither(one: Version, other: Version) -> None:
    assume(not one.differs_from(other))
    both = one.joined(other)
    assert not both.differs_from(one)
    assert not both.differs_from(other)
    assert both.size == (one.size if other.size is None else other.size)
    assert both.validator == (other.validator or one.validator)
    assert both.digests == {**one.digests, **other.digests}


MONDAY, TUESDAY = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("new", "old", "difference"),
    [
        (Version(5), Version(6), "the size was 6 and is 5"),
        (Version(0), Version(6), "the size was 6 and is 0"),
        (Version(5, '"b"'), Version(5, '"a"'), "the ETag changed"),
        (Version(5, '"a"', {"md5": "00"}), Version(5, '"a"', {"md5": "11"}), "the announced md5 changed"),
        (Version(5, '"a"', {"md5": "00"}), Version(5, None, {"sha1": "11"}), ""),
        (Version(5, TUESDAY), Version(5, MONDAY), "the Last-Modified changed"),
        (Version(5, "Monday, 01-Jan-24 00:00:00 GMT"), Version(5, MONDAY), ""),
        (Version(5, '"a"'), Version(5, MONDAY), ""),
    ],
)
def test_a_difference_is_named(new: Version, old: Version, difference: str) -> None:
    assert new.differs_from(old) == difference


@pytest.mark.parametrize(
    ("version", "answer"),
    [(Version(), False), (Version(5), False), (Version(5, '"a"'), True), (Version(None, None, {"md5": "00"}), True)],
)
def test_parts_are_combined_only_if_something_ties_them_together(version: Version, answer: bool) -> None:
    assert version.may_be_combined is answer


# ---- anything


@pytest.mark.fuzz
@given(
    span=st.none() | byte_ranges(),
    status=st.sampled_from([200, 206, 416, 204, 299]) | st.integers(100, 299),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                ["content-range", "content-length", "content-encoding", "transfer-encoding", "etag", "last-modified",
                 "date", "content-md5", "repr-digest", "content-type"]
            ),
            texts() | st.sampled_from(["bytes 0-9/10", "bytes */9", "5", "10", "identity", '"v1"']),
        ),
        max_size=6,
    ),
)  # fmt: skip
def test_no_head_whatsoever_brings_bytes_that_were_not_asked_for(
    span: ByteRange | None, status: int, headers: list[tuple[str, str]]
) -> None:
    assume(span is None or span)
    answer = read_head(Asked("w.zip", URL, span), status, headers)
    if isinstance(answer, Body) and span is not None:
        assert answer.stop is not None
        assert span.start == answer.start < answer.stop <= span.stop
    elif isinstance(answer, Body):
        assert answer.start == 0
    elif isinstance(answer, Refused):
        assert str(answer.error).isprintable()
    else:
        assert span is not None


@given(announced=st.none() | st.integers(0, 3), told=st.none() | st.integers(0, 3))
def test_a_told_size_is_refused_exactly_if_another_was_announced(announced: int | None, told: int | None) -> None:
    error = size_contradiction("w.zip", announced, told)
    if announced is None or told is None or announced == told:
        assert error is None
    else:
        assert str(error) == f"w.zip: size announced as {announced}, computed as {told}"
