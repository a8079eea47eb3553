"""Finding endpoints, asking synchronous ones, asking many, and all that is not a future or a stream."""

from __future__ import annotations

import json
import pickle
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import (
    ASYNC,
    SYNC,
    ask,
    async_endpoint,
    open_in_memory,
    streaming_endpoint,
    sync_endpoint,
)
from trio_norman import ConnectionSettings
from trio_norman._wire._client import Sent
from trio_norman.emulator import ContainerError, open_emulator
from trio_norman.errors import (
    ConfigurationError,
    EndpointTaskError,
    EndpointTimeoutError,
    HeadTimeoutError,
    LocalFileError,
    MalformedResponseError,
    NotFoundError,
    ServiceBrokenError,
    ServiceError,
)
from trio_norman.launch import (
    Answers,
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


# ---- many at once


async def test_many_answers_come_in_order_of_completion(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=lambda args: 10.0 - args)
        endpoint = await async_endpoint(client, "slow")
        async with endpoint.predict_many([ask(number) for number in range(10)]) as answers:
            got = [outcome.value async for _, outcome in answers if isinstance(outcome, EndpointResponse)]
        assert sorted(got) == list(range(10))
        assert got[0] > got[-1]


async def test_one_bad_request_spoils_no_other(autojump_clock: MockClock) -> None:
    def model(args: Any) -> Any:
        if args == 3:
            raise ContainerError(400, "no")
        return args

    requests = [ask(number, request_id=str(number)) for number in range(6)]
    requests += [ask(7, callback_url="http://h", request_id="ignored"), ask(8, request_id="2")]
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("picky", "sync", model)
        async with (await sync_endpoint(client, "picky")).predict_many(requests, 2) as answers:
            outcomes = [(request.request_id, request.args, outcome) async for request, outcome in answers]
    failed = {args: type(each).__name__ for _, args, each in outcomes if isinstance(each, Exception)}
    assert failed == {3: "ServiceError", 7: "ConfigurationError", 8: "ConfigurationError"}
    assert len(outcomes) == 8


async def test_back_pressure_reaches_both_ways(autojump_clock: MockClock) -> None:
    taken, flying, most = 0, 0, 0

    async def requests() -> AsyncIterator[Any]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield ask(number)

    async def model(args: Any) -> Any:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await trio.sleep(1)
        flying -= 1
        return args

    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("busy", "sync", model)
        async with (await sync_endpoint(client, "busy")).predict_many(requests(), 5) as answers:
            await trio.sleep(60)
            assert taken <= 2 * 5 + 2
            assert len([1 async for _ in answers]) == 100
    assert most == 5


async def test_an_answer_that_is_late_is_a_timeout_in_its_place(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        for name, kind in (("a", "async"), ("s", "sync"), ("st", "streaming")):
            emulator.register_endpoint(name, kind, lambda args: [args], delay=lambda args: args)
            endpoint = await client.get_model_endpoint(name)
            async with endpoint.predict_many([ask(1), ask(100)], timeout=10) as answers:
                outcomes = {request.args: outcome async for request, outcome in answers}
            assert isinstance(outcomes[100], EndpointTimeoutError)
            assert not isinstance(outcomes[1], Exception)


async def test_leaving_early_stops_asking(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        async with endpoint.predict_many((ask(number) for number in range(10_000)), 4) as answers:
            async for _ in answers:
                break
        asked = len(emulator.requests)
        await trio.sleep(100)
        assert len(emulator.requests) == asked < 20
        with pytest.raises(ZeroDivisionError):
            await all_answers(endpoint.predict_many((ask(1 // number) for number in (1, 0)), 1))
        with pytest.raises(ValueError, match="max_in_flight"):
            await all_answers(endpoint.predict_many([], 0))


async def all_answers(opening: AbstractAsyncContextManager[Answers]) -> list[Any]:
    async with opening as answers:
        return [answer async for answer in answers]


async def test_events_of_many_streams_are_gathered(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("count", "streaming", range)
        async with (await streaming_endpoint(client, "count")).predict_many(map(ask, range(1, 20))) as answers:
            async for request, outcome in answers:
                assert isinstance(outcome, tuple)
                assert [response.value for response in outcome] == list(range(request.args))


# ---- results that are stored


async def test_N_15_a_pickled_result(autojump_clock: MockClock) -> None:
    """Success: bytes are handed over as bytes, and the object only by the name of the risk."""
    async with open_emulator(runs=0) as emulator:
        emulator.register_endpoint("art", "sync", lambda args: {"sum": args}, artifact=True)
        async with LaunchClient(emulator.api_key, emulator.launch_base_url) as client:
            response = await (await sync_endpoint(client, "art")).predict(ask(3, return_pickled=True))
            assert response.result is None
            assert response.result_url is not None
            assert pickle.dumps({"sum": 3}) == await response.fetch_result()
            assert await response.fetch_result(unsafe_unpickle=True) == {"sum": 3}
            fetched = [each for each in emulator.requests if each.server == "storage"]
            assert fetched
            assert not any("authorization" in each.headers for each in fetched)


async def test_N_15_a_result_url_that_must_not_be_contacted() -> None:
    """ConfigurationError for s3, AddressError for another machine: before anything is sent."""
    for url, words in (("s3://bucket/key.pkl", "'s3' cannot be fetched"), ("file:///etc/passwd", "'file'")):
        with pytest.raises(ConfigurationError, match=words):
            await EndpointResponse(None, "SUCCESS", url).fetch_result()
    with pytest.raises(Exception, match="plain http outside this machine"):
        await EndpointResponse(None, "SUCCESS", "http://example.org/x.pkl?signature=canary").fetch_result()
    with pytest.raises(ConfigurationError, match="no result_url"):
        await EndpointResponse(None, "SUCCESS", None, 5).fetch_result()


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
            with pytest.raises(LocalFileError):
                await client.files.upload(tmp_path / "nothing")
            with pytest.raises(ConfigurationError, match="no name"):
                await client.files.upload(b"abc")


async def test_a_batch_job_from_its_inputs_to_its_end(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        job_id = await client.batch_jobs.create(BUNDLE, labels=LABELS, inputs=[{"x": 1}, [2], None])
        (table,) = emulator.launch.uploads.values()
        assert table == b"id,args\r\n0,eyJ4IjoxfQ==\r\n1,WzJd\r\n2,bnVsbA==\r\n"
        put = next(each for each in emulator.requests if each.method == "PUT")
        assert "authorization" not in put.headers
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
