"""Whom this process connects to, and how many connections it has open at a time: whatever the peer is, and says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
import trio


@attrs.define(eq=False)
class Contacts:
    """The connections that were begun since the last `forget`, but for those to some ports."""

    ports: list[int] = attrs.field(factory=list)  # of those that were begun, also in vain
    peak: int = 0
    ignored: set[int] = attrs.field(factory=set)  # ports
    _open: set[tuple[int, int]] = attrs.field(factory=set)  # descriptor, inode

    def forget(self) -> None:
        """Begin to count anew."""
        self.ports.clear()
        self._open = {each for each in self._open if _is_open(*each)}
        self.peak = len(self._open)

    def begin(self, sock: trio.socket.SocketType, address: Any) -> None:
        """Count a connection that is about to be made."""
        if sock.type != socket.SOCK_STREAM or not isinstance(address, tuple) or address[1] in self.ignored:
            return
        self.ports.append(address[1])
        # What is still open is asked of the system: a socket may have gone from hand to hand.
        self._open = {each for each in self._open if _is_open(*each)} | {_identity(sock.fileno())}
        self.peak = max(self.peak, len(self._open))


def _identity(descriptor: int) -> tuple[int, int]:
    return descriptor, os.fstat(descriptor).st_ino


def _is_open(descriptor: int, inode: int) -> bool:
    try:
        return _identity(descriptor) == (descriptor, inode)
    except OSError:
        return False


@contextmanager
def watching_connections() -> Iterator[Contacts]:
    """Count every connection that Trio is asked for, for as long as the block lasts."""
    contacts = Contacts()
    with trio.socket.socket() as any_socket:
        kind = type(any_socket)
    connect = kind.connect

    async def counted(self: trio.socket.SocketType, address: Any) -> None:
        contacts.begin(self, address)
        await connect(self, address)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kind, "connect", counted)
        yield contacts
