"""The services' names in `trio_norman` itself, each imported when somebody first asks for one of its package.

Whoever only downloads does not wait for what he does not use.
"""

from __future__ import annotations

from importlib import import_module
from sys import modules

#: Package to the names that it lends.
OF_SERVICES = {
    "norman": frozenset(
        {
            "AssetConfig",
            "InputConfig",
            "InvocationConfig",
            "ModelConfig",
            "Norman",
            "OpenInvocation",
            "OutputConfig",
            "QueryConstraints",
            "Retrieval",
            "SignatureConfig",
            "UploadAdvanced",
        }
    ),
    "launch": frozenset(
        {
            "AsyncEndpoint",
            "CallbackReceiver",
            "EndpointRequest",
            "EndpointResponse",
            "EndpointResponseFuture",
            "EndpointResponseStream",
            "LaunchClient",
            "StreamingEndpoint",
            "SyncEndpoint",
        }
    ),
    "rest": frozenset(
        {
            "ArchiveUrl",
            "Checkpoint",
            "CheckpointInfo",
            "CheckpointList",
            "CheckpointsPage",
            "CheckpointType",
            "LoraConfig",
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
        }
    ),
}


def __getattr__(name: str) -> object:  # `trio_norman` takes this for its own: PEP 562
    for service, names in OF_SERVICES.items():
        if name in names:
            return getattr(import_module(f".{service}", __package__), name)
    raise AttributeError(f"module {__package__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*vars(modules[str(__package__)]), *(name for names in OF_SERVICES.values() for name in names)})
