"""Pairings: the permission to push one body over one connection, and what became of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any, Literal

import attrs
import trio
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from ._bodies import StoredBody
from ._faults import PushFault
from ._refusals import not_found

HEADER_BYTES = 16
_COUNTER = bytes(4)  # the block counter begins at 0


@attrs.define(eq=False)
class Pairing:
    """One pairing, as the log of pushes shows it."""

    pairing_id: str
    account_id: str
    entity_id: str
    kind: Literal["asset", "input"]
    announced_bytes: int
    key: bytes = attrs.field(repr=False)
    nonce: bytes = attrs.field(repr=False)
    header: bytes = attrs.field(repr=False)
    paired_at: float  # emulated wall time, Unix seconds
    fault: PushFault | None
    body: StoredBody = attrs.field(repr=False)
    connections: int = attrs.field(default=0, init=False)  # more than 1 are a client's mistake
    received_bytes: int = attrs.field(default=0, init=False)  # of the body, without the header
    completions: int = attrs.field(default=0, init=False)  # calls of ``complete``
    is_accepted: bool = attrs.field(default=False, init=False)
    ended: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)  # its connection is at its end

    def decryptor(self) -> CipherContext:
        """Begin to decrypt what the client sends."""
        return Cipher(ChaCha20(self.key, _COUNTER + self.nonce), mode=None).decryptor()

    async def wait_ended(self, patience: float) -> None:
        """Wait for the end of the connection, or until nothing has come for `patience` seconds."""
        before = -1
        while before < self.received_bytes and not self.ended.is_set():
            before = self.received_bytes
            with trio.move_on_after(patience):
                await self.ended.wait()

    def shown(self, host: str, port: int) -> dict[str, Any]:
        """Give the pairing as it is sent, with the fields that its fault puts in."""
        fields = {
            "pairing_id": self.pairing_id,
            "host": host,
            "port": port,
            "encryption_key": base64.b64encode(self.key).decode(),
            "nonce": base64.b64encode(self.nonce).decode(),
            "authentication_header": base64.b64encode(self.header).decode(),
        }
        return fields | dict(self.fault.pairing if self.fault is not None else {})


@attrs.define(eq=False)
class Pairings:
    """All pairings, oldest first; iterate over them, or index them."""

    seed: int
    _held: list[Pairing] = attrs.field(factory=list, init=False)

    def __iter__(self) -> Iterator[Pairing]:
        return iter(tuple(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, position: int) -> Pairing:
        return self._held[position]

    def add(self, **facts: Any) -> Pairing:
        """Make a pairing with secrets of its own."""
        noun = f"norman pairing {self.seed} {len(self._held)}".encode()
        secrets = hashlib.blake2b(noun, digest_size=32 + 12 + HEADER_BYTES).digest()
        pairing = Pairing(key=secrets[:32], nonce=secrets[32:44], header=secrets[44:], **facts)
        self._held.append(pairing)
        return pairing

    def find(self, pairing_id: str, account_id: str) -> Pairing:
        """Give an account's pairing; raises `RefusedError`."""
        for pairing in reversed(self._held):
            if pairing.pairing_id == pairing_id and pairing.account_id == account_id:
                return pairing
        raise not_found("pairing", pairing_id)

    def recognised(self, received: bytes) -> Pairing | None:
        """Give the pairing whose encrypted header these first bytes are; also one that was used before."""
        for pairing in reversed(self._held):
            header = pairing.decryptor().update(received[:HEADER_BYTES])
            if hmac.compare_digest(header, pairing.header):
                return pairing
        return None
