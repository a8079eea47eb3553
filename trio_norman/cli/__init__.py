"""The command line ``trio-norman``."""

from __future__ import annotations

import sys

from ._leaving import leave_when_interrupted

_EXTRAS = ("cyclopts", "rich", "starlette", "hypercorn")


def main() -> None:
    """Run the command line with the arguments of this process, and exit with its exit code."""
    leave_when_interrupted()
    try:
        from ._main import run  # cyclopts belongs to an extra: without it there is at least this function
    except ModuleNotFoundError as error:
        missing(error)
        sys.exit(1)
    sys.exit(run(sys.argv[1:]))


def missing(error: ModuleNotFoundError) -> None:
    """Say on stderr what to install for a package that is not there.

    Raises:
        ModuleNotFoundError: `error` itself, if the package belongs to none of our extras.
    """
    if (error.name or "").partition(".")[0] not in _EXTRAS:
        raise error
    sys.stderr.write(f"error: {error.name} is not installed: pip install 'trio-norman[cli,emulator]'\n")
