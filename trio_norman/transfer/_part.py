"""A partial file and its sidecar, owned by exactly one download. Everything here blocks and runs in worker threads."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import BinaryIO, Self

import attrs

from .._sansio.heads import Version
from .._sansio.journal import (
    LARGEST_JOURNAL,
    Header,
    Journal,
    Notes,
    decode,
    encode_header,
    encode_release,
    note_within,
)
from .._sansio.ranges import ByteRange
from .._wire._pump import Moved, Pump, persistently
from ..errors import ChecksumMismatchError, DestinationBusyError, NoSpaceError, TrioNormanError
from ._folder import PRIVATE, Folder, journal_name, local_errors, part_name
from ._owners import is_alive

_CLAIMING = 5.0  # seconds that a claim may stand without its owner's name, which is written at once
_CHANGED = "somebody changed the partial file"
_LET_GO = 0  # the time of a sidecar's last change by which its owner says that it let go
_MOST_BUFFERS = 512  # below the IOV_MAX of every system


@attrs.define(eq=False)
class Part:
    """The bytes of one file to be, under a hidden name: `held` were there when it was claimed.

    Several threads may write at once, each into a span of its own.
    """

    folder: Folder
    name: str
    _notes: Notes
    _fd: int
    _journal_fd: int
    held: list[ByteRange] = attrs.field(init=False)
    is_closed: bool = attrs.field(init=False, default=False)
    _is_doubtful: bool = attrs.field(init=False, default=False)  # a sync has failed
    _reached: int = attrs.field(init=False, default=0)  # where the last byte of ours ends
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
            journal_fd, journal = _claim_journal(folder, name, Header(identity, folder.owner))
            try:
                fd = _open_part(folder, name)
            except BaseException:
                os.close(journal_fd)
                raise
            part = cls(folder, name, Notes(version), fd, journal_fd)
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
                self._notes = Notes(joined, held, journal.synced)
                self.held = list(self._notes.held)
        if not self.held:
            os.ftruncate(self._fd, 0)
        self._note(self._notes.encoded())
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
            self._check_length()
            moved = pump.move(self._fd, offset, at_most, seconds=seconds, tell=note)
            if offset + moved.count > noted:
                self._take_down(ByteRange(noted, offset + moved.count))
        return moved

    def _check_length(self) -> None:
        reached = self._reached  # first: another lane's thread may write on while we look
        found = os.fstat(self._fd).st_size
        if found < reached:
            raise ChecksumMismatchError(self.name, _CHANGED, "size", str(reached), str(found))

    def _take_down(self, span: ByteRange) -> None:
        with self._noting:
            self._reached = max(self._reached, span.stop)
            self._note(self._notes.add(span))

    def sync(self) -> None:
        """Bring everything written so far to the disk, then note that it is there. Others may write meanwhile."""
        with local_errors(self.name):
            with self._noting:
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
            os.fchmod(self._fd, PRIVATE)  # it stays a partial
            raise
        self._close()
        with local_errors(self.name):
            self.folder.remove(journal_name(self.name))

    def _bring_to_disk(self, sync: Callable[[int], None]) -> None:
        try:
            sync(self._fd)
        except OSError:
            # The system forgets what it could not write, and then says of the same bytes that all is well.
            self._is_doubtful = True
            raise

    def _note(self, lines: bytes) -> None:
        if os.write(self._journal_fd, lines) < len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a torn line ends the sidecar for whoever reads it

    def release(self) -> None:
        """Let go: the partial can be taken up again by anybody. Only what cannot be trusted is removed."""
        with suppress(OSError):
            self._note(encode_release())
        with suppress(OSError):  # on a full disk nothing more can be written, and this can still be said
            os.utime(self._journal_fd, ns=(_LET_GO, _LET_GO))
        if self._is_doubtful or os.fstat(self._fd).st_size == 0:
            self.discard()
        else:
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


def _open_part(folder: Folder, name: str) -> int:
    """Open the data file; one that is a link, has other names or belongs to somebody else is put aside, unread."""
    flags = os.O_RDWR | os.O_CREAT
    status = folder.status(part_name(name))
    if status is not None and not _is_ours(status, links=1):
        folder.remove(part_name(name))
        flags |= os.O_EXCL
    fd = folder.open_file(part_name(name), flags)
    if not _is_ours(os.fstat(fd), links=1):  # put there in this very moment
        os.close(fd)
        raise DestinationBusyError(name)
    return fd


def _is_ours(status: os.stat_result, *, links: int | None = None) -> bool:
    """Whether somebody like us has made this file, rather than planted another one under its name."""
    is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return is_own and links in (None, status.st_nlink)


def _claim_journal(folder: Folder, name: str, header: Header) -> tuple[int, Journal | None]:
    """Put our sidecar in its place and return its descriptor, with the journal that stood there before.

    Ours is made under a name that only one can have at a time, and takes the place in one atomic step if nobody is
    there, or an owner who let go or died. No lock of the operating system is used, since several network file systems
    only pretend to have them.
    """
    claim = f"{journal_name(name)}.take"
    fd = _open_claim(folder, name, claim)
    try:
        try:
            os.write(fd, encode_header(header))
            journal = _read_free_journal(folder, name)
        except BaseException:
            folder.remove(claim)
            raise
        with suppress(FileNotFoundError):  # taken for a dead one's, and removed
            folder.rename(claim, journal_name(name))
        placed = folder.status(journal_name(name))
        if placed is None or not os.path.samestat(placed, os.fstat(fd)):
            raise DestinationBusyError(name)
    except BaseException:
        os.close(fd)
        raise
    return fd, journal


def _open_claim(folder: Folder, name: str, claim: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    try:
        return folder.open_file(claim, flags)
    except FileExistsError:
        status = folder.status(claim)
        if status is not None and _is_being_made(folder, claim, status):
            raise DestinationBusyError(name) from None
    folder.remove(claim)  # whoever made it was killed meanwhile, or has only planted it
    try:
        return folder.open_file(claim, flags)
    except FileExistsError:
        raise DestinationBusyError(name) from None


def _is_being_made(folder: Folder, claim: str, status: os.stat_result) -> bool:
    journal = _read_journal(folder, claim, status)
    if journal is None:
        return _is_ours(status) and time.time() - status.st_mtime < _CLAIMING
    return is_alive(journal.header.owner, last_sign=status.st_mtime)


def _read_free_journal(folder: Folder, name: str) -> Journal | None:
    status = folder.status(journal_name(name))
    if status is None:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a directory stands where the partial's sidecar belongs")
    journal = _read_journal(folder, journal_name(name), status)
    is_free = journal is None or journal.is_released or status.st_mtime_ns == _LET_GO
    if not is_free and journal is not None and is_alive(journal.header.owner, last_sign=status.st_mtime):
        raise DestinationBusyError(name)
    return journal


def _read_journal(folder: Folder, at: str, status: os.stat_result) -> Journal | None:
    if not _is_ours(status):
        return None  # planted, a link perhaps: it is replaced, never followed
    try:
        with open(folder.open_file(at, os.O_RDONLY), "rb") as file:
            return decode(file.read(LARGEST_JOURNAL))
    except FileNotFoundError:
        return None  # its owner is done
