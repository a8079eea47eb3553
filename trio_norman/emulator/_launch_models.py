"""What the Launch service of the emulator holds: endpoints that are Python functions, tasks, jobs, files, models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs
import trio

from ._clock import iso_date

EndpointKind = Literal["sync", "async", "streaming"]


class ContainerError(Exception):
    """Raise it in an endpoint's function to have its container answer with another status than 200.

    Args:
        status_code: The status.
        body: What it answers; any JSON.
    """

    def __init__(self, status_code: int, body: Any = None) -> None:
        super().__init__(status_code, body)
        self.status_code, self.body = status_code, body


class WorkerError(Exception):
    """Raise it in an asynchronous endpoint's function to have its worker fail: the task ends as ``FAILURE``."""


class TaskLostError(Exception):
    """Raise it in an asynchronous endpoint's function to have its task end as ``UNDEFINED``."""


@attrs.define(eq=False)
class LaunchEndpoint:
    """One endpoint.

    `function` takes the request's arguments (or its URL) and gives the result, or in a streaming endpoint an iterable
    of results; it may be asynchronous. An exception is a failure of the model.
    """

    id: str
    name: str
    kind: str  # "sync", "async" or "streaming"; other values are announced as they are
    function: Callable[[Any], Any] = attrs.field(repr=False)
    created_at: float  # Unix seconds
    delay: float | Callable[[Any], float] = 0.0  # seconds a prediction takes; between two events of a stream
    is_artifact: bool = False  # runs a Python bundle: obeys `url` and `return_pickled`
    has_callbacks: bool = True
    gives_text: bool | None = None  # whether results are JSON text; by default they are, but in streams
    status: str = "READY"
    callback_url: str | None = None
    callback_auth: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    fields: dict[str, Any] = attrs.field(factory=dict)  # put over what is announced

    def seconds_for(self, args: Any) -> float:
        """Give the seconds that one prediction takes."""
        return self.delay(args) if callable(self.delay) else self.delay

    def shown(self) -> dict[str, Any]:
        """Give the object that the API answers with."""
        return {
            "id": self.id,
            "name": self.name,
            "endpoint_type": self.kind,
            "destination": f"launch-endpoint-id-{self.id.replace('_', '-')}",
            "deployment_name": f"launch-endpoint-id-{self.id.replace('_', '-')}",
            "metadata": {},
            "bundle_name": f"{self.name}-bundle",
            "status": self.status,
            "status_reason": None,
            "post_inference_hooks": ["callback"] if self.has_callbacks else [],
            "default_callback_url": self.callback_url,
            "default_callback_auth": self.callback_auth,
            "labels": {"team": "emulator", "product": "demonstration"},
            "aws_role": None,
            "results_s3_bucket": None,
            "created_by": "ada",
            "created_at": iso_date(self.created_at),
            "last_updated_at": iso_date(self.created_at),
            "deployment_state": {
                "min_workers": 1,
                "max_workers": 4,
                "per_worker": 10,
                "concurrent_requests_per_worker": 10,
                "forwarder_max_concurrency": None,
                "available_workers": 1,
                "unavailable_workers": 0,
            },
            "resource_state": {
                "cpus": "1",
                "gpus": 0,
                "memory": "1Gi",
                "gpu_type": None,
                "storage": None,
                "nodes_per_worker": 1,
                "optimize_costs": None,
            },
            "num_queued_items": 0,
            "public_inference": False,
            "task_expires_seconds": 86400,
            "queue_message_timeout_seconds": None,
            **self.fields,
        }


@attrs.define(eq=False)
class LaunchTask:
    """One asynchronous task."""

    id: str
    endpoint: LaunchEndpoint = attrs.field(repr=False)
    body: Mapping[str, Any] = attrs.field(repr=False)
    made_at: float  # Trio's clock
    status: str = "PENDING"
    result: Any = None
    traceback: str | None = None
    status_code: int | None = None
    done_at: float | None = None  # Trio's clock
    polls: int = 0
    done: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)

    def shown(self) -> dict[str, Any]:
        """Give the object that a poll is answered with."""
        return shown_task(self.id, self.status, self.result, self.traceback, self.status_code)


def shown_task(
    task_id: str, status: str, result: Any = None, traceback: str | None = None, status_code: int | None = None
) -> dict[str, Any]:
    """Give the object that a poll is answered with; a task that nobody knows is pending for ever."""
    return {
        "task_id": task_id,
        "status": status,
        "result": result,
        "traceback": traceback,
        "status_code": status_code,
    }


@attrs.define(eq=False)
class LaunchJob:
    """One batch job; its state follows from the time that has passed."""

    id: str
    inputs: int
    made_at: float  # Trio's clock
    runs_after: float = 1.0  # seconds
    done_after: float = 2.0
    is_cancelled: bool = False

    def shown(self, now: float) -> dict[str, Any]:
        """Give the object that the API answers with."""
        age = now - self.made_at
        status = "PENDING" if age < self.runs_after else "RUNNING" if age < self.done_after else "SUCCESS"
        status = "CANCELLED" if self.is_cancelled else status
        is_done = status == "SUCCESS"
        return {
            "status": status,
            "result": f"s3://emulator/launch/batch-jobs/{self.id}/result.json" if is_done else None,
            "duration": f"PT{min(age, self.done_after):g}S",
            "num_tasks_pending": 0 if is_done else self.inputs,
            "num_tasks_completed": self.inputs if is_done else 0,
        }
