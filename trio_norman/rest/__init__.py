"""The training service: its weights, runs, checkpoints, sessions and samplers, and its checkpoints as files."""

from ._client import RestClient
from ._downloads import checkpoint_file_name
from ._models import (
    ArchiveUrl,
    Checkpoint,
    CheckpointInfo,
    CheckpointList,
    CheckpointsPage,
    CheckpointType,
    LoraConfig,
    Model,
    ModelsPage,
    Pagination,
    Sampler,
    Session,
    SessionsPage,
    SupportedModel,
    TrainingRun,
    TrainingRunsPage,
    UserInfo,
    Weight,
    WeightsPage,
)
from ._pages import PageIterator
from ._service import ServiceClient

__all__ = [
    "ArchiveUrl",
    "Checkpoint",
    "CheckpointInfo",
    "CheckpointList",
    "CheckpointType",
    "CheckpointsPage",
    "LoraConfig",
    "Model",
    "ModelsPage",
    "PageIterator",
    "Pagination",
    "RestClient",
    "Sampler",
    "ServiceClient",
    "Session",
    "SessionsPage",
    "SupportedModel",
    "TrainingRun",
    "TrainingRunsPage",
    "UserInfo",
    "Weight",
    "WeightsPage",
    "checkpoint_file_name",
]
