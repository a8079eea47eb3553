"""Which dialect is spoken, how it is found out, and what only one of them can say."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.rest.rest_opening import QUICK, asked, at, page_text
from trio_norman import RestClient, ServiceClient
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    MalformedResponseError,
    NotFoundError,
    ServiceBrokenError,
    UnsupportedError,
)

ME = {"v1": "/api/openapi/v1/api-key/verify", "classic": "/api/user/me"}
v1_alone = pytest.mark.parametrize("api", ["v1"], indirect=True)
classic_alone = pytest.mark.parametrize("api", ["classic"], indirect=True)


def speaking(emulator: Emulator) -> ServiceClient:
    """Describe the emulator without saying what it speaks."""
    return ServiceClient(emulator.api_key, emulator.base_url, retry=QUICK)


# ---- finding it out


async def test_a_service_is_asked_once_what_it_speaks(emulator: Emulator, api: str) -> None:
    maker = speaking(emulator)
    async with maker.create_rest_client() as first, maker.create_rest_client() as second:
        assert first.dialect == second.dialect == api
        assert first.user_info == second.user_info
    tried = [ME["v1"]] if api == "v1" else [ME["v1"], ME["classic"]]
    assert [request.path for request in asked(emulator)] == [*tried, ME[api]]


async def test_many_tasks_find_it_out_together(emulator: Emulator, api: str) -> None:
    maker, spoken = speaking(emulator), []

    async def look() -> None:
        async with maker.create_rest_client() as rest:
            spoken.append(rest.dialect)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(look)
    assert spoken == [api] * 5
    assert len(asked(emulator)) == (5 if api == "v1" else 6)


async def test_one_that_is_told_is_not_asked_for(emulator: Emulator, api: str) -> None:
    other = "classic" if api == "v1" else "v1"
    with pytest.raises(ConfigurationError, match=f"speaks not the dialect {other}: .*tried {other}: "):
        async with ServiceClient(emulator.api_key, emulator.base_url, api=other).create_rest_client():  # type: ignore[arg-type]
            raise AssertionError("never reached")
    assert [request.path for request in asked(emulator)] == [ME[other]]


async def test_where_both_are_spoken_the_later_one_is_taken() -> None:
    async with open_emulator(runs=0) as emulator, speaking(emulator).create_rest_client() as rest:
        assert rest.dialect == "v1"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404, "body": '{"message": "no such route"}'},
        {"status": 200, "body": "<html>Sign in</html>", "content_type": "text/html"},
        {"status": 200, "body": '{"hello": "world"}'},
        {"status": 302, "headers": {"Location": "/login"}},
        {"status": 405},
    ],
)
async def test_a_service_that_speaks_neither_is_a_wrong_setting_that_says_what_was_tried(answer: Any) -> None:
    async with open_emulator(runs=0) as emulator:
        emulator.misbehave("/", **answer)
        with pytest.raises(ConfigurationError, match="speaks no dialect that is known") as caught:
            async with speaking(emulator).create_rest_client():
                raise AssertionError("never reached")
        assert [request.path for request in asked(emulator)] == [ME["v1"], ME["classic"]]
    for name, path in ME.items():
        assert f"{name}: " in str(caught.value)
        assert f"{emulator.base_url}{path}" in str(caught.value)
    assert "check the base URL" in str(caught.value)
    assert emulator.api_key not in str(caught.value)


async def test_a_refused_key_is_no_other_language(emulator: Emulator) -> None:
    emulator.api_key = "another"
    with pytest.raises(AuthenticationError):
        async with ServiceClient("wrong", emulator.base_url, retry=QUICK).create_rest_client():
            raise AssertionError("never reached")
    assert len(asked(emulator)) == 1


async def test_a_service_that_fails_is_not_asked_in_another_language() -> None:
    async with open_emulator(runs=0) as emulator:
        rule = emulator.misbehave(ME["v1"], status=503)
        maker = speaking(emulator)
        with pytest.raises(ServiceBrokenError):
            async with maker.create_rest_client():
                raise AssertionError("never reached")
        assert rule.hits == len(asked(emulator)) == 3
        emulator.behave()
        async with maker.create_rest_client() as rest:
            assert rest.dialect == "v1"  # nothing was remembered of the failure


def test_a_dialect_that_does_not_exist_is_refused_where_it_is_named() -> None:
    with pytest.raises(ConfigurationError, match="one of auto, classic, v1"):
        ServiceClient("key", api="v2")  # type: ignore[arg-type]


# ---- what only one can say

SCOPED: list[Callable[[RestClient, Any], Awaitable[object]]] = [
    lambda rest, scope: rest.get_training_run("r", access_scope=scope),
    lambda rest, scope: rest.list_training_runs(access_scope=scope),
    lambda rest, scope: anext(rest.iter_training_runs(access_scope=scope)),
    lambda rest, scope: rest.get_session("s", access_scope=scope),
    lambda rest, scope: rest.list_sessions(access_scope=scope),
    lambda rest, scope: anext(rest.iter_sessions(access_scope=scope)),
]


@classic_alone
async def test_what_the_classic_dialect_cannot_say_names_it_and_sends_nothing(
    rest: RestClient, emulator: Emulator
) -> None:
    for call in SCOPED:
        with pytest.raises(UnsupportedError, match="access_scope cannot be said in the classic dialect") as caught:
            await call(rest, "accessible")
        assert caught.value.dialect == "classic"
    assert asked(emulator) == []


@v1_alone
async def test_the_scope_goes_along_where_it_can(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(f"({at('runs')}|{at('sessions')})", status=404)
    for call in SCOPED:
        emulator.requests.clear()
        with pytest.raises(NotFoundError):
            await call(rest, "accessible")
        assert ["access_scope=accessible" in request.query for request in asked(emulator)] == [True]
        with pytest.raises(ConfigurationError, match="access_scope is unknown: it is one of owned, accessible"):
            await call(rest, "everything")


@v1_alone
async def test_all_checkpoints_of_a_run_over_all_pages(rest: RestClient, emulator: Emulator) -> None:
    emulator.max_limit = 3
    run = emulator.state.add_run(checkpoints=11).training_run_id
    found = (await rest.list_checkpoints(run)).checkpoints
    assert [each.checkpoint_id for each in found] == [each.checkpoint_id for each in emulator.checkpoints[8:]]
    assert len(asked(emulator)) == 4
    assert await anext(rest.iter_checkpoints(run)) == found[0]


@v1_alone
async def test_the_details_of_runs_and_checkpoints(rest: RestClient, emulator: Emulator) -> None:
    known = emulator.training_runs[1]
    run = await rest.get_training_run(known.training_run_id)
    assert (run.status, run.run_index, run.corrupted, run.session_id) == ("ENDED", 1, False, known.session_id)
    assert run.training_params is not None
    assert run.created_at is not None
    first = (await rest.list_user_checkpoints(limit=1)).checkpoints[0]
    made = emulator.checkpoints[0]
    assert (first.name, first.step, first.status, first.is_uploaded) == (made.name, 100, "READY", True)
    assert (first.training_run_id, first.base_model) == (made.training_run_id, emulator.training_runs[0].base_model)
    assert first.storage_path == made.object_key


@v1_alone
async def test_words_that_nobody_knows_spoil_no_page(rest: RestClient, emulator: Emulator) -> None:
    run = emulator.training_runs[0].training_run_id
    odd = emulator.state.add_checkpoint(run, kind="DISTILLED")
    emulator.place(odd.checkpoint_id, "MELTING")
    page = await rest.list_checkpoints(run)
    kinds = [each.checkpoint_type for each in page.checkpoints]
    assert kinds == ["training", "sampler", "training", "sampler", "DISTILLED"]
    assert page.checkpoints[-1].status == "MELTING"
    assert len([weight async for weight in rest.iter_weights()]) == 4


@v1_alone
async def test_values_are_read_as_the_services_own_client_reads_them(rest: RestClient, emulator: Emulator) -> None:
    runs = [
        {"training_run_id": "a", "is_lora": False, "lora_rank": 0, "created_at": 1767225600},
        {"training_run_id": "b", "is_lora": True, "lora_rank": 8, "created_at": 1767225600000},
    ]
    emulator.misbehave(at("runs"), status=200, body=page_text(training_runs=runs))
    first, second = (await rest.list_training_runs()).training_runs
    assert (first.lora_rank, second.lora_rank) == (None, 8)
    assert first.created_at == second.created_at
    assert json.loads(json.dumps(first.to_dict()))["created_at"].startswith("2026-01-01T00:00:00")


@v1_alone
async def test_a_session_without_a_name_is_no_session(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave(at("sessions"), status=200, body=page_text(service_sessions=[{"status": "ENDED"}]))
    with pytest.raises(MalformedResponseError, match=r"a session without a name @ \$\.service_sessions"):
        await rest.list_sessions()


# ---- errors by their code


@v1_alone
async def test_a_code_says_more_than_its_status(rest: RestClient, emulator: Emulator) -> None:
    passing = emulator.misbehave(at("run"), status=409, body='{"code": "actor_capacity_exceeded"}', times=1)
    with pytest.raises(NotFoundError):
        await rest.get_training_run("r1")
    assert passing.hits == 2
    lasting = emulator.misbehave(at("samplers"), status=503, body='{"code": "validation_failed", "message": "no"}')
    with pytest.raises(ServiceBrokenError) as caught:
        await rest.get_sampler("s")
    assert (caught.value.code, caught.value.message, lasting.hits) == ("validation_failed", "no", 1)
    other = emulator.misbehave(at("sessions"), status=409, body='{"code": "busy"}')
    with pytest.raises(ConflictError):
        await rest.get_session("s")
    assert other.hits == 1


async def test_the_dialect_of_a_client_that_was_not_opened_is_not_known(emulator: Emulator) -> None:
    with pytest.raises(trio.ClosedResourceError):
        _ = speaking(emulator).create_rest_client().dialect
