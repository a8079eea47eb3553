"""Rows and fields for people: what the service says is escaped, and no markup engine ever sees it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from .._sansio.redaction import printable
from ..transfer import DownloadResult, Outcome
from ._exits import advice_for, exit_of
from ._output import json_text
from ._sizes import shown_size

_OUTCOMES = {Outcome.OK: "ok", Outcome.SKIPPED: "skipped", Outcome.FAILED: "failed"}


@attrs.frozen
class Column:
    """One column of a list: rows are written as they come, so its width is chosen beforehand."""

    title: str
    of: Callable[[Any], object]
    width: int = 0
    is_right: bool = False


def heading(columns: Sequence[Column]) -> str:
    """Return the first line of a list."""
    return _joined(columns, [column.title for column in columns])


def row(columns: Sequence[Column], item: Any) -> str:
    """Return the line of one item."""
    return _joined(columns, [shown(column.of(item)) for column in columns])


def _joined(columns: Sequence[Column], cells: Sequence[str]) -> str:
    padded = [_padded(cell, column) for cell, column in zip(cells, columns, strict=True)]
    return "  ".join(padded).rstrip() + "\n"


def _padded(cell: str, column: Column) -> str:
    fill = " " * max(0, column.width - cells_of(cell))
    return fill + cell if column.is_right else cell + fill


def cells_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shown(value: object) -> str:
    """Return one value for reading, as one line."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}Z"
        case dict() | list() | tuple():
            return json_text(value)
        case _:
            return printable(str(value))


def fields(facts: Mapping[str, object]) -> str:
    """Return one thing as lines of name and value."""
    width = max((cells_of(printable(name)) for name in facts), default=0)
    column = Column("", str, width)
    return "".join(f"{_padded(printable(name), column)}  {shown(value)}\n" for name, value in facts.items())


def result_line(result: DownloadResult) -> str:
    """Return one file's fate as a line: outcome, size, SHA-256 (or another digest), name."""
    size = shown_size(result.size_bytes)
    digest = result.sha256 or next((f"{name}:{value}" for name, value in sorted(result.digests.items())), "-")
    return f"{_OUTCOMES[result.outcome]:7}  {size:>10}  {digest}  {printable(result.source.name, at_most=300)}\n"


def result_json(result: DownloadResult, facts: Mapping[str, object]) -> str:
    """Return one file's fate as a line of JSON; `facts` come first."""
    error = result.error
    return (
        json_text(
            {
                **facts,
                "name": result.source.name,
                "path": str(result.path) if result.outcome is not Outcome.FAILED else None,
                "outcome": result.outcome.value,
                "size_bytes": result.size_bytes,
                "received_bytes": result.received_bytes,
                "resumed_bytes": result.resumed_bytes,
                "attempts": result.attempts,
                "seconds": round(result.seconds, 6),
                "sha256": result.sha256,
                "digests": dict(result.digests),
                "verified_by": list(result.verified_by),
                "error": None
                if error is None
                else {
                    "kind": type(error).__name__,
                    "message": str(error),
                    "retryable": error.retryable,
                    "exit_code": int(exit_of(error)),
                },
            }
        )
        + "\n"
    )


def failure_line(name: str, error: BaseException) -> str:
    """Return what went wrong with one item and what helps: its name comes first, unless the error starts with it."""
    text, shown_name, advice = str(error), printable(name), advice_for(error)
    named = text if text.startswith(shown_name) else f"{shown_name}: {text}"
    return f"{named}: {advice}" if advice else named
