"""The Launch API, as plain descriptions: what to ask, and what comes back. No I/O.

Source: wire/launch, sections 4, 5, 11, 12 and 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import attrs

from .._sansio.routes import segment
from ..errors import ConfigurationError
from ._models import (
    BatchJob,
    BatchJobCreated,
    BatchUpload,
    FileContent,
    Flag,
    LaunchFile,
    LaunchFiles,
    Model,
    ModelEndpoint,
    ModelEndpoints,
    ModelUrls,
    TaskCreated,
)

KEY_HEADER = "Authorization"
M = TypeVar("M", bound=Model)

SYNC_TASKS, STREAMING_TASKS, ASYNC_TASKS = "v1/sync-tasks", "v1/streaming-tasks", "v1/async-tasks"
_ENDPOINTS = "v1/model-endpoints"
_BATCH_JOBS = "v1/batch-jobs"
FILES = "v1/files"


@attrs.frozen
class Call(Generic[M]):
    """One request and the kind of its answer; `body` is what is sent as JSON, None for nothing."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    kind: type[M]
    query: Mapping[str, str | int] = attrs.field(factory=dict)
    body: Mapping[str, Any] | None = attrs.field(default=None, repr=False)


def endpoints(name: str | None = None, order_by: str | None = None) -> Call[ModelEndpoints]:
    """Describe the endpoints of the team, or those of exactly one name."""
    given = {"name": name, "order_by": order_by}
    return Call("GET", _ENDPOINTS, ModelEndpoints, {key: value for key, value in given.items() if value})


def endpoint(endpoint_id: str) -> Call[ModelEndpoint]:
    """Describe one endpoint by its id."""
    return Call("GET", f"{_ENDPOINTS}/{segment(endpoint_id, what='model_endpoint_id')}", ModelEndpoint)


def new_task(endpoint_id: str) -> Call[TaskCreated]:
    """Describe a new asynchronous task; what is asked goes along with it."""
    return Call("POST", ASYNC_TASKS, TaskCreated, {"model_endpoint_id": endpoint_id})


def task_path(task_id: str) -> str:
    """Return the path at which an asynchronous task is asked for."""
    return f"{ASYNC_TASKS}/{segment(task_id, what='async_task_id')}"


def batch_job(job_id: str) -> Call[BatchJob]:
    """Describe a batch job."""
    return Call("GET", f"{_BATCH_JOBS}/{segment(job_id, what='job_id')}", BatchJob)


def cancel_batch_job(job_id: str) -> Call[Flag]:
    """Describe the cancelling of a batch job."""
    return Call("PUT", f"{_BATCH_JOBS}/{segment(job_id, what='job_id')}", Flag, body={"cancel": True})


def create_batch_job(
    model_bundle_id: str,
    input_path: str,
    *,
    labels: Mapping[str, str],
    serialization_format: str,
    resource_requests: Mapping[str, Any] | None,
    timeout_seconds: float | None,
) -> Call[BatchJobCreated]:
    """Describe a new batch job; bad arguments are refused before anything is uploaded or sent."""
    missing = [name for name in ("team", "product") if not labels.get(name)]
    if missing:
        raise ConfigurationError(f"labels has no {' and no '.join(missing)}", "the service wants both")
    if serialization_format not in ("JSON", "PICKLE"):
        raise ConfigurationError("serialization_format is neither JSON nor PICKLE", "JSON runs no code when it is read")
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise ConfigurationError("timeout_seconds is not above 0", "give the seconds, or leave it out")
    body: dict[str, Any] = {
        "model_bundle_id": model_bundle_id,
        "input_path": input_path,
        "serialization_format": serialization_format,
        "labels": dict(labels),
        "resource_requests": dict(resource_requests or {}),
    }
    if timeout_seconds is not None:
        body["timeout_seconds"] = timeout_seconds
    return Call("POST", _BATCH_JOBS, BatchJobCreated, body=body)


def batch_upload() -> Call[BatchUpload]:
    """Describe the request for a place to put a batch job's inputs. It lies below another root than the rest."""
    return Call("POST", "batch_task_input_upload", BatchUpload, body={})


def files() -> Call[LaunchFiles]:
    """Describe all files."""
    return Call("GET", FILES, LaunchFiles)


def file(file_id: str) -> Call[LaunchFile]:
    """Describe one file."""
    return Call("GET", _file_path(file_id), LaunchFile)


def file_content(file_id: str) -> Call[FileContent]:
    """Describe a file's text."""
    return Call("GET", f"{_file_path(file_id)}/content", FileContent)


def delete_file(file_id: str) -> Call[Flag]:
    """Describe the deletion of a file."""
    return Call("DELETE", _file_path(file_id), Flag)


def model_urls(model_name: str, download_format: str) -> Call[ModelUrls]:
    """Describe the signed URLs of a model's files."""
    if not model_name.strip():
        raise ConfigurationError("model_name is empty", "pass the name of an endpoint that serves the model")
    body = {"model_name": model_name, "download_format": download_format}
    return Call("POST", "v1/llm/model-endpoints/download", ModelUrls, body=body)


def batch_rows(urls: Sequence[str] | None, inputs: Sequence[Any] | None) -> tuple[str, Sequence[Any]]:
    """Return the column and the values of a batch job's inputs.

    Raises:
        ConfigurationError: If not exactly one of both is given, or it is empty.
    """
    if (urls is None) == (inputs is None):
        raise ConfigurationError("a batch job has exactly one of urls and inputs", "give the one, leave out the other")
    rows = urls if urls is not None else inputs
    if not rows:
        raise ConfigurationError("the batch job has no inputs", "give at least one")
    return ("url" if urls is not None else "args"), rows


def _file_path(file_id: str) -> str:
    return f"{FILES}/{segment(file_id, what='file_id')}"
