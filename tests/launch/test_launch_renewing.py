"""Endpoints whose ids are gone: which ones are looked up again, and by what."""

from __future__ import annotations

import json

import pytest
from trio.testing import MockClock

from tests.launch.launch_opening import ask, open_in_memory, streaming_endpoint, sync_endpoint
from trio_norman.errors import NotFoundError


async def test_an_endpoint_that_was_made_anew_is_looked_up_again(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        emulator.register_endpoint("echo-sync", "sync", lambda args: "new")
        assert (await endpoint.predict(ask())).value == "new"
        emulator.requests.clear()
        assert (await endpoint.predict(ask())).value == "new"
        assert len(emulator.requests) == 1
        del emulator.launch.endpoints["echo-sync"]
        with pytest.raises(NotFoundError, match="echo-sync"):
            await endpoint.predict(ask())


async def test_streams_and_looks_find_an_endpoint_that_was_made_anew(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        endpoint, looked_at = await streaming_endpoint(client), await streaming_endpoint(client)
        emulator.register_endpoint("echo-stream", "streaming", lambda args: ["new"])
        assert await looked_at.status() == "READY"
        assert looked_at.model_endpoint.id != endpoint.model_endpoint.id
        async with endpoint.predict(ask()) as stream:
            assert [response.value async for response in stream] == ["new"]
        assert endpoint.model_endpoint.id == looked_at.model_endpoint.id
        del emulator.launch.endpoints["echo-stream"]
        with pytest.raises(NotFoundError, match="echo-stream"):
            await endpoint.resource_state()
        with pytest.raises(NotFoundError, match="echo-stream"):
            async with endpoint.predict(ask()):
                pass


async def test_an_endpoint_that_was_asked_for_by_its_id_is_no_other_of_that_name(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, client):
        own = await sync_endpoint(client)
        foreign = {**own.model_endpoint.to_dict(), "id": "end_foreign", "public_inference": True}
        emulator.misbehave("/v1/model-endpoints/end_foreign", status=200, body=json.dumps(foreign))
        other = await sync_endpoint(client, "end_foreign")
        emulator.register_endpoint("echo-sync", "sync", lambda args: "own")
        assert (await own.predict(ask())).value == "own"
        emulator.requests.clear()
        with pytest.raises(NotFoundError):  # the emulator has no such endpoint; nobody else is asked in its place
            await other.predict(ask())
        (request,) = emulator.requests
        assert "end_foreign" in request.query
