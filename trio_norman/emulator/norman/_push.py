"""The port that takes pushes: encrypted bodies over plain TCP, without an answer."""

from __future__ import annotations

import socket

import attrs
import trio
from cryptography.hazmat.primitives.ciphers import CipherContext

from .._log import ConnectionCount
from .._objects import RunSync
from .._sending import Pace
from .._wire import SeveredError, Wire
from ._faults import PushFault
from ._pairings import HEADER_BYTES, Pairing, Pairings

_RECEIVE = 256 << 10  # bytes at once
_INLINE = 64 << 10  # bytes that are decrypted faster than a thread is found
_SLOW_BUFFER = 64 << 10  # bytes that the system may hold of a connection whose rate is limited


@attrs.define(eq=False)
class PushPort:
    """Serves the connections of pushes. One port serves all: the first bytes tell whose pairing it is."""

    pairings: Pairings
    run_sync: RunSync
    rate: int | None = None  # bytes per second that are read of each connection
    connections: ConnectionCount = attrs.field(factory=ConnectionCount, init=False)
    strangers: int = attrs.field(default=0, init=False)  # connections that no pairing stood for

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve one connection until its end, then close it."""
        with self.connections.one_more():
            try:
                await self._serve(Wire(stream))
            except (trio.BrokenResourceError, SeveredError):
                pass  # the pairing shows how far it came
            finally:
                await stream.aclose()

    async def _serve(self, wire: Wire) -> None:
        first = await _first_bytes(wire)
        pairing = self.pairings.recognised(first) if len(first) >= HEADER_BYTES else None
        if pairing is None:
            self.strangers += 1
            return
        pairing.connections += 1
        if pairing.connections > 1:
            return
        try:
            await _Push(self, wire, pairing).run(first)
        finally:
            pairing.ended.set()


@attrs.define(eq=False)
class _Push:
    """One recognised connection."""

    port: PushPort
    wire: Wire
    pairing: Pairing
    fault: PushFault = attrs.field(init=False)
    decryptor: CipherContext = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.fault = self.pairing.fault or PushFault()
        self.decryptor = self.pairing.decryptor()

    async def run(self, first: bytes) -> None:
        """Take the body up to the end of the stream, or to where the fault strikes."""
        self.decryptor.update(first[:HEADER_BYTES])
        self.wire.early = first[HEADER_BYTES:]
        await trio.sleep(self.fault.delay)
        pace = Pace(self._rate())
        if self.fault.chatter:
            await self.wire.send(self.fault.chatter)
        done = 0
        while True:
            cut = self.fault.next_cut(done)
            if cut is not None and cut[0] == self.pairing.received_bytes:
                await self._strike(cut[1])
                done = cut[0] + 1
                continue
            room = pace.piece_size(_RECEIVE) if cut is None else min(_RECEIVE, cut[0] - self.pairing.received_bytes)
            block = await self._receive(room)
            if not block:
                return
            await self._keep(block)
            await trio.sleep(max(0.0, pace.wait_before(len(block))))

    def _rate(self) -> int | None:
        rate = self.fault.rate or self.port.rate
        if rate is not None and isinstance(self.wire.stream, trio.SocketStream):
            self.wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
        return rate

    async def _receive(self, room: int) -> bytes:
        if self.wire.early:
            block, self.wire.early = self.wire.early[:room], self.wire.early[room:]
            return block
        return bytes(await self.wire.stream.receive_some(room))

    async def _keep(self, block: bytes) -> None:
        if len(block) >= _INLINE or self.pairing.body.is_on_disk:
            await self.port.run_sync(lambda: self._decrypt(block))
        else:
            self._decrypt(block)

    def _decrypt(self, block: bytes) -> None:
        pairing = self.pairing
        body = self.decryptor.update(block)
        # What is more than announced is counted, and not kept.
        pairing.body.append(body[: max(0, pairing.announced_bytes - pairing.received_bytes)])
        pairing.received_bytes += len(body)

    async def _strike(self, name: str) -> None:
        if name == "stall":
            await trio.sleep_forever()
        if name == "halfclose" and isinstance(self.wire.stream, trio.abc.HalfCloseableStream):
            await self.wire.stream.send_eof()
            return
        await self.wire.sever(rst=name == "reset")


async def _first_bytes(wire: Wire) -> bytes:
    received = b""
    while len(received) < HEADER_BYTES:
        block = await wire.receive()
        if not block:
            break
        received += block
    return received
