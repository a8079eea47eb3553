"""What a request may be, checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import secrets
from trio_norman.errors import ConfigurationError
from trio_norman.launch import EndpointRequest

BASIC: dict[str, Any] = {"callback_auth_kind": "basic", "callback_auth_username": "u", "callback_auth_password": "p"}
MTLS: dict[str, Any] = {"callback_auth_kind": "mtls", "callback_auth_cert": "c", "callback_auth_key": "k"}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"url": "https://h/x", "args": {}},
        {"args": {1, 2}},
        {"args": b"bytes"},
        {"args": float("nan")},
        {"args": [float("inf")]},
        {"args": object()},
        {"args": 1, "request_id": ""},
        {"args": 1, "request_id": 5},
        {"args": 1, "timeout_seconds": 0},
        {"args": 1, "timeout_seconds": float("nan")},
        {"args": 1, "timeout_seconds": float("inf")},
        {"args": 1, "timeout_seconds": "5"},
        {"args": 1, "timeout_seconds": True},
        {"url": ""},
        {"url": 5},
        {"args": 1, "callback_url": 5},
        {"args": 1, "callback_url": ""},
        {"args": 1, "destination_path": 5},
        {"args": 1, "return_pickled": "no"},
        {"args": 1, "return_pickled": None},
        {"args": 1, **BASIC, "callback_auth_username": 5},
        {"args": 1, **BASIC, "callback_auth_password": 5},
        {"args": 1, **MTLS, "callback_auth_key": b"k"},
        {"args": 1, "num_retries": -1},
        {"args": 1, "num_retries": 1.5},
        {"args": 1, "num_retries": True},
        {"args": 1, "callback_auth_kind": "digest"},
        {"args": 1, "callback_auth_kind": "basic"},
        {"args": 1, "callback_auth_username": "u"},
        {"args": 1, **BASIC, "callback_auth_password": ""},
        {"args": 1, **BASIC, "callback_auth_cert": "c"},
        {"args": 1, **MTLS, "callback_auth_username": "u"},
        {"args": 1, "extra_headers": {"Authorization": "Basic x"}},
        {"args": 1, "extra_headers": {"content-TYPE": "text/plain"}},
        {"args": 1, "extra_headers": {"X-A": "a\r\nX-B: b"}},
        {"args": 1, "extra_headers": {"X A": "a"}},
        {"args": 1, "extra_headers": {"X-A": "grüße"}},
    ],
)
def test_what_does_not_fit_is_a_value_error(parts: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        EndpointRequest(**parts)
    assert isinstance(refused.value, ValueError)
    assert refused.value.advice


def test_a_loop_is_no_json() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ConfigurationError, match="JSON"):
        EndpointRequest(args=loop)


def test_falsy_arguments_are_arguments() -> None:
    falsy: tuple[Any, ...] = ({}, [], 0, "", False)
    for args in falsy:
        assert EndpointRequest(args=args).payload(is_async=True) == {"args": args, "return_pickled": False}


def test_the_credentials_are_built_by_their_kind() -> None:
    basic = EndpointRequest(args=1, callback_url="https://h", **BASIC)
    assert basic.callback_auth == {"kind": "basic", "username": "u", "password": "p"}
    assert EndpointRequest(args=1, **MTLS).callback_auth == {"kind": "mtls", "cert": "c", "key": "k"}
    assert EndpointRequest(args=1).callback_auth is None
    assert basic.payload(is_async=True)["callback_auth"]["password"] == "p"


@pytest.mark.parametrize("part", [{"destination_path": "/x"}, {"timeout_seconds": 3}, {"num_retries": 0}])
def test_what_a_way_of_asking_ignores_is_refused_there(part: dict[str, Any]) -> None:
    request = EndpointRequest(args=1, **part)
    assert request.payload(is_async=False).items() >= part.items()
    with pytest.raises(ConfigurationError, match=next(iter(part))):
        request.payload(is_async=True)
    with pytest.raises(ConfigurationError, match="callback_url"):
        EndpointRequest(args=1, callback_url="https://h").payload(is_async=False)
    for auth in (BASIC, MTLS):  # the endpoint may have an address of its own
        assert "callback_auth" in EndpointRequest(args=1, **auth).payload(is_async=True)
        with pytest.raises(ConfigurationError, match="does not obey callback_auth_kind"):
            EndpointRequest(args=1, **auth).payload(is_async=False)


def test_request_ids_are_made_and_differ() -> None:
    made = {EndpointRequest(args=1).request_id for _ in range(100)}
    assert len(made) == 100
    assert EndpointRequest(args=1, request_id="mine").request_id == "mine"
    assert "request_id" not in EndpointRequest(args=1).payload(is_async=True)


@given(secrets(), st.sampled_from(["callback_auth_password", "callback_auth_key"]))
def test_secrets_are_not_shown(secret: str, name: str) -> None:
    parts = {**(BASIC if name.endswith("password") else MTLS), name: secret}
    assert secret not in repr(EndpointRequest(args=1, extra_headers={"X-Token": secret}, **parts))
