"""Where the key goes and where it is never seen; the same for signatures."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trio

from tests.rest.rest_opening import QUICK, asked, at, page_text, partials, service
from trio_norman import ConnectionSettings, Event, RestClient, ServiceClient
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.errors import RedirectError, ServiceError, TrioNormanError, UndecodableResponseError


def everything_about(error: BaseException) -> str:
    """All that a program may print of an error: its text, its fields, what caused it."""
    shown = [str(error), repr(error), repr(error.args), *traceback.format_exception(error)]
    chain: BaseException | None = error
    while chain is not None:
        shown += [str(chain), repr(chain), repr(getattr(chain, "__dict__", ""))]
        chain = chain.__cause__ or chain.__context__
    if isinstance(error, TrioNormanError):
        shown.append(repr(pickle.loads(pickle.dumps(error))))
    return "\n".join(shown)


async def test_the_key_goes_to_the_service_in_its_header_and_nowhere_else(
    rest: RestClient, emulator: Emulator, tmp_path: Path
) -> None:
    async with rest.download_checkpoints(rest.iter_user_checkpoints(3), tmp_path) as results:
        assert len([each async for each in results]) == 8
    for request in asked(emulator):
        assert request.headers["x-api-key"] == emulator.api_key
        assert emulator.api_key not in f"{request.path}?{request.query}"
        assert {"cookie", "referer"}.isdisjoint(request.headers)
        told = f"Bearer {emulator.api_key}" if rest.dialect == "v1" else None
        assert request.headers.get("authorization") == told
    storage = emulator.requests.of("storage", "other")
    assert len(storage) == 8
    for request in storage:
        assert emulator.api_key not in repr(request.header_list)
        allowed = {"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "if-match", "connection"}
        assert set(request.headers) <= allowed


async def test_the_http_client_does_not_take_the_key_to_other_origins(rest: RestClient, emulator: Emulator) -> None:
    async with open_emulator(runs=0, api_key="another") as stranger:
        answer = await rest.http_client.get(f"{stranger.base_url}{at('me')}")
        assert answer.status_code == 401
        await rest.http_client.get(f"{stranger.base_url}/x", headers={"X-API-Key": emulator.api_key})
        assert all("x-api-key" not in request.headers for request in stranger.requests)
        assert len(stranger.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_SEC_01_a_redirect_does_not_take_the_key_to_another_origin(
    rest: RestClient, emulator: Emulator, status: int
) -> None:
    """The other origin gets no key, and neither does the service when the other one sends us back."""
    async with open_emulator(runs=0, api_key="another") as stranger:
        emulator.misbehave("/api/away", status=status, headers={"Location": f"{stranger.base_url}/api/back"})
        stranger.misbehave("/api/back", status=status, headers={"Location": f"{emulator.base_url}{at('me')}"})
        emulator.misbehave(at("runs") + "/r", status=status, headers={"Location": f"{stranger.base_url}/api/back"})
        with pytest.raises(RedirectError, match=f"status {status}"):
            await rest.get_training_run("r")
        assert len(stranger.requests) == 0
        answer = await rest.http_client.get("/api/away", follow_redirects=True)
        sent_back = asked(emulator)[-1]
        for request in (*stranger.requests, sent_back):  # it is a stranger who has sent us back
            assert {"x-api-key", "authorization"}.isdisjoint(request.headers)
        assert len(stranger.requests) == 1
        assert sent_back.path == at("me")
        assert answer.status_code == 401
        assert (await rest.http_client.get(at("me"))).json()["username"] == "ada"


async def test_the_key_does_not_show_in_any_representation(rest: RestClient, emulator: Emulator) -> None:
    answer = await rest.http_client.get(at("me"))
    archive = await rest.get_archive_url(emulator.weights[0].checkpoint_id)
    client = service(emulator)
    shown = [
        rest,
        client,
        vars(client),
        rest.user_info,
        rest.user_info.to_dict(),
        rest.http_client,
        vars(rest.http_client),
        rest.http_client.headers,
        answer,
        answer.request,
        answer.request.headers,
        archive,
        archive.to_dict(),
    ]
    text = "\n".join(f"{each!r} {each!s}" for each in shown)
    assert emulator.api_key not in text
    assert "q-signature" not in text
    assert text.count("<redacted>") >= 4
    for secret in (rest.user_info, archive):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret)


@pytest.mark.parametrize(
    "body",
    ['{"message": "KEY is no key"}', '{"error": {"code": "KEY", "message": "no KEY"}}', "no such key: KEY", "<KEY>"],
)
@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_a_service_that_quotes_the_key_is_not_repeated(
    rest: RestClient, emulator: Emulator, body: str, status: int
) -> None:
    emulator.misbehave(at("runs"), status=status, body=body.replace("KEY", emulator.api_key))
    with pytest.raises(TrioNormanError) as caught:
        await rest.get_training_run("r")
    assert emulator.api_key not in everything_about(caught.value)


@pytest.mark.parametrize("cut", [60, 150, 190, 250, 400])
async def test_a_signed_url_in_an_answer_that_cannot_be_read_is_not_shown(
    rest: RestClient, emulator: Emulator, cut: int
) -> None:
    url = f"https:\\/\\/store.example/models/{'m' * 80}.zip?q-ak=SIGNATURE&q-signature=SIGNATURE" + "SIGNATURE" * 40
    emulator.misbehave(f".*{at('archive')}", status=200, body=f'{{"url": "{url}"'[:cut])
    with pytest.raises(UndecodableResponseError, match="it begins with") as caught:
        await rest.get_checkpoint_archive_url("r", "c")
    assert "SIGNATURE" not in everything_about(caught.value)
    assert "q-ak" not in everything_about(caught.value)


async def test_errors_of_the_network_do_not_carry_the_key(emulator: Emulator) -> None:
    key = "-".join(["canary", "key"])  # the traceback shows this line
    async with open_emulator(runs=0) as gone:
        client = ServiceClient(key, gone.base_url, retry=QUICK)
    with pytest.raises(TrioNormanError) as caught:
        async with client.create_rest_client():
            raise AssertionError("never reached")
    assert key not in everything_about(caught.value)
    with pytest.raises(TrioNormanError) as caught:
        async with ServiceClient(key, emulator.base_url).create_rest_client():
            raise AssertionError("never reached")
    assert key not in everything_about(caught.value)


async def test_no_log_shows_the_key_or_a_signature(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "trio_norman"):
        caplog.set_level(logging.DEBUG, logger=name)
    emulator.inject(emulator.checkpoints[0].checkpoint_id, status=403)
    emulator.inject(emulator.checkpoints[1].checkpoint_id, reset=100, times=1)
    async with service(emulator).create_rest_client() as rest:
        events: list[Event] = []
        async with rest.download_checkpoints(
            rest.iter_user_checkpoints(3), tmp_path, on_event=events.append, retry=QUICK
        ) as results:
            found = [each async for each in results]
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: rest.get_training_run("nobody"),
            lambda: rest.get_checkpoint_info("nobody"),
            lambda: rest.delete_checkpoint("nobody", "nobody"),
        ]
        for call in calls:
            with suppress(ServiceError):
                await call()
    failed = [each for each in found if each.error is not None]
    assert len(failed) == 1
    disk = "\n".join([await trio.Path(each).read_text("latin-1") for each in partials(tmp_path)])
    shown = "\n".join([caplog.text, *capfd.readouterr(), repr(found), repr(events), str(failed[0].error), disk])
    signatures = {part for request in emulator.requests.of("storage") for part in request.query.split("&")}
    secrets = {emulator.api_key} | {part.partition("=")[2] for part in signatures if part.startswith("q-signature")}
    assert len(secrets) >= 9
    assert not {secret for secret in secrets if secret in shown}


async def test_a_transport_of_the_users_own_stays_open_and_gets_the_key_only_for_the_service(
    emulator: Emulator, tmp_path: Path
) -> None:
    class Counting(httpx.AsyncHTTPTransport):
        is_closed = False
        sent: list[tuple[str, bool]]

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.sent.append((f"http://{request.url.netloc.decode()}", "x-api-key" in request.headers))
            return await super().handle_async_request(request)

        async def aclose(self) -> None:
            self.is_closed = True
            await super().aclose()

    transport = Counting()
    transport.sent = []
    client = ServiceClient(
        emulator.api_key, emulator.base_url, connection=ConnectionSettings(transport=transport), retry=QUICK
    )
    async with client.create_rest_client() as rest:
        item = (await rest.list_user_checkpoints()).checkpoints[0]
        await rest.download_checkpoint(item, tmp_path)
    assert not transport.is_closed
    await transport.aclose()
    assert {root for root, has_key in transport.sent if has_key} == {emulator.base_url}
    assert {root for root, has_key in transport.sent if not has_key} == {emulator.storage_url}


async def test_cookies_are_not_kept(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(at("runs"), status=200, body=page_text(training_runs=[]), headers={"Set-Cookie": "a=b"})
    await rest.list_training_runs()
    await rest.list_sessions()
    assert all("cookie" not in request.headers for request in emulator.requests)
    await trio.lowlevel.checkpoint()


async def test_proxies_and_netrc_of_the_environment_are_not_used(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password hunter22\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with service(emulator).create_rest_client() as rest:
        await rest.list_sessions()
    assert all("Basic" not in request.headers.get("authorization", "") for request in emulator.requests)
