"""Ports that no good server has: silent, resetting, talking nonsense, or dripping."""

from __future__ import annotations

import functools
import itertools
import socket
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from ._wire import ClientLeftError, SeveredError, Wire


@attrs.frozen
class OddPorts:
    """The roots of URLs at which something is wrong."""

    silent: str  # accepts and never answers
    resetting: str  # resets every connection as soon as it is accepted
    garbage: str  # answers what is not HTTP
    dripping: str  # sends the head of its answer one byte a second, without end
    stalling: str  # begins a TLS handshake and never ends it; its scheme is https
    closed: str  # nobody listens there


async def open_odd_ports(nursery: trio.Nursery, host: str) -> OddPorts:
    """Open them in the nursery; they live as long as it does."""
    roots = {}
    for name, behave in ODD_BEHAVIOURS.items():
        listeners = await trio.open_tcp_listeners(0, host=host)
        handler = functools.partial(serve_oddly, behave)
        nursery.start_soon(functools.partial(trio.serve_listeners, handler, listeners))
        scheme = "https" if name == "stalling" else "http"
        roots[name] = root_of(host, listeners[0].socket.getsockname()[1], scheme=scheme)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as unused:
        unused.bind((host, 0))
        port = unused.getsockname()[1]
    return OddPorts(**roots, closed=root_of(host, port))


def root_of(host: str, port: int, *, scheme: str = "http") -> str:
    """Write the root of a URL."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def serve_oddly(behave: Callable[[Wire], Awaitable[None]], stream: trio.abc.Stream) -> None:
    """Let one of the `ODD_BEHAVIOURS` have a connection."""
    try:
        await behave(Wire(stream))
    except (ClientLeftError, SeveredError, trio.BrokenResourceError):
        pass
    finally:
        await stream.aclose()


async def _be_silent(wire: Wire) -> None:
    await wire.pause(float("inf"))


async def _reset(wire: Wire) -> None:
    await wire.sever(rst=True)


async def _talk_nonsense(wire: Wire) -> None:
    await wire.receive()
    await wire.send(b"\x00\xff220 garbage ESMTP \x1b[2J\r\n" * 8)


async def _drip(wire: Wire) -> None:
    await wire.receive()
    for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nX-Slow: ", itertools.repeat(ord("a"))):
        await wire.send(bytes([byte]))
        await wire.pause(1)


async def _stall(wire: Wire) -> None:
    await wire.receive()
    await wire.send(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03")  # the start of a ServerHello of 118 bytes
    await wire.pause(float("inf"))


ODD_BEHAVIOURS: Mapping[str, Callable[[Wire], Awaitable[None]]] = {
    "silent": _be_silent,
    "resetting": _reset,
    "garbage": _talk_nonsense,
    "dripping": _drip,
    "stalling": _stall,
}
