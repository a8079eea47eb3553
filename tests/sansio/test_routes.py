from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import texts
from trio_norman._sansio.routes import LONGEST_ID, bounded, segment
from trio_norman.errors import ConfigurationError


@given(text=texts(), depth=st.integers(0, 2))
def test_any_id_is_one_segment_of_the_path_that_means_itself_or_is_refused(text: str, depth: int) -> None:
    try:
        encoded = segment(text, what="run_id")
    except ConfigurationError as error:
        shown = str(error)
        assert shown.startswith("run_id ")
        assert len(text) < 8 or text not in shown
        return
    parts = urlsplit("https://h/" + "a/" * depth + encoded)
    assert parts.path.split("/")[depth + 1 :] == [encoded]
    assert not parts.query + parts.fragment
    assert unquote(encoded) == text
    assert encoded.isascii()


@pytest.mark.parametrize(
    "text", ["", " ", "\t", ".", "..", "a/b", "../x", "/", "a\\b", "a\nb", "a\x00", "a\u202e", "\ud800", "a\xa0b"]
)
def test_what_cannot_be_an_id_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="run_id"):
        segment(text, what="run_id")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("ubrmy3jg21", "ubrmy3jg21"), ("a b", "a%20b"), ("a?b#c", "a%3Fb%23c"), ("%2e%2e", "%252e%252e"), ("é", "%C3%A9")],
)
def test_characters_that_mean_something_in_a_url_are_encoded(text: str, encoded: str) -> None:
    assert segment(text, what="run_id") == encoded


def test_an_id_may_be_as_long_as_the_limit_and_not_one_character_more() -> None:
    assert segment("x" * LONGEST_ID, what="run_id") == "x" * LONGEST_ID
    with pytest.raises(ConfigurationError, match="cannot be an id"):
        segment("x" * (LONGEST_ID + 1), what="run_id")


@pytest.mark.parametrize("thing", [None, 5, b"x", ["x"]])
def test_an_id_is_a_text(thing: Any) -> None:
    with pytest.raises(TypeError, match="run_id is a text, not"):
        segment(thing, what="run_id")


@given(number=st.integers(), at_least=st.integers(0, 1))
def test_a_paging_number_is_kept_exactly_if_it_is_large_enough(number: int, at_least: int) -> None:
    if number >= at_least:
        assert bounded(number, at_least=at_least, what="limit") == number
    else:
        with pytest.raises(ConfigurationError, match=f"it begins at {at_least}"):
            bounded(number, at_least=at_least, what="limit")


@pytest.mark.parametrize("thing", [True, 1.0, "1", None])
def test_a_paging_number_is_a_whole_number(thing: Any) -> None:
    with pytest.raises(TypeError, match="limit is a whole number, not"):
        bounded(thing, at_least=0, what="limit")
