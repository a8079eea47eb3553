"""Bodies that are sent over HTTP: rows U and D-08 at the inputs of a batch job and at files of the Launch service.

The inputs go to a signed URL by PUT: sent again they are the same. A file goes by POST, which may act twice.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.destinations import QUICK
from tests.faults.peers import Behaviour, Peer, open_peer, receive_upload, reset, small_listener, until_left
from tests.faults.rows import Attempt, MiB, Row
from trio_norman import ConnectionSettings, errors
from trio_norman.launch import LaunchClient, LaunchLimits

CONTENT = b"0123456789abcde\n" * (MiB // 16 + 1)  # too long to be sent in one piece
LARGE = CONTENT * 6  # too long for the buffers in between
UPLOADS, JOBS = "/v1/hosted_inference/batch_task_input_upload", "/v1/batch-jobs"


@attrs.define(eq=False)
class Storage:
    """What a peer has received: the bodies that came whole, and the count of bytes of all."""

    whole: list[bytes] = attrs.field(factory=list)
    received: int = 0
    peer: Peer = attrs.field(init=False)

    async def take(self, stream: trio.SocketStream, status: str = "200 OK", fields: str = "") -> None:
        """Receive all of a body, and answer."""
        body, length = await receive_upload(stream)
        self.received += len(body)
        if len(body) == length:
            self.whole.append(body)
            await answer(stream, status, fields)
        await until_left(stream)


Fault = Callable[[Storage, trio.SocketStream, int], Awaitable[None]]  # `Behaviour`, and what has come so far


async def answer(stream: trio.SocketStream, status: str, fields: str = "") -> None:
    body = '{"id": "f-1"}'
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    await stream.send_all(head.encode() + body.encode())


async def put_inputs(client: LaunchClient, content: bytes) -> str:
    inputs = [str(content, "ascii")]
    return await client.batch_jobs.create("bun_x", labels={"team": "t", "product": "p"}, inputs=inputs)


async def post_file(client: LaunchClient, content: bytes | Path) -> str:
    return await client.files.upload(content, "file.txt")


Way = Callable[[LaunchClient, Any], Awaitable[str]]
both_ways = pytest.mark.parametrize("way", [put_inputs, post_file])


def tries(way: Way) -> int:
    """Tell how often something that may pass is tried."""
    return QUICK.attempts if way is put_inputs else 1


def held(way: Way, body: bytes) -> bytes:
    """Give the content that a body carries."""
    if way is post_file:
        return body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
    cell = body.decode().partition(",args\r\n")[2].partition(",")[2].strip()
    return str(json.loads(base64.b64decode(cell))).encode()


@asynccontextmanager
async def uploading(row: Row, way: Way, fault: Fault, *, silence: float = 5.0) -> AsyncIterator[tuple[Storage, Any]]:
    """Serve uploads by `fault`, and give what it has received, and what uploads to it within an attempt."""
    storage = Storage()

    async def behave(stream: trio.SocketStream, number: int) -> None:
        await fault(storage, stream, number)

    served: Behaviour = behave
    async with open_peer(served, listening=await small_listener()) as storage.peer:
        connection = ConnectionSettings(head_seconds=silence)
        root = storage.peer.root if way is post_file else row.emulator.launch_base_url
        url = f"{storage.peer.root}/put?q-canary={row.secret('signed')}"
        place = {"signedUrl": url.replace("+", "%2B"), "bucket": "b", "key": "k"}
        row.emulator.misbehave(UPLOADS, status=200, body=json.dumps(place))
        row.emulator.misbehave(JOBS, status=200, body='{"job_id": "f-1"}')

        async def upload(content: bytes | Path = CONTENT, **limits: Any) -> Attempt:
            async with row.attempt({"f": None}, **{"memory_mib": 64, **limits}) as attempt:
                async with LaunchClient(
                    row.emulator.api_key,
                    root,
                    connection=connection,
                    retry=QUICK,
                    limits=LaunchLimits(predict_seconds=silence),
                ) as client:
                    assert await way(client, content) == "f-1"
            return attempt

        yield storage, upload


async def take(storage: Storage, stream: trio.SocketStream, number: int) -> None:
    await storage.take(stream)


def reset_at(count: float, times: float = 1) -> Fault:
    """Reset the first connections when so many bytes of a body have come."""

    async def fault(storage: Storage, stream: trio.SocketStream, number: int) -> None:
        if number >= times:
            await storage.take(stream)
            return
        await receive_upload(stream, count)
        reset(stream)

    return fault


# ---- U-01, U-02, U-04: what passes


@pytest.mark.parametrize("at", [0, 1, 65536, len(CONTENT)])
async def test_U_01_inputs_that_are_cut_off_are_sent_again(row: Row, at: int) -> None:
    """Success: sent again from the first byte, for a PUT of the same bytes may be. D0."""
    async with uploading(row, put_inputs, reset_at(at)) as (storage, upload):
        attempt = await upload()
        row.expect(attempt, disk="D0")
        assert storage.peer.connections == 2
        assert [held(put_inputs, body) for body in storage.whole] == [CONTENT]


@both_ways
async def test_U_01_a_connection_that_always_breaks(row: Row, way: Way) -> None:
    """InterruptedTransferError when the attempts are used up; a file, which is posted, has one. D0."""
    async with uploading(row, way, reset_at(65536, times=99)) as (storage, upload):
        error = row.expect_error(await upload(), errors.InterruptedTransferError, disk="D0")
        assert (storage.peer.connections, error.attempts) == (tries(way), tries(way))
        assert error.may_have_happened == (way is post_file)


@both_ways
async def test_U_02_a_peer_that_stops_reading(row: Row, way: Way) -> None:
    """SlowTransferError within the limit, for each attempt; a file, which is posted, has one. D0."""

    async def stall(storage: Storage, stream: trio.SocketStream, number: int) -> None:
        await receive_upload(stream, 1)
        await trio.sleep_forever()

    async with uploading(row, way, stall, silence=0.1) as (storage, upload):
        error = row.expect_error(await upload(LARGE), errors.SlowTransferError, disk="D0")
        assert (storage.peer.connections, error.attempts) == (tries(way), tries(way))


@both_ways
async def test_U_04_the_answer_to_a_whole_body_is_lost(row: Row, way: Way) -> None:
    """Success for inputs, sent once more; InterruptedTransferError for a file: it may have happened. D0."""
    lost: list[bytes] = []

    async def lose(storage: Storage, stream: trio.SocketStream, number: int) -> None:
        if lost:
            await storage.take(stream)
        else:
            lost.append((await receive_upload(stream))[0])
            reset(stream)

    async with uploading(row, way, lose) as (storage, upload):
        attempt = await upload()
        assert held(way, lost[0]) == CONTENT
        if way is put_inputs:
            row.expect(attempt, disk="D0")
            assert storage.whole == lost
        else:
            error = row.expect_error(attempt, errors.InterruptedTransferError, disk="D0")
            assert (storage.peer.connections, error.may_have_happened) == (1, True)


# ---- U-03, D-08: what is refused


@both_ways
@pytest.mark.parametrize(
    ("status", "kind"),
    [(413, errors.ServiceError), (401, errors.AuthenticationError), (307, errors.RedirectError)],
)
async def test_U_03_an_answer_before_the_body_was_read(
    row: Row, way: Way, status: int, kind: type[errors.TrioNormanError]
) -> None:
    """ServiceError with that status, or RedirectError, at once: the rest is not sent. D0."""

    async def refuse(storage: Storage, stream: trio.SocketStream, number: int) -> None:
        await receive_upload(stream, 1)
        await answer(stream, f"{status} No", "Location: /elsewhere\r\n")
        while piece := await stream.receive_some():
            storage.received += len(piece)

    async with uploading(row, way, refuse) as (storage, upload):
        error = row.expect_error(await upload(LARGE), kind, disk="D0")
        assert storage.peer.connections == 1
        assert storage.received < len(LARGE) - len(CONTENT)
        assert getattr(error, "status", status) == status
        if status == 401:  # only one of the two has been sent the key
            assert ("API key was refused" in str(error)) == (way is post_file)
            assert ("the URL itself" in str(error)) == (way is put_inputs)


@pytest.mark.parametrize(
    ("way", "status"), [(post_file, 303), (post_file, 307), (put_inputs, 303), (put_inputs, 307), (put_inputs, 308)]
)
async def test_D_08_a_hop_in_answer_to_a_body(row: Row, way: Way, status: int) -> None:
    """RedirectError after one request; nothing is sent to where it leads. D0."""

    async def send_away(storage: Storage, stream: trio.SocketStream, number: int) -> None:
        await storage.take(stream, f"{status} See Other", "Location: /elsewhere\r\n")

    async with uploading(row, way, send_away) as (storage, upload):
        row.expect_error(await upload(CONTENT[:1000]), errors.RedirectError, disk="D0")
        assert (len(storage.whole), storage.peer.connections) == (1, 1)


# ---- U-05, U-07: what is sent


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, len(CONTENT) // 2)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


@pytest.mark.parametrize("change", [grow, shrink, rewrite])
async def test_U_05_a_file_that_changes_while_it_is_sent(row: Row, change: Callable[[Path], None]) -> None:
    """SourceChangedError, and what was announced is not sent whole. D0."""
    path = row.tree / "work" / "file.txt"
    path.write_bytes(CONTENT)

    async def disturb(storage: Storage, stream: trio.SocketStream, number: int) -> None:
        first, length = await receive_upload(stream, 1)
        change(path)
        rest = b""
        while piece := await stream.receive_some():
            rest += piece
        assert len(first) + len(rest) < length
        storage.received += len(rest)

    async with uploading(row, post_file, disturb) as (storage, upload):
        attempt = await upload(path)
        attempt.problems = [each for each in attempt.problems if "file.txt was changed" not in each]  # by ourselves
        row.expect_error(attempt, errors.SourceChangedError, disk="D0")
        assert (storage.whole, storage.peer.connections) == ([], 1)


async def test_U_05_a_file_that_vanishes_while_it_is_sent(row: Row) -> None:
    """Success: the open file is sent to its end. D0."""
    path = row.tree / "work" / "file.txt"
    path.write_bytes(CONTENT)

    async def unlink(storage: Storage, stream: trio.SocketStream, number: int) -> None:
        path.unlink()
        await storage.take(stream)

    async with uploading(row, post_file, unlink) as (storage, upload):
        attempt = await upload(path)
        attempt.problems = [each for each in attempt.problems if "file.txt was changed" not in each]  # by ourselves
        row.expect(attempt, disk="D0")
        assert [held(post_file, body) for body in storage.whole] == [CONTENT]


async def test_U_05_what_is_no_regular_file(row: Row) -> None:
    """ConfigurationError before anything is sent, also for a pipe that nobody writes to. D0."""
    fifo = row.tree / "work" / "fifo"
    os.mkfifo(fifo)
    async with uploading(row, post_file, take) as (storage, upload):
        for path in (fifo, Path("/dev/zero"), row.tree, row.tree / "missing"):
            row.expect_error(await upload(path, within=5), errors.ConfigurationError, disk="D0")
        assert storage.peer.connections == 0
    fifo.unlink()


@both_ways
@pytest.mark.parametrize("size", [0, 1, MiB - 1, MiB + 1, len(CONTENT)])
async def test_U_07_bodies_of_every_length(row: Row, way: Way, size: int) -> None:
    """Success: exactly these bytes arrive. D0."""
    async with uploading(row, way, take) as (storage, upload):
        row.expect(await upload(CONTENT[:size]), disk="D0")
        if way is post_file:
            path = row.tree / "work" / "file.txt"
            path.write_bytes(CONTENT[:size])
            row.expect(await upload(path), disk="D0")
        assert {held(way, body) for body in storage.whole} == {CONTENT[:size]}
        assert len(storage.whole) == storage.peer.connections
