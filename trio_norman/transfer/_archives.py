"""A ZIP archive, read through against its own checksums. It blocks, and runs in worker threads."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

import trio

from ..errors import ChecksumMismatchError, UnprovenError
from ._folder import local_errors

_STEP = 2**20  # bytes of an entry that are read before we look whether we are still wanted
#: What `zipfile` and its decompressors raise about an archive's own bytes; bz2 raises an `OSError` without a number.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, struct.error, OverflowError)


def check_archive(name: str, open_reader: Callable[[], BinaryIO]) -> None:
    """Read every entry of an archive; nothing of it is written anywhere.

    Args:
        name: Final file name, for errors.
        open_reader: Opens the archive, which is closed again.

    Raises:
        ChecksumMismatchError: If it is no ZIP archive, or an entry is broken or has another checksum.
        UnprovenError: If an entry cannot be read without a password, or by no method that is known here.
        LocalFileError: If the file cannot be read.

    Cancellation: noticed after each MiB.
    """
    entry: str | None = None
    with local_errors(name), open_reader() as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    entry = info.filename
                    _read_through(archive, info)
        except _BROKEN as error:
            raise _refusal(name, entry, error) from None
        except RuntimeError as error:  # encrypted; or, as a NotImplementedError, of an unheard-of method
            raise UnprovenError(name, f"entry {entry} of the archive: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise _refusal(name, entry, error) from None


def _read_through(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    trio.from_thread.check_cancelled()
    with archive.open(info) as file:
        while file.read(_STEP):  # its checksum is compared at its end
            trio.from_thread.check_cancelled()


def _refusal(name: str, entry: str | None, error: Exception) -> ChecksumMismatchError:
    if entry is None:
        return ChecksumMismatchError(name, "", "archive", "a ZIP archive", "something else")
    if isinstance(error, zipfile.BadZipFile):
        return ChecksumMismatchError(name, f"entry {entry}", "crc32", "the entry's own", "another")
    return ChecksumMismatchError(name, f"entry {entry}", "archive", "an entry that can be read", str(error))
