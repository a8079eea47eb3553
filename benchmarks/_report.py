"""What a case found: a table for people, the figures for programs, and whether its goals were reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from ._measuring import Spread


@attrs.frozen
class Goal:
    """Something that has to hold, with the figures that say whether it does."""

    text: str
    is_met: bool

    def __str__(self) -> str:
        return f"{'reached' if self.is_met else 'MISSED'}: {self.text}"


@attrs.frozen
class Panel:
    """One picture of bars: what they measure, and a spread for each label."""

    title: str
    bars: Mapping[str, Spread]


@attrs.frozen
class Report:
    """The answer of one case.

    Args:
        case: Its name.
        question: What it measured, in a sentence.
        headings: Of the table's columns; none if it only has parts.
        lines: The table, cell by cell.
        figures: The same and more, for JSON.
        goals: What had to be reached.
        notes: What the reader must know: absent peers, failed runs.
        panels: The pictures.
        parts: Reports on parts of the question.
    """

    case: str
    question: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    figures: Any
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    parts: Sequence[Report] = ()

    @classmethod
    def of_parts(cls, case: str, question: str, parts: Sequence[Report]) -> Self:
        """Join the answers to the parts of a question."""
        return cls(case, question, (), (), None, parts=parts)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Make a report from what `document` returned.

        Raises:
            KeyError: If it is something else.
        """
        return cls(
            document["case"],
            document["question"],
            document["headings"],
            document["lines"],
            document["figures"],
            [Goal(each["text"], is_met=each["is_met"]) for each in document["goals"]],
            document["notes"],
            [
                Panel(each["title"], {label: Spread(**spread) for label, spread in each["bars"].items()})
                for each in document["panels"]
            ],
            [Report.read(part) for part in document["parts"]],
        )

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return attrs.asdict(self)

    def markdown(self, *, level: int = 2, picture: str = "") -> str:
        """Return the report as Markdown.

        Args:
            level: Of its heading.
            picture: Where its picture lies, if it is to be shown.
        """
        parts = [f"{'#' * level} {self.case}", self.question]
        parts += [f"![{self.case}]({picture})"] if picture else []
        parts += [table(self.headings, self.lines)] if self.headings else []
        remarks = [*map(str, self.goals), *self.notes]
        if remarks:
            parts.append("\n".join(f"- {remark}" for remark in remarks))
        return "\n\n".join([*parts, *(part.markdown(level=level + 1) for part in self.parts)])


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
