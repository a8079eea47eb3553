"""The last part of ``demo``: a synchronous prediction, a stream, and hundreds of futures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from ..launch import AsyncEndpoint, EndpointRequest, LaunchClient, StreamingEndpoint, SyncEndpoint
from ._exits import Exit
from ._output import Write, json_text

if TYPE_CHECKING:
    from ..emulator import Emulator

FUTURES = 200
TIMEOUT = 30.0  # seconds for each of them
_WORDS = ["every", "byte", "is", "verified", "and", "every", "answer", "arrives"]


def register(emulator: Emulator) -> None:
    """Have the emulator serve what is shown."""
    emulator.register_endpoint("demo-words", "streaming", _words, delay=0.02)
    emulator.register_endpoint("demo-square", "async", _square, delay=lambda number: 0.05 + number % 10 * 0.05)


def _words(args: Any) -> Sequence[str]:
    return _WORDS


def _square(number: int) -> int:
    return number * number


async def show_endpoints(emulator: Emulator, write: Write) -> int:
    """Ask endpoints of all three kinds, write what they answer, and return the exit code."""
    register(emulator)
    async with LaunchClient(emulator.api_key, emulator.launch_base_url) as client:
        sync = await client.get_model_endpoint("echo-sync")
        assert isinstance(sync, SyncEndpoint)  # noqa: S101 (registered as such)
        answer = (await sync.predict(EndpointRequest(args={"x": 1}))).raise_for_status()
        await write(f"echo-sync answered {json_text(answer.value)}\n")

        streaming = await client.get_model_endpoint("demo-words")
        assert isinstance(streaming, StreamingEndpoint)  # noqa: S101 (registered above)
        async with streaming.predict(EndpointRequest(args={})) as stream:
            words = [str(response.value) async for response in stream]
        await write(f"demo-words streamed {len(words)} events: {' '.join(words)}\n")

        slow = await client.get_model_endpoint("demo-square")
        assert isinstance(slow, AsyncEndpoint)  # noqa: S101 (registered above)
        began = trio.current_time()
        right = await _right_answers(slow)
        seconds = trio.current_time() - began
    polls = sum(task.polls for task in emulator.launch.tasks.values()) / FUTURES
    await write(
        f"{right} of {FUTURES} futures of demo-square answered in {seconds:.1f} s, each with a timeout of"
        f" {TIMEOUT:g} s; {polls:.1f} polls a task\n"
    )
    return Exit.OK if right == FUTURES else Exit.OTHER


async def _right_answers(endpoint: AsyncEndpoint) -> int:
    """Make all tasks, then wait for all of their futures at once."""
    right = 0

    async def wait_for_one(number: int) -> None:
        nonlocal right
        future = await endpoint.predict(EndpointRequest(args=number))
        response = await future.get(timeout=TIMEOUT)
        right += response.value == _square(number)

    async with trio.open_nursery() as nursery:
        for number in range(FUTURES):
            nursery.start_soon(wait_for_one, number)
    return right
