"""Where key and address come from, on a machine with an environment and a home directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.rest import rest_opening
from tests.rest.rest_opening import QUICK, at
from trio_norman import Secret, ServiceClient
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.errors import AuthenticationError, ConfigurationError, ConnectError

CLASSIC = """\
username = "alice"
user_id = "ubrmy3jg21"
api_key = "{key}"
created_at = "Tue, 23 Dec 2025 11:15:38 GMT"
"""
OPENAPI = 'api_key = "{key}"\nbase_url = "{url}/api/"\n'
SOURCES = ("argument", "TRIO_NORMAN_API_KEY", "PYTRIO_API_KEY", "file")


def write_config(text: str) -> Path:
    """Log in, as the service's own client does."""
    path = Path.home() / ".pytrio" / "config.toml"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    return path


async def key_that_is_sent(emulator: Emulator, api_key: str | None = None, base_url: str | None = None) -> str:
    """Open a client of the emulator, which refuses the key, and give the key."""
    emulator.requests.clear()
    with pytest.raises(AuthenticationError):
        async with ServiceClient(api_key, base_url, retry=QUICK).create_rest_client():
            raise AssertionError("never reached")
    return emulator.requests[0].headers["x-api-key"]


@pytest.mark.parametrize("first", range(4))
async def test_the_key_comes_from_the_first_place_that_has_one(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    arguments = {"base_url": emulator.base_url}
    for source in SOURCES[first:]:
        if source == "argument":
            arguments["api_key"] = "key-of-argument"
        elif source == "file":
            write_config(CLASSIC.format(key="key-of-file"))
        else:
            monkeypatch.setenv(source, f"key-of-{source}")
    for source in SOURCES[1:first]:
        if source != "file":
            monkeypatch.setenv(source, "")  # set to nothing is as good as not set
    assert await key_that_is_sent(emulator, **arguments) == f"key-of-{SOURCES[first]}"


@pytest.mark.parametrize("first", range(4))
async def test_the_address_comes_from_the_first_place_that_has_one(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    nowhere = "http://127.0.0.1:1"
    urls = [nowhere] * 4
    urls[first] = emulator.base_url
    write_config(OPENAPI.format(key="key-of-file", url=urls[3]))
    if first <= 2:
        monkeypatch.setenv("PYTRIO_BASE_URL", urls[2])
    if first <= 1:
        monkeypatch.setenv("TRIO_NORMAN_BASE_URL", urls[1])
    assert await key_that_is_sent(emulator, **({"base_url": urls[0]} if first == 0 else {})) == "key-of-file"


async def test_the_wrong_order_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_NORMAN_BASE_URL", "http://127.0.0.1:1")
    with pytest.raises(ConnectError):
        async with ServiceClient("key", retry=QUICK).create_rest_client():
            raise AssertionError("never reached")


@pytest.mark.parametrize("form", [CLASSIC, OPENAPI], ids=["classic", "openapi"])
async def test_both_forms_of_the_file_are_read_and_never_written(emulator: Emulator, form: str) -> None:
    path = write_config(form.format(key=emulator.api_key, url=emulator.base_url))
    os.utime(path, (1_000_000_000, 1_000_000_000))
    before = (path.read_bytes(), path.stat().st_mode)
    base_url = None if form is OPENAPI else emulator.base_url
    async with ServiceClient(base_url=base_url).create_rest_client() as rest:
        assert rest.user_info.username == "ada"  # asked for, not read from the file
        await rest.list_training_runs()
    with pytest.raises(AuthenticationError):
        async with ServiceClient("other", emulator.base_url).create_rest_client():
            raise AssertionError("never reached")
    assert (path.read_bytes(), path.stat().st_mode) == before
    assert path.stat().st_mtime == 1_000_000_000
    assert [each.name for each in Path.home().rglob("*")] == [".pytrio", "config.toml"]


def write_profile(name: str, text: str) -> None:
    """Log in to another service, as the later client does."""
    path = Path.home() / ".pytrio" / "envs" / name / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


async def test_a_profile_that_was_chosen_counts_and_nothing_is_written(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(OPENAPI.format(key="key-of-nobody", url="http://127.0.0.1:1"))
    write_profile("staging", OPENAPI.format(key="key-of-staging", url=emulator.base_url))
    write_profile("lab-2", OPENAPI.format(key="key-of-lab", url=emulator.base_url))
    with pytest.raises(ConnectError):
        async with ServiceClient(retry=QUICK).create_rest_client():
            raise AssertionError("never reached")
    state = Path.home() / ".pytrio" / "env.toml"
    state.write_text('active_env = "staging"\n')
    assert await key_that_is_sent(emulator) == "key-of-staging"
    monkeypatch.setenv("PYTRIO_ENV", "lab-2")
    assert await key_that_is_sent(emulator) == "key-of-lab"
    monkeypatch.setenv("TRIO_NORMAN_API_KEY", "key-of-ours")
    assert await key_that_is_sent(emulator) == "key-of-ours"  # at the profile's address
    assert state.read_text() == 'active_env = "staging"\n'
    assert len([each for each in Path.home().rglob("*") if each.is_file()]) == 4


@pytest.mark.parametrize(
    ("name", "problem"), [("gone", "there is no profile gone: "), ("../gone", "cannot be the name of a profile")]
)
async def test_a_profile_that_is_not_there_is_not_replaced_by_another(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    write_config(OPENAPI.format(key="key-of-file", url=emulator.base_url))
    monkeypatch.setenv("PYTRIO_ENV", name)
    with pytest.raises(ConfigurationError, match=problem):
        async with ServiceClient().create_rest_client():
            raise AssertionError("never reached")
    assert await key_that_is_sent(emulator, "key", emulator.base_url) == "key"  # where no file is needed
    monkeypatch.setenv("PYTRIO_ENV", "default")
    assert await key_that_is_sent(emulator) == "key-of-file"


@pytest.mark.parametrize("text", ['api_key = "no end', 'user = "x"', "api_key = 5", "", "\xff\xfe", 'api_key = ""'])
async def test_a_file_that_holds_no_key_is_as_good_as_none(text: str) -> None:
    write_config("").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="there is no API key"):
        async with ServiceClient().create_rest_client():
            raise AssertionError("never reached")


async def test_a_file_that_cannot_be_read_is_as_good_as_none() -> None:
    path = write_config("")
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigurationError, match="there is no API key"):
        async with ServiceClient().create_rest_client():
            raise AssertionError("never reached")


def test_making_a_client_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> str:
        raise AssertionError("a file is read")

    monkeypatch.setattr(Path, "read_text", read)
    ServiceClient().create_rest_client()


async def test_settings_are_looked_up_when_a_client_is_opened_and_belong_to_it_alone(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = ServiceClient(base_url=emulator.base_url)
    monkeypatch.setenv("PYTRIO_API_KEY", emulator.api_key)
    async with open_emulator(runs=1, seed=7) as other, maker.create_rest_client() as rest:
        monkeypatch.setenv("PYTRIO_API_KEY", other.api_key)
        async with ServiceClient(base_url=other.base_url).create_rest_client() as second:
            assert rest.user_info.user_id == emulator.user_id
            assert second.user_info.user_id == other.user_id
            assert len((await rest.list_training_runs()).training_runs) == 2
            assert len((await second.list_training_runs()).training_runs) == 1


@pytest.mark.parametrize("ending", ["", "/", "/api", "/api/", "//"])
async def test_the_address_may_end_as_people_write_it(emulator: Emulator, ending: str) -> None:
    key = Secret(f" {emulator.api_key}\n")  # as it is read from a file
    async with ServiceClient(key, emulator.base_url + ending, api=rest_opening.SPOKEN).create_rest_client() as rest:
        await rest.list_training_runs()
    assert [request.path for request in emulator.requests] == [at("me"), at("runs")]
