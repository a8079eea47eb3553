"""How much a packed body unpacks to: counted, and never kept. Nobody asks for packed ones, and some are bombs."""

from __future__ import annotations

import zlib
from typing import Any

import attrs

from ..errors import LimitExceededError, ProtocolError

#: Of an object that comes packed unasked so much is looked at, in bytes.
LOOKED_AT = 64 * 1024
#: What these may unpack to: whatever has shrunk to less than a 256th is taken for a bomb.
MOST_UNPACKED = 16 * 2**20
_STEP = 64 * 1024  # bytes that are held at a time
_GZIP_OR_ZLIB = 47  # whichever the header says


def _new_unpacker() -> Any:
    return zlib.decompressobj(_GZIP_OR_ZLIB)


@attrs.define
class Gauge:
    """Counts what a packed body unpacks to, until that is more than `most` bytes; what is not packed counts nothing."""

    most: int
    _unpacker: Any = attrs.field(init=False, factory=_new_unpacker)
    _count: int = attrs.field(init=False, default=0)

    @property
    def is_beyond(self) -> bool:
        """Whether it is more."""
        return self._count > self.most

    def feed(self, packed: bytes) -> None:
        """Take in the next bytes of the body."""
        try:
            for start in range(0, len(packed), _STEP):
                self._take(packed[start : start + _STEP])
        except zlib.error:
            return  # what was counted before the damage counts

    def _take(self, packed: bytes) -> None:
        while not (self.is_beyond or self._unpacker.eof):
            piece = self._unpacker.decompress(packed, _STEP)
            self._count += len(piece)
            packed = self._unpacker.unconsumed_tail
            if not packed and len(piece) < _STEP:
                return


def new_gauge(size: int | None) -> Gauge:
    """Return what judges the first `LOOKED_AT` bytes of an object's body; `size` is the object's, if it is known."""
    return Gauge(MOST_UNPACKED if size is None else min(size, MOST_UNPACKED))


def encoding_unasked(url: str, gauge: Gauge, *, method: str = "GET") -> ProtocolError | LimitExceededError:
    """Return the error that a body is which came encoded although identity was asked for.

    Args:
        url: Where it came from.
        gauge: What was counted of it; a bomb is not asked for once more.
        method: The request's verb.
    """
    if gauge.is_beyond:
        return LimitExceededError(
            method, url, "the unpacked body (encoded although identity was asked for)", gauge.most
        )
    return ProtocolError(method, url, "the body is encoded although identity was asked for")
