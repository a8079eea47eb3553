from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import secrets
from trio_norman._sansio.callbacks import CallbackDoor, basic_auth
from trio_norman._sansio.multipart import file_part
from trio_norman._sansio.redaction import Secret

DOOR = CallbackDoor(Secret("/callbacks/unguessable"), basic_auth("user", "password"), 100)
PASS = b"Basic " + base64.b64encode(b"user:password")


@pytest.mark.parametrize(
    ("method", "target", "authorization", "length", "status"),
    [
        ("POST", b"/callbacks/unguessable", PASS, "100", None),
        ("POST", b"/callbacks/unguessable?again=1", PASS, "0", None),
        ("POST", b"/callbacks/unguessable", PASS, "101", 413),
        ("POST", b"/callbacks/unguessable", PASS, None, 411),
        ("POST", b"/callbacks/unguessable", b"", "1", 401),
        ("POST", b"/callbacks/unguessable", PASS + b"x", "1", 401),
        ("POST", b"/callbacks/unguessabl", PASS, "1", 404),
        ("GET", b"/", b"", None, 404),
        ("GET", b"/callbacks/unguessable", PASS, None, 405),
    ],
)
def test_only_whoever_knows_both_secrets_is_let_in(
    method: str, target: bytes, authorization: bytes, length: str | None, status: int | None
) -> None:
    assert DOOR.refusal(method, target, authorization, length, is_chunked=False) == status


def test_a_body_in_chunks_is_let_in_and_counted_later() -> None:
    assert DOOR.refusal("POST", b"/callbacks/unguessable", PASS, None, is_chunked=True) is None


@given(secrets())
def test_the_doors_secrets_are_not_shown(secret: str) -> None:
    door = CallbackDoor(Secret(f"/{secret}"), basic_auth("user", secret), 1)
    assert secret not in repr(door)
    assert base64.b64encode(f"user:{secret}".encode()).decode() not in repr(door)


@given(st.text(max_size=30))
def test_no_file_name_breaks_out_of_its_line(name: str) -> None:
    before, after = file_part(name, boundary="b0undary")
    lines = before.split(b"\r\n")
    assert len(lines) == 5
    assert lines[1].count(b'"') == 4
    assert lines[1].startswith(b'Content-Disposition: form-data; name="file"; filename="')
    assert not {b"\n", b"\r", b"\0"} & {bytes([each]) for each in lines[1]}
    assert after == b"\r\n--b0undary--\r\n"
