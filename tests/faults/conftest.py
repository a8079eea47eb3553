"""The fixture that every row of the fault matrix is tested with."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.rows import Row, open_row


@pytest.fixture
async def row(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> AsyncIterator[Row]:
    """One row: see `tests.faults.rows.Row`. ``@pytest.mark.emulator(url_lifetime=2)`` sets options of its emulator."""
    tree = tmp_path / "tree"
    marker = request.node.get_closest_marker("emulator")
    monkeypatch.setenv("HOME", str(tree / "home"))
    monkeypatch.setenv("TMPDIR", str(tree / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tree / "tmp"))

    def output() -> str:
        out, err = capfd.readouterr()
        print(out, end="")  # once more, for whoever reads the report of a failure
        print(err, end="", file=sys.stderr)
        return out + err

    async with open_row(tree, output, **(marker.kwargs if marker else {})) as opened:
        monkeypatch.chdir(tree / "work")
        yield opened
