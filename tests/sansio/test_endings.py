from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import sizes, versions
from trio_norman._sansio.endings import End, Ended, read_end, wrong_size
from trio_norman._sansio.heads import UNKNOWN, Body, Version
from trio_norman.errors import ChecksumMismatchError, InterruptedTransferError, UnprovenError

URL = "https://store/object"
SHA = {"sha256": "ab" * 32}


def end(body: Body, at: int, known: Version, *, is_piece: bool = False, shows_it: bool = True) -> object:
    return read_end("w.zip", URL, Ended(body, at, is_piece, shows_it), known)


@given(start=sizes(), length=st.integers(1, 2**20), known=versions())
def test_a_span_never_tells_where_the_object_ends(start: int, length: int, known: Version) -> None:
    body = Body(start, start + length, UNKNOWN)
    assert end(body, start + length, known, is_piece=True) is End.SPAN
    assert isinstance(end(body, start + length - 1, known, is_piece=True), InterruptedTransferError)


@given(at=sizes(), known=versions())
def test_chunks_that_are_all_here_are_the_object_whatever_was_announced(at: int, known: Version) -> None:
    assert end(Body(0, None, UNKNOWN), at, known) is End.OBJECT


@given(length=st.integers(1, 2**40), missing=st.integers(1, 2**40), shows_it=st.booleans())
def test_a_body_that_is_shorter_than_its_length_was_cut(length: int, missing: int, shows_it: bool) -> None:
    at = max(0, length - missing)
    assert isinstance(end(Body(0, length, UNKNOWN), at, UNKNOWN, shows_it=shows_it), InterruptedTransferError)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Version(5), End.OBJECT),
        (Version(5, digests=SHA), End.OBJECT),
        (Version(6), InterruptedTransferError),
        (Version(6, digests=SHA), InterruptedTransferError),
        (Version(digests=SHA), End.OBJECT),
        (UNKNOWN, UnprovenError),
    ],
)
def test_a_closed_connection_is_an_end_only_of_what_is_known_otherwise(known: Version, expected: object) -> None:
    found = end(Body(0, None, UNKNOWN), 5, known, shows_it=False)
    assert expected in (found, type(found))


def test_an_empty_object_is_whole_when_its_size_was_announced() -> None:
    assert end(Body(0, None, UNKNOWN), 0, Version(0), shows_it=False) is End.OBJECT


@given(size=sizes(), other=sizes(), goes_on=st.booleans())
def test_only_the_known_size_is_right(size: int, other: int, goes_on: bool) -> None:
    wrong = wrong_size("w.zip", Version(size), other, goes_on=goes_on)
    assert (wrong is None) == (size == other and not goes_on)
    if wrong is not None:
        assert (type(wrong), wrong.algorithm, wrong.announced) == (ChecksumMismatchError, "size", str(size))
        assert wrong.computed != wrong.announced


@given(size=sizes())
def test_a_digest_proves_what_a_body_goes_on_after(size: int) -> None:
    assert wrong_size("w.zip", Version(size, digests=SHA), size, goes_on=True) is None
    assert wrong_size("w.zip", UNKNOWN, size, goes_on=False) is None
