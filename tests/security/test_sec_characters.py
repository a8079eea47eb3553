"""No control character of a peer's or a user's gets into a header, a request line, a journal, a log or a terminal."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from tests.cli.commandline import Shell, names
from tests.destinations import QUICK, results_of
from tests.launch.launch_opening import ask, async_endpoint, sync_endpoint
from tests.security.test_sec_terminal import HOSTILE
from tests.strategies import is_harmless, texts
from trio_norman import ConnectionSettings, LaunchClient, Norman, Secret, ServiceClient, Source, download_many
from trio_norman._sansio.heads import Version
from trio_norman._sansio.journal import Header, Owner, decode, encode_header, encode_version
from trio_norman._wire._fetching import open_fetcher
from trio_norman.emulator import LoggedRequest, open_emulator
from trio_norman.errors import TrioNormanError

INJECTIONS = [
    "\r\nX-Injected: 1",
    "\nX-Injected: 1",
    "\rX-Injected: 1",
    "\0",
    "a\r\n\r\nGET /x HTTP/1.1",
    "\x1b[2J",
    "\x85",
    "\u2028",
]


def is_clean(request: LoggedRequest) -> bool:
    names = [name.lower() for name, _ in request.header_list]
    whole = f"{request.path}?{request.query}{request.header_list!r}"
    return "x-injected" not in names and not [c for c in whole if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0]


@pytest.mark.parametrize("bad", INJECTIONS, ids=ascii)
async def test_SEC_09_no_argument_of_a_call_reaches_the_wire_unescaped(
    bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused before anything is sent, or sent as data; nothing is logged, for some paths hold secret ids."""
    caplog.set_level(logging.DEBUG, logger="httpx")
    async with open_emulator(runs=1, checkpoints=1) as emulator:
        with pytest.raises(TrioNormanError):
            ServiceClient(f"key{bad}x", emulator.base_url)
        for url in (f"{emulator.base_url}{bad}/x", f"{emulator.base_url}/{bad}x"):
            with pytest.raises(TrioNormanError):
                ServiceClient("key", url)
        async with ServiceClient(emulator.api_key, emulator.base_url, retry=QUICK).create_rest_client() as rest:
            text = f"a{bad}b"
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: rest.get_training_run(text),
                lambda: rest.get_checkpoint_archive_url(text, "c"),
                lambda: rest.get_archive_url(text),
                lambda: rest.list_checkpoints(text),
                lambda: rest.get_checkpoint_info(text),
                lambda: rest.get_session(text),
                lambda: rest.get_sampler(text),
                lambda: rest.delete_checkpoint(text, text),
            ]
            for call in calls:
                with pytest.raises(TrioNormanError) as caught:
                    await call()
                assert is_harmless(str(caught.value))
        assert all(is_clean(request) for request in emulator.requests)
        assert emulator.requests
        assert not [record for record in caplog.records if record.name == "httpx"]


async def escaped_or_refused(calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Make calls: each may succeed, if what it was given went as data, or say in plain characters why it does not."""
    refusals: list[TrioNormanError] = []
    for call in calls:
        try:
            await call()
        except TrioNormanError as error:
            refusals.append(error)
    assert [refusal for refusal in refusals if not is_harmless(str(refusal))] == []


@pytest.mark.parametrize("bad", INJECTIONS, ids=ascii)
async def test_SEC_09_no_argument_of_an_endpoint_reaches_the_wire_unescaped(bad: str) -> None:
    """Names of endpoints, tasks, files and labels, callbacks and their credentials, headers, keys and base URLs."""
    text = f"a{bad}b"
    async with open_emulator(runs=0) as emulator:
        root = emulator.launch_base_url
        for key, url in ((f"key{bad}x", root), ("key", f"{root}{bad}/x"), ("key", f"{root}/{bad}x")):
            with pytest.raises(TrioNormanError):
                LaunchClient(key, url)
        for headers in ({"X-Given": text}, {text: "1"}):
            with pytest.raises(TrioNormanError):
                ask(extra_headers=headers)
        async with LaunchClient(emulator.api_key, root, retry=QUICK) as client:
            later, now = await async_endpoint(client), await sync_endpoint(client)
            auth = {"callback_auth_kind": "basic", "callback_auth_username": text, "callback_auth_password": text}
            await escaped_or_refused(
                [
                    lambda: client.get_model_endpoint(text),
                    lambda: client.list_model_endpoints(order_by=text),
                    lambda: client.model_download(text),
                    lambda: client.future(text, text).get(timeout=1),
                    lambda: client.files.upload(b"x", text),
                    lambda: client.files.get(text),
                    lambda: client.files.content(text),
                    lambda: client.files.delete(text),
                    lambda: client.batch_jobs.create(
                        text, labels={"team": text, "product": text, text: text}, inputs=[1]
                    ),
                    lambda: client.batch_jobs.get(text),
                    lambda: client.batch_jobs.cancel(text),
                    lambda: later.predict(ask(callback_url=f"https://h/{text}", **auth)),
                    lambda: now.predict(ask(text, destination_path=text)),
                ]
            )
        assert all(is_clean(request) for request in emulator.requests)
        assert len(emulator.requests) > 8


@pytest.mark.parametrize("bad", INJECTIONS, ids=ascii)
async def test_SEC_09_no_argument_of_norman_reaches_the_wire_unescaped(bad: str) -> None:
    """Account names, e-mail addresses and codes in paths, names of models, keys and base URLs."""
    text = f"a{bad}b"
    async with open_emulator(runs=0) as emulator:
        root, own = emulator.norman_base_url, emulator.norman_api_key
        for key, url in ((f"key{bad}x", root), ("key", f"{root}{bad}/x"), ("key", f"{root}/{bad}x")):
            with pytest.raises(TrioNormanError):
                Norman(key, url)
        async with Norman(own, root, retry=QUICK) as norman:
            signup, login, register = (getattr(norman.authenticate, name) for name in ("signup", "login", "register"))
            await escaped_or_refused(
                [
                    lambda: signup.signup_key(text, text),
                    lambda: signup.signup_email(text, f"{text}@example.org"),
                    lambda: login.login_key(text),
                    lambda: login.login_password_name(text, text),
                    lambda: login.login_email_otp(f"{text}@example.org"),
                    lambda: login.verify_email_otp(f"{text}@example.org", text),
                    lambda: register.register_email(text, text),
                    lambda: register.verify_email(f"{text}@example.org", text),
                    lambda: norman.invoke({"model_name": text, "inputs": [{"display_title": text, "data": text}]}),
                    lambda: norman.retrieve.get_model_asset(own, text, text, text).read(),
                ]
            )
        assert all(is_clean(request) for request in emulator.requests)
        assert len(emulator.requests) > 8


@pytest.mark.parametrize("bad", INJECTIONS, ids=ascii)
async def test_SEC_09_no_url_or_validator_reaches_the_wire_unescaped(bad: str, tmp_path: Path) -> None:
    """A URL of the user's own is refused or escaped, and so is a peer's ETag that would stand in If-Range."""
    async with open_emulator(runs=0) as emulator:
        url = emulator.blob_url(1000, signed=False)
        async with open_fetcher() as fetcher:
            for target, if_range in ((f"{url}{bad}", None), (f"{url}?x={bad}", None), (url, f'"{bad}"')):
                with suppress(TrioNormanError, UnicodeError):
                    async with fetcher.fetch(Secret(target), None, if_range) as answer:
                        assert answer.status == 200
        assert all(is_clean(request) for request in emulator.requests)
        sources = [Source.from_url(url, f"f{bad}"), Source.from_url(url, "g")]
        async with download_many(sources, tmp_path, retry=QUICK) as downloads:
            results = await results_of(downloads)
        assert sorted(result.error is None for result in results) == [False, True]
        assert all(is_harmless(str(result.error)) for result in results)
        assert names(tmp_path) == {"g"}


@given(texts(), texts(), texts())
def test_SEC_09_whatever_a_journal_notes_is_one_line_of_ascii(identity: str, host: str, validator: str) -> None:
    """And it is read back as it was."""
    try:
        head = encode_header(Header(identity, Owner(host, "boot", 1, 2)))
        line = encode_version(Version(5, validator, {}))
    except UnicodeEncodeError:
        pytest.fail("a lone surrogate must not break the journal")
    for each in (head, line):
        assert each.count(b"\n") == 1
        assert all(0x20 <= byte < 0x7F for byte in each[:-1])
        json.loads(each)
    journal = decode(head + line)
    assert journal is not None
    assert (journal.header.identity, journal.version.validator) == (identity, validator)


# ---- what is printed


async def test_SEC_13_piped_output_has_lines_and_nothing_else(tmp_path: Path) -> None:
    """No byte below 0x20 but the line end, none from 0x7f to 0x9f; JSON is plain ASCII."""
    async with open_emulator(runs=1, checkpoints=0, size_bytes=2000) as emulator:
        for name in HOSTILE:
            emulator.state.add_checkpoint(emulator.training_runs[0].training_run_id, name=name)
        shell = Shell(tmp_path, emulator)
        for ended in await shell.run_all(
            ["checkpoints", "list"],
            ["checkpoints", "list", "--json"],
            ["checkpoints", "download", "--all", "--to", "out"],
        ):
            assert ended.out
            for text in (ended.out, ended.err):
                assert not [c for c in text if (ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0]
        assert (await shell.run("checkpoints", "list", "--json")).out.isascii()


def test_SEC_09_settings_with_control_characters_are_refused() -> None:
    """The remaining texts that a user gives."""
    for bad in INJECTIONS:
        with pytest.raises(TrioNormanError):
            ConnectionSettings(allow_hosts=[f"a{bad}b"])
