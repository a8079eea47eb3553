"""`requests` in threads, one session each: ``_requests_by_hand.py LIST DIRECTORY TASKS CA``."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

import requests  # type: ignore[import-untyped, import-not-found, unused-ignore]

_PIECE = 2**20  # bytes that are read at once
_own = local()


def items(list_file: str) -> Iterator[tuple[str, str]]:
    with open(list_file) as lines:
        for line in lines:
            url, name = line.rstrip("\n").split("\t")
            yield url, name


def begin(ca_file: str) -> None:
    _own.session = requests.Session()
    _own.session.verify = ca_file or True
    _own.session.trust_env = False


def fetch(url: str, final: Path) -> None:
    temporary = final.with_name(final.name + ".part")
    with _own.session.get(url, stream=True, headers={"Accept-Encoding": "identity"}) as response:
        response.raise_for_status()
        with open(temporary, "wb", buffering=0) as file:
            for piece in response.iter_content(_PIECE):
                file.write(piece)
    temporary.rename(final)


def main() -> None:
    list_file, directory, tasks, ca_file = sys.argv[1:]
    with ThreadPoolExecutor(int(tasks), initializer=begin, initargs=(ca_file,)) as pool:
        done = [pool.submit(fetch, url, Path(directory, name)) for url, name in items(list_file)]
        for each in done:
            each.result()


if __name__ == "__main__":
    main()
