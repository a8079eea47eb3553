"""What must not be shown, whatever happens: key, tokens, keys of pushes, links."""

from __future__ import annotations

import base64
import logging
import traceback
from typing import Any

import pytest
import trio

from tests.norman.norman_opening import echo, open_on_sockets
from trio_norman import Norman, Secret
from trio_norman.errors import ConfigurationError, TrioNormanError

LINK = "https://storage.example.org/in.png?signature=canary-of-a-link"


async def test_no_error_log_or_repr_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    async with open_on_sockets() as (emulator, norman):
        secrets = [emulator.norman_api_key]
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
        emulator.misbehave("/v0/", status=500, body=f'{{"message": "{emulator.norman_api_key} {LINK}"}}', times=40)
        shown += await told(norman, echo("x"))
        emulator.behave()
        secrets.append((await norman.authenticate.login.login_key(emulator.norman_api_key)).access_token.reveal())  # type: ignore[union-attr]
        secrets.append((await norman.get_access_token()).reveal())
        for push in emulator.norman.pushes:
            secrets += [base64.b64encode(each).decode() for each in (push.key, push.nonce, push.header)]
            secrets += [each.hex() for each in (push.key, push.nonce, push.header)]
        shown += [repr(norman), repr(norman._state), repr(vars(norman))]
    ours = [
        record.getMessage()
        for record in caplog.records
        if not record.name.startswith(("trio_norman.emulator", "hypercorn"))
    ]
    text = "\n".join([*shown, *ours])
    assert len(shown) > 7
    assert [secret for secret in [*secrets, "canary-of-a-link"] if secret in text] == []


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
