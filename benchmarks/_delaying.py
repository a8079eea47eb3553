"""A proxy that puts a server far away: ``_delaying.py HOST PORT ROUND_TRIP RATE``; it prints the port it listens on.

Each connection is a line of its own: what the server sends passes it at RATE bytes a second, and whatever goes in at
one end comes out at the other half a ROUND_TRIP later. The handshake of TCP has happened before a proxy hears of a
connection, so the round trip that it would have taken is added to the first bytes.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import sys
import time
from collections import deque
from itertools import count

_PIECE = 128 * 1024  # bytes; at 20 MB/s 6.5 ms
_AHEAD = 4  # pieces that may wait at the near end of the line, so that it never runs dry


class Line:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, rate: float, opens_at: float) -> None:
        self.source, self.sink = source, sink
        self.delay, self.rate = delay, rate
        self.busy_until = opens_at
        self.room = _AHEAD * _PIECE + (int(rate * delay) if rate else 2**20)
        self.under_way: deque[tuple[float, memoryview]] = deque()
        self.size = 0
        self.has_ended = False  # nothing more comes from the source
        self.is_blocked = False  # the sink takes nothing at the moment
        self.is_done = False  # everything is through

    @property
    def wants(self) -> bool:
        """Whether the source is to be read."""
        return not self.has_ended and self.size < self.room

    def take(self, now: float) -> float:
        """Read a piece and return when it arrives."""
        piece = memoryview(self.source.recv(_PIECE))
        self.has_ended = not piece
        self.busy_until = max(now, self.busy_until) + (len(piece) / self.rate if self.rate else 0.0)
        self.under_way.append((self.busy_until + self.delay, piece))
        self.size += len(piece)
        return self.busy_until + self.delay

    def deliver(self, now: float) -> None:
        """Write all that has arrived."""
        while self.under_way and self.under_way[0][0] <= now and not self.is_blocked:
            due, piece = self.under_way.popleft()
            if not piece:
                self.sink.shutdown(socket.SHUT_WR)
                self.is_done = True
                return
            try:
                sent = self.sink.send(piece)
            except BlockingIOError:
                sent = 0
            self.size -= sent
            if sent < len(piece):
                self.under_way.appendleft((due, piece[sent:]))
                self.is_blocked = True


class Proxy:
    """All connections, in one thread."""

    def __init__(self, server: tuple[str, int], round_trip: float, rate: float) -> None:
        self.server, self.round_trip, self.rate = server, round_trip, rate
        self.selector = selectors.DefaultSelector()
        self.lines: dict[socket.socket, tuple[Line, Line]] = {}  # by socket: the one it feeds, the one it is fed by
        self.arrivals: list[tuple[float, int, Line]] = []
        self.numbers = count()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)

    def run(self) -> None:
        while True:
            now = time.monotonic()
            while self.arrivals and self.arrivals[0][0] <= now:
                self.attempt(heapq.heappop(self.arrivals)[2], now, 0)
            patience = self.arrivals[0][0] - time.monotonic() if self.arrivals else None
            for key, events in self.selector.select(patience):
                if key.fileobj is self.listener:
                    self.accept()
                    continue
                assert isinstance(key.fileobj, socket.socket)
                for line in self.lines.get(key.fileobj, ()):
                    self.attempt(line, time.monotonic(), events if line.source is key.fileobj else events << 2)

    def accept(self) -> None:
        near, _ = self.listener.accept()
        far = socket.create_connection(self.server)
        now = time.monotonic()
        up = Line(near, far, self.round_trip / 2, 0.0, now + self.round_trip)
        down = Line(far, near, self.round_trip / 2, self.rate, now)
        self.lines[near], self.lines[far] = (up, down), (down, up)
        for each in (near, far):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(each, selectors.EVENT_READ)

    def attempt(self, line: Line, now: float, events: int) -> None:
        """Move a line on; `events` are those of its source, and shifted by two bits those of its sink."""
        if line.source not in self.lines:
            return  # closed meanwhile
        try:
            if events & selectors.EVENT_READ and line.wants:
                heapq.heappush(self.arrivals, (line.take(now), next(self.numbers), line))
            if events & selectors.EVENT_WRITE << 2:
                line.is_blocked = False
            line.deliver(now)
        except OSError:
            self.close(line)
            return
        if all(each.is_done for each in self.lines[line.source]):
            self.close(line)
            return
        self.listen(line.source)
        self.listen(line.sink)

    def listen(self, sock: socket.socket) -> None:
        feeding, fed_by = self.lines[sock]
        wanted = selectors.EVENT_READ if feeding.wants else 0
        wanted |= selectors.EVENT_WRITE if fed_by.is_blocked else 0
        known = self.selector.get_map().get(sock)
        if known is None and wanted:
            self.selector.register(sock, wanted)
        elif known is not None and not wanted:
            self.selector.unregister(sock)
        elif known is not None and known.events != wanted:
            self.selector.modify(sock, wanted)

    def close(self, line: Line) -> None:
        for each in (line.source, line.sink):
            del self.lines[each]
            if each in self.selector.get_map():
                self.selector.unregister(each)
            each.close()


def main() -> None:
    host, port, round_trip, rate = sys.argv[1:]
    proxy = Proxy((host, int(port)), float(round_trip), float(rate))
    print(proxy.listener.getsockname()[1], flush=True)
    proxy.run()


if __name__ == "__main__":
    main()
