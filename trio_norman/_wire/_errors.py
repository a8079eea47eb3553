"""httpx's errors, told in our words: the one place where they are translated."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from ..errors import (
    ConnectError,
    HeadTimeoutError,
    InterruptedTransferError,
    NameResolutionError,
    ProtocolError,
    ProxyError,
    SlowTransferError,
    TlsError,
    TransportError,
)

# What a transport says when the peer hangs up before its answer is whole; it has no type of its own in httpx.
_HANG_UPS = ("disconnected", "peer closed", "incomplete", "connection ended")


@contextmanager
def errors_translated(method: str, url: str, *, in_body: bool = False) -> Iterator[None]:
    """Turn what httpx raises inside the block into a `TransportError`.

    The original is not kept, not even as the context: it carries the request, and with it a signed URL.
    """
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
        translated = _translated(error, method, url, in_body=in_body)
        try:
            raise translated from None
        finally:
            translated.__context__ = None


def _translated(error: Exception, method: str, url: str, *, in_body: bool) -> TransportError:
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return HeadTimeoutError(method, url, "connecting took too long")
        case httpx.TimeoutException():
            return SlowTransferError(method, url) if in_body else HeadTimeoutError(method, url)
        case httpx.ProxyError():
            return ProxyError(method, url)
        case httpx.ConnectError():
            return _connect_error(error, method, url)
        case httpx.RemoteProtocolError() if any(word in str(error).lower() for word in _HANG_UPS):
            return InterruptedTransferError(method, url)
        case httpx.NetworkError():
            return InterruptedTransferError(method, url, str(error))
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return ProtocolError(method, url, "this URL cannot be requested")
        case _:
            return ProtocolError(method, url, str(error))


def _connect_error(error: Exception, method: str, url: str) -> TransportError:
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            temporary = cause.errno == socket.EAI_AGAIN
            return NameResolutionError(method, url, "temporary failure of the resolver" if temporary else "")
        if isinstance(cause, ssl.SSLCertVerificationError):
            clock = "; is this machine's clock right?" if "not yet valid" in cause.verify_message else ""
            return TlsError(method, url, f"{cause.verify_message}{clock}")
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return ConnectError(method, url, "the connection ended during the TLS handshake")
        if isinstance(cause, ssl.SSLError):
            return TlsError(method, url, cause.reason or str(cause))
    return ConnectError(method, url, str(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        link = pending.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        pending += [link.__cause__, link.__context__]
        if isinstance(link, BaseExceptionGroup):
            pending += link.exceptions
