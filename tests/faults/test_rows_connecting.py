"""Connecting and names: rows C."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.destinations import until
from tests.faults.peers import black_hole, open_peer, receive_head, reset, saying
from tests.faults.rows import Attempt, MiB, Row
from tests.security.resolving import Resolver, resolving
from trio_norman import ConnectionSettings, DownloadRetrying, RetryPolicy, Source, errors

HASTY = ConnectionSettings(connect_seconds=0.2, head_seconds=0.3)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
ONCE = RetryPolicy(attempts=1)


async def test_C_01_nobody_listens(row: Row) -> None:
    """ConnectError when the attempts are used up. D0."""
    attempt = await row.download_url(f"{row.odd.closed}/f")
    error = row.expect_error(attempt, errors.ConnectError, disk="D0", requests=5)
    assert error.attempts == attempt.elsewhere == 5


async def test_C_02_nobody_listens_at_first(row: Row) -> None:
    """Success, as soon as somebody listens. D2."""
    sock = trio.socket.socket(socket.AF_INET)
    await sock.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/f"
    patient = RetryPolicy(attempts=2000, initial=0.02, longest=0.02)

    async def open_late() -> None:
        await until(lambda: bool(row.attempts) and len(row.attempts[-1].events) > 20)
        async with open_peer(saying(WHOLE), listening=sock):
            await until(lambda: bool(row.attempts[-1].results))
            opened.cancel()

    async with trio.open_nursery() as nursery:
        opened = nursery.cancel_scope
        nursery.start_soon(open_late)
        attempt = await row.download_url(url, content=b"hello", retry=patient)
    row.expect(attempt, disk="D2")
    refused = [event for event in attempt.events if isinstance(event, DownloadRetrying)]
    assert len(refused) >= 20
    assert {type(event.error) for event in refused} == {errors.ConnectError}


async def test_C_03_reset_as_soon_as_accepted(row: Row) -> None:
    """InterruptedTransferError or ConnectError when the attempts are used up. D0."""

    async def behave(stream: trio.SocketStream, number: int) -> None:
        reset(stream)

    async with open_peer(behave) as peer:
        attempt = await row.download_url(f"{peer.root}/f")
    error = row.expect_error(attempt, (errors.InterruptedTransferError, errors.ConnectError), disk="D0")
    assert error.attempts == peer.connections == 5


async def test_C_04_accepted_and_never_answered(row: Row) -> None:
    """HeadTimeoutError, each attempt within the limit on heads. D0."""
    attempt = await row.download_url(f"{row.odd.silent}/f", connection=HASTY, within=10)
    error = row.expect_error(attempt, errors.HeadTimeoutError, disk="D0")
    assert error.attempts == 5
    assert attempt.seconds >= 5 * 0.3


async def test_C_05_packets_vanish(row: Row) -> None:
    """HeadTimeoutError, each attempt within the limit on connecting. D0."""
    with black_hole() as (host, port):
        attempt = await row.download_url(f"http://{host}:{port}/f", connection=HASTY, within=10)
    error = row.expect_error(attempt, errors.HeadTimeoutError, disk="D0")
    assert error.attempts == 5
    assert attempt.seconds >= 5 * 0.2


async def test_C_05_packets_to_the_first_address_vanish(row: Row) -> None:
    """Success through the next address, within the limit on connecting. D2."""
    port = urlsplit(row.emulator.storage_url).port or 0
    resolver = resolving(two_localhost=[["127.0.0.2", "127.0.0.1"]])
    with black_hole("127.0.0.2", port):
        attempt = await _download_from(row, f"two.localhost:{port}", within=10, retry=ONCE, max_connections=2)
    row.expect(attempt, disk="D2", requests=1)
    assert resolver.asked
    assert attempt.seconds >= 0.2  # which the first address was given


@pytest.mark.parametrize("dead", ["::1", "127.0.0.2"])
async def test_C_06_the_first_of_two_addresses_is_dead(row: Row, dead: str) -> None:
    """Success, less than a second later. D2."""
    port = urlsplit(row.emulator.storage_url).port or 0
    resolving(two_localhost=[[dead, "127.0.0.1"]])
    direct = await _download_from(row, f"127.0.0.1:{port}")
    row.expect(direct, disk="D2", requests=1)
    (row.dest / "f").unlink()
    attempt = await _download_from(row, f"two.localhost:{port}", retry=ONCE, max_connections=2)
    row.expect(attempt, disk="D2", requests=1)
    assert attempt.seconds - direct.seconds < 1


async def _download_from(row: Row, netloc: str, **how: Any) -> Attempt:
    # Of two addresses both may be tried at a time.
    url = urlsplit(row.url())._replace(netloc=netloc).geturl()
    return await row.download_url(url, content=row.emulator.blob_content(MiB), **how)


class _FailingResolver(Resolver):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
        await trio.lowlevel.checkpoint()
        self.asked.append(host.decode() if isinstance(host, bytes) else host)
        raise socket.gaierror(self._number, "the resolver's own words")


@pytest.mark.parametrize(("number", "times"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 5)])
async def test_C_07_a_name_that_does_not_resolve(row: Row, number: int, times: int) -> None:
    """NameResolutionError, at once if the name does not exist, else when the attempts are used up. D0."""
    resolver = _FailingResolver(number)
    trio.socket.set_custom_hostname_resolver(resolver)
    attempt = await row.download_url("https://x.invalid/f")
    error = row.expect_error(attempt, errors.NameResolutionError, disk="D0")
    assert error.attempts == times
    assert resolver.asked == ["x.invalid"] * times


class _HangingLookups:
    """Stands for the system's resolver where it hangs: each look-up blocks its thread until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.running = self.most = 0
        self._lock = threading.Lock()

    def getaddrinfo(self, host: object, port: object, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0):  # type: ignore[no-untyped-def]
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")  # which it finds out without asking anybody
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.let_go.wait(30)
        with self._lock:
            self.running -= 1
        raise socket.gaierror(socket.EAI_AGAIN, "let go")


@contextmanager
def _hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[_HangingLookups]:
    lookups = _HangingLookups()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lookups.getaddrinfo)
        try:
            yield lookups
        finally:
            lookups.let_go.set()


async def test_C_08_the_resolver_hangs(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """HeadTimeoutError when the attempts are used up; no more threads hang than Trio's limit on threads. D0."""
    trio.to_thread.current_default_thread_limiter().total_tokens = 3
    with _hanging(monkeypatch) as lookups:
        attempt = await row.download_url("https://x.invalid/f", connection=HASTY, within=10)
        error = row.expect_error(attempt, errors.HeadTimeoutError, disk="D0")
        assert error.attempts == 5
        assert lookups.most == lookups.running == 3


async def test_C_08_the_resolver_hangs_and_nobody_waits_for_it(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation gets through at once, although the thread lives on. D0."""
    with _hanging(monkeypatch) as lookups:
        attempt = await row.download_url("https://x.invalid/f", cancel_after=0.2)
        row.expect_cancelled(attempt, disk="D0")
        assert lookups.running == 1


async def test_C_09_the_answer_is_not_http(row: Row) -> None:
    """ProtocolError after a second try; nothing of it is shown as it came. D0."""
    async with open_peer(saying(b"\x00\xff220 garbage ESMTP \x1b[2J\r\n" * 8)) as peer:
        attempt = await row.download_url(f"{peer.root}/f")
    error = row.expect_error(attempt, errors.ProtocolError, disk="D0")
    assert (error.attempts, peer.connections) == (2, 2)
    assert "\x1b" not in str(error)
    attempt = await row.download_url(f"{row.odd.garbage}/f")
    row.expect_error(attempt, errors.ProtocolError, disk="D0")


@pytest.mark.parametrize("drop", ["fin", "rst"])
async def test_C_17_kept_and_closed_at_once(row: Row, drop: str) -> None:
    """Success: what was closed meanwhile is not used, without a further attempt. D2."""
    sources = [row.source(f"drop={drop}", name="f"), row.source(name="g"), row.source(name="h")]
    attempt = await row.download_all(sources, max_concurrency=1, retry=ONCE)
    row.expect_all(attempt, requests=3)
    assert row.emulator.connections.total == 2
    assert not [event for event in attempt.events if isinstance(event, DownloadRetrying)]


@pytest.mark.parametrize("is_reset", [True, False])
async def test_C_17_kept_and_closed_by_the_next_request(row: Row, is_reset: bool) -> None:
    """Success: the first failure on a connection that was kept is no attempt. D2."""

    async def behave(stream: trio.SocketStream, number: int) -> None:
        while await receive_head(stream):
            await stream.send_all(WHOLE)
            if await receive_head(stream) and number == 0:
                if is_reset:
                    reset(stream)
                return
            await stream.send_all(WHOLE)

    async with open_peer(behave) as peer:
        sources = [Source.from_url(f"{peer.root}/{name}", name) for name in "fgh"]
        row.contents.update(dict.fromkeys("fgh", b"hello"))
        attempt = await row.download_all(sources, max_concurrency=1, retry=ONCE)
    row.expect_all(attempt)
    assert peer.connections == 2
    assert not [event for event in attempt.events if isinstance(event, DownloadRetrying)]


async def test_C_18_plain_http_to_another_machine(row: Row) -> None:
    """AddressError before connecting. D0."""
    attempt = await row.download_url("http://192.0.2.1/f", within=1)
    row.expect_error(attempt, errors.AddressError, disk="D0", requests=0)
