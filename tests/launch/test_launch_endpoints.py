"""Finding endpoints, asking synchronous ones, asking many, and all that is not a future or a stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import (
    ASYNC,
    SYNC,
    ask,
    open_in_memory,
    sync_endpoint,
)
from trio_norman import ConnectionSettings
from trio_norman._sansio.redaction import Secret
from trio_norman._wire._client import Sent
from trio_norman.emulator import ContainerError, open_emulator
from trio_norman.errors import (
    ConfigurationError,
    EndpointTaskError,
    EndpointTimeoutError,
    HeadTimeoutError,
    LimitExceededError,
    MalformedResponseError,
    NotFoundError,
    ServiceBrokenError,
    ServiceError,
)
from trio_norman.launch import (
    AsyncEndpoint,
    BatchStatus,
    Endpoint,
    EndpointResponse,
    LaunchClient,
    LaunchLimits,
    StreamingEndpoint,
    SyncEndpoint,
)
from trio_norman.transfer import Outcome, download_many

BUNDLE = "bun_emulator0000000000ab"
LABELS = {"team": "t", "product": "p"}


async def test_each_kind_of_endpoint_is_found(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        for name, kind in (("sync", SyncEndpoint), ("async", AsyncEndpoint), ("stream", StreamingEndpoint)):
            found = await client.get_model_endpoint(f"echo-{name}")
            assert type(found) is kind
            assert type(await client.get_model_endpoint(found.model_endpoint.id)) is kind
        names = [each.name for each in await client.list_model_endpoints()]
        assert names == ["echo-sync", "echo-async", "echo-stream"]
        newest = await client.list_model_endpoints(order_by="newest")
        assert [each.name for each in newest] == names[::-1]
        assert await found.status() == "READY"
        resources, deployment = await found.resource_state(), await found.deployment_state()
        assert resources is not None
        assert (resources.cpus, resources.gpus) == ("1", 0)
        assert deployment is not None
        assert (deployment.min_workers, deployment.max_workers) == (1, 4)
        emulator.launch.endpoints["echo-stream"].status = "UPDATE_IN_PROGRESS"
        assert await found.status() == "UPDATE_IN_PROGRESS"


@pytest.mark.parametrize("name", ["nobody", "end_00000000000000000000", "", "a b/ü?&"])
async def test_an_unknown_endpoint_is_named(name: str, autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, client):
        with pytest.raises(NotFoundError) as raised:
            await client.get_model_endpoint(name)
        assert name in str(raised.value)


async def test_an_endpoint_type_that_nobody_knows(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("odd", "telepathic", lambda args: args)
        with pytest.raises(MalformedResponseError, match="telepathic"):
            await client.get_model_endpoint("odd")
        assert [type(each) for each in await client.list_model_endpoints()][-1] is Endpoint


async def test_a_prediction_is_one_request(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        emulator.requests.clear()
        response = await endpoint.predict(ask({"x": [1, None]}, extra_headers={"X-Trace": "7"}, timeout_seconds=3))
        (request,) = emulator.requests
        assert (response.value, response.result) == ({"x": [1, None]}, '{"x": [1, null]}')
        assert (response.status, response.status_code, response.traceback) == ("SUCCESS", 200, None)
        assert json.loads(request.body) == {"args": {"x": [1, None]}, "timeout_seconds": 3, "return_pickled": False}
        assert request.headers["x-trace"] == "7"
        assert len([name for name, _ in request.header_list if name == "authorization"]) == 1


async def test_a_synchronous_failure_is_an_answer(autojump_clock: MockClock) -> None:
    def fails(args: Any) -> Any:
        if args == "refuse":
            raise ContainerError(400, {"why": "bad"})
        raise RuntimeError("boom \x1b[31m")

    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("broken", "sync", fails)
        endpoint = await sync_endpoint(client, "broken")
        response = await endpoint.predict(ask())
        assert (response.status, response.status_code, response.result) == ("FAILURE", 500, None)
        with pytest.raises(EndpointTaskError, match="boom") as raised:
            response.raise_for_status()
        assert "\x1b" not in str(raised.value)
        with pytest.raises(ServiceError, match="Invalid request") as refused:
            await endpoint.predict(ask("refuse"))
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ('{"detail":"sorry"}', MalformedResponseError, "sorry"),
        ('{"error":"Internal error"}', MalformedResponseError, "Internal error"),
        ("null", MalformedResponseError, "expected an object"),
        ("<html>", MalformedResponseError, "not JSON"),
    ],
)
async def test_a_success_with_an_error_body(
    body: str, kind: type[Exception], words: str, autojump_clock: MockClock
) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        emulator.misbehave(SYNC, status=200, body=body)
        with pytest.raises(kind, match=words):
            await endpoint.predict(ask())


async def test_the_four_shapes_of_errors(autojump_clock: MockClock) -> None:
    broken = '{"error":"Internal error occurred.","timestamp":"t","request_id":"r-1"}'
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        emulator.launch.endpoints["echo-sync"].kind = "async"
        with pytest.raises(ServiceError, match="does not serve sync tasks"):
            await endpoint.predict(ask())
        emulator.misbehave(SYNC, status=500, body=broken)
        with pytest.raises(ServiceBrokenError, match="Internal error occurred"):
            await endpoint.predict(ask())
        emulator.behave()
        canary = json.dumps({"callback_auth": {"kind": "basic", "username": "canary"}}).encode()
        sent = Sent(canary, {"Content-Type": "application/json"})
        with pytest.raises(ServiceError, match=r"Field required @ body\.callback_auth\.basic\.password") as explained:
            await client.open_state.quick.call("POST", ASYNC[1:], {"model_endpoint_id": "x"}, sent)
        assert explained.value.status == 422
        assert "canary" not in str(explained.value)  # the service repeats what it was given, secrets included


async def test_a_slow_model_is_awaited_up_to_the_limit(autojump_clock: MockClock) -> None:
    async with open_in_memory(limits=LaunchLimits(predict_seconds=100)) as (emulator, client):
        emulator.register_endpoint("slow", "sync", lambda args: args, delay=lambda seconds: seconds)
        endpoint = await sync_endpoint(client, "slow")
        assert (await endpoint.predict(ask(99))).value == 99
        with pytest.raises(HeadTimeoutError):
            await endpoint.predict(ask(101))


# ---- results that are stored


async def test_an_answer_without_a_stored_result_has_none_to_fetch() -> None:
    with pytest.raises(ConfigurationError, match="no result_url"):
        await EndpointResponse(None, "SUCCESS", None, 5).fetch_result()


@pytest.mark.parametrize("announced", [True, False])
async def test_a_result_that_is_too_large_is_not_brought_home_first(
    announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_norman.launch._responses.LARGEST_RESULT", 2**20)
    async with open_emulator(runs=0) as emulator:
        async with LaunchClient(emulator.api_key, emulator.launch_base_url) as client:
            url = emulator.blob_url(2**32, chunked=int(not announced))
            with trio.fail_after(5), pytest.raises(LimitExceededError):
                await EndpointResponse(client, "SUCCESS", url).fetch_result()
            small = emulator.blob_url(2**20)
            assert len(await EndpointResponse(client, "SUCCESS", small).fetch_result()) == 2**20


def test_the_place_of_a_result_is_not_shown() -> None:
    response = EndpointResponse(None, "SUCCESS", "https://h/x?signature=canary", raw={"result_url": "canary"})
    assert "canary" not in repr(response)
    assert response.result_url is not None
    assert response.result_url.reveal().endswith("canary")


# ---- files, jobs, models


async def test_files_go_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / 'a "b" ü.jsonl'
    path.write_text("grüße\r\n" * 60_000)
    async with open_emulator(runs=0) as emulator:
        async with LaunchClient(emulator.api_key, emulator.launch_base_url) as client:
            assert await client.files.upload(b"abc", "x.txt") == "x.txt"
            identity = await client.files.upload(path)
            assert await client.files.content(identity) == path.read_bytes().decode()
            assert [each.size for each in await client.files.list()] == [3, path.stat().st_size]
            assert (await client.files.get("x.txt")).filename == "x.txt"
            assert await client.files.delete("x.txt")
            with pytest.raises(NotFoundError, match="The specified file could not be found"):
                await client.files.get("x.txt")
            with pytest.raises(ConfigurationError, match="does not exist"):
                await client.files.upload(tmp_path / "nothing")
            with pytest.raises(ConfigurationError, match="no name"):
                await client.files.upload(b"abc")


async def test_a_batch_job_from_its_inputs_to_its_end(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        job_id = await client.batch_jobs.create(BUNDLE, labels=LABELS, inputs=[{"x": 1}, [2], None])
        (table,) = emulator.launch.uploads.values()
        assert table == b"id,args\r\n0,eyJ4IjoxfQ==\r\n1,WzJd\r\n2,bnVsbA==\r\n"
        put = next(each for each in emulator.requests if each.method == "PUT")
        assert sorted(put.headers) == ["accept", "content-length", "host", "user-agent"]
        assert (await client.batch_jobs.get(job_id)).status is BatchStatus.PENDING
        with pytest.raises(EndpointTimeoutError):
            await client.batch_jobs.wait(job_id, timeout=0.5)
        done = await client.batch_jobs.wait(job_id, timeout=60)
        assert (done.status, done.num_tasks_completed, done.is_final) == (BatchStatus.SUCCESS, 3, True)
        assert await client.batch_jobs.cancel(job_id)
        other = await client.batch_jobs.create(BUNDLE, labels=LABELS, urls=["https://h/a,b"])
        assert await client.batch_jobs.cancel(other)
        assert (await client.batch_jobs.wait(other)).status is BatchStatus.CANCELLED
        with pytest.raises(NotFoundError, match="batch job could not be found"):
            await client.batch_jobs.get("bat_unknown")


@pytest.mark.parametrize(
    "parts",
    [
        {"inputs": [1], "labels": {}},
        {"inputs": [1], "labels": {"team": "t"}},
        {"inputs": []},
        {},
        {"inputs": [1], "urls": ["https://h"]},
        {"inputs": [1], "input_path": "s3://b/k"},
        {"inputs": [b"x"]},
        {"urls": ["a\nb"]},
        {"inputs": [1], "serialization_format": "XML"},
        {"inputs": [1], "timeout_seconds": 0},
    ],
)
async def test_a_bad_batch_job_is_refused_before_anything_is_sent(
    parts: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with open_in_memory() as (emulator, client):
        with pytest.raises(ConfigurationError):
            await client.batch_jobs.create(BUNDLE, **{"labels": LABELS, **parts})
        with pytest.raises(ValueError, match="timeout"):
            await client.batch_jobs.wait("bat_x", timeout=0)
        assert len(emulator.requests) == 0


async def test_a_model_is_a_source_of_the_engine_and_renews_its_urls_by_one_call(tmp_path: Path) -> None:
    async with open_emulator(runs=0) as emulator:
        emulator.launch.add_model("small", {"config.json": b"{}", "weights.bin": 200_000, "more.bin": 100_000})
        async with LaunchClient(emulator.api_key, emulator.launch_base_url) as client:
            emulator.url_lifetime = -10
            sources = await client.model_download("small")
            emulator.url_lifetime = 600
            async with download_many(sources, tmp_path, fetch=client.fetch) as results:
                done = {result.source.name: result async for result in results}
            assert {name: result.outcome for name, result in done.items()} == dict.fromkeys(
                ("config.json", "weights.bin", "more.bin"), Outcome.OK
            )
            assert (tmp_path / "config.json").read_bytes() == b"{}"
            asked = [each for each in emulator.requests if each.path.endswith("/download")]
            assert len(asked) == 2
            with pytest.raises(NotFoundError, match="fine-tuned model"):
                await client.model_download("unknown")
            with pytest.raises(ConfigurationError, match="model_name"):
                await client.model_download(" ")


@pytest.mark.parametrize("key", ["", " ", Secret("")])
def test_an_empty_key_is_no_leave_to_take_another_one(key: str | Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_NORMAN_LAUNCH_API_KEY", "other")
    assert "not open" in repr(LaunchClient(None, "http://127.0.0.1:9"))
    with pytest.raises(ConfigurationError, match="API key"):
        LaunchClient(key, "http://127.0.0.1:9")


async def test_a_client_is_entered_once_and_used_inside(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        assert emulator.api_key not in repr(client)
        with pytest.raises(RuntimeError, match="once"):
            await client.__aenter__()
    for use in (client.list_model_endpoints, client.files.list):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    with pytest.raises(ConfigurationError, match="colon"):
        LaunchClient("a:b", emulator.launch_base_url)
    connection = ConnectionSettings()
    assert "not open" in repr(LaunchClient("key", emulator.launch_base_url, True, True, connection=connection))
