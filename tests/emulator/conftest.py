from collections.abc import AsyncIterator

import attrs
import httpx
import pytest

from trio_norman.emulator import Emulator
from trio_norman.testing import MemoryTransport, open_memory_emulator


@attrs.frozen
class Served:
    """An emulator without sockets, with a client that sends its key and one that does not."""

    emulator: Emulator
    transport: MemoryTransport
    api: httpx.AsyncClient
    store: httpx.AsyncClient


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with open_memory_emulator(runs=2, checkpoints=5, size_bytes=70_000) as (emulator, transport):
        api = httpx.AsyncClient(
            transport=transport, base_url=emulator.base_url, headers={"X-API-KEY": emulator.api_key}, timeout=None
        )
        store = httpx.AsyncClient(transport=transport, timeout=None)
        async with api, store:
            yield Served(emulator, transport, api, store)
