"""TLS for the transport: what is trusted, and the handshake."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import trio

from . import _sockets

LONGEST_PEM = 64 * 1024  # characters that are pinned at most
_MOST_PINNED = 64  # contexts that are kept; one takes well under a millisecond to build


def pinned_context(pem: str) -> ssl.SSLContext:
    """Build a context that trusts the given certificates and nobody else; host names are verified all the same.

    A certificate may be self-signed, or an authority's, or issued by one that is not there.

    Raises:
        ValueError: If the text holds no certificate, or is longer than 64 KiB.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    problem = "it is longer than 64 KiB" if len(pem) > LONGEST_PEM or not pem.isascii() else ""
    try:
        context.load_verify_locations(cadata="" if problem else pem)
    except (ssl.SSLError, ValueError):
        problem = problem or "it holds no certificate"
    if problem:
        raise ValueError(problem)
    return context


def default_context() -> ssl.SSLContext:
    """Build the context that the transport uses unless it is given one.

    Verifies certificate and host name, TLS 1.2 or newer, no renegotiation. Trusts the system's authorities
    (OpenSSL honours SSL_CERT_FILE and SSL_CERT_DIR), or certifi's where the system has none. Unlike
    `ssl.create_default_context` it writes no session keys to SSLKEYLOGFILE. Blocks for some 20 ms.

    Raises:
        OSError: If the trusted authorities cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if not _system_has_authorities(context):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _system_has_authorities(context: ssl.SSLContext) -> bool:
    """Authorities in a folder are only loaded when they are needed, so an empty store proves nothing."""
    folder = ssl.get_default_verify_paths().capath
    return bool(context.cert_store_stats()["x509_ca"]) or (folder is not None and any(Path(folder).glob("*.[0-9]")))


class Tls:
    """The one context of a transport; the default one is built when the first https connection needs it.

    A context of your own becomes the transport's: its ALPN list is set to ``http/1.1``.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._building = trio.Lock()
        self._pinned: dict[str, ssl.SSLContext] = {}
        self._context = None if context is None else _negotiating(context)

    async def wrap(self, plain: socket.socket, host: bytes, pinned_pem: str | None = None) -> ssl.SSLSocket:
        """Turn a connected socket into a TLS socket after a handshake; `plain` is used up.

        Args:
            host: The name that the certificate must bear, and that is sent as SNI unless it is an address.
            pinned_pem: Certificates that are trusted instead of what the context trusts.

        Raises:
            ValueError: If no certificate could bear this name, or nothing that is pinned is a certificate.
            ssl.SSLError: If either side refuses; `ssl.SSLCertVerificationError` if we do.
            OSError: If the connection breaks.

        Cancellation: the socket is closed.
        """
        wrapped: socket.socket = plain
        try:
            context = await self._ready_context() if pinned_pem is None else self._pinned_context(pinned_pem)
            # RFC 6066, section 3: the name goes without the trailing dot of a fully qualified one.
            name = host.decode("ascii").rstrip(".")
            # Whatever `wrap_socket` refuses by itself, it leaves open: refuse it first.
            name.encode("idna")
            plain.getpeername()
            wrapped = encrypted = context.wrap_socket(
                plain, server_hostname=name, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            await _sockets.shake_hands(encrypted)
        except BaseException:
            _sockets.close(wrapped)
            raise
        return encrypted

    def _pinned_context(self, pem: str) -> ssl.SSLContext:
        if pem not in self._pinned:
            if len(self._pinned) >= _MOST_PINNED:
                self._pinned.clear()
            self._pinned[pem] = _negotiating(pinned_context(pem))
        return self._pinned[pem]

    async def _ready_context(self) -> ssl.SSLContext:
        if self._context is None:
            async with self._building:  # once, however many connections wait for it
                self._context = self._context or _negotiating(await trio.to_thread.run_sync(default_context))
        return self._context


def _negotiating(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(["http/1.1"])
    return context
