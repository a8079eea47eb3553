"""How much a packed body unpacks to: counted, and never kept. Nobody asks for packed ones, and some are bombs."""

from __future__ import annotations

import zlib
from typing import Any

import attrs

from ..errors import LimitExceededError, ProtocolError

#: Of a body that is packed unasked so much is looked at, in bytes. An object of unknown size that comes to
#: `MOST_UNPACKED` in it has shrunk to a 256th: no format that is worth its bytes does.
LOOKED_AT = 64 * 1024
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


def encoding_unasked(
    url: str, gauge: Gauge | None = None, *, method: str = "GET"
) -> ProtocolError | LimitExceededError:
    """Return the error that a body is which came encoded although identity was asked for.

    Args:
        url: Where it came from.
        gauge: What was counted of it; a bomb is not asked for once more.
        method: The request's verb.
    """
    if gauge is not None and gauge.is_beyond:
        return LimitExceededError(
            method, url, "the unpacked body (encoded although identity was asked for)", gauge.most
        )
    return ProtocolError(method, url, "the body is encoded although identity was asked for")
