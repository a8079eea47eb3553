"""Calls that change something at the service: rows N-14, U-06 and SEC-18."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any, cast

import pytest
import trio
import xxhash

from tests.faults.rows import MiB, Row
from tests.norman.norman_opening import answer, echo, model
from trio_norman import Norman, RetryPolicy, errors
from trio_norman.launch import AsyncEndpoint, EndpointRequest, LaunchClient, StreamingEndpoint, SyncEndpoint

KEEN = RetryPolicy(attempts=5, initial=0.01, longest=0.02)

Ask = Callable[[], Awaitable[object]]


@asynccontextmanager
async def launch(row: Row) -> AsyncIterator[LaunchClient]:
    async with LaunchClient(row.emulator.api_key, row.emulator.launch_base_url, retry=KEEN) as client:
        yield client


@asynccontextmanager
async def norman(row: Row) -> AsyncIterator[Norman]:
    async with Norman(row.emulator.norman_api_key, row.emulator.norman_base_url, retry=KEEN) as client:
        yield client


# ---- the answer to a change is lost


@asynccontextmanager
async def deletion(row: Row) -> AsyncIterator[Ask]:
    known = row.emulator.checkpoints[0]
    async with row.service.create_rest_client() as rest:
        yield lambda: rest.delete_checkpoint(known.training_run_id, known.checkpoint_id)


@asynccontextmanager
async def deletion_in_v1(row: Row) -> AsyncIterator[Ask]:
    row.api = "v1"
    async with deletion(row) as ask:
        yield ask


@asynccontextmanager
async def new_model(row: Row) -> AsyncIterator[Ask]:
    async with norman(row) as client:
        await client.get_account()
        yield lambda: client.upload_model(model({"File": b"x"}))


@asynccontextmanager
async def new_invocation(row: Row) -> AsyncIterator[Ask]:
    async with norman(row) as client:
        await client.get_account()
        yield lambda: client.invoke(echo("x"))


@asynccontextmanager
async def sync_task(row: Row) -> AsyncIterator[Ask]:
    async with launch(row) as client:
        endpoint = await client.get_model_endpoint("echo-sync")
        assert isinstance(endpoint, SyncEndpoint)
        yield lambda: endpoint.predict(EndpointRequest(args=1))


@asynccontextmanager
async def async_task(row: Row) -> AsyncIterator[Ask]:
    async with launch(row) as client:
        endpoint = await client.get_model_endpoint("echo-async")
        assert isinstance(endpoint, AsyncEndpoint)
        yield lambda: endpoint.predict(EndpointRequest(args=1))


@asynccontextmanager
async def streaming_task(row: Row) -> AsyncIterator[Ask]:
    async with launch(row) as client:
        endpoint = await client.get_model_endpoint("echo-stream")
        assert isinstance(endpoint, StreamingEndpoint)

        async def ask() -> None:
            async with endpoint.predict(EndpointRequest(args=1)):
                pytest.fail("the answer is lost")

        yield ask


@asynccontextmanager
async def new_file(row: Row) -> AsyncIterator[Ask]:
    async with launch(row) as client:
        await client.list_model_endpoints()
        yield lambda: client.files.upload(b"text", "name")


@asynccontextmanager
async def file_deletion(row: Row) -> AsyncIterator[Ask]:
    async with launch(row) as client:
        file_id = await client.files.upload(b"text", "name")
        yield lambda: client.files.delete(file_id)


CHANGES: dict[str, tuple[Any, str, str]] = {
    "a checkpoint is deleted": (deletion, "DELETE", "/api/api/runs/"),
    "a checkpoint is deleted in v1": (deletion_in_v1, "DELETE", "/api/openapi/v1/checkpoints/"),
    "a model is made": (new_model, "POST", "/v0/persist/models/$"),
    "a model is invoked": (new_invocation, "POST", "/v0/persist/invocations/by-name"),
    "an endpoint answers": (sync_task, "POST", "/v1/sync-tasks"),
    "an endpoint is given a task": (async_task, "POST", "/v1/async-tasks"),
    "an endpoint streams": (streaming_task, "POST", "/v1/streaming-tasks"),
    "a file is uploaded": (new_file, "POST", "/v1/files"),
    "a file is deleted": (file_deletion, "DELETE", "/v1/files/.*"),
}


@pytest.mark.parametrize("acts", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("what", CHANGES)
async def test_N_14_the_answer_to_a_change_is_lost(row: Row, what: str, acts: bool) -> None:
    """InterruptedTransferError that says that it may have happened, after one request, on a kept connection too. D0."""
    opened, method, path = CHANGES[what]
    async with row.attempt({"f": None}) as attempt, opened(row) as ask:
        rule = row.emulator.misbehave(path, method=method, drop=True, acts=acts)
        await ask()
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D0")
    assert rule.hits == 1
    assert error.may_have_happened
    assert "it may have happened all the same" in str(error)


async def test_N_14_nobody_was_there_to_do_it(row: Row) -> None:
    """ConnectError that does not say so: what was never sent cannot have happened. D0."""
    async with row.attempt({"f": None}) as attempt:
        async with LaunchClient(row.emulator.api_key, row.odd.closed, retry=KEEN) as client:
            await client.files.upload(b"text", "name")
    error = row.expect_error(attempt, errors.ConnectError, disk="D0")
    assert not error.may_have_happened


# ---- names in forms

NAMES = {
    "quotes": 'a"; filename="b',
    "line ends": "a\r\nContent-Type: text/html\r\n\r\n<b>",
    "a carriage return": "a\rb",
    "a line feed": "a\nX-Injected: 1",
    "NUL": "a\0b",
    "a backslash": 'a\\"b\\',
    "unicode": "naïve-文件-😀.txt",
    "a lone surrogate": "a\udcffb",
    "bidi": "a\u202eexe.txt",
    "C1": "a\x85b\x9bc",
    "a boundary": "a\r\n--00000000--\r\n",
    "percent": "100%22.txt",
    "long": "n" * 10_000,
}


@pytest.mark.parametrize("what", NAMES)
async def test_U_06_a_hostile_name(row: Row, what: str) -> None:
    """Success: one part with one name and the very bytes; nothing of the name becomes a header. D0."""
    text = b"what the file holds\r\n--not a boundary\r\n"
    async with row.attempt({"f": None}) as attempt, launch(row) as client:
        await client.files.upload(text, NAMES[what])
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")
    assert list(row.emulator.launch.files.values()) == [text]
    (sent,) = [each for each in row.emulator.requests if each.path.endswith("/v1/files")]
    assert "x-injected" not in sent.headers
    whole = message_from_bytes(b"Content-Type: " + sent.headers["content-type"].encode() + b"\r\n\r\n" + sent.body)
    (part,) = cast("list[Message]", whole.get_payload())  # as somebody else's parser reads it
    assert part.keys() == ["Content-Disposition", "Content-Type"]
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_payload(decode=True) == text
    assert re.fullmatch(rb'form-data; name="file"; filename="[^"\r\n\0]*"', raw_disposition(sent.body))


def raw_disposition(body: bytes) -> bytes:
    return body.split(b"\r\n")[1].removeprefix(b"Content-Disposition: ")


# ---- encrypted pushes


async def test_SEC_18_a_pairing_serves_one_connection_and_one_content(row: Row) -> None:
    """Success: each connection has keys of its own, for one content, whose digest goes along the authenticated call."""
    service = row.emulator.norman
    for fault in ({"reset": 1000, "times": 2}, {"trunc": 10, "times": 2}, {"refuse": True, "times": 1}):
        service.inject_push(**fault)
    contents = [bytes([65 + number]) * (MiB + number) for number in range(3)]
    async with row.attempt({"f": None}, within=30) as attempt, norman(row) as client:
        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(answer, client, echo(content))
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")
    pushes = service.pushes
    assert len(pushes) > len(contents)
    assert all(push.connections <= 1 for push in pushes)
    assert len({push.key for push in pushes}) == len({push.nonce for push in pushes}) == len(pushes)
    assert service.push_port.strangers == 0
    told = {
        each.path: each.headers.get("authorization", "")
        for each in row.emulator.requests.of("norman")
        if each.path.endswith("/complete")
    }
    assert told
    assert all(told.values())
    whole = {xxhash.xxh3_64(content).hexdigest() for content in contents}
    assert whole <= {push.body.checksum for push in pushes}
