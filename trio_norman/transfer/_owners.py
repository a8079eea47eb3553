"""Who is writing a partial file: is that process still alive?"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from .._sansio.journal import Owner

#: Nothing can be asked about a process on another machine, nor in another container: its partial is taken over after
#: this many quiet seconds.
FOREIGN_SILENCE = 900.0


def this_process() -> Owner:
    """Describe the calling process. Reads ``/proc``: call it in a worker thread."""
    return Owner(socket.gethostname(), _boot_id(), os.getpid(), _started(os.getpid()), _namespace())


def is_alive(owner: Owner, *, last_sign: float) -> bool:
    """Whether an owner may still be writing.

    Args:
        owner: As its journal tells.
        last_sign: When the journal was last written, in seconds since the epoch.
    """
    if owner.host != socket.gethostname() or owner.namespace not in (0, _namespace()):
        return time.time() - last_sign < FOREIGN_SILENCE
    if owner.boot != _boot_id():
        return False
    try:
        os.kill(owner.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and belongs to somebody else
    return _started(owner.process) == owner.started  # else the number was given to another process


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""  # no such thing here: partials then survive only by what was synced


def _namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0  # there are none here, or nobody can tell


def _started(process: int) -> int:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19])  # field 22, `starttime`, of proc(5), counted behind the command's name
    except (OSError, IndexError, ValueError):
        return 0
