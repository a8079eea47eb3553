"""The sidecar of a partial file: what it is a partial of, and which of its bytes can be trusted.

Lines are only added, until so many have come that all is written anew in the fewest. The first one is the `Header`; a
version line says what is known of the object and forgets every span before it; a span line notes bytes that were
written; a last line tells that the owner let go. Every line is a JSON array whose last item is a checksum of the
others, so a torn or garbled line is noticed, and it ends the reading: what comes after it was written later.

A span is noted only after its bytes were written. One that is marked as synced survives a power cut; the others are
trusted as long as the machine has not been started anew since.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from .heads import Version
from .ranges import LARGEST_SIZE, ByteRange, join_in, merged

FORMAT = 1
LARGEST_JOURNAL = 64 * 2**20  # bytes; a larger one is not read
_LEAST_WAIT, _LONGEST_WAIT = 0.02, 0.1  # seconds
_MOST_GROWTH = 2**20  # bytes


@attrs.frozen
class Owner:
    """The process that writes a partial: machine, its boot, process id and the process's start (in clock ticks).

    `namespace` says among which processes that id counts: containers on one machine count apart. 0 if nobody knows.
    """

    host: str
    boot: str
    process: int
    started: int
    namespace: int = 0


@attrs.frozen
class Header:
    """What a partial is a partial of, without any secret, and who writes it."""

    identity: str
    owner: Owner


@attrs.define
class Journal:
    """A sidecar that was read: its header, the version that was being fetched, and the spans that were noted."""

    header: Header
    version: Version = attrs.field(factory=Version)
    held: list[ByteRange] = attrs.field(factory=list)
    synced: list[ByteRange] = attrs.field(factory=list)
    is_released: bool = False

    def trusted(self, *, boot: str) -> list[ByteRange]:
        """Return the spans that are surely on disk, if the machine's present boot is `boot`."""
        return merged(self.held if boot and boot == self.header.owner.boot else self.synced)


@attrs.define
class Notes:
    """What a sidecar says behind its first line, as its writer knows it: which bytes of `version` are `held`.

    Every change returns the lines that say it; `encoded` says everything in the fewest lines. Like `held`, `synced` and
    `unsynced` (what was noted since the last sync began) are merged. No two threads may use it at once.
    """

    version: Version = attrs.field(factory=Version)
    held: list[ByteRange] = attrs.field(factory=list, converter=merged)
    synced: list[ByteRange] = attrs.field(factory=list, converter=merged)
    unsynced: list[ByteRange] = attrs.field(init=False)
    unsynced_bytes: int = attrs.field(init=False)
    _syncing: int = attrs.field(init=False, default=0)  # counts the versions: bytes of another one were not synced

    def __attrs_post_init__(self) -> None:
        self.unsynced = [] if self.synced == self.held else list(self.held)
        self.unsynced_bytes = sum(map(len, self.unsynced))

    def encoded(self) -> bytes:
        """Return the lines that say all this: a version and its spans."""
        held = () if self.synced == self.held else self.held
        synced = b"".join(encode_span(span, synced=True) for span in self.synced)
        return encode_version(self.version, held) + synced

    def begin_version(self, version: Version, held: Iterable[ByteRange] = ()) -> bytes:
        """Note what is now known of the object, and which spans of that are held; all others are forgotten."""
        self.version, self.held, self.synced = version, merged(held), []
        self.unsynced, self.unsynced_bytes = list(self.held), sum(map(len, self.held))
        self._syncing += 1
        return self.encoded()

    def add(self, span: ByteRange) -> bytes:
        """Note that a span was written."""
        join_in(self.held, span)
        join_in(self.unsynced, span)
        self.unsynced_bytes += len(span)
        return encode_span(span, synced=False)

    def begin_sync(self) -> tuple[int, list[ByteRange]]:
        """Return, for `end_sync`, what a sync that begins now brings to the disk."""
        spans, self.unsynced, self.unsynced_bytes = self.unsynced, [], 0
        return self._syncing, spans

    def end_sync(self, begun: tuple[int, list[ByteRange]]) -> bytes:
        """Note that a sync has ended well; nothing is noted if a version was begun meanwhile."""
        version, spans = begun
        if version != self._syncing:
            return b""
        for span in spans:
            join_in(self.synced, span)
        return b"".join(encode_span(span, synced=True) for span in spans)


def is_overgrown(added: int, compact: int) -> bool:
    """Whether a sidecar is worth writing anew, `added` bytes of lines after it was written in `compact` bytes.

    So it stays readable, and at most as much is written again as was added.
    """
    return added >= max(_MOST_GROWTH, compact)


def encode_header(header: Header) -> bytes:
    """Return the sidecar's first line."""
    return _line(["trio-norman", FORMAT, header.identity, *attrs.astuple(header.owner)])


def encode_version(version: Version, held: Iterable[ByteRange] = ()) -> bytes:
    """Return the lines that say which version is being fetched and which spans of it are held (not yet synced)."""
    line = _line(["version", version.size, version.validator, dict(version.digests)])
    return line + b"".join(encode_span(span, synced=False) for span in held)


def encode_span(span: ByteRange, *, synced: bool) -> bytes:
    """Return a line that notes `span` as written, or as synced to the disk."""
    return _line([span.start, span.stop, 1 if synced else 0])


def note_within(age: float) -> float:
    """Return for how many seconds bytes may be written before they are noted, `age` seconds after their owner began.

    What is not noted is lost to a kill. It is a hundredth of what came before, or the bytes of a few milliseconds; and
    the sidecar of a long download does not grow faster than it must.
    """
    return min(max(_LEAST_WAIT, age / 100), _LONGEST_WAIT)


def encode_release() -> bytes:
    """Return the line by which an owner lets go of its partial."""
    return _line(["released"])


def decode(data: bytes) -> Journal | None:
    """Read a sidecar; None if its first line is not one of ours, of this format and undamaged."""
    lines = data.split(b"\n")
    header = _decode_header(_items(lines[0])) if len(lines) > 1 else None
    if header is None:
        return None
    journal = Journal(header)
    for line in lines[1:-1]:  # the last piece has no line end: torn, or empty
        if not _apply(journal, _items(line)):
            break
    return journal


def _line(items: list[Any]) -> bytes:
    text = json.dumps([*items, zlib.crc32(json.dumps(items).encode())])
    return text.encode() + b"\n"


def _items(line: bytes) -> list[Any] | None:
    try:
        items = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list) or not items or items[-1] != zlib.crc32(json.dumps(items[:-1]).encode()):
        return None
    return items[:-1]


def _decode_header(items: list[Any] | None) -> Header | None:
    match items:
        case ["trio-norman", 1, str(identity), str(host), str(boot), int(process), int(started)]:
            return Header(identity, Owner(host, boot, process, started))
        case ["trio-norman", 1, str(identity), str(host), str(boot), int(process), int(started), int(namespace)]:
            return Header(identity, Owner(host, boot, process, started, namespace))
        case _:
            return None


def _apply(journal: Journal, items: list[Any] | None) -> bool:
    match items:
        case [int(start), int(stop), 0 | 1 as synced] if 0 <= start <= stop <= LARGEST_SIZE:
            journal.held.append(ByteRange(start, stop))
            journal.synced += [ByteRange(start, stop)] if synced else []
        case ["version", (int() | None) as size, (str() | None) as validator, dict(digests)] if _all_texts(digests):
            journal.version, journal.held, journal.synced = Version(size, validator, digests), [], []
        case ["released"]:
            journal.is_released = True
        case _:
            return False
    return True


def _all_texts(table: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and isinstance(value, str) for key, value in table.items())
