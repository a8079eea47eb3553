"""A resolver that says what a test wants, and counts how often it is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio


class Detour(trio.socket.SocketType):
    """A socket whose connection to a public address is led to this machine."""

    def __init__(self, inner: trio.socket.SocketType, contacted: list[str]) -> None:
        self._inner, self._contacted = inner, contacted

    async def connect(self, address: tuple[str, int]) -> None:
        self._contacted.append(address[0])
        await self._inner.connect(("127.0.0.1", address[1]))

    def setsockopt(self, *args: Any) -> None:
        self._inner.setsockopt(*args)

    def detach(self) -> int:
        return self._inner.detach()

    def close(self) -> None:
        self._inner.close()

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_STREAM


class Detours(trio.abc.SocketFactory):
    """Stands for the internet: whoever connects to one of its addresses reaches this machine, and it is noted."""

    def __init__(self) -> None:
        self.contacted: list[str] = []

    def socket(self, family: Any = None, type: Any = None, proto: Any = None) -> trio.socket.SocketType:
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plain.setblocking(False)
        return Detour(trio.socket.from_stdlib_socket(plain), self.contacted)


class Resolver(trio.abc.HostnameResolver):
    """Gives the next answer of a name at each look-up, the last one again and again; fails for other names."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(each) for name, each in answers.items()}
        self.asked: list[str] = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
        name = host.decode() if isinstance(host, bytes) else host
        await trio.lowlevel.checkpoint()
        self.asked.append(name)
        if name not in self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self._answers[name]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (kind, socket.SOCK_STREAM, 6, "", (address, port) if kind == socket.AF_INET else (address, port, 0, 0))
            for kind, address in zip(kinds, addresses, strict=True)
        ]

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def resolving(**answers: Sequence[Sequence[str]]) -> Resolver:
    """Let names resolve like this for the rest of the test; an underscore stands for a dot."""
    resolver = Resolver(**answers)
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


@contextmanager
def internet() -> Iterator[list[str]]:
    """Lead every connection that is opened in the block to this machine; give the addresses that were meant."""
    detours = Detours()
    before = trio.socket.set_custom_socket_factory(detours)
    try:
        yield detours.contacted
    finally:
        trio.socket.set_custom_socket_factory(before)
