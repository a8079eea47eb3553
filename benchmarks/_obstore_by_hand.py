"""`obstore` as a careful user writes it: ``_obstore_by_hand.py LIST DIRECTORY TASKS CA [RANGES]``.

With RANGES each file comes in parts, so many at a time.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from obstore.store import HTTPStore  # type: ignore[import-not-found, unused-ignore]

_PART = 8 * 2**20  # bytes that one request asks for
_PIECE = 2**20  # bytes that are written at once


def items(list_file: str) -> Iterator[tuple[str, str]]:
    with open(list_file) as lines:
        for line in lines:
            url, name = line.rstrip("\n").split("\t")
            yield url, name


class Stores:
    """One store for each server."""

    def __init__(self, ca_file: str) -> None:
        self._options: Any = {"allow_http": True, "timeout": "600s"}
        if ca_file:
            self._options["root_certificate"] = Path(ca_file).read_text()
        self._lock = Lock()

    @cache  # noqa: B019 (it lives as long as the process)
    def _store(self, root: str) -> "HTTPStore":
        return HTTPStore.from_url(root, client_options=self._options)

    def find(self, url: str) -> "tuple[HTTPStore, str]":
        root, _, path = url.rpartition("/")
        with self._lock:
            return self._store(root), path


def fetch(stores: Stores, url: str, final: Path) -> None:
    temporary = final.with_name(final.name + ".part")
    store, path = stores.find(url)
    with open(temporary, "wb", buffering=0) as file:
        for piece in store.get(path).stream(min_chunk_size=_PIECE):
            file.write(piece)
    temporary.rename(final)


def fetch_parts(stores: Stores, url: str, final: Path, pool: ThreadPoolExecutor) -> None:
    temporary = final.with_name(final.name + ".part")
    store, path = stores.find(url)
    size: int = store.head(path)["size"]
    with open(temporary, "wb", buffering=0) as file:

        def fetch_part(start: int) -> None:
            held = memoryview(store.get_range(path, start=start, end=min(start + _PART, size)))
            while held:
                written = os.pwrite(file.fileno(), held, start)
                start, held = start + written, held[written:]

        for _ in pool.map(fetch_part, range(0, size, _PART)):
            pass
    temporary.rename(final)


def main() -> None:
    list_file, directory, tasks, ca_file, *ranges = sys.argv[1:]
    stores = Stores(ca_file)
    with ThreadPoolExecutor(int(tasks)) as pool, ThreadPoolExecutor(int("".join(ranges) or 1)) as parts:
        done = [
            pool.submit(fetch_parts, stores, url, Path(directory, name), parts)
            if ranges
            else pool.submit(fetch, stores, url, Path(directory, name))
            for url, name in items(list_file)
        ]
        for each in done:
            each.result()


if __name__ == "__main__":
    main()
