"""How long two processes wait that were one: a program, as a process that has run Trio's threads cannot be forked."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx
import trio
import trio.testing

from trio_norman import (
    ConnectionSettings,
    LaunchClient,
    Norman,
    RetryPolicy,
    ServiceClient,
    Source,
    download_many,
)
from trio_norman.errors import TrioNormanError
from trio_norman.transfer._folder import passing_name

FEW = RetryPolicy(attempts=4)
Asking = Callable[[ConnectionSettings, Path], Awaitable[object]]


async def calls(connection: ConnectionSettings, _: Path) -> None:
    async with ServiceClient("key", "http://127.0.0.1:1", connection=connection, retry=FEW).create_rest_client():
        pass


async def polls(connection: ConnectionSettings, _: Path) -> None:
    async with LaunchClient("key", "http://127.0.0.1:1", connection=connection, retry=FEW) as client:
        await client.future("endpoint", "task").get(600)


async def logins(connection: ConnectionSettings, _: Path) -> None:
    async with Norman("key", "http://127.0.0.1:1/v0", connection=connection, retry=FEW) as norman:
        await norman.get_access_token()


async def downloads(connection: ConnectionSettings, home: Path) -> None:
    source = Source.from_url("http://127.0.0.1:1/f", "f")
    async with download_many([source], home, connection=connection, retry=FEW) as results:
        assert [result.error async for result in results]


def waits_of(ask: Asking, home: Path) -> list[float]:
    """Have a service refuse everything; give the times of all attempts after the first."""
    times: list[float] = []

    async def refuse(request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        times.append(trio.current_time())
        return httpx.Response(503, request=request)

    async def give_up() -> None:
        with suppress(TrioNormanError):
            await ask(ConnectionSettings(transport=httpx.MockTransport(refuse)), home)

    trio.run(give_up, clock=trio.testing.MockClock(autojump_threshold=0))
    return [time - times[0] for time in times[1:]]


def tell_of_one() -> str:
    """Give a name, and all waits of those who ask."""
    with tempfile.TemporaryDirectory() as home:
        waits = {ask.__name__: waits_of(ask, Path(home)) for ask in (calls, polls, logins, downloads)}
    return json.dumps({"name": passing_name("f", "part"), "waits": waits})


def tell_of_both() -> None:
    """Fork, and write what either process has to say."""
    random.seed(1)  # as if the parent had drawn before
    here, there = os.pipe()
    if os.fork() == 0:
        os.write(there, tell_of_one().encode())
        os._exit(0)
    os.close(there)
    with open(here) as theirs:
        sys.stdout.write(f"[{tell_of_one()}, {theirs.read()}]")
    os.wait()
