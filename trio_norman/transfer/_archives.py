"""A ZIP archive, read through against its own checksums. It blocks, and runs in worker threads."""

from __future__ import annotations

import bz2
import copy
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, cast

import attrs
import trio

from ..errors import ChecksumMismatchError, UnprovenError
from ._folder import local_errors

_STEP = 2**20  # bytes of an entry that are held before we look whether we are still wanted
_INPUT = 2**16  # bytes of a compressed entry that are read at a time
_MARK = b"PK\x01\x02"  # begins each entry of the directory
_LISTED_BYTES = 256  # what an entry takes of the directory, its name included, on an average
_ALWAYS = 64 * 2**20  # bytes that an archive may expand to however small it is
_LARGEST_DICTIONARY = 64 * 2**20  # bytes that an entry's method may want for itself
#: What `zipfile` and the decompressors raise about an archive's own bytes; bz2 raises an `OSError` without a number.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, struct.error, OverflowError)


def check_archive(name: str, open_reader: Callable[[], BinaryIO], *, entries: int, ratio: int) -> None:
    """Read every entry of an archive; nothing of it is written anywhere.

    Args:
        name: Final file name, for errors.
        open_reader: Opens the archive, which is closed again.
        entries: The most that it may have.
        ratio: How many times its own length it may expand to; 64 MiB are always allowed.

    Raises:
        ChecksumMismatchError: If it is no ZIP archive, or an entry is broken or has another checksum.
        UnprovenError: If an entry cannot be read without a password, or by no method that is known here, or if the
            archive is beyond one of the limits.
        LocalFileError: If the file cannot be read.

    Memory is bounded by `entries`, and time by `ratio` and the length of the archive, whatever it claims.

    Cancellation: noticed after each MiB.
    """
    entry: str | None = None
    with local_errors(name), open_reader() as file:
        try:
            counted = _Counted(name, file, entries)
            with zipfile.ZipFile(cast(IO[bytes], counted)) as archive:
                counted.is_listed = True
                _check_expansion(name, archive, at_most=max(_ALWAYS, ratio * file.seek(0, io.SEEK_END)))
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


@attrs.define
class _Counted:
    """An archive whose entries are counted in its directory, which `zipfile` reads in one piece, however long it is.

    It makes ten times of it, and only then they could be counted there.
    """

    _name: str
    _file: BinaryIO
    _entries: int
    is_listed: bool = attrs.field(default=False, init=False)

    def read(self, size: int = -1) -> bytes:
        if size > max(_STEP, self._entries * _LISTED_BYTES):
            raise UnprovenError(self._name, "the archive's directory is too long (archive_entries)")
        found = self._file.read(size)
        if not self.is_listed and found.startswith(_MARK) and found.count(_MARK) > self._entries:
            raise UnprovenError(self._name, f"the archive has more than {self._entries} entries (archive_entries)")
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _check_expansion(name: str, archive: zipfile.ZipFile, *, at_most: int) -> None:
    """Refuse what claims to be too much; no entry is read further than it claims to go."""
    if sum(info.file_size for info in archive.infolist()) > at_most:
        raise UnprovenError(name, f"the archive would expand to more than {at_most} bytes (archive_ratio)")


def _read_through(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Compare an entry's checksum.

    Not by `zipfile`, which bounds what it reads of an entry and not what bzip2 and LZMA make of it: gigabytes of a KiB.
    """
    trio.from_thread.check_cancelled()
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    del packed.CRC  # it is not that of the packed bytes
    left, checksum = info.file_size, 0
    with archive.open(packed) as file:
        pieces = _unpacked(file, info)
        while left:
            piece = next(pieces, b"")[:left]
            if not piece:
                raise zipfile.BadZipFile("it ends early")
            left, checksum = left - len(piece), zlib.crc32(piece, checksum)
            trio.from_thread.check_cancelled()
    if checksum != info.CRC:
        raise zipfile.BadZipFile("another checksum")


def _unpacked(file: IO[bytes], info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Give an entry's bytes in pieces that are never longer than a step, nor empty until it ends."""
    match info.compress_type:
        case zipfile.ZIP_STORED:
            return iter(lambda: file.read(_STEP), b"")
        case zipfile.ZIP_DEFLATED:
            return filter(None, _inflated(file))
        case zipfile.ZIP_BZIP2:
            return filter(None, _decompressed(file, bz2.BZ2Decompressor()))
        case zipfile.ZIP_LZMA:
            return filter(None, _decompressed(file, _lzma_decompressor(file, info.file_size)))
    raise NotImplementedError("that compression method is not supported")


def _inflated(file: IO[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof and (block := inflater.unconsumed_tail or file.read(_INPUT)):
        yield inflater.decompress(block, _STEP)


def _decompressed(file: IO[bytes], decompressor: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> Iterator[bytes]:
    while not decompressor.eof:
        block = file.read(_INPUT) if decompressor.needs_input else b""
        if decompressor.needs_input and not block:
            return
        yield decompressor.decompress(block, _STEP)


def _lzma_decompressor(file: IO[bytes], size: int) -> lzma.LZMADecompressor:
    """Read what stands before an entry's LZMA stream. Source: APPNOTE.TXT, section 5.8.8; the LZMA specification."""
    _, length = struct.unpack("<HH", file.read(4))
    packed, dictionary = struct.unpack("<BI", file.read(length)[:5])
    dictionary = min(dictionary, max(size, 4096))  # nothing reaches back further than the entry is long
    if dictionary > _LARGEST_DICTIONARY:
        raise NotImplementedError("its dictionary is larger than 64 MiB")
    rest, literal_context = divmod(packed, 9)
    position, literal_position = divmod(rest, 5)
    of_the_stream = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary}
    of_the_stream |= {"lc": literal_context, "lp": literal_position, "pb": position}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[of_the_stream])


def _refusal(name: str, entry: str | None, error: Exception) -> ChecksumMismatchError:
    if entry is None:
        return ChecksumMismatchError(name, "", "archive", "a ZIP archive", "something else")
    if isinstance(error, zipfile.BadZipFile):
        return ChecksumMismatchError(name, f"entry {entry}", "crc32", "the entry's own", "another")
    return ChecksumMismatchError(name, f"entry {entry}", "archive", "an entry that can be read", str(error))
