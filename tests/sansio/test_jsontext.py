from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_bytes, json_documents, nested_json
from trio_norman._sansio.jsontext import LONGEST_NUMBER, decode_json, may_be_json
from trio_norman._sansio.limits import DEFAULT_LIMITS


@given(document=json_documents(), indent=st.none() | st.just(2), ascii_only=st.booleans())
def test_what_every_parser_reads_alike_is_read(document: Any, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    assert decode_json(body) == document


@pytest.mark.fuzz
@given(body=json_bytes())
def test_any_bytes_are_a_document_or_a_value_error_of_one_line(body: bytes) -> None:
    try:
        document = decode_json(body)
    except ValueError as error:
        shown = str(error)
        assert shown.isprintable()
        assert len(shown) <= 200
    else:
        assert document == json.loads(body)


@given(document=st.dictionaries(st.text("ab", max_size=3), st.booleans(), min_size=1) | st.lists(st.text(), min_size=1))
def test_a_document_cut_short_anywhere_is_refused(document: Any) -> None:
    body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    for cut in range(len(body)):
        with pytest.raises(ValueError, match=r"at character|not UTF-8"):
            decode_json(body[:cut])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "at character 0"),
        (b"<html></html>", "at character 0"),
        (b'{"a": 1} {}', "Extra data"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8 at byte 0"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b"NaN", "NaN is not"),
        (b"[Infinity]", "Infinity is not"),
        (b"-Infinity", "-Infinity is not"),
        (b"1e400", "out of range"),
        (b"-1e400", "out of range"),
        (b'{"a": 1, "a": 2}', "the same key twice"),
        (b'{"x": [{"a": 1, "\\u0061": 1}]}', "the same key twice"),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused_with_the_reason(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_json(body)


def test_nesting_is_allowed_up_to_the_limit_and_not_one_level_more() -> None:
    assert decode_json(nested_json(DEFAULT_LIMITS.answer_depth)) == json.loads(nested_json(DEFAULT_LIMITS.answer_depth))
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        decode_json(nested_json(DEFAULT_LIMITS.answer_depth + 1))
    with pytest.raises(ValueError, match="nested deeper"):
        decode_json(b"[" * 100_000)


@given(quoted=st.text('[{]}"\\a', max_size=300))
def test_brackets_inside_strings_are_no_nesting(quoted: str) -> None:
    assert decode_json(json.dumps([quoted + "[" * 100]).encode()) == [quoted + "[" * 100]


@given(tail=st.text('[{]}"\\,: ', max_size=80))
def test_no_string_hides_nesting_that_is_too_deep(tail: str) -> None:
    with pytest.raises(ValueError, match=r"nested deeper|at character"):
        decode_json(b'["\\"", ' + b"[" * DEFAULT_LIMITS.answer_depth + b'"]"' + tail.encode())


@pytest.mark.parametrize(
    ("prefix", "digit"), [("", "9"), ("-", "9"), ("0.", "1"), ("1e-", "0")], ids=["whole", "minus", "real", "power"]
)
def test_numbers_may_be_as_long_as_the_limit_and_not_one_character_more(prefix: str, digit: str) -> None:
    longest = prefix + digit * (LONGEST_NUMBER - len(prefix))
    number = decode_json(longest.encode())
    assert isinstance(number, int) or math.isfinite(number)
    with pytest.raises(ValueError, match="out of range"):
        decode_json((longest + digit).encode())
    with pytest.raises(ValueError, match="out of range"):
        decode_json((longest + digit * 5000).encode())


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        ("application/json", True),
        ("Application/JSON ; charset=utf-8", True),
        ("application/problem+json", True),
        ("", True),
        ("text/plain", True),
        ("text/html", False),
        ("text/json-seq", False),
        ("application/jsonp", False),
    ],
)
def test_a_content_type_may_contradict_json(kind: str, fits: bool) -> None:
    assert may_be_json(kind) == fits
