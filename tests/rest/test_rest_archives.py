"""Where archives lie in the later dialect: the rules of a source, actors and their certificates, waiting."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from tests.rest.rest_opening import QUICK, asked, at, open_in_memory, service, visible
from trio_norman import Checkpoint, ConnectionSettings, Outcome, RestClient, ServiceClient, Weight
from trio_norman.emulator import Actor, Emulator, open_emulator
from trio_norman.emulator._certificates import make_certificate
from trio_norman.errors import (
    ChecksumMismatchError,
    ConfigurationError,
    MalformedResponseError,
    NotReadyError,
    TlsError,
)

pytestmark = [pytest.mark.parametrize("api", ["v1"], indirect=True), pytest.mark.usefixtures("api")]


@pytest.fixture
async def emulator(api: str) -> AsyncIterator[Emulator]:
    """One run with four checkpoints, of which the second still lies with its actor."""
    async with open_emulator(runs=1, checkpoints=4, size_bytes=3_000_000, actor=True) as emulator:
        emulator.place(emulator.checkpoints[1].checkpoint_id, "LOCAL")
        yield emulator


def actor_of(emulator: Emulator) -> Actor:
    assert emulator.actor is not None
    return emulator.actor


async def item_at(rest: RestClient, position: int) -> Checkpoint:
    return (await rest.list_user_checkpoints()).checkpoints[position]


# ---- the rules of a source

SOUND: dict[str, Any] = {
    "url": "https://actor.test/a.zip?sig=canary",
    "expires_at": "2026-01-01T00:00:00Z",
    "source": "actor",
    "checkpoint_status": "LOCAL",
    "tls_cert_pem": None,
    "tls_not_after": None,
}
PEM = make_certificate("127.0.0.1").pem
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"url": "ftp://h/a"}, "not an absolute http or https URL @ $.url"),
    ({"url": "/models/a.zip"}, "not an absolute http or https URL @ $.url"),
    ({"source": "object_storage", "tls_cert_pem": PEM}, "a certificate for the object storage @ $.tls_cert_pem"),
    ({"url": "http://127.0.0.1:1/a", "tls_cert_pem": PEM}, "a certificate for plain http @ $.tls_cert_pem"),
    ({"tls_not_after": "2026-01-01T00:00:00Z"}, "an end without a certificate @ $.tls_not_after"),
    ({"tls_cert_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "no certificate"),
    ({"tls_cert_pem": "mine"}, "it holds no certificate @ $.tls_cert_pem"),
    ({"tls_cert_pem": ""}, "it holds no certificate @ $.tls_cert_pem"),
    ({"tls_cert_pem": "ü"}, "@ $.tls_cert_pem"),
    ({"tls_cert_pem": PEM * 200}, "longer than 64 KiB @ $.tls_cert_pem"),
]


@pytest.mark.parametrize(("change", "problem"), BROKEN, ids=range(len(BROKEN)))
async def test_a_source_that_breaks_the_rules_is_not_asked(
    emulator: Emulator, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    async with service(emulator).create_rest_client() as rest:
        item = await item_at(rest, 0)
        emulator.misbehave(f".*{at('archive')}", status=200, body=json.dumps({**SOUND, **change}))
        with pytest.raises(MalformedResponseError) as caught:
            await rest.download_checkpoint(item, tmp_path)
        with pytest.raises(MalformedResponseError):
            await rest.get_archive_url(item.checkpoint_id)
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]
    assert "canary" not in str(caught.value)
    assert emulator.requests.of("storage", "actor") == []


async def test_words_of_a_source_that_nobody_knows_are_kept(emulator: Emulator) -> None:
    async with service(emulator).create_rest_client() as rest:
        body = json.dumps({**SOUND, "source": "tape", "checkpoint_status": "WINDING"})
        emulator.misbehave(f".*{at('archive')}", status=200, body=body)
        archive = await rest.get_checkpoint_archive_url("r", "c")
    assert (archive.source, archive.checkpoint_status) == ("tape", "WINDING")


# ---- actors


async def test_an_actor_is_trusted_by_the_certificate_that_the_service_told(emulator: Emulator, tmp_path: Path) -> None:
    async with service(emulator).create_rest_client() as rest:
        async with rest.download_checkpoints(rest.iter_user_checkpoints(), tmp_path, max_connections=6) as results:
            found = [result async for result in results]
    for result in found:
        assert result.outcome is Outcome.OK
        assert result.sha256 == emulator.sha256_of(result.item.checkpoint_id)
    local = emulator.requests.of("actor")
    assert {request.path for request in local} == {f"/{emulator.checkpoints[1].object_key}"}
    assert len({request.path for request in emulator.requests.of("storage")}) == 3
    for request in [*local, *emulator.requests.of("storage")]:
        assert {"x-api-key", "authorization"}.isdisjoint(request.headers)
        assert emulator.api_key not in repr(request.header_list)


@pytest.mark.parametrize("size", [0, 1, 5000, 1_500_000, 20_000_000])
async def test_archives_of_any_size_come_from_an_actor(emulator: Emulator, tmp_path: Path, size: int) -> None:
    added = emulator.state.add_checkpoint(emulator.training_runs[0].training_run_id, size_bytes=size)
    emulator.place(added.checkpoint_id, "SYNCING")
    async with service(emulator).create_rest_client() as rest:
        item = await item_at(rest, 4)
        result = await rest.download_checkpoint(item, tmp_path, max_connections=4, part_bytes=2**20)
        again = await rest.download_checkpoint(item, tmp_path)
    assert (result.size_bytes, result.sha256) == (size, emulator.sha256_of(added.checkpoint_id))
    assert again.outcome is Outcome.SKIPPED
    assert emulator.requests.of("storage") == []


@pytest.mark.parametrize("position", [1, 4])
async def test_an_actor_with_another_certificate_fails_at_once(
    emulator: Emulator, tmp_path: Path, position: int
) -> None:
    small = emulator.state.add_checkpoint(emulator.training_runs[0].training_run_id, size_bytes=5000)
    emulator.place(small.checkpoint_id, "LOCAL")
    actor_of(emulator).told_pem = make_certificate("127.0.0.1").pem
    async with service(emulator).create_rest_client() as rest:
        item = await item_at(rest, position)
        with pytest.raises(TlsError, match="certificate") as caught:
            await rest.download_checkpoint(item, tmp_path)
        assert caught.value.attempts == 1
        assert not caught.value.retryable
        # The certificate of one actor opens nothing else, and the others are none the worse for it.
        await rest.download_checkpoint(await item_at(rest, 0), tmp_path)
    assert emulator.requests.of("actor") == []
    assert len(asked(emulator, path=item.checkpoint_id)) == 1
    assert len(visible(tmp_path)) == 1


async def test_an_actor_without_a_certificate_must_be_known_to_the_system(emulator: Emulator, tmp_path: Path) -> None:
    actor_of(emulator).told_pem = actor_of(emulator).told_not_after = None
    async with service(emulator).create_rest_client() as rest:
        with pytest.raises(TlsError):
            await rest.download_checkpoint(await item_at(rest, 1), tmp_path)


async def test_a_certificate_near_its_end_is_asked_for_again(emulator: Emulator, tmp_path: Path) -> None:
    actor_of(emulator).told_not_after = emulator.clock.now() - 5
    async with service(emulator).create_rest_client() as rest:
        item = await item_at(rest, 1)
        await rest.download_checkpoint(item, tmp_path)  # what is still too short is used anyway
    assert len(asked(emulator, path=item.checkpoint_id)) == 2


async def test_a_transport_of_the_users_own_cannot_be_told_whom_to_trust(emulator: Emulator, tmp_path: Path) -> None:
    async with httpx.AsyncHTTPTransport() as transport:
        connection = ConnectionSettings(transport=transport)
        maker = ServiceClient(emulator.api_key, emulator.base_url, connection=connection, retry=QUICK)
        async with maker.create_rest_client() as rest:
            with pytest.raises(ConfigurationError, match=r"leave ConnectionSettings\.transport out"):
                await rest.download_checkpoint(await item_at(rest, 1), tmp_path)
            await rest.download_checkpoint(await item_at(rest, 0), tmp_path)


async def test_a_weight_is_downloaded_with_the_size_that_was_announced(emulator: Emulator, tmp_path: Path) -> None:
    async with service(emulator).create_rest_client() as rest:
        found = [weight async for weight in rest.iter_weights()]
        assert [weight.size_bytes for weight in found] == [3_000_000] * 2
        result = await rest.download_checkpoint(found[1], tmp_path)
    assert isinstance(result.item, Weight)
    assert result.sha256 == emulator.sha256_of(found[1].cuid)


@pytest.mark.parametrize("position", [0, 1])  # from the storage, and from the actor
async def test_a_size_that_was_announced_is_compared(emulator: Emulator, tmp_path: Path, position: int) -> None:
    emulator.inject(emulator.checkpoints[position].checkpoint_id, size=2_000_000)
    async with service(emulator).create_rest_client() as rest:
        with pytest.raises(ChecksumMismatchError, match="size announced as 3000000"):
            await rest.download_checkpoint(await item_at(rest, position), tmp_path)
    assert visible(tmp_path) == []


async def test_a_url_of_an_actor_that_expires_is_renewed_once_for_all_connections(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(emulator.checkpoints[1].checkpoint_id, rate=4_000_000)
    async with service(emulator).create_rest_client() as rest:
        item = await item_at(rest, 1)
        transfer = rest.start_download(item, tmp_path, max_connections=3, part_bytes=2**20)
        with trio.fail_after(10):
            while not emulator.requests.of("actor"):
                await trio.testing.wait_all_tasks_blocked(0.001)
        emulator.clock.jump(emulator.url_lifetime)  # whoever asks with the first URL from now on is refused
        result = await transfer.wait()
    assert result.sha256 == emulator.sha256_of(item.checkpoint_id)
    statuses = [request.status for request in emulator.requests.of("actor")]
    assert 403 in statuses
    assert len(asked(emulator, path=f"{item.checkpoint_id}{at('archive')}")) == 2


# ---- the service's clock


async def test_how_long_a_url_is_good_is_judged_by_the_services_own_clock(tmp_path: Path) -> None:
    async with open_in_memory(runs=1, checkpoints=1, size_bytes=5000, epoch=4e9) as (emulator, rest):  # the year 2096
        await rest.download_checkpoint(await item_at(rest, 0), tmp_path)
        assert len(asked(emulator, path=at("archive"))) == 1
        archive = await rest.get_archive_url(emulator.checkpoints[0].checkpoint_id)
        assert archive.expires is not None
        assert archive.expires > datetime.datetime.now(datetime.UTC)


# ---- waiting


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """A clock that jumps over waits, but not while a disk works: that would end requests which are under way."""
    return trio.testing.MockClock(autojump_threshold=0.1)


async def test_what_cannot_be_had_yet_is_asked_for_again(tmp_path: Path, patient_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(runs=1, checkpoints=2, size_bytes=5000) as (emulator, rest):
        emulator.place(emulator.checkpoints[0].checkpoint_id, "SAVING", seconds=20)
        item, before = await item_at(rest, 0), trio.current_time()
        result = await rest.download_checkpoint(item, tmp_path)
        assert result.sha256 == emulator.sha256_of(item.checkpoint_id)
        assert trio.current_time() - before >= 20
        statuses = [request.status for request in asked(emulator, path=at("archive"))]
        assert statuses == [409] * (len(statuses) - 1) + [200]
        assert 2 <= len(statuses) <= 7  # at most after 1, 2, 4, 8 and 16 seconds; the clock jumps while disks work


@pytest.mark.parametrize(("within", "questions"), [(0, 1), (10, 6), (60, 8)])
async def test_waiting_has_an_end_and_spoils_nothing_else(
    tmp_path: Path, within: float, questions: int, patient_clock: trio.testing.MockClock
) -> None:
    async with open_in_memory(runs=1, checkpoints=3, size_bytes=5000) as (emulator, rest):
        emulator.place(emulator.checkpoints[1].checkpoint_id, "SAVING")
        before = trio.current_time()
        batch = rest.download_checkpoints(rest.iter_user_checkpoints(), tmp_path, ready_within=within)
        async with batch as results:
            found = {result.item.checkpoint_id: result async for result in results}
        failed = found.pop(emulator.checkpoints[1].checkpoint_id)
        assert isinstance(failed.error, NotReadyError)
        assert "409" in str(failed.error)
        assert failed.error.retryable
        assert {result.outcome for result in found.values()} == {Outcome.OK}
        assert trio.current_time() - before >= within
        asked_for = asked(emulator, path=f"{emulator.checkpoints[1].checkpoint_id}{at('archive')}")
        assert 1 <= len(asked_for) <= questions


async def test_waiting_can_be_cancelled(tmp_path: Path, patient_clock: trio.testing.MockClock) -> None:
    async with open_in_memory(runs=1, checkpoints=1, size_bytes=5000) as (emulator, rest):
        emulator.place(emulator.checkpoints[0].checkpoint_id, "SAVING")
        item, before = await item_at(rest, 0), trio.current_time()
        with trio.move_on_after(12) as scope:
            await rest.download_checkpoint(item, tmp_path)
        assert scope.cancelled_caught
        assert trio.current_time() - before >= 12
        transfer = rest.start_download(item, tmp_path, ready_within=30)
        with pytest.raises(NotReadyError):
            await transfer.wait()


@pytest.mark.parametrize("status", ["LOCAL", "SYNCING"])
async def test_whoever_wants_it_from_the_storage_waits_until_it_is_there(
    tmp_path: Path, status: str, patient_clock: trio.testing.MockClock
) -> None:
    async with open_in_memory(runs=1, checkpoints=1, size_bytes=5000) as (emulator, rest):
        emulator.place(emulator.checkpoints[0].checkpoint_id, status, seconds=20)
        item = await item_at(rest, 0)
        result = await rest.download_checkpoint(item, tmp_path / "now")
        assert result.outcome is Outcome.OK
        assert (len(emulator.requests.of("actor")), len(emulator.requests.of("storage"))) == (1, 0)
        with pytest.raises(NotReadyError, match=f"the checkpoint is {status}"):
            await rest.download_checkpoint(item, tmp_path / "soon", synced=True, ready_within=5)
        result = await rest.download_checkpoint(item, tmp_path / "later", synced=True)
        assert result.outcome is Outcome.OK
        assert (len(emulator.requests.of("actor")), len(emulator.requests.of("storage"))) == (1, 1)
