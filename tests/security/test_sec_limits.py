"""Each limit holds at n, and not at n + 1; each has a default and can be chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.destinations import QUICK, results_of
from tests.launch.launch_opening import cut, event, send_instead, streamed
from tests.launch.launch_opening import open_in_memory as launch_in_memory
from tests.rest.rest_opening import open_in_memory
from trio_norman import (
    ConnectionSettings,
    Limits,
    RetryPolicy,
    Secret,
    ServiceClient,
    Source,
    TrainingRun,
    download_many,
)
from trio_norman._sansio.addresses import AllowedHosts, Vicinity
from trio_norman._wire._fetching import open_fetcher
from trio_norman._wire._uploading import put_bytes
from trio_norman.emulator import Emulator, open_emulator
from trio_norman.errors import (
    ChecksumMismatchError,
    ConfigurationError,
    InterruptedTransferError,
    LimitExceededError,
    NotFoundError,
    PagingError,
    RateLimitedError,
    RedirectError,
    ServiceBrokenError,
    TrioNormanError,
    UndecodableResponseError,
)
from trio_norman.launch import LaunchLimits
from trio_norman.transfer import DownloadOptions


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=4, checkpoints=1, size_bytes=1000) as opened:
        yield opened


async def asked(url: str, limits: Limits | None = None) -> int:
    """Fetch a URL within limits; give the number of its answer's header fields."""
    settings = ConnectionSettings(limits=limits or Limits())
    async with open_fetcher(settings) as fetcher, fetcher.fetch(Secret(url)) as answer:
        assert answer.status == 200
        return len(answer.headers)


def test_SEC_16_the_limits_are_these() -> None:
    """64 KiB heads, 256 fields, 16 interim answers, 16 MiB and 64 levels of JSON, 8 MiB events, and the others."""
    assert attrs.asdict(Limits()) == {
        "head_bytes": 64 * 1024,
        "head_fields": 256,
        "interim_answers": 16,
        "answer_bytes": 16 * 1024 * 1024,
        "answer_depth": 64,
        "error_bytes": 64 * 1024,
        "redirects": 5,
        "pages": 10_000,
        "url_characters": 8 * 1024,
    }
    policy, options = RetryPolicy(), DownloadOptions()
    assert (policy.attempts, policy.seconds, policy.longest_retry_after) == (8, 600, 300)
    assert (options.largest_bytes, options.archive_entries, options.archive_ratio) == (1024**4, 16_384, 100)
    assert attrs.asdict(LaunchLimits()) == {
        "predict_seconds": 330,
        "idle_seconds": 60,
        "largest_event": 8 * 1024 * 1024,
        "polls_at_once": 16,
    }


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Limits)])
def test_SEC_16_no_limit_can_be_switched_off_by_a_slip(name: str) -> None:
    """ValueError for a negative one."""
    for value in (-1, -(10**9)):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: value})


# ---- heads


@pytest.mark.parametrize(
    ("given", "limits"), [(16, Limits()), (3, Limits(interim_answers=3)), (0, Limits(interim_answers=0))]
)
async def test_SEC_16_interim_answers(given: int, limits: Limits, emulator: Emulator) -> None:
    """n are passed over, n + 1 are a LimitExceededError."""
    await asked(emulator.blob_url(1000, interim=given), limits)
    with pytest.raises(LimitExceededError, match=f"limit of {given} interim"):
        await asked(emulator.blob_url(1000, interim=given + 1), limits)


async def test_SEC_16_header_fields(emulator: Emulator) -> None:
    """n are read, n + 1 are a LimitExceededError."""
    count = await asked(emulator.blob_url(1000))
    for most in (256, 40):
        limits = Limits(head_fields=most)
        assert await asked(emulator.blob_url(1000, hdrs=most - count), limits) == most
        with pytest.raises(LimitExceededError, match=f"limit of {most} fields"):
            await asked(emulator.blob_url(1000, hdrs=most - count + 1), limits)


async def test_SEC_16_the_length_of_a_head(emulator: Emulator) -> None:
    """The emulator's own head is below 1 KiB; the wire's own tests look at the very byte."""
    await asked(emulator.blob_url(1000, hdrsize=63 * 1024))
    await asked(emulator.blob_url(1000, hdrsize=2048), Limits(head_bytes=3072))
    for size, limits in ((64 * 1024, Limits()), (3072, Limits(head_bytes=3072))):
        with pytest.raises(LimitExceededError, match="head"):
            await asked(emulator.blob_url(1000, hdrsize=size), limits)


# ---- where to


@pytest.mark.parametrize("most", [5, 2, 0])
async def test_SEC_16_redirects(most: int, emulator: Emulator) -> None:
    """n are followed, n + 1 are a RedirectError after n + 1 requests."""
    await asked(emulator.blob_url(1000, redirect=most), Limits(redirects=most))
    with pytest.raises(RedirectError, match=f"more than {most} redirects"):
        await asked(emulator.blob_url(1000, redirect=most + 1), Limits(redirects=most))
    assert len(emulator.requests) == 2 * (most + 1)


@pytest.mark.parametrize("most", [8192, 500])
async def test_SEC_16_the_length_of_a_url(most: int, emulator: Emulator) -> None:
    """n characters are asked for, n + 1 are a ConfigurationError, on a known origin too."""
    limits, url = Limits(url_characters=most), emulator.upload("f", b"x") + "?sbody="
    for _ in range(2):  # an origin that is known already is judged as well
        await asked(url.ljust(most, "x"), limits)
    async with open_fetcher(ConnectionSettings(limits=limits)) as fetcher:
        for length in (most, most + 1, most, most + 1):
            if length == most:
                async with fetcher.fetch(Secret(url.ljust(length, "x"))) as answer:
                    assert answer.status == 200
            else:
                with pytest.raises(ConfigurationError, match=f"longer than {most} characters"):
                    async with fetcher.fetch(Secret(url.ljust(length, "x"))):
                        pytest.fail("it is too long")
    assert len(emulator.requests) == 4


# ---- the API's answers


async def runs_with(body: str, limits: Limits) -> int:
    async with open_emulator(runs=0) as emulator:
        emulator.misbehave("/api/api/runs", status=200, body=body)
        connection = ConnectionSettings(limits=limits)
        client = ServiceClient(emulator.api_key, emulator.base_url, api="classic", connection=connection, retry=QUICK)
        async with client.create_rest_client() as rest:
            return len((await rest.list_training_runs()).training_runs)


@pytest.mark.parametrize("most", [16 * 2**20, 5000])
async def test_SEC_16_the_length_of_an_answer(most: int) -> None:
    """n bytes are read, n + 1 are a LimitExceededError."""
    body = '{"training_runs": []}'
    assert await runs_with(body.ljust(most), Limits(answer_bytes=most)) == 0
    with pytest.raises(LimitExceededError, match=f"exceeds the limit of {most} bytes"):
        await runs_with(body.ljust(most + 1), Limits(answer_bytes=most))


@pytest.mark.parametrize("most", [64, 5])
async def test_SEC_16_the_depth_of_an_answer(most: int) -> None:
    """n levels are read, n + 1 are an UndecodableResponseError."""

    def body(depth: int) -> str:
        return '{"training_runs": [], "x": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"

    assert await runs_with(body(most), Limits(answer_depth=most)) == 0
    with pytest.raises(UndecodableResponseError, match=f"deeper than {most} levels"):
        await runs_with(body(most + 1), Limits(answer_depth=most))


@pytest.mark.parametrize("most", [50, 5000])
async def test_SEC_16_the_explanation_of_an_error(most: int, emulator: Emulator) -> None:
    """As JSON it can only be read whole; what is cut is not JSON any more."""
    text = '{"message": "all of it"}'
    for length, is_whole in ((most, True), (most + 1, False)):
        body = text.ljust(length) if is_whole else text[:-1].ljust(length - 1) + "}"
        url = emulator.blob_url(1000, status=404, sbody=body)
        with pytest.raises((NotFoundError, ConfigurationError)) as caught:
            await asked(url, Limits(error_bytes=most, url_characters=10**6))
        assert isinstance(caught.value, NotFoundError)
        assert (caught.value.message == "all of it") == is_whole


def told_in(length: int) -> bytes:
    """Write an explanation of so many bytes; as JSON it can only be read whole."""
    return b'{"message": "all of it"'.ljust(length - 1) + b"}"


@pytest.mark.parametrize("limits", [Limits(), Limits(error_bytes=5000)])
async def test_SEC_16_the_explanation_of_an_error_of_the_api(limits: Limits, emulator: Emulator) -> None:
    """n bytes are read whole, n + 1 are cut, and what follows without end is not read."""
    connection, most = ConnectionSettings(limits=limits), limits.error_bytes
    client = ServiceClient(emulator.api_key, emulator.base_url, api="classic", connection=connection, retry=QUICK)
    async with client.create_rest_client() as rest:
        for length, is_whole in ((most, True), (most + 1, False)):
            emulator.behave()
            emulator.misbehave("/api/api/runs", status=404, body=told_in(length))
            with pytest.raises(NotFoundError) as caught:
                await rest.list_training_runs()
            assert (caught.value.message == "all of it") == is_whole
        sent = Endless()
        emulator.behave()
        emulator.misbehave("/api/api/runs", status=404, body=sent.blocks)
        with trio.fail_after(5), pytest.raises(NotFoundError):
            await rest.list_training_runs()
        assert sent.count < most + 12 * 2**20  # and the buffers in between


@attrs.define(eq=False)
class Endless:
    """A body without end, and how much of it was asked for."""

    count: int = 0

    def blocks(self) -> Iterator[bytes]:
        while True:
            self.count += 65536
            yield b"x" * 65536


@pytest.mark.parametrize("limits", [Limits(), Limits(error_bytes=5000)])
async def test_SEC_16_the_explanation_of_an_error_of_an_upload(limits: Limits, emulator: Emulator) -> None:
    """n bytes are read whole, n + 1 are cut, and what follows without end is not read."""
    settings, most = ConnectionSettings(limits=limits), limits.error_bytes
    home = Vicinity.of(emulator.base_url, AllowedHosts())
    sent = Endless()
    bodies: list[tuple[Any, bool]] = [(told_in(most), True), (told_in(most + 1), False), (sent.blocks, False)]
    for body, is_whole in bodies:
        emulator.behave()
        emulator.misbehave("/api/put", status=404, body=body)
        url = Secret(f"{emulator.base_url}/api/put?signature=s")
        with trio.fail_after(5), pytest.raises(NotFoundError) as caught:
            await put_bytes(settings, url, b"x", home=home, policy=QUICK)
        assert (caught.value.message == "all of it") == is_whole
    assert sent.count < most + 12 * 2**20  # and the buffers in between


# ---- events


def lines_of(length: int, *, most: int) -> bytes:
    """Write an event that counts `length` bytes in lines that are far below that."""
    first = event("x").strip() + b"\r\n"
    left, step = length - len(first) + 1, most // 4
    fillers = [b"data:".ljust(step - 1) + b"\n"] * (left // step)
    rest = left - sum(map(len, fillers))
    return first + b"".join(fillers) + b"data:".ljust(rest - 1) + b"\n\n"


def line_of(length: int, *, most: int) -> bytes:
    """Write a comment of one line, and an event."""
    return b":".ljust(length, b"x") + b"\n\n" + event("x")


@pytest.mark.parametrize(("most", "limits"), [(8 * 2**20, LaunchLimits()), (5000, LaunchLimits(largest_event=5000))])
@pytest.mark.parametrize("written", [lines_of, line_of])
async def test_SEC_16_the_length_of_an_event(
    written: Callable[..., bytes], most: int, limits: LaunchLimits, autojump_clock: MockClock
) -> None:
    """n bytes of a line, or of an event's lines, are read; n + 1 are a LimitExceededError."""
    async with launch_in_memory(limits=limits) as (emulator, client):
        send_instead(emulator, *cut(written(most, most=most), 2**18))
        assert await streamed(client) == ["x"]
        emulator.behave()
        send_instead(emulator, *cut(written(most + 1, most=most), 2**18))
        with pytest.raises(LimitExceededError, match=f"limit of {most} bytes"):
            await streamed(client)


@pytest.mark.parametrize("most", [4, 3, 1])
async def test_SEC_16_the_pages_of_a_list(most: int, emulator: Emulator) -> None:
    """Four training runs, one a page."""
    settings = ConnectionSettings(limits=Limits(pages=most))
    seen: list[TrainingRun] = []
    async with ServiceClient(emulator.api_key, emulator.base_url, connection=settings).create_rest_client() as rest:
        runs = rest.iter_training_runs(limit=1)
        while len(seen) < most:
            seen.append(await anext(runs))
        with pytest.raises(StopAsyncIteration if most == 4 else PagingError):
            await anext(runs)
    assert [run.training_run_id for run in seen] == [run.training_run_id for run in emulator.training_runs][:most]


# ---- trying again


@pytest.mark.parametrize("most", [8, 3])
async def test_SEC_16_attempts(most: int, autojump_clock: MockClock) -> None:
    """The n-th try may succeed; there is no n + 1st."""
    policy = RetryPolicy() if most == 8 else RetryPolicy(attempts=most)
    async with open_in_memory(policy, runs=0) as (emulator, rest):
        emulator.misbehave("/api/api/runs", status=503, times=most - 1)
        assert (await rest.list_training_runs()).training_runs == ()
        emulator.behave()
        rule = emulator.misbehave("/api/api/runs", status=503)
        with pytest.raises(ServiceBrokenError) as caught:
            await rest.list_training_runs()
        assert (rule.hits, caught.value.attempts) == (most, most)


@pytest.mark.parametrize("most", [300, 10])
async def test_SEC_16_the_wait_that_a_peer_may_ask_for(most: int, autojump_clock: MockClock) -> None:
    """n seconds are waited for, n + 1 are a RateLimitedError at once."""
    async with open_in_memory(RetryPolicy(longest_retry_after=most), runs=0) as (emulator, rest):
        began = trio.current_time()
        emulator.misbehave("/api/api/runs", status=429, retry_after=most, times=1)
        await rest.list_training_runs()
        assert most <= trio.current_time() - began < most + 1
        emulator.misbehave("/api/api/runs", status=429, retry_after=most + 1)
        began = trio.current_time()
        with pytest.raises(RateLimitedError):
            await rest.list_training_runs()
        assert trio.current_time() - began < 1


@pytest.mark.parametrize("most", [600, 50])
async def test_SEC_16_the_time_that_trying_again_may_take(most: int, autojump_clock: MockClock) -> None:
    """The error comes before the seconds are over, however many attempts are left."""
    policy = RetryPolicy(attempts=10**6, seconds=most)
    async with open_in_memory(policy, runs=0) as (emulator, rest):
        emulator.misbehave("/api/api/runs", status=500, retry_after=most / 4)
        began = trio.current_time()
        with pytest.raises(ServiceBrokenError):
            await rest.list_training_runs()
        assert most / 2 <= trio.current_time() - began <= most


# ---- files


async def brought(
    emulator: Emulator, directory: Path, *, declared: int | None, url: str, **options: Any
) -> TrioNormanError | None:
    source = Source.from_url(url, "f", size_bytes=declared)
    async with download_many([source], directory, retry=RetryPolicy(attempts=2, initial=0), **options) as downloads:
        (result,) = await results_of(downloads)
    assert (directory / "f").exists() == (result.error is None)
    return result.error


@pytest.mark.parametrize("knobs", [{}, {"chunked": True}], ids=["length", "chunks"])
@pytest.mark.parametrize("size", [1000, 2 << 20])
async def test_SEC_16_an_object_of_undeclared_size(
    size: int, knobs: dict[str, Any], emulator: Emulator, tmp_path: Path
) -> None:
    """n bytes are brought, n + 1 are a LimitExceededError; a declared size needs no limit."""
    url = emulator.blob_url(size, **knobs)
    assert await brought(emulator, tmp_path / "n", declared=None, url=url, largest_bytes=size) is None
    error = await brought(emulator, tmp_path / "n+1", declared=None, url=url, largest_bytes=size - 1)
    assert isinstance(error, LimitExceededError)
    assert error.limit == size - 1
    assert await brought(emulator, tmp_path / "declared", declared=size, url=url, largest_bytes=1) is None


@pytest.mark.parametrize("knobs", [{}, {"chunked": True}, {"close": True}], ids=["length", "chunks", "close"])
async def test_SEC_16_an_object_is_as_long_as_it_was_declared(
    knobs: dict[str, Any], emulator: Emulator, tmp_path: Path
) -> None:
    """One byte more or less is a ChecksumMismatchError, or an InterruptedTransferError in the end."""
    url = emulator.blob_url(1000, **knobs)
    assert await brought(emulator, tmp_path / "n", declared=1000, url=url) is None
    for declared in (999, 1001):
        error = await brought(emulator, tmp_path / str(declared), declared=declared, url=url)
        assert isinstance(error, ChecksumMismatchError | InterruptedTransferError), error
