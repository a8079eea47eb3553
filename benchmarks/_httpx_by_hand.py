"""`httpx` on Trio as a careful user writes it: ``_httpx_by_hand.py LIST DIRECTORY TASKS CA [--sha256] [--sync]``."""

import hashlib
import os
import ssl
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import httpx
import trio

_BATCH = 2**20  # bytes that one visit to a worker thread writes at least


def items(list_file: str) -> Iterator[tuple[str, str]]:
    with open(list_file) as lines:
        for line in lines:
            url, name = line.rstrip("\n").split("\t")
            yield url, name


def open_raw(path: Path) -> BinaryIO:
    return open(path, "wb", buffering=0)


def write(file: BinaryIO, batch: Sequence[bytes], digest: "hashlib._Hash | None") -> None:
    for piece in batch:
        file.write(piece)
        if digest is not None:
            digest.update(piece)


def finish(file: BinaryIO, temporary: Path, final: Path, *, sync: bool) -> None:
    file.flush()
    if sync:
        os.fsync(file.fileno())
    file.close()
    temporary.rename(final)


async def fetch(client: httpx.AsyncClient, url: str, final: Path, *, with_sha256: bool, sync: bool) -> None:
    temporary = final.with_name(final.name + ".part")
    digest = hashlib.sha256() if with_sha256 else None
    file: BinaryIO = await trio.to_thread.run_sync(open_raw, temporary)
    try:
        async with client.stream("GET", url) as response:
            response.raise_for_status()
            batch: list[bytes] = []
            size = 0
            async for chunk in response.aiter_raw():
                batch.append(chunk)
                size += len(chunk)
                if size >= _BATCH:
                    await trio.to_thread.run_sync(write, file, batch, digest)
                    batch, size = [], 0
            await trio.to_thread.run_sync(write, file, batch, digest)
        await trio.to_thread.run_sync(partial(finish, file, temporary, final, sync=sync))
    finally:
        file.close()


async def main() -> None:
    list_file, directory, tasks, ca_file, *flags = sys.argv[1:]
    count = int(tasks)
    verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    queue = items(list_file)

    async def work() -> None:
        for url, name in queue:
            await fetch(client, url, Path(directory, name), with_sha256="--sha256" in flags, sync="--sync" in flags)

    headers = {"Accept-Encoding": "identity"}
    async with httpx.AsyncClient(limits=limits, trust_env=False, headers=headers, verify=verify) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(work)


if __name__ == "__main__":
    trio.run(main)
