"""A partial file and its sidecar, owned by exactly one download. Everything here blocks and runs in worker threads."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO, Self

import attrs

from .._sansio.heads import Version
from .._sansio.journal import (
    LARGEST_JOURNAL,
    Header,
    Journal,
    decode,
    encode_header,
    encode_release,
    encode_span,
    encode_version,
)
from .._sansio.ranges import ByteRange, merged
from .._wire._pump import Moved, Pump
from ..errors import ChecksumMismatchError, DestinationBusyError, NoSpaceError
from ._folder import Folder, journal_name, local_errors, part_name, passing_name
from ._owners import is_alive

_TAKEOVER_SECONDS = 60.0  # a takeover takes milliseconds; one that lasts longer has died
_MOST_BUFFERS = 512  # below the IOV_MAX of every system


@attrs.define(eq=False)
class Part:
    """The bytes of one file to be, under a hidden name: `held` were there when it was claimed, of `version`."""

    folder: Folder
    name: str
    version: Version
    held: list[ByteRange]
    _fd: int
    _journal_fd: int
    is_closed: bool = attrs.field(init=False, default=False)
    _written: list[ByteRange] = attrs.field(init=False, factory=list)  # since the last sync

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
            journal_fd, journal = _claim_journal(folder, name, Header(identity, folder.owner))
            try:
                fd = _open_part(folder, name)
            except BaseException:
                os.close(journal_fd)
                raise
            part = cls(folder, name, version, [], fd, journal_fd)
            try:
                part._adopt(journal, identity)
                part._check_room()
            except BaseException:
                part.release()
                raise
        return part

    def _adopt(self, journal: Journal | None, identity: str) -> None:
        size = os.fstat(self._fd).st_size
        if journal is not None and journal.header.identity == identity:
            joined = self.version.joined(journal.version)
            held = journal.trusted(boot=self.folder.owner.boot)
            is_whole = all(span.stop <= size for span in held) and (joined.size is None or size <= joined.size)
            if is_whole and joined.may_be_combined and not journal.version.differs_from(self.version):
                self.version, self.held = joined, held
        if not self.held:
            os.ftruncate(self._fd, 0)
        os.write(self._journal_fd, encode_version(self.version, self.held))
        self._written = list(self.held)

    def _check_room(self) -> None:
        if self.version.size is None:
            return
        needed = self.version.size - os.fstat(self._fd).st_blocks * 512
        if needed > self.folder.free_bytes():
            raise NoSpaceError(self.name, f"{needed} bytes more are needed, {self.folder.free_bytes()} are free")

    def note_version(self, version: Version, held: Sequence[ByteRange]) -> None:
        """Write down what is now known of the object; `held` is what the partial has of that version."""
        with local_errors(self.name):
            self.version = version
            os.write(self._journal_fd, encode_version(version, held))

    def start_anew(self, version: Version) -> None:
        """Forget every byte; nobody may be writing."""
        with local_errors(self.name):
            self.version, self._written = version, []
            os.write(self._journal_fd, encode_version(version))  # first: a span must never be noted that is cut off
            os.ftruncate(self._fd, 0)

    def write(self, offset: int, buffers: Sequence[bytes]) -> ByteRange:
        """Write buffers one behind the other and note them in the sidecar; return the span they fill."""
        with local_errors(self.name):
            end = write_all(self._fd, offset, buffers)
            span = ByteRange(offset, end)
            os.write(self._journal_fd, encode_span(span, synced=False))
        self._written.append(span)
        return span

    def take_from(self, pump: Pump, offset: int, at_most: int, *, seconds: float) -> Moved:
        """Let a pump write into the file, and note in the sidecar what it brought; see `Pump.move`."""
        with local_errors(self.name):
            moved = pump.move(self._fd, offset, at_most, seconds=seconds)
            if moved.count:
                span = ByteRange(offset, offset + moved.count)
                os.write(self._journal_fd, encode_span(span, synced=False))
                self._written.append(span)
        return moved

    def sync(self) -> None:
        """Bring everything written so far to the disk, then note that it is there."""
        with local_errors(self.name):
            written, self._written = merged(self._written), []
            os.fdatasync(self._fd)
            os.write(self._journal_fd, b"".join(encode_span(span, synced=True) for span in written))

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Read bytes at `offset` into `buffer`; return how many, fewer only at the end of the file."""
        with local_errors(self.name):
            return os.preadv(self._fd, [buffer], offset)

    def publish(self, *, size: int, overwrite: bool, durable: bool) -> None:
        """Give the file its final name; then nothing else of it is left.

        Raises:
            ChecksumMismatchError: If somebody changed or replaced the partial meanwhile.
            DestinationExistsError: If something got the final name meanwhile; the partial is kept.
        """
        with local_errors(self.name):
            if os.fstat(self._fd).st_size > size:
                os.ftruncate(self._fd, size)
            mine, named = os.fstat(self._fd), self.folder.status(part_name(self.name))
            if named is None or not os.path.samestat(mine, named) or named.st_size != size:
                found = "nothing" if named is None else str(named.st_size)
                raise ChecksumMismatchError(self.name, "somebody changed the partial file", "size", str(size), found)
            os.fchmod(self._fd, self.folder.file_mode)
            if durable:
                os.fsync(self._fd)
        self.folder.publish(part_name(self.name), self.name, overwrite=overwrite, durable=durable)
        self._close()
        with local_errors(self.name):
            self.folder.remove(journal_name(self.name))

    def release(self) -> None:
        """Let go: the partial can be taken up again by anybody. Nothing is removed that holds bytes."""
        with suppress(OSError):  # a full disk: then our process's end is what frees the partial
            os.write(self._journal_fd, encode_release())
        if os.fstat(self._fd).st_size == 0:
            self.discard()
        else:
            self._close()

    def discard(self) -> None:
        """Remove partial and sidecar: nothing of them can be trusted. What somebody else put there stays."""
        with local_errors(self.name):
            for fd, name in ((self._fd, part_name(self.name)), (self._journal_fd, journal_name(self.name))):
                mine, named = os.fstat(fd), self.folder.status(name)
                if named is not None and os.path.samestat(mine, named):
                    self.folder.remove(name)
        self._close()

    def open_reader(self) -> BinaryIO:
        """Return a file object over what is there; the caller closes it."""
        return open(os.dup(self._fd), "rb")

    def _close(self) -> None:
        self.is_closed = True
        os.close(self._fd)
        os.close(self._journal_fd)


def write_all(fd: int, offset: int, buffers: Sequence[bytes]) -> int:
    """Write buffers one behind the other at `offset`, however little the system takes at once; return the end."""
    if len(buffers) > _MOST_BUFFERS:
        buffers = [b"".join(buffers)]
    total = sum(map(len, buffers))
    written = os.pwritev(fd, buffers, offset)
    if written < total:  # a short write is legal: the rest goes on from there
        rest = memoryview(b"".join(buffers))
        while written < total:
            written += os.pwrite(fd, rest[written:], offset + written)
    return offset + total


def _open_part(folder: Folder, name: str) -> int:
    """Open the data file; one that is a link, has other names or belongs to somebody else is put aside, unread."""
    flags = os.O_RDWR | os.O_CREAT
    status = folder.status(part_name(name))
    if status is not None:
        is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
        if not is_plain:
            folder.remove(part_name(name))
            flags |= os.O_EXCL
    return folder.open_file(part_name(name), flags)


def _claim_journal(folder: Folder, name: str, header: Header) -> tuple[int, Journal | None]:
    """Put our sidecar in its place and return its descriptor, with the journal that stood there before.

    Ours is written aside and takes the place in one atomic step: as a name that nobody has yet, or by renaming over
    the sidecar of an owner who let go or died. No lock of the operating system is used, since several network file
    systems only pretend to have them.
    """
    mine = passing_name(name, "json")
    fd = folder.open_file(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    try:
        os.write(fd, encode_header(header))
        return fd, _take_place(folder, name, mine)
    except BaseException:
        os.close(fd)
        folder.remove(mine)
        raise


def _take_place(folder: Folder, name: str, mine: str) -> Journal | None:
    with suppress(FileExistsError):
        folder.rename_new(mine, journal_name(name))
        return None
    guard = f"{journal_name(name)}.take"
    status = folder.status(guard)
    if status is not None and time.time() - status.st_ctime > _TAKEOVER_SECONDS:
        folder.remove(guard)
    try:
        folder.link(journal_name(name), guard)  # one at a time; the sidecar itself stays in its place meanwhile
    except (FileExistsError, FileNotFoundError):
        raise DestinationBusyError(name) from None
    try:
        journal = _read_free_journal(folder, guard, name)
        folder.rename(mine, journal_name(name))
    finally:
        if folder.status(journal_name(name)) is None:  # without hard links it was moved, not linked: back with it
            folder.rename(guard, journal_name(name))
        folder.remove(guard)
    return journal


def _read_free_journal(folder: Folder, guard: str, name: str) -> Journal | None:
    fd = folder.open_file(guard, os.O_RDONLY)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        data = file.read(LARGEST_JOURNAL) if is_ours else b""
    journal = decode(data)
    is_free = journal is None or journal.is_released
    if not is_free and journal is not None and is_alive(journal.header.owner, last_sign=status.st_mtime):
        raise DestinationBusyError(name)
    return journal
