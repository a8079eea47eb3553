"""Checkpoints that have not reached the object storage: they lie with the actor that made them.

An actor is a small server with a certificate of its own, which nobody has signed: whoever downloads from it is told
the certificate by the API, and must trust it for this server alone.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Awaitable, Callable

import attrs
import trio

from ._certificates import make_certificate, server_context
from ._clock import WallClock, iso_date

Serve = Callable[[trio.abc.Stream, str], Awaitable[None]]

_READY = "READY"
_AT_ACTOR = frozenset({"LOCAL", "SYNCING"})
_HANDSHAKE = 10.0  # seconds


@attrs.define(eq=False)
class Actor:
    """A server of archives. What is told of its certificate may be changed, so that it is not the one it shows."""

    root: str
    told_pem: str | None = None
    told_not_after: float | None = None  # Unix seconds by the emulated clock


@attrs.frozen
class _Placement:
    status: str
    until: float


@attrs.define(eq=False)
class Placements:
    """Where each checkpoint's archive is; in the object storage, unless it was put elsewhere."""

    clock: WallClock
    storage_url: str
    actor: Actor | None = None
    _placed: dict[str, _Placement] = attrs.field(factory=dict, init=False)

    def put(self, checkpoint_id: str, status: str, *, seconds: float) -> None:
        """Give a checkpoint a status for so many seconds; it is ready afterwards."""
        self._placed[checkpoint_id] = _Placement(status, self.clock.now() + seconds)

    def status_of(self, checkpoint_id: str) -> str:
        """Give a checkpoint's status."""
        placed = self._placed.get(checkpoint_id)
        return _READY if placed is None or self.clock.now() >= placed.until else placed.status

    def source(self, checkpoint_id: str, storage_url: str) -> dict[str, str | None] | None:
        """Say where an archive can be had now; nothing while it cannot be had at all.

        Args:
            checkpoint_id: Which one.
            storage_url: Its signed URL in the object storage.
        """
        status = self.status_of(checkpoint_id)
        told: dict[str, str | None] = {"url": storage_url, "source": "object_storage", "checkpoint_status": status}
        told |= {"tls_cert_pem": None, "tls_not_after": None}
        if status == _READY:
            return told
        if status not in _AT_ACTOR or self.actor is None:
            return None
        ends = self.actor.told_not_after
        return {
            **told,
            "url": storage_url.replace(self.storage_url, self.actor.root, 1),
            "source": "actor",
            "tls_cert_pem": self.actor.told_pem,
            "tls_not_after": None if ends is None else iso_date(ends),
        }


async def open_actor(nursery: trio.Nursery, host: str, serve: Serve, clock: WallClock) -> Actor:
    """Serve an actor over TLS, with a new certificate, in the nursery.

    Args:
        nursery: It lives as long as this.
        host: Address to listen on, which the certificate is for.
        serve: What has a connection; it is also given the server's name in the log, ``actor``.
        clock: By which the certificate's end is told.
    """
    certificate = await trio.to_thread.run_sync(make_certificate, host)
    context = await trio.to_thread.run_sync(server_context, certificate)
    listeners = await trio.open_tcp_listeners(0, host=host)
    nursery.start_soon(trio.serve_listeners, functools.partial(_serve_encrypted, context, serve), listeners)
    port = listeners[0].socket.getsockname()[1]
    root = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Actor(root, certificate.pem, clock.now() + certificate.lifetime)


async def _serve_encrypted(context: ssl.SSLContext, serve: Serve, plain: trio.SocketStream) -> None:
    stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
    try:
        with trio.fail_after(_HANDSHAKE):
            await stream.do_handshake()
    except (trio.BrokenResourceError, trio.TooSlowError):  # a client that does not trust us says so and leaves
        await trio.aclose_forcefully(plain)
        return
    await serve(stream, "actor")
