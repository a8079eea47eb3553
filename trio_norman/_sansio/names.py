"""From a name that somebody else chose to a file name: this is the only way."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array

_SHARDS, _SMALLEST_SHARD = 256, 8  # tables, and places in each of them at first
LONGEST_NAME = 255  # bytes of UTF-8, the limit of every common file system

_FORBIDDEN = frozenset('/\\:*?"<>|')
_BIDI_AND_INVISIBLE = frozenset("\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff") | frozenset(
    chr(code) for code in [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "clock$", "conin$", "conout$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)

#: What downloads keep beside the files that they make: partials, journals, claims.
_OURS = re.compile(r"\..+\.part(?:\.json(?:\..+)?)?", re.IGNORECASE | re.DOTALL)

#: Beyond doubt once it is no device: no dot or space at an end, nothing but what every system takes for itself.
_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,200}[A-Za-z0-9_\-])?")


def safe_name(text: str) -> str:
    r"""Return `text` in NFC as one path component that is a plain file name on every common system.

    Raises:
        ValueError: With what is wrong: empty, ``.`` or ``..``, a separator or one of ``:*?"<>|``, control, bidi or
            invisible characters, a leading ``-`` or ``~``, a trailing dot or space, a device name, the form of our own
            partial files (``.*.part``, ``.*.part.json``), or more than 255 bytes of UTF-8.
    """
    if _PLAIN.fullmatch(text) and text.partition(".")[0].lower() not in _DEVICES:  # nearly always
        return text
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
    if _OURS.fullmatch(collision_key(name)):
        return "the name has the form of a partial file"
    if len(name.encode()) > LONGEST_NAME:
        return f"the name is longer than {LONGEST_NAME} bytes"
    return ""


def collision_key(name: str) -> str:
    """Return what two names share if some file system would keep them as one file (case, normal forms)."""
    if name.isascii():
        return name.lower()
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

    Names are kept as 64-bit digests in open-addressed tables, each with a mark of 32 bits. Two different names of a
    million share a digest with a probability of 3e-8. The tables are many and small, so that hardly anything stands
    there twice while one of them grows.
    """

    def __init__(self) -> None:
        self._shards: list[_Table | None] = [None] * _SHARDS  # most batches are small, and need few of them

    def __len__(self) -> int:
        return sum(shard.count for shard in self._shards if shard is not None)

    def add(self, name: str, mark: int = 0) -> bool:
        """Take a name in; False if it, or one that some file system takes for the same, is here already."""
        value, place = _digest(name)
        shard = self._shards[place]
        if shard is None:
            shard = self._shards[place] = _Table(_SMALLEST_SHARD)
        if not shard.put(value, mark):
            return False
        if shard.count * 5 > len(shard.values) * 4:
            self._shards[place] = shard.grown()
        return True

    def mark_of(self, name: str) -> int | None:
        """Return the mark that a name, or one that is taken for the same, was given; None if it is not here."""
        value, place = _digest(name)
        shard = self._shards[place]
        return None if shard is None else shard.mark_of(value)


class _Table:
    """Some of the names. 0 marks an empty place."""

    __slots__ = ("count", "marks", "values")

    def __init__(self, places: int) -> None:
        self.values, self.marks, self.count = array("Q", bytes(8 * places)), array("I", bytes(4 * places)), 0

    def put(self, value: int, mark: int) -> bool:
        at = self._place(value)
        if self.values[at] == value:
            return False
        self.values[at], self.marks[at] = value, mark
        self.count += 1
        return True

    def mark_of(self, value: int) -> int | None:
        at = self._place(value)
        return self.marks[at] if self.values[at] == value else None

    def grown(self) -> _Table:
        larger = _Table(len(self.values) * 9 // 8 + 1)
        for value, mark in zip(self.values, self.marks, strict=True):
            if value:
                larger.put(value, mark)
        return larger

    def _place(self, value: int) -> int:
        """Find where a digest is, or is to be put."""
        at = value % len(self.values)
        while self.values[at] not in (0, value):
            at = (at + 1) % len(self.values)
        return at


def _digest(name: str) -> tuple[int, int]:
    digest = hashlib.blake2b(collision_key(name).encode(errors="surrogatepass"), digest_size=8).digest()
    value, place = divmod(int.from_bytes(digest), _SHARDS)
    return value or 1, place
