"""Statuses and throttling: rows S-01 to S-09."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
import trio

from tests.cli.commandline import COMMAND
from tests.destinations import sha256_of
from tests.faults.disks import calls_in, strace
from tests.faults.partials import leave_partial
from tests.faults.peers import open_peer, saying
from tests.faults.rows import Attempt, MiB, Row
from trio_norman import DownloadRetrying, RetryPolicy, errors
from trio_norman.emulator._answers import bomb_body

SIZE = 2 * MiB
_ERROR_BYTES = 64 * 1024  # that are kept of an error's body
_PIECE = 256 * 1024  # that one call takes off a socket at most
SLOW = RetryPolicy(attempts=5, initial=0.2, longest=0.4)


def waits(attempt: Attempt) -> list[float]:
    """Return the seconds between one request and the next, by the server's log."""
    started = [request.started_at for request in attempt.requests]
    return [later - earlier for earlier, later in pairwise(started)]


def statuses(attempt: Attempt) -> list[int | None]:
    """Return with what the requests were answered."""
    return [request.status for request in attempt.requests]


def own_backoff(attempt: Attempt) -> list[float]:
    """Return for how long we decided to wait."""
    return [event.wait_seconds for event in attempt.events if isinstance(event, DownloadRetrying)]


@pytest.mark.parametrize("status", [429, 503])
async def test_S_01_refused_twice_with_a_time(row: Row, status: int) -> None:
    """Success after both waits. D2."""
    attempt = await row.download(f"status={status}&ra=1&times=2", SIZE)
    row.expect(attempt, disk="D2", requests=3)
    assert statuses(attempt) == [status, status, 200]
    assert [1 <= wait < 5 for wait in waits(attempt)] == [True, True]


async def test_S_02_until_a_date(row: Row) -> None:
    """Success after the wait. D2."""
    attempt = await row.download("status=503&ra=date%2B2&times=1", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert statuses(attempt) == [503, 200]
    # Dates have whole seconds: two of them may be one apart.
    assert [1 <= wait < 6 for wait in waits(attempt)] == [True]


async def test_S_02_until_a_date_in_the_past(row: Row) -> None:
    """Success after a wait of our own. D2."""
    attempt = await row.download("status=503&ra=date-5&times=1", SIZE, retry=SLOW)
    row.expect(attempt, disk="D2", requests=2)
    assert [0 < wait < 0.2 for wait in own_backoff(attempt)] == [True]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("is_begun", [False, True], ids=["at first", "in the middle"])
async def test_S_03_an_absurd_wait(row: Row, status: int, is_begun: bool) -> None:
    """RateLimitedError at once, saying so. D0, or D1 if something was held."""
    if is_begun:
        leave_partial(row, SIZE, 0, MiB)
    attempt = await row.download(f"status={status}&ra=315360000", SIZE, within=5)
    error = row.expect_error(attempt, errors.RateLimitedError, disk="D1" if is_begun else "D0", requests=1)
    assert (error.status, error.retry_after, len(attempt.requests)) == (status, 315360000, 1)
    assert "it asks to wait 3.1536e+08 s" in str(error)


@pytest.mark.parametrize("times", ["-1", "NaN", "1e999", "", "soon", "1.5", "9&ra=1", "+1", "٣"])
async def test_S_03_a_malformed_wait(row: Row, times: str) -> None:
    """Success after a wait of our own. D2."""
    wish = "&ra=".join(quote(time.encode()) for time in times.split("&ra="))
    attempt = await row.download(f"status=429&ra={wish}&times=1", SIZE, retry=SLOW)
    row.expect(attempt, disk="D2", requests=2)
    assert [0 < wait < 0.2 for wait in own_backoff(attempt)] == [True]
    assert waits(attempt)[0] < 0.9


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425])
async def test_S_04_a_passing_error(row: Row, status: int) -> None:
    """Success after one more request. D2."""
    attempt = await row.download(f"status={status}&times=1", SIZE)
    row.expect(attempt, disk="D2", requests=2)
    assert statuses(attempt) == [status, 200]


FINAL = {
    400: errors.ServiceError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    405: errors.ServiceError,
    410: errors.NotFoundError,
    413: errors.ServiceError,
    414: errors.ServiceError,
    422: errors.ServiceError,
    451: errors.ServiceError,
    501: errors.ServiceBrokenError,
}


@pytest.mark.parametrize("status", FINAL)
async def test_S_05_a_final_refusal(row: Row, status: int) -> None:
    """The status's own error, after one request. D0."""
    attempt = await row.download(f"status={status}")
    error = row.expect_error(attempt, FINAL[status], disk="D0", requests=1)
    assert (error.status, error.attempts) == (status, 1)
    assert "key" not in str(error)  # none was sent
    assert statuses(attempt) == [status]


async def test_S_06_everybody_is_throttled(row: Row) -> None:
    """Success of all, with fewer connections, and one wait for everybody. D2."""
    sources = [row.source("status=429&ra=1&until=1.5", 40_000, name=f"f{number}") for number in range(50)]
    policy = RetryPolicy(attempts=12, initial=0.01, longest=0.05)
    attempt = await row.download_all(sources, max_concurrency=50, max_connections="auto", retry=policy, durable=False)
    row.expect_all(attempt)
    refused = [request for request in attempt.requests if request.status == 429]
    storms = waves([request.started_at for request in refused])
    assert len(attempt.requests) == len(refused) + len(sources)
    assert len(storms) == 2  # one a second: nobody asks before the time that somebody else was told
    assert len(storms[0]) <= 16
    assert len(storms[1]) < len(storms[0])  # who is refused uses fewer connections
    assert all(
        request.started_at - refused[0].started_at >= 1.5 for request in attempt.requests if request not in refused
    )


async def test_S_06_every_second_one_is_throttled(row: Row) -> None:
    """Success of all: those who were served wait for what the others were told, too. D2."""
    sources = [row.source("status=429&ra=1&until=0.8&p=0.5", 40_000, name=f"f{number}") for number in range(50)]
    attempt = await row.download_all(sources, max_concurrency=50, max_connections="auto", durable=False)
    row.expect_all(attempt)
    refused = [request for request in attempt.requests if request.status == 429]
    first, *others = waves([request.started_at for request in attempt.requests])
    assert len(attempt.requests) == len(refused) + len(sources)
    assert 0 < len(refused) <= 16
    assert len(refused) < len(first) <= 32  # a few go on while the first refusal is on its way
    assert len(others) == 1  # after a second: nobody who was served goes on before it
    assert refused[-1].started_at in first


async def test_S_06_as_many_connections_as_asked_for(row: Row) -> None:
    """Success of all: fixed connections stay, and all of them wait for what one was told. D2."""
    sources = [row.source("status=429&ra=1&until=0.8", 40_000, name=f"f{number}") for number in range(50)]
    attempt = await row.download_all(sources, max_concurrency=50, max_connections=50, durable=False)
    row.expect_all(attempt, requests=100)
    storms = waves([request.started_at for request in attempt.requests])
    assert [len(storm) for storm in storms] == [len(attempt.requests) - 50, 50]
    assert statuses(attempt).count(429) == len(storms[0])


def waves(moments: list[float]) -> list[list[float]]:
    """Divide moments where half a second goes by without one."""
    result = [[moments[0]]]
    for moment in moments[1:]:
        if moment - result[-1][-1] > 0.5:
            result.append([])
        result[-1].append(moment)
    return result


HOSTILE = {
    "HTML": (b"<html><title>\x1b[31mGateway</title></html>", ""),
    "an escape sequence": (b"\x1b]0;owned\x07\x1b[2Jdone", "\\x1b]0;owned\\x07\\x1b[2Jdone"),
    "no UTF-8": (b"\xff\xfe\x80", None),
    "what says that it is gzip": (gzip.compress(bytes(2**20), mtime=0), None),
    "a long text": (b"w" * 5000, "w" * 200 + "…"),
    "an object storage's XML": (b"<Error><Code>Odd\x1b</Code><Message>a &lt; b\r\n</Message></Error>", None),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("status", [404, 500])
async def test_S_07_hostile_text(row: Row, what: str, status: int) -> None:
    """The status's own error, its text escaped and cut. D0."""
    body, shown = HOSTILE[what]
    fault = f"status={status}&sbody={quote(body)}"
    attempt = await row.download(fault + ("&hdr=Content-Encoding:%20gzip" if "gzip" in what else ""))
    kind = {404: errors.NotFoundError, 500: errors.ServiceBrokenError}[status]
    error = row.expect_error(attempt, kind, disk="D0", requests=1 if status == 404 else 5)
    assert statuses(attempt) == [status] * (1 if status == 404 else 5)
    assert len(error.code) <= 201
    assert len(error.message) <= 201
    assert not [each for each in str(error) if each < " " or "\x7f" <= each < "\xa0"]
    assert shown is None or error.message == shown


@pytest.mark.parametrize("status", [404, 500])
async def test_S_07_a_gzip_bomb(row: Row, status: int) -> None:
    """The status's own error: 300 MiB are not unpacked. D0."""
    packed = b"".join(bomb_body(300 * MiB).blocks())
    head = f"HTTP/1.1 {status} Odd\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    async with open_peer(saying(head.encode() + packed)) as peer:
        attempt = await row.download_url(f"{peer.root}/f", memory_mib=32)
        kind = {404: errors.NotFoundError, 500: errors.ServiceBrokenError}[status]
        error = row.expect_error(attempt, kind, disk="D0")
        assert error.attempts == peer.connections == (1 if status == 404 else 5)
    assert len(error.message) <= 201


@pytest.mark.parametrize("status", [404, 500])
async def test_S_07_a_body_of_a_gib(row: Row, status: int) -> None:
    """The status's own error: of the body 64 KiB are read, the rest is left with its connection. D0."""
    attempt = await row.download(f"status={status}&sbody=1g")
    kind = {404: errors.NotFoundError, 500: errors.ServiceBrokenError}[status]
    row.expect_error(attempt, kind, disk="D0", requests=1 if status == 404 else 5)
    assert statuses(attempt) == [status] * (1 if status == 404 else 5)
    # What lies in the buffers of two sockets was sent as well.
    assert all(request.sent_bytes < 16 * MiB for request in attempt.requests)


async def test_S_07_what_is_taken_of_a_body_of_a_gib(row: Row, tmp_path: Path) -> None:
    """The status's own error: no more leaves the socket than the pieces that bring 64 KiB. D0."""
    listing, log = row.tree / "home" / "list", tmp_path / "calls"
    listing.write_text(f"{row.url('status=404&sbody=1g', signed=False)}\tf\n")
    calls = "recvfrom,recvmsg,read,splice"
    words = [*strace(log, "-yy", "-e", f"trace={calls}"), *COMMAND, "fetch", str(listing), "--to", str(row.dest)]
    async with row.attempt({"f": None}, within=60) as attempt:
        done = await trio.run_process(
            words, capture_stderr=True, check=False, env=row.shell.environment(), cwd=row.tree
        )
    row.show("what it said", done.stderr)
    row.expect_disk(attempt, disk="D0")
    assert "404" in done.stderr.decode()
    taken = [int(call.rpartition(" = ")[2].split()[0]) for call in calls_in(log, *calls.split(",")) if "TCP" in call]
    print(f"\nS-07: {sum(taken)} bytes of a body of a GiB were taken")
    assert len(attempt.requests) == 1
    assert _ERROR_BYTES <= sum(taken) <= _ERROR_BYTES + _PIECE


async def test_S_08_an_error_document_once(row: Row) -> None:
    """Success after a second try. D2."""
    attempt = await row.download("fail200=1&times=1", SIZE, is_sized=True)
    row.expect(attempt, disk="D2", requests=2)
    assert statuses(attempt) == [200, 200]


@pytest.mark.parametrize("knows", ["the size", "the digest"])
async def test_S_08_an_error_document_always(row: Row, knows: str) -> None:
    """ChecksumMismatchError after a second try. D0."""
    digests = {"sha256": sha256_of(row.emulator.blob_content(SIZE, name="f"))} if knows == "the digest" else None
    attempt = await row.download("fail200=1", SIZE, is_sized=knows == "the size", digests=digests)
    error = row.expect_error(attempt, errors.ChecksumMismatchError, disk="D0", requests=2)
    assert error.algorithm == ("size" if digests is None else "sha256")
    assert statuses(attempt) == [200, 200]


@pytest.mark.parametrize("status", [405, 500])
async def test_S_09_head_is_refused(row: Row, status: int) -> None:
    """Success: it is never asked for. D2."""
    attempt = await row.download(f"headstatus={status}", SIZE)
    row.expect(attempt, disk="D2", requests=1)
    assert [request.method for request in attempt.requests] == ["GET"]
