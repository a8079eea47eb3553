"""What README.md shows of the last results: where they were measured, and each case's table and picture."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ._machine import in_words
from ._report import Report


def last_results(directory: Path, cases: Sequence[str]) -> list[Mapping[str, Any]]:
    """Read what was written down of these cases; those that were never run are left out."""
    files = [directory / f"{case}.json" for case in cases]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def block(documents: Sequence[Mapping[str, Any]], pictures: Path | None = None) -> str:
    """Return the Markdown.

    Args:
        documents: Results, at least one.
        pictures: Directory with a picture for each case, if they are to be shown; paths are written as seen from the
            directory in which this runs.
    """
    newest = max(documents, key=lambda each: str(each["machine"]["when"]))
    parts = [in_words(newest["machine"]), *(_shown(each, pictures) for each in documents)]
    if any(each["is_quick"] for each in documents):
        parts.insert(1, "**These are results of `--quick`: they say nothing.**")
    return "\n\n".join(parts)


def _shown(document: Mapping[str, Any], pictures: Path | None) -> str:
    report = Report.read(document)
    if pictures is None:
        return report.markdown(level=3)
    return report.markdown(level=3, picture=Path(os.path.relpath(pictures / f"{report.case}.svg")).as_posix())
