from __future__ import annotations

import json
import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import is_harmless, secrets, texts, urls
from trio_norman._sansio.addresses import check_address, is_loopback
from trio_norman._sansio.redaction import Secret
from trio_norman._sansio.settings import (
    CLASSIC_BASE_URL,
    DEFAULT_BASE_URL,
    Settings,
    checked_key,
    exposure,
    profile_of,
    read_config,
    resolve,
    service_root,
)
from trio_norman.errors import AddressError, ConfigurationError

CLASSIC = """\
username = "alice"
user_id = "ubrmy3jg21"
api_key = "k-classic"
created_at = "Tue, 23 Dec 2025 11:15:38 GMT"
"""
OPENAPI = 'api_key = "k-v1"\nbase_url = "https://pytrio.com"\n'


def profiles() -> st.SearchStrategy[str]:
    """Names of profiles."""
    return st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8)


# ---- the configuration file


def test_both_known_forms_of_the_file_are_read() -> None:
    assert read_config(CLASSIC) == {
        "username": "alice",
        "user_id": "ubrmy3jg21",
        "api_key": "k-classic",
        "created_at": "Tue, 23 Dec 2025 11:15:38 GMT",
    }
    assert read_config(OPENAPI) == {"api_key": "k-v1", "base_url": "https://pytrio.com"}


def test_values_that_are_no_texts_are_left_out() -> None:
    assert read_config('api_key = 5\nbase_url = "https://h"\n[table]\nx = "y"\n') == {"base_url": "https://h"}


@pytest.mark.parametrize(
    "text",
    [
        'username = "al"ice"',
        'username = "C:\\x"',
        "api_key",
        "a = 1\na = 2",
        "a = " + "9" * 5000,
        "a = " + "[" * 100_000,
    ],
    ids=["quote", "backslash", "no value", "twice", "long number", "deep"],
)
def test_a_file_that_does_not_parse_counts_as_no_file(text: str) -> None:
    assert read_config(text) == {}


@given(text=texts(max_size=80) | st.text('ab="\\\n[]{}., 019:-TZ#', max_size=80))
def test_any_text_is_read_as_texts(text: str) -> None:
    assert all(isinstance(value, str) for value in read_config(text).values())


@given(cut=st.integers(0, len(CLASSIC)))
def test_a_file_cut_anywhere_gives_no_value_that_was_not_written(cut: int) -> None:
    assert read_config(CLASSIC[:cut]).items() <= read_config(CLASSIC).items()


@given(table=st.dictionaries(st.text("abc_", min_size=1, max_size=5), st.text("ab c'#=é")))
def test_what_was_written_properly_is_read_back(table: dict[str, str]) -> None:
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
    assert read_config(text) == table


# ---- precedence


@given(
    argument=st.none() | secrets(),
    own=st.none() | st.just("") | secrets(),
    official=st.none() | st.just("") | secrets(),
    filed=st.none() | st.just("") | secrets(),
)
def test_the_first_key_of_argument_own_variable_official_variable_and_file_counts(
    argument: str | None, own: str | None, official: str | None, filed: str | None
) -> None:
    given_keys = {"TRIO_NORMAN_API_KEY": own, "PYTRIO_API_KEY": official}
    environment = {name: value for name, value in given_keys.items() if value is not None}
    config = {} if filed is None else {"api_key": filed}
    expected = argument or own or official or filed
    if expected:
        settings = resolve(api_key=argument, base_url=None, environment=environment, config=config)
        assert settings == Settings(Secret(expected), DEFAULT_BASE_URL)
        assert expected not in repr(settings)
    else:
        with pytest.raises(ConfigurationError, match="there is no API key"):
            resolve(api_key=argument, base_url=None, environment=environment, config=config)


@given(
    argument=st.none() | urls(),
    own=st.none() | urls(),
    official=st.none() | urls(),
    filed=st.none() | urls(),
)
def test_the_first_address_of_argument_own_variable_official_variable_and_file_counts(
    argument: str | None, own: str | None, official: str | None, filed: str | None
) -> None:
    given_urls = {"TRIO_NORMAN_BASE_URL": own, "PYTRIO_BASE_URL": official}
    environment = {name: value for name, value in given_urls.items() if value is not None}
    config = {} if filed is None else {"base_url": filed}
    settings = resolve(api_key="k", base_url=argument, environment=environment, config=config)
    assert settings.base_url == service_root(argument or own or official or filed or DEFAULT_BASE_URL, allow_http=False)


def test_an_empty_key_argument_is_not_replaced_by_another_key() -> None:
    with pytest.raises(ConfigurationError, match="the API key is empty"):
        resolve(api_key="", base_url=None, environment={"PYTRIO_API_KEY": "k"}, config={})


# ---- keys


@given(key=secrets(), space=st.sampled_from(["", " ", "\n", "\r\n", "\t"]))
def test_spaces_and_line_ends_around_a_key_do_no_harm(key: str, space: str) -> None:
    assert checked_key(space + key + space) == checked_key(Secret(key)) == Secret(key)


@given(key=texts())
def test_a_key_can_stand_in_a_header_or_is_refused_without_being_shown(key: str) -> None:
    try:
        checked = checked_key(key).reveal()
    except ConfigurationError as error:
        shown = str(error)
        assert len(key) < 8 or key not in shown
    else:
        assert checked
        assert set(checked) <= {chr(code) for code in range(0x21, 0x7F)}


@pytest.mark.parametrize("key", ["a\nX: y", "a\rb", "a b", "a\x00b", "schlüssel", "a\u200b", "k\x7f"])
def test_a_key_that_could_break_a_header_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match="characters that no key has"):
        checked_key(key)


# ---- addresses


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://pytrio.cn", "https://pytrio.cn"),
        ("https://pytrio.cn/", "https://pytrio.cn"),
        (" https://pytrio.com/api/ ", "https://pytrio.com"),
        ("http://127.0.0.1:1/x/api/", "http://127.0.0.1:1/x"),
        ("https://h/api/api", "https://h/api"),
        ("https://h/x?y#z", "https://h/x"),
        ("HTTPS://H:8443//", "https://H:8443"),
        ("https://h/apis", "https://h/apis"),
    ],
)
def test_a_base_url_loses_query_slashes_and_one_api(url: str, root: str) -> None:
    assert service_root(url, allow_http=False) == root


@given(url=urls(schemes=["http", "https"]), tail=st.sampled_from(["", "/", "//", "/api", "/api/", "?a=b", "#c"]))
def test_a_root_has_the_same_origin_and_no_trailing_slash(url: str, tail: str) -> None:
    root = service_root(url + tail, allow_http=True)
    assert urlsplit(root)[:2] == urlsplit(url)[:2]
    assert not root.endswith("/")
    assert not {"?", "#"} & set(root)


@pytest.mark.parametrize(
    "url", ["", "h", "//h", "/x", "ftp://h/", "https://", "https://:1/", "https://[", "https://h:x/", "https://h\n/", "https://h/\x00"]
)  # fmt: skip
def test_what_is_no_absolute_http_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        service_root(url, allow_http=True)


@given(password=secrets())
def test_an_address_with_a_user_is_refused_and_the_password_not_shown(password: str) -> None:
    with pytest.raises(AddressError) as caught:
        service_root(f"https://user:{password}@h/", allow_http=True)
    assert password not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.254", "[::1]", "localhost", "LOCALHOST", "a.localhost"])
def test_plain_http_within_this_machine_needs_no_permission(host: str) -> None:
    assert service_root(f"http://{host}:8000", allow_http=False) == f"http://{host}:8000"


@pytest.mark.parametrize(
    "host",
    [
        "h",
        "0.0.0.0",
        "10.0.0.1",
        "[::]",
        "localhost.h",
        "notlocalhost",
        "169.254.169.254",
    ],
)
def test_plain_http_to_another_machine_must_be_allowed_by_name(host: str) -> None:
    with pytest.raises(AddressError, match="plain http"):
        service_root(f"http://{host}", allow_http=False)
    assert service_root(f"http://{host}", allow_http=True) == f"http://{host}"


@given(url=texts() | st.builds("http{}://{}".format, st.sampled_from(["", "s"]), texts()), allow_http=st.booleans())
def test_any_text_is_an_address_or_a_documented_error(url: str, allow_http: bool) -> None:
    try:
        check_address(url, allow_http=allow_http, advice="change it")
    except ConfigurationError as error:
        shown = str(error)
        assert shown.endswith(": change it")
    except AddressError as error:
        shown = str(error)
        assert is_harmless(shown)
    else:
        parts = urlsplit(url.strip())
        assert parts.scheme in {"http", "https"}
        assert parts.hostname
        assert "@" not in parts.netloc
        assert parts.scheme == "https" or allow_http or is_loopback(parts.hostname)


# ---- profiles, and where the service was


@given(
    chosen=st.none() | st.just("") | st.just("default") | profiles(),
    active=st.none() | st.just("(default)") | profiles(),
)
def test_the_profile_of_the_environment_comes_before_the_one_that_is_active(
    chosen: str | None, active: str | None
) -> None:
    environment = {} if chosen is None else {"PYTRIO_ENV": chosen}
    state = {} if active is None else {"active_env": active}
    expected = chosen or active or ""
    assert profile_of(environment, state) == ("" if expected in {"default", "(default)"} else expected)


@given(name=texts())
def test_a_name_of_a_profile_never_leads_elsewhere(name: str) -> None:
    try:
        found = profile_of({"PYTRIO_ENV": name}, {})
    except ConfigurationError as error:
        assert "PYTRIO_ENV" in error.advice  # noqa: PT017 (or it is a name)
    else:
        assert not set(found) - set("-_" + string.ascii_letters + string.digits)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a b", "a.b", "ä", "x" * 201, "\x00"])
def test_what_is_no_name_of_a_profile_is_refused(name: str) -> None:
    for environment, state in (({"PYTRIO_ENV": name}, {}), ({}, {"active_env": name})):
        with pytest.raises(ConfigurationError, match="cannot be the name of a profile"):
            profile_of(environment, state)


@pytest.mark.parametrize("filed", ["https://pytrio.cn", "https://pytrio.cn/", " https://pytrio.cn/api/ "])
def test_the_old_address_in_the_file_means_the_new_one_unless_the_classic_dialect_is_meant(filed: str) -> None:
    config = {"base_url": filed}
    later = resolve(api_key="k", base_url=None, environment={}, config=config)
    classic = resolve(api_key="k", base_url=None, environment={}, config=config, is_classic=True)
    told = resolve(api_key="k", base_url=filed, environment={}, config={})
    assert (later.base_url, classic.base_url, told.base_url) == (DEFAULT_BASE_URL, CLASSIC_BASE_URL, CLASSIC_BASE_URL)
    assert resolve(api_key="k", base_url=None, environment={}, config={}, is_classic=True).base_url == CLASSIC_BASE_URL


@pytest.mark.parametrize(
    ("mode", "is_folder", "said"),
    [
        (0o600, False, None),
        (0o100700, False, None),
        (0o644, False, "other users can read it; chmod 600 makes it private"),
        (0o640, False, "other users can read it; chmod 600 makes it private"),
        (0o602, False, "other users can write it; chmod 600 makes it private"),
        (0o100666, False, "other users can read and write it; chmod 600 makes it private"),
        (0o755, True, None),
        (0o40775, True, "other users can write it; chmod 700 makes it private"),
    ],
)
def test_SEC_08_what_other_users_may_do_is_told(mode: int, is_folder: bool, said: str | None) -> None:
    """None of the owner's own rights is warned of, every other one is that lets a key be read or replaced."""
    assert exposure("it", mode, is_folder=is_folder) == said
