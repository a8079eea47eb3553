"""Our own library as a peer: ``_ours.py LIST DIRECTORY TASKS CA [FLAG ...]``.

Flags are ``--no-verify``, ``--no-durable``, ``--connections=N`` and ``--connections=auto``.
"""

import sys
from collections.abc import Iterator
from typing import Any

import trio

from trio_norman import ConnectionSettings, Outcome, Source, download_many


def sources(list_file: str) -> Iterator[Source]:
    with open(list_file) as lines:
        for line in lines:
            url, name = line.rstrip("\n").split("\t")
            yield Source.from_url(url, name)


def connections(flags: list[str]) -> Any:
    wanted = next((flag.partition("=")[2] for flag in flags if flag.startswith("--connections=")), None)
    return int(wanted) if wanted is not None and wanted.isdecimal() else wanted


async def main() -> int:
    list_file, directory, tasks, ca_file, *flags = sys.argv[1:]
    failed = 0
    async with download_many(
        sources(list_file),
        directory,
        max_concurrency=int(tasks),
        connection=ConnectionSettings(ca_file=ca_file or None),
        max_connections=connections(flags),
        verify="--no-verify" not in flags,
        durable="--no-durable" not in flags,
    ) as results:
        async for result in results:
            if result.outcome is not Outcome.OK:
                failed += 1
                print(f"{result.source.name}: {result.outcome} {result.error}", file=sys.stderr)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(trio.run(main))
