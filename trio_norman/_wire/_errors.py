"""httpx's errors, told in our words: the one place where they are translated."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

import httpx

from ..errors import (
    AddressError,
    ConnectError,
    HeadTimeoutError,
    InterruptedTransferError,
    LimitExceededError,
    NameResolutionError,
    ProtocolError,
    ProxyError,
    SlowTransferError,
    TlsError,
    TransportError,
    TrioNormanError,
)
from ._bodies import BrokenBodyError
from ._heads import OverLimitError
from ._sockets import AddressRefusedError

HTTPX_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL)
# What a transport says when the peer hangs up before its answer is whole; it has no type of its own in httpx.
_HANG_UPS = ("disconnected", "peer closed", "incomplete", "connection ended")


@contextmanager
def errors_translated(method: str, url: str, *, in_body: bool = False, through_proxy: bool = False) -> Iterator[None]:
    """Turn what httpx raises inside the block into an error of ours.

    `through_proxy`: Whoever cannot be connected to is not the host of the URL then.

    The original is not kept, not even as the context: it carries the request, and with it a signed URL.
    """
    try:
        yield
    except HTTPX_ERRORS as error:
        failure = translated(error, method, url, in_body=in_body)
        if through_proxy and isinstance(failure, ConnectError | NameResolutionError):
            failure = ProxyError(method, url, failure.reason or failure.headline)
        try:
            raise failure from None
        finally:
            failure.__context__ = None


class InnerFramesForgotten(AbstractContextManager[None]):
    """Let go of the frames below, and of what was caught there, when an error of ours leaves the block.

    Their variables hold URLs with their signatures, and answers as they came; some loggers print them.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cut the error off; it goes on by itself."""
        if isinstance(error, TrioNormanError):
            error.__traceback__ = error.__context__ = error.__cause__ = None


def translated(
    error: Exception, method: str, url: str, *, in_body: bool = False
) -> TransportError | LimitExceededError:
    """Return what an error of httpx's is in our words. Raise it where the original is no more its context."""
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return HeadTimeoutError(method, url, "connecting took too long")
        case httpx.WriteTimeout():
            return SlowTransferError(method, url, "the body was not taken")
        case httpx.TimeoutException():
            return SlowTransferError(method, url) if in_body else HeadTimeoutError(method, url)
        case httpx.ProxyError():
            return ProxyError(method, url, str(error))
        case httpx.ConnectError():
            return _connect_error(error, method, url)
        case OverLimitError(limit=limit, unit=unit):
            return LimitExceededError(method, url, "the response head", limit, unit)
        case httpx.RemoteProtocolError() if any(word in str(error).lower() for word in _HANG_UPS):
            return InterruptedTransferError(method, url)
        case httpx.NetworkError():
            return InterruptedTransferError(method, url, str(error))
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return ProtocolError(method, url, "this URL cannot be requested")
        case _:
            return ProtocolError(method, url, str(error), again="yes" if isinstance(error, BrokenBodyError) else "once")


def _connect_error(error: Exception, method: str, url: str) -> TransportError:
    for cause in _causes(error):
        if isinstance(cause, AddressRefusedError):
            return AddressError(method, url, str(cause))
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
