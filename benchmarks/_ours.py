"""Our own library as a peer: ``_ours.py LIST DIRECTORY TASKS [--no-verify] [--no-durable]``."""

import sys
from collections.abc import Iterator

import trio

from trio_norman import Outcome, Source, download_many


def sources(list_file: str) -> Iterator[Source]:
    with open(list_file) as lines:
        for line in lines:
            url, name = line.rstrip("\n").split("\t")
            yield Source.from_url(url, name)


async def main() -> int:
    list_file, directory, tasks, *flags = sys.argv[1:]
    failed = 0
    async with download_many(
        sources(list_file),
        directory,
        max_concurrency=int(tasks),
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
