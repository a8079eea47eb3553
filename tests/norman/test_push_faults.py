"""Encrypted pushes on real sockets: every fault of the rows U and T, and what is left of it."""

from __future__ import annotations

import io
import json
import os
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.norman.norman_opening import answer, asked, echo, model, open_on_sockets
from trio_norman import ConnectionSettings, Norman, RetryPolicy, StallLimit, UploadAdvanced
from trio_norman._sansio.addresses import AllowedHosts, Vicinity
from trio_norman.emulator import Emulator
from trio_norman.errors import (
    ChecksumMismatchError,
    ConfigurationError,
    ConnectError,
    InterruptedTransferError,
    MalformedResponseError,
    ServiceError,
    SlowTransferError,
    SourceChangedError,
    TrioNormanError,
)
from trio_norman.norman._addresses import connect_for_push
from trio_norman.testing import MemoryTransport, open_memory_emulator

BIG = os.urandom(1 << 16) * 50  # 3 MiB and a bit, so that no buffer of the system takes it all


@pytest.fixture
async def service() -> AsyncIterator[tuple[Emulator, Norman]]:
    async with open_on_sockets() as opened:
        yield opened


Service = tuple[Emulator, Norman]


def keys_of(emulator: Emulator) -> list[tuple[bytes, bytes]]:
    return [(push.key, push.nonce) for push in emulator.norman.pushes]


def check_that_no_key_was_used_twice(emulator: Emulator) -> None:
    pushes = emulator.norman.pushes
    assert all(push.connections <= 1 for push in pushes)
    assert len(set(keys_of(emulator))) == len(pushes)
    assert emulator.norman.push_port.strangers == 0


@pytest.mark.parametrize("size", [0, 1, 47, 48, 1 << 20, (1 << 20) + 1, len(BIG)])
async def test_U_07_files_of_every_length_arrive_as_they_are(service: Service, tmp_path: Path, size: int) -> None:
    """Success: the service holds exactly these bytes, after one push."""
    emulator, norman = service
    path = tmp_path / "body"
    path.write_bytes(BIG[:size])
    seen: list[UploadAdvanced] = []
    assert await answer(norman, echo(path), on_upload=seen.append) == BIG[:size]
    assert (seen[0].sent_bytes, seen[-1].sent_bytes, seen[-1].size_bytes) == (0, size, size)
    assert [push.received_bytes for push in emulator.norman.pushes] == [size]
    check_that_no_key_was_used_twice(emulator)


async def test_U_07_a_large_sparse_file_needs_little_memory(tmp_path: Path) -> None:
    """Success, in memory that does not depend on the length."""
    async with open_on_sockets(stall=StallLimit(seconds=20)) as (emulator, norman):
        path, size = tmp_path / "sparse", 96 << 20
        with path.open("wb") as file:
            file.truncate(size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await norman.upload_model(model({"File": path}))
        assert emulator.norman.pushes[0].received_bytes == size
        assert (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
        )  # KiB; the emulator lives here, too


@pytest.mark.parametrize("fault", ["reset", "trunc"])
@pytest.mark.parametrize("at", [0, 1, 65536, 1 << 20, len(BIG) - 1])
async def test_T_01_a_connection_that_breaks_is_replaced_by_another_with_keys_of_its_own(
    service: Service, fault: str, at: int
) -> None:
    """Success after a second pairing; no key is used twice."""
    emulator, norman = service
    emulator.norman.inject_push(**{fault: at}, times=1)
    assert await answer(norman, echo(BIG)) == BIG
    assert len(emulator.norman.pushes) == 2
    check_that_no_key_was_used_twice(emulator)


async def test_U_01_a_file_that_was_cut_off_is_read_again_from_its_start(service: Service, tmp_path: Path) -> None:
    """Success: the source is read again from its first byte."""
    emulator, norman = service
    path = tmp_path / "body"
    path.write_bytes(BIG)
    emulator.norman.inject_push(reset=1 << 20, times=1)
    assert await answer(norman, echo(path)) == BIG


async def test_U_01_a_stream_that_can_be_read_once_is_spooled_and_sent_again(service: Service) -> None:
    """Success: a stream that can be read once was spooled."""
    emulator, norman = service

    async def once() -> AsyncIterator[bytes]:
        for at in range(0, len(BIG), 100_000):
            yield BIG[at : at + 100_000]

    emulator.norman.inject_push(reset=1 << 20, times=1)
    assert await answer(norman, echo(once())) == BIG


async def test_T_01_a_server_that_ends_its_own_half_hinders_nobody(service: Service) -> None:
    """Success over the one connection."""
    emulator, norman = service
    emulator.norman.inject_push(halfclose=0)
    assert await answer(norman, echo(BIG)) == BIG
    assert len(emulator.norman.pushes) == 1


async def test_T_01_connections_that_always_break_are_given_up(service: Service) -> None:
    """`InterruptedTransferError` when the retry budget is spent; it names the invocation that is left."""
    emulator, norman = service
    emulator.norman.inject_push(reset=1 << 16)
    with pytest.raises(InterruptedTransferError) as caught:
        await norman.invoke(echo(BIG))
    assert caught.value.attempts == 3
    assert caught.value.url.startswith("tcp://127.0.0.1:")
    assert len(emulator.norman.pushes) == 3
    assert caught.value.orphans == (f"invocation {last_invocation(emulator)}",)
    check_that_no_key_was_used_twice(emulator)


def last_invocation(emulator: Emulator) -> str:
    pairing = asked(emulator, "/pair/input")[-1]
    return str(json.loads(pairing.body)["invocation_id"])


@pytest.mark.rows("T-01")
async def test_U_02_T_01_a_server_that_stops_reading_is_given_up(service: Service) -> None:
    """`SlowTransferError` when the retry budget is spent; each try has its own keys."""
    emulator, norman = service
    emulator.norman.push_port.rate = 1 << 30  # only so that its buffer is small
    emulator.norman.inject_push(stall=1 << 16)
    with pytest.raises(SlowTransferError):
        await norman.invoke(echo(BIG * 3))
    assert len(emulator.norman.pushes) == 3
    check_that_no_key_was_used_twice(emulator)


async def test_T_02_a_file_that_changes_while_it_is_sent_is_sent_again(service: Service, tmp_path: Path) -> None:
    """Success: it is sent again, as it is then, and the first push is never accepted."""
    emulator, norman = service
    path = tmp_path / "body"
    path.write_bytes(BIG)
    changes = [BIG + b"grown"]

    def change(event: UploadAdvanced) -> None:
        if changes and event.sent_bytes:
            path.write_bytes(changes.pop())

    assert await answer(norman, echo(path), on_upload=change) == BIG + b"grown"
    assert [push.is_accepted for push in emulator.norman.pushes] == [False, True]
    check_that_no_key_was_used_twice(emulator)


@pytest.mark.rows("U-05")
@pytest.mark.parametrize("step", [-1000, 1000])
async def test_T_02_U_05_a_file_that_keeps_changing_is_given_up(service: Service, tmp_path: Path, step: int) -> None:
    """`SourceChangedError` after the second try; nothing was accepted."""
    emulator, norman = service
    path = tmp_path / "body"
    path.write_bytes(BIG)

    def change(event: UploadAdvanced) -> None:
        if event.sent_bytes:
            os.truncate(path, path.stat().st_size + step)

    with pytest.raises(SourceChangedError):
        await norman.invoke(echo(path), on_upload=change)
    assert len(emulator.norman.pushes) == 2
    assert not any(push.is_accepted for push in emulator.norman.pushes)


async def test_U_05_a_file_that_vanishes_meanwhile_is_sent_to_its_end(service: Service, tmp_path: Path) -> None:
    """Success: the open file is read to its end."""
    _, norman = service
    path = tmp_path / "body"
    path.write_bytes(BIG)
    assert await answer(norman, echo(path), on_upload=lambda _: path.unlink(missing_ok=True)) == BIG


async def test_U_05_what_is_no_regular_file_is_refused_before_anything_is_made(
    service: Service, tmp_path: Path
) -> None:
    """`ConfigurationError` before any request."""
    emulator, norman = service
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError):
            await norman.invoke(echo(path))
    assert asked(emulator) == []


async def test_U_05_a_stream_that_ends_early_is_no_success(service: Service) -> None:
    """`SourceChangedError`; nothing was accepted."""
    emulator, norman = service

    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return b"" if self.tell() >= 1000 else super().read(1000)

    with pytest.raises(SourceChangedError, match="ended after 1000 of 5000"):
        await norman.invoke(echo(Shrinking(bytes(5000)), source="Stream"))
    assert not any(push.is_accepted for push in emulator.norman.pushes)


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
        {"port": 0},
        {"port": 70000},
        {"port": -1},
        {"port": "80"},
        {"port": True},
    ],
    ids=str,
)
async def test_T_03_a_pairing_that_is_none_is_refused_before_connecting(
    service: Service, fields: dict[str, Any]
) -> None:
    """`MalformedResponseError` that shows no value, before any connection; no second try."""
    emulator, norman = service
    emulator.norman.inject_push(pairing=fields)
    with pytest.raises(MalformedResponseError) as caught:
        await norman.invoke(echo(b"x"))
    assert next(iter(fields)) in str(caught.value)
    assert "SECRET" not in f"{caught.value}{caught.value!r}{caught.value.__context__}"
    assert "U0VD" not in f"{caught.value}{caught.value!r}"
    assert emulator.norman.push_connections.total == 0
    assert len(emulator.norman.pushes) == 1


async def test_T_04_sixteen_inputs_with_faults_never_use_a_key_twice(service: Service) -> None:
    """Success; every connection has keys of its own, and no more than eight are open at a time."""
    emulator, norman = service
    for fault in ({"reset": 1000, "times": 3}, {"trunc": 10, "times": 3}, {"refuse": True, "times": 2}):
        emulator.norman.inject_push(**fault)  # the first eight pairings, which are of different inputs
    titles = [f"Part {index}" for index in range(16)]
    emulator.norman.register_model("join", lambda inputs: b"".join(inputs[title] for title in titles), inputs=titles)
    inputs = [{"display_title": title, "data": bytes([65 + at]) * 5000} for at, title in enumerate(titles)]
    expected = b"".join(bytes([65 + at]) * 5000 for at in range(16))
    assert await answer(norman, {"model_name": "join", "inputs": inputs}) == expected
    assert len(emulator.norman.pushes) > 16
    assert emulator.norman.push_connections.peak <= 8
    check_that_no_key_was_used_twice(emulator)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "localhost", "100.64.0.1", "0.0.0.0"]
)
async def test_T_05_a_public_service_cannot_send_us_to_a_place_that_only_we_reach(host: str) -> None:
    """`AddressError` before any connection; no second try."""
    with pytest.raises(TrioNormanError) as caught:
        await connect_for_push(host, 80, Vicinity.of("https://93.184.216.34/v0", AllowedHosts()))
    assert type(caught.value).__name__ == "AddressError"
    assert not caught.value.retryable


async def test_T_05_a_service_on_this_machine_may(service: Service) -> None:
    """Success: a service on this machine may name this machine."""
    emulator, norman = service
    assert await answer(norman, echo(b"x")) == b"x"
    vicinity = Vicinity.of(emulator.norman_base_url, AllowedHosts())
    (await connect_for_push("127.0.0.1", emulator.norman.port, vicinity)).close()


async def test_T_07_a_checksum_that_is_refused_once_is_pushed_again(service: Service) -> None:
    """Success after one more push under other keys."""
    emulator, norman = service
    emulator.norman.inject_push(refuse=True, times=1)
    assert await answer(norman, echo(BIG)) == BIG
    assert [push.is_accepted for push in emulator.norman.pushes] == [False, True]
    check_that_no_key_was_used_twice(emulator)


@pytest.mark.rows("U-08")
async def test_T_07_U_08_a_checksum_that_is_refused_twice_is_an_error(service: Service) -> None:
    """`ChecksumMismatchError` after the second push."""
    emulator, norman = service
    emulator.norman.inject_push(refuse=True)
    with pytest.raises(ChecksumMismatchError) as caught:
        await norman.invoke(echo(b"abc"))
    assert caught.value.algorithm == "xxh3-64"
    assert len(caught.value.computed) == 16
    assert len(emulator.norman.pushes) == 2


async def test_U_04_a_lost_question_is_looked_after_before_anything_is_pushed_again(service: Service) -> None:
    """Success: the flags are asked for first, then it is pushed again under other keys."""
    emulator, norman = service
    emulator.misbehave("/v0/file-push/socket/complete", drop=True, times=1)
    assert await answer(norman, echo(b"abc")) == b"abc"
    assert len(asked(emulator, "/flags/get")) >= 2  # it asked before it pushed again
    assert len(emulator.norman.pushes) == 2
    check_that_no_key_was_used_twice(emulator)


class LosingTransport(httpx.AsyncBaseTransport):
    """A way to an emulator in memory on which the first answer to each `complete` is lost, after it has acted."""

    def __init__(self, inner: MemoryTransport) -> None:
        self.inner, self.lost = inner, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if request.url.path.endswith("/complete") and not self.lost:
            self.lost += 1
            await response.aread()
            raise httpx.ReadError("the connection broke")
        return response

    async def connect_tcp(self, host: str, port: int) -> trio.abc.Stream:
        return await self.inner.connect_tcp(host, port)


async def test_U_04_a_lost_answer_to_what_was_done_is_no_reason_to_push_again(autojump_clock: MockClock) -> None:
    """Success without a second push: the flags show that the service has acted."""
    async with open_memory_emulator() as (emulator, transport):
        losing = LosingTransport(transport)
        connection = ConnectionSettings(transport=losing)
        async with Norman(emulator.norman_api_key, emulator.norman_base_url, connection=connection) as norman:
            assert await answer(norman, echo(b"abc")) == b"abc"
        assert (losing.lost, len(emulator.norman.pushes)) == (1, 1)


async def test_U_03_a_service_that_refuses_the_pairing_is_sent_nothing(service: Service) -> None:
    """`ServiceError` with that status; no connection for the body is made."""
    emulator, norman = service
    for status in (413, 400):
        emulator.misbehave("/v0/file-push/socket/pair/input", status=status, times=1)
        with pytest.raises(ServiceError) as caught:
            await norman.invoke(echo(BIG))
        assert caught.value.status == status
    assert emulator.norman.push_connections.total == 0


async def test_cancelling_in_the_middle_of_a_push_leaves_no_connection(service: Service) -> None:
    emulator, norman = service
    emulator.norman.push_port.rate = 1 << 20
    began = time.monotonic()
    with trio.CancelScope() as scope:

        def stop(event: UploadAdvanced) -> None:
            if event.sent_bytes:
                scope.cancel()

        await norman.invoke(echo(BIG * 2), on_upload=stop)
    assert scope.cancelled_caught
    assert time.monotonic() - began < 5
    with trio.fail_after(5):
        while emulator.norman.push_connections.active:  # noqa: ASYNC110 (a counter tells nobody)
            await trio.sleep(0.01)
    assert not any(push.is_accepted for push in emulator.norman.pushes)


async def test_T_01_nobody_listens_where_we_are_sent(service: Service) -> None:
    """`ConnectError` when the retry budget is spent."""
    emulator, norman = service
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    emulator.norman.inject_push(pairing={"port": port})
    with pytest.raises(ConnectError) as caught:
        await norman.invoke(echo(b"x"))
    assert (caught.value.attempts, len(emulator.norman.pushes)) == (3, 3)


async def test_several_assets_go_up_at_once(tmp_path: Path) -> None:
    policy = RetryPolicy(attempts=2, initial=0.001)
    async with open_on_sockets(policy, StallLimit(seconds=20)) as (emulator, norman):
        emulator.norman.push_port.rate = 2 << 20
        began = time.monotonic()
        await norman.upload_model(model({"File": BIG[: 1 << 20], "Logo": BIG[: 1 << 20]}))
        assert emulator.norman.push_connections.peak == 2
        assert time.monotonic() - began < 5
