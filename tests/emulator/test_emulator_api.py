import math
import re
from email.utils import parsedate_to_datetime
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.emulator.conftest import Served
from trio_norman.emulator import Emulator
from trio_norman.testing import open_memory_emulator


async def answer_of(served: Served, path: str, /, **query: Any) -> Any:
    answer = await served.api.get(path, params=query or None)
    assert answer.status_code == 200, answer.text
    assert re.fullmatch(r"api-\d+", answer.headers["x-request-id"])
    return answer.json()


async def test_key_is_required_everywhere(served: Served) -> None:
    for path in ("/api/user/me", "/api/api/runs", "/nowhere"):
        answer = await served.store.get(served.emulator.base_url + path)
        assert answer.status_code == 401
        assert "message" in answer.json()


async def test_user_is_named_with_an_http_date(served: Served) -> None:
    user = await answer_of(served, "/api/user/me")
    assert user["cuid"] == served.emulator.user_id
    assert re.fullmatch(r"[0-9a-z]{10}", user["cuid"])
    assert parsedate_to_datetime(user["createdAt"]).tzinfo is not None


async def test_models_are_listed_and_checked(served: Served) -> None:
    models = await answer_of(served, "/api/runner/models")
    await answer_of(served, "/api/runner/models/check", model_name=models[0], type="TRAIN")
    assert (await served.api.get("/api/runner/models/check?model_name=x&type=TRAIN")).status_code == 404
    assert (await served.api.get(f"/api/runner/models/check?model_name={models[0]}&type=X")).status_code == 400


@pytest.mark.parametrize("prefix", ["/api/api", "/api"])
async def test_group_b_is_served_below_both_prefixes(served: Served, prefix: str) -> None:
    runs = await answer_of(served, f"{prefix}/runs")
    run = served.emulator.training_runs[0]
    assert [each["training_run_id"] for each in runs["training_runs"]] == [
        each.training_run_id for each in served.emulator.training_runs
    ]
    assert runs["total"] == 2
    one = await answer_of(served, f"{prefix}/runs/{run.training_run_id}")
    assert one["lora_rank"] == run.lora_rank
    checkpoints = await answer_of(served, f"{prefix}/runs/{run.training_run_id}/checkpoints")
    assert len(checkpoints["checkpoints"]) == 5


async def test_api_can_lie_below_another_prefix() -> None:
    async with open_memory_emulator(api_prefix="") as (emulator, transport):
        key = {"X-API-KEY": emulator.api_key}
        async with httpx.AsyncClient(transport=transport, base_url=emulator.base_url, headers=key) as client:
            assert (await client.get("/user/me")).status_code == 200
            assert (await client.get("/api/runs")).status_code == 200
            assert (await client.get("/api/user/me")).status_code == 404


async def test_weights_are_paged_by_number(served: Served) -> None:
    path = f"/api/user/{served.emulator.user_id}/weights"
    first = await answer_of(served, path, page=1, page_size=3)
    second = await answer_of(served, path, page=2, page_size=3)
    weights = first["data"] + second["data"]
    assert [each["cuid"] for each in weights] == [each.checkpoint_id for each in served.emulator.weights]
    assert first["pagination"] == {
        "page": 1,
        "page_size": 3,
        "total": 4,
        "total_pages": 2,
        "has_next": True,
        "has_prev": False,
    }
    assert second["pagination"]["has_prev"] is True
    assert second["pagination"]["has_next"] is False
    assert set(weights[0]) == set(
        "id cuid path type status userId taskId runId runnerId createdAt updatedAt".split()  # noqa: SIM905
    )


async def test_checkpoints_of_the_user_are_paged_by_offset(served: Served) -> None:
    seen = []
    for offset in range(0, 10, 4):
        page = await answer_of(served, "/api/api/user/checkpoints", limit=4, offset=offset)
        seen += page["checkpoints"]
        assert (page["total"], page["limit"], page["offset"]) == (10, 4, offset)
        assert page["has_more"] is (offset + 4 < 10)
    assert [each["checkpoint_id"] for each in seen] == [each.checkpoint_id for each in served.emulator.checkpoints]
    assert {each["checkpoint_type"] for each in seen} == {"training", "sampler"}
    assert {bool(re.search(r"\.\d+Z$", each["time"])) for each in seen} == {True, False}


async def test_long_pages_are_cut_and_the_answer_says_so() -> None:
    async with open_memory_emulator(max_limit=3) as (emulator, transport):
        key = {"X-API-KEY": emulator.api_key}
        async with httpx.AsyncClient(transport=transport, base_url=emulator.base_url, headers=key) as client:
            page = (await client.get("/api/api/user/checkpoints?limit=50")).json()
            assert page["limit"] == len(page["checkpoints"]) == 3


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "offset=-1", "limit=1.5", "limit="])
async def test_bad_paging_values_are_refused(served: Served, query: str) -> None:
    answer = await served.api.get(f"/api/api/runs?{query}")
    assert answer.status_code == 400
    assert "message" in answer.json()


@pytest.mark.parametrize(
    "path",
    [
        "/api/api/runs/x",
        "/api/api/runs/x/checkpoints",
        "/api/api/sessions/x",
        "/api/api/samplers/x",
        "/api/user/x/weights",
        "/api/checkpoints/info?path=a/b/weights/c",
        "/api/checkpoints/info",
    ],
)
async def test_unknown_things_are_not_found(served: Served, path: str) -> None:
    assert (await served.api.get(path)).status_code == 404


async def test_sessions_and_samplers_belong_to_runs(served: Served) -> None:
    sessions = (await answer_of(served, "/api/api/sessions", limit=1, offset=1))["sessions"]
    assert sessions == [served.emulator.sessions[1].session_id]
    session = await answer_of(served, f"/api/api/sessions/{sessions[0]}")
    assert session["training_run_ids"] == [served.emulator.training_runs[1].training_run_id]
    sampler = await answer_of(served, f"/api/api/samplers/{session['sampler_ids'][0]}")
    assert set(sampler) == {"sampler_id", "base_model", "model_path"}


@pytest.mark.parametrize("prefix", ["", "v3:"])
async def test_checkpoint_info_is_found_by_path(served: Served, prefix: str) -> None:
    info = await answer_of(served, "/api/checkpoints/info", path=prefix + served.emulator.checkpoints[0].path)
    assert set(info["lora"]) == {
        "rank",
        "seed",
        "train_mlp",
        "train_attn",
        "train_unembed",
        "trainable_token_indices",
    }
    assert info["model"] == served.emulator.training_runs[0].base_model


async def test_deleted_checkpoint_is_gone_from_everywhere(served: Served) -> None:
    emulator = served.emulator
    doomed = emulator.checkpoints[1]
    url = emulator.archive_url(doomed.checkpoint_id)[0]
    path = f"/api/api/runs/{doomed.training_run_id}/checkpoints/{doomed.checkpoint_id}"
    assert (await served.api.delete(path)).status_code == 200
    assert (await served.api.delete(path)).status_code == 404
    assert (await served.api.get(f"{path}/archive")).status_code == 404
    assert (await served.store.get(url)).status_code == 404
    assert doomed not in list(emulator.checkpoints)
    assert doomed not in list(emulator.weights)
    page = await answer_of(served, "/api/api/user/checkpoints", limit=2, offset=1)
    assert page["total"] == 9
    assert page["checkpoints"][0]["checkpoint_id"] == emulator.checkpoints[1].checkpoint_id


async def test_checkpoint_of_another_run_is_not_deleted(served: Served) -> None:
    here, other = served.emulator.checkpoints[0], served.emulator.training_runs[1]
    path = f"/api/api/runs/{other.training_run_id}/checkpoints/{here.checkpoint_id}"
    assert (await served.api.delete(path)).status_code == 404
    assert len(served.emulator.checkpoints) == 10


async def test_added_and_changed_checkpoints_are_announced_as_they_are(served: Served) -> None:
    run = served.emulator.training_runs[1].training_run_id
    state = served.emulator.state
    added = state.add_checkpoint(run, name="../../etc/\x1b[2Jpasswd", kind="strange", size_bytes=3000)
    state.change_checkpoint(attrs.evolve(served.emulator.checkpoints[0], size_bytes=5))
    listed = (await answer_of(served, f"/api/api/runs/{run}/checkpoints"))["checkpoints"][-1]
    assert listed["checkpoint_id"] == added.checkpoint_id
    assert listed["path"].endswith("../../etc/\x1b[2Jpasswd")
    assert listed["checkpoint_type"] == "strange"
    archive = await served.store.get(served.emulator.archive_url(added.checkpoint_id)[0])
    assert len(archive.content) == 3000
    assert served.emulator.checkpoints[0].size_bytes == 5
    assert state.find_path(added.path) == added


async def test_a_million_checkpoints_cost_nothing_until_they_are_read() -> None:
    async with open_memory_emulator(runs=1, checkpoints=1_000_000) as (emulator, _):
        last = emulator.checkpoints[-1]
        assert last == emulator.state.find_checkpoint(last.checkpoint_id)
        assert last == emulator.state.find_path(last.path)
        emulator.state.remove_checkpoint(emulator.checkpoints[10].checkpoint_id)
        assert len(emulator.checkpoints) == 999_999
        assert emulator.checkpoints[10].number == 11


async def test_checkpoints_are_a_sequence(served: Served) -> None:
    checkpoints = served.emulator.checkpoints
    held = list(checkpoints)
    assert checkpoints[3:8:2] == held[3:8:2]
    assert checkpoints[-3] == held[-3]
    run = served.emulator.state.checkpoints_of(held[0].training_run_id)
    assert (run[-1], run[1:3]) == (held[4], held[1:3])
    for sequence in (checkpoints, run):
        with pytest.raises(IndexError):
            sequence[len(sequence)]
    for each in held:
        assert served.emulator.state.find_checkpoint(each.checkpoint_id) == each
        assert served.emulator.state.find_path(each.path) == each


@pytest.mark.parametrize("identifier", ["", "0000000000", "x" * 9, "ABCDEFGHIJ", "../../../.."])
async def test_what_is_no_identifier_leads_nowhere(served: Served, identifier: str) -> None:
    assert served.emulator.state.find_checkpoint(identifier) is None
    for use in (served.emulator.content_of, served.emulator.archive_url, served.emulator.state.remove_checkpoint):
        with pytest.raises(KeyError):
            use(identifier)


async def test_runs_can_be_added(served: Served) -> None:
    run = served.emulator.state.add_run(checkpoints=3, base_model="mine")
    assert (await answer_of(served, f"/api/api/runs/{run.training_run_id}"))["base_model"] == "mine"
    assert (await answer_of(served, "/api/api/user/checkpoints"))["total"] == 13
    assert len(served.emulator.weights) == 5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (None, ([0, 1], [8, 9], 10, 2, False)),
        ("loop", ([0, 1], [8, 9], 10, 2, True)),
        ("same", ([0, 1], [0, 1], 10, 2, True)),
        ("empty", ([], [], 10, 2, True)),
        ("lie_total", ([0, 1], [8, 9], 10**18, 2, False)),
        ("ignore_offset", ([0, 1], [0, 1], 10, 2, False)),
        ("zero_limit", ([0, 1], [8, 9], 10, 0, False)),
    ],
)
async def test_paging_faults(served: Served, fault: Any, said: Any) -> None:
    served.emulator.paging_fault = fault
    ids = [each.checkpoint_id for each in served.emulator.checkpoints]
    first = await answer_of(served, "/api/api/user/checkpoints", limit=2, offset=0)
    last = await answer_of(served, "/api/api/user/checkpoints", limit=2, offset=8)
    found = [[ids.index(each["checkpoint_id"]) for each in page["checkpoints"]] for page in (first, last)]
    assert (*found, last["total"], last["limit"], last["has_more"]) == said


async def test_looping_pages_begin_anew_behind_the_end(served: Served) -> None:
    served.emulator.paging_fault = "loop"
    page = await answer_of(served, "/api/api/user/checkpoints", limit=4, offset=8)
    assert page["checkpoints"][2]["checkpoint_id"] == served.emulator.checkpoints[0].checkpoint_id


async def test_misbehaviour_overrides_answers_for_a_while(served: Served) -> None:
    served.emulator.misbehave("/api/api/runs", method="DELETE", status=500)
    rule = served.emulator.misbehave("/api/api/runs$", status=503, body="<html>", retry_after=7, skip=1, times=2)
    answers = [await served.api.get("/api/api/runs") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].text == "<html>"
    assert answers[1].headers["retry-after"] == "7"
    assert rule.hits == 4
    assert (await served.api.get("/api/api/sessions")).status_code == 200


async def test_misbehaviour_ends_with_behave(served: Served) -> None:
    served.emulator.misbehave("/", status=500, method="GET")
    served.emulator.paging_fault = "empty"
    assert (await served.api.get("/api/user/me")).status_code == 500
    served.emulator.behave()
    assert (await answer_of(served, "/api/api/runs"))["training_runs"]


async def test_answers_can_be_late_or_never_come(served: Served, autojump_clock: MockClock) -> None:
    served.emulator.misbehave("/api/user/me", delay=30, times=1)
    served.emulator.misbehave("/api/api/runs", delay=math.inf)
    before = trio.current_time()
    assert (await served.api.get("/api/user/me")).status_code == 200
    assert trio.current_time() - before == pytest.approx(30)
    with trio.move_on_after(1000) as scope:
        await served.api.get("/api/api/runs")
    assert scope.cancelled_caught


async def test_answers_can_break_off(served: Served) -> None:
    served.emulator.misbehave("/api/user/me", status=200, body=b"x" * 100, cut_at=40)
    served.emulator.misbehave("/api/api/runs", drop=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await served.api.get("/api/user/me")
    with pytest.raises(httpx.RemoteProtocolError):
        await served.api.get("/api/api/runs")


async def test_dates_follow_the_emulated_clock(served: Served, autojump_clock: MockClock) -> None:
    first = await served.api.get("/api/user/me")
    await trio.sleep(3600)
    second = await served.api.get("/api/user/me")
    served.emulator.clock.jump(-7200)
    third = await served.api.get("/api/user/me")
    moments = [parsedate_to_datetime(answer.headers["date"]).timestamp() for answer in (first, second, third)]
    assert [moment - moments[0] for moment in moments] == [0, 3600, -3600]


async def test_requests_are_logged_with_their_number(served: Served) -> None:
    await served.api.get("/api/api/runs?limit=1", headers={"X-Twice": "a"})
    await served.store.get(served.emulator.blob_url(1000))
    api, storage = served.emulator.requests
    assert (api.number, api.server, api.method, api.path, api.query) == (1, "api", "GET", "/api/api/runs", "limit=1")
    assert api.headers["x-twice"] == "a"
    assert api.status == 200
    assert api.is_finished
    assert (storage.number, storage.server, storage.status, storage.sent_bytes) == (2, "storage", 200, 1000)
    assert served.emulator.sent_bytes == 1000
    assert "x-api-key" not in storage.headers
    served.emulator.requests.clear()
    assert len(served.emulator.requests) == 0


async def test_socket_io_lets_a_client_in_and_out(served: Served, autojump_clock: MockClock) -> None:
    emulator = served.emulator
    base = f"{emulator.base_url}/socket.io/?transport=polling&EIO=4"
    opening = await served.store.get(f"{base}&runId=abcdefghijkl&apiKey={emulator.api_key}")
    assert opening.text.startswith('0{"sid": "s1", "upgrades": []')
    assert emulator.sessions[-1].session_id == "abcdefghijkl"
    assert (await served.store.post(f"{base}&sid=s1", content="40{}")).text == "ok"
    assert (await served.store.get(f"{base}&sid=s1")).text == '40{"sid":"n-s1"}'
    before = trio.current_time()
    assert (await served.store.get(f"{base}&sid=s1")).text == "2", "a ping, as nothing else came"
    assert trio.current_time() - before == pytest.approx(25)
    assert (await served.store.post(f"{base}&sid=s1", content="3\x1e41\x1e1")).text == "ok"
    assert (await served.store.get(f"{base}&sid=s1")).status_code == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [("transport=websocket&EIO=4", 400), ("transport=polling&EIO=4&apiKey=x", 403), ("transport=polling&EIO=3", 400)],
)
async def test_socket_io_refuses_what_it_does_not_know(served: Served, query: str, status: int) -> None:
    assert (await served.store.get(f"{served.emulator.base_url}/socket.io/?{query}")).status_code == status


async def test_negative_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        async with open_memory_emulator(size_bytes=-1):
            raise AssertionError("opened")


async def test_key_can_be_replaced_while_it_runs(served: Served) -> None:
    served.emulator.api_key = "new"
    assert (await served.api.get("/api/user/me")).status_code == 401
    assert (await served.api.get("/api/user/me", headers={"X-API-KEY": "new"})).status_code == 200


def test_secrets_do_not_show_in_the_repr() -> None:
    async def shown() -> tuple[Emulator, str]:
        async with open_memory_emulator() as (emulator, _):
            return emulator, repr(emulator)

    emulator, text = trio.run(shown)
    assert emulator.api_key not in text


async def test_an_error_is_answered_without_a_thread(served: Served, autojump_clock: MockClock) -> None:
    """A clock that jumps when all tasks wait takes a worker thread for idleness, and ends the client's patience."""
    with trio.fail_after(1):
        for path in ("/api/api/runs/unknown", "/api/api/runs?limit=none"):
            assert (await served.api.get(path)).status_code in (400, 404)
