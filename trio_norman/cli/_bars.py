"""Progress bars on a terminal. They are drawn by a Trio task: nothing here starts a thread."""

from __future__ import annotations

import attrs
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from .._sansio.redaction import printable
from ._board import ActiveFile
from ._output import one_line
from ._progress import Display
from ._sizes import shown_rate, shown_seconds, shown_size

_MOST_BARS = 12
_NAME_WIDTH = 40  # characters


def _new_progress() -> Progress:
    # markup=False: a name may look like rich's markup, and whoever chose it may have meant it to
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=_NAME_WIDTH)),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}", markup=False, justify="right", table_column=Column(no_wrap=True)),
        console=Console(stderr=True, markup=False, highlight=False, emoji=False),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        expand=True,
    )


@attrs.define(eq=False)
class Bars(Display):
    """One bar for the whole batch and one for each file that is under way."""

    every: float = 0.2
    owns_screen: bool = True
    _progress: Progress = attrs.field(init=False, factory=_new_progress)
    _overall: TaskID = attrs.field(init=False, default=TaskID(0))
    _rows: dict[int, TaskID] = attrs.field(init=False, factory=dict)

    def start(self) -> None:
        """Begin to be seen."""
        self._overall = self._progress.add_task("all", total=None, figures="")
        self._progress.start()

    async def draw(self) -> None:
        """Bring the bars up to date and draw them."""
        board = self.board
        total, done = self._whole()
        self._progress.update(
            self._overall, description=self._headline(), total=total, completed=done, figures=self._figures()
        )
        shown = {id(file.source): file for file in board.active[:_MOST_BARS]}
        for key in self._rows.keys() - shown.keys():
            self._progress.remove_task(self._rows.pop(key))
        for key, file in shown.items():
            if key not in self._rows:
                name = printable(file.source.name, at_most=_NAME_WIDTH)
                self._rows[key] = self._progress.add_task(name, total=None, figures="")
            self._progress.update(
                self._rows[key], total=file.size_bytes, completed=file.done_bytes, figures=figures_of(file)
            )
        self._progress.refresh()

    def _whole(self) -> tuple[int | None, int]:
        board = self.board
        if board.total_bytes is not None:
            return board.total_bytes, board.done_bytes
        return board.total_items, board.items_done

    def _headline(self) -> str:
        board = self.board
        failed = f", {board.items_failed} failed" if board.items_failed else ""
        return f"{board.items_done}/{board.expected_items}{'' if board.is_listed else '+'} files{failed}"

    def _figures(self) -> str:
        left = self.board.seconds_left
        words = [shown_size(self.board.done_bytes), shown_rate(self.board.rate)]
        return "  ".join(words if left is None else [*words, f"{shown_seconds(left)} left"])

    def say(self, text: str) -> None:
        """Write one line above the bars."""
        self._progress.console.print(Text(one_line(text)), soft_wrap=True)

    def stop(self) -> None:
        """Take the bars off the screen and give the cursor back."""
        self._progress.stop()


def figures_of(file: ActiveFile) -> str:
    """Return what stands behind the bar of one file."""
    if file.is_waiting:
        return "trying again"
    if file.size_bytes is None:
        return shown_size(file.done_bytes)
    return f"{shown_size(file.done_bytes)} of {shown_size(file.size_bytes)}"
