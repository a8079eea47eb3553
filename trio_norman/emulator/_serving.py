"""Serves an emulator on sockets."""

from __future__ import annotations

import functools
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from ._emulator import Emulator, EmulatorOptions, make_emulator
from ._nurseries import lone_error_unwrapped
from ._objects import run_in_thread
from ._odd_ports import open_odd_ports, root_of

_LOGGER = logging.getLogger("trio_norman.emulator")


class ServerOptions(EmulatorOptions, total=False):
    """What `open_emulator` and `serve_emulator` take: the emulator's own options and these.

    Keys:
        host: Address to listen on (``127.0.0.1``).
        port: Port of the API (0: any).
        storage_port: Port of the storage (0: any).
        odd_ports: Whether ports that misbehave are opened as well (false); see `OddPorts`.
    """

    host: str
    port: int
    storage_port: int
    odd_ports: bool


@asynccontextmanager
async def open_emulator(**options: Unpack[ServerOptions]) -> AsyncIterator[Emulator]:
    """Serve an emulator for as long as the block lasts.

    Nothing of it is left afterwards: no task, no socket, no thread. See `ServerOptions` for the arguments.

    Raises:
        OSError: If a port cannot be had.
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
    listeners: list[trio.SocketListener] = []
    try:
        for port in (options.get("port", 0), options.get("storage_port", 0), 0):
            listeners += (await trio.open_tcp_listeners(port, host=host))[:1]
        roots = [root_of(host, listener.socket.getsockname()[1]) for listener in listeners]
        epoch = options.get("epoch")
        emulator = make_emulator(
            options, (roots[0], roots[1], roots[2]), run_in_thread, epoch=time.time() if epoch is None else epoch
        )
        handlers: Sequence[Callable[[trio.SocketStream], Awaitable[None]]] = (
            functools.partial(_serve_api, emulator, _hypercorn_config()),
            emulator.storage.serve,
            functools.partial(emulator.storage.serve, server="other"),
        )
        async with trio.open_nursery() as nursery:
            for handler, listener in zip(handlers, listeners, strict=True):
                nursery.start_soon(_serve_listener, handler, listener)
            if options.get("odd_ports", False):
                emulator.odd_ports = await open_odd_ports(nursery, host)
            task_status.started(emulator)
    finally:
        for listener in listeners:
            await listener.aclose()


async def _serve_listener(
    handler: Callable[[trio.SocketStream], Awaitable[None]], listener: trio.SocketListener
) -> None:
    await trio.serve_listeners(handler, [listener])


async def _serve_api(emulator: Emulator, config: Config, stream: trio.SocketStream) -> None:
    wrapped: Any = wrap_app(cast(Any, emulator.app), config.wsgi_max_body_size, "asgi")
    try:
        client = stream.socket.getpeername()[:2]
    except OSError:
        return  # it left before it was served
    emulator.drops[client] = functools.partial(_reset, stream)
    with emulator.api_connections.one_more():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_when_cancelled, stream)
            await TCPServer(wrapped, config, WorkerContext(None), ConnectionState({}), cast(Any, stream))
            nursery.cancel_scope.cancel(reason="the connection is closed")
    emulator.drops.pop(client, None)


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
