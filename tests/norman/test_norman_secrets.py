"""What must not be shown, whatever happens: key, tokens, keys of pushes, links."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.norman.norman_opening import echo, model, open_in_memory, open_on_sockets
from tests.security.canaries import found_in
from trio_norman import ConnectionSettings, ModelConfig, Norman, RetryPolicy, Secret
from trio_norman._sansio.times import Timestamp
from trio_norman.errors import ConfigurationError, ServiceError, TrioNormanError
from trio_norman.norman._building import model_of
from trio_norman.norman._configs import read_config

LINK = "https://storage.example.org/in.png?signature=canary-of-a-link"


async def test_no_error_log_or_repr_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    async with open_on_sockets() as (emulator, norman):
        secrets, encoded = [emulator.norman_api_key], list[str]()
        faults: list[dict[str, Any]] = [
            {"reset": 10},
            {"refuse": True},
            {"stall": 1},
            {"pairing": {"port": 0}},
            {"pairing": {"nonce": "x"}},
        ]
        emulator.norman.push_port.rate = 1 << 30
        for fault in faults:
            emulator.norman.behave()
            emulator.norman.inject_push(**fault)
            shown += await told(norman, echo(bytes(1 << 21)))
        emulator.norman.behave()
        shown += await told(norman, echo(LINK))
        key = emulator.norman_api_key
        quoted = f"{key} {key[:-4]}**** {key.encode().hex()} {base64.b64encode(f'ada:{key}'.encode()).decode()} {LINK}"
        emulator.misbehave("/v0/", status=500, body=json.dumps({"message": quoted}), times=40)
        shown += await told(norman, echo("x"))
        emulator.behave()
        secrets.append((await norman.authenticate.login.login_key(emulator.norman_api_key)).access_token.reveal())  # type: ignore[union-attr]
        secrets.append((await norman.get_access_token()).reveal())
        for push in emulator.norman.pushes:
            for each in (push.key, push.nonce, push.header):
                secrets.append(each.hex())
                encoded.append(base64.b64encode(each).decode())
        shown += [repr(norman), repr(norman._state), repr(vars(norman))]
    ours = [
        record.getMessage()
        for record in caplog.records
        if not record.name.startswith(("trio_norman.emulator", "hypercorn"))
    ]
    assert len(shown) > 7
    assert any("<redacted> <redacted>**** <redacted>" in text for text in shown)
    text = "\n".join([*shown, *ours])
    assert found_in(text, [*secrets, LINK.partition("?")[2]]) == []
    assert [secret for secret in encoded if secret in text] == []


async def test_a_token_of_ones_own_that_the_service_quotes_is_not_shown(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    token = f"own-canary-{'x' * 300}"  # so long that errors cut it

    async def quote(request: httpx.Request) -> httpx.Response:
        said = {"message": f"bad {request.headers['authorization']}", "cause": token, "suggestions": [token]}
        return httpx.Response(403, json=said, headers={"x-request-id": token}, request=request)

    connection = ConnectionSettings(transport=httpx.MockTransport(quote))
    async with Norman("key", "http://127.0.0.1:1/v0", connection=connection) as norman:
        stream = norman.retrieve.get_model_asset(token, "1", "2", "3")
        for attempt in (stream.read, partial(stream.save, tmp_path / "asset"), stream.__aenter__):
            with pytest.raises(TrioNormanError) as caught:
                await attempt()
            assert "canary" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


async def test_a_code_that_stands_in_a_path_and_a_password_are_not_shown(autojump_clock: MockClock) -> None:
    async with open_in_memory(RetryPolicy(attempts=1)) as (emulator, norman):
        code = "999111"
        faults: list[dict[str, Any]] = [{}, {"status": 500}, {"drop": True}, {"status": 302}]
        for fault in faults:
            if fault:
                emulator.misbehave("/v0/authenticate/register/email/verify", **fault)
            with pytest.raises(TrioNormanError, match=r"verify/a%40x\.org/<redacted>") as caught:
                await norman.authenticate.register.verify_email("a@x.org", code)
            assert code not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
            emulator.behave()
        quoting = json.dumps({"message": "no: pässword-canary", "cause": "pässword-canary"})  # in plain ASCII
        emulator.misbehave("/v0/authenticate/register/password", status=400, body=quoting)
        with pytest.raises(ServiceError, match="no: <redacted>") as refused:
            await norman.authenticate.register.register_password("1", "pässword-canary")
        assert "canary" not in f"{refused.value}{refused.value!r}"


def test_headers_of_a_model_are_not_shown() -> None:
    config = model({"File": b"x"}, http_headers={"Authorization": "Bearer canary"})
    assert "canary" not in repr(read_config(ModelConfig, config))
    assert "canary" not in repr(model_of(read_config(ModelConfig, config), "1", Timestamp.at(datetime.now(UTC))))


async def told(norman: Norman, config: dict[str, object]) -> list[str]:
    """Return everything that can be read of a failure."""
    try:
        await norman.invoke(config)
    except TrioNormanError as error:
        return [str(error), repr(error), "".join(traceback.format_exception(error))]
    return []


def test_a_key_that_cannot_be_one_is_not_shown() -> None:
    for key in ("two words-canary", "line\nbreak-canary"):
        with pytest.raises(ConfigurationError) as caught:
            Norman(key, "http://127.0.0.1:1/v0")
        assert "canary" not in f"{caught.value}"
    with pytest.raises(ConfigurationError, match="set NORMAN_API_KEY"):
        Norman("", "http://127.0.0.1:1/v0")
    assert Norman(Secret("good"), "http://127.0.0.1:1/v0")


@pytest.mark.parametrize("url", ["http://example.org/v0", "ftp://example.org", "https://u:p@example.org", "nonsense"])
def test_addresses_that_are_not_contacted(url: str) -> None:
    with pytest.raises(TrioNormanError):
        Norman("key", url)


async def test_without_an_address_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NORMAN_BASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="no base URL"):
        async with Norman("key"):
            await trio.lowlevel.checkpoint()
    monkeypatch.setenv("NORMAN_BASE_URL", "http://127.0.0.1:1/v0/")
    monkeypatch.setenv("NORMAN_API_KEY", "from-the-environment")
    async with Norman() as norman:
        assert repr(norman) == "<Norman, open on http://127.0.0.1:1/v0>"
