"""What still waits when its client is closed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import STREAMING, ask, open_in_memory, streaming_endpoint
from trio_norman.launch import EndpointResponse, LaunchClient


async def ends_closed(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(trio.ClosedResourceError), trio.fail_after(5):
        await call()


async def test_opening_a_stream_ends_with_the_client(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_in_memory() as (emulator, client):
            endpoint = await streaming_endpoint(client)
            emulator.misbehave(STREAMING, delay=math.inf)

            async def open_stream() -> None:
                async with endpoint.predict(ask()):
                    pass

            nursery.start_soon(ends_closed, open_stream)
            await trio.sleep(1)
        await ends_closed(open_stream)


async def test_fetching_a_result_ends_with_the_client(tmp_path: Path) -> None:
    """On sockets: a clock that jumps does not know of the worker threads that files are written in."""
    asked = trio.Event()

    async def say_nothing(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            asked.set()
            await trio.sleep_forever()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/x?signature=s"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, say_nothing, [listener])
        async with trio.open_nursery() as waiting, LaunchClient("key", "http://127.0.0.1:9") as client:
            response = EndpointResponse(client, "SUCCESS", url)
            waiting.start_soon(ends_closed, response.fetch_result)
            await asked.wait()
        await ends_closed(lambda: response.save_result(tmp_path, "late"))
        nursery.cancel_scope.cancel()
