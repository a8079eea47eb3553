"""The names in `trio_norman` itself, each imported when somebody first asks for one of its package.

Whoever only downloads does not wait for the services, and the command line listens to Ctrl-C before it imports Trio.
"""

from __future__ import annotations

from importlib import import_module
from sys import modules

#: What can be had as `trio_norman.errors` without importing it by name.
MODULES = frozenset({"errors"})

#: Package or module to the names that it lends.
LENT = {
    "_sansio.limits": frozenset({"Limits"}),
    "_sansio.redaction": frozenset({"Secret"}),
    "_sansio.retrying": frozenset({"RetryPolicy"}),
    "_sansio.stalling": frozenset({"StallLimit"}),
    "_sansio.times": frozenset({"Timestamp"}),
    "_wire._connecting": frozenset({"ConnectionSettings"}),
    "_wire._transport": frozenset({"TrioTransport"}),
    "transfer": frozenset(
        {
            "DownloadAdvanced",
            "DownloadFinished",
            "DownloadOptions",
            "DownloadResult",
            "DownloadRetrying",
            "DownloadStarted",
            "Downloads",
            "Event",
            "Fetch",
            "Link",
            "Outcome",
            "Progress",
            "Source",
            "Transfer",
            "TransferProgress",
            "download_many",
            "run_downloads",
        }
    ),
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
    if name in MODULES:
        return import_module(f".{name}", __package__)
    for module, names in LENT.items():
        if name in names:
            thing: object = getattr(import_module(f".{module}", __package__), name)
            setattr(modules[str(__package__)], name, thing)  # the next one who asks finds it there
            return thing
    raise AttributeError(f"module {__package__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*vars(modules[str(__package__)]), *MODULES, *(name for names in LENT.values() for name in names)})
