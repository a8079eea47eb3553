from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.commandline import Shell
from trio_norman.emulator import open_emulator


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_emulator(runs=2, checkpoints=3, size_bytes=20_000) as emulator:
        yield Shell(tmp_path, emulator)
