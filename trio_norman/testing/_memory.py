"""The emulator without sockets."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Unpack

import attrs
import httpx
import trio
from starlette.types import ASGIApp

from ..emulator import Actor, Emulator, EmulatorOptions
from ..emulator._emulator import make_emulator
from ..emulator._nurseries import lone_error_unwrapped
from ..emulator._objects import run_inline
from ..emulator._odd_ports import ODD_BEHAVIOURS, OddPorts, serve_oddly
from ._asgi_client import ask_application
from ._stream_client import ask_stream
from ._streams import MemoryStream, memory_connection

_EPOCH = 1_767_225_600.0  # 2026-01-01: the wall time at which an emulator in memory starts
_ROOTS = ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:10")
_PUSH_ADDRESS = ("127.0.0.1", 11)
_ODD_PORTS = OddPorts(*(f"http://127.0.0.1:{port}" for port in range(4, 10)))
_ACTOR = "http://127.0.0.1:12"


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
        app = self._application_at(root)
        if app is not None:
            return await ask_application(app, request, self._nursery)
        try:
            stream = self._connection_to(root)
        except ConnectionRefusedError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        return await ask_stream(stream, request)

    async def connect_tcp(self, host: str, port: int) -> MemoryStream:
        """Connect to the port that takes pushes, to the storage, or to an odd port.

        Raises:
            ConnectionRefusedError: For any other address.
        """
        await trio.lowlevel.checkpoint()
        return self._connection_to(f"http://{host}:{port}")

    def _connection_to(self, root: str) -> MemoryStream:
        serve = None if self.nobody_listens else self._server_at(root)
        if serve is None:
            raise ConnectionRefusedError(f"nobody listens at {root}")
        here, there = memory_connection()
        self._nursery.start_soon(serve, there)
        return here

    def _application_at(self, root: str) -> ASGIApp | None:
        if root == self.emulator.base_url:
            return self.emulator.app
        return self.emulator.norman.app if self.emulator.norman_base_url.startswith(f"{root}/") else None

    def _server_at(self, root: str) -> Callable[[MemoryStream], Awaitable[None]] | None:
        storage = self.emulator.storage.serve
        if root == self.emulator.storage_url:
            return storage
        if root == self.emulator.other_storage_url:
            return functools.partial(storage, server="other")
        if root == "http://{}:{}".format(*_PUSH_ADDRESS):
            return self.emulator.norman.push_port.serve
        if self.emulator.actor is not None and root == self.emulator.actor.root:
            return functools.partial(storage, server="actor")
        for name, behave in ODD_BEHAVIOURS.items():
            if self.emulator.odd_ports is not None and root == getattr(self.emulator.odd_ports, name):
                return functools.partial(serve_oddly, behave)
        return None


@asynccontextmanager
async def open_memory_transport(emulator: Emulator) -> AsyncIterator[MemoryTransport]:
    """Open a transport to an emulator; leaving the block ends every request that is still under way."""
    with lone_error_unwrapped():
        async with trio.open_nursery() as nursery:
            emulator.launch.nursery = nursery
            yield MemoryTransport(emulator, nursery)
            nursery.cancel_scope.cancel(reason="the transport's block is left")


@asynccontextmanager
async def open_memory_emulator(**options: Unpack[EmulatorOptions]) -> AsyncIterator[tuple[Emulator, MemoryTransport]]:
    """Open an emulator and the transport that leads to it, without any socket or thread.

    Its wall time starts at 2026-01-01 unless `epoch` says otherwise, and follows Trio's clock, so that tests run under
    `trio.testing.MockClock` with all their waits. See `EmulatorOptions` for the arguments.
    """
    epoch = options.get("epoch")
    emulator = make_emulator(options, _ROOTS, _PUSH_ADDRESS, run_inline, epoch=_EPOCH if epoch is None else epoch)
    emulator.odd_ports = _ODD_PORTS
    emulator.placements.actor = Actor(_ACTOR)
    async with open_memory_transport(emulator) as transport:
        emulator.norman.connect = transport.connect_tcp
        await transport._nursery.start(emulator.norman.live)
        yield emulator, transport
