"""Nurseries that an object owns for its user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio


@contextmanager
def lone_error_unwrapped(foremost: Callable[[list[BaseException]], BaseException] | None = None) -> Iterator[None]:
    """Take off the one exception group that a nursery of ours has put around an error.

    A group that holds a single error besides `trio.Cancelled` becomes that error. Of several, `foremost` picks the one
    to raise; without it the group stays.
    """
    picked: BaseException
    try:
        yield
        return
    except BaseExceptionGroup as group:
        _, rest = group.split(trio.Cancelled)
        real = [] if rest is None else list(rest.exceptions)
        if not real or (len(real) > 1 and foremost is None):
            raise
        picked = real[0] if foremost is None or len(real) == 1 else foremost(real)
        before = picked.__context__
        try:
            raise picked
        finally:
            picked.__context__ = before  # else the group would stay in sight as what the error came from
            del picked, real
