"""Bodies that take their time, to a transport that takes them at any speed under a clock that jumps."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from trio_norman import ConnectionSettings, RetryPolicy
from trio_norman.errors import HeadTimeoutError, SlowTransferError
from trio_norman.launch import LaunchClient, LaunchLimits

MIB = 2**20
PLACE = {"signedUrl": "http://127.0.0.1/put?signature=s", "bucket": "b", "key": "k"}
LABELS = {"team": "t", "product": "p"}


@attrs.define(eq=False)
class SlowService(httpx.AsyncBaseTransport):
    """Takes bodies at a speed that `seconds_of` a piece tells, and answers after `thinks` seconds."""

    seconds_of: Callable[[int], float]
    thinks: float = 0.0
    taken: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        size = 0
        pieces = aiter(request.stream)
        assert isinstance(pieces, AsyncGenerator)  # httpx has made it one
        async with aclosing(pieces):
            async for piece in pieces:
                size += len(piece)
                await trio.sleep(self.seconds_of(size) if size > 1000 else 0)
        self.taken = max(self.taken, size)
        assert int(request.headers["Content-Length"]) == size
        if size > 1000:
            await trio.sleep(self.thinks)
        answers: dict[str, Any] = {"/batch_task_input_upload": PLACE, "/v1/batch-jobs": {"job_id": "bat_1"}}
        answer = next((each for path, each in answers.items() if request.url.path.endswith(path)), {"id": "f-1"})
        return httpx.Response(200, content=json.dumps(answer), headers={"Content-Type": "application/json"})


def client_of(service: SlowService) -> LaunchClient:
    connection = ConnectionSettings(transport=service, head_seconds=5)
    retry = RetryPolicy(attempts=2, initial=0)
    limits = LaunchLimits(predict_seconds=5)
    return LaunchClient("key", "http://127.0.0.1", connection=connection, limits=limits, retry=retry)


async def upload_file(client: LaunchClient) -> str:
    return await client.files.upload(b"x" * 8 * MIB, "slow.txt")


async def upload_inputs(client: LaunchClient) -> str:
    return await client.batch_jobs.create("bun_x", labels=LABELS, inputs=["x" * 6 * MIB])


@pytest.mark.parametrize("upload", [upload_file, upload_inputs])
async def test_an_upload_that_advances_is_not_cut(upload: Any, autojump_clock: MockClock) -> None:
    service = SlowService(lambda size: 2.0, thinks=4.0)
    async with client_of(service) as client:
        assert await upload(client) in ("f-1", "bat_1")
    assert service.taken > 8 * MIB
    assert trio.current_time() > 60


@pytest.mark.parametrize(("upload", "attempts"), [(upload_file, 1), (upload_inputs, 2)])
async def test_an_upload_that_stalls_is_given_up(upload: Any, attempts: int, autojump_clock: MockClock) -> None:
    async with client_of(SlowService(lambda size: math.inf if size > 2 * MIB else 0.0)) as client:
        with pytest.raises(SlowTransferError, match="the body was not taken") as caught:
            await upload(client)
    assert caught.value.attempts == attempts
    assert trio.current_time() == pytest.approx(30 * attempts, abs=5)


@pytest.mark.parametrize(("upload", "attempts"), [(upload_file, 1), (upload_inputs, 2)])
async def test_an_answer_to_an_upload_has_its_limit(upload: Any, attempts: int, autojump_clock: MockClock) -> None:
    async with client_of(SlowService(lambda size: 0.0, thinks=math.inf)) as client:
        with pytest.raises(HeadTimeoutError, match="no answer within 5 s") as caught:
            await upload(client)
    assert (caught.value.attempts, caught.value.may_have_happened) == (attempts, attempts == 1)
    assert trio.current_time() == pytest.approx(5 * attempts, abs=1)
