"""Serves an emulator on sockets."""

from __future__ import annotations

import functools
import logging
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Event, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from ._actor import open_actor
from ._emulator import Emulator, EmulatorOptions, make_emulator
from ._joining import Joining
from ._nurseries import lone_error_unwrapped
from ._objects import run_in_thread
from ._odd_ports import open_odd_ports, root_of
from ._tls import Handler, ServerStream, secured, server_context, socket_below

_LOGGER = logging.getLogger("trio_norman.emulator")


class ServerOptions(EmulatorOptions, total=False):
    """What `open_emulator` and `serve_emulator` take: the emulator's own options and these.

    Keys:
        host: Address to listen on (``127.0.0.1``).
        port: Port of the API (0: any).
        storage_port: Port of the storage (0: any).
        norman_port: Port of the Norman API (0: any).
        push_port: Port that takes the Norman service's pushes (0: any).
        actor: Whether an actor is opened as well (false): a server, over TLS and with a certificate of its own, of the
            checkpoints that have not reached the storage; see `Emulator.place`. Needs the extra's `cryptography`.
        odd_ports: Whether ports that misbehave are opened as well (false); see `OddPorts`.
        tls: A context, or a PEM file with a key and its certificates: API and storage are then served over TLS, and all
            URLs begin with https. Certificates that are expired or of another host are served like any other.
        tls_host: The host name in these URLs, where the certificate is for a name (that of `host`).
    """

    host: str
    port: int
    storage_port: int
    norman_port: int
    push_port: int
    actor: bool
    odd_ports: bool
    tls: ssl.SSLContext | str | os.PathLike[str]
    tls_host: str


@asynccontextmanager
async def open_emulator(**options: Unpack[ServerOptions]) -> AsyncIterator[Emulator]:
    """Serve an emulator for as long as the block lasts.

    Nothing of it is left afterwards: no task, no socket, no thread. See `ServerOptions` for the arguments.

    Raises:
        OSError: If a port cannot be had, or the certificate cannot be read.
    """
    with lone_error_unwrapped():
        async with trio.open_nursery() as nursery:
            emulator: Emulator = await nursery.start(functools.partial(serve_emulator, **options))
            yield emulator
            nursery.cancel_scope.cancel(reason="the emulator's block is left")


async def serve_emulator(
    *, task_status: trio.TaskStatus[Emulator] = trio.TASK_STATUS_IGNORED, **options: Unpack[ServerOptions]
) -> None:
    """Serve an emulator until cancelled; `nursery.start` gives it.

    Cancellation: open connections are dropped at once.
    """
    host = options.get("host", "127.0.0.1")
    context = await trio.to_thread.run_sync(server_context, options["tls"]) if "tls" in options else None
    named = host if context is None else options.get("tls_host", host)
    listeners: list[trio.SocketListener] = []
    try:
        ports = (options.get(name, 0) for name in ("port", "storage_port", "other_port", "norman_port", "push_port"))
        for port in cast(Iterable[int], ports):
            listeners += (await trio.open_tcp_listeners(port, host=host))[:1]
        bound = [listener.socket.getsockname()[1] for listener in listeners]
        roots = [root_of(named, port, scheme="http" if context is None else "https") for port in bound]
        epoch = options.get("epoch")
        emulator = make_emulator(
            options,
            (roots[0], roots[1], roots[2], roots[3]),
            (host, bound[4]),
            run_in_thread,
            epoch=time.time() if epoch is None else epoch,
        )
        handlers: Sequence[Handler] = (
            functools.partial(_serve_api, emulator, lambda: emulator.app),
            emulator.storage.serve,
            functools.partial(emulator.storage.serve, server="other"),
            functools.partial(_serve_api, emulator, lambda: emulator.norman.app),
        )
        *web_listeners, push_listener = listeners
        async with trio.open_nursery() as nursery:
            emulator.launch.nursery = nursery
            await nursery.start(emulator.norman.live)
            for handler, listener in zip(handlers, web_listeners, strict=True):
                nursery.start_soon(_serve_listener, secured(handler, context), listener)
            nursery.start_soon(trio.serve_listeners, emulator.norman.push_port.serve, [push_listener])
            if options.get("actor", False):
                emulator.placements.actor = await open_actor(nursery, host, emulator.storage.serve, emulator.clock)
            if options.get("odd_ports", False):
                emulator.odd_ports = await open_odd_ports(nursery, host)
            task_status.started(emulator)
    finally:
        for listener in listeners:
            await listener.aclose()


async def _serve_listener(handler: Handler, listener: trio.SocketListener) -> None:
    await trio.serve_listeners(handler, [listener])


async def _serve_api(emulator: Emulator, app: Callable[[], ASGIApp], stream: ServerStream) -> None:
    config = _hypercorn_config()
    wrapped: Any = wrap_app(cast(Any, app()), config.wsgi_max_body_size, "asgi")
    below = socket_below(stream)
    assert below is not None  # noqa: S101 (only sockets are listened to)
    try:
        client = below.socket.getpeername()[:2]
    except OSError:
        return  # it left before it was served
    emulator.drops[client] = functools.partial(_reset, below)
    with emulator.api_connections.one_more():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_when_cancelled, below)
            await _ApiServer(wrapped, config, WorkerContext(None), ConnectionState({}), cast(Any, Joining(stream)))
            nursery.cancel_scope.cancel(reason="the connection is closed")
    emulator.drops.pop(client, None)


class _ApiServer(TCPServer):
    """Lets go of a connection whose client has left: there hypercorn waits for the next request, until it is idle."""

    _has_left = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self._has_left = True
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if not (self._has_left and isinstance(event, Updated)):
            await super().protocol_send(event)


def _reset(stream: trio.SocketStream) -> None:
    # A linger time of zero makes close() send RST.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def _close_when_cancelled(stream: trio.SocketStream) -> None:
    # hypercorn shields each send; one to a client that does not read would hold up cancellation for ever.
    try:
        await trio.sleep_forever()
    finally:
        stream.socket.close()


def _hypercorn_config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = _LOGGER
    config.include_date_header = False  # the emulated clock writes its own
    config.include_server_header = False
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 1_000_000
    config.h11_max_incomplete_size = 256 * 1024
    return config
