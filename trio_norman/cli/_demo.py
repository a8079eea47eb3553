"""``demo``: everything at once, without an account: an emulator, its lists, and a parallel download."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..rest import Checkpoint, RestClient, ServiceClient, TrainingRun
from ..transfer import DownloadResult, Outcome
from ._batch import run_batch
from ._board import Board
from ._checkpoints import facts_of
from ._exits import Exit
from ._options import Count, Jobs, OutputFlags, Size
from ._output import is_terminal, say, write_out
from ._serve import silence_server
from ._sizes import shown_size
from ._views import shown

if TYPE_CHECKING:
    from ..emulator import Emulator

# A partial file belongs to a service, and a service is known by its address: the next demo must have the same one.
# Below the ports that systems hand out by themselves, so that it is free unless another demo runs.
PORT = 18473

_WIDE = 160  # columns, where there is no terminal


async def demo(
    *,
    to: Path = Path("demo-downloads"),
    runs: Count = 2,
    checkpoints: Count = 12,
    size: Size = 16 * 2**20,
    jobs: Jobs = 8,
    rate: Size | None = None,
    keep: bool = True,
    output: OutputFlags = OutputFlags(),
) -> int:
    """See it work: start an emulator, list its training runs, download all their checkpoints, verify every byte.

    It needs no account and no network. Press Ctrl-C at any time and run it again: it goes on where it was.

    Args:
        to: Directory for the files.
        runs: How many training runs there are.
        checkpoints: How many checkpoints each run has.
        size: Length of each archive.
        jobs: Archives that are worked on at the same time.
        rate: Bytes a second that the service gives each connection, to have time to look; unlimited otherwise.
        keep: Keep the files; --no-keep removes them in the end.
    """
    silence_server()
    results: list[DownloadResult] = []
    async with open_service(runs, checkpoints, size) as emulator:
        if rate is not None:
            emulator.inject(rate=rate)
        async with ServiceClient(emulator.api_key, emulator.base_url).create_rest_client() as rest:
            found = await list_everything(rest, output)
            return await download_everything(rest, found, to, jobs, output, results, keep=keep)


@asynccontextmanager
async def open_service(runs: int, checkpoints: int, size: int) -> AsyncIterator[Emulator]:
    """Serve the emulator, at the demo's own port if it is free."""
    from ..emulator import open_emulator  # belongs to an extra, and takes its time
