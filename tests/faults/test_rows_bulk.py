"""Many at once: rows K."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
import trio

from tests.destinations import descriptors
from tests.faults.rows import MiB, Row
from tests.faults.trees import sha256_of
from trio_norman import Outcome, Source, download_many, errors

KiB = 1024
#: How many files stand for ten thousand in `make test`, and with how many `make soak` does it.
MANY = [pytest.param(300, id="300"), pytest.param(10_000, id="10,000", marks=[pytest.mark.soak, pytest.mark.alone])]
BULK: Any = {"max_concurrency": 32, "max_connections": 16, "durable": False}


def many(row: Row, count: int, fault: str = "", *, name: str = "f") -> list[Source]:
    """Describe so many objects of a KiB. Their URLs hold no secrets: to search for thousands takes too long."""
    return [plain(row, f"{fault}&pseed={number}" if fault else "", f"{name}{number}") for number in range(count)]


def plain(row: Row, fault: str, name: str, digests: Mapping[str, str] | None = None) -> Source:
    """Describe an object of a KiB without a signature."""
    row.contents[name] = row.emulator.blob_content(KiB, name=name)
    return Source.from_url(row.url(fault, KiB, name=name, signed=False), name, digests=digests)


@pytest.mark.parametrize("count", MANY)
async def test_K_01_many_small_files(row: Row, count: int) -> None:
    """Success of all, within 100 MiB and 30 s for ten thousand, with few descriptors; one request each. D2."""
    sources, open_now = many(row, count), [descriptors()]

    async def look() -> None:
        while True:
            open_now.append(descriptors())
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        attempt = await row.download_all(sources, within=30, memory_mib=100, **BULK)
        nursery.cancel_scope.cancel()
    row.expect_all(attempt, requests=count)
    print(f"\nK-01: {count} in {attempt.seconds:.2f} s, the memory grew by {attempt.grown_mib:.0f} MiB")
    assert len(attempt.requests) == count
    assert len(open_now) > 5
    # Two ends of each connection, of which a pump may hold three more, and two for each file that is worked on.
    assert max(open_now) - open_now[0] <= 5 * BULK["max_connections"] + 2 * BULK["max_concurrency"] < count


@pytest.mark.parametrize("count", MANY)
async def test_K_02_many_with_one_in_twenty_faulty(row: Row, count: int) -> None:
    """Success of all. D2."""
    sources = many(row, count // 2, "p=0.05&reset=100") + many(row, count // 2, "p=0.05&status=503", name="g")
    attempt = await row.download_all(sources, within=30, **BULK)
    row.expect_all(attempt, requests=int(count * 1.2))
    ended = Counter((request.status, request.is_finished) for request in attempt.requests)
    assert ended[200, True] == count
    assert ended[200, False]
    assert ended[503, True]


async def test_K_03_the_same_source_twice(row: Row) -> None:
    """Success of both with one request: the later result tells of the same file. D2."""
    first, other = row.source("", MiB, name="f"), row.source("", MiB, name="g")
    results = []
    async with row.attempt({"f": row.contents["f"], "g": row.contents["g"]}) as attempt:
        async with download_many([first, first, other, first], row.dest) as downloads:
            async for result in downloads:
                results.append(result)
                attempt.results.setdefault(result.source.name, result)
    row.expect_all(attempt, requests=2)
    again = [result for result in results if result.source.name == "f"]
    assert sorted(result.outcome for result in again) == [Outcome.OK, Outcome.SKIPPED, Outcome.SKIPPED]
    assert {(result.sha256, result.size_bytes) for result in again} == {(sha256_of(row.contents["f"]), MiB)}
    assert sum(result.attempts for result in again) == 1


async def test_K_03_the_same_source_twice_and_it_fails(row: Row) -> None:
    """NotFoundError of both: what failed is tried again when it is listed again. D0."""
    source = row.source("status=404", MiB)
    kinds = []
    async with row.attempt({"f": None}) as attempt:
        async with download_many([source, source], row.dest) as downloads:
            async for result in downloads:
                kinds.append(type(result.error))
                attempt.results["f"] = result
    row.expect_error(attempt, errors.NotFoundError, disk="D0", requests=2)
    assert kinds == [errors.NotFoundError] * 2


@pytest.mark.parametrize(
    ("first", "second"),
    [("name", "name"), ("name", "NAME"), ("straße", "STRASSE"), (unicodedata.normalize("NFD", "é"), "é"), ("ﬁ", "fi")],
)
async def test_K_03_two_sources_and_one_name(row: Row, first: str, second: str) -> None:
    """FileNameError of the later one before any byte; the first one succeeds. D2."""
    kept = unicodedata.normalize("NFC", first)
    urls = row.url("", MiB, name="one"), row.url("", MiB, name="two")
    sources = [Source.from_url(url, name) for url, name in zip(urls, (first, second), strict=True)]
    row.contents[kept] = row.emulator.blob_content(MiB, name="one")
    found = []
    async with row.attempt({kept: row.contents[kept]}) as attempt:
        async with download_many(sources, row.dest) as downloads:
            found = [result async for result in downloads]
            attempt.results[kept] = next(result for result in found if result.error is None)
    row.expect(attempt, disk="D2", requests=1)
    assert sorted(type(result.error).__name__ for result in found) == ["FileNameError", "NoneType"]


async def test_K_03_the_query_tells_two_objects_apart(row: Row) -> None:
    """FileNameError of the later one: URLs of one path may name two objects. D2."""
    urls = [row.url(fault, MiB, name="f") for fault in ("", "flip=0")]
    sources = [Source.from_url(url, "f") for url in urls]
    async with row.attempt({"f": row.emulator.blob_content(MiB, name="f")}) as attempt:
        async with download_many(sources, row.dest) as downloads:
            found = [result async for result in downloads]
            attempt.results["f"] = next(result for result in found if result.error is None)
    row.expect(attempt, disk="D2", requests=1)
    assert sum(isinstance(result.error, errors.FileNameError) for result in found) == 1


async def test_K_04_a_giant_among_small_ones(row: Row) -> None:
    """Success of all: the small ones do not wait for the giant, which comes in parts. D2."""
    giant = row.source("rate=4m", 12 * MiB, name="giant", is_sized=True)
    small = many(row, 60)
    attempt = await row.download_all(
        [giant, *small], max_concurrency=4, max_connections=4, part_bytes=2 * MiB, durable=False
    )
    row.expect_all(attempt)
    assert list(attempt.results)[-1] == "giant"
    parts = [request for request in attempt.requests if request.path.endswith("giant")]
    assert len(parts) > 1
    assert all("range" in request.headers for request in parts[1:])


async def test_K_05_none_at_all(row: Row) -> None:
    """Success: nothing is asked for."""
    attempt = await row.download_all([])
    assert (attempt.results, attempt.requests, attempt.error) == ({}, [], None)


async def test_K_05_a_single_one(row: Row) -> None:
    """Success. D2."""
    row.expect(await row.download("", KiB), disk="D2", requests=1)


@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["iterable", "asynchronous"])
async def test_K_05_a_listing_that_fails_halfway(row: Row, is_asynchronous: bool) -> None:
    """PagingError after what was listed has succeeded. D2."""
    sources = many(row, 10)

    def listing() -> Iterator[Source]:
        yield from sources
        raise errors.PagingError("GET", "https://service.test/list", ("page 2 repeats",))

    async def each() -> AsyncIterator[Source]:
        for source in listing():
            yield source

    async with row.attempt(dict(row.contents)) as attempt:
        async with download_many(each() if is_asynchronous else listing(), row.dest) as downloads:
            async for result in downloads:
                attempt.results[result.source.name] = result
    assert isinstance(attempt.error, errors.PagingError)
    assert len(attempt.results) == 10
    row.expect_all(attempt, requests=10)


async def test_K_05_an_endless_listing(row: Row) -> None:
    """Cancelled at once, and what is there is whole. D0, D2."""
    names = [f"f{number}" for number in range(2_000)]
    contents = {name: row.emulator.blob_content(KiB, name=name) for name in names}

    def endless() -> Iterator[Source]:
        for name in names:
            yield plain(row, "", name)
        raise AssertionError("the listing was not held back")

    async with row.attempt(contents) as attempt:
        async with download_many(endless(), row.dest, 4) as downloads:
            for _ in range(20):
                result = await anext(downloads)
                attempt.results[result.source.name] = result
            attempt.cancel()
            async for result in downloads:
                attempt.results[result.source.name] = result
    found = [row.expect_cancelled(attempt, name, disk="D0 D2") for name in names]
    assert 20 <= found.count("D2") <= 20 + 4 + 4 + 4


@pytest.mark.parametrize("count", MANY)
async def test_K_06_the_whole_batch_once_more(row: Row, count: int) -> None:
    """Success of all without a body: of each object one byte is asked for, with its digest. D3."""
    first = await row.download_all(many(row, count), within=30, **BULK)
    row.expect_all(first)
    attempt = await row.download_all(many(row, count), within=5 + count / 500, **BULK)
    row.expect_all(attempt, disk="D3", requests=count)
    assert [request.headers["range"] for request in attempt.requests] == ["bytes=0-0"] * count


@pytest.mark.parametrize("count", MANY)
async def test_K_06_the_whole_batch_once_more_with_known_digests(row: Row, count: int) -> None:
    """Success of all without any request, within 5 s for ten thousand. D3."""
    digests = {f"f{number}": sha256_of(row.emulator.blob_content(KiB, name=f"f{number}")) for number in range(count)}
    for disk, within, requests in (("D2", 30, count), ("D3", 5, 0)):
        sources = [plain(row, "", name, {"sha256": digest}) for name, digest in digests.items()]
        attempt = await row.download_all(sources, within=within, **BULK)
        row.expect_all(attempt, disk=disk, requests=requests)
        print(f"\nK-06: {count} in {attempt.seconds:.2f} s, {requests} requests")


SAFE = ["x.bin", "ü", "日本語", "🙂.zip", "a b", "a'b", "100%", "%2e%2e", "a+b", "é" * 127, "..a", ".hidden", "a" * 255]
UNSAFE = [
    *("", ".", "..", "../x", "a/b", "/etc/passwd", "..\\x", "C:\\x", "C:x", "\\\\host\\share", "a\0b", "a\nb", "\r"),
    *("\x1b[31m", "-rf", "~root", "nul", "COM1.txt", "aux", "a.", "a ", " a", "\u202eexe.x", "a\u200bb", "a\ud800"),
    *("x" * 256, "é" * 128, "\x7f", "a:b", "a*b", "\u2028"),
]


@pytest.mark.rows("SEC-10")
async def test_K_07_unicode_and_hostile_names(row: Row) -> None:
    """Success under exactly that name, or FileNameError before any request; nothing appears elsewhere. D2, D0."""
    contents = {name: row.emulator.blob_content(KiB, name=f"safe{number}") for number, name in enumerate(SAFE)}
    sources = [Source.from_url(row.url("", KiB, name=f"safe{number}"), name) for number, name in enumerate(SAFE)]
    sources += [Source.from_url(row.url("", KiB, name=f"bad{number}"), name) for number, name in enumerate(UNSAFE)]
    refused = []
    async with row.attempt(contents) as attempt:
        async with download_many(sources, row.dest) as downloads:
            async for result in downloads:
                if result.source.name in contents:
                    attempt.results[result.source.name] = result
                else:
                    refused.append(result)
    row.expect_all(attempt, requests=len(SAFE))
    assert len(refused) == len(UNSAFE)
    assert {type(result.error) for result in refused} == {errors.FileNameError}
    assert {path.name for path in row.dest.iterdir()} == set(SAFE)
