"""Where URLs that the Launch service hands out may lead: not to places that only we can reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.launch.launch_opening import SYNC, ask, open_in_memory, sync_endpoint
from tests.security.resolving import resolving
from trio_norman import ConnectionSettings
from trio_norman.emulator import open_emulator
from trio_norman.errors import AddressError
from trio_norman.launch import LaunchClient

UPLOADS = "/v1/hosted_inference/batch_task_input_upload"
FORBIDDEN = [
    ("https://169.254.169.254/latest/meta-data?signature=canary", "link-local"),
    ("https://[fe80::1]/x?signature=canary", "link-local"),
    ("https://10.0.0.1/x?signature=canary", "private"),
    ("https://192.168.1.1:8443/x?signature=canary", "private"),
    ("https://100.64.0.1/x?signature=canary", "shared"),
    ("https://224.0.0.1/x?signature=canary", "multicast"),
    ("https://0.0.0.0/x?signature=canary", "unspecified"),
    ("https://[::]/x?signature=canary", "unspecified"),
    ("https://[::ffff:169.254.169.254]/x?signature=canary", "link-local"),
]


def stored_at(url: str) -> str:
    return json.dumps({"status": "SUCCESS", "result": {"result_url": url}, "traceback": None, "status_code": 200})


@pytest.mark.parametrize(("url", "kind"), FORBIDDEN)
async def test_SEC_05_a_result_url_that_leads_to_our_network(
    url: str, kind: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """AddressError before anything is sent: the service is on this machine, which is no leave to go elsewhere."""
    async with open_in_memory() as (emulator, client):
        endpoint = await sync_endpoint(client)
        emulator.misbehave(SYNC, status=200, body=stored_at(url))
        response = await endpoint.predict(ask())
        assert response.result_url is not None
        sent = len(emulator.requests)
        with pytest.raises(AddressError, match=f"is a {kind} address") as caught:
            await response.fetch_result()
        with pytest.raises(AddressError, match=f"is a {kind} address"):
            await response.save_result(tmp_path, "result")
        assert type(caught.value) is AddressError
        assert "canary" not in str(caught.value)
        assert len(emulator.requests) == sent


@pytest.mark.parametrize(("url", "kind"), FORBIDDEN)
async def test_SEC_05_an_upload_that_leads_to_our_network(url: str, kind: str, autojump_clock: MockClock) -> None:
    """AddressError before the inputs are sent anywhere."""
    place = json.dumps({"signedUrl": url, "bucket": "b", "key": "k"})
    async with open_in_memory() as (emulator, client):
        emulator.misbehave(UPLOADS, status=200, body=place)
        with pytest.raises(AddressError, match=f"is a {kind} address") as caught:
            await client.batch_jobs.create("bun_x", labels={"team": "t", "product": "p"}, inputs=[1])
        assert type(caught.value) is AddressError
        assert "canary" not in str(caught.value)
        assert [each.method for each in emulator.requests] == ["POST"]


async def test_SEC_05_names_are_judged_by_where_they_lead() -> None:
    """AddressError for a name of a forbidden address, before it is contacted; success near the service itself."""
    resolver = resolving(evil_example_org=[["169.254.169.254"]], launch_example_org=[["127.0.0.1"]])
    async with open_emulator(runs=0) as emulator:
        emulator.register_endpoint("art", "sync", lambda args: args, artifact=True)
        address = emulator.launch_base_url.replace("127.0.0.1", "launch.example.org")
        connection = ConnectionSettings(allow_http=True, connect_seconds=5)
        async with LaunchClient(emulator.api_key, address, connection=connection) as client:
            good = await (await sync_endpoint(client, "art")).predict(ask(3, return_pickled=True))
            assert good.result_url is not None
            assert await good.fetch_result()  # where the service was reached, its storage may be as well
            emulator.misbehave(SYNC, status=200, body=stored_at("http://evil.example.org/x"))
            bad = await (await sync_endpoint(client)).predict(ask())
            emulator.misbehave(UPLOADS, status=200, body=json.dumps(
                {"signedUrl": "http://evil.example.org/x", "bucket": "b", "key": "k"}))  # fmt: skip
            with trio.fail_after(60):
                with pytest.raises(AddressError, match="link-local"):
                    await bad.fetch_result()
                with pytest.raises(AddressError, match="link-local"):
                    await client.batch_jobs.create("bun_x", labels={"team": "t", "product": "p"}, inputs=[1])
    assert "evil.example.org" in resolver.asked
