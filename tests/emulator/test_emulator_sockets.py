"""The emulator on real sockets: what only a kernel can show, and that nothing is left behind."""

import functools
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from trio_norman.emulator import Emulator, open_emulator, serve_emulator

SIZE = 300_000


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(checkpoints=2, size_bytes=SIZE, odd_ports=True) as emulator:
        yield emulator


@asynccontextmanager
async def connection_to(root: str) -> AsyncIterator[trio.SocketStream]:
    parts = urlsplit(root)
    assert parts.hostname is not None
    assert parts.port is not None
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream:
        yield stream


def request_for(url: str, *headers: str) -> bytes:
    parts = urlsplit(url)
    lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def read_answer(stream: trio.SocketStream) -> tuple[bytes, int]:
    """Read one answer with a length; give its head and how many body bytes came."""
    held = b""
    while b"\r\n\r\n" not in held:
        held += await stream.receive_some()
    head, _, body = held.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    count = len(body)
    while count < length:
        block = await stream.receive_some(length - count)
        if not block:
            break
        count += len(block)
    return head, count


async def read_into(received: bytearray, stream: trio.SocketStream) -> None:
    async for block in stream:
        received += block


async def test_reset_is_a_real_reset_after_all_the_bytes(emulator: Emulator) -> None:
    for at in (0, 1, 1000, SIZE):
        async with connection_to(emulator.storage_url) as stream:
            await stream.send_all(request_for(emulator.blob_url(SIZE, reset=at)))
            received = bytearray()
            with pytest.raises(trio.BrokenResourceError) as caught:
                await read_into(received, stream)
            assert isinstance(caught.value.__cause__, ConnectionResetError)
            assert len(received.partition(b"\r\n\r\n")[2]) == at


async def test_truncation_is_an_orderly_end(emulator: Emulator) -> None:
    async with connection_to(emulator.storage_url) as stream:
        await stream.send_all(request_for(emulator.blob_url(SIZE, trunc=1000)))
        received = b"".join([block async for block in stream])
        assert len(received.partition(b"\r\n\r\n")[2]) == 1000


async def test_connection_is_kept_and_requests_may_be_pipelined(emulator: Emulator) -> None:
    url = emulator.blob_url(SIZE)
    async with connection_to(emulator.storage_url) as stream:
        for _ in range(2):
            await stream.send_all(request_for(url))
            assert (await read_answer(stream))[1] == SIZE
        small = emulator.blob_url(10, signed=False)
        await stream.send_all(request_for(small) + request_for(small, "Connection: close"))
        received = b"".join([block async for block in stream])
        assert received.count(b"HTTP/1.1 200 OK") == 2
    assert emulator.connections.total == 1


async def test_connection_may_be_dropped_although_it_was_to_be_kept(emulator: Emulator) -> None:
    async with connection_to(emulator.storage_url) as stream:
        await stream.send_all(request_for(emulator.blob_url(10, drop="fin")))
        head, count = await read_answer(stream)
        assert b"connection: keep-alive" in head.lower()
        assert count == 10
        assert await stream.receive_some() == b""


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\0\x01\n\n\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000])
async def test_what_is_no_request_is_refused(emulator: Emulator, nonsense: bytes) -> None:
    async with connection_to(emulator.storage_url) as stream:
        await stream.send_all(nonsense)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")


async def test_connections_are_counted(emulator: Emulator) -> None:
    async with connection_to(emulator.storage_url) as one, connection_to(emulator.storage_url) as two:
        for stream in (one, two):
            await stream.send_all(request_for(emulator.blob_url(10)))
            await read_answer(stream)
        assert (emulator.connections.active, emulator.connections.peak) == (2, 2)
    await emulator.connections.wait_idle()
    assert (emulator.connections.active, emulator.connections.peak, emulator.connections.total) == (0, 2, 2)


async def test_large_objects_flow(emulator: Emulator) -> None:
    size = 64 << 20
    async with connection_to(emulator.storage_url) as stream:
        await stream.send_all(request_for(emulator.blob_url(size, nodigest=1)))
        assert (await read_answer(stream))[1] == size
    assert emulator.sent_bytes == size


async def test_archive_beyond_the_prepared_size_flows_to_its_end() -> None:
    size = 300 << 20
    async with open_emulator(runs=1, checkpoints=1, size_bytes=size) as emulator:
        emulator.inject(nodigest=1)
        url = emulator.archive_url(emulator.checkpoints[0].checkpoint_id)[0]
        async with connection_to(emulator.storage_url) as stream:
            await stream.send_all(request_for(url, f"Range: bytes={size - 1000}-"))
            assert (await read_answer(stream))[1] == 1000
            await stream.send_all(request_for(url))
            assert (await read_answer(stream))[1] == size


async def test_api_is_served(emulator: Emulator) -> None:
    async with httpx.AsyncClient(base_url=emulator.base_url) as client:
        assert (await client.get("/api/user/me")).status_code == 401
        answer = await client.get("/api/user/me", headers={"X-API-KEY": emulator.api_key})
        assert answer.json()["cuid"] == emulator.user_id
        assert answer.headers["x-request-id"] == "api-2"


async def test_client_that_leaves_a_long_poll_is_forgotten(emulator: Emulator) -> None:
    async with connection_to(emulator.base_url) as stream:
        await long_poll(emulator, stream)
        assert emulator.api_connections.active == 1
    with trio.fail_after(5):
        await emulator.api_connections.wait_idle()


async def test_web_sockets_are_not_offered(emulator: Emulator) -> None:
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    async with connection_to(emulator.base_url) as stream:
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        await stream.send_all(request_for(f"{emulator.base_url}/socket.io/", *upgrade, key))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 403 ")


async def test_api_answers_can_break_off(emulator: Emulator) -> None:
    emulator.misbehave("/cut", status=200, body=b"x" * 100, cut_at=40)
    emulator.misbehave("/drop", drop=True)
    async with httpx.AsyncClient(base_url=emulator.base_url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/cut")
        with pytest.raises(httpx.ReadError):
            await client.get("/drop")


async def test_odd_ports_are_odd(emulator: Emulator) -> None:
    odd = emulator.odd_ports
    assert odd is not None
    async with connection_to(odd.silent) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with trio.move_on_after(0.01) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
    async with connection_to(odd.resetting) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    async with connection_to(odd.garbage) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert b"ESMTP" in await stream.receive_some()
    async with connection_to(odd.dripping) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await stream.receive_some() == b"H"
    with pytest.raises(OSError, match="connect"):
        async with connection_to(odd.closed):
            raise AssertionError("somebody listens")


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def stalled_body(emulator: Emulator, stream: trio.SocketStream) -> None:
    await stream.send_all(request_for(emulator.blob_url(SIZE, stall=1000)))
    await stream.receive_some()


async def unread_body(emulator: Emulator, stream: trio.SocketStream) -> None:
    await stream.send_all(request_for(emulator.blob_url(1 << 40)))
    await stream.receive_some()


async def late_head(emulator: Emulator, stream: trio.SocketStream) -> None:
    await stream.send_all(request_for(emulator.blob_url(SIZE, hdelay=999)))
    await trio.testing.wait_all_tasks_blocked(0.01)


async def unread_api_body(emulator: Emulator, stream: trio.SocketStream) -> None:
    emulator.misbehave("/", status=200, body=lambda: (b"x" * 65536 for _ in range(100_000)))
    await stream.send_all(request_for(emulator.base_url + "/"))
    await stream.receive_some()


async def long_poll(emulator: Emulator, stream: trio.SocketStream) -> None:
    base = f"{emulator.base_url}/socket.io/?transport=polling&EIO=4"
    await stream.send_all(request_for(f"{base}&apiKey={emulator.api_key}"))
    await stream.receive_some()
    await stream.send_all(request_for(f"{base}&sid=s1"))
    await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize(
    ("root", "occupy"),
    [
        ("storage_url", stalled_body),
        ("storage_url", unread_body),
        ("storage_url", late_head),
        ("base_url", unread_api_body),
        ("base_url", long_poll),
    ],
)
async def test_leaving_is_quick_and_leaves_nothing(root: str, occupy: Callable[..., object]) -> None:
    files, tasks = open_files(), trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        emulator: Emulator = await nursery.start(functools.partial(serve_emulator, odd_ports=True))
        async with connection_to(getattr(emulator, root)) as stream:
            await occupy(emulator, stream)  # type: ignore[misc]
            before = trio.current_time()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(5):
                while trio.lowlevel.current_statistics().tasks_living > tasks:  # noqa: ASYNC110
                    await trio.sleep(0.001)
            assert trio.current_time() - before < 0.3
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_files() == files


async def test_errors_of_the_block_come_through_as_they_are() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_emulator():
            raise KeyError("mine")


async def test_port_that_is_taken_is_an_error(emulator: Emulator) -> None:
    taken = urlsplit(emulator.base_url).port
    assert taken is not None
    with pytest.raises(OSError, match="in use"):
        async with open_emulator(port=taken):
            raise AssertionError("opened")


async def test_ports_can_be_chosen(emulator: Emulator) -> None:
    odd = emulator.odd_ports
    assert odd is not None
    free = urlsplit(odd.closed).port
    assert free is not None
    async with open_emulator(storage_port=free) as other:
        assert other.storage_url == odd.closed
        assert other.base_url != emulator.base_url


async def test_a_small_answer_comes_in_one_piece(emulator: Emulator) -> None:
    """Head and body in two packets would wake the client up twice."""
    async with connection_to(emulator.base_url) as stream:
        for method, has_body in ((b"GET", True), (b"HEAD", False), (b"GET", True)):
            await stream.send_all(request_for(f"{emulator.base_url}/nowhere").replace(b"GET", method, 1))
            head, _, body = bytes(await stream.receive_some(65536)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 4")
            assert bool(body) == has_body
