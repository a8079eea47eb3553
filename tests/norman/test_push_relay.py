"""Two threads that fill and send a push on real sockets: how soon they stop, and that they send what was filled."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from trio_norman.errors import InterruptedTransferError, SlowTransferError
from trio_norman.norman._relay import LOOK_EVERY
from trio_norman.norman._socket import SocketConnection

SOON = 10 * LOOK_EVERY  # seconds; a busy machine is late now and then
BLOCK = 8192


@asynccontextmanager
async def open_connection(*, silence: float = 30.0) -> AsyncIterator[tuple[SocketConnection, trio.SocketStream]]:
    """Connect to a peer over buffers so small that nearly all of a push has to wait for it."""
    limiter = trio.CapacityLimiter(2)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.settimeout(LOOK_EVERY)
    with ours:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(theirs)) as peer:
            yield SocketConnection("tcp://peer:1", silence, ours, limiter), peer
    assert limiter.borrowed_tokens == 0  # no thread is left


def endless(room: memoryview) -> int:
    return len(room)


def source_of(data: bytes, step: int) -> Callable[[memoryview], int]:
    """Give data in pieces of `step` bytes at most, and write over every room before it is filled."""
    left = memoryview(data)

    def fill(room: memoryview) -> int:
        nonlocal left
        room[:] = b"\xee" * len(room)
        piece, left = left[: min(step, len(room))], left[min(step, len(room)) :]
        room[: len(piece)] = piece
        return len(piece)

    return fill


def failing_after(blocks: int) -> Callable[[memoryview], int]:
    """Give so many blocks, and then an error."""
    count = 0

    def fill(room: memoryview) -> int:
        nonlocal count
        count += 1
        if count > blocks:
            raise ZeroDivisionError("the source broke")
        return len(room)

    return fill


async def take(peer: trio.SocketStream, *, every: float, at_most: int) -> None:
    """Take a little at a time, for ever."""
    while at_most:
        await trio.sleep(every)
        await peer.receive_some(at_most)


@pytest.mark.parametrize("at_most", [0, 100, 3000])
@pytest.mark.parametrize("block_bytes", [BLOCK, 1 << 20])
async def test_a_push_is_cancelled_soon_however_little_the_peer_takes(at_most: int, block_bytes: int) -> None:
    async with open_connection() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: take(peer, every=0.03, at_most=at_most))
        with trio.move_on_after(0.3) as scope:
            await connection.send_each(endless, block_bytes, lambda sent: None)
        assert scope.cancelled_caught
        assert trio.current_time() - scope.deadline < SOON
        nursery.cancel_scope.cancel()


async def test_a_push_is_cancelled_soon_while_its_source_has_nothing() -> None:
    def hesitate(room: memoryview) -> int:
        trio.from_thread.run(trio.sleep, 0.05)
        return 1

    async with open_connection() as (connection, _):
        with trio.move_on_after(0.2) as scope:
            await connection.send_each(hesitate, BLOCK, lambda sent: None)
        assert scope.cancelled_caught
        assert trio.current_time() - scope.deadline < SOON


@pytest.mark.parametrize(("blocks", "at_most"), [(0, 0), (2, 0), (0, BLOCK), (1, BLOCK), (50, BLOCK)])
async def test_an_error_of_the_source_comes_out_by_itself_and_soon(blocks: int, at_most: int) -> None:
    async with open_connection() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: take(peer, every=0, at_most=at_most))
        with trio.fail_after(5 * SOON), pytest.raises(ZeroDivisionError, match="broke"):
            await connection.send_each(failing_after(blocks), BLOCK, lambda sent: None)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 1, 40 * BLOCK + 5])
@pytest.mark.parametrize("step", [BLOCK, BLOCK - 1, 777])
async def test_no_block_is_filled_again_before_all_of_it_was_sent(size: int, step: int) -> None:
    data, told, received = os.urandom(size), list[int](), bytearray()
    async with open_connection() as (connection, peer), trio.open_nursery() as nursery:

        async def receive() -> None:
            while len(received) < size:
                await trio.lowlevel.checkpoint()
                received.extend(await peer.receive_some(5000))

        nursery.start_soon(receive)
        with trio.fail_after(20):
            await connection.send_each(source_of(data, step), BLOCK, told.append)
    assert received == data
    assert told == sorted(told)
    assert all(sent <= size for sent in told)


async def test_a_peer_that_takes_nothing_or_leaves_is_given_up() -> None:
    async with open_connection(silence=0.3) as (connection, peer):
        with pytest.raises(SlowTransferError, match="nothing was taken"):
            await connection.send_each(endless, BLOCK, lambda sent: None)
        await peer.aclose()
        with trio.fail_after(5), pytest.raises(InterruptedTransferError):
            await connection.send_each(endless, BLOCK, lambda sent: None)
