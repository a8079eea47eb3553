"""The progress of a batch on stderr: bars on a terminal, a line every few seconds otherwise, nothing if not wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from ._board import Board
from ._output import is_terminal, say

_LINE_EVERY = 3.0  # seconds


@attrs.define(eq=False)
class Display:
    """Shows a board; this one shows nothing, and lines that must be seen go to stderr."""

    board: Board
    every: float = 60.0  # seconds between two drawings
    owns_screen: bool = False  # whether lines for the terminal must go through `say`

    def start(self) -> None:
        """Begin to be seen."""

    async def draw(self) -> None:
        """Show the board as it is now."""

    def say(self, text: str) -> None:
        """Write one line to stderr, above what is drawn."""
        say(text)

    def stop(self) -> None:
        """Leave the screen in order."""


@attrs.define(eq=False)
class Lines(Display):
    """A line of figures every few seconds, for logs."""

    every: float = _LINE_EVERY

    async def draw(self) -> None:
        """Write the line, in a worker thread: whoever reads it may be slow."""
        await trio.to_thread.run_sync(self.say, self.board.line(), abandon_on_cancel=True)


def choose_display(board: Board, *, quiet: bool) -> Display:
    """Choose by what stderr is."""
    if quiet:
        return Display(board)
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
        from ._bars import Bars  # rich costs a quarter of the start-up time

        return Bars(board)
    return Lines(board)


@asynccontextmanager
async def open_display(board: Board, *, quiet: bool) -> AsyncIterator[Display]:
    """Show a board for as long as the block lasts; a task of this block's draws it."""
    display = choose_display(board, quiet=quiet)
    with lone_error_unwrapped():
        async with trio.open_nursery() as nursery:
            display.start()
            try:
                nursery.start_soon(_tick, display)
                yield display
                nursery.cancel_scope.cancel(reason="the batch is done")
            finally:
                display.stop()


async def _tick(display: Display) -> None:
    while True:
        display.board.tick(trio.current_time())
        await trio.sleep(display.every)
        await display.draw()
