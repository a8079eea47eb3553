"""Partials and sidecars of every kind, odd sizes, large offsets: rows R-12, R-14, R-15; and an independent server."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.destinations import until
from tests.faults.partials import etag_of, identity_of, journal_of, leave_partial, plant_partial, spans
from tests.faults.rows import Attempt, MiB, Row
from tests.faults.trees import bytes_of, sha256_of
from tests.nginx import open_nginx
from trio_norman import Source, download_many
from trio_norman._sansio.heads import Version

SIZE = 3 * MiB


def whole(row: Row) -> bytes:
    """Return what ``f`` should hold."""
    return bytes_of(row.emulator.blob_content(SIZE, name="f"))


def ranges(attempt: Attempt) -> list[str | None]:
    """Return what each request asked for."""
    return [request.headers.get("range") for request in attempt.requests]


def parts_of(size: int) -> list[str]:
    """Return the ranges of its parts of 1 MiB, the last of which may be shorter."""
    return [f"bytes={start}-{min(start + MiB, size) - 1}" for start in range(0, size, MiB)]


def true_journal(row: Row, *edges: int) -> bytes:
    """Return the sidecar of an honest run."""
    return journal_of(identity_of(row, SIZE), Version(SIZE, etag_of(row, SIZE)), spans(*edges))


def _damaged(journal: bytes, damage: str) -> bytes:
    lines = journal.splitlines(keepends=True)
    return {
        "cut in its first line": journal[:40],
        "cut before its first span": b"".join(lines[:2]),
        "cut in its last line": journal[:-5],
        "a bit is wrong in its first line": bytes([journal[5] ^ 1]).join([journal[:5], journal[6:]]),
        "a digit is wrong in a span": journal.replace(f"{2 * MiB}".encode(), f"{2 * MiB + 1}".encode()),
        "of another format": json.dumps({"version": 99}).encode() + b"\n",
        "no text": os.urandom(300),
        "empty": b"",
        "missing": b"",
    }[damage]


@pytest.mark.parametrize(
    "damage",
    [
        "cut in its first line",
        "cut before its first span",
        "cut in its last line",
        "a bit is wrong in its first line",
        "a digit is wrong in a span",
        "of another format",
        "no text",
        "empty",
        "missing",
    ],
)
async def test_R_12_a_damaged_sidecar(row: Row, damage: str) -> None:
    """Success from the first byte on. D2."""
    plant_partial(row, whole(row)[: 2 * MiB], _damaged(true_journal(row, 0, 2 * MiB), damage))
    if damage == "missing":
        (row.dest / ".f.part.json").unlink()
    attempt = await row.download("", SIZE)
    row.expect(attempt, disk="D2", requests=1)
    assert (attempt.result.resumed_bytes, attempt.result.received_bytes) == (0, SIZE)


async def test_R_12_a_sidecar_that_is_torn_at_its_end(row: Row) -> None:
    """Success: the spans that are noted before the tear count. D2."""
    journal = true_journal(row, 0, MiB, MiB, 2 * MiB)
    plant_partial(row, whole(row)[: 2 * MiB], journal[:-9])
    attempt = await row.download("", SIZE)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.resumed_bytes == MiB


async def test_R_12_a_partial_that_is_longer_than_the_file(row: Row) -> None:
    """Success from the first byte on. D2."""
    plant_partial(row, whole(row)[: 2 * MiB] + bytes(2 * MiB), true_journal(row, 0, 2 * MiB))
    attempt = await row.download("", SIZE)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.resumed_bytes == 0


async def test_R_12_a_sidecar_that_promises_more_than_there_is(row: Row) -> None:
    """Success from the first byte on. D2."""
    plant_partial(row, whole(row)[:MiB], true_journal(row, 0, 2 * MiB))
    attempt = await row.download("", SIZE)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.resumed_bytes == 0


@pytest.mark.parametrize("held", [2 * MiB, SIZE], ids=["a part", "all"])
async def test_R_12_a_partial_of_the_right_length_with_wrong_bytes(row: Row, held: int) -> None:
    """Success: the digest at the end does not agree, and everything is fetched anew. D2."""
    plant_partial(row, bytes(held), true_journal(row, 0, held))
    digests = {"sha256": sha256_of(whole(row))} if held == SIZE else None
    attempt = await row.download("", SIZE, digests=digests)
    row.expect(attempt, disk="D2", requests=2)
    assert attempt.result.received_bytes == 2 * SIZE - held


async def test_R_12_a_partial_of_another_source(row: Row) -> None:
    """Success from the first byte on. D2."""
    leave_partial(row, SIZE, 0, 2 * MiB)
    row.contents["f"] = content = row.emulator.blob_content(SIZE, name="g")
    attempt = await row.download_url(row.url("", SIZE, name="g"), content=content)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.result.resumed_bytes == 0


@pytest.mark.parametrize("size", [0, 1, 2, 3, MiB - 1, MiB, MiB + 1, 2 * MiB, 3 * MiB - 1, 3 * MiB, 3 * MiB + 1])
async def test_R_14_sizes_around_those_of_parts(row: Row, size: int) -> None:
    """Success, exact: each part is asked for once, and what is no longer than a part is asked for as a whole. D2."""
    attempt = await row.download("", size, is_sized=True, part_bytes=MiB)
    row.expect(attempt, disk="D2")
    assert ranges(attempt) == (parts_of(size) if size > MiB else [None])
    assert attempt.result.received_bytes == size


@pytest.mark.parametrize("size", [0, 1, MiB, MiB + 1, 3 * MiB])
async def test_R_14_sizes_around_those_of_parts_that_nobody_knows_beforehand(row: Row, size: int) -> None:
    """Success, exact: the first answer tells the size, and may go on through all parts. D2."""
    attempt = await row.download("", size, part_bytes=MiB, max_connections=3)
    row.expect(attempt, disk="D2", requests=max(1, -(-size // MiB)) + 2)
    assert ranges(attempt)[0] is None
    assert attempt.result.received_bytes == size


@pytest.mark.parametrize("size", [3 * MiB - 1, 3 * MiB, 3 * MiB + 1])
async def test_R_14_parts_of_a_size_that_the_first_answer_tells(row: Row, size: int) -> None:
    """Success, exact: of what the slow first answer has not reached, no more than a part is asked for at once. D2."""
    attempt = await row.download("rate=4m", size, part_bytes=MiB, max_connections=3)
    row.expect(attempt, disk="D2")
    first, *further = ranges(attempt)
    spans = [tuple(map(int, re.findall(r"\d+", str(asked)))) for asked in further]
    assert first is None
    assert spans
    assert max(last + 1 - start for start, last in spans) <= MiB
    assert attempt.result.received_bytes == size


@pytest.mark.parametrize("missing", [1, 2, 3])
async def test_R_14_the_last_bytes(row: Row, missing: int) -> None:
    """Success: just these are asked for. D2."""
    leave_partial(row, SIZE, 0, SIZE - missing)
    attempt = await row.download("", SIZE)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.requests[0].headers["range"] == f"bytes={SIZE - missing}-{SIZE - 1}"
    assert attempt.result.received_bytes == missing


async def test_R_14_single_bytes_here_and_there(row: Row) -> None:
    """Success: one request for each gap, and no byte more. D2."""
    leave_partial(row, SIZE, 1, 100, 102, MiB, MiB + 3, SIZE - 1)
    attempt = await row.download("", SIZE, max_connections=3)
    row.expect(attempt, disk="D2", requests=4)
    gaps = {"bytes=0-0", "bytes=100-101", f"bytes={MiB}-{MiB + 2}", f"bytes={SIZE - 1}-{SIZE - 1}"}
    assert {request.headers["range"] for request in attempt.requests} == gaps
    assert attempt.result.received_bytes == 1 + 2 + 3 + 1


# ---- nginx, which knows ranges and conditions without us

HUGE = 6 * 2**30
#: What is missing of it lies between the second and the third of these, the fourth and the fifth, and after the last.
EDGES = [0, 2**31 - MiB, 2**31 + MiB, 2**32 - MiB, 2**32 + MiB, HUGE - MiB]
MISSING = [2**31 - MiB, 2**31, 2**32 - MiB, 2**32, HUGE - MiB]  # a MiB each


def a_sparse_file(path: Path, marks: dict[int, bytes]) -> None:
    """Make a file of `HUGE` bytes that takes hardly any room; there are bytes at some offsets."""
    with path.open("wb") as file:
        file.truncate(HUGE)
        for offset, mark in marks.items():
            file.seek(offset)
            file.write(mark)


async def test_R_15_offsets_beyond_two_and_four_gib(row: Row) -> None:
    """Success: each gap is filled exactly, around 2 GiB, around 4 GiB and at the end. D2."""
    marks = {gap: os.urandom(MiB) for gap in MISSING}
    row.exempt.add(row.dest / "f")  # which is too large to be searched for secrets
    with open_nginx(row.tree.parent / "nginx") as server:
        a_sparse_file(server.root / "f", marks)
        etag = _etag(server.root / "f")
        plant_partial(row, b"", journal_of(f"{server.url}/f", Version(HUGE, etag), spans(*EDGES)))
        os.truncate(row.dest / ".f.part", EDGES[-1])
        attempt = await row.download_url(
            f"{server.url}/f", content=server.root / "f", memory_mib=32, verify=False, max_connections=2
        )
        row.expect(attempt, disk="D2")
        await until(lambda: len(server.answers()) >= 3)
        answers = server.answers()
    assert {status for _, status, _ in answers} == {206}
    assert sum(count for _, _, count in answers) == attempt.result.received_bytes == 5 * MiB


async def test_R_15_the_last_mib_of_six_gib(row: Row) -> None:
    """Success: each gap is filled by one request that names its very bytes. D2."""
    content, expected = row.emulator.blob_content(HUGE, name="f"), row.tree.parent / "expected"
    a_sparse_file(expected, {gap: bytes(content.read(gap, MiB)) for gap in MISSING})
    row.exempt.add(row.dest / "f")
    plant_partial(row, b"", journal_of(identity_of(row, HUGE), Version(HUGE, etag_of(row, HUGE)), spans(*EDGES)))
    os.truncate(row.dest / ".f.part", EDGES[-1])
    attempt = await row.download_url(row.url("", HUGE, name="f"), content=expected, memory_mib=32, verify=False)
    row.expect(attempt, disk="D2")
    gaps = zip(EDGES[1::2], [*EDGES[2::2], HUGE], strict=True)
    assert ranges(attempt) == [f"bytes={start}-{stop - 1}" for start, stop in gaps]
    assert attempt.result.received_bytes == 5 * MiB


def _etag(path: Path) -> str:
    """Return what nginx makes of a file's time and size. Source: its ngx_http_set_etag."""
    status = path.stat()
    return f'"{int(status.st_mtime):x}-{status.st_size:x}"'


@pytest.mark.rows("R-11")
async def test_R_01_nginx_without_ranges(row: Row) -> None:
    """Success: the answer to the resume is taken as the whole. D2."""
    with open_nginx(row.tree.parent / "nginx", "max_ranges 0;") as server:
        (server.root / "f").write_bytes(content := os.urandom(SIZE))
        journal = journal_of(f"{server.url}/f", Version(SIZE, _etag(server.root / "f")), spans(0, MiB))
        plant_partial(row, content[:MiB], journal)
        attempt = await row.download_url(f"{server.url}/f", content=content)
        row.expect(attempt, disk="D2")
        await until(lambda: len(server.answers()) == 1)
        assert server.answers()[0][1:] == (200, SIZE)


async def test_R_07_a_complete_partial_by_nginx(row: Row) -> None:
    """Success: the 416 shows that nothing is missing. D2."""
    with open_nginx(row.tree.parent / "nginx") as server:
        (server.root / "f").write_bytes(content := os.urandom(SIZE))
        journal = journal_of(f"{server.url}/f", Version(None, _etag(server.root / "f")), spans(0, SIZE))
        plant_partial(row, content, journal)
        attempt = await row.download_url(f"{server.url}/f", content=content)
        row.expect(attempt, disk="D2")
        await until(lambda: len(server.answers()) == 1)
        assert server.answers()[0][1] == 416
    assert attempt.result.received_bytes == 0


@pytest.mark.rows("V-06")
@pytest.mark.parametrize("etag", ["on", "off"])
@pytest.mark.parametrize("age", [10, 3600])
async def test_V_01_a_file_that_nginx_got_anew(row: Row, etag: str, age: int) -> None:
    """Success: by ETag or an old date the answer is the whole new file; a date of just now resumes nothing. D2."""
    with open_nginx(row.tree.parent / "nginx", f"etag {etag};") as server:
        served = server.root / "f"
        served.write_bytes(b"old" * MiB)
        os.utime(served, (served.stat().st_mtime - age,) * 2)
        async with row.attempt({"f": b"old" * MiB}) as broken:
            async with download_many(
                [Source.from_url(f"{server.url}/f", "f")], row.dest, max_connections=1, bytes_per_second=MiB
            ) as downloads:
                await until(lambda: downloads.progress.received_bytes > 0)
                broken.cancel()
                await anext(downloads)
        row.expect_cancelled(broken, disk="D1")
        served.write_bytes(content := b"new" * MiB)
        attempt = await row.download_url(f"{server.url}/f", content=content)
        row.expect(attempt, disk="D2")
        await until(lambda: len(server.answers()) == 2)
        assert server.answers()[1][1:] == (200, SIZE)
