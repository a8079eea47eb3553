"""A partial file and its sidecar, owned by exactly one download. Everything here blocks and runs in worker threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import BinaryIO, Self

import attrs

from .._sansio.heads import Version
from .._sansio.journal import (
    Header,
    Notes,
    encode_header,
    is_overgrown,
    note_within,
)
from .._sansio.ranges import ByteRange
from .._wire._pump import Moved, Pump, persistently
from ..errors import ChecksumMismatchError, NoSpaceError, TrioNormanError
from ._folder import PRIVATE, Folder, journal_name, local_errors, part_name
from ._sidecar import NEW, claim_name, claim_sidecar, keep_synced, let_go, open_part, reaches, write_lines

_CHANGED = "somebody changed the partial file"
_MOST_BUFFERS = 512  # below the IOV_MAX of every system


@attrs.define(eq=False)
class Part:
    """The bytes of one file to be, under a hidden name: `held` were there when it was claimed.

    Several threads may write at once, each into a span of its own.
    """

    folder: Folder
    name: str
    _header: Header
    _notes: Notes
    _fd: int
    _journal_fd: int
    held: list[ByteRange] = attrs.field(init=False)
    is_closed: bool = attrs.field(init=False, default=False)
    _is_doubtful: bool = attrs.field(init=False, default=False)  # a sync has failed
    _reached: int = attrs.field(init=False, default=0)  # where the last byte of ours ends
    _compact: int = attrs.field(init=False, default=0)  # bytes of the sidecar when it was written anew
    _added: int = attrs.field(init=False, default=0)  # bytes of lines since then
    _noting: threading.Lock = attrs.field(init=False, factory=threading.Lock)  # held for the notes and the sidecar
    _began: float = attrs.field(init=False, factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self.held = list(self._notes.held)

    @property
    def version(self) -> Version:
        """What is known of the object whose bytes these are."""
        return self._notes.version

    @property
    def unsynced_bytes(self) -> int:
        """How many bytes a power cut may still take."""
        return self._notes.unsynced_bytes

    @classmethod
    def claim(cls, folder: Folder, name: str, identity: str, version: Version) -> Self:
        """Become the only writer of the partial of `name`, and take over what can be trusted of it.

        Args:
            folder: Where it lies.
            name: Final file name.
            identity: What the source is, without secrets.
            version: What is known of it beforehand.

        Raises:
            DestinationBusyError: If another download, here or elsewhere, writes it.
            NoSpaceError: If the missing bytes do not fit on the disk.
            LocalFileError: If the file system refuses.
        """
        with local_errors(name):
            header = Header(identity, folder.owner)
            journal_fd, notes = claim_sidecar(folder, name, header, version)
            try:
                fd = open_part(folder, name)
            except BaseException:
                let_go(journal_fd)
                os.close(journal_fd)
                raise
            part = cls(folder, name, header, notes, fd, journal_fd)
            try:
                part._begin(version)
                part._check_room()
            except BaseException:
                part.release()
                raise
        return part

    def _begin(self, version: Version) -> None:
        if not reaches(os.fstat(self._fd).st_size, self.held):  # somebody has cut it in this very moment
            self.held = []
            self._note(self._notes.begin_version(version))
        if not self.held:
            os.ftruncate(self._fd, 0)
        self._reached = max((span.stop for span in self.held), default=0)

    def _check_room(self) -> None:
        if self.version.size is None:
            return
        needed = self.version.size - os.fstat(self._fd).st_blocks * 512
        if needed > self.folder.free_bytes():
            raise NoSpaceError(self.name, f"{needed} bytes more are needed, {self.folder.free_bytes()} are free")

    def note_version(self, version: Version, held: Sequence[ByteRange]) -> None:
        """Write down what is now known of the object; `held` is what the partial has of that version."""
        with local_errors(self.name), self._noting:
            self._note(self._notes.begin_version(version, held))

    def start_anew(self, version: Version) -> None:
        """Forget every byte; nobody may be writing."""
        with local_errors(self.name), self._noting:
            self._reached = 0
            self._note(self._notes.begin_version(version))  # first: a span must never be noted that is cut off
            os.ftruncate(self._fd, 0)

    def write(self, offset: int, buffers: Sequence[bytes]) -> ByteRange:
        """Write buffers one behind the other and note them in the sidecar; return the span they fill."""
        with local_errors(self.name):
            self._check_length()
            span = ByteRange(offset, write_all(self._fd, offset, buffers))
            self._take_down(span)
        return span

    def take_from(self, pump: Pump, offset: int, at_most: int, *, seconds: float) -> Moved:
        """Let a pump write into the file, and note in the sidecar what it brings while it does; see `Pump.move`."""
        noted, noted_at = offset, time.monotonic()

        def note(count: int) -> None:
            nonlocal noted, noted_at
            now = time.monotonic()
            if now - noted_at >= note_within(now - self._began):
                self._take_down(ByteRange(noted, offset + count))
                noted, noted_at = offset + count, now

        with local_errors(self.name):
            reached = self._check_length()
            moved = pump.move(self._fd, offset, at_most, seconds=seconds, least=reached, tell=note)
            if offset + moved.count > noted:
                self._take_down(ByteRange(noted, offset + moved.count))
        return moved

    def _check_length(self) -> int:
        reached = self._reached  # first: another lane's thread may write on while we look
        found = os.fstat(self._fd).st_size
        if found < reached:
            raise ChecksumMismatchError(self.name, _CHANGED, "size", str(reached), str(found))
        return reached

    def _take_down(self, span: ByteRange) -> None:
        with self._noting:
            self._reached = max(self._reached, span.stop)
            self._note(self._notes.add(span))

    def sync(self, least: int = 1) -> None:
        """Bring everything written so far to the disk, then note that it is there. Others may write meanwhile.

        Nothing is done for less than `least` bytes: another lane was quicker.
        """
        with local_errors(self.name):
            with self._noting:
                if self._notes.unsynced_bytes < least:
                    return
                begun = self._notes.begin_sync()
            self._bring_to_disk(os.fdatasync)
            with self._noting:
                self._note(self._notes.end_sync(begun))

    def may_have_holes(self) -> bool:
        """Whether less is on disk than the size says: somebody has cut the file, or the file system compresses it."""
        with local_errors(self.name):
            status = os.fstat(self._fd)
        return status.st_blocks * 512 < status.st_size

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Read bytes at `offset` into `buffer`; return how many, fewer only at the end of the file."""
        with local_errors(self.name):
            return os.preadv(self._fd, [buffer], offset)

    def publish(self, *, size: int, overwrite: bool, durable: bool) -> None:
        """Give the file its final name; then nothing else of it is left.

        Raises:
            ChecksumMismatchError: If somebody changed or replaced the partial meanwhile.
            DestinationExistsError: If something got the final name meanwhile; the partial is kept.
            LocalFileError: If the file system refuses. If it fails when the file has its final name already, that
                stays, whole, and nothing is left of the partial: the next run proves the file.
        """
        with local_errors(self.name):
            if os.fstat(self._fd).st_size > size:
                os.ftruncate(self._fd, size)
            mine, named = os.fstat(self._fd), self.folder.status(part_name(self.name))
            if named is None or not os.path.samestat(mine, named) or named.st_size != size:
                found = "nothing" if named is None else str(named.st_size)
                raise ChecksumMismatchError(self.name, _CHANGED, "size", str(size), found)
            os.fchmod(self._fd, self.folder.mode_for(self.name, overwrite=overwrite))
            self._bring_to_disk(os.fsync if durable else flush)
        try:
            self.folder.publish(part_name(self.name), self.name, overwrite=overwrite, durable=durable)
        except TrioNormanError:
            with suppress(TrioNormanError, OSError):  # the first error counts
                self._end_unpublished()
            raise
        self._close()
        with local_errors(self.name):
            self.folder.remove(journal_name(self.name))

    def _end_unpublished(self) -> None:
        named = self.folder.status(self.name)
        if named is not None and os.path.samestat(named, os.fstat(self._fd)):
            self.discard()  # it was named, and only then something failed
        else:
            os.fchmod(self._fd, PRIVATE)  # it stays a partial

    def _bring_to_disk(self, sync: Callable[[int], None]) -> None:
        try:
            sync(self._fd)
        except OSError:
            # The system forgets what it could not write, and then says of the same bytes that all is well.
            self._is_doubtful = True
            raise

    def _note(self, lines: bytes) -> None:
        write_lines(self._journal_fd, lines)
        self._added += len(lines)
        if is_overgrown(self._added, self._compact):
            with suppress(OSError):  # the long one is as good; after as many more lines it is tried again
                self._added = 0
                self._write_anew()

    def _write_anew(self) -> None:
        """Put a sidecar that says the same in the fewest lines in the place of ours, in one atomic step."""
        at = journal_name(self.name)
        named = self.folder.status(at)
        if named is None or not os.path.samestat(named, os.fstat(self._journal_fd)):
            return  # somebody has taken us for dead: it is not ours any more
        fd = self.folder.open_file(claim_name(self.name), NEW)
        try:
            lines = encode_header(self._header) + self._notes.encoded()
            try:
                write_lines(fd, lines)
                keep_synced(fd, self._notes)
                self.folder.rename(claim_name(self.name), at)
            except BaseException:
                self.folder.remove(claim_name(self.name))
                raise
        except BaseException:
            os.close(fd)
            raise
        fd, self._journal_fd, self._compact = self._journal_fd, fd, len(lines)
        os.close(fd)

    def release(self) -> None:
        """Let go: the partial can be taken up again by anybody. Only what cannot be trusted is removed."""
        if self._is_doubtful or os.fstat(self._fd).st_size == 0:
            self.discard()  # while it is still ours: the next one's partial has the same name
        else:
            let_go(self._journal_fd)
            self._close()

    def discard(self) -> None:
        """Remove partial and sidecar: nothing of them can be trusted. What somebody else put there stays."""
        try:
            with local_errors(self.name):
                for fd, name in ((self._fd, part_name(self.name)), (self._journal_fd, journal_name(self.name))):
                    mine, named = os.fstat(fd), self.folder.status(name)
                    if named is not None and os.path.samestat(mine, named):
                        self.folder.remove(name)
        finally:
            self._close()

    def open_reader(self) -> BinaryIO:
        """Return a file object over what is there; the caller closes it."""
        return open(os.dup(self._fd), "rb")

    def _close(self) -> None:
        self.is_closed = True
        for fd in (self._fd, self._journal_fd):
            with suppress(OSError):  # what can be said of the bytes was said when they were synced
                os.close(fd)


def write_all(fd: int, offset: int, buffers: Sequence[bytes]) -> int:
    """Write buffers one behind the other at `offset`, however little the system takes at once; return the end."""
    if len(buffers) > _MOST_BUFFERS:
        buffers = [b"".join(buffers)]
    total = sum(map(len, buffers))
    written = persistently(os.pwritev, fd, buffers, offset)
    if written < total:  # a short write is legal: the rest goes on from there
        rest = memoryview(b"".join(buffers))
        while written < total:
            written += persistently(os.pwrite, fd, rest[written:], offset + written)
    return offset + total


def flush(fd: int) -> None:
    """Have a network file system say now whether it could write; others say nothing here, and keep no one waiting."""
    os.close(os.dup(fd))
