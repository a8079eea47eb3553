"""The package's own `httpx` transport: HTTP/1.1 over Trio's sockets, sound under cancellation and cheap."""

from __future__ import annotations

import socket
import ssl
from typing import Any, NamedTuple

import httpx
import trio

from .._sansio.pooling import PoolLedger
from . import _sockets
from ._bodies import Body, LengthBody, body_of
from ._exchange import Answer, Exchange, Silences
from ._heads import Head, HeadLimits, Question, asks_to_close
from ._pool import Lease, Origin, Pool
from ._tls import Tls

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Extension of a request: the certificates, in PEM form, that its peer is trusted by, and by no others.
PINNED_PEM = "trio_norman.pinned_pem"


class Reply(NamedTuple):
    """A response: whoever has it reads the body to its end, or closes it."""

    head: Head
    body: Body
    peer: str  # the address that it came from


class TrioTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 for `httpx.AsyncClient` on Trio, with a pool that survives cancellation at any point.

    It needs no nursery and starts no task: idle connections that have expired are closed when the next request
    comes by, or by `aclose`. A connection that the peer has closed meanwhile is noticed before it is used; one
    that breaks before it answers, once it has served before, is replaced and an idempotent request sent again,
    once and unseen (RFC 9110, section 9.2.2).

    The timeouts of an `httpx` request hold as well, each for one step, whichever is shorter. There is no proxy,
    no HTTP/2 and no upgrade. It may be created outside Trio. A request whose extension ``trio_norman.pinned_pem`` holds
    certificates trusts these and nobody else, on connections that it shares with its like alone.

    Args:
        max_connections: Connections open at one time, idle ones included; further requests wait their turn.
        max_connections_per_origin: The same for each scheme, host and port; None for no limit of its own.
        keepalive_expiry: How long an unused connection is kept, in seconds; 0 keeps none. Servers give up sooner
            or later by themselves (nginx after 75 s, Apache and Node.js after 5 s), which is noticed.
        connect_limit: For the name's resolution and the TCP connection together, in seconds.
        tls_limit: For the TLS handshake, in seconds.
        head_limit: From the request sent to the response head received, in seconds. It holds for the head as a
            whole: a peer that drips it does not extend it.
        max_head_bytes: Largest response head. A chunk header or trailer that is not complete within it is refused too.
        max_header_count: Most header fields of one response head.
        max_interim_responses: Most 1xx responses before the final one.
        ssl_context: Whom to trust, for instance a private authority, and which client certificate to show; its
            ALPN list is set to ``http/1.1``. Default: the system's authorities, TLS 1.2 or newer, host names
            verified; built when the first https connection needs it.

    Raises:
        ValueError: If a limit leaves no room for a single request.
    """

    def __init__(
        self,
        *,
        max_connections: int = 100,
        max_connections_per_origin: int | None = None,
        keepalive_expiry: float = 30.0,
        connect_limit: float = 10.0,
        tls_limit: float = 10.0,
        head_limit: float = 30.0,
        max_head_bytes: int = 65536,
        max_header_count: int = 256,
        max_interim_responses: int = 16,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        ledger: PoolLedger[socket.socket] = PoolLedger(
            at_most=max_connections, at_most_per_origin=max_connections_per_origin, idle_seconds=keepalive_expiry
        )
        if not min(connect_limit, tls_limit, head_limit) > 0 or min(max_head_bytes, max_interim_responses + 1) < 1:
            raise ValueError("the limits leave no room for a request")
        self._pool = Pool(ledger)
        self._head_limits = HeadLimits(max_head_bytes, max_header_count, max_interim_responses, head_limit)
        self._connect_limit = connect_limit
        self._tls_limit = tls_limit
        self._tls = Tls(ssl_context)

    def __repr__(self) -> str:
        ledger = self._pool.ledger
        return f"<TrioTransport: {ledger.open} open, {ledger.idle} of them idle, {ledger.waiting} requests waiting>"

    @trio.lowlevel.enable_ki_protection
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` and return the response once its head is here; the body follows by its stream.

        The caller closes the response, or reads it to its end: until then it holds a connection. The connection
        of a complete response is reused, any other is closed at once, without waiting.
        A peer may answer before it has read the whole request. It is then sent no more of it: this is noticed
        between two pieces of the request's body, and whenever the peer stops reading.

        Raises:
            httpx.UnsupportedProtocol: If the URL is neither http nor https, or names no host.
            httpx.LocalProtocolError: If the request is not valid HTTP.
            httpx.PoolTimeout: If no connection came free in time.
            httpx.ConnectError: If there is no connection. Its cause is a `socket.gaierror` if the name does not
                resolve, an `ssl.SSLError` if TLS failed, and another `OSError` otherwise.
            httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout: If a step took too long.
            httpx.ReadError, httpx.WriteError: If the connection broke.
            httpx.RemoteProtocolError: If the peer hung up, or sent something else than HTTP as we can trust it.
            trio.ClosedResourceError: If the transport has been closed.

            No text quotes the URL's query, a header or the peer.

        Cancellation: the connection is closed and its place in the pool is free. Whether the peer has seen the
        request is unknown.
        """
        origin = origin_of(request.url)._replace(pinned_pem=request.extensions.get(PINNED_PEM))
        fields = request.headers.raw
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise TypeError("the body of the request can only be read synchronously")
        question = Question(request.method, request.url.raw_path, fields, request.stream)
        asked_to_close = asks_to_close([(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields])
        refusal = request.extensions.get("trio_norman.refusal")
        silences = Silences.of(request)
        reply = await self.ask(origin, question, silences, asked_to_close=asked_to_close, refusal=refusal)
        return _response(reply)

    @trio.lowlevel.enable_ki_protection
    async def ask(
        self,
        origin: Origin,
        question: Question,
        silences: Silences,
        *,
        asked_to_close: bool = False,
        refusal: _sockets.Refusal | None = None,
    ) -> Reply:
        """Do what `handle_async_request` does, without its types: half the work of a small request is in them.

        `refusal` says why an address must not be contacted, or nothing; see `_sockets.connect`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        lease = await self._pool.lease(origin, seconds=silences.pool)
        try:
            if refusal is not None:
                _judge(lease, origin, refusal)
            answer = await self._answer(lease, origin, question, silences, refusal)
            peer = "" if lease.socket is None else _sockets.peer_address(lease.socket)  # the body may end the lease
            body = body_of(answer, lease, asked_to_close=asked_to_close, silence=silences.read)
            return Reply(answer.head, body, peer)
        except BaseException:
            lease.abandon()
            raise

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Close idle connections at once, and those in use as soon as their responses are done.

        Requests that wait for a connection, and any later ones, raise `trio.ClosedResourceError`.
        Never blocks, and is no checkpoint.
        """
        self._pool.close()

    async def _answer(
        self, lease: Lease, origin: Origin, question: Question, silences: Silences, refusal: _sockets.Refusal | None
    ) -> Answer:
        if lease.socket is not None:
            exchange = Exchange(lease.socket, question, self._head_limits, silences)
            try:
                return await exchange.run()
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                # Most likely the peer gave up the idle connection just when we took it.
                if exchange.is_answered or not exchange.is_repeatable:
                    raise
            lease.drop_connection()
        lease.socket = await self._open(origin, silences.connect, refusal)
        return await Exchange(lease.socket, question, self._head_limits, silences).run()

    async def _open(self, origin: Origin, silence: float, refusal: _sockets.Refusal | None) -> socket.socket:
        sock = await self._connect(origin, min(self._connect_limit, silence), refusal)
        if origin.scheme == "http":
            return sock
        return await self._encrypt(sock, origin, min(self._tls_limit, silence))

    async def _connect(self, origin: Origin, seconds: float, refusal: _sockets.Refusal | None) -> socket.socket:
        at = _shown(origin)
        try:
            with trio.fail_after(seconds):
                return await _sockets.connect(origin.host, origin.port, refusal)
        except trio.TooSlowError:
            raise httpx.ConnectTimeout(f"no connection to {at} within {seconds:g} s") from None
        except _sockets.AddressRefusedError as error:
            raise httpx.ConnectError(f"{at} is not contacted: {error}") from error
        except socket.gaierror as error:
            raise httpx.ConnectError(f"the name of {at} does not resolve: {_sockets.reason(error)}") from error
        except OSError as error:
            raise httpx.ConnectError(f"no connection to {at}: {_sockets.reason(error)}") from error

    async def _encrypt(self, sock: socket.socket, origin: Origin, seconds: float) -> socket.socket:
        at = _shown(origin)
        try:
            with trio.fail_after(seconds):
                return await self._tls.wrap(sock, origin.host, origin.pinned_pem)
        except trio.TooSlowError:
            raise httpx.ConnectTimeout(f"no TLS handshake with {at} within {seconds:g} s") from None
        except OSError as error:
            raise httpx.ConnectError(f"no TLS connection to {at}: {_sockets.reason(error)}") from error
        except ValueError as error:
            raise httpx.ConnectError(f"no TLS connection to {at}: no certificate can bear this name") from error


def origin_of(url: httpx.URL) -> Origin:
    """Return whom a URL leads to.

    Raises:
        httpx.UnsupportedProtocol: If it is neither http nor https, or names no host.
    """
    scheme, host = url.scheme, url.raw_host
    if scheme not in _DEFAULT_PORTS or not host:
        raise httpx.UnsupportedProtocol("a URL needs the scheme http or https, and a host")
    return Origin(scheme, host, url.port or _DEFAULT_PORTS[scheme])


def _judge(lease: Lease, origin: Origin, refusal: _sockets.Refusal) -> None:
    """Refuse a kept connection whose other end this request must not contact: it was opened for one that may."""
    peer = "" if lease.socket is None else _sockets.peer_address(lease.socket)
    if not peer:
        lease.drop_connection()
    elif why := refusal(peer):
        raise httpx.ConnectError(f"{_shown(origin)} is not contacted: {why}") from _sockets.AddressRefusedError(why)


def _shown(origin: Origin) -> str:
    host = origin.host.decode("ascii")
    return f"[{host}]:{origin.port}" if ":" in host else f"{host}:{origin.port}"


def _response(reply: Reply) -> httpx.Response:
    head, body, peer = reply
    extensions: dict[str, Any] = {
        "http_version": f"HTTP/{head.version}".encode("ascii"),
        "reason_phrase": head.reason.encode("latin-1"),
        "trio_norman.peer": peer,
    }
    if isinstance(body, LengthBody) and body.remaining:
        extensions["trio_norman.body"] = body
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.fields]
    return httpx.Response(head.status, headers=fields, stream=body, extensions=extensions)
