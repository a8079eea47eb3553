"""What the transport's sockets do where no peer of ours can bring it about."""

from __future__ import annotations

import socket
import ssl

from trio_norman._wire import _sockets


class Renewing(socket.socket):
    """A TLS socket in the moment when a read has to send the peer's new keys first, and the way is full."""

    wants = 1

    def recv(self, *args: int) -> bytes:
        if self.wants:
            self.wants -= 1
            raise ssl.SSLWantWriteError(3, "want write")
        return super().recv(*args)


async def test_a_read_that_has_to_write_first_is_no_broken_connection() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Renewing(fileno=ours.detach()) as sock:
        sock.setblocking(False)
        theirs.send(b"hello")
        assert await _sockets.receive(sock, 10, awaited="a word") == b"hello"
