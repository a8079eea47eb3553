"""`aiohttp` as a careful user writes it: ``_aiohttp_by_hand.py LIST DIRECTORY TASKS CA``."""

import asyncio
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import aiohttp  # type: ignore[import-not-found, unused-ignore]

_BATCH = 2**20  # bytes that one visit to a worker thread writes at least


def items(list_file: str) -> Iterator[tuple[str, str]]:
    with open(list_file) as lines:
        for line in lines:
            url, name = line.rstrip("\n").split("\t")
            yield url, name


def write(file: BinaryIO, batch: Sequence[bytes]) -> None:
    for piece in batch:
        file.write(piece)


async def fetch(session: "aiohttp.ClientSession", url: str, final: Path) -> None:
    temporary = final.with_name(final.name + ".part")
    with await asyncio.to_thread(open, temporary, "wb", 0) as file:
        async with session.get(url) as response:
            response.raise_for_status()
            batch, size = [], 0
            async for chunk in response.content.iter_any():
                batch.append(chunk)
                size += len(chunk)
                if size >= _BATCH:
                    await asyncio.to_thread(write, file, batch)
                    batch, size = [], 0
            await asyncio.to_thread(write, file, batch)
    await asyncio.to_thread(temporary.rename, final)


async def main() -> None:
    list_file, directory, tasks, ca_file = sys.argv[1:]
    queue = items(list_file)

    async def work() -> None:
        for url, name in queue:
            await fetch(session, url, Path(directory, name))

    headers = {"Accept-Encoding": "identity"}
    verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector, timeout = aiohttp.TCPConnector(limit=int(tasks), ssl=verify), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        async with asyncio.TaskGroup() as group:
            for _ in range(int(tasks)):
                group.create_task(work())


if __name__ == "__main__":
    asyncio.run(main())
