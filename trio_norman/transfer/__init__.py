"""The one engine that brings files home: bounded channels from a listing to verified results."""

from .._sansio.retrying import RetryPolicy
from .._sansio.stalling import StallLimit
from .._wire._connecting import ConnectionSettings
from ._engine import Downloads, download_many, run_downloads
from ._handle import Transfer, TransferProgress
from ._model import (
    DownloadAdvanced,
    DownloadFinished,
    DownloadOptions,
    DownloadResult,
    DownloadRetrying,
    DownloadStarted,
    Event,
    Fetch,
    Link,
    Outcome,
    Source,
)
from ._shop import Progress

__all__ = [
    "ConnectionSettings",
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
    "RetryPolicy",
    "Source",
    "StallLimit",
    "Transfer",
    "TransferProgress",
    "download_many",
    "run_downloads",
]
