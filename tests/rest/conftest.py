from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import pytest

from tests.rest import rest_opening
from tests.rest.rest_opening import service
from trio_norman import RestClient
from trio_norman.emulator import Emulator, open_emulator


@pytest.fixture(params=["classic", "v1"])
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The dialect of the service; whoever uses this is run once for each."""
    monkeypatch.setattr(rest_opening, "SPOKEN", request.param)
    return str(request.param)


@pytest.fixture
async def emulator(api: Literal["classic", "v1"]) -> AsyncIterator[Emulator]:
    """Two runs with four small checkpoints each, on real sockets."""
    async with open_emulator(runs=2, checkpoints=4, size_bytes=5000, dialects=(api,)) as emulator:
        yield emulator


@pytest.fixture
async def rest(emulator: Emulator) -> AsyncIterator[RestClient]:
    """An open client of that service; its opening is no longer in the request log."""
    async with service(emulator).create_rest_client() as rest:
        emulator.requests.clear()
        yield rest


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody is logged in here."""
    for name in ("API_KEY", "BASE_URL"):
        monkeypatch.delenv(f"TRIO_NORMAN_{name}", raising=False)
        monkeypatch.delenv(f"PYTRIO_{name}", raising=False)
    monkeypatch.delenv("PYTRIO_ENV", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
