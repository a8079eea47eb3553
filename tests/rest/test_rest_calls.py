"""Every call of the training service, on real sockets: what it asks, and what comes back as objects."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tests.rest.rest_opening import asked, at, page_text, spelt
from trio_norman import CheckpointType, RestClient, Secret, Timestamp
from trio_norman.emulator import Emulator
from trio_norman.errors import AuthenticationError, ConfigurationError


async def test_who_the_key_belongs_to_is_known_without_asking_again(rest: RestClient, emulator: Emulator) -> None:
    user = await rest.get_user_info()
    assert user is rest.user_info
    assert (user.username, user.user_id, user.api_key) == ("ada", emulator.user_id, Secret(emulator.api_key))
    moment = user.created_at if rest.dialect == "classic" else user.expires_at
    assert isinstance(moment, Timestamp)
    assert moment.tzinfo is UTC
    assert moment.raw.endswith("GMT" if rest.dialect == "classic" else "Z")
    assert asked(emulator) == []


async def test_whose_key_it_is_can_be_asked_again(rest: RestClient, emulator: Emulator) -> None:
    assert await rest.whoami() == rest.user_info
    assert [request.path for request in asked(emulator)] == [at("me")]
    emulator.api_key = "another"
    with pytest.raises(AuthenticationError):
        await rest.whoami()


async def test_the_base_models(rest: RestClient) -> None:
    page = await rest.list_models(limit=2, offset=1)
    assert [model.model_id for model in page.models] == ["Qwen/Qwen3-8B", "meta-llama/Llama-3.2-1B"]
    assert (page.total, page.limit, page.offset, page.has_more) == (3, 2, 1, False)
    found = [model async for model in rest.iter_models(1)]
    assert list(page.models) == found[1:]
    assert {model.train_available for model in found} == {None if rest.dialect == "classic" else True}


async def test_a_page_of_weights(rest: RestClient, emulator: Emulator) -> None:
    page = await rest.list_weights(page=2, page_size=3)
    assert [weight.cuid for weight in page.data] == [weight.checkpoint_id for weight in emulator.weights[3:]]
    weight, known = page.data[0], emulator.weights[3]
    assert (weight.type, weight.task_id) == ("SAMPLE", known.training_run_id)
    assert weight.created_at == datetime.fromtimestamp(int(known.created_at), UTC)
    told = page.pagination
    assert (told.page, told.page_size, told.has_next, told.has_prev) == (2, 3, False, True)
    (request,) = asked(emulator)
    if rest.dialect == "v1":  # which lists no weights: all checkpoints are looked at
        assert (weight.name, weight.size_bytes, told.total) == (known.name, 5000, None)
        assert (await rest.list_weights(page=1, page_size=3)).pagination.has_next
        assert (await rest.list_weights(page=5)).data == ()
        return
    assert (weight.path, weight.status, weight.user_id) == (known.path, "ON", emulator.user_id)
    assert (weight.run_id, weight.id) == (emulator.training_runs[1].session_id, known.number + 1)
    assert weight.runner_id is not None
    assert (told.total, told.total_pages) == (4, 2)
    assert request.path == f"/api/user/{emulator.user_id}/weights"
    assert parse_qs(request.query) == {"page": ["2"], "page_size": ["3"]}


async def test_the_signed_url_of_a_weight(rest: RestClient, emulator: Emulator) -> None:
    weight = emulator.weights[0]
    archive = await rest.get_archive_url(weight.checkpoint_id)
    assert archive.url.reveal().startswith(emulator.storage_url)
    assert (archive.expires is None) == (rest.dialect == "classic")
    async with httpx.AsyncClient(trust_env=False) as anybody:
        body = (await anybody.get(archive.url.reveal())).content
    assert len(body) == weight.size_bytes


async def test_a_training_run(rest: RestClient, emulator: Emulator) -> None:
    known = emulator.training_runs[1]
    run = await rest.get_training_run(known.training_run_id)
    assert run.training_run_id == known.training_run_id
    assert (run.base_model, run.is_lora, run.lora_rank) == (known.base_model, True, known.lora_rank)
    assert asked(emulator)[0].path == f"{at('runs')}/{known.training_run_id}"


async def test_a_page_of_training_runs(rest: RestClient, emulator: Emulator) -> None:
    page = await rest.list_training_runs(limit=1, offset=1)
    assert [run.training_run_id for run in page.training_runs] == [emulator.training_runs[1].training_run_id]
    assert (page.total, page.limit, page.offset, page.has_more) == (2, 1, 1, False)
    assert (await rest.list_training_runs()).limit == 20


async def test_the_checkpoints_of_a_run(rest: RestClient, emulator: Emulator) -> None:
    run = emulator.training_runs[0].training_run_id
    found = (await rest.list_checkpoints(run)).checkpoints
    known = [each for each in emulator.checkpoints if each.training_run_id == run]
    assert [each.checkpoint_id for each in found] == [each.checkpoint_id for each in known]
    assert [each.checkpoint_type for each in found] == [CheckpointType.TRAINING, CheckpointType.SAMPLER] * 2
    assert {each.training_run_id for each in found} == {run}
    assert [each.size_bytes for each in found] == [5000] * 4
    for each, told in zip(found, known, strict=True):
        assert each.time is not None
        assert each.time.timestamp() == pytest.approx(told.created_at)
    assert {"." in each.time.raw for each in found if each.time is not None} == {True, False}  # both spellings


async def test_the_signed_url_of_a_checkpoint_says_how_long_it_is_good(rest: RestClient, emulator: Emulator) -> None:
    known = emulator.checkpoints[0]
    archive = await rest.get_checkpoint_archive_url(known.training_run_id, known.checkpoint_id)
    assert archive.expires is not None
    assert 300 < archive.expires.timestamp() - emulator.clock.now() <= 361
    assert "q-signature=" in archive.url.reveal()


async def test_a_deleted_checkpoint_is_gone(rest: RestClient, emulator: Emulator) -> None:
    known = emulator.checkpoints[0]
    await rest.delete_checkpoint(known.training_run_id, known.checkpoint_id)
    assert [request.method for request in asked(emulator)] == ["DELETE"]
    left = (await rest.list_checkpoints(known.training_run_id)).checkpoints
    assert known.checkpoint_id not in [each.checkpoint_id for each in left]
    assert len(left) == 3


async def test_a_page_of_all_checkpoints(rest: RestClient, emulator: Emulator) -> None:
    page = await rest.list_user_checkpoints(limit=3, offset=2)
    assert [each.checkpoint_id for each in page.checkpoints] == [
        each.checkpoint_id for each in list(emulator.checkpoints)[2:5]
    ]
    assert (page.total, page.limit, page.offset, page.has_more) == (8, 3, 2, True)
    assert (await rest.list_user_checkpoints()).limit == 100


async def test_a_session_and_the_list_of_sessions(rest: RestClient, emulator: Emulator) -> None:
    known = emulator.sessions[0]
    session = await rest.get_session(known.session_id)
    assert session.training_run_ids == known.training_run_ids
    assert session.sampler_ids == known.sampler_ids
    page = await rest.list_sessions()
    assert page.sessions == tuple(each.session_id for each in emulator.sessions)
    if rest.dialect == "classic":
        assert (page.has_more, page.details, session.status) == (None, None, None)  # the service does not say
        return
    assert (page.has_more, page.total) == (False, 2)
    assert page.details is not None
    assert [each.session_id for each in page.details] == list(page.sessions)
    assert (session.session_id, session.status, session.workspace_id) == (
        known.session_id,
        "ACTIVE",
        emulator.state.workspace_id,
    )


async def test_a_sampler(rest: RestClient, emulator: Emulator) -> None:
    known = emulator.samplers[0]
    sampler = await rest.get_sampler(known.sampler_id)
    assert (sampler.sampler_id, sampler.base_model, sampler.model_path) == (
        known.sampler_id,
        known.base_model,
        known.model_path if rest.dialect == "classic" else (await rest.list_user_checkpoints()).checkpoints[1].path,
    )


async def test_how_to_go_on_from_a_checkpoint(rest: RestClient, emulator: Emulator) -> None:
    path = (await rest.list_user_checkpoints()).checkpoints[0].path
    assert path is not None
    emulator.requests.clear()
    info = await rest.get_checkpoint_info(path)
    assert info.model == emulator.training_runs[0].base_model
    assert info.lora is not None
    assert (info.lora.rank, info.lora.seed, info.lora.train_mlp) == (32, None, True)
    assert (info.lora.train_attn, info.lora.train_unembed) == (True, False)
    assert parse_qs(asked(emulator)[0].query) == {"path" if rest.dialect == "classic" else "checkpoint_uri": [path]}
    if rest.dialect == "classic":
        assert await rest.get_checkpoint_info(f"v1:{path}") == info  # opaque: whatever stands before is sent as it is


async def test_the_http_client_below_speaks_to_the_service_with_the_key(rest: RestClient, emulator: Emulator) -> None:
    answer = await rest.http_client.get(at("models"))
    assert answer.status_code == 200
    assert asked(emulator)[0].headers["x-api-key"] == emulator.api_key


classic_alone = pytest.mark.parametrize("api", ["classic"], indirect=True)

#: Each call on the answer of the service as it was written, field for field.
ANSWERS: list[tuple[str, Callable[[RestClient], Awaitable[Any]], dict[str, Any]]] = [
    (
        "/api/user/.*/weights",
        lambda rest: rest.list_weights(),
        {
            "data": [{"cuid": "w1", "createdAt": "2026-03-11T06:56:11.475000Z", "queue": "a", "user_id": 5}],
            "pagination": {"page": 1, "has_next": False, "cursor": "x"},
            "took_ms": 3,
        },
    ),
    (
        "/api/api/runs/r1$",
        lambda rest: rest.get_training_run("r1"),
        {"training_run_id": "r1", "owner": {"name": "ada", "tags": [1, None]}},
    ),
    (
        "/api/api/runs/r1/checkpoints",
        lambda rest: rest.list_checkpoints("r1"),
        {
            "checkpoints": [
                {
                    "checkpoint_id": "c1",
                    "checkpoint_type": "distilled",
                    "time": "Tue, 23 Dec 2025 11:15:38 GMT",
                    "training_run_id": "r1",
                }
            ]
        },
    ),
    ("/api/api/sessions/s1", lambda rest: rest.get_session("s1"), {"training_run_ids": ["r"], "region": "x"}),
    ("/api/api/samplers/s1", lambda rest: rest.get_sampler("s1"), {"sampler_id": "s1", "extra": {"extra": 1}}),
    (
        "/api/checkpoints/info",
        lambda rest: rest.get_checkpoint_info("p"),
        {"model": "m", "lora": {"rank": 4, "alpha": 0.5, "trainable_token_indices": {"a": [1]}}},
    ),
]


@classic_alone
@pytest.mark.parametrize(("pattern", "call", "document"), ANSWERS)
async def test_what_the_service_wrote_is_what_to_dict_gives(
    rest: RestClient,
    emulator: Emulator,
    pattern: str,
    call: Callable[[RestClient], Awaitable[Any]],
    document: dict[str, Any],
) -> None:
    emulator.misbehave(pattern, status=200, body=json.dumps(document))
    model = await call(rest)
    assert_holds(json.loads(json.dumps(model.to_dict())), document)


def assert_holds(written: Any, told: Any) -> None:
    """Whether everything that was told stands in what was written."""
    if isinstance(told, dict):
        assert {name for name in told if name not in written} == set()
        for name, value in told.items():
            assert_holds(written[name], value)
    elif isinstance(told, list):
        assert len(written) == len(told)
        for one, other in zip(written, told, strict=True):
            assert_holds(one, other)
    else:
        assert (type(written), written) == (type(told), told)


async def test_unknown_words_stay_text_and_unknown_fields_are_kept(rest: RestClient, emulator: Emulator) -> None:
    told = {"checkpoint_id": "c1", "checkpoint_type": "distilled", "shards": [1, 2]}
    emulator.misbehave(at("checkpoints"), status=200, body=page_text(checkpoints=[told], next="n"))
    page = await rest.list_user_checkpoints()
    (checkpoint,) = page.checkpoints
    assert checkpoint.checkpoint_type == "distilled"
    assert not isinstance(checkpoint.checkpoint_type, CheckpointType)
    assert checkpoint.extra == {"shards": [1, 2]}
    assert page.extra["next"] == "n"
    assert (checkpoint.time, checkpoint.path, checkpoint.size_bytes) == (None, None, None)


@classic_alone
async def test_null_where_nothing_is_required_is_as_good_as_silence(rest: RestClient, emulator: Emulator) -> None:
    emulator.misbehave("/api/api/sessions/s", status=200, body='{"training_run_ids": null, "sampler_ids": ["a"]}')
    emulator.misbehave(
        "/api/user/.*/weights", status=200, body='{"data": [{"cuid": "w", "id": null}], "pagination": null}'
    )
    assert (await rest.get_session("s")).training_run_ids == ()
    page = await rest.list_weights()
    assert page.data[0].id is None
    assert page.pagination.has_next is None


async def test_objects_are_values(rest: RestClient, emulator: Emulator) -> None:
    first, second = await rest.list_user_checkpoints(), await rest.list_user_checkpoints()
    assert first == second
    assert len({*first.checkpoints, *second.checkpoints}) == 8
    with pytest.raises(AttributeError):
        first.checkpoints[0].path = "x"  # type: ignore[misc]


@pytest.mark.parametrize("identifier", ["a b", "ä?x=1#f", "%2e%2e", "a;b,c", "trio:x&y", "..."])
async def test_an_id_is_one_segment_of_the_path_whatever_it_holds(
    rest: RestClient, emulator: Emulator, identifier: str
) -> None:
    emulator.misbehave(at("samplers"), status=200, body=spelt('{"sampler_id": "s"}'))
    await rest.get_sampler(identifier)
    (request,) = asked(emulator)
    assert request.query == ""
    assert request.path.count("/") == at("samplers").count("/")
    assert httpx.URL(f"http://h{request.path}").path == f"{at('samplers')}{identifier}"


BAD_IDS = ["", " ", ".", "..", "a/b", "../x", "a\\b", "a\nb", "a\x00b", "x" * 1025]
CALLS_WITH_ID: list[Callable[[RestClient, str], Awaitable[object]]] = [
    lambda rest, bad: rest.get_archive_url(bad),
    lambda rest, bad: rest.get_training_run(bad),
    lambda rest, bad: rest.list_checkpoints(bad),
    lambda rest, bad: rest.get_checkpoint_archive_url(bad, "c"),
    lambda rest, bad: rest.get_checkpoint_archive_url("r", bad),
    lambda rest, bad: rest.delete_checkpoint(bad, "c"),
    lambda rest, bad: rest.delete_checkpoint("r", bad),
    lambda rest, bad: rest.get_session(bad),
    lambda rest, bad: rest.get_sampler(bad),
    lambda rest, bad: anext(rest.iter_checkpoints(bad)),
]


async def test_an_id_that_cannot_be_one_is_refused_before_anything_is_sent(
    rest: RestClient, emulator: Emulator
) -> None:
    for call in CALLS_WITH_ID:
        for identifier in BAD_IDS:
            with pytest.raises(ConfigurationError, match=r"_id (is empty|cannot be an id): pass the id"):
                await call(rest, identifier)
        with pytest.raises(TypeError):
            await call(rest, 5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="path is empty"):
        await rest.get_checkpoint_info("")
    assert asked(emulator) == []


async def test_paging_values_that_no_list_has_are_refused_before_anything_is_sent(
    rest: RestClient, emulator: Emulator
) -> None:
    calls: list[Callable[[int], Awaitable[object]]] = [
        lambda bad: rest.list_weights(page=bad),
        lambda bad: rest.list_weights(page_size=bad),
        lambda bad: rest.list_training_runs(limit=bad),
        lambda bad: rest.list_user_checkpoints(limit=bad),
        lambda bad: rest.list_sessions(limit=bad),
        lambda bad: anext(rest.iter_weights(page_size=bad)),
        lambda bad: anext(rest.iter_training_runs(limit=bad)),
        lambda bad: anext(rest.iter_user_checkpoints(limit=bad)),
        lambda bad: anext(rest.iter_sessions(limit=bad)),
    ]
    for call in calls:
        for number in (0, -1):
            with pytest.raises(ConfigurationError, match=f"is {number}: it begins at 1"):
                await call(number)
        with pytest.raises(TypeError, match="whole number"):
            await call(True)
    for page in (rest.list_training_runs, rest.list_user_checkpoints, rest.list_sessions):
        with pytest.raises(ConfigurationError, match="offset is -1: it begins at 0"):
            await page(offset=-1)
    assert asked(emulator) == []
