"""Accounts, what opens them, and tokens."""

import base64
import json
import re
from typing import Any

import pytest

from tests.emulator.conftest import NormanServed
from tests.emulator.norman_plain import Plain


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


async def signed_up(plain: Plain, name: str = "alice") -> dict[str, Any]:
    return dict(await plain.call("PUT", "authenticate/signup/key", {"device_id": None, "name": name}))


async def test_signing_up_gives_an_account_and_a_key_that_opens_it(norman: NormanServed) -> None:
    plain = norman.plain
    signed = await signed_up(plain)
    assert signed["account"]["name"] == "alice"
    assert re.fullmatch(r"\d{38}", signed["account"]["id"])
    assert len(signed["api_key"]) == 112
    login = await plain.log_in(signed["api_key"])
    assert login["account"] == signed["account"]
    assert claims_of(login["access_token"])["sub"] == signed["account"]["id"]


async def test_later_identifiers_are_greater(norman: NormanServed) -> None:
    first = await signed_up(norman.plain, "a")
    norman.emulator.clock.jump(0.001)
    assert int((await signed_up(norman.plain, "b"))["account"]["id"]) > int(first["account"]["id"])


@pytest.mark.parametrize("name", ["ada", "", "  "])
async def test_a_name_that_is_taken_or_empty_is_refused(norman: NormanServed, name: str) -> None:
    answer = await norman.plain.ask("PUT", "authenticate/signup/key", {"device_id": None, "name": name})
    assert answer.status_code == 400
    error = answer.json()
    assert error["error_type"] == "validation"
    assert error["status_code"] == 400
    assert set(error) == {"timestamp", "status_code", "error_type", "message", "cause", "suggestions"}


async def test_a_token_is_a_signed_jwt_that_ends_when_it_says(norman: NormanServed) -> None:
    plain, clock = norman.plain, norman.emulator.clock
    login = await plain.log_in(norman.emulator.norman_api_key)
    claims = claims_of(login["access_token"])
    assert claims["exp"] == pytest.approx(clock.now() + 3600, abs=1)
    clock.jump(3500)
    assert (await plain.ask("POST", "persist/models/get")).status_code == 200
    clock.jump(200)
    late = await plain.ask("POST", "persist/models/get")
    assert (late.status_code, late.json()["error_type"]) == (401, "authentication")
    await plain.log_in(norman.emulator.norman_api_key)
    assert (await plain.ask("POST", "persist/models/get")).status_code == 200


@pytest.mark.parametrize("spoil", ["none", "scheme", "signature", "claims", "identity", "words"])
async def test_nothing_but_an_access_token_opens_a_call(norman: NormanServed, spoil: str) -> None:
    login = await norman.plain.log_in(norman.emulator.norman_api_key)
    token = login["access_token"]
    head, payload, signature = token.split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims_of(token) | {"exp": 1e12}).encode()).decode().rstrip("=")
    headers = {
        "none": None,
        "scheme": f"Basic {token}",
        "signature": f"Bearer {head}.{payload}.{signature[::-1]}",
        "claims": f"Bearer {head}.{forged}.{signature}",
        "identity": f"Bearer {login['id_token']}",
        "words": "Bearer x",
    }
    del norman.plain.http.headers["Authorization"]
    header = headers[spoil]
    answer = await norman.plain.http.post("persist/models/get", headers={"authorization": header} if header else {})
    assert (answer.status_code, answer.json()["error_type"]) == (401, "authentication")


async def test_tokens_can_be_revoked_and_counted(norman: NormanServed) -> None:
    tokens = norman.emulator.norman.tokens
    issued = tokens.issued
    tokens.revoke_all()
    assert (await norman.plain.ask("POST", "persist/models/get")).status_code == 401
    await norman.plain.log_in(norman.emulator.norman_api_key)
    assert tokens.issued == issued + 1
    assert (await norman.plain.ask("POST", "persist/models/get")).status_code == 200


async def test_a_wrong_key_is_refused(norman: NormanServed) -> None:
    answer = await norman.plain.ask("POST", "authenticate/login/key", {"api_key": "nrm_sk_wrong"})
    assert (answer.status_code, answer.json()["error_type"]) == (401, "authentication")
    assert "nrm_sk_wrong" not in answer.text


async def test_an_anonymous_account_is_opened_by_its_identifier_alone(norman: NormanServed) -> None:
    plain = norman.plain
    made = await plain.call("PUT", "authenticate/signup/default")
    again = await plain.call("POST", f"authenticate/login/default/{made['account']['id']}")
    assert again["account"] == made["account"]
    assert (await plain.ask("POST", f"authenticate/login/default/{plain.account_id}")).status_code == 401


async def test_passwords_open_an_account_by_identifier_name_and_verified_address(norman: NormanServed) -> None:
    plain = norman.plain
    wish = {"device_id": None, "name": "bob", "password": "s3cret"}
    account = await plain.call("PUT", "authenticate/signup/password", wish)
    login = await plain.call(
        "POST", "authenticate/login/password/account_id", {"account_id": account["id"], "password": "s3cret"}
    )
    assert login["account"] == account
    by_name = {"name": "bob", "password": "s3cret"}
    assert (await plain.call("POST", "authenticate/login/password/name", by_name))["account"] == account
    wrong = await plain.ask("POST", "authenticate/login/password/name", by_name | {"password": "x"})
    assert wrong.status_code == 401

    plain.http.headers["Authorization"] = f"Bearer {login['access_token']}"
    factor = {"account_id": account["id"], "second_token": None, "email": "e+1@x.org"}
    by_email = {"email": "e+1@x.org", "password": "s3cret"}
    await plain.call("POST", "authenticate/register/email", factor)
    assert (await plain.ask("POST", "authenticate/login/password/email", by_email)).status_code == 401
    await plain.call("POST", "authenticate/register/email/resend/otp", factor)
    code = norman.emulator.norman.accounts.codes["e+1@x.org"]
    assert (await plain.ask("POST", "authenticate/register/email/verify/e+1@x.org/wrong")).status_code == 400
    await plain.call("POST", f"authenticate/register/email/verify/e+1@x.org/{code}")
    assert (await plain.call("POST", "authenticate/login/password/email", by_email))["account"] == account


async def test_a_code_opens_an_account_once(norman: NormanServed) -> None:
    plain = norman.plain
    account = await plain.call("PUT", "authenticate/signup/email", {"device_id": None, "name": "eve", "email": "e@x"})
    assert await plain.call("POST", "authenticate/login/email/otp", {"email": "e@x"}) is None
    code = {"email": "e@x", "code": norman.emulator.norman.accounts.codes["e@x"]}
    assert (await plain.call("POST", "authenticate/login/email/otp/verify", code))["account"] == account
    assert (await plain.ask("POST", "authenticate/login/email/otp/verify", code)).status_code == 401


async def test_factors_are_counted(norman: NormanServed) -> None:
    plain, wish = norman.plain, {"account_id": norman.plain.account_id, "second_token": None}
    key = await plain.call("POST", "authenticate/generate/key", wish)
    await plain.call("POST", "authenticate/register/password", wish | {"password": "p"})
    path = f"authenticate/register/get/authentication/factors/{plain.account_id}"
    assert await plain.call("GET", path) == {
        "account_id": plain.account_id,
        "api_key_count": 2,
        "password_count": 1,
        "verified_email_count": 0,
    }
    assert (await plain.log_in(key))["account"]["name"] == "ada"


async def test_another_account_is_out_of_reach(norman: NormanServed) -> None:
    other = (await signed_up(norman.plain))["account"]["id"]
    path = f"authenticate/register/get/authentication/factors/{other}"
    answer = await norman.plain.ask("GET", path)
    assert (answer.status_code, answer.json()["error_type"]) == (403, "authorization")
    assert list(await norman.plain.call("POST", "authenticate/accounts/get")) == [norman.plain.account_id]


async def test_accounts_are_made_replaced_and_changed(norman: NormanServed) -> None:
    plain = norman.plain
    made = await plain.call("POST", "authenticate/accounts", [{"name": "x"}, {"name": "y"}])
    assert [account["name"] for account in made] == ["x", "y"]
    mine = (await plain.call("POST", "authenticate/accounts/get"))[plain.account_id]
    assert await plain.call("PUT", "authenticate/accounts", [mine | {"name": "ada l."}]) == 1
    change = {"account": {"id": None, "creation_time": None, "name": "countess"}, "constraints": None}
    assert await plain.call("PATCH", "authenticate/accounts", change) == 1
    assert (await plain.call("POST", "authenticate/accounts/get"))[plain.account_id] == mine | {"name": "countess"}
    assert (await plain.ask("PUT", "authenticate/accounts", made)).status_code == 403


async def test_paths_are_exact_and_never_redirected(norman: NormanServed) -> None:
    for method, path in (("POST", "persist/models"), ("POST", "persist/invocations/"), ("GET", "persist/models/get")):
        answer = await norman.plain.ask(method, path)
        assert answer.status_code in (404, 405), path
        assert answer.json()["error_type"] in ("not_found", "server")


async def test_a_body_that_is_no_json_is_refused(norman: NormanServed) -> None:
    for body in (b"{", b"\xff", b"[" * 100_000):
        answer = await norman.plain.http.post("authenticate/login/key", content=body)
        assert (answer.status_code, answer.json()["error_type"]) == (400, "validation")
    wishes: list[Any] = [[], {"api_key": 5}, {}]
    for wish in wishes:
        answer = await norman.plain.ask("POST", "authenticate/login/key", wish)
        assert answer.status_code == 400


async def test_requests_are_logged_beside_those_of_the_other_services(norman: NormanServed) -> None:
    await norman.plain.call("POST", "persist/models/get")
    request = norman.emulator.requests.of("norman")[-1]
    assert (request.method, request.path, request.status) == ("POST", "/v0/persist/models/get", 200)
    assert request.headers["content-length"] == "0"
    assert request.headers["content-type"] == "application/json"
