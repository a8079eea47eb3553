"""What the Launch service answers with, as frozen objects.

Unknown fields are kept in `extra`, unknown words of an enumeration as text, and every time remembers how it was
written. Only what the service's own client needs is required.

Source: wire/launch, sections 4, 11 and 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from .._sansio.redaction import Secret
from .._sansio.times import Timestamp


class EndpointType(StrEnum):
    """How an endpoint is asked; a word that is not listed here arrives as plain text."""

    SYNC = "sync"
    ASYNC = "async"
    STREAMING = "streaming"


class EndpointStatus(StrEnum):
    """How an endpoint's deployment is."""

    READY = "READY"
    UPDATE_PENDING = "UPDATE_PENDING"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_FAILED = "UPDATE_FAILED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"


class BatchStatus(StrEnum):
    """How a batch job is. Source: wire/launch, section 11; ``TIMEOUT`` is final too."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCELLED = "CANCELLED"
    UNDEFINED = "UNDEFINED"
    TIMEOUT = "TIMEOUT"


@attrs.frozen
class Model:
    """Base of every answer; `extra` holds the fields that this version does not know."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the object as the service wrote it: its field names, its spelling of times, unknown fields too.

        Fields that it left out are there, with their defaults; secrets stay ``<redacted>``.
        """
        from ._converter import to_wire  # the converter reads this module's classes

        return to_wire(self)


@attrs.frozen
class CallbackAuth(Model):
    """How an endpoint's own callbacks prove themselves; the service sends it in clear, here it is kept secret."""

    kind: str | None = None
    username: str | None = None
    password: Secret | None = None
    cert: str | None = None
    key: Secret | None = None


@attrs.frozen
class DeploymentState(Model):
    """Workers of an endpoint: how many there may be, and how many there are."""

    min_workers: int | None = None
    max_workers: int | None = None
    per_worker: int | None = None
    concurrent_requests_per_worker: int | None = None
    forwarder_max_concurrency: int | None = None
    available_workers: int | None = None
    unavailable_workers: int | None = None


@attrs.frozen
class ResourceState(Model):
    """What each worker of an endpoint has; `cpus`, `memory` and `storage` are text or numbers, as the service likes."""

    cpus: Any = attrs.field(default=None, hash=False)
    memory: Any = attrs.field(default=None, hash=False)
    gpus: int | None = None
    nodes_per_worker: int | None = None
    gpu_type: str | None = None
    storage: Any = attrs.field(default=None, hash=False)
    optimize_costs: bool | None = None


@attrs.frozen
class ModelEndpoint(Model):
    """An endpoint, as the service describes it."""

    id: str
    name: str
    endpoint_type: EndpointType | str | None
    status: EndpointStatus | str | None = None
    status_reason: str | None = None
    destination: str | None = None
    bundle_name: str | None = None
    created_by: str | None = None
    created_at: Timestamp | None = None
    last_updated_at: Timestamp | None = None
    deployment_name: str | None = None
    aws_role: str | None = None
    results_s3_bucket: str | None = None
    default_callback_url: str | None = None
    default_callback_auth: CallbackAuth | None = None
    metadata: Any = attrs.field(default=None, hash=False)
    labels: Any = attrs.field(default=None, hash=False)
    post_inference_hooks: Sequence[str] = ()
    deployment_state: DeploymentState | None = None
    resource_state: ResourceState | None = None
    num_queued_items: int | None = None
    task_expires_seconds: int | None = None
    queue_message_timeout_seconds: int | None = None
    public_inference: bool | None = None

    @property
    def sends_callbacks(self) -> bool:
        """Whether it delivers answers to a request's callback URL. Source: wire/launch, section 10."""
        return any(hook.lower() == "callback" for hook in self.post_inference_hooks)


@attrs.frozen
class ModelEndpoints(Model):
    """The endpoints of the key's team; the service does not page them."""

    model_endpoints: Sequence[ModelEndpoint]


@attrs.frozen
class BatchJob(Model):
    """A batch job, as the service describes it; `duration` is an ISO 8601 duration, or seconds on older servers."""

    status: BatchStatus | str | None
    result: str | None = None
    duration: Any = attrs.field(default=None, hash=False)
    num_tasks_pending: int | None = None
    num_tasks_completed: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether the job is over, one way or the other."""
        over = (BatchStatus.SUCCESS, BatchStatus.FAILURE, BatchStatus.CANCELLED, BatchStatus.TIMEOUT)
        return self.status in over


@attrs.frozen
class BatchJobCreated(Model):
    """The id of a new batch job."""

    job_id: str


@attrs.frozen
class BatchUpload(Model):
    """Where the inputs of a batch job go: a signed URL, and the place in the storage that it leads to."""

    url: Secret
    bucket: str
    key: str


@attrs.frozen
class TaskCreated(Model):
    """The id of a new task. Whoever knows it can read the task's answer."""

    task_id: Secret


@attrs.frozen
class LaunchFile(Model):
    """A file that was uploaded; `size` is in bytes."""

    id: str
    filename: str | None = None
    size: int | None = None


@attrs.frozen
class LaunchFiles(Model):
    """The files of the account."""

    files: Sequence[LaunchFile]


@attrs.frozen
class FileContent(Model):
    """A file's text."""

    id: str
    content: str


@attrs.frozen
class Flag(Model):
    """What the service says of a deletion or a cancellation."""

    deleted: bool | None = None
    success: bool | None = None


@attrs.frozen
class ModelUrls(Model):
    """Signed URLs of a model's files, by name."""

    urls: Any = attrs.field(repr=False, hash=False)
