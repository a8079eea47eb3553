"""Encrypted pushes on real sockets: every fault of the rows T, and of the rows U that concerns them."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.faults.rows import Row
from tests.faults.services import norman_attempt
from tests.norman.norman_opening import answer, asked, echo, model
from tests.security.resolving import resolving
from trio_norman import ConnectionSettings, Norman, RetryPolicy, StallLimit, UploadAdvanced, errors
from trio_norman._sansio.addresses import Vicinity
from trio_norman.emulator import Emulator
from trio_norman.emulator.norman._bodies import StoredBody
from trio_norman.testing import MemoryTransport, open_memory_emulator

BIG = os.urandom(1 << 16) * 50  # 3 MiB and a bit, so that no buffer of the system takes it all
GiB = 1 << 30


def check_that_no_key_was_used_twice(row: Row) -> None:
    pushes = row.emulator.norman.pushes
    assert all(push.connections <= 1 for push in pushes)
    assert len({(push.key, push.nonce) for push in pushes}) == len(pushes)
    assert row.emulator.norman.push_port.strangers == 0


async def succeeds(row: Row, data: object, *, gives: bytes, on_upload: Any = None, **more: Any) -> None:
    """Have the model that echoes give back some data, within one attempt."""
    async with norman_attempt(row) as (attempt, norman):
        assert await answer(norman, echo(data, **more), on_upload=on_upload) == gives
    row.expect(attempt, disk="D0")
    check_that_no_key_was_used_twice(row)


async def fails(row: Row, data: object, kind: type[errors.TrioNormanError], on_upload: Any = None, **more: Any) -> Any:
    """Have it fail with an error of this very kind, which is returned."""
    async with norman_attempt(row) as (attempt, norman):
        await norman.invoke(echo(data, **more), on_upload=on_upload)
    check_that_no_key_was_used_twice(row)
    assert not any(push.is_accepted for push in row.emulator.norman.pushes)
    return row.expect_error(attempt, kind, disk="D0")


def own_file(row: Row, content: bytes) -> Path:
    """Make a file of the user's, outside of what the row watches."""
    path = row.tree.parent / "body"
    path.write_bytes(content)
    return path


# ---- U-07: lengths


@pytest.mark.parametrize("size", [0, 1, 47, 48, 1 << 20, (1 << 20) + 1, len(BIG)])
async def test_U_07_files_of_every_length_arrive_as_they_are(row: Row, size: int) -> None:
    """Success: the service holds exactly these bytes, after one push."""
    seen: list[UploadAdvanced] = []
    await succeeds(row, own_file(row, BIG[:size]), gives=BIG[:size], on_upload=seen.append)
    assert (seen[0].sent_bytes, seen[-1].sent_bytes, seen[-1].size_bytes) == (0, size, size)
    assert [push.received_bytes for push in row.emulator.norman.pushes] == [size]


async def push_sparse(row: Row, size: int, seconds: float) -> None:
    """Push a file of zeros with something at its end, and compare what the service holds of it."""
    path = row.tree.parent / "sparse"
    with path.open("wb") as file:
        file.truncate(size - 4)
        file.seek(0, os.SEEK_END)
        file.write(b"last")
    stall = StallLimit(seconds=20)
    async with norman_attempt(row, within=seconds, memory_mib=48, stall=stall) as (
        attempt,
        norman,
    ):  # emulator included
        await norman.upload_model(model({"File": path}))
    row.expect(attempt, disk="D0")
    (push,) = row.emulator.norman.pushes
    assert (push.received_bytes, push.is_accepted) == (size, True)
    assert await trio.to_thread.run_sync(digest_at_service, push.body) == await trio.to_thread.run_sync(
        file_digest, path
    )


def digest_at_service(body: StoredBody) -> str:
    digest = hashlib.sha256()
    for offset in range(0, body.size, 1 << 20):
        digest.update(body.read(offset, 1 << 20))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def test_U_07_a_large_sparse_file_needs_little_memory(row: Row) -> None:
    """Success, in memory that does not depend on the length; the digest is that of the file."""
    await push_sparse(row, 96 << 20, 30)


@pytest.mark.soak
async def test_U_07_five_gibibytes(row: Row) -> None:
    """Success, in the same memory; the digest is that of the file."""
    await push_sparse(row, 5 * GiB, 60)


# ---- T-01, U-01, U-02, T-04: connections that fail


@pytest.mark.parametrize("fault", ["reset", "trunc"])
@pytest.mark.parametrize("at", [0, 1, 65536, 1 << 20, len(BIG) - 1])
async def test_T_01_a_connection_that_breaks_is_replaced_by_another_with_keys_of_its_own(
    row: Row, fault: str, at: int
) -> None:
    """Success after a second pairing; no key is used twice."""
    row.emulator.norman.inject_push(**{fault: at}, times=1)
    await succeeds(row, BIG, gives=BIG)
    assert len(row.emulator.norman.pushes) == 2


async def test_U_01_a_file_that_was_cut_off_is_read_again_from_its_start(row: Row) -> None:
    """Success: the source is read again from its first byte."""
    row.emulator.norman.inject_push(reset=1 << 20, times=1)
    await succeeds(row, own_file(row, BIG), gives=BIG)


async def test_U_01_a_stream_that_can_be_read_once_is_spooled_and_sent_again(row: Row) -> None:
    """Success: a stream that can be read once was spooled."""

    async def once() -> AsyncIterator[bytes]:
        for at in range(0, len(BIG), 100_000):
            yield BIG[at : at + 100_000]

    row.emulator.norman.inject_push(reset=1 << 20, times=1)
    await succeeds(row, once(), gives=BIG)


async def test_T_01_a_server_that_ends_its_own_half_hinders_nobody(row: Row) -> None:
    """Success over the one connection."""
    row.emulator.norman.inject_push(halfclose=0)
    await succeeds(row, BIG, gives=BIG)
    assert len(row.emulator.norman.pushes) == 1


async def test_T_01_connections_that_always_break_are_given_up(row: Row) -> None:
    """`InterruptedTransferError` when the retry budget is spent; it names the invocation that is left."""
    row.emulator.norman.inject_push(reset=1 << 16)
    error = await fails(row, own_file(row, BIG), errors.InterruptedTransferError)
    assert error.attempts == 3
    assert error.url.startswith("tcp://127.0.0.1:")
    assert len(row.emulator.norman.pushes) == 3
    assert error.orphans == (f"invocation {last_invocation(row.emulator)}",)


def last_invocation(emulator: Emulator) -> str:
    pairing = asked(emulator, "/pair/input")[-1]
    return str(json.loads(pairing.body)["invocation_id"])


@pytest.mark.rows("T-01")
async def test_U_02_T_01_a_server_that_stops_reading_is_given_up(row: Row) -> None:
    """`SlowTransferError` when the retry budget is spent; each try has its own keys."""
    row.emulator.norman.push_port.rate = 1 << 30  # only so that its buffer is small
    row.emulator.norman.inject_push(stall=1 << 16)
    await fails(row, own_file(row, BIG * 3), errors.SlowTransferError)
    assert len(row.emulator.norman.pushes) == 3


async def test_T_01_nobody_listens_where_we_are_sent(row: Row) -> None:
    """`ConnectError` when the retry budget is spent."""
    row.emulator.norman.inject_push(pairing={"port": int(row.odd.closed.rpartition(":")[2])})
    error = await fails(row, b"x", errors.ConnectError)
    assert (error.attempts, len(row.emulator.norman.pushes)) == (3, 3)


async def test_T_04_sixteen_inputs_with_faults_never_use_a_key_twice(row: Row) -> None:
    """Success; every connection has keys of its own, and no more than eight are open at a time."""
    service = row.emulator.norman
    for fault in ({"reset": 1000, "times": 3}, {"trunc": 10, "times": 3}, {"refuse": True, "times": 2}):
        service.inject_push(**fault)  # the first eight pairings, which are of different inputs
    titles = [f"Part {index}" for index in range(16)]
    service.register_model("join", lambda inputs: b"".join(inputs[title] for title in titles), inputs=titles)
    inputs = [{"display_title": title, "data": bytes([65 + at]) * 5000} for at, title in enumerate(titles)]
    expected = b"".join(bytes([65 + at]) * 5000 for at in range(16))
    async with norman_attempt(row, requests=100) as (attempt, norman):
        assert await answer(norman, {"model_name": "join", "inputs": inputs}) == expected
    row.expect(attempt, disk="D0")
    assert len(service.pushes) > 16
    assert service.push_connections.peak <= 8
    check_that_no_key_was_used_twice(row)


# ---- T-02, U-05: what changes, or cannot be read


def grow(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 1000)


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def rewrite(path: Path) -> None:
    """Write as many bytes in place; the time that it gets is another one, however coarse the clock of the disk."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(os.urandom(16))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))


changes = pytest.mark.parametrize("change", [grow, shrink, rewrite])


@changes
async def test_T_02_a_file_that_changes_while_it_is_sent_is_sent_again(
    row: Row, change: Callable[[Path], None]
) -> None:
    """Success: it is sent again, as it is then, and the first push is never accepted."""
    path, left = own_file(row, BIG), [change]

    def disturb(event: UploadAdvanced) -> None:
        if left and event.sent_bytes:
            left.pop()(path)

    async with norman_attempt(row) as (attempt, norman):
        assert await answer(norman, echo(path), on_upload=disturb) == path.read_bytes()
    row.expect(attempt, disk="D0")
    assert [push.is_accepted for push in row.emulator.norman.pushes] == [False, True]
    check_that_no_key_was_used_twice(row)


@pytest.mark.rows("U-05")
@changes
async def test_T_02_U_05_a_file_that_keeps_changing_is_given_up(row: Row, change: Callable[[Path], None]) -> None:
    """`SourceChangedError` after the second try; nothing was accepted."""
    path = own_file(row, BIG)

    def disturb(event: UploadAdvanced) -> None:
        if event.sent_bytes:
            change(path)

    await fails(row, path, errors.SourceChangedError, on_upload=disturb)
    assert len(row.emulator.norman.pushes) == 2


async def test_U_05_a_file_that_vanishes_meanwhile_is_sent_to_its_end(row: Row) -> None:
    """Success: the open file is read to its end."""
    path = own_file(row, BIG)
    await succeeds(row, path, gives=BIG, on_upload=lambda _: path.unlink(missing_ok=True))


async def test_U_05_what_is_no_regular_file_is_refused_before_anything_is_made(row: Row) -> None:
    """`ConfigurationError` before any request."""
    fifo = row.tree.parent / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), row.tree, row.tree / "missing"):
        await fails(row, path, errors.ConfigurationError)
    assert asked(row.emulator) == []


async def test_U_05_a_stream_that_ends_early_is_no_success(row: Row) -> None:
    """`SourceChangedError`; nothing was accepted."""

    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return b"" if self.tell() >= 1000 else super().read(1000)

    error = await fails(row, Shrinking(bytes(5000)), errors.SourceChangedError, source="Stream")
    assert "ended after 1000 of 5000" in str(error)


# ---- T-03, T-05: pairings


@pytest.mark.parametrize(
    "fields",
    [
        {"encryption_key": "not base64 SECRETSECRET"},
        {"encryption_key": "U0VDUkVUU0VDUkVU"},
        {"encryption_key": ""},
        {"nonce": "U0VDUkVUU0VDUkVUU0VDUkVU"},
        {"nonce": None},
        {"authentication_header": ""},
        {"authentication_header": "SECRETSECRET!"},
        {"host": ""},
        {"host": "a b"},
        {"host": "u@h"},
        {"host": "a/../b"},
        {"host": "[::ffff:169.254.169.254]"},
        {"port": 0},
        {"port": 70000},
        {"port": -1},
        {"port": "80"},
        {"port": True},
    ],
    ids=str,
)
async def test_T_03_a_pairing_that_is_none_is_refused_before_connecting(row: Row, fields: dict[str, Any]) -> None:
    """`MalformedResponseError` that shows no value, before any connection; no second try."""
    row.emulator.norman.inject_push(pairing=fields)
    error = await fails(row, b"x", errors.MalformedResponseError)
    assert next(iter(fields)) in str(error)
    assert "SECRET" not in f"{error}{error!r}{error.__context__}"
    assert "U0VD" not in f"{error}{error!r}"
    assert row.emulator.norman.push_connections.total == 0
    assert len(row.emulator.norman.pushes) == 1


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("10.0.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("100.64.0.1", "shared"),
        ("224.0.0.1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("fe80::1", "link-local"),
        ("lan.example.org", "private"),
        ("meta.example.org", "link-local"),
        ("mapped.example.org", "link-local"),
    ],
)
async def test_T_05_a_pairing_that_leads_to_our_network(row: Row, host: str, kind: str) -> None:
    """`AddressError` after one pairing, before any connection: a service on this machine may name this machine only."""
    answers = {"lan_example_org": [["10.0.0.1"]], "meta_example_org": [["169.254.169.254"]]}
    resolving(**answers, mapped_example_org=[["::ffff:169.254.169.254"]])
    row.emulator.norman.inject_push(pairing={"host": host})
    error = await fails(row, b"x", errors.AddressError)
    assert f"is a {kind} address" in error.reason
    assert (error.attempts, len(row.emulator.norman.pushes)) == (1, 1)
    assert row.emulator.norman.push_connections.total == 0


def beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the service be a public one, though we reach it here, and note to which addresses we connect.

    Nothing leaves this machine: at a public address nobody accepts.
    """
    contacted, truly = list[str](), trio.open_tcp_stream

    async def connect(host: str | bytes, port: int, **how: Any) -> trio.SocketStream:
        contacted.append(str(host))
        if host == "93.184.216.34":
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return await truly(host, port, **how)

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    monkeypatch.setattr(Vicinity, "note", lambda self, address: None)
    return contacted


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "here.example.org"])
async def test_T_05_a_public_service_cannot_send_us_to_this_machine(
    row: Row, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AddressError` after one pairing, before any connection."""
    resolving(here_example_org=[["127.0.0.1"]])
    beyond_this_machine(monkeypatch)
    row.emulator.norman.inject_push(pairing={"host": host})
    error = await fails(row, b"x", errors.AddressError)
    assert "is a loopback address" in error.reason
    assert (len(row.emulator.norman.pushes), row.emulator.norman.push_connections.total) == (1, 0)


async def test_T_05_a_name_that_leads_here_when_it_is_looked_up_again(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ConnectError`: only the address that was judged is contacted. At the next pairing, `AddressError`."""
    resolver = resolving(rebinding_example_org=[["93.184.216.34"], ["127.0.0.1"]])
    contacted = beyond_this_machine(monkeypatch)
    row.emulator.norman.inject_push(pairing={"host": "rebinding.example.org"})
    once = RetryPolicy(attempts=1)
    for kind in (errors.ConnectError, errors.AddressError):
        async with norman_attempt(row, retry=once) as (attempt, norman):
            await norman.invoke(echo(b"x"))
        row.expect_error(attempt, kind, disk="D0")
    assert [each for each in contacted if each[0] != "b"] == ["93.184.216.34"]  # bytes: the service's own address
    assert resolver.asked == ["rebinding.example.org"] * 2  # once for each pairing
    assert (len(row.emulator.norman.pushes), row.emulator.norman.push_connections.total) == (2, 0)


async def test_T_05_a_service_on_this_machine_may_name_it(row: Row) -> None:
    """Success: a service on this machine may name this machine."""
    row.emulator.norman.inject_push(pairing={"host": "127.0.0.1"})
    await succeeds(row, b"x", gives=b"x")


class CountingTransport(httpx.AsyncBaseTransport):
    """A way to an emulator in memory that remembers where it was to connect to."""

    def __init__(self, inner: MemoryTransport) -> None:
        self.inner = inner
        self.connected: list[tuple[str, int]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def connect_tcp(self, host: str, port: int) -> trio.abc.Stream:
        self.connected.append((host, port))
        return await self.inner.connect_tcp(host, port)


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "2852039166", "0xa9fea9fe", "10.1"])
async def test_T_05_a_transport_of_the_users_own_is_not_sent_there(host: str, autojump_clock: MockClock) -> None:
    """`AddressError` before the transport is asked: addresses that stand in a pairing are judged for it, too."""
    async with open_memory_emulator() as (emulator, transport):
        counting = CountingTransport(transport)
        emulator.norman.inject_push(pairing={"host": host})
        connection = ConnectionSettings(transport=counting)
        async with Norman(emulator.norman_api_key, emulator.norman_base_url, connection=connection) as norman:
            with pytest.raises(errors.AddressError) as caught:
                await norman.invoke(echo(b"x"))
        assert type(caught.value) is errors.AddressError
        assert (counting.connected, len(emulator.norman.pushes)) == ([], 1)


# ---- T-07, U-08, U-04, U-03: what the service says to it


async def test_T_07_a_checksum_that_is_refused_once_is_pushed_again(row: Row) -> None:
    """Success after one more push under other keys."""
    row.emulator.norman.inject_push(refuse=True, times=1)
    await succeeds(row, BIG, gives=BIG)
    assert [push.is_accepted for push in row.emulator.norman.pushes] == [False, True]


@pytest.mark.rows("U-08")
async def test_T_07_U_08_a_checksum_that_is_refused_twice_is_an_error(row: Row) -> None:
    """`ChecksumMismatchError` after the second push."""
    row.emulator.norman.inject_push(refuse=True)
    error = await fails(row, b"abc", errors.ChecksumMismatchError)
    assert error.algorithm == "xxh3-64"
    assert len(error.computed) == 16
    assert len(row.emulator.norman.pushes) == 2


async def test_U_04_a_lost_question_is_looked_after_before_anything_is_pushed_again(row: Row) -> None:
    """Success: the flags are asked for first, then it is pushed again under other keys."""
    row.emulator.misbehave("/v0/file-push/socket/complete", drop=True, times=1)
    await succeeds(row, b"abc", gives=b"abc")
    assert len(asked(row.emulator, "/flags/get")) >= 2  # it asked before it pushed again
    assert len(row.emulator.norman.pushes) == 2


async def test_U_04_a_lost_answer_to_what_was_done_is_no_reason_to_push_again(row: Row) -> None:
    """Success without a second push: the flags show that the service has acted."""
    row.emulator.misbehave("/v0/file-push/socket/complete", drop=True, acts=True, times=1)
    await succeeds(row, b"abc", gives=b"abc")
    assert len(row.emulator.norman.pushes) == 1


async def test_U_03_a_service_that_refuses_the_pairing_is_sent_nothing(row: Row) -> None:
    """`ServiceError` with that status; no connection for the body is made."""
    for status in (413, 400):
        row.emulator.misbehave("/v0/file-push/socket/pair/input", status=status, times=1)
        error = await fails(row, own_file(row, BIG), errors.ServiceError)
        assert error.status == status
    assert row.emulator.norman.push_connections.total == 0


# ---- and besides


async def test_cancelling_in_the_middle_of_a_push_leaves_no_connection(row: Row) -> None:
    row.emulator.norman.push_port.rate = 1 << 20
    async with norman_attempt(row, within=5) as (attempt, norman):

        def stop(event: UploadAdvanced) -> None:
            if event.sent_bytes:
                attempt.cancel()

        await norman.invoke(echo(BIG * 2), on_upload=stop)
    row.expect_cancelled(attempt, disk="D0")
    with trio.fail_after(5):
        while row.emulator.norman.push_connections.active:  # noqa: ASYNC110 (a counter tells nobody)
            await trio.sleep(0.01)
    assert not any(push.is_accepted for push in row.emulator.norman.pushes)


async def test_several_assets_go_up_at_once(row: Row) -> None:
    row.emulator.norman.push_port.rate = 2 << 20
    policy = RetryPolicy(attempts=2, initial=0.001)
    async with norman_attempt(row, within=5, retry=policy, stall=StallLimit(seconds=20)) as (attempt, norman):
        await norman.upload_model(model({"File": BIG[: 1 << 20], "Logo": BIG[: 1 << 20]}))
    row.expect(attempt, disk="D0")
    assert row.emulator.norman.push_connections.peak == 2
