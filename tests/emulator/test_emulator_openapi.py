"""The emulator's later dialect: what only its requests show, beside what the clients' own tests see."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.emulator.conftest import Served
from trio_norman.testing import open_memory_emulator

V1 = "/api/openapi/v1"


async def test_the_key_is_looked_for_in_both_headers(served: Served) -> None:
    for authorization, status in (
        (f"Bearer {served.emulator.api_key}", 200),
        ("Bearer other", 401),
        (served.emulator.api_key, 401),
    ):
        answer = await served.api.get(f"{V1}/api-key/verify", headers={"Authorization": authorization})
        assert answer.status_code == status
    nobody = await served.store.get(f"{served.emulator.base_url}{V1}/api-key/verify")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "training-runs/nobody", 404, "not_found"),
        ("GET", "training-runs/nobody/checkpoints", 404, "not_found"),
        ("GET", "training-runs/by-checkpoint-uri?checkpoint_uri=trio://x/y/z", 404, "not_found"),
        ("GET", "training-runs?access_scope=all", 400, "invalid_query_params"),
        ("GET", "checkpoints?limit=0", 400, "invalid_query_params"),
        ("GET", "checkpoints/nothing/download-url", 404, "not_found"),
        ("DELETE", "checkpoints/nothing", 404, "not_found"),
        ("GET", "service-sessions/nobody", 404, "not_found"),
        ("POST", "service-sessions/nobody/renew", 404, "not_found"),
        ("GET", "sampling-runs/nobody", 404, "not_found"),
    ],
)
async def test_refusals_have_the_services_envelope(
    served: Served, method: str, path: str, status: int, code: str
) -> None:
    answer = await served.api.request(method, f"{V1}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["message"], str)


async def test_a_session_is_opened_kept_and_closed(served: Served) -> None:
    opened = await served.api.post(f"{V1}/service-sessions", json={"sdk_version": "0.2.9"})
    session = opened.json()
    assert (opened.status_code, session["status"]) == (201, "ACTIVE")
    path = f"{V1}/service-sessions/{session['service_session_cuid']}"
    served.emulator.clock.jump(60)
    renewed = (await served.api.post(f"{path}/renew")).json()
    assert renewed["updated_at"] > session["updated_at"]
    assert (await served.api.post(f"{path}/close", json={"status": "SLEEPING"})).status_code == 400
    assert (await served.api.post(f"{path}/close", content=b"[]")).json()["code"] == "invalid_request_body"
    assert (await served.api.post(f"{path}/close", json={"status": "CANCELLED"})).status_code == 200
    closed = (await served.api.get(path)).json()
    assert (closed["status"], closed["training_run_cuids"]) == ("CANCELLED", [])
    assert (await served.api.post(f"{path}/close")).status_code == 200  # as clients before 0.2.7 do it
    assert (await served.api.get(path)).json()["status"] == "ENDED"


@pytest.mark.parametrize("status", ["compatible", "warning", "blocked"])
async def test_a_client_is_told_what_its_version_is_worth(served: Served, status: str) -> None:
    served.emulator.bootstrap_status = status
    told = (await served.api.get("/api/sdk/bootstrap?sdk_version=0.2.9")).json()
    assert (told["compatibility"]["status"], told["compatibility"]["sdk_version"]) == (status, "0.2.9")
    assert told["notices"] == []


async def test_what_clients_say_of_themselves_is_taken(served: Served) -> None:
    answer = await served.api.post("/api/telemetry/event", json={"events": [1]})
    assert answer.is_success
    assert served.emulator.requests[-1].body == b'{"events":[1]}'


async def test_where_a_checkpoint_is_changes_with_the_clock(served: Served) -> None:
    emulator, checkpoint = served.emulator, served.emulator.checkpoints[0]

    async def source() -> Any:
        answer = await served.api.get(f"{V1}/checkpoints/{checkpoint.checkpoint_id}/download-url")
        return answer.json() if answer.is_success else answer.status_code

    emulator.place(checkpoint.checkpoint_id, "SAVING", seconds=10)
    assert await source() == 409
    emulator.place(checkpoint.checkpoint_id, "SYNCING", seconds=10)
    told = await source()
    assert (told["source"], told["checkpoint_status"], told["tls_cert_pem"]) == ("actor", "SYNCING", None)
    assert (await served.store.get(told["url"])).content == (
        await served.store.get(emulator.archive_url(checkpoint.checkpoint_id)[0])
    ).content
    emulator.clock.jump(10)
    told = await source()
    assert (told["source"], told["checkpoint_status"]) == ("object_storage", "READY")
    assert [request.server for request in emulator.requests.of("actor", "storage")] == ["actor", "storage"]
    emulator.placements.actor = None
    emulator.place(checkpoint.checkpoint_id, "LOCAL")
    assert await source() == 409
    with pytest.raises(KeyError):
        emulator.place("nothing", "LOCAL")


async def test_older_clients_find_archives_by_their_own_route(served: Served) -> None:
    checkpoint = served.emulator.checkpoints[0]
    told = (await served.api.get(f"{V1}/checkpoints/{checkpoint.checkpoint_id}/archive")).json()
    assert len((await served.store.get(told["url"])).content) == checkpoint.size_bytes
    assert told["expires_at"].endswith("Z")


@pytest.mark.parametrize(("dialects", "spoken"), [(("v1",), [200, 404]), (("classic",), [404, 200]), ((), [404, 404])])
async def test_an_emulator_speaks_what_it_is_told_to(dialects: Any, spoken: list[int]) -> None:
    async with open_memory_emulator(runs=0, dialects=dialects) as (emulator, transport):
        headers = {"X-API-KEY": emulator.api_key}
        async with httpx.AsyncClient(transport=transport, base_url=emulator.base_url, headers=headers) as api:
            paths = (f"{V1}/api-key/verify", "/api/user/me")
            assert [(await api.get(path)).status_code for path in paths] == spoken
