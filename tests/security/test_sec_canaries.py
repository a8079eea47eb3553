"""Secrets in every field, failures of every kind: nothing that anybody can read holds a piece of one."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest
import trio

from tests.cli.commandline import Shell
from tests.destinations import IMPATIENT, QUICK, results_of, sources_of
from tests.security.canaries import all_that_shows, assert_it_would_be_found, found_in, signatures_of
from trio_norman import ConnectionSettings, DownloadResult, Event, RestClient, RetryPolicy, ServiceClient, download_many
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.emulator._certificates import make_certificate
from trio_norman.errors import TlsError, TrioNormanError

KEY = "/".join(["CANARY", "of+the", "key=9d0f6b1c"])  # put together, as tracebacks show lines of source

#: Faults of the storage, one of each kind, and what a download of such an object ends in.
FAULTS: Sequence[dict[str, object]] = (
    {},
    {"status": 403},
    {"status": 401},
    {"status": 404, "sbody": "no such object"},
    {"status": 429, "ra": 1000},
    {"status": 500, "times": 1},
    {"status": 302},
    {"status": 204},
    {"redirect": 9},
    {"redirect": 1, "rto": "other"},
    {"redirect": 1, "rto": "lan"},
    {"redirect": 1, "loc": "http://["},
    {"loop": True},
    {"reset": 100, "times": 1},
    {"reset": 0},
    {"trunc": 200},
    {"shortcl": 100},
    {"overcl": 7},
    {"corrupt": 20},
    {"norange": True},
    {"gzip": True},
    {"badchunk": 50},
    {"cl": "nonsense"},
    {"dupcl": True},
    {"hdrsize": "100k"},
    {"hdrs": 300},
    {"interim": 20},
    {"raw": "\x00\xffgarbage"},
    {"nohead": True},
    {"stall": 50},
    {"close": True, "nodigest": True},
    {"sum": "bad"},
    {"expire": 0},
    {"fail200": True},
)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=1, checkpoints=len(FAULTS), size_bytes=5000, api_key=KEY, odd_ports=True) as opened:
        yield opened


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that anybody logs, at the lowest level."""
    caplog.set_level(logging.NOTSET + 1)
    for name in ("httpx", "httpcore", "trio", "h11", "trio_norman", "hypercorn", "asyncio"):
        caplog.set_level(logging.NOTSET + 1, logger=name)
    return caplog


@asynccontextmanager
async def opened(emulator: Emulator, api: Literal["auto", "classic", "v1"] = "auto") -> AsyncIterator[RestClient]:
    connection = ConnectionSettings(head_seconds=2)
    client = ServiceClient(KEY, emulator.base_url, api=api, retry=QUICK, connection=connection)
    async with client.create_rest_client() as rest:
        yield rest


def on_disk(directory: Path) -> str:
    files = [path for path in directory.rglob(".*") if path.is_file()]
    return "\n".join([f"{path.name} {path.read_text('latin-1')}" for path in files])


def spelt_otherwise(secret: str) -> str:
    """Give a secret as services quote what they were sent: cut at both ends, encoded, in all ways at once."""
    sent = f"{secret}:".encode()
    escaped = json.dumps(secret).replace("/", "\\/")
    spellings = [secret[2:-2], sent.hex(), quote(secret, safe=""), base64.b64encode(sent[:-1]).decode(), escaped]
    return " ".join([*spellings, *(base64.urlsafe_b64encode(b"?" * count + sent).decode() for count in range(3))])


def modes_in(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


def test_SEC_06_a_secret_would_be_found() -> None:
    """The search finds a secret that shows in a local variable, else it would prove nothing."""
    assert_it_would_be_found(KEY)


async def test_SEC_06_no_failed_download_shows_a_secret(
    emulator: Emulator, tmp_path: Path, log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No text, log, traceback with variables, representation or file holds 12 characters of one."""
    for checkpoint, knobs in zip(emulator.checkpoints, FAULTS, strict=True):
        if knobs:
            emulator.inject(checkpoint.checkpoint_id, **knobs)
    events: list[Event] = []
    async with opened(emulator) as rest:
        batch = rest.download_checkpoints(
            rest.iter_user_checkpoints(), tmp_path, on_event=events.append, retry=QUICK, stall=IMPATIENT
        )
        async with batch as downloads:
            results = await results_of(downloads)
        shown = [repr(rest), repr(downloads), repr(downloads.progress), repr(rest.user_info)]
    failed = [result.error for result in results if result.error is not None]
    assert len(failed) > 20
    shown += [repr(results), repr(events), *(all_that_shows(error) for error in failed)]
    shown += [log.text, *capfd.readouterr(), on_disk(tmp_path)]
    secrets = {KEY} | signatures_of(emulator)
    assert len(secrets) > len(FAULTS)
    assert found_in("\n".join(shown), secrets) == []


async def test_SEC_07_partial_and_journal_are_private_and_hold_no_secret(emulator: Emulator, tmp_path: Path) -> None:
    """Both are 0600, and the journal has neither signature nor query. D1."""
    url, once = emulator.blob_url(3 << 20, stall=2 << 20), RetryPolicy(attempts=1)
    async with download_many(sources_of(url), tmp_path, stall=IMPATIENT, retry=once) as downloads:
        (result,) = await results_of(downloads)
    assert result.error is not None
    assert modes_in(tmp_path) == {".f0.part": 0o600, ".f0.part.json": 0o600}
    text = await trio.Path(tmp_path / ".f0.part.json").read_text()
    assert found_in(text, signatures_of(emulator)) == []
    assert "q-" not in text
    assert "?" not in text
    assert all(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize("api", ["classic", "v1"])
async def test_SEC_06_no_failed_call_shows_a_secret(
    api: Literal["classic", "v1"], emulator: Emulator, log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even where the service quotes the key, cut or encoded, or answers a signed URL in a wrong place."""
    signed = "https://store.example.org/a.zip?q-signature=" + "5f0c" * 10
    archive = {"url": signed, "expires_at": "2099-01-01T00:00:00Z", "source": "actor", "checkpoint_status": "LOCAL"}
    bodies = [
        f'{{"message": "{KEY} is no key", "success": false}}',
        json.dumps({"message": f"no: {KEY[:-4]}**** {spelt_otherwise(KEY)}", "success": False}),
        f"not JSON: {spelt_otherwise(KEY)}",
        f'{{"url": "{signed}", "expires": 5}}',
        f'{{"url": ["{signed}"]}}',
        json.dumps({**archive, "tls_cert_pem": f"{KEY} is no certificate"}),
        json.dumps({**archive, "url": signed.removeprefix("https://")}),
        f'{{"url": "{signed}"',
        f'"{signed}"',
        f"<html>{signed} {KEY}</html>",
        "",
        "\x00",
    ]
    shown: list[str] = []
    async with opened(emulator, api) as rest:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: rest.get_checkpoint_archive_url("r", "c"),
            lambda: rest.get_archive_url("c"),
            lambda: rest.list_training_runs(),
            lambda: rest.delete_checkpoint("r", "c"),
        ]
        for body in bodies:
            for status in (200, 302, 401):
                emulator.behave()
                named = {"x-request-id": f"{KEY[:-4]} {spelt_otherwise(KEY)}"}
                rule = emulator.misbehave("/api/.*", status=status, body=body, headers=named)
                for call in calls:
                    try:
                        shown.append(repr(await call()))
                    except TrioNormanError as error:
                        shown.append(all_that_shows(error))
                assert rule.hits >= len(calls)
    assert len(shown) == len(bodies) * 3 * len(calls)
    text = "\n".join([*shown, log.text, *capfd.readouterr()])
    assert found_in(text, [KEY, "5f0c" * 10]) == []


async def test_SEC_06_an_actor_that_is_not_trusted_shows_no_secret(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """TlsError, as it shows another certificate than the service told. D0."""
    async with open_emulator(runs=1, checkpoints=1, size_bytes=5000, api_key=KEY, actor=True) as emulator:
        assert emulator.actor is not None
        emulator.actor.told_pem = make_certificate("127.0.0.1").pem
        emulator.place(emulator.checkpoints[0].checkpoint_id, "LOCAL")
        async with opened(emulator, "v1") as rest:
            (checkpoint,) = (await rest.list_user_checkpoints()).checkpoints
            with pytest.raises(TlsError) as caught:
                await rest.download_checkpoint(checkpoint, tmp_path, retry=QUICK)
        assert emulator.requests.of("actor") == []
    text = "\n".join([all_that_shows(caught.value), log.text, on_disk(tmp_path)])
    assert found_in(text, [KEY]) == []
    assert "q-sign" not in text  # nobody was asked, so the log knows no signature to look for


async def test_SEC_06_no_failure_of_the_network_shows_a_secret(
    emulator: Emulator, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """Ports that refuse, stall, reset or talk nonsense, and URLs that cannot be asked. D0."""
    assert emulator.odd_ports is not None
    ports = emulator.odd_ports
    signature = "ab12" * 10
    roots = [ports.silent, ports.resetting, ports.garbage, ports.dripping, ports.stalling, ports.closed, "http://127.1"]
    roots += ["https://x.invalid", emulator.storage_url.replace("http:", "https:"), "http://example.org", "gopher://a"]
    urls = [f"{root}/f?q-signature={signature}" for root in [*roots, f"https://u:{signature}@h"]]
    settings = ConnectionSettings(connect_seconds=0.2, head_seconds=0.2)
    async with download_many(sources_of(*urls), tmp_path, connection=settings, retry=QUICK) as downloads:
        results: Sequence[DownloadResult] = await results_of(downloads)
    errors = [result.error for result in results if result.error is not None]
    assert len(errors) == len(urls)
    text = "\n".join([repr(results), *(all_that_shows(error) for error in errors), log.text])
    assert found_in(text, [signature]) == []


# ---- the command line


async def test_SEC_08_neither_command_line_nor_output_has_a_secret(tmp_path: Path) -> None:
    """The key comes from a file, and stands in no argument of the process."""
    async with open_emulator(runs=1, checkpoints=3, size_bytes=300_000, api_key=KEY) as emulator:
        emulator.inject(emulator.checkpoints[0].checkpoint_id, rate=100_000)
        emulator.inject(emulator.checkpoints[1].checkpoint_id, status=403)
        key_file = tmp_path / "key"
        key_file.write_text(f"{KEY}\n")
        key_file.chmod(0o600)
        shell = Shell(tmp_path, emulator)
        words = ["checkpoints", "download", "--all", "--to", "out", "--api-key-file", str(key_file), "--json"]
        environment = shell.environment(TRIO_NORMAN_API_KEY=None)
        async with shell.start(*words, env=environment) as process:
            with trio.fail_after(30):
                while not emulator.requests.of("storage"):  # noqa: ASYNC110 (the event is in another process)
                    await trio.sleep(0.01)
            running = await trio.Path(f"/proc/{process.pid}/cmdline").read_text()
            assert "checkpoints" in running
            assert process.stdout is not None
            assert process.stderr is not None
            out = b"".join([block async for block in process.stdout]) + b"".join(
                [block async for block in process.stderr]
            )
        assert b"403" in out
        text = running + out.decode() + on_disk(tmp_path / "out")
        assert found_in(text, {KEY} | signatures_of(emulator)) == []


async def test_SEC_08_a_key_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    """A warning on stderr; none for a file of mode 0600."""
    async with open_emulator(runs=1, checkpoints=0, api_key=KEY) as emulator:
        shell = Shell(tmp_path, emulator)
        (tmp_path / "open").write_text(KEY)
        (tmp_path / "open").chmod(0o644)
        (tmp_path / "private").write_text(KEY)
        (tmp_path / "private").chmod(0o600)
        wide, private = await shell.run_all(
            ["whoami", "--api-key-file", "open"], ["whoami", "--api-key-file", "private"]
        )
        assert (wide.code, private.code) == (0, 0)
        assert "other users can read the key file" in wide.err
        assert private.err == ""
        assert found_in(wide.out + wide.err + private.out, [KEY]) == []


async def test_SEC_08_a_configuration_that_others_can_read_or_write_is_warned_of(tmp_path: Path) -> None:
    """A warning on stderr for file and folder; none for 0600 in 0755, and none for a file without key and service."""
    async with open_emulator(runs=1, checkpoints=0, api_key=KEY) as emulator:
        content = f'api_key = "{KEY}"\nbase_url = "{emulator.base_url}"\n'
        users = [
            user_with_config(tmp_path / "wide", content, file=0o666, folder=0o777),
            user_with_config(tmp_path / "private", content, file=0o600, folder=0o755),
            user_with_config(tmp_path / "empty", "", file=0o666, folder=0o777),
        ]
        wide, private, empty = [Shell(home, emulator) for home in users]
        no_variables = {"TRIO_NORMAN_API_KEY": None, "TRIO_NORMAN_BASE_URL": None}
        ended = [await shell.run("whoami", env=no_variables) for shell in (wide, private)]
        ended.append(await empty.run("whoami"))
    assert [each.code for each in ended] == [0, 0, 0]
    file, folder = tmp_path / "wide/.pytrio/config.toml", tmp_path / "wide/.pytrio"
    assert ended[0].err.splitlines() == [
        f"warning: other users can read and write {file}; chmod 600 makes it private",
        f"warning: other users can write {folder}; chmod 700 makes it private",
    ]
    assert (ended[1].err, ended[2].err) == ("", "")


def user_with_config(home: Path, content: str, *, file: int, folder: int) -> Path:
    (home / ".pytrio").mkdir(parents=True)
    (home / ".pytrio" / "config.toml").write_text(content)
    (home / ".pytrio" / "config.toml").chmod(file)
    (home / ".pytrio").chmod(folder)
    return home
