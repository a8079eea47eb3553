"""What every client of ours connects with."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

from .._sansio.addresses import AllowedHosts
from .._sansio.limits import DEFAULT_LIMITS, Limits
from .._version import __version__
from ..errors import ConfigurationError, LocalFileError
from ._sockets import Refusal
from ._tls import default_context
from ._transport import TrioTransport

USER_AGENT = f"trio-norman/{__version__}"


def _allowed(hosts: AllowedHosts | Iterable[str]) -> AllowedHosts:
    return hosts if isinstance(hosts, AllowedHosts) else AllowedHosts.of(hosts)


@attrs.frozen(kw_only=True)
class ConnectionSettings:
    """How peers are reached.

    Args:
        ca_file: PEM file of a private certificate authority, trusted beside the system's; verification is always on.
        connect_seconds: Limit on TCP connect and TLS handshake, each.
        head_seconds: Limit on a response head as a whole, from the request's last byte to the head's last byte.
        allow_http: Whether plain http to other machines is allowed; loopback always is.
        allow_hosts: Hosts to which URLs that a service hands out (signed URLs, redirects) may lead, besides its own:
            ``storage.example.org``, or ``*.example.org``. Without any: wherever the public internet reaches. This
            machine and private networks are refused unless the service itself is there, or the host is named in full.
        limits: How much of a peer's answers is taken in.
        transport: An httpx transport of your own (a proxy, HTTP/2, a unix socket). It stays yours: it is not closed.
            It looks names up by itself, so only addresses that stand in a URL are judged.

    Raises:
        ConfigurationError: If an allowed host is no host.
    """

    ca_file: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    connect_seconds: float = 10.0
    head_seconds: float = 30.0
    allow_http: bool = False
    allow_hosts: AllowedHosts = attrs.field(factory=AllowedHosts, converter=_allowed)
    limits: Limits = DEFAULT_LIMITS
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
        max_head_bytes=settings.limits.head_bytes,
        max_header_count=settings.limits.head_fields,
        max_interim_responses=settings.limits.interim_answers,
        ssl_context=context,
    )


def has_proxy(transport: httpx.AsyncBaseTransport | None) -> bool:
    """Whether a transport of the user's is one of httpx's own that goes through a proxy.

    httpx does not tell, and its errors do not say whom they could not connect to; where it changes, this is False.
    """
    return "Proxy" in type(getattr(transport, "_pool", None)).__name__


def lower_headers(raw: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    """Return header names in lower case with their values, as text."""
    return ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw)


def request_extensions(settings: ConnectionSettings, refusal: Refusal | None) -> dict[str, Any]:
    """Return the extensions that carry a request's limits, and what judges addresses, to the transport."""
    return {"timeout": settings.timeouts(), "trio_norman.refusal": refusal}
