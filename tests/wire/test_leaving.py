"""Bodies over a transport of httpx that are left before their end: nothing of them is left to the garbage collector."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.destinations import QUICK, results_of
from tests.launch.launch_opening import ask, streaming_endpoint
from trio_norman import ConnectionSettings, LaunchClient, Limits, ServiceClient, Source, download_many
from trio_norman.emulator import open_emulator
from trio_norman.errors import LimitExceededError, ServiceBrokenError

MiB = 2**20


@contextmanager
def nothing_left_to_collect() -> Iterator[None]:
    """See that no generator is left to the garbage collector, of which Trio warns."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(each.message) for each in warned if "generator" in str(each.message)] == []


@pytest.mark.parametrize(
    ("knobs", "kinds"),
    [
        ("rate=8m", {type(None)}),  # spans end, and what comes behind them is left
        ("status=500&sbody=9m", {ServiceBrokenError}),  # of which the start explains enough
    ],
)
async def test_downloads(tmp_path: Path, knobs: str, kinds: set[type]) -> None:
    with nothing_left_to_collect():
        async with open_emulator(runs=0) as emulator, httpx.AsyncHTTPTransport() as transport:
            sources = [Source.from_url(f"{emulator.blob_url(4 * MiB)}&{knobs}", "f")]
            connection = ConnectionSettings(transport=transport)
            async with download_many(
                sources, tmp_path, connection=connection, retry=QUICK, part_bytes=MiB
            ) as downloads:
                results = await results_of(downloads)
    assert {type(result.error) for result in results} == kinds


async def test_a_download_that_is_cancelled(tmp_path: Path) -> None:
    with nothing_left_to_collect():
        async with open_emulator(runs=0) as emulator, httpx.AsyncHTTPTransport() as transport:
            sources = [Source.from_url(f"{emulator.blob_url(4 * MiB)}&rate=200k", "f")]
            with trio.move_on_after(0.3) as scope:
                async with download_many(
                    sources, tmp_path, connection=ConnectionSettings(transport=transport)
                ) as downloads:
                    await results_of(downloads)
    assert scope.cancelled_caught


async def test_an_answer_that_is_too_long() -> None:
    with nothing_left_to_collect():
        async with open_emulator(runs=0) as emulator, httpx.AsyncHTTPTransport() as transport:
            connection = ConnectionSettings(transport=transport, limits=Limits(answer_bytes=100_000))
            service = ServiceClient(emulator.api_key, emulator.base_url, connection=connection)
            async with service.create_rest_client() as rest:
                emulator.misbehave("/api/.*", status=200, body=b" " * 9 * MiB)
                with pytest.raises(LimitExceededError):
                    await rest.list_training_runs()


async def test_events_of_which_some_are_wanted() -> None:
    with nothing_left_to_collect():
        async with open_emulator(runs=0) as emulator, httpx.AsyncHTTPTransport() as transport:
            connection = ConnectionSettings(transport=transport)
            async with LaunchClient(emulator.api_key, emulator.launch_base_url, connection=connection) as client:
                endpoint = await streaming_endpoint(client)
                async with endpoint.predict(ask(list(range(1000)))) as stream:
                    assert (await anext(stream)).status == "SUCCESS"
