"""The emulator over TLS: it serves every certificate that it is given, and ends its streams as it is told."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from trio_norman.emulator import Emulator, open_emulator

CA = trustme.CA()
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


@asynccontextmanager
async def served(certificate: trustme.LeafCert, **options: str) -> AsyncIterator[tuple[Emulator, httpx.AsyncClient]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    async with open_emulator(runs=1, checkpoints=1, size_bytes=5000, tls=context, **options) as emulator:  # type: ignore[arg-type]
        async with httpx.AsyncClient(verify=trusting(), headers={"X-API-KEY": emulator.api_key}) as client:
            yield emulator, client


async def test_api_and_storage_are_served_with_a_certificate() -> None:
    async with served(CA.issue_cert("127.0.0.1")) as (emulator, client):
        assert emulator.base_url.startswith("https://127.0.0.1:")
        answer = await client.get(f"{emulator.base_url}/api/api/runs")
        assert (answer.status_code, emulator.requests[-1].server) == (200, "api")
        async with httpx.AsyncClient(verify=trusting()) as plain:
            blob = await plain.get(emulator.blob_url(300_000, redirect=1, rto="other"), follow_redirects=True)
        assert blob.content == emulator.blob_content(300_000).read(0, 300_000)
        assert [request.server for request in emulator.requests.of("storage", "other")] == ["storage", "other"]


async def test_a_file_with_key_and_certificates_will_do(tmp_path: Path) -> None:
    certificate = CA.issue_cert("emulator.test", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    async with open_emulator(tls=tmp_path / "server.pem", tls_host="localhost") as emulator:
        assert emulator.storage_url.startswith("https://localhost:")
    with pytest.raises(OSError, match="No such file"):
        async with open_emulator(tls=tmp_path / "missing.pem"):
            pytest.fail("there is nothing to serve with")


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [(NOW - 2 * DAY, NOW - DAY, "certificate has expired"), (NOW + DAY, NOW + 2 * DAY, "not yet valid")],
)
async def test_certificates_out_of_their_time_are_served_too(
    start: datetime.datetime, end: datetime.datetime, text: str
) -> None:
    certificate = CA.issue_cert("127.0.0.1", not_before=start, not_after=end)
    async with served(certificate) as (emulator, _):
        plain = await trio.open_tcp_stream("127.0.0.1", httpx.URL(emulator.base_url).port or 0)
        stream = trio.SSLStream(plain, trusting(), server_hostname="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.do_handshake()
        assert text in str(caught.value.__cause__)
        await trio.aclose_forcefully(stream)
        await emulator.api_connections.wait_idle()


@pytest.mark.parametrize("is_ragged", [False, True])
async def test_a_cut_body_ends_with_or_without_the_closing_alert(is_ragged: bool) -> None:
    async with served(CA.issue_cert("127.0.0.1")) as (emulator, _):
        url = httpx.URL(emulator.blob_url(300_000, close=True, trunc=200_000, ragged=is_ragged))
        plain = await trio.open_tcp_stream("127.0.0.1", url.port or 0)
        stream = trio.SSLStream(plain, trusting(), server_hostname="127.0.0.1")
        await stream.send_all(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (url.raw_path, url.netloc))
        received = 0
        is_cut = False
        try:
            async for block in stream:
                received += len(block)
        except trio.BrokenResourceError:
            is_cut = True
        assert received > 200_000
        assert is_cut == is_ragged
        await stream.aclose()
        await emulator.connections.wait_idle()


async def test_a_reset_reaches_the_client_through_tls() -> None:
    async with served(CA.issue_cert("127.0.0.1")) as (emulator, client):
        rule = emulator.misbehave("/api/api/runs", drop=True)
        with pytest.raises(httpx.ReadError):
            await client.get(f"{emulator.base_url}/api/api/runs")
        assert rule.hits == 1
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            async with httpx.AsyncClient(verify=trusting()) as plain:
                await plain.get(emulator.blob_url(300_000, reset=1000))


async def test_a_port_that_begins_a_handshake_and_never_ends_it() -> None:
    async with open_emulator(odd_ports=True) as emulator:
        assert emulator.odd_ports is not None
        assert emulator.odd_ports.stalling.startswith("https://")
        async with httpx.AsyncClient(verify=trusting(), timeout=0.2) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(emulator.odd_ports.stalling)
