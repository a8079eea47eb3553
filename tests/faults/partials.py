"""What a killed run leaves behind, as the rows R and V begin with: a partial and a sidecar that nobody let go of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.rows import Row
from tests.faults.trees import bytes_of, partial_of
from trio_norman._sansio.heads import Version
from trio_norman._sansio.journal import Header, Owner, encode_header, encode_span, encode_version
from trio_norman._sansio.ranges import ByteRange
from trio_norman.transfer._owners import this_process

_NOBODY = 2**22 + 1  # the number of no process: it lies above the largest that Linux ever gives


def spans(*edges: int) -> list[ByteRange]:
    """Pair offsets up: ``spans(0, 5, 7, 9)`` holds bytes 0 to 4 and 7 to 8."""
    return [ByteRange(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def etag_of(row: Row, size: int, *, name: str = "f", version: int = 0) -> str:
    """Return the ETag that the storage gives an object of `Row.source`."""
    stored = row.emulator.storage.objects.find(f"/blobs/0/{size}/{name}", version=version)
    assert stored is not None
    return stored.etag


def identity_of(row: Row, size: int, *, name: str = "f") -> str:
    """Return what a partial of an object of `Row.source` is a partial of."""
    return f"{row.emulator.storage_url}/blobs/0/{size}/{name}"


def killed_by_nobody() -> Owner:
    """Describe a process of this boot that has died."""
    me = this_process()
    return Owner(me.host, me.boot, _NOBODY, 1)


def journal_of(identity: str, version: Version, held: Sequence[ByteRange]) -> bytes:
    """Write the sidecar of a run that was killed."""
    lines = [encode_header(Header(identity, killed_by_nobody())), encode_version(version)]
    return b"".join([*lines, *(encode_span(span, synced=False) for span in held)])


def plant_partial(row: Row, data: bytes, journal: bytes, *, name: str = "f") -> None:
    """Put a partial and its sidecar where a download of `name` looks for them."""
    for path, held in zip(partial_of(Path(), name), (data, journal), strict=True):
        row.plant(path.name, held).chmod(0o600)


def leave_partial(
    row: Row,
    size: int,
    *held: int,
    known_size: int | None = -1,
    validator: str | None = "",
    digests: Mapping[str, str] | None = None,
    version: int = 0,
) -> None:
    """Leave what a killed download of ``f`` leaves: the spans between the offsets `held`, and a sidecar for them.

    `known_size` and `validator` are what the server had told; by default the truth.
    """
    content = bytes_of(row.emulator.blob_content(size, name="f", version=version))
    has = spans(*held)
    data = bytearray(max((span.stop for span in has), default=0))
    for span in has:
        data[span.start : span.stop] = content[span.start : span.stop]
    told = Version(
        size if known_size == -1 else known_size,
        etag_of(row, size, version=version) if validator == "" else validator,
        digests or {},
    )
    plant_partial(row, bytes(data), journal_of(identity_of(row, size), told, has))
