"""Digests of files, in worker threads: of a file that is growing, beside its transfer, or of one that is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import attrs
import trio

from .._sansio.digests import LENGTHS, Hasher, new_hasher
from .._sansio.ranges import Ledger
from ..errors import ChecksumMismatchError, DestinationExistsError
from ._folder import Folder, local_errors
from ._part import Part

_BUFFER = 2**20  # bytes that are read at once
_STEP = 8 * 2**20  # bytes that one visit to a worker thread hashes: a cancelled task waits for no more


@attrs.define(eq=False)
class Digester:
    """Follows the growing prefix of a partial file with digests, reading what was written from the page cache."""

    part: Part
    ledger: Ledger
    limiter: trio.CapacityLimiter
    _hashers: dict[str, Hasher] = attrs.field(init=False, factory=dict)
    _position: int = attrs.field(init=False, default=0)
    _is_waiting: bool = attrs.field(init=False, default=False)
    _news: trio.lowlevel.ParkingLot = attrs.field(init=False, factory=trio.lowlevel.ParkingLot)

    def forget(self) -> None:
        """Drop what was hashed: the file is about to be emptied. Wait for `begin`."""
        self._hashers, self._position, self._is_waiting = {}, 0, True

    def begin(self, ledger: Ledger, algorithms: Iterable[str]) -> None:
        """Start (again) at the first byte of what `ledger` tells about, with these digests."""
        self.ledger = ledger
        self._hashers = {name: new_hasher(name) for name in algorithms}
        self._position, self._is_waiting = 0, False
        self.wake()

    def wake(self) -> None:
        """Tell that bytes were written."""
        self._news.unpark_all()

    async def follow(self) -> None:
        """Hash until every byte of the object is on disk and in the digests."""
        while self._is_waiting or not (self.ledger.is_complete and self._position == self.ledger.size):
            ready = self.ledger.frontier - self._position
            if self._is_waiting:
                await self._news.park()
            elif self._hashers and (ready >= _BUFFER or (ready > 0 and self.ledger.is_complete)):
                await self._step(min(ready, _STEP))
            elif not self._hashers and self.ledger.is_complete:
                return
            else:
                await self._news.park()

    async def _step(self, count: int) -> None:
        hashers, start = self._hashers, self._position
        try:
            await trio.to_thread.run_sync(_hash_span, self.part, hashers, start, count, limiter=self.limiter)
        except ChecksumMismatchError:
            if hashers is self._hashers:
                raise
        if hashers is self._hashers:  # else the file was emptied meanwhile
            self._position = start + count

    async def digests(self, algorithms: Iterable[str]) -> dict[str, str]:
        """Return the digests of the complete file; those that were not followed are computed now.

        Raises:
            ChecksumMismatchError: If bytes are not on disk any more that were read there before.
        """
        followed = {name: hasher.hexdigest() for name, hasher in self._hashers.items()}
        may_have_holes: bool = await trio.to_thread.run_sync(self.part.may_have_holes, limiter=self.limiter)
        if followed and may_have_holes:
            await self._compare(followed)
        return followed | await self._read_again(name for name in algorithms if name not in followed)

    async def _compare(self, followed: Mapping[str, str]) -> None:
        for algorithm, digest in (await self._read_again(followed)).items():
            if digest != followed[algorithm]:
                why = "somebody changed the partial file"
                raise ChecksumMismatchError(self.part.name, why, algorithm, followed[algorithm], digest)

    async def _read_again(self, algorithms: Iterable[str]) -> dict[str, str]:
        hashers = {name: new_hasher(name) for name in algorithms}
        size = self.ledger.size or 0
        for start in range(0, size if hashers else 0, _STEP):
            count = min(_STEP, size - start)
            await trio.to_thread.run_sync(_hash_span, self.part, hashers, start, count, limiter=self.limiter)
        return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def _hash_span(part: Part, hashers: Mapping[str, Hasher], start: int, count: int) -> None:
    buffer = memoryview(bytearray(min(count, _BUFFER)))
    end = start + count
    while start < end:
        piece = buffer[: part.read_into(buffer[: end - start], start)]
        if not piece:
            raise ChecksumMismatchError(part.name, "somebody changed the partial file", "size", str(end), str(start))
        for hasher in hashers.values():
            hasher.update(piece)
        start += len(piece)


async def digest_file(
    folder: Folder, name: str, algorithms: Iterable[str], limiter: trio.CapacityLimiter
) -> dict[str, str]:
    """Return digests of a file under its final name. Cancellation: noticed every 8 MiB."""
    hashers = {algorithm: new_hasher(algorithm) for algorithm in algorithms}

    def begin() -> int | None:  # a small file is read in this one call
        with local_errors(name):
            fd = folder.open_file(name, os.O_RDONLY)
        is_over = True
        try:
            is_over = not _hash_next(name, fd, hashers)
        finally:
            if is_over:
                os.close(fd)
        return None if is_over else fd

    fd = await trio.to_thread.run_sync(begin, limiter=limiter)
    if fd is not None:
        try:
            while await trio.to_thread.run_sync(_hash_next, name, fd, hashers, limiter=limiter):
                pass
        finally:
            os.close(fd)
    return {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}


def _hash_next(name: str, fd: int, hashers: Mapping[str, Hasher]) -> bool:
    with local_errors(name):
        for _ in range(_STEP // _BUFFER):
            piece = os.read(fd, _BUFFER)
            if not piece:
                return False
            for hasher in hashers.values():
                hasher.update(piece)
    return True


def digests_of(body: bytes, algorithms: Iterable[str]) -> dict[str, str]:
    """Return digests of bytes in memory."""
    hashers = {algorithm: new_hasher(algorithm) for algorithm in algorithms}
    for hasher in hashers.values():
        hasher.update(body)
    return {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}


def wanted_algorithms(announced: Mapping[str, str], *, verify: bool) -> list[str]:
    """Return what is to be computed: all that was announced, and a SHA-256 if files are to be verified."""
    wanted = set(announced) | ({"sha256"} if verify else set())
    return [name for name in LENGTHS if name in wanted]


def checked(name: str, announced: Mapping[str, str], computed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the algorithms that prove the file, strongest first.

    Raises:
        ChecksumMismatchError: If an announced digest differs from the computed one.
    """
    for algorithm, digest in announced.items():
        if computed[algorithm] != digest:
            raise ChecksumMismatchError(name, "", algorithm, digest, computed[algorithm])
    return tuple(algorithm for algorithm in LENGTHS if algorithm in announced)


def same_or_refused(name: str, twin: Mapping[str, str], computed: Mapping[str, str]) -> None:
    """Refuse to touch a file with digests `twin` if what came is another one.

    Raises:
        DestinationExistsError: If it is.
    """
    if any(computed[algorithm] != digest for algorithm, digest in twin.items()):
        raise DestinationExistsError(name, "its content is another one")
