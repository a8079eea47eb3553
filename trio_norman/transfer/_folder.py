"""The destination directory: every file operation of the engine, relative to one open directory.

Everything here blocks and runs in worker threads.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import attrs

from .._sansio.journal import Owner
from .._sansio.names import partial_stem
from ..errors import (
    DestinationExistsError,
    LocalFileError,
    NoSpaceError,
    TrioNormanError,
)
from ._owners import this_process

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_NO_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
PRIVATE = 0o600


def local_error(name: str, error: OSError) -> TrioNormanError:
    """Return what a refusal of the file system means for the file `name`."""
    if error.errno in _NO_SPACE:
        return NoSpaceError(name, error.strerror or "")
    return LocalFileError(name, error.strerror or type(error).__name__)


@contextmanager
def local_errors(name: str) -> Iterator[None]:
    """Turn an `OSError` inside the block into one of our errors about the file `name`."""
    try:
        yield
    except OSError as error:
        raise local_error(name, error) from error


@attrs.frozen
class Sight:
    """What stands under a name: nothing (`kind` None), a regular ``file``, a ``link``, or something ``other``."""

    kind: str | None
    size: int = 0
    has_partial: bool = False

    @property
    def is_file(self) -> bool:
        """Whether a regular file has the name."""
        return self.kind == "file"


@attrs.frozen(eq=False)
class Folder:
    """A destination, held open by its descriptor `fd`: renaming or replacing the path meanwhile changes nothing."""

    path: Path
    fd: int
    file_mode: int
    owner: Owner

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a directory, made if need be.

        Raises:
            LocalFileError: If it cannot be made, opened or written to.
        """
        with local_errors(str(path)):
            path.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if not os.access(path, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, "the directory cannot be written to")
                return cls(path, fd, 0o666 & ~_umask(), this_process())
            except BaseException:
                os.close(fd)
                raise

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self.fd)

    def look_all(self, names: Sequence[str]) -> list[Sight]:
        """See what stands under several names, in one visit."""
        return [self.look(name) for name in names]

    def look(self, name: str) -> Sight:
        """See what stands under a final name, and whether a partial is beside it. Follows no link."""
        with local_errors(name):
            status = self.status(name)
            partial = self.status(part_name(name)) is not None or self.status(journal_name(name)) is not None
        if status is None:
            return Sight(None, has_partial=partial)
        kinds = {stat.S_IFREG: "file", stat.S_IFLNK: "link"}
        return Sight(kinds.get(stat.S_IFMT(status.st_mode), "other"), status.st_size, partial)

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of a name itself, None if there is nothing."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open_file(self, name: str, flags: int) -> int:
        """Open a name without following a link; new files are private to the user."""
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, PRIVATE, dir_fd=self.fd)

    def open_nameless(self) -> int | None:
        """Open a new file that has no name yet, and vanishes unless it gets one; None where that cannot be had.

        It has the mode of finished files: until it has a name, nobody else can reach it.
        """
        if not hasattr(os, "O_TMPFILE"):
            return None
        try:
            return os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, self.file_mode, dir_fd=self.fd)
        except OSError as error:
            if error.errno in _NO_NAMELESS:
                return None
            raise

    def name_it(self, fd: int, name: str) -> bool:
        """Give a nameless file its name; False where that cannot be done.

        Raises:
            DestinationExistsError: If something has it.
        """
        try:
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=self.fd, follow_symlinks=True)
        except FileExistsError:
            raise DestinationExistsError(name) from None
        except OSError as error:
            if error.errno not in _NO_LINKS | {errno.ENOENT}:  # the latter without /proc
                raise
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a name if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing what had it."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def rename_new(self, old: str, new: str) -> None:
        """Give a file another name that nobody has yet.

        Raises:
            FileExistsError: If somebody has it.
        """
        self.link(old, new)
        self.remove(old)

    def mode_for(self, name: str, *, overwrite: bool) -> int:
        """Return the mode of a finished file: what the umask says, or that of a file of ours which it replaces."""
        status = self.status(name) if overwrite else None
        if status is None or not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return self.file_mode
        return stat.S_IMODE(status.st_mode) & 0o777

    def sync(self) -> None:
        """Bring the names to the disk; where directories cannot be synced, the system does it when it likes."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise

    def link(self, old: str, new: str) -> None:
        """Give a file a second name that nobody has yet; a plain move where there are no hard links.

        Raises:
            FileExistsError: If somebody has it.
        """
        try:
            os.link(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self.status(new) is not None:
                raise FileExistsError(errno.EEXIST, "the name is taken") from None
            self.rename(old, new)

    def publish(self, temporary: str, name: str, *, overwrite: bool, durable: bool) -> None:
        """Give a finished file its final name.

        Raises:
            DestinationExistsError: If something got the name meanwhile; the finished file stays where it is.
        """
        with local_errors(name):
            try:
                (self.rename if overwrite else self.rename_new)(temporary, name)
            except (FileExistsError, IsADirectoryError):
                raise DestinationExistsError(name) from None
            if durable:
                self.sync()

    def free_bytes(self) -> int:
        """Return how much the file system still takes from this user."""
        room = os.fstatvfs(self.fd)
        return room.f_bavail * room.f_frsize


def part_name(name: str) -> str:
    """Return where the bytes of `name` gather until they are complete."""
    return f"{partial_stem(name)}.part"


def journal_name(name: str) -> str:
    """Return the sidecar of the partial of `name`."""
    return f"{partial_stem(name)}.part.json"


def passing_name(name: str, ending: str) -> str:
    """Return a hidden name beside `name` that nobody else has."""
    return f"{partial_stem(name)}.{secrets.token_hex(4)}.{ending}"


def _umask() -> int:
    # Reading it through os.umask() would change it for every other thread for a moment.
    with suppress(OSError, ValueError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
