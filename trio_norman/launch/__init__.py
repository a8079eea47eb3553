"""Launch endpoints: synchronous, streaming, and thousands of asynchronous tasks with one poller."""

from .._sansio.tasks import TaskStatus
from ._client import LaunchClient
from ._endpoints import AsyncEndpoint, Endpoint, StreamingEndpoint, SyncEndpoint
from ._futures import EndpointResponseFuture
from ._jobs import BatchJobs
from ._many import Answers
from ._models import (
    BatchJob,
    BatchStatus,
    CallbackAuth,
    DeploymentState,
    EndpointStatus,
    EndpointType,
    LaunchFile,
    Model,
    ModelEndpoint,
    ResourceState,
)
from ._receiver import CallbackReceiver
from ._requests import EndpointRequest
from ._responses import EndpointResponse
from ._state import LaunchLimits
from ._stored import Files
from ._streams import EndpointResponseStream

__all__ = [
    "Answers",
    "AsyncEndpoint",
    "BatchJob",
    "BatchJobs",
    "BatchStatus",
    "CallbackAuth",
    "CallbackReceiver",
    "DeploymentState",
    "Endpoint",
    "EndpointRequest",
    "EndpointResponse",
    "EndpointResponseFuture",
    "EndpointResponseStream",
    "EndpointStatus",
    "EndpointType",
    "Files",
    "LaunchClient",
    "LaunchFile",
    "LaunchLimits",
    "Model",
    "ModelEndpoint",
    "ResourceState",
    "StreamingEndpoint",
    "SyncEndpoint",
    "TaskStatus",
]
