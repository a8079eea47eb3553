"""Endpoints over the package's own transport, on real sockets: what goes out, and what comes back in which pieces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.launch.launch_opening import ASYNC, ask, async_endpoint, event, streaming_endpoint
from tests.wire.test_transport_peer import Line, serving
from trio_norman import ConnectionSettings
from trio_norman.emulator import open_emulator
from trio_norman.errors import InterruptedTransferError, ProtocolError, ServiceBrokenError
from trio_norman.launch import EndpointResponse, LaunchClient, StreamingEndpoint

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def document(value: Any, status: str = "200 OK") -> bytes:
    """Write an answer with a length."""
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


@asynccontextmanager
async def answered_with(
    kind: str, answer: Callable[[Line, bytes], Any]
) -> AsyncIterator[tuple[LaunchClient, list[bytes]]]:
    """Open a client of a service whose one endpoint `e` answers tasks as told; give the tasks' requests too."""
    requests: list[bytes] = []

    async def script(line: Line) -> None:
        while (request := await line.request()) is not None:
            if b"model-endpoints" in request.split(b"\r\n")[0]:
                found = {"id": "end_1", "name": "e", "endpoint_type": kind}
                await line.send(document({"model_endpoints": [found]}))
            else:
                requests.append(request)
                await answer(line, request)

    async with serving(script) as peer, LaunchClient("key-of-ada", peer.url("")) as client:
        yield client, requests


def named(request: bytes) -> list[tuple[str, str]]:
    """Give a request's fields, names in lower case."""
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [(line.partition(": ")[0].lower(), line.partition(": ")[2]) for line in lines]


async def test_waiting_in_line_is_no_silence_of_the_service() -> None:
    async with open_emulator(runs=0) as emulator:
        emulator.misbehave(ASYNC, method="POST", delay=0.4)
        connection = ConnectionSettings(head_seconds=2)
        async with LaunchClient(emulator.api_key, emulator.launch_base_url, connection=connection) as client:
            endpoint = await async_endpoint(client)
            requests = [ask("x" * 70_000) for _ in range(160)]  # too long to go the plainest way, as one packet
            async with endpoint.predict_many(requests, 160) as answers:
                kinds = {type(outcome) async for _, outcome in answers}
    assert kinds == {EndpointResponse}


async def read_into(seen: list[int], endpoint: StreamingEndpoint) -> None:
    async with endpoint.predict(ask()) as stream:
        async for response in stream:
            seen.append(response.value)


async def test_a_task_is_asked_for_with_each_header_once() -> None:
    async def answer(line: Line, _: bytes) -> None:
        await line.send(document({"task_id": "t-1"}))

    async with answered_with("async", answer) as (client, requests):
        endpoint = await async_endpoint(client, "e")
        await endpoint.predict(ask({"x": 1}, extra_headers={"user-agent": "mine", "X-Trace": "7"}))
    fields, body = named(requests[0]), requests[0].partition(b"\r\n\r\n")[2]
    assert requests[0].startswith(b"POST /v1/async-tasks?model_endpoint_id=end_1 HTTP/1.1\r\n")
    assert len({name for name, _ in fields}) == len(fields)
    assert dict(fields)["user-agent"] == "mine"
    assert dict(fields)["x-trace"] == "7"
    assert dict(fields)["authorization"].startswith("Basic ")
    assert dict(fields)["content-length"] == str(len(body))
    assert json.loads(body) == {"args": {"x": 1}, "return_pickled": False}


@pytest.mark.parametrize("value", ["grüße", "a\r\nX: y"], ids=["not ASCII", "two lines"])
async def test_what_breaks_out_of_a_header_is_never_sent(value: str) -> None:
    async def answer(line: Line, _: bytes) -> None:
        await line.send(document({"task_id": "t-1"}))

    async with answered_with("async", answer) as (client, requests):
        endpoint = await async_endpoint(client, "e")
        with pytest.raises(ValueError, match="no header can have"):
            await endpoint.predict(ask(1, extra_headers={"X-Trace": value}))
    assert not requests


async def test_a_task_whose_answer_comes_in_chunks_or_in_pieces_is_made() -> None:
    told = json.dumps({"task_id": "t-1"}).encode()
    whole = document({"task_id": "t-2"})

    async def answer(line: Line, request: bytes) -> None:
        if len(requests) == 1:
            head = STREAM.replace(b"text/event-stream", b"application/json")
            await line.send(head + chunked(told[:3], told[3:]) + b"0\r\n\r\n")
            return
        for at in range(0, len(whole), 40):
            await line.send(whole[at : at + 40])
            await trio.testing.wait_all_tasks_blocked(0.002)

    async with answered_with("async", answer) as (client, requests):
        endpoint = await async_endpoint(client, "e")
        assert [(await endpoint.predict(ask())).async_task_id for _ in range(2)] == ["t-1", "t-2"]


async def test_an_error_of_a_task_is_told_and_the_task_is_made_once() -> None:
    async def answer(line: Line, _: bytes) -> None:
        await line.send(document({"detail": "boom"}, "503 Busy"))

    async with answered_with("async", answer) as (client, requests):
        endpoint = await async_endpoint(client, "e")
        with pytest.raises(ServiceBrokenError, match="boom"):
            await endpoint.predict(ask())
    assert len(requests) == 1


@pytest.mark.parametrize("pause", [False, True], ids=["all at once", "one by one"])
async def test_every_event_comes_whichever_way_a_stream_is_cut(*, pause: bool) -> None:
    data = b"".join(event(number) for number in range(20))
    pieces = [data[at : at + 97] for at in range(0, len(data), 97)]

    async def answer(line: Line, _: bytes) -> None:
        await line.send(STREAM)
        for piece in pieces:
            await line.send(chunked(piece))
            if pause:
                await trio.testing.wait_all_tasks_blocked(0.001)
        await line.send(b"0\r\n\r\n")

    async with answered_with("streaming", answer) as (client, _):
        endpoint = await streaming_endpoint(client, "e")
        for _ in range(2):  # the connection is good for another stream
            async with endpoint.predict(ask()) as stream:
                assert [response.value async for response in stream] == list(range(20))


@pytest.mark.parametrize(
    ("rest", "error"),
    [(b"", InterruptedTransferError), (b"7\r\ndata", InterruptedTransferError), (b"zz\r\n", ProtocolError)],
    ids=["cut between chunks", "cut inside a chunk", "a broken chunk"],
)
async def test_events_that_came_before_a_stream_breaks_are_given(rest: bytes, error: type[Exception]) -> None:
    async def answer(line: Line, _: bytes) -> None:
        await line.send(STREAM + chunked(event(1), event(2)) + rest)
        await line.stream.aclose()

    async with answered_with("streaming", answer) as (client, _):
        endpoint = await streaming_endpoint(client, "e")
        seen: list[int] = []
        with pytest.raises(error):
            await read_into(seen, endpoint)
    assert seen == [1, 2]


async def test_a_flood_of_pings_can_be_cancelled_and_starves_nobody() -> None:
    async def answer(line: Line, _: bytes) -> None:
        await line.send(STREAM)
        while True:
            await line.send(chunked(b": ping\r\n\r\n") * 500)

    async with answered_with("streaming", answer) as (client, _):
        endpoint = await streaming_endpoint(client, "e")
        async with endpoint.predict(ask()) as stream:
            with trio.move_on_after(0.1) as scope:
                await anext(stream)
            assert scope.cancelled_caught


async def test_a_stream_ends_with_its_client_though_events_are_there() -> None:
    async def answer(line: Line, _: bytes) -> None:
        await line.send(STREAM + chunked(event(1)))
        await trio.sleep_forever()

    async with answered_with("streaming", answer) as (client, _):
        endpoint = await streaming_endpoint(client, "e")
        stream_of = endpoint.predict(ask())
        stream = await stream_of.__aenter__()
        assert (await anext(stream)).value == 1
        await client.__aexit__(None, None, None)
        with pytest.raises(trio.ClosedResourceError):
            await anext(stream)
        await stream_of.__aexit__(None, None, None)
