from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import names, safe_names, texts
from trio_norman._sansio.names import LONGEST_NAME, NameSet, collision_key, partial_stem, safe_name

DESTINATION = Path("/srv/downloads")


@pytest.mark.rows("SEC-10")
@pytest.mark.fuzz
@given(text=names())
def test_any_text_is_refused_or_becomes_one_component_inside_the_destination(text: str) -> None:
    """ValueError, or one component that lies inside the destination."""
    try:
        name = safe_name(text)
    except ValueError as error:
        problem = str(error)
        assert problem.startswith("the name ")
        return
    assert (DESTINATION / name).parent == DESTINATION
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath("C:/downloads", name).parent == PureWindowsPath("C:/downloads")
    assert not PureWindowsPath(name).is_reserved()
    assert 1 <= len(name.encode()) <= LONGEST_NAME
    assert not {unicodedata.category(character)[0] for character in name} & {"C"}
    assert name[0] not in "-~ "
    assert name[-1] not in ". "
    assert safe_name(name) == name == unicodedata.normalize("NFC", text)


@given(name=safe_names())
def test_plain_names_are_kept_exactly(name: str) -> None:
    assert safe_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.rows("SEC-10")
@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a/b", "../x", "/x", "a\\b", "C:x", "x:stream", "a*", "a?", 'a"b', "a<b", "a>b", "a|b",
        "a\x00b", "a\nb", "a\x1bb", "a\x7fb", "a\x85b", "a\u200bb", "a\u202eb", "a\u2066b", "a\u2028b", "\ufeffa",
        "a\ud800", "-rf", "~", "~root", " a", "a ", "a.", "a...", "\u3000a", "a\xa0",
        "CON", "con", "con.txt", "Aux.tar.gz", "nul .x", "COM1", "lpt9.log", "com\u00b9", "CONIN$", "clock$",
        ".f.part", ".f.PART.json", ".f.part.json.take", ".f.0a1b2c3d.part",
    ],
)  # fmt: skip
def test_names_that_are_more_than_a_name_somewhere_are_refused(text: str) -> None:
    """ValueError for each of these, on every platform."""
    with pytest.raises(ValueError, match="the name"):
        safe_name(text)


@pytest.mark.parametrize(
    "text",
    [
        ".hidden",
        "f.part",
        ".part",
        ".f.parts",
        "a b",
        "a.b.c",
        "console",
        "com",
        "com10",
        "nul2",
        "x~",
        "x-y",
        "漢字",
        "ﬁ",
    ],
)
def test_names_that_only_look_odd_are_kept(text: str) -> None:
    assert safe_name(text) == text


@pytest.mark.rows("SEC-10")
@pytest.mark.parametrize("character", ["a", "é", "漢", "🙂"])
def test_a_name_may_have_255_bytes_and_not_one_more(character: str) -> None:
    """ValueError beyond 255 bytes of UTF-8."""
    width = len(character.encode())
    longest = character * (LONGEST_NAME // width) + "x" * (LONGEST_NAME % width)
    assert safe_name(longest) == longest
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        safe_name(longest + "x")


def test_the_length_is_that_of_the_normal_form() -> None:
    assert safe_name("e\u0301" * 127) == "é" * 127


@pytest.mark.rows("SEC-10")
@given(text=texts())
def test_names_that_differ_by_case_or_normal_form_collide(text: str) -> None:
    """They are one name, whatever the file system thinks."""
    key = collision_key(text)
    assert collision_key(key) == key
    assert collision_key(text.casefold()) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert collision_key(unicodedata.normalize(form, text)) == key


@pytest.mark.rows("SEC-10")
@pytest.mark.parametrize(
    ("one", "other"), [("A.bin", "a.BIN"), ("é", "e\u0301"), ("Straße", "STRASSE"), ("ﬁ", "fi"), ("Σ", "ς"), ("K", "k")]
)
def test_known_pairs_collide(one: str, other: str) -> None:
    """They are one name."""
    assert collision_key(one) == collision_key(other)


@given(one=st.text("abc019._", max_size=5), other=st.text("abc019._", max_size=5))
def test_plain_names_collide_only_with_themselves(one: str, other: str) -> None:
    assert (collision_key(one) == collision_key(other)) == (one == other)


@given(name=st.integers(1, LONGEST_NAME).flatmap(lambda size: st.text("aé漢🙂", min_size=size // 4, max_size=size)))
def test_the_hidden_stem_leaves_room_for_a_suffix_and_is_text(name: str) -> None:
    stem = partial_stem(name)
    assert stem.startswith(".")
    assert len(stem.encode()) <= LONGEST_NAME - 64
    assert stem == f".{name}" or name.encode().startswith(stem[1:].rpartition("~")[0].encode())


@given(start=st.text("aé漢🙂", min_size=64, max_size=64), one=st.text(max_size=9), other=st.text(max_size=9))
def test_long_names_that_differ_at_their_end_have_different_stems(start: str, one: str, other: str) -> None:
    whole, another = (start * 3 + end for end in (one, other))
    assert (partial_stem(whole) == partial_stem(another)) == (whole == another)


def test_a_name_is_shortened_only_if_it_must_be() -> None:
    longest = "x" * (LONGEST_NAME - 65)
    assert partial_stem(longest) == f".{longest}"
    assert partial_stem(longest + "x") != f".{longest}x"


# ---- the names of a batch


@pytest.mark.rows("SEC-10")
@given(chosen=st.lists(texts(max_size=3)))
def test_a_batch_takes_every_name_once_in_any_case_or_form(chosen: list[str]) -> None:
    """The second one of a batch is refused."""
    batch, keys = NameSet(), set()
    for name in chosen:
        assert batch.add(name) == (collision_key(name) not in keys)
        keys.add(collision_key(name))
        assert not batch.add(name)
        assert len(batch) == len(keys)


def test_a_batch_that_grows_forgets_no_name() -> None:
    batch = NameSet()
    assert all(batch.add(f"part-{number}") for number in range(5000))
    assert not any(batch.add(f"PART-{number}") for number in range(5000))
    assert len(batch) == 5000
    assert all(batch.add(f"rest-{number}") for number in range(5000))


@given(chosen=st.dictionaries(texts(max_size=3).map(collision_key), st.integers(0, 2**32 - 1)))
def test_each_name_keeps_its_mark(chosen: dict[str, int]) -> None:
    batch = NameSet()
    for name, mark in chosen.items():
        assert batch.mark_of(name) is None
        batch.add(name, mark)
        batch.add(name, 7)
    padding = [batch.add(f"something longer {number}", number) for number in range(900)]
    assert all(padding)
    assert {name: batch.mark_of(name) for name in chosen} == chosen
