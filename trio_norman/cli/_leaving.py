"""Ending the process at once: while there is nothing to cancel yet, and when cancelling takes somebody too long.

Imported before anything else, so that Ctrl-C is listened to from the first moment on: nothing here may take time.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_SHOW_CURSOR = b"\x1b[?25h\n"


def leave_when_interrupted() -> None:
    """Let Ctrl-C end the process with exit code 130, quietly, until somebody else listens to it.

    Python's own way is an exception wherever it happens to be, and there is much to import. A Ctrl-C that is ignored,
    or that a program around us has taken for itself, stays as it is.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave_at_once)


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """End the process, as a handler of signals: what waits, and what runs in threads, is not waited for."""
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR)  # progress bars hide it
    os._exit(128 + number)
