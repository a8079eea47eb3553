"""The emulator without sockets, for tests under Trio's own test clock.

::

    async def test_it(autojump_clock):
        async with open_memory_emulator(checkpoints=2) as (emulator, transport):
            async with httpx.AsyncClient(transport=transport) as client:
                answer = await client.get(emulator.blob_url(1000, hdelay=3600))
"""

from ._memory import MemoryTransport as MemoryTransport
from ._memory import open_memory_emulator as open_memory_emulator
from ._memory import open_memory_transport as open_memory_transport
from ._streams import MemoryStream as MemoryStream
from ._streams import memory_connection as memory_connection
