"""TLS: certificates, handshakes, ends of streams. Rows C, and those of B and D that need it."""

from __future__ import annotations

import datetime
import ssl
import warnings
from pathlib import Path

import pytest

from tests.faults.rows import MiB, Row
from tests.security.certificates import DAY, NOW, ca_file_in, server_context
from trio_norman import ConnectionSettings, errors

SIZE = 3 * MiB


def good() -> ssl.SSLContext:
    """Give a context that convinces."""
    return server_context("127.0.0.1")


def of_time(start: datetime.timedelta, end: datetime.timedelta) -> ssl.SSLContext:
    """Give a context whose certificate is good from one time to another, as seen from now."""
    return server_context("127.0.0.1", not_before=NOW + start, not_after=NOW + end)


def outdated(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Give a context that speaks this version of TLS and no other."""
    context = good()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is what the row is about
        context.minimum_version = context.maximum_version = version
    return context


@pytest.fixture
def trusting(tmp_path: Path) -> ConnectionSettings:
    """Trust the tests' authority; its file lies outside the row's tree."""
    return ConnectionSettings(ca_file=ca_file_in(tmp_path))


@pytest.mark.emulator(tls=good())
async def test_C_12_an_unknown_authority(row: Row) -> None:
    """TlsError at once. D0."""
    attempt = await row.download()
    error = row.expect_error(attempt, errors.TlsError, disk="D0", requests=0)
    assert error.attempts == 1


@pytest.mark.emulator(tls=good())
async def test_C_12_an_authority_that_is_known_by_its_file(row: Row, trusting: ConnectionSettings) -> None:
    """Success, so that the other rows say something. D2."""
    row.expect(await row.download("", SIZE, connection=trusting), disk="D2", requests=1)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("elsewhere.test", marks=pytest.mark.emulator(tls=server_context("elsewhere.test"))),
        pytest.param("127.0.0.2", marks=pytest.mark.emulator(tls=server_context("127.0.0.2"))),
    ],
)
async def test_C_13_another_host(row: Row, name: str, trusting: ConnectionSettings) -> None:
    """TlsError at once. D0."""
    attempt = await row.download(connection=trusting)
    error = row.expect_error(attempt, errors.TlsError, disk="D0", requests=0)
    assert error.attempts == 1
    assert "mismatch" in error.reason
    assert name not in error.url


@pytest.mark.parametrize(
    "hint",
    [
        pytest.param("has expired", marks=pytest.mark.emulator(tls=of_time(-2 * DAY, -DAY))),
        pytest.param("is this machine's clock right", marks=pytest.mark.emulator(tls=of_time(DAY, 2 * DAY))),
    ],
)
async def test_C_14_out_of_its_time(row: Row, hint: str, trusting: ConnectionSettings) -> None:
    """TlsError at once; for one that is not valid yet it asks about the clock. D0."""
    attempt = await row.download(connection=trusting)
    error = row.expect_error(attempt, errors.TlsError, disk="D0", requests=0)
    assert error.attempts == 1
    assert hint in error.reason


@pytest.mark.parametrize("is_begun", [True, False])
async def test_C_15_the_handshake_never_ends(row: Row, is_begun: bool) -> None:
    """HeadTimeoutError, each attempt within the limit on the handshake. D0."""
    root = row.odd.stalling if is_begun else row.odd.silent.replace("http:", "https:")
    attempt = await row.download_url(f"{root}/f", connection=ConnectionSettings(connect_seconds=0.2), within=10)
    error = row.expect_error(attempt, errors.HeadTimeoutError, disk="D0", requests=5)
    assert error.attempts == 5
    assert attempt.seconds >= 5 * 0.2


@pytest.mark.parametrize(
    "version",
    [
        pytest.param("1.0", marks=pytest.mark.emulator(tls=outdated(ssl.TLSVersion.TLSv1))),
        pytest.param("1.1", marks=pytest.mark.emulator(tls=outdated(ssl.TLSVersion.TLSv1_1))),
    ],
)
async def test_C_16_an_outdated_version_only(row: Row, version: str, trusting: ConnectionSettings) -> None:
    """TlsError at once. D0."""
    attempt = await row.download(connection=trusting)
    error = row.expect_error(attempt, errors.TlsError, disk="D0", requests=0)
    assert error.attempts == 1, version


@pytest.mark.emulator(tls=good())
async def test_B_11_cut_without_the_closing_alert(row: Row, trusting: ConnectionSettings) -> None:
    """InterruptedTransferError when the attempts are used up: over TLS a cut can be told from an end. D1."""
    attempt = await row.download("close=1&trunc=1000&ragged=1", SIZE, is_sized=True, connection=trusting)
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D1", requests=5)
    assert error.attempts == len(attempt.requests) == 5


@pytest.mark.emulator(tls=good())
async def test_B_11_cut_without_the_closing_alert_and_nothing_is_known(row: Row, trusting: ConnectionSettings) -> None:
    """InterruptedTransferError when the attempts are used up, never success. D1."""
    attempt = await row.download("close=1&trunc=1000&ragged=1&nodigest=1", SIZE, connection=trusting)
    error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D1", requests=5)
    assert error.attempts == len(attempt.requests) == 5


@pytest.mark.emulator(tls=good())
async def test_B_11_whole_with_the_closing_alert(row: Row, trusting: ConnectionSettings) -> None:
    """Success where a digest is known. D2."""
    row.expect(await row.download("close=1", SIZE, connection=trusting), disk="D2", requests=1)


@pytest.mark.emulator(tls=good())
@pytest.mark.parametrize("hops", [1, 2])
async def test_D_04_a_hop_from_https_to_http(row: Row, hops: int, trusting: ConnectionSettings) -> None:
    """RedirectError at once, though plain http to this machine would be allowed. D0."""
    attempt = await row.download(f"redirect={hops}&rto=http", connection=trusting)
    error = row.expect_error(attempt, errors.RedirectError, disk="D0", requests=1)
    assert error.attempts == len(attempt.requests) == 1


@pytest.mark.emulator(tls=good())
async def test_D_01_a_hop_from_https_to_https(row: Row, trusting: ConnectionSettings) -> None:
    """Success. D2."""
    row.expect(await row.download("redirect=1&rto=other", connection=trusting), disk="D2", requests=2)
