"""Calls and pages of the API: rows N."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal

import attrs
import pytest

from tests.faults.rows import Attempt, MiB, Row
from trio_norman import errors
from trio_norman.emulator import _misbehaviour
from trio_norman.rest import RestClient, TrainingRun


@attrs.frozen
class Wording:
    """How one dialect says what the rules below answer with."""

    api: Literal["classic", "v1"]
    run: str  # the path of the run that is asked for
    checkpoints: str  # the path of the list of all checkpoints
    run_id: str = "training_run_id"
    checkpoint_id: str = "checkpoint_id"

    def said(self, body: bytes) -> bytes:
        """Say in this dialect what is written in the classic one."""
        for classic, ours in (("training_run_id", self.run_id), ("checkpoint_id", self.checkpoint_id)):
            for coding in ("ascii", "utf-16-le"):
                body = body.replace(classic.encode(coding), ours.encode(coding))
        return body

    def page(self, items: Sequence[object], *, total: int, offset: int = 0, limit: int = 100) -> bytes:
        """Say which checkpoints a page holds, and where it stands."""
        facts: dict[str, object] = {"total": total, "limit": limit, "offset": offset}
        where = {"cursor": facts} if self.api == "v1" else {**facts, "has_more": offset + len(items) < total}
        return self.said(json.dumps({"checkpoints": items, **where}).encode())


WORDINGS = {
    "classic": Wording("classic", "/api/api/runs/r1", "/api/api/user/checkpoints"),
    "v1": Wording(
        "v1",
        "/api/openapi/v1/training-runs/r1",
        "/api/openapi/v1/checkpoints$",
        "training_run_cuid",
        "checkpoint_cuid",
    ),
}


@pytest.fixture(params=WORDINGS)
def words(request: pytest.FixtureRequest) -> Wording:
    """The dialect: every row below is tried in both."""
    return WORDINGS[request.param]


@pytest.fixture
async def row(row: Row, words: Wording) -> Row:
    """One row, whose service is asked in that dialect."""
    row.api = words.api
    return row


async def call(row: Row, ask: Callable[[RestClient], Awaitable[object]], **limits: Any) -> Attempt:
    """Make a call with an open client; a file ``f`` stands for the destination, where nothing may appear."""
    async with row.attempt({"f": None}, **limits) as attempt:
        async with row.service.create_rest_client() as rest:
            await ask(rest)
    return attempt


async def ask_for_a_run(rest: RestClient) -> TrainingRun:
    """Ask for the run that the rules below are about."""
    return await rest.get_training_run("r1")


UNREADABLE = {
    "no JSON": b'{"training_run_id": r1}',
    "empty": b"",
    "HTML": b"<!doctype html><title>Sign in \x1b[31m</title>",
    "truncated": b'{"training_run_id": "r1"',
    "trailing bytes": b'{"training_run_id": "r1"} x',
    "a BOM": b'\xef\xbb\xbf{"training_run_id": "r1"}',
    "UTF-16": '{"training_run_id": "r1"}'.encode("utf-16"),
    "NaN": b'{"training_run_id": "r1", "lora_rank": NaN}',
    "Infinity": b'{"training_run_id": "r1", "lora_rank": -Infinity}',
    "1e400": b'{"training_run_id": "r1", "lora_rank": 1e400}',
    "5000 digits": b'{"training_run_id": "r1", "lora_rank": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_N_01_no_json(row: Row, words: Wording, what: str) -> None:
    """UndecodableResponseError after one request; it shows the type and a little of the text. D0."""
    kind = "text/html" if what == "HTML" else "application/json"
    rule = row.emulator.misbehave(words.run, status=200, body=words.said(UNREADABLE[what]), content_type=kind)
    error = row.expect_error(await call(row, ask_for_a_run), errors.UndecodableResponseError, disk="D0")
    assert rule.hits == 1
    assert f"content type {kind}" in error.problems
    assert "\x1b" not in str(error)
    assert len(error.problems[2]) < 200 + 200  # each character of 200 may need several to be shown


async def test_N_01_a_gateways_page(row: Row, words: Wording) -> None:
    """Success: a gateway's error is tried again, whatever its body. D0."""
    rule = row.emulator.misbehave(words.run, status=502, body="<html>", content_type="text/html", times=1)
    row.expect_error(await call(row, ask_for_a_run), errors.NotFoundError, disk="D0")  # there is no r1
    assert rule.hits == 2


@pytest.mark.parametrize("body", ['{"a": 1, "a": 2}', '{"training_run_id": "r1", "x": [{"y": 1, "y": 1}]}'])
async def test_N_02_a_key_twice(row: Row, words: Wording, body: str) -> None:
    """UndecodableResponseError. D0."""
    rule = row.emulator.misbehave(words.run, status=200, body=words.said(body.encode()))
    error = row.expect_error(await call(row, ask_for_a_run), errors.UndecodableResponseError, disk="D0")
    assert "same key twice" in str(error)
    assert rule.hits == 1


@pytest.mark.parametrize("opening", ["[", '{"a":'])
async def test_N_03_nested_without_end(row: Row, words: Wording, opening: str) -> None:
    """UndecodableResponseError. D0."""
    rule = row.emulator.misbehave(words.run, status=200, body=opening * 100_000)
    row.expect_error(await call(row, ask_for_a_run), errors.UndecodableResponseError, disk="D0")
    assert rule.hits == 1


async def test_N_04_a_gib_of_json(row: Row, words: Wording) -> None:
    """LimitExceededError at 16 MiB; the rest is left with its connection. D0."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield words.said(b'{"training_run_id": "')
        for _ in range(1024):
            sent += MiB
            yield b"x" * MiB

    rule = row.emulator.misbehave(words.run, status=200, body=endless)
    attempt = await call(row, ask_for_a_run, memory_mib=48)
    error = row.expect_error(attempt, errors.LimitExceededError, disk="D0")
    assert error.limit == 16 * MiB
    assert rule.hits == 1
    assert sent < 64 * MiB


WRONG = [
    ({"checkpoint_id": 5}, "expected str, got int @ $.checkpoints[3].checkpoint_id"),
    ({"checkpoint_id": None}, "expected str, got NoneType @ $.checkpoints[3].checkpoint_id"),
    ({"checkpoint_id": "c", "size_bytes": "5"}, "expected int, got str @ $.checkpoints[3].size_bytes"),
    ({"checkpoint_id": "c", "size_bytes": True}, "expected int, got bool @ $.checkpoints[3].size_bytes"),
    ({"checkpoint_id": "c", "size_bytes": -1}, "'size_bytes' must be >= 0: -1 @ $.checkpoints[3]"),
    ({"checkpoint_id": "c", "size_bytes": 1.5}, "expected int, got float @ $.checkpoints[3].size_bytes"),
    ([], "expected an object, got list @ $.checkpoints[3]"),
]


@pytest.mark.parametrize(("item", "problem"), WRONG)
async def test_N_05_a_field_of_the_wrong_type(row: Row, words: Wording, item: object, problem: str) -> None:
    """MalformedResponseError that names the place. D0."""
    body = words.page([*({"checkpoint_id": str(number)} for number in range(3)), item], total=4)
    rule = row.emulator.misbehave(words.checkpoints, status=200, body=body)
    attempt = await call(row, lambda rest: rest.list_user_checkpoints())
    error = row.expect_error(attempt, errors.MalformedResponseError, disk="D0")
    assert error.problems == (words.said(problem.encode()).decode(),)
    assert rule.hits == 1


async def test_N_06_words_that_nobody_knew(row: Row, words: Wording) -> None:
    """Success: they are kept as they are. D0."""
    item = {"checkpoint_id": "c", "checkpoint_type": "hologram"}
    row.emulator.misbehave(words.checkpoints, status=200, body=words.page([item], total=1))
    found: list[Any] = []

    async def ask(rest: RestClient) -> None:
        found.extend((await rest.list_user_checkpoints()).checkpoints)

    attempt = await call(row, ask)
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")
    assert found[0].checkpoint_type == "hologram"


async def test_N_07_a_field_is_missing(row: Row, words: Wording) -> None:
    """MalformedResponseError that names it. D0."""
    row.emulator.misbehave(words.run, status=200, body=words.said(b'{"base_model": "m"}'))
    error = row.expect_error(await call(row, ask_for_a_run), errors.MalformedResponseError, disk="D0")
    assert error.problems == (f"a required field is missing @ $.{words.run_id}",)


async def test_N_07_fields_that_are_new(row: Row, words: Wording) -> None:
    """Success: they are no reason to fail. D0."""
    row.emulator.misbehave(
        words.run, status=200, body=words.said(b'{"training_run_id": "r1", "mood": {"is": ["good"]}}')
    )
    attempt = await call(row, ask_for_a_run)
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/xml", "image/png"])
async def test_N_08_another_content_type(row: Row, words: Wording, kind: str) -> None:
    """UndecodableResponseError, even if the text happens to be JSON. D0."""
    rule = row.emulator.misbehave(
        words.run, status=200, body=words.said(b'{"training_run_id": "r1"}'), content_type=kind
    )
    error = row.expect_error(await call(row, ask_for_a_run), errors.UndecodableResponseError, disk="D0")
    assert f"content type {kind}" in error.problems
    assert rule.hits == 1


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/problem+json", "text/plain", ""])
async def test_N_08_a_content_type_that_says_no_other_format(row: Row, words: Wording, kind: str) -> None:
    """Success: plain text, and nothing at all, do not contradict JSON. D0."""
    row.emulator.misbehave(words.run, status=200, body=words.said(b'{"training_run_id": "r1"}'), content_type=kind)
    attempt = await call(row, ask_for_a_run)
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")


@pytest.mark.parametrize("status", [202, 204])
async def test_N_08_an_answer_without_an_object(row: Row, words: Wording, status: int) -> None:
    """MalformedResponseError or UndecodableResponseError. D0."""
    rule = row.emulator.misbehave(words.run, status=status)
    kinds = (errors.MalformedResponseError, errors.UndecodableResponseError)
    row.expect_error(await call(row, ask_for_a_run), kinds, disk="D0")
    assert rule.hits == 1


async def listed(row: Row, fault: _misbehaviour.PagingFault | None, **total: int) -> tuple[list[str], Attempt]:
    """List all checkpoints, two a page, and give what came before the end or the error."""
    row.emulator.paging_fault = fault
    names: list[str] = []

    async def ask(rest: RestClient) -> None:
        async for item in rest.iter_user_checkpoints(limit=2):
            names.append(item.checkpoint_id)

    return names, await call(row, ask, memory_mib=32)


@pytest.mark.emulator(checkpoints=7)
@pytest.mark.parametrize("words", ["classic"], indirect=True)  # there, a page says whether more follows
@pytest.mark.parametrize("fault", ["lie_total", "lie_few", "lie_negative"])
async def test_N_09_totals_that_lie(row: Row, fault: _misbehaviour.PagingFault) -> None:
    """Success: the items decide, nothing is made ready for the total; the iterator's `discrepancy` notes it. D0."""
    row.emulator.paging_fault = fault
    names: list[str] = []
    notes: list[str] = []

    async def ask(rest: RestClient) -> None:
        items = rest.iter_user_checkpoints(limit=2)
        async for item in items:
            names.append(item.checkpoint_id)
            assert items.discrepancy == "" or len(names) >= 6
        notes.append(items.discrepancy)

    attempt = await call(row, ask, memory_mib=32)
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")
    assert names == [item.checkpoint_id for item in row.emulator.checkpoints]
    assert re.fullmatch(r"the list is said to have -?\d+ items, it has 7", notes[0])


@pytest.mark.emulator(checkpoints=7)
@pytest.mark.parametrize("words", ["v1"], indirect=True)  # there, the total alone says where the list ends
@pytest.mark.parametrize(("fault", "honest"), [("lie_total", 7), ("lie_few", 0), ("lie_negative", 0)])
async def test_N_09_a_total_that_should_tell_the_end_lies(
    row: Row, fault: _misbehaviour.PagingFault, honest: int
) -> None:
    """PagingError after what was right, where nothing else tells the end; nothing is made ready for the total. D0."""
    names, attempt = await listed(row, fault)
    row.expect_error(attempt, errors.PagingError, disk="D0")
    assert names == [item.checkpoint_id for item in row.emulator.checkpoints][:honest]
    asked = [request for request in row.emulator.requests.of("api") if "checkpoints" in request.path]
    assert len(asked) <= 8


@pytest.mark.emulator(checkpoints=7)
async def test_N_09_a_total_that_is_true(row: Row) -> None:
    """Success, and nothing to note. D0."""
    items: list[Any] = []

    async def ask(rest: RestClient) -> None:
        items.append(rest.iter_user_checkpoints(limit=2))
        assert len([item async for item in items[0]]) == 7

    attempt = await call(row, ask)
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")
    assert items[0].discrepancy == ""


@pytest.mark.emulator(checkpoints=7)
@pytest.mark.parametrize(
    ("fault", "honest"), [("same", 2), ("loop", 6), ("empty", 0), ("ignore_offset", 2), ("zero_limit", 0)]
)
async def test_N_10_pages_without_end(row: Row, fault: _misbehaviour.PagingFault, honest: int) -> None:
    """PagingError after what was right. D0."""
    names, attempt = await listed(row, fault)
    row.expect_error(attempt, errors.PagingError, disk="D0")
    assert names == [item.checkpoint_id for item in row.emulator.checkpoints][:honest]
    asked = [request for request in row.emulator.requests.of("api") if "checkpoints" in request.path]
    assert len(asked) <= 6


@pytest.mark.parametrize("skipped", [1, 3])
async def test_N_10_a_page_for_another_position(row: Row, words: Wording, skipped: int) -> None:
    """PagingError after what was right. D0."""
    body = words.page([{"checkpoint_id": "late"}], total=9, limit=2, offset=2 + skipped)
    row.emulator.misbehave(words.checkpoints, status=200, body=body, skip=1)
    names, attempt = await listed(row, None)
    row.expect_error(attempt, errors.PagingError, disk="D0")
    assert names == [item.checkpoint_id for item in row.emulator.checkpoints][:2]


async def test_N_11_an_item_vanishes_after_it_was_listed(row: Row) -> None:
    """NotFoundError of that item; the others succeed. D0, D2."""
    gone, *_ = row.emulator.checkpoints
    names = {item.checkpoint_id: f"f{number}" for number, item in enumerate(row.emulator.checkpoints)}
    contents = {names[each]: row.emulator.content_of(each) for each in names}
    async with row.attempt(contents) as attempt:
        async with row.service.create_rest_client() as rest:
            items = [item async for item in rest.iter_user_checkpoints()]
            await rest.delete_checkpoint(gone.training_run_id, gone.checkpoint_id)
            batch = rest.download_checkpoints(items, row.dest, file_name=lambda item: names[item.checkpoint_id])  # type: ignore[union-attr]
            async with batch as results:
                async for result in results:
                    attempt.results[result.source.name] = result
    row.expect_error(attempt, errors.NotFoundError, names[gone.checkpoint_id], disk="D0")
    row.expect_all(attempt, requests=2)
