from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import Damage, Note, byte_ranges, damages, journal_headers, journals, texts, versions
from trio_norman._sansio.heads import Version
from trio_norman._sansio.journal import (
    Header,
    Journal,
    Notes,
    Owner,
    decode,
    encode_header,
    encode_release,
    encode_span,
    encode_version,
    note_within,
)
from trio_norman._sansio.ranges import LARGEST_SIZE, ByteRange, merged

HEADER = Header("run-1/checkpoint-9", Owner("build", "5e6f", 4711, 123456))
NOTES = [
    Note(version=Version(99, '"v1"', {"md5": "0" * 32})),
    Note(ByteRange(0, 10), synced=True),
    Note(ByteRange(20, 30)),
    Note(version=Version(99, '"v2"'), held=(ByteRange(5, 6), ByteRange(40, 50))),
    Note(ByteRange(10, 15)),
    Note(),
]


def encoded(header: Header, notes: list[Note]) -> list[bytes]:
    return [encode_header(header), *(line for note in notes for line in note.encoded())]


def replayed(header: Header, notes: list[Note]) -> Journal:
    """Return what the records mean together, by a model that is written apart from the parser."""
    journal = Journal(header)
    for note in notes:
        if note.span is not None:
            journal.held = [*journal.held, note.span]
            journal.synced = [*journal.synced, *([note.span] if note.synced else [])]
        elif note.version is not None:
            journal.version, journal.held, journal.synced = note.version, list(note.held), []
        else:
            journal.is_released = True
    return journal


def single_lines(notes: list[Note]) -> list[Note]:
    """Return the same records with one line each: a version's held spans are spans behind it."""
    flat = []
    for note in notes:
        flat += [Note(version=note.version)] if note.version is not None else [note]
        flat += [Note(span) for span in note.held]
    return flat


def prefixes(header: Header, notes: list[Note]) -> list[Journal]:
    lines = single_lines(notes)
    return [replayed(header, lines[:count]) for count in range(len(lines) + 1)]


@given(journal=journals())
def test_what_was_written_is_read_back(journal: tuple[Header, list[Note]]) -> None:
    header, notes = journal
    assert decode(b"".join(encoded(header, notes))) == replayed(header, notes)


@given(journal=journals())
def test_every_record_is_one_line_of_ascii(journal: tuple[Header, list[Note]]) -> None:
    for line in encoded(*journal):
        assert line.isascii()
        assert line.count(b"\n") == 1
        assert line.decode().rstrip("\n").isprintable()


@given(journal=journals())
@settings(max_examples=25)
def test_a_sidecar_cut_at_any_byte_is_read_up_to_its_last_whole_record(journal: tuple[Header, list[Note]]) -> None:
    header, notes = journal
    lines = encoded(header, notes)
    data, states = b"".join(lines), prefixes(header, notes)
    for cut in range(len(data) + 1):
        whole = data[:cut].count(b"\n")
        assert decode(data[:cut]) == (states[whole - 1] if whole else None)


def test_a_sidecar_damaged_at_any_byte_says_nothing_that_was_not_written() -> None:
    data, states = b"".join(encoded(HEADER, NOTES)), prefixes(HEADER, NOTES)
    for at in range(len(data)):
        for other in {data[at] ^ 0x01, data[at] ^ 0x20, data[at] ^ 0x80, *b"\n 0,]"}:
            read = decode(data[:at] + bytes([other]) + data[at + 1 :])
            assert read is None or read in states


@pytest.mark.fuzz
@given(journal=journals(), harm=damages())
def test_a_harmed_sidecar_holds_a_prefix_of_what_was_written_or_a_record_of_it_twice(
    journal: tuple[Header, list[Note]], harm: Damage
) -> None:
    header, notes = journal
    read = decode(harm.on(b"".join(encoded(header, notes))))
    if read is None:
        return
    assert read.header == header
    written = {(note.span, note.synced) for note in single_lines(notes) if note.span is not None}
    assert set(read.held) <= {span for span, _ in written}
    assert set(read.synced) <= {span for span, synced in written if synced}
    assert read.version in [Version(), *(note.version for note in notes)]


@pytest.mark.fuzz
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert decode(data) is None
    read = decode(encode_header(HEADER) + data)
    assert read is None or read == Journal(HEADER)


@given(junk=texts())
def test_nothing_behind_a_bad_line_is_believed(junk: str) -> None:
    bad = json.dumps(junk).encode() + b"\n"
    read = decode(encode_header(HEADER) + bad + encode_span(ByteRange(0, 5), synced=True) + encode_release())
    assert read == Journal(HEADER)


@given(header=journal_headers(), spans=st.lists(st.tuples(byte_ranges(), st.booleans())), boot=texts())
def test_after_another_boot_only_synced_spans_are_trusted(
    header: Header, spans: list[tuple[ByteRange, bool]], boot: str
) -> None:
    read = decode(b"".join(encoded(header, [Note(span, synced) for span, synced in spans])))
    assert read is not None
    same_boot = bool(boot) and boot == header.owner.boot
    assert read.trusted(boot=boot) == merged(span for span, synced in spans if synced or same_boot)
    everything = merged(span for span, _ in spans)
    assert read.trusted(boot=header.owner.boot) == (everything if header.owner.boot else read.trusted(boot=""))


@given(version=versions(), spans=st.lists(byte_ranges()))
def test_a_new_version_forgets_what_was_held_of_the_old_one(version: Version, spans: list[ByteRange]) -> None:
    old = [Note(span, synced=True) for span in spans]
    read = decode(b"".join(encoded(HEADER, [*old, Note(version=version)])))
    assert read == Journal(HEADER, version)


def signed(items: list[Any]) -> bytes:
    """Return a line with a right checksum, whatever it says."""
    return json.dumps([*items, zlib.crc32(json.dumps(items).encode())]).encode() + b"\n"


@pytest.mark.parametrize(
    "items",
    [
        ["trio-norman", 0, "id", "host", "boot", 1, 2],
        ["trio-norman", 2, "id", "host", "boot", 1, 2],
        ["other", 1, "id", "host", "boot", 1, 2],
        ["trio-norman", 1, None, "host", "boot", 1, 2],
        ["trio-norman", 1, "id", "host", "boot", "1", 2],
        ["trio-norman", 1, "id", "host", "boot", 1],
        ["trio-norman", 1, "id", "host", "boot", 1, 2, "3"],
        ["trio-norman", 1, "id", "host", "boot", 1, 2, 3, 4],
        [],
    ],
)
def test_a_first_line_that_is_not_of_this_format_is_refused_although_its_checksum_is_right(items: list[Any]) -> None:
    assert decode(signed(items)) is None


def test_a_first_line_without_a_namespace_is_read() -> None:
    read = decode(signed(["trio-norman", 1, "id", "host", "boot", 1, 2]))
    assert read == Journal(Header("id", Owner("host", "boot", 1, 2, namespace=0)))


@pytest.mark.parametrize(
    "items",
    [
        [5, 4, 1],
        [-1, 4, 1],
        [0, LARGEST_SIZE + 1, 1],
        [0, 4, 2],
        [0, 4],
        [0.0, 4, 1],
        ["version", "9", None, {}],
        ["version", 9, 1, {}],
        ["version", 9, None, {"md5": 1}],
        ["version", 9, None, []],
        ["released", 1],
        ["unheard of"],
        [],
    ],
)
def test_a_record_that_makes_no_sense_ends_the_reading_although_its_checksum_is_right(items: list[Any]) -> None:
    good = encode_span(ByteRange(0, 4), synced=True)
    assert decode(encode_header(HEADER) + good + signed(items) + encode_release()) == Journal(
        HEADER, held=[ByteRange(0, 4)], synced=[ByteRange(0, 4)]
    )


def test_a_line_of_brackets_is_no_record() -> None:
    assert decode(encode_header(HEADER) + b"[" * 100_000 + b"\n") == Journal(HEADER)


def test_a_version_line_carries_what_is_held_of_it() -> None:
    lines = encode_version(Version(9), [ByteRange(0, 2), ByteRange(4, 6)])
    read = decode(encode_header(HEADER) + encode_span(ByteRange(7, 8), synced=True) + lines)
    assert read == Journal(HEADER, Version(9), [ByteRange(0, 2), ByteRange(4, 6)], [])


@given(age=st.floats(0, 1e9))
def test_what_waits_for_its_note_is_little_of_what_came(age: float) -> None:
    assert note_within(age) <= max(0.02, age / 100)
    assert 0.02 <= note_within(age) <= 0.1


NOTED = st.lists(
    byte_ranges(60)
    | st.tuples(versions(), st.lists(byte_ranges(60), max_size=3))
    | st.sampled_from(["begin a sync", "end a sync"])
)


@given(notes=NOTED, held=st.lists(byte_ranges(60)), boot=st.sampled_from(["this", "another"]))
def test_a_sidecar_written_anew_says_what_all_its_lines_said(
    notes: list[Any], held: list[ByteRange], boot: str
) -> None:
    kept, header = Notes(Version(60), held, held[:1] and merged(held)), Header("id", Owner("h", "this", 1, 2))
    lines, begun = encode_header(header) + kept.encoded(), []
    for note in notes:
        match note:
            case ByteRange():
                lines += kept.add(note)
            case "begin a sync":
                begun.append(kept.begin_sync())
            case "end a sync":
                lines += kept.end_sync(begun.pop()) if begun else b""
            case (version, spans):
                lines += kept.begin_version(version, spans)
        read, anew = decode(lines), decode(encode_header(header) + kept.encoded())
        assert read is not None
        assert anew is not None
        assert (read.version, read.trusted(boot=boot)) == (anew.version, anew.trusted(boot=boot))
        assert (kept.held, kept.synced) == (anew.trusted(boot="this"), anew.trusted(boot="another"))
    if not begun:
        assert merged([*kept.synced, *kept.unsynced]) == kept.held


def test_what_was_synced_of_one_version_says_nothing_of_the_next() -> None:
    notes = Notes(Version(60))
    notes.add(ByteRange(0, 10))
    begun = notes.begin_sync()
    notes.begin_version(Version(60, '"v2"'), [ByteRange(0, 5)])
    assert notes.end_sync(begun) == b""
    assert (notes.synced, notes.unsynced, notes.unsynced_bytes) == ([], [ByteRange(0, 5)], 5)
