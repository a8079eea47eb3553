"""TLS for the emulator's ports: whatever certificate it is given, good or bad."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
from collections.abc import Awaitable, Callable

import trio

_HANDSHAKE_FAILURE, _PROTOCOL_VERSION = 40, 70
ServerStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
Handler = Callable[[ServerStream], Awaitable[None]]


def server_context(given: ssl.SSLContext | str | os.PathLike[str]) -> ssl.SSLContext:
    """Give the context to serve with: the one that was given, or one with the key and certificates of a PEM file.

    Blocks for reading the file.

    Raises:
        OSError: If the file cannot be read; an `ssl.SSLError` if it holds no key and certificate that fit.
    """
    if isinstance(given, ssl.SSLContext):
        return given
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given)
    return context


def secured(handler: Handler, context: ssl.SSLContext | None) -> Handler:
    """Give a handler of connections that are encrypted first; the same handler without a context."""
    return handler if context is None else functools.partial(_shake_hands, handler, context)


async def _shake_hands(handler: Handler, context: ssl.SSLContext, stream: ServerStream) -> None:
    assert isinstance(stream, trio.SocketStream)  # noqa: S101 (it comes from a listener)
    encrypted = trio.SSLStream(stream, context, server_side=True)
    try:
        await encrypted.do_handshake()
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await _refuse(stream, error.__cause__)
        return
    await handler(encrypted)


async def _refuse(stream: trio.SocketStream, cause: BaseException | None) -> None:
    """Tell why there is no handshake, as servers do; Trio hangs up without a word."""
    number = _PROTOCOL_VERSION if "PROTOCOL" in (getattr(cause, "reason", None) or "") else _HANDSHAKE_FAILURE
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # or it is the client who has left
        await stream.send_all(bytes([21, 3, 1, 0, 2, 2, number]))  # a fatal alert (RFC 8446, sections 5.1 and 6)
    await stream.aclose()


def socket_below(stream: trio.abc.Stream) -> trio.SocketStream | None:
    """Give the socket's stream that carries a connection; None where there is no socket."""
    below = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    return below if isinstance(below, trio.SocketStream) else None
