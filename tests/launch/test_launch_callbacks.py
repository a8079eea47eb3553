"""Answers that are delivered: on real sockets, where the service and anybody else can reach the receiver."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import ask, async_endpoint, polls
from trio_norman import ConnectionSettings
from trio_norman.emulator import Emulator, WorkerError, open_emulator
from trio_norman.errors import ConfigurationError
from trio_norman.launch import CallbackReceiver, EndpointResponse, LaunchClient
from trio_norman.testing import open_memory_emulator


@asynccontextmanager
async def receiving(**settings: Any) -> AsyncIterator[tuple[Emulator, LaunchClient]]:
    async with open_emulator(runs=0) as emulator:
        receiver = CallbackReceiver(**settings)
        async with LaunchClient(emulator.api_key, emulator.launch_base_url, callback_receiver=receiver) as client:
            yield emulator, client


def place(client: LaunchClient) -> tuple[str, dict[str, str]]:
    """Give URL and headers with which the service delivers."""
    receiver = client.open_state.receiver
    assert receiver is not None
    auth = receiver.payload["callback_auth"]
    pair = base64.b64encode(f"{auth['username']}:{auth['password']}".encode()).decode()
    return receiver.payload["callback_url"], {"Authorization": f"Basic {pair}"}


async def test_answers_arrive_without_a_poll() -> None:
    async with receiving() as (emulator, client):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=0.1)
        endpoint = await async_endpoint(client, "slow")
        async with endpoint.predict_many([ask(number) for number in range(50)], 50, timeout=20) as answers:
            got = sorted([outcome.value async for _, outcome in answers if isinstance(outcome, EndpointResponse)])
        assert got == list(range(50))
        assert polls(emulator) == 0
        assert {delivery.status for delivery in emulator.launch.courier.deliveries} <= {204}


async def test_a_callback_that_does_not_come_is_made_up_for_by_asking() -> None:
    def fails(args: Any) -> Any:
        raise WorkerError("boom")  # of which no callback ever tells

    async with receiving() as (emulator, client):
        emulator.register_endpoint("broken", "async", fails, delay=0.05)
        emulator.register_endpoint("silent", "async", lambda args: args, delay=0.05, callbacks=False)
        silent = await (await async_endpoint(client, "silent")).predict(ask(1))
        assert (await silent.get(timeout=20)).value == 1
        assert "callback_url" not in emulator.launch.tasks[silent.async_task_id].body
        failed = await (await (await async_endpoint(client, "broken")).predict(ask())).get(timeout=20)
        assert (failed.status, failed.result) == ("FAILURE", "boom")
        emulator.launch.courier.is_on_strike = True
        assert (await (await (await async_endpoint(client)).predict(ask(2))).get(timeout=20)).value == 2


async def test_a_lost_callback_of_a_long_task_is_noticed_soon(autojump_clock: MockClock) -> None:
    """The receiver listens on a socket, which nobody contacts here: the clock may jump."""
    async with open_memory_emulator() as (emulator, transport):
        emulator.register_endpoint("slow", "async", lambda args: args, delay=600)
        emulator.launch.courier.is_on_strike = True
        client = LaunchClient(
            emulator.api_key,
            emulator.launch_base_url,
            callback_receiver=CallbackReceiver(),
            connection=ConnectionSettings(transport=transport),
        )
        async with client:
            for _ in range(10):  # the ninth on knows how long they take
                began, asked = trio.current_time(), polls(emulator)
                future = await (await async_endpoint(client, "slow")).predict(ask())
                await future.get()
                assert trio.current_time() - began < 635
                assert polls(emulator) - asked < 35


async def test_a_requests_own_callback_is_left_alone() -> None:
    async with receiving() as (emulator, client):
        own = "http://127.0.0.1:9/own"
        future = await (await async_endpoint(client)).predict(ask(3, callback_url=own))
        assert emulator.launch.tasks[future.async_task_id].body["callback_url"] == own
        assert (await future.get(timeout=20)).value == 3
        mine = {"callback_auth_kind": "mtls", "callback_auth_cert": "c", "callback_auth_key": "k"}
        future = await (await async_endpoint(client)).predict(ask(4, **mine))  # of the endpoint's own address
        assert emulator.launch.tasks[future.async_task_id].body["callback_auth"]["kind"] == "mtls"


async def test_a_callback_may_come_before_its_task_is_known_and_twice() -> None:
    async with receiving() as (_, client):
        url, headers = place(client)
        body = {"result": '{"x": 1}', "status_code": 200, "task_id": "early"}
        async with httpx.AsyncClient(headers=headers) as service:
            for _ in range(2):
                assert (await service.post(url, json=body)).status_code == 204
        future = client.future("any", "early")
        response = await future.get(timeout=1)
        assert (response.value, response.status, response.status_code) == ({"x": 1}, "SUCCESS", 200)


async def test_only_the_service_is_let_in() -> None:
    async with receiving(largest=1000, per_second=50) as (_, client):
        url, headers = place(client)
        parts = urlsplit(url)
        root = f"http://{parts.netloc}"
        good = json.dumps({"result": "1", "task_id": "t"}).encode()

        async with httpx.AsyncClient(timeout=10) as http:
            wrong = {"Authorization": "Basic " + base64.b64encode(b"trio-norman:guess").decode()}
            answers = [
                await http.post(url, content=good),
                await http.post(url, content=good, headers=wrong),
                await http.post(f"{root}/callbacks/guess", content=good, headers=headers),
                await http.get(url, headers=headers),
                await http.post(url, content=b"x" * 1001, headers=headers),
                await http.post(url, content=b"no json", headers=headers),
                await http.post(url, content=b'{"result": 1}', headers=headers),
                await http.post(url, content=good, headers=headers),
            ]
            assert [each.status_code for each in answers] == [401, 401, 404, 405, 413, 400, 400, 204]
            assert all(not each.content for each in answers)
            flood = [(await http.post(url, content=good, headers=headers)).status_code for _ in range(100)]
            assert {204, 429} == set(flood)


async def test_a_body_in_chunks_is_limited_too() -> None:
    async with receiving(largest=1000) as (_, client):
        url, headers = place(client)
        parts = urlsplit(url)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: h\r\nAuthorization: {headers['Authorization']}\r\n"
        async with await trio.open_tcp_stream(str(parts.hostname), parts.port or 0) as stream:
            await stream.send_all(
                f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"64\r\n" + b" " * 100 + b"\r\n"
            )
            await stream.send_all((b"64\r\n" + b" " * 100 + b"\r\n") * 10)
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")


async def test_what_speaks_no_http_or_takes_its_time_is_dropped() -> None:
    async with receiving(seconds=0.3, most_connections=2) as (_, client):
        parts = urlsplit(place(client)[0])
        with trio.fail_after(10):
            for sent in (b"\x16\x03\x01garbage\r\n\r\n", b"POST / HTTP/1.1\r\nHost: h", b"x" * 40_000, b""):
                async with await trio.open_tcp_stream(str(parts.hostname), parts.port or 0) as stream:
                    await stream.send_all(sent)
                    got = b"".join([block async for block in stream])
                    assert b"204" not in got
            receiver = client.open_state.receiver
            assert receiver is not None
            while receiver.server.connections:  # noqa: ASYNC110 (the last one ends on its own)
                await trio.sleep(0.01)


async def test_the_receiver_is_gone_with_its_client_and_shows_no_secret() -> None:
    async with receiving() as (_, client):
        url, headers = place(client)
        receiver = client.open_state.receiver
        secret = urlsplit(url).path.rpartition("/")[2]
        assert secret not in repr(receiver) + repr(client)
        assert headers["Authorization"] not in repr(receiver)
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.post(url, headers=headers)


async def test_a_host_with_two_addresses_leaves_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    listeners = list[trio.SocketListener]()

    async def open_two(port: int, *, host: str) -> list[trio.SocketListener]:
        for _ in range(2):
            listeners.extend(await open_one(port, host="127.0.0.1"))
        return list(listeners)

    open_one = trio.open_tcp_listeners
    async with open_emulator(runs=0) as emulator:
        monkeypatch.setattr(trio, "open_tcp_listeners", open_two)
        receiver = CallbackReceiver(host="localhost")
        async with LaunchClient(emulator.api_key, emulator.launch_base_url, callback_receiver=receiver):
            pass
    assert [each.socket.fileno() for each in listeners] == [-1, -1]


async def test_a_public_address_is_told_to_the_service() -> None:
    async with receiving(public_url="https://calls.example.org/base/") as (emulator, client):
        future = await (await async_endpoint(client)).predict(ask())
        told = emulator.launch.tasks[future.async_task_id].body
        assert told["callback_url"].startswith("https://calls.example.org/base/callbacks/")
        assert told["callback_auth"]["kind"] == "basic"
    for url in ("calls.example.org", "https://h/x?y=1", "https://h/x#f"):
        with pytest.raises(ConfigurationError):
            CallbackReceiver(public_url=url)
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(ConfigurationError, match="public_url"):
            CallbackReceiver(host=host)
        assert CallbackReceiver(host=host, public_url="https://calls.example.org").host == host
    with pytest.raises(ValueError, match="port"):
        CallbackReceiver(port=70_000)
