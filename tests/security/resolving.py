"""A resolver that says what a test wants, and counts how often it is asked."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio


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
