"""Bodies that were pushed, fetched or computed: in memory while small, in a temporary file when not."""

from __future__ import annotations

import os
import tempfile
from typing import BinaryIO

import attrs
import xxhash

from .._content import Block

_IN_MEMORY = 8 << 20  # bytes; a longer body goes to a temporary file without a name


@attrs.define(eq=False)
class StoredBody:
    """Bytes that are appended once and read at any offset; a `Content`. Reading and appending may touch the disk."""

    size: int = 0
    _held: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _file: BinaryIO | None = attrs.field(default=None, init=False, repr=False)
    _digest: xxhash.xxh3_64 = attrs.field(factory=xxhash.xxh3_64, init=False, repr=False)

    @property
    def is_on_disk(self) -> bool:
        """Whether the bytes are in a file, so that touching them belongs into a worker thread."""
        return self._file is not None

    @property
    def checksum(self) -> str:
        """XXH3 of 64 bits with seed 0, big-endian, as 16 hexadecimal digits."""
        return str(self._digest.hexdigest())

    def append(self, block: bytes) -> None:
        """Add bytes at the end."""
        self._digest.update(block)
        self.size += len(block)
        if self._file is None and self.size > _IN_MEMORY:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (it lives as long as the body)
            self._write(self._held)
            self._held = bytearray()
        if self._file is None:
            self._held += block
        else:
            self._write(block)

    def read(self, offset: int, length: int) -> Block:
        """Give the `length` bytes from `offset` on; fewer where the body ends before."""
        if self._file is None:
            return bytes(memoryview(self._held)[offset : offset + length])
        return os.pread(self._file.fileno(), length, offset)

    def read_all(self) -> bytes:
        """Give all bytes."""
        return bytes(self.read(0, self.size))

    def close(self) -> None:
        """Let go of the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def _write(self, block: bytes | bytearray) -> None:
        rest = memoryview(block)
        while rest and self._file is not None:
            rest = rest[self._file.write(rest) :]


@attrs.define(eq=False)
class Bodies:
    """The bodies of assets, inputs and outputs, by the identifier of their entity."""

    _held: dict[str, StoredBody] = attrs.field(factory=dict, init=False)
    _made: set[StoredBody] = attrs.field(factory=set, init=False)

    def new(self) -> StoredBody:
        """Make an empty body, which is closed with the others."""
        body = StoredBody()
        self._made.add(body)
        return body

    def of(self, entity_id: str) -> StoredBody | None:
        """Give an entity's body, if it has come."""
        return self._held.get(entity_id)

    def keep(self, entity_id: str, body: StoredBody) -> None:
        """Put a whole body in its entity's place."""
        self.discard(self._held.get(entity_id))
        self._held[entity_id] = body

    def keep_bytes(self, entity_id: str, data: bytes) -> None:
        """The same for bytes."""
        body = self.new()
        body.append(data)
        self.keep(entity_id, body)

    def discard(self, body: StoredBody | None) -> None:
        """Let go of a body that nobody will read."""
        if body is not None:
            body.close()
            self._made.discard(body)

    def close(self) -> None:
        """Let go of all files."""
        for body in self._made:
            body.close()
