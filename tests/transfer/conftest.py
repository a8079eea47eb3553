"""What the engine's tests share: an emulator on real sockets, a destination that is looked at, and no leftovers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.destinations import Destination, descriptors
from trio_norman._wire import _pump
from trio_norman.emulator import Emulator, open_emulator

MiB = 2**20


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(checkpoints=3, size_bytes=2 * MiB) as opened:
        yield opened


@pytest.fixture
def dest(tmp_path: Path) -> Destination:
    return Destination(tmp_path / "dest")


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before


PUMPS: dict[str, tuple[Any, ...]] = {
    "splice": (_pump.SplicePump,),
    "buffer": (_pump.BufferPump,),
    "portable": (),
}


@pytest.fixture(params=PUMPS)
def each_pump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make every body of known length go one way, and the test run once for each."""
    monkeypatch.setattr(_pump, "KINDS", PUMPS[request.param])
    return str(request.param)
