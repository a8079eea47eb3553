"""``demo``: everything at once, without an account: an emulator, its lists, and a parallel download."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import trio
from cyclopts import Parameter

from ..rest import Checkpoint, RestClient, ServiceClient
from ..transfer import DownloadResult, Outcome
from ._batch import lines_for, run_batch
from ._board import Board
from ._checkpoints import facts_of
from ._demo_endpoints import show_endpoints
from ._demo_norman import NormanShow
from ._options import OUTPUT, Count, Jobs, OutputFlags, Port, Size
from ._output import is_terminal, say, write_out
from ._serve import silence_server
from ._sizes import shown_size
from ._views import shown

if TYPE_CHECKING:
    from ..emulator import Emulator

# A partial file belongs to a service, and a service is known by its address: the next demo must have the same one.
# It lies below the ports that systems hand out by themselves, so that it is free unless another demo runs.
PORT = 18473

_WIDE = 160  # columns, where there is no terminal
_SHORT = 16  # digits of a digest, where there is little room


async def demo(
    *,
    to: Path = Path("demo-downloads"),
    runs: Count = 2,
    checkpoints: Count = 12,
    size: Size = 16 * 2**20,
    jobs: Jobs = 8,
    rate: Size | None = None,
    port: Port = PORT,
    keep: Annotated[bool, Parameter(negative="--no-keep")] = True,
    output: OutputFlags = OUTPUT,
) -> int:
    """See it work: start an emulator, list training runs, download and verify all checkpoints, ask inference endpoints.

    Then sign up at the emulated Norman service, upload a model, run it and save what it answers.

    It needs no account and no network. Press Ctrl-C at any time and run it again: it goes on where it was.

    Args:
        to: Directory for the files.
        runs: How many training runs there are.
        checkpoints: How many checkpoints each run has.
        size: Length of each archive.
        jobs: Archives that are worked on at the same time.
        rate: Bytes a second that each connection gets, so that there is time to look; by default as many as possible.
        port: Port of the emulator. Partial files belong to it: with another one they are begun anew.
        keep: Keep the files; --no-keep removes them in the end.
    """
    silence_server()
    async with open_service(runs, checkpoints, size, port) as emulator:
        if rate is not None:
            emulator.inject(rate=rate)
        async with ServiceClient(emulator.api_key, emulator.base_url).create_rest_client() as rest:
            show = Show(rest, output, to)
            await show.list_pages()
            code = await show.download(jobs)
        await show.write_table()
        norman = NormanShow(emulator, output, to / "norman")
        await norman.run()
        if show.results:
            code = await show_endpoints(emulator, show.write) or code
    if not keep:
        await trio.to_thread.run_sync(norman.remove_files)
        await trio.to_thread.run_sync(show.remove_files)
    return code


@asynccontextmanager
async def open_service(runs: int, checkpoints: int, size: int, wanted_port: int) -> AsyncIterator[Emulator]:
    """Serve the emulator, at the wanted port if that is free, otherwise at any."""
    from ..emulator import open_emulator  # belongs to an extra, and takes its time

    async with AsyncExitStack() as stack:
        for port in (wanted_port, 0):
            # Ids and contents follow from the seed: archives of another size get other names, and do not clash.
            opening = open_emulator(runs=runs, checkpoints=checkpoints, size_bytes=size, seed=size, port=port)
            try:
                emulator = await stack.enter_async_context(opening)
            except OSError:
                if port == 0:
                    raise
                say(f"port {port} is taken: partial files of an earlier demo are not gone on with")
            else:
                yield emulator
                return


@attrs.define(eq=False)
class Show:
    """The steps of the demo and what they found."""

    rest: RestClient
    output: OutputFlags
    to: Path
    found: list[Checkpoint] = attrs.field(init=False, factory=list)
    results: list[DownloadResult] = attrs.field(init=False, factory=list)
    seconds: float = attrs.field(init=False, default=0.0)

    async def list_pages(self) -> None:
        """List the training runs one page after the other, a run a page, and each run's checkpoints."""
        offset, has_more = 0, True
        while has_more:
            page = await self.rest.list_training_runs(limit=1, offset=offset)
            for run in page.training_runs:
                listed = (await self.rest.list_checkpoints(run.training_run_id)).checkpoints
                self.found += listed
                await self.write(
                    f"page {offset + 1}: training run {shown(run.training_run_id)}, {shown(run.base_model)},"
                    f" LoRA rank {shown(run.lora_rank)}, {len(listed)} checkpoints\n"
                )
            offset, has_more = offset + 1, bool(page.has_more)

    async def download(self, jobs: int) -> int:
        """Download everything that was listed, and return the exit code."""
        board = Board(len(self.found), sum(each.size_bytes or 0 for each in self.found), is_listed=True)
        json_line = lines_for(self.output, facts_of)

        def line(result: DownloadResult) -> str:
            self.results.append(result)
            return json_line(result) if self.output.json else ""

        began = trio.current_time()
        try:
            return await run_batch(
                lambda note: self.rest.download_checkpoints(self.found, self.to, jobs, on_event=note),
                board,
                line,
                quiet=self.output.quiet,
                is_summed_up=self.output.json,
            )
        finally:
            self.seconds = trio.current_time() - began

    async def write_table(self) -> None:
        """Write what came of each archive, and the totals."""
        if not self.results:
            await self.write("there was nothing to download\n")
            return
        width = None if is_terminal(sys.stdout) else _WIDE
        await self.write(table_of(self.results, width=width) + totals_of(self.results, self.seconds))

    def remove_files(self) -> None:
        """Remove the downloaded files, and their directory if nothing else is in it. Blocks."""
        for result in self.results:
            if result.outcome is not Outcome.FAILED:
                result.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.to.rmdir()

    async def write(self, text: str) -> None:
        """Write text for people: not beside JSON, and not if it is to be quiet."""
        if not (self.output.json or self.output.quiet):
            await write_out(text)


def table_of(results: Sequence[DownloadResult], *, width: int | None) -> str:
    """Return the results as a table, `width` columns wide, or as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    table = Table("name", "size", "seconds", "MB/s", "sha256", "how")
    for column in table.columns[1:4]:
        column.justify = "right"
    for column in table.columns:
        column.no_wrap = True
    for result in sorted(results, key=lambda result: result.source.name):
        table.add_row(*(Text(cell) for cell in cells_of(result, wide=console.width >= _WIDE)))
    console.print(table)
    written = console.file
    assert isinstance(written, io.StringIO)  # noqa: S101 (given above)
    return written.getvalue()


def cells_of(result: DownloadResult, *, wide: bool) -> Sequence[str]:
    """Return a result's row of the table."""
    rate = f"{result.received_bytes / result.seconds / 1e6:.1f}" if result.seconds and result.received_bytes else "-"
    digest = result.sha256 or "-"
    return (
        shown(result.source.name),
        shown_size(result.size_bytes),
        f"{result.seconds:.2f}",
        rate,
        digest if wide or len(digest) <= _SHORT else f"{digest[:_SHORT]}…",
        how(result),
    )


def how(result: DownloadResult) -> str:
    """Return in a few words how a file came to be there."""
    if result.outcome is Outcome.FAILED:
        return "failed"
    proof = "verified" if result.verified_by else "unverified"
    if result.outcome is Outcome.SKIPPED:
        return f"was there, {proof}"
    return f"resumed at {shown_size(result.resumed_bytes)}, {proof}" if result.resumed_bytes else proof


def totals_of(results: Sequence[DownloadResult], seconds: float) -> str:
    """Return the totals as one line."""
    here = [result for result in results if result.outcome is not Outcome.FAILED]
    proven = sum(bool(result.verified_by) for result in here)
    received = sum(result.received_bytes for result in results)
    rate = received / seconds / 1e6 if seconds > 0 else 0.0
    return (
        f"{len(here)} of {len(results)} archives, {shown_size(sum(each.size_bytes or 0 for each in here))},"
        f" {proven} of them verified by an announced digest; {shown_size(received)} received in {seconds:.1f} s:"
        f" {rate:.1f} MB/s\n"
    )
