"""The emulator's Norman part: accounts, models, invocations, flags that advance, and the port that takes pushes.

It is reached as `Emulator.norman`, a `NormanService`, which puts together what the modules with an underscore hold, one
noun each, and which is what a test turns.
"""

from ._bodies import StoredBody as StoredBody
from ._faults import FlagFault as FlagFault
from ._faults import PushFault as PushFault
from ._models import ModelFunction as ModelFunction
from ._pairings import Pairing as Pairing
from ._service import NormanService as NormanService
