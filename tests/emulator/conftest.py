from collections.abc import AsyncIterator

import attrs
import httpx
import pytest

from tests.emulator.norman_plain import Plain, plain_client
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


@attrs.frozen
class NormanServed:
    """An emulator without sockets, and a client by hand that is logged in to its Norman service."""

    emulator: Emulator
    transport: MemoryTransport
    plain: Plain


@pytest.fixture
async def norman() -> AsyncIterator[NormanServed]:
    async with open_memory_emulator(runs=0) as (emulator, transport):
        plain = plain_client(emulator, transport.connect_tcp, transport)
        async with plain.http:
            await plain.log_in(emulator.norman_api_key)
            yield NormanServed(emulator, transport, plain)
