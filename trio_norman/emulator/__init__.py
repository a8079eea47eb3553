"""An emulator of the services and of the training service's object storage, on Trio, for tests and demonstrations.

::

    async with open_emulator(runs=1, checkpoints=4) as emulator:
        client = ServiceClient(api_key=emulator.api_key, base_url=emulator.base_url)

It keeps its own state, checks keys and signatures, makes contents of any size from a seed, and misbehaves on demand:
`Emulator.inject` and `Emulator.blob_url` for the storage, `Emulator.misbehave` for the APIs, and what `Emulator.norman`
has for pushes, flags and retrieving. It shares no code with the clients, so that it cannot share their mistakes.
"""

from ._actor import Actor as Actor
from ._clock import WallClock as WallClock
from ._content import Content as Content
from ._emulator import Emulator as Emulator
from ._emulator import EmulatorOptions as EmulatorOptions
from ._emulator import default_api_key as default_api_key
from ._launch import LaunchService as LaunchService
from ._launch_callbacks import Delivery as Delivery
from ._launch_models import ContainerError as ContainerError
from ._launch_models import LaunchEndpoint as LaunchEndpoint
from ._launch_models import LaunchTask as LaunchTask
from ._launch_models import TaskLostError as TaskLostError
from ._launch_models import WorkerError as WorkerError
from ._log import ConnectionCount as ConnectionCount
from ._log import LoggedRequest as LoggedRequest
from ._log import RequestLog as RequestLog
from ._misbehaviour import Misbehaviour as Misbehaviour
from ._misbehaviour import PagingFault as PagingFault
from ._odd_ports import OddPorts as OddPorts
from ._records import Checkpoint as Checkpoint
from ._records import Sampler as Sampler
from ._records import Session as Session
from ._records import TrainingRun as TrainingRun
from ._serving import ServerOptions as ServerOptions
from ._serving import open_emulator as open_emulator
from ._serving import serve_emulator as serve_emulator
