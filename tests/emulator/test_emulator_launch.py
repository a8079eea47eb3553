"""The Launch service of the emulator, as the service itself was seen to answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.emulator.conftest import Served
from trio_norman.emulator import ContainerError, TaskLostError, WorkerError


def key_of(served: Served, key: str | None = None) -> httpx.BasicAuth:
    return httpx.BasicAuth(key or served.emulator.api_key, "")


async def ask(served: Served, method: str, path: str, **parts: Any) -> httpx.Response:
    return await served.store.request(
        method, f"{served.emulator.launch_base_url}{path}", auth=parts.pop("auth", key_of(served)), **parts
    )


async def make(served: Served, kind: str, name: str, body: Any) -> httpx.Response:
    endpoint = served.emulator.launch.endpoints[name].id
    return await ask(served, "POST", f"/v1/{kind}-tasks?model_endpoint_id={endpoint}", json=body)


async def test_the_key_is_checked_as_basic_or_bearer(served: Served) -> None:
    root = served.emulator.launch_base_url
    wanted = [
        (None, "No authentication was passed in", "Bearer"),
        ("Digest x", "No authentication was passed in", "Bearer"),
        ("Basic !!", "Not authenticated", "Basic"),
        ("Basic " + base64.b64encode(b"wrong:").decode(), "Could not authenticate user", "Basic"),
        ("Bearer wrong", "Could not authenticate user", "Bearer"),
    ]
    for header, detail, scheme in wanted:
        headers = {} if header is None else {"Authorization": header}
        answer = await served.store.get(f"{root}/v1/model-endpoints", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"detail": detail})
        assert answer.headers["www-authenticate"] == scheme
    for header in (f"Bearer {served.emulator.api_key}", "Basic " + base64.b64encode(
        f"{served.emulator.api_key}:ignored".encode()).decode()):  # fmt: skip
        answer = await served.store.get(f"{root}/v1/model-endpoints", headers={"Authorization": header})
        assert answer.status_code == 200
    assert (await served.store.get(f"{root}/healthz")).status_code == 200
    assert (await served.store.get(f"{root}/api/api/runs")).status_code == 401


async def test_every_route_is_served_below_both_roots(served: Served) -> None:
    for root in ("", "/v1/launch"):
        names = [
            each["name"] for each in (await ask(served, "GET", f"{root}/v1/model-endpoints")).json()["model_endpoints"]
        ]
        assert names == ["echo-sync", "echo-async", "echo-stream"]
    one = (await ask(served, "GET", "/v1/model-endpoints?name=echo-sync")).json()["model_endpoints"]
    assert [each["endpoint_type"] for each in one] == ["sync"]
    assert (await ask(served, "GET", "/v1/model-endpoints?name=none")).json() == {"model_endpoints": []}
    gone = await ask(served, "GET", "/v1/model-endpoints/end_x")
    assert (gone.status_code, gone.json()) == (404, {"detail": "Model Endpoint end_x  was not found."})
    assert (await ask(served, "GET", "/v1/nothing")).json() == {"detail": "Not Found"}
    assert (await ask(served, "DELETE", "/v1/sync-tasks")).json() == {"detail": "Method Not Allowed"}


@pytest.mark.parametrize(
    ("path", "content", "kind", "loc"),
    [
        ("/v1/sync-tasks", b"{}", "missing", ["query", "model_endpoint_id"]),
        ("/v1/sync-tasks?model_endpoint_id=x", b"{", "json_invalid", ["body", 1]),
        ("/v1/sync-tasks?model_endpoint_id=x", b"[]", "model_attributes_type", ["body"]),
        ("/v1/async-tasks?model_endpoint_id=x", b'{"return_pickled": "x"}', "bool_type", ["body", "return_pickled"]),
        ("/v1/async-tasks?model_endpoint_id=x", b'{"timeout_seconds": 0}', "greater_than", ["body", "timeout_seconds"]),
        (
            "/v1/async-tasks?model_endpoint_id=x",
            b'{"callback_auth": {"kind": "mtls", "cert": "c"}}',
            "missing",
            ["body", "callback_auth", "mtls", "key"],
        ),
        (
            "/v1/async-tasks?model_endpoint_id=x",
            b'{"callback_auth": 1}',
            "union_tag_invalid",
            ["body", "callback_auth"],
        ),
        ("/v1/batch-jobs", b"{}", "missing", ["body", "model_bundle_id"]),
    ],
)
async def test_what_is_wrong_with_the_fields_is_listed(
    served: Served, path: str, content: bytes, kind: str, loc: list[Any]
) -> None:
    answer = await ask(served, "POST", path, content=content, headers={"Content-Type": "application/json"})
    (first, *_) = answer.json()["detail"]
    assert (answer.status_code, first["type"], first["loc"]) == (422, kind, loc)
    assert {"type", "loc", "msg", "input"} <= first.keys()
    text = await ask(served, "POST", path, content=content, headers={"Content-Type": "text/plain"})
    assert text.status_code == 422


async def test_wrong_kinds_and_unknown_endpoints(served: Served, autojump_clock: MockClock) -> None:
    for kind, name, words in (
        ("sync", "echo-async", "does not serve sync tasks."),
        ("async", "echo-sync", "is not an async endpoint."),
        ("streaming", "echo-sync", "is not a streaming endpoint."),
    ):
        answer = await make(served, kind, name, {"args": 1})
        assert answer.status_code == 400
        assert answer.json()["detail"].endswith(words)
        unknown = await ask(served, "POST", f"/v1/{kind}-tasks?model_endpoint_id=end_x", json={"args": 1})
        assert (unknown.status_code, unknown.json()["detail"]) == (404, "The specified endpoint could not be found.")


async def test_one_outcome_has_three_pictures(served: Served, autojump_clock: MockClock) -> None:
    def model(args: Any) -> Any:
        if args == "boom":
            raise RuntimeError("boom")
        if isinstance(args, int):
            raise ContainerError(args, {"detail": "x"})
        return [args]

    for name, kind in (("s", "sync"), ("a", "async"), ("st", "streaming")):
        served.emulator.register_endpoint(name, kind, model)

    async def asynchronous(args: Any) -> dict[str, Any]:
        task = (await make(served, "async", "a", {"args": args})).json()["task_id"]
        await trio.sleep(1)
        told: dict[str, Any] = (await ask(served, "GET", f"/v1/async-tasks/{task}")).json()
        assert told.pop("task_id") == task
        return told

    good = {"status": "SUCCESS", "result": {"result": '["x"]'}, "traceback": None, "status_code": 200}
    assert (await make(served, "sync", "s", {"args": "x"})).json() == good
    assert await asynchronous("x") == good
    broken = (await make(served, "sync", "s", {"args": "boom"})).json()
    assert (broken["status"], broken["status_code"], "boom" in broken["traceback"]) == ("FAILURE", 500, True)
    told = await asynchronous("boom")
    assert (told["status"], told["status_code"]) == ("SUCCESS", 500)
    assert "boom" in json.loads(told["result"]["result"])["detail"]["traceback"]
    refused = await make(served, "sync", "s", {"args": 400})
    assert (refused.status_code, refused.json()) == (400, {"detail": "Invalid request: {'detail': 'x'}"})
    assert (await make(served, "streaming", "st", {"args": 400})).content == b""
    failure = {"status": "FAILURE", "result": None, "traceback": None, "status_code": 503}
    assert json.loads((await make(served, "streaming", "st", {"args": 503})).text.removeprefix("data: ")) == failure
    crowded = (await make(served, "sync", "s", {"args": 429})).json()
    assert crowded["traceback"] == "Too many concurrent requests"


async def test_tasks_go_through_their_states(served: Served, autojump_clock: MockClock) -> None:
    served.emulator.register_endpoint("slow", "async", lambda args: args, delay=10)
    task = (await make(served, "async", "slow", {"args": {"serialize_results_as_string": False}})).json()["task_id"]
    states = []
    for _ in range(4):
        states.append((await ask(served, "GET", f"/v1/async-tasks/{task}")).json()["status"])
        await trio.sleep(4)
    assert states == ["PENDING", "STARTED", "STARTED", "SUCCESS"]
    assert (await ask(served, "GET", f"/v1/async-tasks/{task}")).json()["result"] == {
        "result": {"serialize_results_as_string": False}
    }
    assert (await ask(served, "GET", "/v1/async-tasks/nobody")).json() == {
        "task_id": "nobody",
        "status": "PENDING",
        "result": None,
        "traceback": None,
        "status_code": None,
    }
    for error, status in ((WorkerError("why"), "FAILURE"), (TaskLostError(), "UNDEFINED")):
        served.emulator.register_endpoint("odd", "async", _raising(error))
        odd = (await make(served, "async", "odd", {"args": 1})).json()["task_id"]
        await trio.sleep(1)
        assert (await ask(served, "GET", f"/v1/async-tasks/{odd}")).json()["status"] == status


def _raising(error: Exception) -> Any:
    def model(args: Any) -> Any:
        raise error

    return model


async def test_streams_are_sent_as_they_come_with_pings(served: Served, autojump_clock: MockClock) -> None:
    served.emulator.register_endpoint("slow", "streaming", lambda args: ["a\u2028", 2], delay=20)
    endpoint = served.emulator.launch.endpoints["slow"].id
    url = f"{served.emulator.launch_base_url}/v1/streaming-tasks?model_endpoint_id={endpoint}"
    async with served.store.stream("POST", url, json={"args": 1}, auth=key_of(served)) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-length" not in answer.headers
        blocks = [block.decode() async for block in answer.aiter_raw()]
    assert [block[:6] for block in blocks] == [": ping", "data: ", ": ping", "data: "]
    assert all(block.endswith("\r\n\r\n") for block in blocks)
    assert json.loads(blocks[1][6:]) == {
        "status": "SUCCESS",
        "result": {"result": "a\u2028"},
        "traceback": None,
        "status_code": 200,
    }


async def test_what_breaks_inside_is_told_in_the_services_words(served: Served) -> None:
    bad = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n\xff\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await ask(served, "POST", "/v1/files", content=bad, headers=headers)
    assert answer.status_code == 500
    assert answer.json().keys() == {"error", "timestamp", "request_id"}
    served.emulator.launch.most_requests = 0
    full = await ask(served, "GET", "/v1/files")
    assert (full.status_code, full.json()["error"]) == (429, "Too many requests")
    nothing = await served.store.put(
        f"{served.emulator.launch_base_url}/v1/hosted_inference/inputs/guess", content=b"x"
    )
    assert nothing.status_code in (403, 429)
