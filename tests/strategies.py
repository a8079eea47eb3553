"""What tests are made of: one strategy a noun."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st

from trio_norman._sansio.digests import LENGTHS
from trio_norman._sansio.heads import Version
from trio_norman._sansio.journal import Header, Owner, encode_release, encode_span, encode_version
from trio_norman._sansio.ranges import LARGEST_SIZE, ByteRange

# No test is judged by a clock: a busy machine would fail it.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

#: Characters that have fooled somebody before: separators, escapes, bidi and invisible ones, halves of pairs.
NASTY = (
    "\x00\x07\t\n\r\x1b\x7f\x85\xa0\u00e9\u0301\u200b\u200d\u202e\u2028\u2029\u2066\ufeff\ud800\U000e0001"
    ' ./\\:*?"<>|-~%#@[]'
)


def is_harmless(text: str) -> bool:
    """Whether a terminal would show `text` as it is, on one line."""
    return not any(unicodedata.category(each)[0] == "C" or unicodedata.category(each) in {"Zl", "Zp"} for each in text)


def texts(*, max_size: int = 40) -> st.SearchStrategy[str]:
    """Any text, lone surrogates included, and often one with characters that have fooled somebody before."""
    anything = st.text(st.characters(), max_size=max_size)
    return anything | st.text(st.sampled_from(NASTY + "abc019"), max_size=max_size)


def byte_ranges(size: int = 200) -> st.SearchStrategy[ByteRange]:
    """Spans of the first `size` bytes, empty ones too."""
    ends = st.tuples(st.integers(0, size), st.integers(0, size))
    return ends.map(lambda pair: ByteRange(min(pair), max(pair)))


def sizes() -> st.SearchStrategy[int]:
    """Lengths of objects: small ones, those at the edges of 31, 32 and 63 bits, and any between."""
    edges = [0, 1, 2**31 - 1, 2**31, 2**32, LARGEST_SIZE - 1, LARGEST_SIZE]
    return st.sampled_from(edges) | st.integers(0, 1000) | st.integers(0, LARGEST_SIZE)


def etags() -> st.SearchStrategy[str]:
    """Strong entity tags."""
    return st.text("abcdef0123456789-+/=.", max_size=20).map('"{}"'.format)


def weak_etags() -> st.SearchStrategy[str]:
    """Weak entity tags."""
    return etags().map("W/{}".format)


def moments() -> st.SearchStrategy[datetime]:
    """Moments between 1950 and 2200, to the second, in UTC."""
    first = datetime(1950, 1, 1, tzinfo=UTC)
    return st.integers(0, 250 * 365 * 86_400).map(lambda seconds: first + timedelta(seconds=seconds))


def http_dates() -> st.SearchStrategy[str]:
    """Dates as HTTP headers and some fields of the API write them."""
    return moments().map(lambda moment: format_datetime(moment, usegmt=True))


def iso_times() -> st.SearchStrategy[tuple[str, datetime]]:
    """ISO 8601 times in the spellings that APIs use, with what they mean."""

    def spelled(moment: datetime, minutes: int, separator: str, digits: str, style: str) -> tuple[str, datetime]:
        fraction = int(digits[:6].ljust(6, "0")) if digits else 0
        moment = moment.replace(microsecond=fraction)
        zone = timezone(timedelta(minutes=minutes))
        local = moment.astimezone(zone) if style == "offset" else moment
        text = local.strftime(f"%Y-%m-%d{separator}%H:%M:%S") + (f".{digits}" if digits else "")
        sign, away = ("-" if minutes < 0 else "+"), abs(minutes)
        offset = f"{sign}{away // 60:02}:{away % 60:02}"
        return text + {"none": "", "Z": "Z", "z": "z", "offset": offset}[style], moment

    return st.builds(
        spelled,
        moments(),
        st.integers(-14 * 60, 14 * 60),
        st.sampled_from("Tt "),
        st.text("0123456789", max_size=9),
        st.sampled_from(["none", "Z", "z", "offset"]),
    )


def secrets() -> st.SearchStrategy[str]:
    """Texts that would be recognised wherever they turned up."""
    return st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=16, max_size=24)


def hosts() -> st.SearchStrategy[str]:
    """Host names and addresses, in brackets where a URL wants them."""
    label = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
    names = st.builds(
        "{}{}".format, st.lists(label.map("{}.".format), max_size=2).map("".join), label.map("x{}".format)
    )
    return names | st.sampled_from(["127.0.0.1", "[::1]", "localhost"])


def urls(*, schemes: Sequence[str] = ("https",)) -> st.SearchStrategy[str]:
    """Plain absolute URLs: scheme, host, perhaps a port, a path."""
    port = st.just("") | st.integers(1, 65535).map(":{}".format)
    path = st.text("abcXYZ019-._~/%", max_size=20).map("/{}".format)
    return st.builds("{}://{}{}{}".format, st.sampled_from(schemes), hosts(), port, path)


def names() -> st.SearchStrategy[str]:
    """Names that somebody else chose for a file: harmless, hostile and odd ones."""
    hostile = [
        "", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:\\x", "C:x", "\\\\host\\share", "-rf", "~root",
        "a.", "a ", "CON", "con.txt", "LPT1", "com¹.log", "nul .x", "\u202egpj.exe", "a\u200bb", "x\x00y",
        "e\u0301.bin", "🙂.zip", "ﬁ", ".hidden", "a" * 255, "a" * 256, "é" * 127, "é" * 128, "\ud800",
    ]  # fmt: skip
    return st.sampled_from(hostile) | texts(max_size=300)


def safe_names() -> st.SearchStrategy[str]:
    """Names that are plain file names everywhere, up to the longest."""
    character = st.sampled_from("abcXYZ019_éß漢🙂")
    return st.text(character, min_size=1, max_size=63).map("x{}".format)


def digests(*algorithms: str) -> st.SearchStrategy[tuple[str, bytes]]:
    """A digest as (algorithm, its bytes), of all algorithms or of some."""
    return st.sampled_from(algorithms or tuple(LENGTHS)).flatmap(
        lambda name: st.binary(min_size=LENGTHS[name], max_size=LENGTHS[name]).map(lambda value: (name, value))
    )


def digest_tables() -> st.SearchStrategy[dict[str, str]]:
    """Announced digests: algorithm to hexadecimal."""
    return st.lists(digests(), max_size=2).map(lambda found: {name: value.hex() for name, value in found})


def versions() -> st.SearchStrategy[Version]:
    """What is known of one version of an object."""
    return st.builds(Version, st.none() | sizes(), st.none() | etags() | http_dates(), digest_tables())


def owners() -> st.SearchStrategy[Owner]:
    """Processes that write a partial file."""
    return st.builds(Owner, texts(), texts(), st.integers(0, 2**22), st.integers(0, 2**63))


def journal_headers() -> st.SearchStrategy[Header]:
    """What partial files are partials of, and who writes them."""
    return st.builds(Header, texts(), owners())


@attrs.frozen
class Note:
    """One record of a sidecar behind its header: a span, a version with what is held of it, or the release."""

    span: ByteRange | None = None
    synced: bool = False
    version: Version | None = None
    held: tuple[ByteRange, ...] = ()

    def encoded(self) -> list[bytes]:
        """Return its lines."""
        if self.span is not None:
            return [encode_span(self.span, synced=self.synced)]
        if self.version is not None:
            return encode_version(self.version, self.held).splitlines(keepends=True)
        return [encode_release()]


def notes() -> st.SearchStrategy[Note]:
    """Records of sidecars, spans above all."""
    span = byte_ranges() | sizes().map(lambda size: ByteRange(0, size))
    held = st.lists(span, max_size=3).map(tuple)
    spans = st.builds(Note, span=span, synced=st.booleans())
    return spans | spans | st.builds(Note, version=versions(), held=held) | st.just(Note())


def journals() -> st.SearchStrategy[tuple[Header, list[Note]]]:
    """A sidecar's content: its header and its further records."""
    return st.tuples(journal_headers(), st.lists(notes(), max_size=6))


def json_documents() -> st.SearchStrategy[Any]:
    """Any JSON document that every parser reads alike."""
    character = st.characters(exclude_categories=["Cs"])
    text = st.text(character, max_size=8) | st.sampled_from(['"', "\\", "[[[", '{"', "\\u0000", ""])
    number = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    leaf = st.none() | st.booleans() | number | text
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))


def nested_json(depth: int) -> bytes:
    """Return `depth` levels of arrays and objects in turn."""
    opening = ('{"a":' if level % 2 else "[" for level in range(depth))
    closing = ("}" if level % 2 else "]" for level in reversed(range(depth)))
    return ("".join(opening) + "0" + "".join(closing)).encode().replace(b"[0]", b"[]")


@attrs.frozen
class Damage:
    """One way to harm some bytes: cut them, flip bits of one, drop one, put one in, or say one twice."""

    kind: str
    at: float
    value: int

    def on(self, data: bytes) -> bytes:
        """Return the harmed bytes."""
        at = int(self.at * len(data))
        match self.kind:
            case "cut":
                return data[:at]
            case "flip":
                return data[:at] + bytes(byte ^ self.value for byte in data[at : at + 1]) + data[at + 1 :]
            case "drop":
                return data[:at] + data[at + 1 :]
            case "insert":
                return data[:at] + bytes([self.value]) + data[at:]
            case _:
                return data[:at] + data[at : at + self.value] + data[at:]


def damages() -> st.SearchStrategy[Damage]:
    """Ways to harm some bytes at any place."""
    kinds = st.sampled_from(["cut", "flip", "drop", "insert", "repeat"])
    return st.builds(Damage, kinds, st.floats(0, 1, exclude_max=True), st.integers(1, 255))


def json_bytes() -> st.SearchStrategy[bytes]:
    """Bodies that are JSON, nearly JSON, or anything."""
    whole = json_documents().map(lambda document: json.dumps(document).encode())
    harmed = st.builds(lambda data, damage: damage.on(data), whole, damages())
    return whole | harmed | st.binary(max_size=40) | st.text('[]{}",:\\0eE+-.truefalsn ', max_size=40).map(str.encode)
