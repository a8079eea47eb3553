"""Environments of Python that are thrown away, for programs of others that are run as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: What pip says when the index cannot be reached; every other failure of pip is a failure of the test.
_UNREACHABLE = (
    "connection broken by",
    "Could not fetch URL",
    "ConnectionError",
    "ProxyError",
    "Network is unreachable",
)
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
# Most of what is installed is never imported: to compile it takes longer than all the rest.
_INSTALL = ("install", "--quiet", "--retries", "1", "--no-compile")


def new_environment(folder: Path) -> Path:
    """Make an empty environment, and return its Python. Blocks."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def install(python: Path | str, *arguments: str) -> None:
    """Have pip install packages for a Python; the test is skipped if the index cannot be reached. Blocks."""
    command = [*_PIP, "--python", str(python), *_INSTALL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in _UNREACHABLE):
        pytest.skip(f"PyPI is not reachable: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
