from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import digest_tables, safe_names, secrets, sizes, texts, urls
from trio_norman._sansio.manifest import Entry, read_entry
from trio_norman._sansio.ranges import LARGEST_SIZE
from trio_norman.errors import ConfigurationError

SHA256 = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"


@given(
    url=urls(),
    name=safe_names(),
    size=st.none() | sizes(),
    digests=digest_tables(),
    end=st.sampled_from(["", "\n", "\r\n"]),
    data=st.data(),
)
def test_what_a_line_says_is_read_whatever_the_order_of_its_fields(
    url: str, name: str, size: int | None, digests: dict[str, str], end: str, data: st.DataObject
) -> None:
    fields = [f"{algorithm}={value}" for algorithm, value in digests.items()]
    fields += [] if size is None else [f"size={size}"]
    line = "\t".join([url, name, *data.draw(st.permutations(fields))]) + end
    assert read_entry(line, number=1) == Entry(url, name, size, digests)


@pytest.mark.parametrize("line", ["", "\n", "\r\n", "   ", "\t\t", "# a comment", "#https://h/x\tx"])
def test_empty_lines_and_comments_are_no_entries(line: str) -> None:
    assert read_entry(line, number=1) is None


def test_spaces_around_fields_and_empty_fields_do_no_harm() -> None:
    line = f" https://h/x \t x.bin \t\t size=5 \tSHA-256={SHA256.upper()}\t\n"
    assert read_entry(line, number=1) == Entry("https://h/x", "x.bin", 5, {"sha256": SHA256})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ([], "line 7 has no name"),
        ([""], "line 7 has no name"),
        (["", "size=5"], "line 7 has no name"),
        (["x", "size=5", "size=5"], "line 7 gives size twice"),
        (["x", f"sha256={SHA256}", f"sha256={SHA256}"], "line 7 gives sha256 twice"),
        (["x", f"sha256={SHA256}", f"SHA-256={SHA256}"], "line 7 gives sha256 twice"),
        (["x", "sha256=abc"], "line 7: a sha256 has 64 hexadecimal digits"),
        (["x", "md6=abc"], "line 7: unknown digest algorithm"),
        (["x", "note"], "line 7: unknown digest algorithm"),
        (["x", "size="], "line 7: size is not a number of bytes"),
        (["x", "size=-1"], "line 7: size is not a number of bytes"),
        (["x", "size=1e3"], "line 7: size is not a number of bytes"),
        (["x", "size=٣"], "line 7: size is not a number of bytes"),
        (["x", f"size={LARGEST_SIZE + 1}"], "line 7: size is not a number of bytes"),
        (["x", "size=" + "9" * 5000], "line 7: size is not a number of bytes"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_with_its_number(fields: list[str], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_entry("\t".join(["https://h/x", *fields]), number=7)
    assert caught.value.problem.startswith(problem)


@given(secret=secrets(), fields=st.lists(texts(max_size=12) | st.just("size=x") | st.just("md5=x"), max_size=4))
def test_no_error_and_no_repr_shows_the_url(secret: str, fields: list[str]) -> None:
    line = "\t".join([f"https://h/x?signature={secret}", *fields])
    try:
        entry = read_entry(line, number=1)
    except ConfigurationError as error:
        shown = str(error)
        assert secret not in shown
        assert shown.isprintable()
    else:
        assert entry is not None
        assert entry.url.endswith(secret)
        assert secret not in repr(entry)


@pytest.mark.fuzz
@given(line=texts(max_size=80))
def test_any_line_is_an_entry_nothing_or_a_configuration_error(line: str) -> None:
    try:
        entry = read_entry(line, number=1)
    except ConfigurationError:
        return
    assert entry is None or entry.name
