"""The transport without sockets behaves as one with sockets would."""

import math
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_norman.emulator import Emulator
from trio_norman.testing import MemoryTransport, memory_connection, open_memory_emulator, open_memory_transport


@pytest.fixture
async def opened() -> AsyncIterator[tuple[Emulator, MemoryTransport]]:
    async with open_memory_emulator(checkpoints=2, size_bytes=5000) as pair:
        yield pair


@pytest.fixture
async def emulator(opened: tuple[Emulator, MemoryTransport]) -> Emulator:
    return opened[0]


@pytest.fixture
async def client(opened: tuple[Emulator, MemoryTransport]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=opened[1]) as client:
        yield client


async def test_only_the_emulator_is_reached(
    opened: tuple[Emulator, MemoryTransport], client: httpx.AsyncClient
) -> None:
    emulator, transport = opened
    with pytest.raises(httpx.ConnectError):
        await client.get("http://127.0.0.1:9/")
    with pytest.raises(httpx.ConnectError):
        await client.get("https://127.0.0.1:1/")
    assert (await client.get(emulator.base_url)).status_code == 401
    transport.nobody_listens = True
    with pytest.raises(httpx.ConnectError):
        await client.get(emulator.base_url)


async def asked(opened: tuple[Emulator, MemoryTransport], url: str) -> httpx.AsyncByteStream:
    """Ask the transport itself, as httpx leaves generators of its own behind when a body is not read to its end."""
    answer = await opened[1].handle_async_request(httpx.Request("GET", url))
    assert answer.status_code == 200
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    return answer.stream


async def test_api_bodies_flow_while_they_are_made(opened: tuple[Emulator, MemoryTransport]) -> None:
    made = 0

    def blocks() -> Iterator[bytes]:
        nonlocal made
        for _ in range(10**9):
            made += 1
            yield b"x" * 1000

    opened[0].misbehave("/", status=200, body=blocks)
    answer = await asked(opened, opened[0].base_url)
    read = aiter(answer)
    for _ in range(5):
        assert len(await anext(read)) == 1000
    await wait_all_tasks_blocked()
    assert made <= 7, "the application waits for its reader"
    await answer.aclose()
    await wait_all_tasks_blocked()
    assert made <= 7, "and is stopped with the answer"


async def test_storage_waits_for_its_reader(opened: tuple[Emulator, MemoryTransport]) -> None:
    emulator = opened[0]
    answer = await asked(opened, emulator.blob_url(1 << 40))
    await anext(aiter(answer))
    await wait_all_tasks_blocked()
    assert emulator.sent_bytes <= 1 << 20
    assert emulator.connections.active == 1
    await answer.aclose()
    await emulator.connections.wait_idle()


async def test_request_bodies_arrive(emulator: Emulator, client: httpx.AsyncClient) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield b"one "
        await trio.lowlevel.checkpoint()
        yield b"two"

    await client.post(emulator.base_url, content=blocks())
    await client.post(emulator.blob_url(5), content=b"three")
    assert [request.body for request in emulator.requests] == [b"one two", b"three"]


async def test_head_has_no_body(emulator: Emulator, client: httpx.AsyncClient) -> None:
    answer = await client.head(f"{emulator.base_url}/api/runner/models", headers={"X-API-KEY": emulator.api_key})
    assert (answer.status_code, answer.content) == (200, b"")


async def test_silence_runs_into_the_read_limit(
    emulator: Emulator, client: httpx.AsyncClient, autojump_clock: MockClock
) -> None:
    emulator.misbehave("/", delay=math.inf)
    for url in (emulator.base_url, emulator.blob_url(10, hdelay=999), emulator.blob_url(10, stall=5)):
        before = trio.current_time()
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url, timeout=7)
        assert trio.current_time() - before == pytest.approx(7)


async def test_cancelled_requests_leave_nothing(
    emulator: Emulator, client: httpx.AsyncClient, autojump_clock: MockClock
) -> None:
    emulator.misbehave("/", delay=math.inf)
    tasks = trio.lowlevel.current_statistics().tasks_living
    for url in (emulator.base_url, emulator.blob_url(10, hdelay=999), emulator.blob_url(10, stall=5)):
        with trio.move_on_after(3) as scope:
            await client.get(url, timeout=None)
        assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert emulator.connections.active == 0


async def test_answers_left_open_end_with_the_block(autojump_clock: MockClock) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_memory_emulator() as (emulator, transport):
        emulator.misbehave("/", status=200, body=lambda: (b"x" for _ in range(10**9)))
        for url in (emulator.base_url, emulator.blob_url(1 << 40)):
            request = httpx.Request("GET", url)
            answer = await transport.handle_async_request(request)
            assert answer.status_code == 200
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_transport_can_be_opened_for_any_emulator(emulator: Emulator) -> None:
    async with open_memory_transport(emulator) as transport, httpx.AsyncClient(transport=transport) as client:
        assert len((await client.get(emulator.blob_url(1000))).content) == 1000
        assert transport.opened == 1


async def test_errors_of_the_block_come_through_as_they_are() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_memory_emulator():
            raise KeyError("mine")


async def test_wall_time_starts_where_it_is_told_to(autojump_clock: MockClock) -> None:
    async with open_memory_emulator(epoch=1000.0) as (emulator, _):
        await trio.sleep(5)
        assert emulator.clock.now() == pytest.approx(1005)


async def test_stream_sends_no_faster_than_it_is_read() -> None:
    here, there = memory_connection()
    taken = b""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for letter in (b"ab", b"", b"cd"):
                await here.send_all(letter)
            await here.send_eof()

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert await there.receive_some(1) == b"a"
        assert await there.receive_some() == b"b"
        while block := await there.receive_some(10):
            taken += block
    assert taken == b"cd"
    await there.send_all(b"")  # the other direction is still open
    await here.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await there.send_all(b"x")


async def test_closed_stream_can_be_used_no_more() -> None:
    here, there = memory_connection()
    await here.aclose()
    assert await there.receive_some() == b""
    for use in (here.receive_some, lambda: here.send_all(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    await here.wait_send_all_might_not_block()


async def test_reset_stream_breaks_at_the_other_end() -> None:
    here, there = memory_connection()
    here.reset()
    for use in (there.receive_some, lambda: there.send_all(b"x")):
        with pytest.raises(trio.BrokenResourceError):
            await use()
