"""Certificates that are pinned for one origin: trusted there and alone, and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trustme

from trio_norman import Secret, TrioTransport
from trio_norman._wire._fetching import Fetcher, open_fetcher
from trio_norman._wire._tls import pinned_context
from trio_norman.emulator import Actor, Emulator, open_emulator
from trio_norman.emulator._certificates import make_certificate
from trio_norman.errors import TlsError


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=0, actor=True) as emulator:
        yield emulator


def actor_of(emulator: Emulator) -> Actor:
    assert emulator.actor is not None
    return emulator.actor


async def body_of(fetcher: Fetcher, url: str, pem: str | None) -> bytes:
    async with fetcher.fetch(Secret(url), None, None, pem) as answer:
        return b"".join([chunk async for chunk in answer.chunks()])


async def test_a_connection_that_was_made_on_a_pinned_certificate_serves_nobody_else(emulator: Emulator) -> None:
    actor = actor_of(emulator)
    url = emulator.blob_url(50_000).replace(emulator.storage_url, actor.root)
    async with open_fetcher() as fetcher:
        for _ in range(2):
            assert len(await body_of(fetcher, url, actor.told_pem)) == 50_000
        assert emulator.connections.total == 1  # the second request went over the first one's connection
        with pytest.raises(TlsError):
            await body_of(fetcher, url, None)
        with pytest.raises(TlsError):
            await body_of(fetcher, url, make_certificate("127.0.0.1").pem)
        assert len(await body_of(fetcher, url, actor.told_pem)) == 50_000
    assert [request.status for request in emulator.requests] == [200] * 3


async def test_the_name_is_verified_all_the_same(emulator: Emulator) -> None:
    actor = actor_of(emulator)
    url = emulator.blob_url(50).replace(emulator.storage_url, actor.root.replace("127.0.0.1", "localhost"))
    async with open_fetcher() as fetcher:
        with pytest.raises(TlsError, match=r"[Hh]ostname|not valid for"):
            await body_of(fetcher, url, actor.told_pem)


async def test_a_redirect_to_another_origin_takes_no_trust_along(emulator: Emulator) -> None:
    actor = actor_of(emulator)
    async with open_emulator(runs=0, actor=True) as stranger:
        there = stranger.blob_url(50).replace(stranger.storage_url, actor_of(stranger).root)
        both = f"{actor.told_pem}{actor_of(stranger).told_pem}"  # it would be trusted if it were asked for
        url = emulator.blob_url(50, redirect=1, loc=there).replace(emulator.storage_url, actor.root)
        async with open_fetcher() as fetcher:
            with pytest.raises(TlsError):
                await body_of(fetcher, url, both)
            assert len(await body_of(fetcher, there, both)) == 50


async def test_many_actors_are_known_one_by_one() -> None:
    async with open_emulator(runs=0, actor=True) as emulator:
        actor = actor_of(emulator)
        url = emulator.blob_url(50).replace(emulator.storage_url, actor.root)
        async with open_fetcher() as fetcher:
            others = [f"{actor.told_pem}\n{'# ' * number}\n" for number in range(70)]
            for pem in others:
                assert len(await body_of(fetcher, url, pem)) == 50


async def test_a_request_of_httpx_can_pin_too(emulator: Emulator) -> None:
    actor = actor_of(emulator)
    url = emulator.blob_url(50).replace(emulator.storage_url, actor.root)
    async with httpx.AsyncClient(transport=TrioTransport()) as client:
        answer = await client.get(url, extensions={"trio_norman.pinned_pem": actor.told_pem})
        assert len(answer.content) == 50
        with pytest.raises(httpx.ConnectError, match="no TLS connection"):
            await client.get(url)
        with pytest.raises(httpx.ConnectError, match="can bear this name"):
            await client.get(url, extensions={"trio_norman.pinned_pem": "nonsense"})


@pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_holds_no_certificate_is_a_value_error(pem: str) -> None:
    with pytest.raises(ValueError, match="it holds no certificate"):
        pinned_context(pem)


def test_a_certificate_whose_issuer_is_not_there_is_trusted_itself() -> None:
    leaf = trustme.CA().issue_cert("actor.test").cert_chain_pems[0].bytes().decode()
    context = pinned_context(leaf)
    assert context.check_hostname
    assert context.cert_store_stats()["x509"] == 1
