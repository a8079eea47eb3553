"""Runs the functions of endpoints, and tells their outcomes in the three pictures that the service gives of them."""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import attrs
import trio

from ._launch_models import ContainerError, LaunchEndpoint, LaunchTask, TaskLostError, WorkerError

Store = Callable[[Any], str]  # keeps a result and gives its URL


@attrs.frozen
class ContainerAnswer:
    """What an endpoint's container said: status, and any JSON."""

    status: int
    body: Any


def input_of(endpoint: LaunchEndpoint, body: Mapping[str, Any]) -> Any:
    """Give what the model is called with: artifacts prefer the URL, images know only arguments."""
    if endpoint.is_artifact and body.get("url") is not None:
        return body["url"]
    return body.get("args")


def gives_text(endpoint: LaunchEndpoint, body: Mapping[str, Any]) -> bool:
    """Tell whether a result is written as JSON text."""
    args = body.get("args")
    if isinstance(args, dict) and isinstance(args.get("serialize_results_as_string"), bool):
        return bool(args["serialize_results_as_string"])
    return endpoint.kind != "streaming" if endpoint.gives_text is None else endpoint.gives_text


async def ask_container(endpoint: LaunchEndpoint, body: Mapping[str, Any]) -> ContainerAnswer:
    """Run the function once, with its delay."""
    given = input_of(endpoint, body)
    await trio.sleep(endpoint.seconds_for(given))
    try:
        result = endpoint.function(given)
        return ContainerAnswer(200, await result if inspect.isawaitable(result) else result)
    except ContainerError as error:
        return ContainerAnswer(error.status_code, error.body)
    except (WorkerError, TaskLostError):
        raise
    except Exception:  # noqa: BLE001 (whatever a model raises is an answer)
        return ContainerAnswer(500, {"detail": {"traceback": traceback.format_exc()}})


def wrapped(endpoint: LaunchEndpoint, body: Mapping[str, Any], value: Any, store: Store) -> dict[str, Any]:
    """Give a result as the forwarder, or the runner of artifacts, wraps it."""
    if endpoint.is_artifact and body.get("return_pickled"):
        return {"result_url": store(value)}
    return {"result": json.dumps(value) if gives_text(endpoint, body) else value}


def sync_picture(
    endpoint: LaunchEndpoint, body: Mapping[str, Any], answer: ContainerAnswer, store: Store
) -> dict[str, Any]:
    """Give the body that a synchronous task is answered with, in HTTP 200; 400 is the caller's to tell."""
    if answer.status == 200:
        return event_of("SUCCESS", wrapped(endpoint, body, answer.body, store), None, 200)
    if answer.status == 429:
        return event_of("FAILURE", None, "Too many concurrent requests", 429)
    if answer.status == 503:
        return event_of("FAILURE", None, "No healthy upstream", 503)
    return event_of("FAILURE", None, _traceback_of(answer.body), answer.status)


def event_of(status: str, result: Any, trace: str | None, code: int | None) -> dict[str, Any]:
    """Give the object of a synchronous answer, or of one event of a stream."""
    return {"status": status, "result": result, "traceback": trace, "status_code": code}


def _traceback_of(body: Any) -> str:
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, dict):
        return str(detail.get("traceback", "Failed to parse traceback"))
    return json.dumps(body)


async def run_task(task: LaunchTask, store: Store) -> dict[str, Any] | None:
    """Run an asynchronous task through its states, and give what a callback delivers of it, if anything."""
    endpoint, body = task.endpoint, task.body
    seconds = endpoint.seconds_for(input_of(endpoint, body))
    await trio.sleep(seconds / 10)
    task.status = "STARTED"
    await trio.sleep(seconds - seconds / 10)
    delivered: dict[str, Any] | None = None
    try:
        answer = await ask_container(attrs.evolve(endpoint, delay=0.0), body)
        if endpoint.is_artifact and answer.status != 200:
            task.status, task.result = "SUCCESS", answer.body
        else:
            value = answer.body
            task.status, task.result = "SUCCESS", wrapped(endpoint, body, value, store)
            task.status_code = None if endpoint.is_artifact else answer.status
        delivered = {**_as_object(task.result), "task_id": task.id}
        delivered |= {} if task.status_code is None else {"status_code": task.status_code}
    except WorkerError as error:
        task.status, task.result = "FAILURE", str(error)
    except TaskLostError:
        task.status = "UNDEFINED"
    task.done_at = trio.current_time()
    task.done.set()
    return delivered


def _as_object(result: Any) -> dict[str, Any]:
    return dict(result) if isinstance(result, dict) else {"result": result}


async def events_of(endpoint: LaunchEndpoint, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """Give the events of a streaming endpoint; one that dies in between just ends."""
    given, is_text = input_of(endpoint, body), gives_text(endpoint, body)
    seconds, has_begun = endpoint.seconds_for(given), False
    try:
        async with aclosing(_values(endpoint.function(given))) as values:
            async for value in values:
                if seconds > 0:  # sending waits its turn anyhow
                    await trio.sleep(seconds)
                has_begun = True
                yield event_of("SUCCESS", {"result": json.dumps(value) if is_text else value}, None, 200)  # noqa: ASYNC119 (the answer closes this generator)
    except ContainerError as error:
        if not has_begun and error.status_code != 400:
            yield event_of("FAILURE", None, None, error.status_code)
    except Exception:  # noqa: BLE001 (whatever a model raises is an answer)
        if not has_begun:
            yield event_of("FAILURE", None, None, 500)


async def _values(result: Any) -> AsyncGenerator[Any, None]:
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AsyncIterable):
        iterator = aiter(result)
        try:
            async for value in iterator:
                yield value
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()
    elif isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
        for value in result:
            yield value
    else:
        yield result
