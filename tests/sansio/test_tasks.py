from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_norman._sansio.tasks import TaskAnswer, TaskStatus, answer_of_callback, decoded, read_answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def answer(status: Any = "SUCCESS", **parts: Any) -> dict[str, Any]:
    return {"task_id": "t", "status": status, "result": None, "traceback": None, "status_code": None, **parts}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (answer(result={"result": '{"sum": 3}'}, status_code=200), ('{"sum": 3}', None, None, 200)),
        (answer(result={"result": {"token": 0}}), ({"token": 0}, None, None, None)),
        (answer(result={"result_url": "s3://b/k.pkl"}), (None, "s3://b/k.pkl", None, None)),
        (answer("FAILURE", result="Expecting value"), ("Expecting value", None, None, None)),
        (answer("FAILURE", traceback="boom", status_code=500), (None, None, "boom", 500)),
        (answer(result={"detail": {"traceback": "boom"}}), ({"detail": {"traceback": "boom"}}, None, "boom", None)),
        (answer(result={"detail": "no model"}), ({"detail": "no model"}, None, "no model", None)),
        (answer(result={"detail": [1]}), ({"detail": [1]}, None, "[1]", None)),
        (answer(result={"detail": "no"}, status_code=500), ({"detail": "no"}, None, "no", 500)),
        (answer(result={"detail": "yes"}, status_code=200), ({"detail": "yes"}, None, None, 200)),
        (answer(result={"detail": "x", "answer": 42}), ({"detail": "x", "answer": 42}, None, None, None)),
        (answer(result={"result": {"detail": "x"}}), ({"detail": "x"}, None, None, None)),
        (answer(result=None), (None, None, None, None)),
        (answer(result="text"), ("text", None, None, None)),
        (answer(result=[1, 2]), ([1, 2], None, None, None)),
        (answer(result={"other": 1}), ({"other": 1}, None, None, None)),
        ({"status": "SUCCESS"}, (None, None, None, None)),
    ],
)
def test_every_way_of_wrapping_gives_the_same_depth(document: Any, expected: tuple[Any, ...]) -> None:
    told = read_answer(document)
    assert (told.result, told.result_url, told.traceback, told.status_code) == expected


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (None, "expected an object, got null @ \\$"),
        ([], "expected an object, got list"),
        ({}, "got null @ \\$.status"),
        (answer(None), "got null @ \\$.status"),
        (answer(""), "@ \\$.status"),
        (answer(traceback=3), "\\$.traceback"),
        (answer(status_code=True), "\\$.status_code"),
        (answer(status_code="200"), "\\$.status_code"),
        ({"detail": "Not authenticated"}, "an error in place of an answer: Not authenticated"),
        ({"error": "Internal error"}, "an error in place of an answer: Internal error"),
    ],
)
def test_what_is_no_answer_is_refused_with_its_place(document: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_answer(document)


@given(JSON)
def test_any_json_is_an_answer_or_a_value_error(document: Any) -> None:
    with suppress(ValueError):
        assert isinstance(read_answer(document), TaskAnswer)


@given(JSON)
def test_any_result_is_accepted(result: Any) -> None:
    assert read_answer(answer(result={"result": result})).result == result


@pytest.mark.parametrize("status", ["PENDING", "STARTED", "UNDEFINED", "RETRY", "something new"])
def test_only_success_and_failure_are_final(status: str) -> None:
    assert not read_answer(answer(status)).is_final
    assert read_answer(answer("SUCCESS")).is_final
    assert read_answer(answer("FAILURE")).is_final
    assert read_answer(answer("something new")).status == "something new"
    assert isinstance(read_answer(answer("UNDEFINED")).status, TaskStatus)


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("no json", "no json"),
        ('"text"', "text"),
        ({"a": 1}, {"a": 1}),
        (None, None),
        ("NaN", "NaN"),
    ],
)
def test_json_text_is_decoded_and_everything_else_is_itself(result: Any, value: Any) -> None:
    assert decoded(result) == value


def test_a_callback_says_what_a_poll_would_have_said() -> None:
    task_id, document = answer_of_callback({"result": "[1]", "status_code": 500, "task_id": "t-1"})
    assert task_id == "t-1"
    assert document == answer(task_id="t-1", result={"result": "[1]"}, status_code=500)
    assert answer_of_callback({"result_url": "s3://x", "task_id": "t"})[1]["result"] == {"result_url": "s3://x"}


@pytest.mark.parametrize("document", [None, [], {}, {"task_id": None}, {"task_id": ""}, {"result": 1, "task_id": 5}])
def test_a_callback_names_its_task(document: Any) -> None:
    with pytest.raises(ValueError, match="a callback"):
        answer_of_callback(document)
