from __future__ import annotations

import pytest

from trio_norman._sansio.settings import checked_launch_key, launch_root, resolve_launch
from trio_norman.errors import AddressError, ConfigurationError


@pytest.mark.parametrize(
    ("endpoint", "use_path", "root"),
    [
        (None, False, "https://api.scale.com/v1/launch"),
        (None, True, "https://api.scale.com/v1/launch"),
        ("http://127.0.0.1:5", False, "http://127.0.0.1:5"),
        ("http://127.0.0.1:5/", True, "http://127.0.0.1:5/v1/launch"),
        ("https://h/base/?q=1#f", False, "https://h/base"),
    ],
)
def test_the_root_follows_from_the_three_inputs(endpoint: str | None, use_path: bool, root: str) -> None:
    assert launch_root(endpoint, use_path=use_path, allow_http=False) == root


def test_plain_http_to_another_machine_is_refused() -> None:
    with pytest.raises(AddressError):
        launch_root("http://example.org", use_path=False, allow_http=False)
    assert launch_root("http://example.org", use_path=False, allow_http=True) == "http://example.org"


@pytest.mark.parametrize(
    ("key", "endpoint", "environment", "expected"),
    [
        ("k", None, {}, ("k", None)),
        ("k", "https://a", {"TRIO_NORMAN_LAUNCH_BASE_URL": "https://b"}, ("k", "https://a")),
        ("k", None, {"TRIO_NORMAN_LAUNCH_BASE_URL": "https://b"}, ("k", "https://b")),
        ("k", None, {"TRIO_NORMAN_BASE_URL": "https://other"}, ("k", None)),
        (None, None, {"TRIO_NORMAN_LAUNCH_API_KEY": "l", "TRIO_NORMAN_API_KEY": "o"}, ("l", None)),
        (None, None, {"TRIO_NORMAN_API_KEY": "o", "TRIO_NORMAN_BASE_URL": "https://b"}, ("o", "https://b")),
        (None, "https://a", {"TRIO_NORMAN_API_KEY": "o", "TRIO_NORMAN_BASE_URL": "https://b"}, ("o", "https://a")),
    ],
)
def test_key_and_address_come_from_the_first_place_that_has_them(
    key: str | None, endpoint: str | None, environment: dict[str, str], expected: tuple[str, str | None]
) -> None:
    chosen, address = resolve_launch(api_key=key, endpoint=endpoint, environment=environment)
    assert (chosen.reveal(), address) == expected


def test_the_key_of_another_service_never_goes_to_the_hosted_one() -> None:
    with pytest.raises(ConfigurationError, match="no API key"):
        resolve_launch(api_key=None, endpoint=None, environment={"TRIO_NORMAN_API_KEY": "for-another-service"})


@pytest.mark.parametrize("key", [None, "", "with space", "with:colon", "line\nbreak"])
def test_what_cannot_be_sent_as_a_key_is_refused_without_showing_it(key: str | None) -> None:
    with pytest.raises(ConfigurationError) as refused:
        checked_launch_key(key)
    assert not key or key not in str(refused.value)
