"""The sidecar of a partial: how it is claimed, taken over and let go of. Everything here blocks, in worker threads."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress

from .._sansio.heads import Version
from .._sansio.journal import LARGEST_JOURNAL, Header, Journal, Notes, decode, encode_header, encode_release
from .._sansio.ranges import ByteRange
from ..errors import DestinationBusyError
from ._folder import Folder, journal_name, part_name
from ._owners import is_alive

#: How a new sidecar is opened.
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
_CLAIMING = 5.0  # seconds that a claim may stand without its owner's name, which is written at once
_LET_GO = 0  # the time of a sidecar's last change by which its owner says that it let go


def open_part(folder: Folder, name: str) -> int:
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


def claim_sidecar(folder: Folder, name: str, header: Header, version: Version) -> tuple[int, Notes]:
    """Put our sidecar in its place; return its descriptor and what it says, taken over from the one that stood there.

    Ours is made under a name that only one can have at a time, and takes the place in one atomic step if nobody is
    there, or an owner who let go or died. It then says already what is held: whoever is killed here loses nothing. No
    lock of the operating system is used, since several network file systems only pretend to have them.
    """
    claim = claim_name(name)
    fd = _open_claim(folder, name, claim)
    try:
        try:
            write_lines(fd, encode_header(header))
            notes = _taken_over(folder, name, header, version, _read_free_journal(folder, name))
            write_lines(fd, notes.encoded())
            keep_synced(fd, notes)
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
    return fd, notes


def _taken_over(folder: Folder, name: str, header: Header, version: Version, journal: Journal | None) -> Notes:
    """Return what can be trusted of a partial whose journal was free; nothing if it is of something else."""
    if journal is None or journal.header.identity != header.identity:
        return Notes(version)
    status = folder.status(part_name(name))
    size = status.st_size if status is not None and _is_ours(status, links=1) else 0
    joined = version.joined(journal.version)
    held = journal.trusted(boot=header.owner.boot)
    is_whole = reaches(size, held) and (joined.size is None or size <= joined.size)
    if not is_whole or not joined.may_be_combined or journal.version.differs_from(version):
        return Notes(version)
    return Notes(joined, held, journal.synced)


def reaches(size: int, held: Sequence[ByteRange]) -> bool:
    """Whether a file of so many bytes can hold the spans."""
    return all(span.stop <= size for span in held)


def write_lines(fd: int, lines: bytes) -> None:
    """Add lines to a sidecar.

    Raises:
        OSError: If they do not fit on the disk.
    """
    if os.write(fd, lines) < len(lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a torn line ends the sidecar for whoever reads it


def keep_synced(fd: int, notes: Notes) -> None:
    """Bring a sidecar to the disk before it takes the place of one that speaks of synced bytes."""
    if notes.synced:
        os.fdatasync(fd)


def let_go(fd: int) -> None:
    """Say in a sidecar that its partial can be taken up by anybody."""
    with suppress(OSError):
        write_lines(fd, encode_release())
    with suppress(OSError):  # on a full disk nothing more can be written, and this can still be said
        os.utime(fd, ns=(_LET_GO, _LET_GO))


def claim_name(name: str) -> str:
    """Return where a sidecar is made before it gets its place; only one can have that name at a time."""
    return f"{journal_name(name)}.take"


def _open_claim(folder: Folder, name: str, claim: str) -> int:
    try:
        return folder.open_file(claim, NEW)
    except FileExistsError:
        status = folder.status(claim)
        if status is not None and _is_being_made(folder, claim, status):
            raise DestinationBusyError(name) from None
    folder.remove(claim)  # whoever made it was killed meanwhile, or has only planted it
    try:
        return folder.open_file(claim, NEW)
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
