"""From a name that somebody else chose to a file name: this is the only way."""

from __future__ import annotations

import hashlib
import unicodedata
from array import array

LONGEST_NAME = 255  # bytes of UTF-8, the limit of every common file system

_FORBIDDEN = frozenset('/\\:*?"<>|')
_BIDI_AND_INVISIBLE = frozenset("\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff") | frozenset(
    chr(code) for code in [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "clock$", "conin$", "conout$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)


def safe_name(text: str) -> str:
    r"""Return `text` in NFC as one path component that is a plain file name on every common system.

    Raises:
        ValueError: With what is wrong: empty, ``.`` or ``..``, a separator or one of ``:*?"<>|``, control, bidi or
            invisible characters, a leading ``-`` or ``~``, a trailing dot or space, a device name, or more than
            255 bytes of UTF-8.
    """
    name = unicodedata.normalize("NFC", text)
    problem = _problem(name)
    if problem:
        raise ValueError(problem)
    return name


def _problem(name: str) -> str:
    if not name:
        return "the name is empty"
    if name in {".", ".."}:
        return "the name means a directory"
    if not name.isprintable() or any(unicodedata.category(c)[0] == "C" or c in _BIDI_AND_INVISIBLE for c in name):
        return "the name has control, bidi or invisible characters"
    if _FORBIDDEN.intersection(name):
        return "the name has a separator or a character that other systems reserve"
    if name[0] in "-~" or name[0].isspace() or name[-1] in ". " or name[-1].isspace():
        return "the name starts with '-', '~' or a space, or ends with a dot or a space"
    if name.split(".")[0].rstrip().casefold() in _DEVICES:
        return "the name is a device on some systems"
    if len(name.encode()) > LONGEST_NAME:
        return f"the name is longer than {LONGEST_NAME} bytes"
    return ""


def collision_key(name: str) -> str:
    """Return what two names share if some file system would keep them as one file (case, normal forms)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def partial_stem(name: str) -> str:
    """Return the start of the hidden names beside `name`, ``.<name>``; shortened by a digest if it grew too long."""
    longest = LONGEST_NAME - 64  # leaves room for every suffix that is put behind it
    encoded = name.encode()
    if len(encoded) + 1 <= longest:
        return f".{name}"
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f".{encoded[: longest - 18].decode(errors='ignore')}~{digest}"


class NameSet:
    """The names of a batch, in about 16 bytes each: a million of them must not weigh on the memory.

    Names are kept as 64-bit digests in one open-addressed table. Two different names of a million share a digest with
    a probability of 3e-8; the later one is then refused, never confused.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, name: str) -> bool:
        """Take a name in; False if it, or one that some file system takes for the same, is here already."""
        digest = hashlib.blake2b(collision_key(name).encode(errors="surrogatepass"), digest_size=8).digest()
        if not self._put(self._table, int.from_bytes(digest) or 1):  # 0 marks an empty place
            return False
        self._count += 1
        if self._count * 4 > len(self._table) * 3:
            self._grow()
        return True

    @staticmethod
    def _put(table: array[int], value: int) -> bool:
        at = value % len(table)
        while table[at] != 0:
            if table[at] == value:
                return False
            at = (at + 1) % len(table)
        table[at] = value
        return True

    def _grow(self) -> None:
        larger = array("Q", bytes(8 * 2 * len(self._table)))
        for value in self._table:
            if value:
                self._put(larger, value)
        self._table = larger
