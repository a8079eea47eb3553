"""An nginx for tests that a real server judges better than our own emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from benchmarks import _server


@attrs.frozen
class Nginx:
    """A running nginx: its URL, the directory that it serves, and what it was asked."""

    url: str
    root: Path
    log: Path

    def answers(self) -> Sequence[tuple[str, int, int]]:
        """Return target, status and number of body bytes of each answer, in order of their ends."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(fields[6], int(fields[8]), int(fields[9])) for fields in lines]


@contextmanager
def open_nginx(home: Path, *directives: str) -> Iterator[Nginx]:
    """Serve ``home / "root"`` for as long as the block lasts.

    Where it is not installed the test is skipped, but on a machine that checks changes (``CI`` is set) it fails.

    Args:
        home: A directory to make, for nginx's own files as well.
        *directives: Of its server block.
    """
    if not _server.is_present() and "CI" not in os.environ:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    root, log = home / "root", home / "access.log"
    root.mkdir(parents=True)
    with _server.serving(root, home, further=[f"access_log {log};", "open_file_cache off;", *directives]) as url:
        yield Nginx(url, root, log)
