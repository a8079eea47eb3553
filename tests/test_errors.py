from __future__ import annotations

import copy
import inspect
import pickle
import re
import traceback
from typing import Any, Literal, get_type_hints

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trio_norman.errors
from tests.strategies import is_harmless, secrets, texts, urls
from trio_norman._sansio.redaction import printable, public_url
from trio_norman.errors import (
    AuthenticationError,
    ChecksumMismatchError,
    ConfigurationError,
    LimitExceededError,
    MalformedResponseError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    ServiceError,
    TransferError,
    TransportError,
    TrioNormanError,
)

#: Every class of the module, in the order in which it is written.
KINDS: list[type[TrioNormanError]] = [
    value
    for value in vars(trio_norman.errors).values()
    if inspect.isclass(value) and issubclass(value, TrioNormanError) and value.__module__ == trio_norman.errors.__name__
]
#: Fields that hold words of this package or of the caller, never a peer's.
OWN_WORDS = {"problem", "advice", "method", "what", "unit", "algorithm", "dialect"}
#: What may succeed later without any change, and is not a failed transport.
RETRYABLE = {
    "RateLimitedError",
    "ServiceBrokenError",
    "NotReadyError",
    "SourceChangedError",
    "UrlExpiredError",
    "DestinationBusyError",
    "EndpointTimeoutError",
    "JobTimeoutError",
}
FINAL_TRANSPORT = {"TlsError", "RedirectError", "AddressError"}


def values(name: str, kind: Any) -> st.SearchStrategy[Any]:
    """Return what a peer, or we, may put into a field."""
    if name == "url":
        return urls() | texts()
    if name in OWN_WORDS:
        return st.sampled_from(["GET", "DELETE", "sha256", "the body", "bytes"])
    by_type: dict[Any, st.SearchStrategy[Any]] = {
        str: texts(max_size=300),
        str | None: st.none() | texts(max_size=300),
        int: st.integers(0, 10**6),
        int | None: st.none() | st.integers(0, 999),
        float: st.floats(0, 10**6),
        float | None: st.none() | st.floats(0, 10**6),
        Literal["no", "once", "yes"]: st.sampled_from(["no", "once", "yes"]),
        tuple[str, ...]: st.lists(texts(max_size=600), max_size=3),
    }
    return by_type[kind]


def errors_of(kind: type[TrioNormanError]) -> st.SearchStrategy[TrioNormanError]:
    """Errors of one class, with anything in their fields."""
    hints = get_type_hints(kind)
    return st.builds(
        kind, **{field.name: values(field.name, hints[field.name]) for field in attrs.fields(kind) if field.init}
    )


def errors() -> st.SearchStrategy[TrioNormanError]:
    """Errors of every class."""
    return st.sampled_from(KINDS).flatmap(errors_of)


def drawn_tree() -> dict[str, tuple[str, set[str]]]:
    """Return what the module's docstring draws: each class, the class above it, and what else it is."""
    _, drawing = (trio_norman.errors.__doc__ or "").split("::\n", 1)
    tree: dict[str, tuple[str, set[str]]] = {}
    above: list[tuple[int, str]] = [(-1, "Exception")]
    for line in drawing.split("\n\n    TrioNormanError", 1)[-1].split("\n\nNo field", 1)[0].splitlines():
        match = re.match(r"( *)(\w+)(?: \(also ([\w, ]+)\))?", line or "    TrioNormanError")
        assert match is not None
        indent, name, also = len(match[1]), match[2], match[3]
        while above[-1][0] >= indent:
            above.pop()
        tree[name] = above[-1][1], set(also.split(", ")) if also else set()
        above.append((indent, name))
    return tree


# ---- the tree


def test_the_tree_that_is_drawn_is_the_tree_that_is_there() -> None:
    real = {
        kind.__name__: (kind.__bases__[0].__name__, {base.__name__ for base in kind.__bases__[1:]}) for kind in KINDS
    }
    assert drawn_tree() == real
    assert list(drawn_tree()) == list(real)


def test_the_module_defines_nothing_public_but_errors() -> None:
    public = {
        name
        for name, value in vars(trio_norman.errors).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == trio_norman.errors.__name__
    }
    assert public == {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_says_what_it_means(kind: type[TrioNormanError]) -> None:
    text = vars(kind).get("__doc__")
    assert text
    assert text.split("\n")[0].endswith(".")
    assert kind.__name__.endswith("Error")


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_says_whether_trying_again_may_help(kind: type[TrioNormanError]) -> None:
    is_transport = issubclass(kind, TransportError) and kind.__name__ not in FINAL_TRANSPORT
    assert kind.retryable is (is_transport or kind.__name__ in RETRYABLE)


def test_headlines_tell_the_classes_apart() -> None:
    for base in (TransportError, MalformedResponseError, TransferError):
        headlines = [vars(kind)["headline"] for kind in KINDS if issubclass(kind, base) and "headline" in vars(kind)]
        assert len(set(headlines)) == len(headlines)


def test_a_bad_setting_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="no key: give one"):
        raise ConfigurationError("no key", "give one")


# ---- printing, pickling, comparing


@given(error=errors())
@settings(max_examples=100)
def test_every_error_prints_as_harmless_text_of_bounded_length(error: TrioNormanError) -> None:
    for shown in (str(error), repr(error), "".join(traceback.format_exception_only(error)).rstrip("\n")):
        assert is_harmless(shown)
        assert len(shown) <= 8000
    assert type(error).__name__ in repr(error)


@given(error=errors(), protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=100)
def test_every_error_survives_pickling_and_copying(error: TrioNormanError, protocol: int) -> None:
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert attrs.asdict(twin) == attrs.asdict(error)
        assert (str(twin), repr(twin), twin.request_id) == (str(error), repr(error), error.request_id)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if any(field.name == "url" for field in attrs.fields(kind))])
@given(data=st.data(), url=urls(), user=secrets(), password=secrets(), query=secrets(), fragment=secrets())
@settings(max_examples=10)
def test_no_error_shows_more_of_a_url_than_may_be_seen(
    kind: type[TrioNormanError], data: st.DataObject, url: str, user: str, password: str, query: str, fragment: str
) -> None:
    full = url.replace("://", f"://{user}:{password}@") + f"?q-signature={query}#{fragment}"
    error = data.draw(errors_of(kind))
    fields = {field.name: getattr(error, field.name) for field in attrs.fields(kind)}
    error = kind(**{**fields, "url": full})
    everything = f"{error} {error!r} {error.args} {attrs.asdict(error)} {pickle.dumps(error)!r}"
    assert url in str(error)
    assert not [secret for secret in (user, password, query, fragment) if secret in everything]


@given(error=errors())
def test_errors_compare_by_identity_and_can_stand_in_sets(error: TrioNormanError) -> None:
    twin = copy.copy(error)
    assert error == error
    assert error != twin
    assert len({error, twin, error}) == 2


@given(url=urls() | texts(), reason=texts(max_size=300))
def test_what_a_peer_said_is_escaped_on_the_way_in(url: str, reason: str) -> None:
    assert TransportError("GET", url, reason).reason == printable(reason)
    assert TransportError("GET", url).url == public_url(url)
    assert TransferError(reason, reason).name == printable(reason)
    assert TransferError("f", reason).reason == printable(reason, at_most=500)
    assert MalformedResponseError("GET", url, [reason]).problems == (printable(reason, at_most=500),)


# ---- what they say


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigurationError("no key"), "no key"),
        (ConfigurationError("no key", "give one"), "no key: give one"),
        (TransportError("GET", "https://h/x?s"), "the request failed: GET https://h/x"),
        (ProtocolError("GET", "https://h/x", "cut"), "the answer breaks the protocol: GET https://h/x: cut"),
        (
            TransportError("GET", "https://h/x", "reset", 3),
            "the request failed: GET https://h/x: reset (after 3 attempts)",
        ),
        (ServiceError("GET", "https://h/x", 418), "GET https://h/x was answered with status 418"),
        (
            NotFoundError("GET", "https://h/x", 404, "not_found", "no such run", "r-1", None, 2),
            "GET https://h/x was answered with status 404; not_found; no such run; check the id; it may be deleted or "
            "belong to another account; request id r-1; after 2 attempts",
        ),
        (
            MalformedResponseError("GET", "https://h/x", ["no int @ items[3].size", "missing @ total"]),
            "the answer has an unexpected shape: GET https://h/x: no int @ items[3].size; missing @ total",
        ),
        (
            LimitExceededError("GET", "https://h/x", "the body", 5),
            "the body of GET https://h/x exceeds the limit of 5 bytes",
        ),
        (TransferError("w.zip"), "w.zip: the transfer failed"),
        (TransferError("w.zip", "EIO"), "w.zip: the transfer failed: EIO"),
        (
            ChecksumMismatchError("w.zip", "", "md5", "00", "11"),
            "w.zip: md5 announced as 00, computed as 11",
        ),
        (
            ChecksumMismatchError("w.zip", "part 3", "size", "5", "7"),
            "w.zip: size announced as 5, computed as 7 (part 3)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_an_error_says_what_happened_where_and_what_to_do(error: TrioNormanError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "request_id"),
    [
        (TrioNormanError(), None),
        (TransportError("GET", "https://h/"), None),
        (AuthenticationError("GET", "https://h/", 401), None),
        (AuthenticationError("GET", "https://h/", 401, given_request_id="r-1"), "r-1"),
        (MalformedResponseError("GET", "https://h/", [], "r-2"), "r-2"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_the_services_name_for_a_request_is_at_hand_on_every_error(error: TrioNormanError, request_id: str) -> None:
    assert error.request_id == request_id


def test_a_rate_limit_carries_the_seconds_to_wait() -> None:
    assert RateLimitedError("GET", "https://h/", 429, retry_after=7.0).retry_after == 7
