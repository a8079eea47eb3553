"""What the answers about inference tasks mean: one reading for all three ways of asking.

Source: wire/launch, sections 5 and 7.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs

from .jsontext import decode_json


class TaskStatus(StrEnum):
    """How a task is; a word that is not listed here arrives as plain text and counts as not done."""

    PENDING = "PENDING"  #: not begun, or nobody knows the id: the service does not tell these apart
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"  #: the model answered; its status code may still be an error's
    FAILURE = "FAILURE"
    UNDEFINED = "UNDEFINED"  #: expired, lost, or in a state without a word


_STATUSES: Mapping[str, TaskStatus] = {each.value: each for each in TaskStatus}


@attrs.frozen
class TaskAnswer:
    """One answer about a task: `result` is what the model gave, however deep the service has wrapped it."""

    status: TaskStatus | str
    result: Any = None
    result_url: str | None = None
    traceback: str | None = None
    status_code: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether the service will say nothing else any more."""
        return self.status in (TaskStatus.SUCCESS, TaskStatus.FAILURE)


def read_answer(document: Any) -> TaskAnswer:
    """Read the object that sync and streaming tasks and the polls of async ones are answered with.

    Raises:
        ValueError: If it is none, with what is wrong and where (``what @ path``).

    Source: wire/launch, section 7: an object with `result` or `result_url` is unwrapped, anything else is the result.
    """
    if not isinstance(document, dict):
        raise ValueError(f"expected an object, got {_kind(document)} @ $")
    status = document.get("status")
    if not isinstance(status, str) or not status:
        raise ValueError(f"{_error_text(document) or 'expected a status as text, got ' + _kind(status)} @ $.status")
    traceback, code = document.get("traceback"), document.get("status_code")
    if traceback is not None and not isinstance(traceback, str):
        raise ValueError(f"expected a text, got {_kind(traceback)} @ $.traceback")
    if code is not None and type(code) is not int:
        raise ValueError(f"expected a whole number, got {_kind(code)} @ $.status_code")
    result, url = _unwrapped(document.get("result"))
    if traceback is None and is_error_body(document.get("result"), code):
        traceback = traceback_of(document["result"])
    return TaskAnswer(_STATUSES.get(status, status), result, url, traceback, code)


def _error_text(document: Mapping[str, Any]) -> str:
    """Return what an error body says that came with a status of success."""
    told = document.get("detail") or document.get("error")
    return f"an error in place of an answer: {told}" if isinstance(told, str) else ""


def _unwrapped(value: Any) -> tuple[Any, str | None]:
    if not isinstance(value, dict) or not ("result" in value or "result_url" in value):
        return value, None
    url = value.get("result_url")
    return value.get("result"), url if isinstance(url, str) else None


def is_error_body(value: Any, code: int | None) -> bool:
    """Tell a failure from a result: `detail` and nothing else, and no status code of success beside it.

    Source: wire/launch, section 5.5, last row, and section 7: an artifact endpoint that fails has no status code.
    """
    is_success = code is not None and code < 400
    return isinstance(value, dict) and value.keys() == {"detail"} and not is_success


def traceback_of(value: Mapping[str, Any]) -> str:
    """Return what an error body of a model says: its traceback, its text, or whatever else it holds, as JSON."""
    detail = value.get("detail")
    told = detail.get("traceback") if isinstance(detail, dict) else detail
    return told if isinstance(told, str) and told else json.dumps(detail, ensure_ascii=False)


def decoded(result: Any) -> Any:
    """Return a result's value: the service writes it as JSON text by default, and as itself where it is told to."""
    if not isinstance(result, str):
        return result
    try:
        return decode_json(result.encode("utf-8", "surrogatepass"))
    except ValueError:
        return result


def answer_of_callback(document: Any) -> tuple[str, dict[str, Any]]:
    """Return the task's id and what a poll would have answered, from the body of a callback.

    Raises:
        ValueError: If it is none.

    Source: wire/launch, section 10: the forwarder's answer with `task_id` beside it.
    """
    if not isinstance(document, dict):
        raise ValueError("a callback is an object")
    task_id, code = document.get("task_id"), document.get("status_code")
    if not isinstance(task_id, str) or not task_id:
        raise ValueError("a callback names its task")
    result = {name: value for name, value in document.items() if name not in {"task_id", "status_code"}}
    code = code if type(code) is int else None
    return task_id, {"task_id": task_id, "status": "SUCCESS", "result": result, "traceback": None, "status_code": code}


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
