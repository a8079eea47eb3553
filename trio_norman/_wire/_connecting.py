"""What every client of ours connects with."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

from .._version import __version__
from ..errors import ConfigurationError, LocalFileError
from ._tls import default_context
from ._transport import TrioTransport

USER_AGENT = f"trio-norman/{__version__}"


@attrs.frozen(kw_only=True)
class ConnectionSettings:
    """How peers are reached.

    Args:
        ca_file: PEM file of a private certificate authority, trusted beside the system's; verification is always on.
        connect_seconds: Limit on TCP connect and TLS handshake, each.
        head_seconds: Limit on a response head as a whole, from the request's last byte to the head's last byte.
        allow_http: Whether plain http to other machines is allowed; loopback always is.
        transport: An httpx transport of your own (a proxy, HTTP/2, a unix socket). It stays yours: it is not closed.
    """

    ca_file: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    connect_seconds: float = 10.0
    head_seconds: float = 30.0
    allow_http: bool = False
    transport: httpx.AsyncBaseTransport | None = None

    def timeouts(self) -> dict[str, float | None]:
        """Return httpx's four limits; reading is limited by us, as a whole, and waiting for a slot is not."""
        return {"connect": self.connect_seconds, "write": self.head_seconds, "read": None, "pool": None}


def _tls_context(ca_file: Path) -> ssl.SSLContext:
    context = default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ConfigurationError("the CA file holds no certificate", "give a PEM file") from None
    except OSError as error:
        raise LocalFileError(ca_file.name, error.strerror or "cannot be read") from error
    return context


async def new_transport(settings: ConnectionSettings, *, max_connections: int) -> httpx.AsyncBaseTransport:
    """Return a pooling transport of at most `max_connections` sockets. The caller closes it.

    Raises:
        LocalFileError: If the CA file cannot be read.
        ConfigurationError: If it holds no certificate.
    """
    context = None
    if settings.ca_file is not None:
        context = await trio.to_thread.run_sync(_tls_context, settings.ca_file)
    return TrioTransport(
        max_connections=max_connections,
        connect_limit=settings.connect_seconds,
        tls_limit=settings.connect_seconds,
        head_limit=settings.head_seconds,
        ssl_context=context,
    )


def lower_headers(raw: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    """Return header names in lower case with their values, as text."""
    return ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw)


def request_extensions(settings: ConnectionSettings) -> dict[str, Any]:
    """Return the extensions that carry a request's limits to the transport."""
    return {"timeout": settings.timeouts()}
