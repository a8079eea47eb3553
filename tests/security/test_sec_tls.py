"""TLS is verified whatever the environment says, and never older than 1.2."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commandline import Shell, names
from tests.destinations import QUICK, results_of, sources_of
from tests.security.certificates import CA, DAY, NOW, ca_file_in, server_context
from trio_norman import ConnectionSettings, DownloadResult, ServiceClient, StallLimit, download_many
from trio_norman.emulator import open_emulator
from trio_norman.errors import HeadTimeoutError, InterruptedTransferError, TlsError, TrioNormanError, UnprovenError

#: Everything that has ever told some program to be less careful.
CARELESS = {
    "PYTHONHTTPSVERIFY": "0",
    "SSL_NO_VERIFY": "1",
    "SSL_VERIFY": "0",
    "VERIFY_SSL": "false",
    "GIT_SSL_NO_VERIFY": "1",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
    "CURL_INSECURE": "1",
    "REQUESTS_CA_BUNDLE": "",
    "CURL_CA_BUNDLE": "",
    "SSL_CERT_FILE": "/nonexistent",
    "SSL_CERT_DIR": "/nonexistent",
    "HTTPX_VERIFY": "0",
    "TRIO_NORMAN_INSECURE": "1",
    "TRIO_NORMAN_VERIFY": "0",
    "OPENSSL_CONF": "/dev/null",
}


def old_context() -> ssl.SSLContext:
    """Give a server that knows TLS 1.0 and nothing else."""
    context = server_context("127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    return context


def agreed_version(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """Shake hands in memory; give the version."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname="127.0.0.1")
    theirs = server.wrap_bio(up, down, server_side=True)
    for side in (ours, theirs) * 4:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ours.version()


async def attempt(
    context: ssl.SSLContext, directory: Path, *, settings: ConnectionSettings | None = None, **knobs: Any
) -> DownloadResult:
    """Download from an emulator with this certificate; give the result."""
    chosen = settings or ConnectionSettings(ca_file=ca_file_in(directory))
    async with open_emulator(runs=0, tls=context) as emulator:
        urls = [emulator.blob_url(2 << 20, **knobs)]
        stall = StallLimit(seconds=2)
        batch = download_many(
            sources_of(*urls), directory / "dest", connection=chosen, retry=QUICK, stall=stall, verify=False
        )
        async with batch as downloads:
            (result,) = await results_of(downloads)
        assert bool(emulator.requests) == (result.received_bytes > 0)
    return result


async def test_SEC_15_a_certificate_that_convinces_is_all_it_takes(tmp_path: Path) -> None:
    """Success with a private authority that was named. D2."""
    result = await attempt(server_context("127.0.0.1"), tmp_path)
    assert result.error is None


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (server_context("elsewhere.test"), "mismatch"),
        (server_context("127.0.0.2"), "mismatch"),
        (server_context("127.0.0.1", not_before=NOW - 2 * DAY, not_after=NOW - DAY), "certificate has expired"),
        (server_context("127.0.0.1", not_before=NOW + DAY, not_after=NOW + 2 * DAY), "is this machine's clock right"),
    ],
    ids=["another name", "another address", "expired", "not yet valid"],
)
@pytest.mark.rows("C-13", "C-14")
async def test_SEC_15_a_certificate_that_does_not_convince_is_final(
    context: ssl.SSLContext, text: str, tmp_path: Path
) -> None:
    """TlsError after one request; for one that is not valid yet it asks for the clock. D0."""
    result = await attempt(context, tmp_path)
    assert isinstance(result.error, TlsError)
    assert text in result.error.reason
    assert result.attempts == 1
    assert names(tmp_path / "dest") == set()


@pytest.mark.rows("C-12")
async def test_SEC_15_an_authority_that_was_not_named_is_not_trusted(tmp_path: Path) -> None:
    """TlsError after one try. D0."""
    result = await attempt(server_context("127.0.0.1"), tmp_path, settings=ConnectionSettings())
    assert isinstance(result.error, TlsError)
    assert (result.attempts, result.error.attempts) == (1, 1)


@pytest.mark.rows("C-16")
async def test_SEC_15_a_peer_that_only_knows_tls_1_0_is_refused(tmp_path: Path) -> None:
    """TlsError after one try, although others would agree with it. D0."""
    context, lax = old_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(lax)
    lax.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        lax.minimum_version = ssl.TLSVersion.TLSv1
    assert agreed_version(context, lax) == "TLSv1"  # with somebody less careful it works
    result = await attempt(context, tmp_path)
    assert isinstance(result.error, TlsError)
    assert result.attempts == 1


@pytest.mark.rows("C-15")
async def test_SEC_15_a_handshake_that_stalls_ends_at_its_limit(tmp_path: Path) -> None:
    """HeadTimeoutError after all attempts. D0."""
    async with open_emulator(runs=0, odd_ports=True) as emulator:
        assert emulator.odd_ports is not None
        roots = [emulator.odd_ports.stalling, emulator.odd_ports.silent.replace("http:", "https:")]
        settings = ConnectionSettings(connect_seconds=0.1)
        batch = download_many(sources_of(*(f"{root}/f" for root in roots)), tmp_path, connection=settings, retry=QUICK)
        async with batch as downloads:
            results = await results_of(downloads)
    assert [type(result.error) for result in results] == [HeadTimeoutError] * 2
    assert [result.attempts for result in results] == [QUICK.attempts] * 2


@pytest.mark.rows("B-11")
@pytest.mark.parametrize(
    ("is_ragged", "kind", "attempts", "left"),
    [
        (True, InterruptedTransferError, QUICK.attempts, {".f0.part", ".f0.part.json"}),
        (False, UnprovenError, 1, set()),
    ],
    ids=["without the closing alert", "with it"],
)
async def test_SEC_15_a_body_that_is_cut_is_not_whole(
    is_ragged: bool, kind: type[TrioNormanError], attempts: int, left: set[str], tmp_path: Path
) -> None:
    """InterruptedTransferError without the closing alert, else UnprovenError: nothing tells the length. D1, D0."""
    knobs: dict[str, Any] = {"close": True, "trunc": 1 << 20, "nodigest": True, "abs": True, "ragged": is_ragged}
    result = await attempt(server_context("127.0.0.1"), tmp_path, **knobs)
    assert type(result.error) is kind
    assert result.attempts >= attempts  # bytes that came refund some
    assert (result.attempts > 1) is is_ragged
    assert names(tmp_path / "dest") == left


async def test_SEC_15_the_api_is_verified_as_well(tmp_path: Path) -> None:
    """TlsError, and no request."""
    for context in (server_context("elsewhere.test"), old_context()):
        settings = ConnectionSettings(ca_file=ca_file_in(tmp_path))
        async with open_emulator(runs=0, tls=context) as emulator:
            client = ServiceClient(emulator.api_key, emulator.base_url, connection=settings, retry=QUICK)
            with pytest.raises(TlsError):
                async with client.create_rest_client():
                    pytest.fail("nobody is there whom we could trust")
            assert not emulator.requests


async def test_SEC_15_plain_http_on_a_tls_port_is_no_answer(tmp_path: Path) -> None:
    """TlsError after one try; no request is made. D0."""
    async with open_emulator(runs=0) as emulator:
        url = emulator.blob_url(1000).replace("http:", "https:")
        async with download_many(sources_of(url), tmp_path, retry=QUICK) as downloads:
            (result,) = await results_of(downloads)
        assert emulator.connections.total == 1
        assert not emulator.requests
    assert type(result.error) is TlsError
    assert (result.attempts, result.error.attempts) == (1, 1)
    assert names(tmp_path) == set()


async def test_SEC_15_no_variable_of_the_environment_makes_us_careless(tmp_path: Path) -> None:
    """TlsError whatever they say; session keys are not written."""
    keys = tmp_path / "session-keys"
    async with open_emulator(runs=1, checkpoints=1, size_bytes=1000, tls=server_context("127.0.0.1")) as emulator:
        shell = Shell(tmp_path, emulator)
        ca_file_in(tmp_path)
        refused = await shell.run("whoami", env={**CARELESS, "SSLKEYLOGFILE": str(keys)})
        assert refused.code == 1, refused.err
        assert "the TLS connection was refused" in refused.err
        assert not emulator.requests
        words = ["checkpoints", "download", "--all", "--to", "out", "--ca-file", "ca.pem"]
        fetched = await shell.run(*words, env={"SSLKEYLOGFILE": str(keys)})
        assert fetched.code == 0, fetched.err
        assert names(tmp_path) == {"ca.pem", "out"}  # and no session keys


def test_SEC_15_there_is_no_switch() -> None:
    """Neither the settings nor the source know a word for less care."""
    assert not {"verify", "insecure", "verify_ssl", "check_hostname"} & set(ConnectionSettings.__annotations__)
    package = Path(ssl.__file__).parent  # of the standard library, for contrast: these words do exist
    words = ("CERT_NONE", "check_hostname = False", "verify=False", "_create_unverified_context", "CERT_OPTIONAL")
    assert any(word in (package / "ssl.py").read_text() for word in words)
    ours = Path(__file__).parents[2] / "trio_norman"
    assert not [path for path in ours.rglob("*.py") if any(word in path.read_text() for word in words)]
