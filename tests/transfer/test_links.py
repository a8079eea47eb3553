"""Signed URLs: made just in time, renewed once for all who wait, and not for ever."""

from __future__ import annotations

import pytest
import trio

from tests.destinations import QUICK, Destination, results_of, sha256_of
from tests.transfer.fakes import FakeStore
from trio_norman import Link, Outcome, RestClient, ServiceClient, Source, download_many, errors
from trio_norman.emulator import Emulator

MiB = 2**20
SIZE = 12 * MiB


def renewable(emulator: Emulator, *urls: str, **first: object) -> tuple[Source, list[str]]:
    """Return a source whose links are `urls`, the last one for ever; and the list of those that were handed out."""
    handed: list[str] = []

    async def link() -> Link:
        await trio.sleep(0.02)  # signing takes a moment: many will wait for it
        handed.append(urls[min(len(handed), len(urls) - 1)])
        return Link(handed[-1])

    return Source("f", link, "the same object", SIZE), handed


async def test_a_url_that_is_refused_is_renewed_once(emulator: Emulator, dest: Destination) -> None:
    source, handed = renewable(emulator, emulator.blob_url(SIZE, sig="x"), emulator.blob_url(SIZE))
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert result.outcome is Outcome.OK
    assert len(handed) == 2


async def test_a_url_that_expires_in_the_middle_is_renewed_once_for_all_connections(
    emulator: Emulator, dest: Destination
) -> None:
    fading = emulator.blob_url(SIZE, rate="2m", expire=0.3, expire_cut=1)
    source, handed = renewable(emulator, fading, emulator.blob_url(SIZE))
    async with download_many([source], dest.path, 4, part_bytes=2 * MiB, retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert result.outcome is Outcome.OK
    assert emulator.connections.peak == 4
    assert len(handed) == 2
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE))}


async def test_a_renewed_url_that_is_refused_too_is_final(emulator: Emulator, dest: Destination) -> None:
    source, handed = renewable(emulator, emulator.blob_url(SIZE, sig="x"))
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.PermissionDeniedError)  # it was never good, so it has not expired
    assert len(handed) == 2


async def test_a_renewed_url_of_another_object_is_not_mixed_in(emulator: Emulator, dest: Destination) -> None:
    fading = emulator.blob_url(SIZE, rate="4m", expire=0.3, expire_cut=1)
    source, _ = renewable(emulator, fading, emulator.blob_url(SIZE, name="another"))
    async with download_many([source], dest.path, retry=QUICK) as downloads:
        (result,) = await results_of(downloads)
    assert result.outcome is Outcome.OK
    assert dest.visible() == {"f": sha256_of(emulator.blob_content(SIZE, name="another"))}


async def test_a_url_near_its_end_is_renewed_before_it_is_used(
    autojump_clock: trio.testing.MockClock, dest: Destination
) -> None:
    store, made = FakeStore(pause=10.0), 0
    plain = store.source("f", bytes(20 * MiB), size_bytes=20 * MiB)

    async def link() -> Link:
        nonlocal made
        made += 1
        return Link((await plain.link()).url, lifetime=100.0)

    source = Source("f", link, "f", 20 * MiB)
    store.piece = MiB
    async with download_many([source], dest.path, 1, fetch=store.fetch, part_bytes=MiB) as downloads:
        (result,) = await results_of(downloads)
    assert result.outcome is Outcome.OK
    assert made == 3  # 200 seconds of transfer, a new URL every 90


async def test_credentials_do_not_reach_the_storage(emulator: Emulator, dest: Destination) -> None:
    emulator.inject(redirect=1, rto="other")
    async with ServiceClient(emulator.api_key, emulator.base_url).create_rest_client() as rest:
        await _download_all(rest, dest)
    allowed = {"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "if-match"}
    requests = emulator.requests.of("storage", "other")
    assert {request.server for request in requests} == {"storage", "other"}
    assert all(set(request.headers) <= allowed for request in requests)
    assert all(emulator.api_key not in str(request.headers) + request.query for request in requests)


async def _download_all(rest: RestClient, dest: Destination) -> None:
    async with rest.download_checkpoints(rest.iter_user_checkpoints(), dest.path) as downloads:
        assert {result.outcome for result in await results_of(downloads)} == {Outcome.OK}


async def test_an_error_of_signing_is_that_items_error(emulator: Emulator, dest: Destination) -> None:
    async def link() -> Link:
        raise errors.NotFoundError("GET", "https://service.test/archive", 404)

    async with download_many([Source("f", link, "f")], dest.path) as downloads:
        (result,) = await results_of(downloads)
    assert isinstance(result.error, errors.NotFoundError)


def test_a_link_does_not_show_its_url() -> None:
    assert "signature" not in repr(Link("https://store.test/f?signature=1"))
    with pytest.raises(errors.ConfigurationError):
        Source.from_url("https://store.test/f", "f", digests={"sha257": "00"})


async def test_the_next_urls_are_signed_while_others_are_fetched(
    autojump_clock: trio.testing.MockClock, dest: Destination
) -> None:
    store, signing, most_signing = FakeStore(pause=1.0), 0, 0

    def slow_to_sign(number: int) -> Source:
        plain = store.source(f"f{number}", b"x" * 100)

        async def link() -> Link:
            nonlocal signing, most_signing
            signing += 1
            most_signing = max(most_signing, signing)
            await trio.sleep(1.0)
            signing -= 1
            return await plain.link()

        return Source(plain.name, link, plain.identity)

    sources = [slow_to_sign(number) for number in range(20)]
    async with download_many(sources, dest.path, 2, fetch=store.fetch) as downloads:
        results = await results_of(downloads)
    assert {result.outcome for result in results} == {Outcome.OK}
    assert most_signing == 2
    assert trio.current_time() < 13  # ten rounds of fetching, and the first of signing; one after the other takes 20
