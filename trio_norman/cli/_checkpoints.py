"""``checkpoints``: list, look at, sign, download, delete."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Mapping, Sequence

import attrs
import trio

from .._sansio.redaction import printable
from ..errors import ConfigurationError, NotFoundError
from ..rest import Checkpoint, RestClient
from ..transfer import DownloadResult
from ._batch import Report, lines_for, run_batch
from ._board import Board
from ._exits import Exit
from ._nouns import page_size, write_list, write_thing
from ._options import OUTPUT, DownloadFlags, OutputFlags, Positive
from ._output import is_terminal, say, write_out
from ._service_options import SERVICE, ServiceFlags
from ._sizes import shown_size
from ._views import Column

_CHECKPOINTS = (
    Column("CHECKPOINT", lambda checkpoint: checkpoint.checkpoint_id, 12),
    Column("TYPE", lambda checkpoint: checkpoint.checkpoint_type, 8),
    Column("SIZE", lambda checkpoint: shown_size(checkpoint.size_bytes), 10, is_right=True),
    Column("TIME", lambda checkpoint: checkpoint.time, 20),
    Column("PATH", lambda checkpoint: checkpoint.path),
)


async def list_checkpoints(
    run: str | None = None,
    /,
    *,
    limit: Positive | None = None,
    service: ServiceFlags = SERVICE,
    output: OutputFlags = OUTPUT,
) -> int:
    """List the checkpoints of one training run, or of the whole account, over all pages.

    Args:
        run: Id of the training run; without it, those of all runs are listed.
        limit: Stop after so many.
    """
    async with service.open() as rest:
        found: AsyncIterable[Checkpoint]
        found = rest.iter_user_checkpoints(page_size(limit)) if run is None else rest.iter_checkpoints(run)
        await write_list(found, _CHECKPOINTS, limit=limit, as_json=output.json)
    return Exit.OK


async def checkpoint_info(path: str, /, *, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT) -> int:
    """Show base model and LoRA settings of a checkpoint.

    Args:
        path: The checkpoint's path, as the list shows it.
    """
    async with service.open() as rest:
        found = await rest.get_checkpoint_info(path)
    await write_thing(found.to_dict(), as_json=output.json)
    return Exit.OK


async def checkpoint_url(
    run: str, checkpoint: str, /, *, service: ServiceFlags = SERVICE, output: OutputFlags = OUTPUT
) -> int:
    """Print a signed URL of a checkpoint's archive. Whoever has it can download the archive until it expires.

    Args:
        run: Id of the training run.
        checkpoint: Id of the checkpoint.
    """
    async with service.open() as rest:
        archive = await rest.get_checkpoint_archive_url(run, checkpoint)
    if output.json:
        await write_thing({**archive.to_dict(), "url": archive.url.reveal()}, as_json=True)
    else:
        await write_out(archive.url.reveal() + "\n")
    return Exit.OK


async def delete_checkpoint(
    run: str,
    checkpoint: str,
    /,
    *,
    yes: bool = False,
    service: ServiceFlags = SERVICE,
    output: OutputFlags = OUTPUT,
) -> int:
    """Delete a checkpoint for good. It asks first, on a terminal; elsewhere --yes is needed.

    Args:
        run: Id of the training run.
        checkpoint: Id of the checkpoint.
        yes: Do not ask.
    """
    if not yes and not await _is_confirmed(checkpoint):
        say("nothing was deleted")
        return Exit.OTHER
    async with service.open() as rest:
        await rest.delete_checkpoint(run, checkpoint)
    if output.json:
        await write_thing({"deleted": checkpoint, "training_run_id": run}, as_json=True)
    elif not output.quiet:
        say(f"deleted {checkpoint}")
    return Exit.OK


async def _is_confirmed(checkpoint: str) -> bool:
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise ConfigurationError("deleting needs a confirmation", "there is no terminal to ask on: give --yes")
    say(f"delete checkpoint {checkpoint} for good? Type yes:")
    answer = await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 100, abandon_on_cancel=True)
    return answer.strip().lower() == b"yes"


async def download_checkpoints(
    *runs: str,
    checkpoint: Sequence[str] = (),
    all_: bool = False,
    flags: DownloadFlags,
    service: ServiceFlags = SERVICE,
    output: OutputFlags = OUTPUT,
) -> int:
    """Download the archives of checkpoints, in parallel, resumable and verified.

    Files that are complete and verified are skipped, partial files are gone on with: run the same line again. Stdout
    has a line for each archive as it is done; with --json each line is one JSON object.

    Args:
        runs: Ids of training runs: all their checkpoints.
        checkpoint: Only this checkpoint, by its id; may be repeated. Without runs, it is looked for in all of them.
        all_: The checkpoints of all runs.
    """
    if bool(runs) + all_ > 1 or not (runs or all_ or checkpoint):
        raise ConfigurationError("which checkpoints?", "name training runs, or give --all, or --checkpoint ID")
    board = Board()
    async with service.open() as rest:
        chosen = Choice(rest, board, tuple(dict.fromkeys(runs)), tuple(dict.fromkeys(checkpoint)))

        async def report_missing(report: Report) -> None:
            for name in chosen.missing:
                report.add_failure(f"{printable(name)}: there is nothing of that id", Exit.NOT_FOUND)

        return await run_batch(
            lambda note: rest.download_checkpoints(
                chosen.checkpoints(), flags.to, flags.jobs, on_event=note, **flags.options
            ),
            board,
            lines_for(output, facts_of),
            quiet=output.quiet,
            also=report_missing,
        )


def facts_of(result: DownloadResult) -> Mapping[str, object]:
    """Return what identifies a result's checkpoint."""
    item: Checkpoint = result.item
    return {"checkpoint_id": item.checkpoint_id, "training_run_id": item.training_run_id}


@attrs.define(eq=False)
class Choice:
    """The checkpoints that were asked for: of some runs or of all, and of these perhaps only some."""

    rest: RestClient
    board: Board
    runs: Sequence[str]
    wanted: Collection[str]  # ids of checkpoints; empty for all of them
    _found: set[str] = attrs.field(init=False, factory=set)
    _lost_runs: list[str] = attrs.field(init=False, factory=list)

    async def checkpoints(self) -> AsyncGenerator[Checkpoint, None]:
        """Yield them, as fast as they are taken."""
        if not self.runs:
            async for checkpoint in self.rest.iter_user_checkpoints():
                if self._is_wanted(checkpoint):
                    self.board.expect(checkpoint.size_bytes)
                    yield checkpoint
                if self.wanted and len(self._found) == len(self.wanted):
                    break
        for run in self.runs:
            listed = [checkpoint for checkpoint in await self._of_run(run) if self._is_wanted(checkpoint)]
            for checkpoint in listed:
                self.board.expect(checkpoint.size_bytes)
            self.board.is_listed = run == self.runs[-1]
            for checkpoint in listed:
                yield checkpoint
        self.board.is_listed = True

    def _is_wanted(self, checkpoint: Checkpoint) -> bool:
        if self.wanted and checkpoint.checkpoint_id not in self.wanted:
            return False
        if self.wanted:
            self._found.add(checkpoint.checkpoint_id)
        return True

    async def _of_run(self, run: str) -> Sequence[Checkpoint]:
        try:
            return (await self.rest.list_checkpoints(run)).checkpoints
        except NotFoundError:  # one run that is gone does not spoil the others
            self._lost_runs.append(run)
            return ()

    @property
    def missing(self) -> Sequence[str]:
        """The runs and checkpoints that were asked for and are not there."""
        lost = [each for each in self.wanted if each not in self._found]
        return [*(f"run {each}" for each in self._lost_runs), *(f"checkpoint {each}" for each in lost)]
