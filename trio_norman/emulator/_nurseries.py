"""What a block that owns a nursery owes its caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


@contextmanager
def lone_error_unwrapped() -> Iterator[None]:
    """Hand the caller its own error back, not a group that holds it; take off one layer, no more."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = [error for error in group.exceptions if not isinstance(error, trio.Cancelled)]
        if len(errors) != 1:
            raise
        context = errors[0].__context__
        try:
            raise errors[0]
        finally:
            errors[0].__context__ = context  # `raise` has just pointed it at the group
