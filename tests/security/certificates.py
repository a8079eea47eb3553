"""Certificates for TLS tests, good and bad ones, from one private authority."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme

CA = trustme.CA()
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def server_context(
    *names: str, not_before: datetime.datetime | None = None, not_after: datetime.datetime | None = None
) -> ssl.SSLContext:
    """Give a server's context with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(*names, not_before=not_before, not_after=not_after).configure_cert(context)
    return context


def ca_file_in(directory: Path) -> Path:
    """Write the authority's own certificate, as `ConnectionSettings.ca_file` wants it."""
    path = directory / "ca.pem"
    CA.cert_pem.write_to_path(path)
    return path
