"""A batch of downloads on the command line: shown while it runs, reported item by item, summed up at the end."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from ..transfer import DownloadResult, Downloads, Outcome
from ..transfer._model import OnEvent
from ._board import Board
from ._exits import Exit, exit_of, exit_of_items
from ._options import OutputFlags
from ._output import Write, is_terminal, open_output
from ._progress import Display, open_display
from ._views import failure_line, result_json, result_line

OpenBatch = Callable[[OnEvent], AbstractAsyncContextManager[Downloads]]
Facts = Callable[[DownloadResult], Mapping[str, object]]
Line = Callable[[DownloadResult], str]


def lines_for(output: OutputFlags, facts: Facts) -> Line:
    """Return what makes a result's line on stdout; `facts` are told first where that line is JSON."""
    if output.json:
        return lambda result: result_json(result, facts(result))
    if output.quiet:
        return lambda result: ""
    return lambda result: "" if result.outcome is Outcome.FAILED else result_line(result)


@attrs.define(eq=False)
class Report:
    """What is told of each item, and what the exit code will be."""

    line: Line
    display: Display
    write: Write
    succeeded: int = 0
    failures: set[Exit] = attrs.field(factory=set)

    async def add(self, result: DownloadResult) -> None:
        """Tell what became of one item: failures on stderr, and everything on stdout."""
        if result.error is not None:
            self.add_failure(failure_line(result.source.name, result.error), exit_of(result.error))
        else:
            self.succeeded += 1
        line = self.line(result)
        if line:
            await self._write(line)

    def add_failure(self, text: str, code: Exit) -> None:
        """Tell that something was not brought home."""
        self.failures.add(code)
        self.display.say(f"error: {text}")

    async def _write(self, line: str) -> None:
        if self.display.owns_screen and is_terminal(sys.stdout):  # else it would land in the middle of the bars
            self.display.say(line.rstrip("\n"))
        else:
            await self.write(line)


async def run_batch(
    open_batch: OpenBatch,
    board: Board,
    line: Line,
    *,
    quiet: bool,
    is_summed_up: bool = True,
    also: Callable[[Report], Awaitable[None]] | None = None,
) -> Exit:
    """Run a batch to its end and return the exit code that it deserves.

    Args:
        open_batch: Opens it, given where its events go.
        board: Takes the events; whoever lists the items tells it what to expect.
        line: Makes the line of an item on stdout, empty for none.
        quiet: Show no progress and no summary.
        is_summed_up: Whether there is a summary otherwise.
        also: Called when all items are done, for failures that belong to none of them.
    """
    began = trio.current_time()
    async with open_display(board, quiet=quiet) as display, open_output() as write:
        report = Report(line, display, write)
        async with open_batch(board.note) as results:
            async for result in results:
                await report.add(result)
        if also is not None:
            await also(report)
        if is_summed_up and not quiet:
            display.say(board.summary(trio.current_time() - began))
    return exit_of_items(report.succeeded, report.failures)
