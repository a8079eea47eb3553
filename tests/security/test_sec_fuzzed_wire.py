"""Bodies, archives and requests that nobody would send: row SEC-21, what is read in more than one step."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import h11
import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import measured, spoilt, within_budget
from trio_norman import errors
from trio_norman._sansio.callbacks import CallbackDoor, basic_auth
from trio_norman._sansio.jsontext import decode_json
from trio_norman._sansio.redaction import Secret
from trio_norman._sansio.tasks import read_answer
from trio_norman._sansio.throttling import Throttle
from trio_norman._wire._bodies import ChunkedBody
from trio_norman._wire._exchange import Answer
from trio_norman._wire._heads import HeadLimits, careful_head
from trio_norman._wire._receiving import MessageServer
from trio_norman.transfer._archives import check_archive

LIMITS = HeadLimits(4 * 1024, 256, 16, 30.0)  # small, so that it is cheap to reach them
MOST_HELD = 2**20 * 4  # bytes: an entry of an archive is read a MiB at a time

# ---- bodies in chunks

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = [
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    b'A;name="v;\\"";x\r\n0123456789\r\n0\r\nT: v\r\nRepr-Digest: sha-256=:AA==:\r\n\r\n',
    b"00000005\r\nhello\r\n000\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"0" * 5000,
    b"5;" + b"x" * 5000 + b"\r\nhello\r\n",
    b"0\r\n" + b"T: v\r\n" * 900 + b"\r\n",
]


@attrs.define
class Spoken:
    """A connection and the lease of it in one: the peer says all of `rest`, `step` bytes at a time, and hangs up."""

    rest: bytes
    step: int
    socket: Any = attrs.field(init=False)
    is_kept: bool = False

    def __attrs_post_init__(self) -> None:
        self.socket = self

    def recv(self, at_most: int) -> bytes:
        count = min(self.step, at_most)
        piece, self.rest = self.rest[:count], self.rest[count:]
        return piece

    def release(self) -> None:
        self.socket, self.is_kept = None, True

    def abandon(self) -> None:
        self.socket = None


def unchunked(data: bytes, step: int) -> tuple[bytes, bool]:
    """Take a body out of its chunks; tell whether it was complete."""
    lease: Any = Spoken(data, step)
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMITS.bytes)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    parser.send(h11.EndOfMessage())
    head = careful_head(parser, CHUNKED_HEAD, "GET")
    assert head is not None
    body = ChunkedBody(lease, Answer(head, b"", parser, is_sent=True), is_reusable=True, silence=1.0)
    pieces = []
    with suppress(httpx.RemoteProtocolError):
        while lease.socket is not None:
            pieces.append(body.receive_nowait() or b"")
    assert lease.socket is None  # whatever ended it
    return b"".join(pieces), lease.is_kept


def chunks(data: bytes) -> object:
    whole, is_complete = unchunked(data, max(1, len(data)))
    slowly, is_complete_too = unchunked(data, max(1, len(data) // 50))
    assert len(whole) <= len(data)
    assert slowly.startswith(whole) or whole.startswith(slowly)  # a broken chunk is given as far as it was good then
    if len(data) <= LIMITS.bytes:  # no line can be too long, which shows the sooner the slower it comes
        assert not is_complete or (is_complete_too and slowly == whole)
    return whole


@pytest.mark.fuzz
@measured
@given(data=spoilt(*CHUNKS))
def test_SEC_21_any_chunks_and_trailers_are_read_or_refused_within_bounds(data: bytes) -> None:
    """However they are cut, the same body or the same refusal; the connection is given back or closed."""
    within_budget(len(data), lambda: chunks(data))


# ---- archives


def zipped(method: int) -> bytes:
    """Return an archive of three entries."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in (
            ("a.txt", b" ".join(b"%d" % (n * n) for n in range(300))),
            ("b/ä.bin", b"x" * 99),
            ("empty", b""),
        ):
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return target.getvalue()


ARCHIVES = [zipped(each) for each in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)]


@pytest.mark.fuzz
@measured
@given(data=spoilt(*ARCHIVES, most=2))
def test_SEC_21_any_archive_is_read_through_or_refused_within_bounds(data: bytes) -> None:
    """It is whole, or an error of ours says what is wrong; a MiB of it is held at most."""
    read = partial(
        check_archive, "f", lambda: io.BytesIO(data), entries=100, ratio=100
    )  # in a thread, as it wants to be
    size = len(data) + MOST_HELD // 64
    trio.run(trio.to_thread.run_sync, partial(within_budget, size, read, errors.TransferError))


# ---- requests to the receiver of callbacks

DOOR = CallbackDoor(Secret("/callbacks/p"), basic_auth("u", "p"), 10_000)
REQUESTS = [
    b"POST /callbacks/p HTTP/1.1\r\nHost: h\r\nAuthorization: " + DOOR.authorization.reveal().encode() + b"\r\n" + rest
    for rest in (
        b"Content-Length: 2\r\n\r\n{}",
        b"Content-Length: 20000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nT: v\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    )
]


class Caller(trio.abc.Stream):
    """Somebody who says something and hangs up; what is answered is only counted."""

    def __init__(self, says: bytes, step: int) -> None:
        self.says, self.step, self.answered = says, step, b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        piece, self.says = self.says[: self.step], self.says[self.step :]
        return piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.answered += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.fuzz
@measured
@given(says=spoilt(*REQUESTS), step=st.integers(1, 70_000))
def test_SEC_21_any_request_to_the_receiver_is_answered_or_dropped(says: bytes, step: int) -> None:
    """It ends; what is taken was let in, and every answer is one of the few that there are."""
    taken: list[bytes] = []

    def take(body: bytes) -> None:
        taken.append(body)
        read_answer(decode_json(body))

    def serve() -> bytes:
        server = MessageServer(DOOR, take, Throttle(1000, 1000), most_connections=2, seconds=5)
        caller: Any = Caller(says, max(step, len(says) // 100))
        trio.run(server.serve, caller)
        return bytes(caller.answered)

    answered = within_budget(len(says) + 16 * 1024, serve) or b""
    statuses = [line.split(b" ")[1] for line in answered.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    known = {b"100", b"204", b"400", b"401", b"404", b"405", b"411", b"413", b"414", b"417", b"429", b"431", b"501"}
    assert set(statuses) <= known
    assert all(len(body) <= DOOR.largest + 70_000 for body in taken)


@pytest.mark.fuzz
@measured
@given(length=spoilt(b"5", b"-5", b"9" * 30, "٣".encode(), b"1_0", b" 7 "))
def test_SEC_21_any_length_is_let_in_or_refused(length: bytes) -> None:
    """A status that turns it away, or none; never an exception."""
    authorization, text = DOOR.authorization.reveal().encode(), length.decode("utf-8", "replace")
    read = lambda: DOOR.refusal("POST", b"/callbacks/p", authorization, text, is_chunked=False)  # noqa: E731
    assert within_budget(len(length), read) in (None, 400, 413)
