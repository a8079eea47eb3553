from __future__ import annotations

import base64
import copy
import html
import json
import pickle
import pprint
import string
import traceback
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.faults.secrecy import Canaries
from tests.fuzzing import within_budget
from tests.strategies import NASTY, hosts, is_harmless, secrets, texts, urls
from trio_norman._sansio.redaction import (
    PIECE_LENGTH,
    REDACTED,
    SHOWN_LENGTH,
    Redaction,
    Secret,
    printable,
    public_url,
    without_secrets,
)

#: The oldest way to put texts together.
PERCENT = "%s %r"


@attrs.frozen
class Holder:
    """Something that has a secret among its fields."""

    name: str
    key: Secret


# ---- secrets


@given(text=secrets())
def test_a_secret_never_shows_where_it_is_printed(text: str) -> None:
    secret, holder = Secret(text), Holder("x", Secret(text))
    shown = [
        repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret:>30}", f"{secret:.5}",
        PERCENT % (secret, secret), "{} {!r}".format(*[secret, secret]),
        repr([secret]), repr({secret: secret}), repr(holder), str(attrs.asdict(holder)), pprint.pformat(holder),
        ascii(secret), repr(Exception(secret)), string.Template("$key").substitute(key=secret),
        "".join(traceback.format_exception_only(ValueError(secret))),
        repr(copy.copy(secret)), repr(copy.deepcopy(holder)),
    ]  # fmt: skip
    assert not [each for each in shown if text in each]
    assert str(secret) == repr(secret) == REDACTED


@pytest.mark.rows("SEC-06")
@given(text=secrets(), protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_a_secret_reaches_no_pickle_and_no_json(text: str, protocol: int) -> None:
    """TypeError."""
    for thing in (Secret(text), [Secret(text)], Holder("x", Secret(text)), Redaction([Secret(text)])):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(thing, protocol)
        assert text not in str(caught.value)
        with pytest.raises(TypeError) as caught:
            json.dumps(thing)
        assert text not in str(caught.value)


@given(text=secrets())
def test_a_secret_has_no_variables_to_look_at(text: str) -> None:
    with pytest.raises(TypeError):
        vars(Secret(text))
    assert not hasattr(Secret(text), "__dict__")


@given(text=secrets(), spec=st.sampled_from(["d", "x", "08", "%"]))
def test_a_format_that_does_not_fit_does_not_show_the_secret_either(text: str, spec: str) -> None:
    try:
        shown = format(Secret(text), spec)
    except ValueError as error:
        shown = str(error)
    assert text not in shown


@given(text=texts())
def test_a_secret_gives_itself_back_to_whoever_asks_for_it(text: str) -> None:
    secret = Secret(text)
    assert (
        secret.reveal()
        == Secret(secret).reveal()
        == copy.deepcopy(secret).reveal()
        == copy.copy(secret).reveal()
        == text
    )
    assert bool(secret) == bool(text)


@given(one=texts(max_size=2), other=texts(max_size=2))
def test_secrets_are_equal_as_their_texts_are_and_never_equal_a_text(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert hash(Secret(one)) == hash(Secret(Secret(one)))
    assert Secret(one) != one
    assert len({Secret(one), Secret(one)}) == 1


# ---- a peer's text


@given(text=texts(max_size=400) | st.text(NASTY, min_size=150, max_size=300), at_most=st.integers(1, 300))
def test_shown_text_is_one_bounded_line_without_escapes_that_a_terminal_obeys(text: str, at_most: int) -> None:
    shown = printable(text, at_most=at_most)
    assert len(shown) <= at_most + 1
    assert is_harmless(shown)
    assert shown.splitlines() in ([shown], [])
    shown.encode()


@given(text=texts(max_size=400), at_most=st.integers(1, 300))
def test_what_was_shown_once_shows_the_same_again(text: str, at_most: int) -> None:
    shown = printable(text, at_most=at_most)
    assert printable(shown, at_most=at_most) == shown


@given(text=st.text("abc é漢🙂[]<>&\\", max_size=SHOWN_LENGTH))
def test_harmless_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_text_is_shown_up_to_the_limit_and_cut_behind_it() -> None:
    assert printable("x" * SHOWN_LENGTH) == "x" * SHOWN_LENGTH
    assert printable("x" * (SHOWN_LENGTH + 1)) == "x" * SHOWN_LENGTH + "…"
    assert printable("\x07" * SHOWN_LENGTH) == "\\x07" * (SHOWN_LENGTH // 4) + "…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x9b\x7f", "\\x9b\\x7f"),
        ("\u202e\u2028\u2029", "\\u202e\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_escapes_say_which_character_it_was(text: str, shown: str) -> None:
    assert printable(text) == shown


# ---- URLs


@given(
    url=urls(schemes=["https", "http"]),
    user=secrets(),
    password=secrets(),
    query=secrets(),
    fragment=secrets(),
)
def test_a_shown_url_has_scheme_host_port_and_path_and_nothing_else(
    url: str, user: str, password: str, query: str, fragment: str
) -> None:
    scheme, _, rest = url.partition("://")
    full = f"{scheme}://{user}:{password}@{rest}?X-Signature={query}#{fragment}"
    assert public_url(full) == url
    assert public_url(url) == url


@given(url=texts() | st.builds("{}://{}{}".format, st.sampled_from(["https", "HTTP", "s3"]), texts(), texts()))
def test_a_shown_url_is_harmless_and_stays_as_it_is(url: str) -> None:
    shown = public_url(url)
    assert public_url(shown) == shown
    assert printable(shown, at_most=2000) == shown
    assert not {"?", "#"} & set(shown)
    assert "@" not in urlsplit(shown).netloc


@given(
    secret=secrets(),
    host=hosts(),
    form=st.sampled_from(
        ["{secret}", "//{secret}@{host}/", "https:{secret}", "https:///{secret}", "mailto:{secret}", "https://{host}:{secret}/",
         "https://[{secret}/", "https://@?{secret}", "?{secret}", "https://{host}]:{secret}@]/"]
    ),
)  # fmt: skip
def test_what_is_no_url_is_not_shown_at_all(form: str, secret: str, host: str) -> None:
    assert public_url(form.format(secret=secret, host=host)) == "<not a URL>"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("HTTPS://Host.Example:8443/A%20b;c?d#e", "https://host.example:8443/A%20b;c"),
        ("https://u:p@[2001:DB8::1]:1/x", "https://[2001:db8::1]:1/x"),
        ("https://h", "https://h"),
        ("https://h:/", "https://h/"),
        ("https://h/\x1b[31m", "https://h/\\x1b[31m"),
        ("https://h/" + "a" * 3000, "https://h/" + "a" * 1990 + "…"),
    ],
)
def test_known_urls_are_shown_like_this(url: str, shown: str) -> None:
    assert public_url(url) == shown


def test_other_objects_are_shown_by_their_text() -> None:
    class Url:
        def __str__(self) -> str:
            return "https://h/x?secret"

    thing: Any = Url()
    assert public_url(thing) == "https://h/x"
    assert public_url(None) == "<not a URL>"


@pytest.mark.parametrize("secret", ['correct"horse', "pässwort-geheim", "sla/sh-secret", "a&b<c>", "plain"])
@pytest.mark.parametrize(
    "written",
    [
        str,
        lambda text: json.dumps(text),
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: json.dumps(text).replace("/", "\\/"),
        lambda text: quote(text, safe=""),
        html.escape,
    ],
)
def test_a_secret_is_left_out_however_it_is_written(secret: str, written: Callable[[str], str]) -> None:
    told = without_secrets(f"bad: {written(secret)}, again: {secret}!", [None, Secret(""), Secret(secret)])
    assert told.replace('"', "") == "bad: <redacted>, again: <redacted>!"


#: How a service may spell what it was given.
SPELLINGS: Sequence[Callable[[str], str]] = (
    str,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(json.dumps(text))[3:-3],
    lambda text: repr(text)[1:-1],
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="").replace("%2F", "%2f"),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: html.escape(text),
    lambda text: text.encode().hex(),
    lambda text: text.encode().hex().upper(),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.b64encode(f"{text}:".encode()).decode(),
    lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
    lambda text: base64.b64encode(f"ada:{text}".encode()).decode(),
    lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    lambda text: base64.urlsafe_b64encode(f"{text}~~".encode()).decode(),
)
#: Letters that encodings have to escape, among others.
LETTERS = st.characters(codec="ascii", exclude_categories=["C"]) | st.sampled_from("/+=?&%\"'<>\\")


@given(
    secret=st.text(LETTERS, min_size=PIECE_LENGTH, max_size=60),
    spell=st.sampled_from(SPELLINGS),
    cut=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    around=st.tuples(st.text(max_size=20), st.text(max_size=20)),
)
def test_no_piece_of_a_secret_is_left_however_it_is_spelt_and_cut(
    secret: str, spell: Callable[[str], str], cut: tuple[int, int], around: tuple[str, str]
) -> None:
    before, after = around
    spelt = spell(secret)
    quoted = spelt[cut[0] : max(cut[0], len(spelt) - cut[1])]
    assume(not Canaries({"secret": secret}).found_in([("what stands around it", f"{before} {after}")]))
    shown = without_secrets(f"{before}{quoted}{after}", [Secret("another-secret"), Secret(secret)])
    assert not Canaries({"secret": secret}).found_in([("text", shown)])
    if len(quoted) > 3 * PIECE_LENGTH:
        assert quoted[PIECE_LENGTH:-PIECE_LENGTH] not in shown


def test_a_key_whose_end_is_starred_out_is_left_out_as_a_whole() -> None:
    key = "CANARY-of-the-key-9d0f6b1c"
    assert without_secrets(f"bad {key[:-4]}****, see help", [Secret(key)]) == "bad <redacted>****, see help"
    assert without_secrets(f"no {key[:11]}****", [Secret(key)]) == f"no {key[:11]}****"
    basic = base64.b64encode(f"{key}:".encode()).decode()
    assert without_secrets(f"Authorization: Basic {basic}!", [Secret(key)]) == "Authorization: Basic <redacted>!"
    assert without_secrets("Basic aHVudGVyMjI6", [Secret("hunter22")]) == "Basic <redacted>"


@pytest.mark.parametrize("text", ["words and words ", "http://", "key-of-mine/", "a/b"])
def test_a_long_text_of_a_peer_takes_time_in_proportion(text: str) -> None:
    long, secrets = (text * 65536)[:65536], [Secret("a/b+c" * 8), Secret("key-of-mine/" * 4), Secret("a/b")]
    told = within_budget(len(long), lambda: without_secrets(long, secrets))
    assert told is not None


def test_all_of_a_query_is_left_out_though_a_secret_stands_in_it() -> None:
    told = without_secrets("see https://h.example/x?key=our-secret&signature=abc.", [Secret("our-secret")])
    assert told == "see https://h.example/x?<redacted>"
    assert without_secrets(told, [Secret("our-secret")]) == told


def test_queries_of_urls_are_left_out() -> None:
    text = r'see https://a.example/x?Signature=abc and "http:\/\/b.example\/y?k=v" or https://c.example/z'
    assert (
        without_secrets(text)
        == r'see https://a.example/x?<redacted> and "http:\/\/b.example\/y?<redacted>" or https://c.example/z'
    )


@given(before=texts(max_size=300), secret=st.text("abcdefgh-_.", min_size=8, max_size=400), after=texts(max_size=300))
def test_a_secret_that_a_peer_quotes_is_left_out_even_where_its_text_was_cut(
    before: str, secret: str, after: str
) -> None:
    shown = without_secrets(printable(f"{before}{secret}{after}"), [Secret(secret[:1]), Secret(""), Secret(secret)])
    kept = shown.replace(REDACTED, "")
    assert secret not in kept
    assert not kept.removesuffix("…").endswith(secret[:4]) or secret[:4] in f"{before}{after}"


def test_what_holds_no_secret_stays_as_it_is() -> None:
    assert without_secrets("a text that was cut: tok…", [Secret("token"), Secret("")]) == "a text that was cut: tok…"
    assert without_secrets("toke…", [Secret("token")]) == f"{REDACTED}…"
    assert without_secrets("bad key-of-mine", [Secret("k"), Secret("key-of-mine")]) == f"bad {REDACTED}"
