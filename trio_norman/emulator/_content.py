"""Content out of nothing: any number of bytes from a seed, with random access and without a disk."""

from __future__ import annotations

import bisect
import hashlib
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

import attrs

PAGE = 4096  # bytes; every aligned page of a content carries a stamp of its own
BLOCK = 1 << 20  # bytes that are taken from the pool at one place
READ_BLOCK = 1 << 18  # bytes that are handed to the network at once

_POOL_SIZE = 4 << 20
_ODD = 0x9E3779B97F4A7C15  # odd, so that page numbers map one to one onto 64-bit stamps
_MASK = (1 << 64) - 1


Block: TypeAlias = bytes | bytearray  # a fresh bytearray spares one copy of everything that is served


class Content(Protocol):
    """Bytes that can be read at any offset, as often as wanted, always the same."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, offset: int, length: int) -> Block:
        """Give the `length` bytes from `offset` on; fewer where the content ends before."""
        ...


def blocks_of(content: Content, start: int, stop: int, *, at_most: int = READ_BLOCK) -> Iterator[Block]:
    """Read the half-open span from `start` to `stop` in blocks of `at_most` bytes."""
    while start < stop:
        block = content.read(start, min(at_most, stop - start))
        if not block:
            return
        yield block
        start += len(block)


@lru_cache(maxsize=1)
def random_pool(seed: int) -> bytes:
    """Make the random bytes that all contents of one emulator share; the next one with this seed gets the same."""
    return hashlib.shake_128(b"emulator content %d" % seed).digest(_POOL_SIZE)


@attrs.frozen(eq=False)
class SyntheticContent:
    """Incompressible bytes in which no aligned 4 KiB page occurs twice.

    A block of the shared pool is copied from a place that depends on the block's number, then each page gets a stamp
    of 8 bytes that depends on the page's number. So a shifted or repeated block shows by its bytes alone, and making
    a block costs little more than copying it.
    """

    pool: bytes = attrs.field(repr=False)
    name: str
    size: int
    _key: int = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        digest = hashlib.blake2b(self.name.encode(), digest_size=8).digest()
        object.__setattr__(self, "_key", int.from_bytes(digest, "little"))

    def read(self, offset: int, length: int) -> Block:
        """Give the `length` bytes from `offset` on; fewer where the content ends before."""
        stop = min(offset + length, self.size)
        if offset >= stop:
            return b""
        pieces = []
        while offset < stop:
            block_end = min(stop, (offset // BLOCK + 1) * BLOCK)
            pieces.append(self._read_inside_block(offset, block_end))
            offset = block_end
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_inside_block(self, start: int, stop: int) -> Block:
        block = start // BLOCK
        first_page, end_page = start // PAGE, -(-stop // PAGE)
        place = hashlib.blake2b(struct.pack("<QQ", self._key, block), digest_size=8).digest()
        origin = int.from_bytes(place, "little") % (len(self.pool) - BLOCK)
        origin += first_page * PAGE - block * BLOCK
        data = bytearray(memoryview(self.pool)[origin : origin + (end_page - first_page) * PAGE])
        numbers = [(page * _ODD + self._key) & _MASK for page in range(first_page, end_page)]
        stamps = struct.pack(f"<{len(numbers)}Q", *numbers)
        for byte in range(8):
            data[byte::PAGE] = stamps[byte::8]
        del data[stop - first_page * PAGE :]
        del data[: start - first_page * PAGE]  # a bytearray forgets its first bytes without moving the others
        return data


@attrs.frozen(eq=False)
class BytesContent:
    """A content that is held in memory."""

    held: bytes = attrs.field(repr=False)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.held)

    def read(self, offset: int, length: int) -> Block:
        """Give the `length` bytes from `offset` on; fewer where the content ends before."""
        return self.held[offset : offset + length]


@attrs.frozen(eq=False)
class JoinedContent:
    """Several contents, one after the other."""

    parts: Sequence[Content]
    _starts: list[int] = attrs.field(init=False, repr=False)
    size: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        starts, end = [], 0
        for part in self.parts:
            starts.append(end)
            end += part.size
        object.__setattr__(self, "_starts", starts)
        object.__setattr__(self, "size", end)

    def read(self, offset: int, length: int) -> Block:
        """Give the `length` bytes from `offset` on; fewer where the content ends before."""
        stop = min(offset + length, self.size)
        pieces = []
        index = bisect.bisect_right(self._starts, offset) - 1
        while offset < stop:
            part, start = self.parts[index], self._starts[index]
            piece = part.read(offset - start, min(stop, start + part.size) - offset)
            pieces.append(piece)
            offset += len(piece)
            index += 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@attrs.frozen(eq=False)
class DamagedContent:
    """A content with one byte inverted, or with nothing but zeros from some offset on."""

    whole: Content
    inverted_at: int | None = None
    zero_from: int | None = None

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.whole.size

    def read(self, offset: int, length: int) -> Block:
        """Give the `length` bytes from `offset` on; fewer where the content ends before."""
        block = self.whole.read(offset, length)
        if self.inverted_at is not None and offset <= self.inverted_at < offset + len(block):
            at = self.inverted_at - offset
            block = block[:at] + bytes([block[at] ^ 0xFF]) + block[at + 1 :]
        if self.zero_from is not None and self.zero_from < offset + len(block):
            kept = max(0, self.zero_from - offset)
            block = block[:kept] + bytes(len(block) - kept)
        return block
