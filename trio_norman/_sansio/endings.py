"""What it means that a body has ended by itself: the object ends there, or only the answer does."""

from __future__ import annotations

from enum import Enum

import attrs

from ..errors import ChecksumMismatchError, InterruptedTransferError, TrioNormanError, UnprovenError
from .heads import Body, Version, size_contradiction


class End(Enum):
    """What was at its end."""

    OBJECT = "object"  # nothing of it lies beyond
    SPAN = "span"  # of what a 206 brings; where the object ends it does not tell


@attrs.frozen
class Ended:
    """How a body ended: at the offset `at` of the object, a `body` that answered a request for one span or for all.

    `shows_it`: the framing tells a whole body from one that was cut.
    """

    body: Body
    at: int
    is_piece: bool
    shows_it: bool

    @property
    def length(self) -> int:
        """How many bytes it brought."""
        return self.at - self.body.start


def read_end(name: str, url: str, ended: Ended, known: Version) -> End | TrioNormanError:
    """Decide what ended with a body, or return the error that such an end is.

    Args:
        name: Of the file; for errors.
        url: Where the body came from, without its query; for errors.
        ended: The body, and how it ended.
        known: What was announced of the object, and what answers have said of it.
    """
    if ended.body.stop is not None and ended.at < ended.body.stop:
        return InterruptedTransferError("GET", url)
    if ended.is_piece:
        return End.SPAN
    if ended.shows_it or ended.at == known.size:
        return End.OBJECT
    if known.size is not None:
        return InterruptedTransferError("GET", url)
    if known.digests:
        return End.OBJECT  # they show whether it is
    return UnprovenError(name, "the server told no length and just closed the connection")


def wrong_size(name: str, known: Version, size: int, *, goes_on: bool) -> ChecksumMismatchError | None:
    """Return the error if what came is not as long as the object is known to be; None if it is.

    Args:
        name: Of the file.
        known: What was announced of the object, and what answers have said of it.
        size: How many bytes are here.
        goes_on: The body went on when all bytes were here. Then only a digest can prove that these are the object.
    """
    if goes_on and known.size == size and not known.digests:
        return ChecksumMismatchError(name, "the body goes on after them", "size", str(size), f"{size + 1} or more")
    return size_contradiction(name, known.size, size)
