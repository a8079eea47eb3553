"""What must not show: the key, the credentials of callbacks, the ids of tasks, the queries of signed URLs."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from trio.testing import MockClock

from tests.launch.launch_opening import (
    ASYNC,
    STREAMING,
    SYNC,
    ask,
    async_endpoint,
    open_in_memory,
    send_instead,
    streamed,
    sync_endpoint,
)
from trio_norman import RetryPolicy
from trio_norman.errors import EndpointTaskError, EndpointTimeoutError, TrioNormanError
from trio_norman.launch import LaunchClient

KEY = "ptk_CANARYCANARYCANARY0123456789"
PAIR = base64.b64encode(f"{KEY}:".encode()).decode()
TASK = "CANARYTASKID"
URL = "https://storage.example.org/r.pkl?X-Signature=CANARYSIGNATURE"
Call = Callable[[LaunchClient], Awaitable[Any]]


async def poll(client: LaunchClient) -> Any:
    return await client.future("any", TASK).get(timeout=60)


async def predict(client: LaunchClient) -> Any:
    return await (await sync_endpoint(client)).predict(ask())


@pytest.mark.parametrize("status", [200, 400, 401, 422, 500])
@pytest.mark.parametrize(("call", "path"), [(poll, f"{ASYNC}/"), (predict, SYNC), (streamed, STREAMING)])
async def test_no_error_repeats_what_the_service_quotes(
    call: Call, path: str, status: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    said = f"{KEY} Basic {PAIR} {URL}"
    for body in (said, json.dumps({"detail": said}), json.dumps({"error": said, "request_id": "r"})):
        async with open_in_memory(retry=RetryPolicy(attempts=1), api_key=KEY) as (emulator, client):
            emulator.misbehave(path, status=status, body=body)
            with pytest.raises(TrioNormanError) as raised:
                await call(client)
        shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + caplog.text
        for canary in (KEY, PAIR, TASK) + (() if status == 200 else ("CANARYSIGNATURE",)):
            assert canary not in shown


async def test_an_event_that_cannot_be_read_is_not_shown(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        send_instead(emulator, f'data: {{"result_url": "{URL}"\n\n'.encode())
        with pytest.raises(TrioNormanError) as raised:
            await streamed(client)
        assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize(
    "parts",
    [
        {"callback_auth_kind": "basic", "callback_auth_username": "u", "callback_auth_password": 'CANARY"ü\\PASSWORD'},
        {"callback_auth_kind": "mtls", "callback_auth_cert": "c", "callback_auth_key": "CANARY\nKEY"},
    ],
)
async def test_the_credentials_of_a_callback_are_not_repeated(parts: dict[str, Any], autojump_clock: MockClock) -> None:
    request = ask(callback_url="https://h/x", **parts)
    async with open_in_memory() as (emulator, client):
        endpoint = await async_endpoint(client)
        for said in (json.dumps(request.callback_auth), repr(request.callback_auth), str(request.callback_auth)):
            emulator.misbehave(ASYNC, status=400, body=json.dumps({"detail": f"cannot use {said}"}), times=1)
            with pytest.raises(TrioNormanError, match="cannot use") as raised:
                await endpoint.predict(request)
            assert "CANARY" not in str(raised.value)


async def test_credentials_of_endpoints_are_kept_and_not_shown(autojump_clock: MockClock) -> None:
    auth = {"kind": "basic", "username": "u", "password": "CANARYPASSWORD"}
    async with open_in_memory() as (emulator, client):
        emulator.register_endpoint("secret", "async", lambda args: args, fields={"default_callback_auth": auth})
        found = (await async_endpoint(client, "secret")).model_endpoint
        assert found.default_callback_auth is not None
        assert found.default_callback_auth.password is not None
        assert found.default_callback_auth.password.reveal() == "CANARYPASSWORD"
        assert "CANARY" not in repr(found) + json.dumps(found.to_dict())


async def test_the_key_goes_to_the_service_alone(autojump_clock: MockClock) -> None:
    async with open_in_memory(api_key=KEY) as (emulator, client):
        await predict(client)
        await client.http_client.get(emulator.blob_url(10))
        shown = repr(client) + repr(client.http_client.headers) + repr(client.open_state)
        sent = {each.server: each.headers.get("authorization") for each in emulator.requests}
    assert sent == {"api": f"Basic {PAIR}", "storage": None}
    assert KEY not in shown
    assert PAIR not in shown


def test_the_errors_of_endpoints_survive_pickling() -> None:
    for error in (EndpointTimeoutError("name", 3.0, "STARTED"), EndpointTaskError("name", "FAILURE", 500, "boom")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


async def test_a_full_service_is_asked_again(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        emulator.launch.most_requests = 3
        async with endpoint.predict_many([ask(number) for number in range(40)], 20) as answers:
            values = sorted([outcome.value async for _, outcome in answers])  # type: ignore[union-attr]
        assert values == list(range(40))
