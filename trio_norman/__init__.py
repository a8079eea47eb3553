"""Trio-native client for model platforms: bulk, parallel, resumable and verified downloads of checkpoints.

::

    async with ServiceClient(api_key=key).create_rest_client() as rest:
        async with rest.download_checkpoints(rest.iter_user_checkpoints(), "models/") as results:
            async for result in results:
                print(result.path, result.outcome, result.sha256)

`errors` has every exception; `transfer` the engine that brings any URLs home; `rest` the training service;
`emulator` and `testing` stand in for the service, with and without sockets.
"""

from . import errors as errors
from ._sansio.redaction import Secret as Secret
from ._sansio.retrying import RetryPolicy as RetryPolicy
from ._sansio.stalling import StallLimit as StallLimit
from ._sansio.times import Timestamp as Timestamp
from ._version import __version__ as __version__
from ._wire._connecting import ConnectionSettings as ConnectionSettings
from ._wire._transport import TrioTransport as TrioTransport
from .rest import ArchiveUrl as ArchiveUrl
from .rest import Checkpoint as Checkpoint
from .rest import CheckpointInfo as CheckpointInfo
from .rest import CheckpointList as CheckpointList
from .rest import CheckpointsPage as CheckpointsPage
from .rest import CheckpointType as CheckpointType
from .rest import LoraConfig as LoraConfig
from .rest import PageIterator as PageIterator
from .rest import Pagination as Pagination
from .rest import RestClient as RestClient
from .rest import Sampler as Sampler
from .rest import ServiceClient as ServiceClient
from .rest import Session as Session
from .rest import SessionsPage as SessionsPage
from .rest import TrainingRun as TrainingRun
from .rest import TrainingRunsPage as TrainingRunsPage
from .rest import UserInfo as UserInfo
from .rest import Weight as Weight
from .rest import WeightsPage as WeightsPage
from .rest import checkpoint_file_name as checkpoint_file_name
from .transfer import DownloadAdvanced as DownloadAdvanced
from .transfer import DownloadFinished as DownloadFinished
from .transfer import DownloadOptions as DownloadOptions
from .transfer import DownloadResult as DownloadResult
from .transfer import DownloadRetrying as DownloadRetrying
from .transfer import Downloads as Downloads
from .transfer import DownloadStarted as DownloadStarted
from .transfer import Event as Event
from .transfer import Fetch as Fetch
from .transfer import Link as Link
from .transfer import Outcome as Outcome
from .transfer import Progress as Progress
from .transfer import Source as Source
from .transfer import Transfer as Transfer
from .transfer import TransferProgress as TransferProgress
from .transfer import download_many as download_many
from .transfer import run_downloads as run_downloads
