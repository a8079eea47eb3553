"""How the tests of the Launch service open what they need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack

from trio_norman import ConnectionSettings, RetryPolicy
from trio_norman.emulator import Emulator, EmulatorOptions
from trio_norman.launch import (
    AsyncEndpoint,
    EndpointRequest,
    LaunchClient,
    LaunchLimits,
    StreamingEndpoint,
    SyncEndpoint,
)
from trio_norman.testing import open_memory_emulator

ASYNC, STREAMING, SYNC = "/v1/async-tasks", "/v1/streaming-tasks", "/v1/sync-tasks"


@asynccontextmanager
async def open_in_memory(
    retry: RetryPolicy | None = None, limits: LaunchLimits | None = None, **options: Unpack[EmulatorOptions]
) -> AsyncIterator[tuple[Emulator, LaunchClient]]:
    """Open an emulator without sockets and a client of it, for tests under the autojump clock."""
    async with open_memory_emulator(**options) as (emulator, transport):
        connection = ConnectionSettings(transport=transport)
        address = emulator.launch_base_url
        async with LaunchClient(emulator.api_key, address, connection=connection, retry=retry, limits=limits) as client:
            yield emulator, client


async def sync_endpoint(client: LaunchClient, name: str = "echo-sync") -> SyncEndpoint:
    endpoint = await client.get_model_endpoint(name)
    assert isinstance(endpoint, SyncEndpoint)
    return endpoint


async def async_endpoint(client: LaunchClient, name: str = "echo-async") -> AsyncEndpoint:
    endpoint = await client.get_model_endpoint(name)
    assert isinstance(endpoint, AsyncEndpoint)
    return endpoint


async def streaming_endpoint(client: LaunchClient, name: str = "echo-stream") -> StreamingEndpoint:
    endpoint = await client.get_model_endpoint(name)
    assert isinstance(endpoint, StreamingEndpoint)
    return endpoint


def ask(args: Any = 1, **parts: Any) -> EndpointRequest:
    return EndpointRequest(args=args, **parts)


def polls(emulator: Emulator) -> int:
    """Count the questions after tasks so far."""
    return sum(each.method == "GET" and each.path.startswith(ASYNC) for each in emulator.requests)


def event(value: Any, eol: str = "\r\n") -> bytes:
    """Write one event as the service does."""
    told = {"status": "SUCCESS", "result": {"result": value}, "traceback": None, "status_code": 200}
    return f"data: {json.dumps(told, ensure_ascii=False)}{eol}{eol}".encode()


def send_instead(emulator: Emulator, *blocks: bytes, **parts: Any) -> None:
    """Have the next stream consist of these blocks."""
    emulator.misbehave(
        STREAMING, **{"status": 200, "body": lambda: iter(blocks), "content_type": "text/event-stream", **parts}
    )


async def streamed(client: LaunchClient, args: Any = 1, name: str = "echo-stream") -> list[Any]:
    """Give the values of a stream's events."""
    endpoint = await streaming_endpoint(client, name)
    async with endpoint.predict(ask(args)) as stream:
        return [response.value async for response in stream]


def cut(data: bytes, size: int) -> Sequence[bytes]:
    """Cut bytes into blocks."""
    return [data[start : start + size] for start in range(0, len(data), size)]
