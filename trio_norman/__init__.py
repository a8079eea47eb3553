"""Trio-native client for model platforms: bulk, parallel, resumable and verified downloads of checkpoints.

::

    async with ServiceClient(api_key=key).create_rest_client() as rest:
        async with rest.download_checkpoints(rest.iter_user_checkpoints(), "models/") as results:
            async for result in results:
                print(result.path, result.outcome, result.sha256)

`errors` has every exception; `transfer` the engine that brings any URLs home; `rest` the training service; `norman`
the Norman service, which stores and runs models; `launch` inference endpoints;
`emulator` and `testing` stand in for the service, with and without sockets.
"""

from typing import TYPE_CHECKING

from ._lazily import __dir__ as __dir__
from ._lazily import __getattr__ as __getattr__
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from . import errors as errors
    from ._sansio.limits import Limits as Limits
    from ._sansio.redaction import Secret as Secret
    from ._sansio.retrying import RetryPolicy as RetryPolicy
    from ._sansio.stalling import StallLimit as StallLimit
    from ._sansio.times import Timestamp as Timestamp
    from ._wire._connecting import ConnectionSettings as ConnectionSettings
    from ._wire._transport import TrioTransport as TrioTransport
    from .launch import AsyncEndpoint as AsyncEndpoint
    from .launch import CallbackReceiver as CallbackReceiver
    from .launch import EndpointRequest as EndpointRequest
    from .launch import EndpointResponse as EndpointResponse
    from .launch import EndpointResponseFuture as EndpointResponseFuture
    from .launch import EndpointResponseStream as EndpointResponseStream
    from .launch import LaunchClient as LaunchClient
    from .launch import StreamingEndpoint as StreamingEndpoint
    from .launch import SyncEndpoint as SyncEndpoint
    from .norman import AssetConfig as AssetConfig
    from .norman import InputConfig as InputConfig
    from .norman import InvocationConfig as InvocationConfig
    from .norman import ModelConfig as ModelConfig
    from .norman import Norman as Norman
    from .norman import OpenInvocation as OpenInvocation
    from .norman import OutputConfig as OutputConfig
    from .norman import QueryConstraints as QueryConstraints
    from .norman import Retrieval as Retrieval
    from .norman import SignatureConfig as SignatureConfig
    from .norman import UploadAdvanced as UploadAdvanced
    from .rest import ArchiveUrl as ArchiveUrl
    from .rest import Checkpoint as Checkpoint
    from .rest import CheckpointInfo as CheckpointInfo
    from .rest import CheckpointList as CheckpointList
    from .rest import CheckpointsPage as CheckpointsPage
    from .rest import CheckpointType as CheckpointType
    from .rest import LoraConfig as LoraConfig
    from .rest import ModelsPage as ModelsPage
    from .rest import PageIterator as PageIterator
    from .rest import Pagination as Pagination
    from .rest import RestClient as RestClient
    from .rest import Sampler as Sampler
    from .rest import ServiceClient as ServiceClient
    from .rest import Session as Session
    from .rest import SessionsPage as SessionsPage
    from .rest import SupportedModel as SupportedModel
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
