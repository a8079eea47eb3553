"""The Norman service: sign up, upload models, invoke them, and bring home what they stored.

::

    async with Norman(api_key=key, base_url=url) as norman:
        async with norman.open_invocation(config) as invocation:
            await invocation.save_outputs("out/")
"""

from ._client import Norman as Norman
from ._configs import AssetConfig as AssetConfig
from ._configs import InputConfig as InputConfig
from ._configs import InvocationConfig as InvocationConfig
from ._configs import ModelConfig as ModelConfig
from ._configs import OutputConfig as OutputConfig
from ._configs import ParameterConfig as ParameterConfig
from ._configs import SignatureConfig as SignatureConfig
from ._configs import TagConfig as TagConfig
from ._configs import TransformConfig as TransformConfig
from ._constraints import QueryConstraints as QueryConstraints
from ._downloads import asset_file_name as asset_file_name
from ._downloads import output_file_name as output_file_name
from ._invoking import OpenInvocation as OpenInvocation
from ._models import Account as Account
from ._models import AggregateTag as AggregateTag
from ._models import AssetDownloadRequest as AssetDownloadRequest
from ._models import AuthenticationFactors as AuthenticationFactors
from ._models import ChecksumRequest as ChecksumRequest
from ._models import DownloadRequest as DownloadRequest
from ._models import InputDownloadRequest as InputDownloadRequest
from ._models import Invocation as Invocation
from ._models import InvocationHistory as InvocationHistory
from ._models import InvocationSignature as InvocationSignature
from ._models import LoginResponse as LoginResponse
from ._models import Model as Model
from ._models import ModelAsset as ModelAsset
from ._models import ModelBase as ModelBase
from ._models import ModelParam as ModelParam
from ._models import ModelPreview as ModelPreview
from ._models import ModelSignature as ModelSignature
from ._models import ModelTag as ModelTag
from ._models import Notification as Notification
from ._models import OutputDownloadRequest as OutputDownloadRequest
from ._models import SignatureTransform as SignatureTransform
from ._models import SignupKeyResponse as SignupKeyResponse
from ._models import SocketAssetPairingRequest as SocketAssetPairingRequest
from ._models import SocketInputPairingRequest as SocketInputPairingRequest
from ._models import SocketPairingResponse as SocketPairingResponse
from ._models import StatusFlag as StatusFlag
from ._models import TrackedDownload as TrackedDownload
from ._providing import UploadAdvanced as UploadAdvanced
from ._retrieve import Retrieval as Retrieval
from ._retrieve import Retrieve as Retrieve
from ._words import BuildStatus as BuildStatus
from ._words import ConsumeMode as ConsumeMode
from ._words import DataModality as DataModality
from ._words import FlagName as FlagName
from ._words import FlagValue as FlagValue
from ._words import HostingLocation as HostingLocation
from ._words import HttpLocation as HttpLocation
from ._words import InputSource as InputSource
from ._words import ModelType as ModelType
from ._words import OutputFormat as OutputFormat
from ._words import ReceiveFormat as ReceiveFormat
from ._words import RequestType as RequestType
from ._words import Severity as Severity
from ._words import SignatureType as SignatureType
