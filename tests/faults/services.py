"""Clients of the services in a row: opened within an attempt, so that the invariants hold for what they carry, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.rows import Attempt, Row
from tests.norman.norman_opening import SHORT
from tests.rest.rest_opening import QUICK
from trio_norman import Norman
from trio_norman.launch import LaunchClient


@asynccontextmanager
async def norman_attempt(
    row: Row, *, within: float = 20.0, memory_mib: float = 96.0, requests: float = 24, **options: Any
) -> AsyncIterator[tuple[Attempt, Norman]]:
    """Attempt something with a Norman client; a file ``f`` stands for the destination, where nothing may appear."""
    key, url = row.emulator.norman_api_key, row.emulator.norman_base_url
    async with (
        row.attempt({"f": None}, within=within, memory_mib=memory_mib, requests=requests) as attempt,
        Norman(key, url, **{"retry": QUICK, "stall": SHORT, **options}) as norman,
    ):
        yield attempt, norman


@asynccontextmanager
async def launch_attempt(
    row: Row, *, within: float = 20.0, memory_mib: float = 96.0, requests: float = 24, **options: Any
) -> AsyncIterator[tuple[Attempt, LaunchClient]]:
    """Attempt something with a client of the Launch service; as `norman_attempt`."""
    url = row.emulator.launch_base_url
    async with (
        row.attempt({"f": None}, within=within, memory_mib=memory_mib, requests=requests) as attempt,
        LaunchClient(row.emulator.api_key, url, **{"retry": QUICK, **options}) as client,
    ):
        yield attempt, client
