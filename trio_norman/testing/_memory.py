"""The emulator without sockets."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Unpack

import attrs
import httpx
import trio

from ..emulator import Emulator, EmulatorOptions
from ..emulator._emulator import make_emulator
from ..emulator._nurseries import lone_error_unwrapped
from ..emulator._objects import run_inline
from ..emulator._odd_ports import ODD_BEHAVIOURS, OddPorts, serve_oddly
from ._asgi_client import ask_application
from ._stream_client import ask_stream
from ._streams import MemoryStream, memory_connection

_EPOCH = 1_767_225_600.0  # 2026-01-01: the wall time at which an emulator in memory starts
_ROOTS = ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
_ODD_PORTS = OddPorts(*(f"http://127.0.0.1:{port}" for port in range(4, 9)))


@attrs.define(eq=False)
class MemoryTransport(httpx.AsyncBaseTransport):
    """An httpx transport that reaches one emulator, and nothing else in the world.

    Every request has a connection of its own. `opened` counts them; `nobody_listens` makes further ones fail.
    """

    emulator: Emulator
    _nursery: trio.Nursery
    opened: int = attrs.field(default=0, init=False)
    nobody_listens: bool = attrs.field(default=False, init=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            httpx.ConnectError: For any address that is not the emulator's.
        """
        await trio.lowlevel.checkpoint()
        root = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
        if self.nobody_listens:
            raise httpx.ConnectError("connection refused", request=request)
        self.opened += 1
        if root == self.emulator.base_url:
            return await ask_application(self.emulator.app, request, self._nursery)
        serve = self._server_at(root)
        if serve is None:
            raise httpx.ConnectError(f"nobody listens at {root}", request=request)
        here, there = memory_connection()
        self._nursery.start_soon(serve, there)
        return await ask_stream(here, request)

    def _server_at(self, root: str) -> Callable[[MemoryStream], Awaitable[None]] | None:
        storage = self.emulator.storage.serve
        if root == self.emulator.storage_url:
            return storage
        if root == self.emulator.other_storage_url:
            return functools.partial(storage, server="other")
        for name, behave in ODD_BEHAVIOURS.items():
            if self.emulator.odd_ports is not None and root == getattr(self.emulator.odd_ports, name):
                return functools.partial(serve_oddly, behave)
        return None


@asynccontextmanager
async def open_memory_transport(emulator: Emulator) -> AsyncIterator[MemoryTransport]:
    """Open a transport to an emulator; leaving the block ends every request that is still under way."""
    with lone_error_unwrapped():
        async with trio.open_nursery() as nursery:
            yield MemoryTransport(emulator, nursery)
            nursery.cancel_scope.cancel(reason="the transport's block is left")


@asynccontextmanager
async def open_memory_emulator(**options: Unpack[EmulatorOptions]) -> AsyncIterator[tuple[Emulator, MemoryTransport]]:
    """Open an emulator and the transport that leads to it, without any socket or thread.

    Its wall time starts at 2026-01-01 unless `epoch` says otherwise, and follows Trio's clock, so that tests run under
    `trio.testing.MockClock` with all their waits. See `EmulatorOptions` for the arguments.
    """
    epoch = options.get("epoch")
    emulator = make_emulator(options, _ROOTS, run_inline, epoch=_EPOCH if epoch is None else epoch)
    emulator.odd_ports = _ODD_PORTS
    async with open_memory_transport(emulator) as transport:
        yield emulator, transport
