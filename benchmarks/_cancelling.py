"""Cancel requests, then make one that has to work: ``_cancelling.py stock|ours URL COUNT``.

It prints how many of the requests were cancelled in time, how many sockets are open when the client is closed, and how
the last one ended.
"""

import os
import stat
import sys
from contextlib import suppress

import httpx
import trio

import trio_norman

_SOCKETS = 5
_PATIENCE = 2.0  # seconds for the last request


def client(which: str) -> httpx.AsyncClient:
    if which == "ours":
        return httpx.AsyncClient(transport=trio_norman.TrioTransport(max_connections=_SOCKETS), timeout=_PATIENCE)
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=_SOCKETS), timeout=_PATIENCE, trust_env=False)


def open_sockets() -> int:
    found = 0
    for number in range(1024):
        with suppress(OSError):
            found += stat.S_ISSOCK(os.fstat(number).st_mode)
    return found


async def give_up_early(http: httpx.AsyncClient, url: str, turn: int) -> bool:
    """Ask, and cancel at a moment that wanders through the whole exchange; tell whether it was in time."""
    with trio.move_on_after(0.000_1 * (turn % 50)) as scope:
        await http.get(url)
    return scope.cancelled_caught


async def main() -> None:
    which, url, count = sys.argv[1:]
    before = open_sockets()  # Trio has some of its own
    async with client(which) as http:
        in_time: list[bool] = []

        async def one(turn: int) -> None:
            in_time.append(await give_up_early(http, url, turn))

        for begin in range(0, int(count), 2 * _SOCKETS):  # twice as many at a time as there are places
            async with trio.open_nursery() as nursery:
                for turn in range(begin, min(begin + 2 * _SOCKETS, int(count))):
                    nursery.start_soon(one, turn)
        try:
            ending = str((await http.get(url)).status_code)
        except httpx.HTTPError as error:
            ending = type(error).__name__
    print(sum(in_time), open_sockets() - before, ending)


if __name__ == "__main__":
    trio.run(main)
