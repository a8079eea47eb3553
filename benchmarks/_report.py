"""What a case found: a table for people, the figures for programs, and whether its goals were reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs


@attrs.frozen
class Goal:
    """Something that has to hold, with the figures that say whether it does."""

    text: str
    is_met: bool

    def __str__(self) -> str:
        return f"{'reached' if self.is_met else 'MISSED'}: {self.text}"


@attrs.frozen
class Report:
    """The answer of one case.

    Args:
        case: Its name.
        question: What it measured, in a sentence.
        headings: Of the table's columns.
        lines: The table, cell by cell.
        figures: The same and more, for JSON.
        goals: What had to be reached.
        notes: What the reader must know: absent peers, failed runs.
    """

    case: str
    question: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    figures: Any
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the report as Markdown."""
        parts = [f"## {self.case}", self.question, table(self.headings, self.lines)]
        remarks = [*map(str, self.goals), *self.notes]
        if remarks:
            parts.append("\n".join(f"- {remark}" for remark in remarks))
        return "\n\n".join(parts)


def table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up; the first is text, the others are figures.

    Raises:
        ValueError: If a line has another number of cells than there are headings.
    """
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (headings, *lines)]
    if any(len(row) != len(headings) for row in rows):
        raise ValueError("every line needs one cell for each heading")
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(headings))]
    rules = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    shown = [
        [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (shown[0], rules, *shown[1:]))


def ratio(figure: float, of: float | None) -> str:
    """Return how many times `of` a figure is; a dash if there is nothing to compare with."""
    return f"{figure / of:.2f}" if of else "–"  # noqa: RUF001 (a dash for nothing)
