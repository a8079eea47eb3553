"""`CallbackReceiver`: have answers delivered instead of asking for them."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from .._sansio.addresses import check_address
from .._sansio.callbacks import CallbackDoor, basic_auth
from .._sansio.jsontext import decode_json
from .._sansio.redaction import Secret
from .._sansio.tasks import TaskAnswer, answer_of_callback, read_answer
from .._sansio.throttling import Throttle
from .._wire._receiving import MessageServer
from ..errors import ConfigurationError

Announce = Callable[[str, TaskAnswer, Mapping[str, Any]], None]

_USERNAME = "trio-norman"


@attrs.frozen(kw_only=True)
class CallbackReceiver:
    """How answers of asynchronous tasks are delivered to this client.

    A small HTTP server runs in the client's nursery. Its path cannot be guessed, and only who has the password that
    goes along with each request is let in; both are made anew for each client. An answer that does not come is asked
    for, as without a receiver: the service delivers no failures of its workers, and gives up after three attempts.
    Only endpoints with the hook ``callback`` deliver at all; the others are asked.

    Args:
        public_url: Address by which the service reaches this server, through a proxy that ends TLS for example. The
            path is put behind it, so it has neither query nor fragment. Without it: ``http://host:port``.
        host: Address to listen on; one that means all of this machine's leads nobody here, and wants a `public_url`.
        port: Port to listen on; 0 for any that is free.
        largest: Most bytes of one answer.
        per_second: Most answers a second in the long run; what is above is told to come again.
        most_connections: Most connections at a time.
        seconds: Longest time for one delivery.

    Raises:
        ConfigurationError: If `public_url` is no such address, or the service could not come by the one that it has.
    """

    public_url: str | None = None
    host: str = "127.0.0.1"
    port: int = attrs.field(default=0, validator=[attrs.validators.ge(0), attrs.validators.le(65535)])
    largest: int = attrs.field(default=16 * 2**20, validator=attrs.validators.ge(1))
    per_second: float = attrs.field(default=2000.0, validator=attrs.validators.gt(0))
    most_connections: int = attrs.field(default=256, validator=attrs.validators.ge(1))
    seconds: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))

    def __attrs_post_init__(self) -> None:
        if self.public_url is not None:  # plain http is the service's way to us, and its risk is the caller's to know
            advice = "give it as https://host[:port][/path]"
            check_address(self.public_url, allow_http=True, advice=advice)
            if "?" in self.public_url or "#" in self.public_url:
                raise ConfigurationError("public_url has a query or a fragment", advice)
        elif _is_every_address(self.host):
            raise ConfigurationError(f"nobody is reached at {self.host!r}", "pass public_url=... too")


@attrs.frozen(eq=False)
class OpenReceiver:
    """A receiver that listens; `payload` is what a request carries so that its answer is delivered here."""

    payload: Mapping[str, Any] = attrs.field(repr=False)
    server: MessageServer = attrs.field(repr=False)
    secrets: tuple[Secret, ...] = ()


async def open_receiver(
    settings: CallbackReceiver,
    announce: Announce,
    *,
    task_status: trio.TaskStatus[OpenReceiver] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Receive until cancelled; `nursery.start` gives what is open.

    Raises:
        OSError: If the port cannot be had.
    """
    listener, *others = await trio.open_tcp_listeners(settings.port, host=settings.host)
    for other in others:  # of a host with two addresses: one is told to the service
        other.socket.close()
    try:
        path, password = f"/callbacks/{secrets.token_urlsafe(24)}", secrets.token_urlsafe(24)
        base = settings.public_url or _root_of(settings.host, listener.socket.getsockname()[1])
        door_path = _path_of(base, path)
        door = CallbackDoor(Secret(path), basic_auth(_USERNAME, password), settings.largest)
        throttle = Throttle(settings.per_second, max(1, round(settings.per_second)))

        def take(body: bytes) -> None:
            task_id, document = answer_of_callback(decode_json(body))
            announce(task_id, read_answer(document), document)

        server = MessageServer(door, take, throttle, settings.most_connections, settings.seconds)
        auth = {"kind": "basic", "username": _USERNAME, "password": password}
        task_status.started(
            OpenReceiver({"callback_url": door_path, "callback_auth": auth}, server, (Secret(path), Secret(password)))
        )
        await trio.serve_listeners(server.serve, [listener])
    finally:
        listener.socket.close()


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def _root_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _path_of(base: str, path: str) -> str:
    return base.rstrip("/") + path
