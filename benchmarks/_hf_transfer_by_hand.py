"""`hf_transfer` as `huggingface_hub` calls it: ``_hf_transfer_by_hand.py LIST DIRECTORY TASKS CA``."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hf_transfer  # type: ignore[import-not-found, import-untyped, unused-ignore]

_PIECE = 10 * 2**20  # bytes that one request asks for
_AT_ONCE = 100  # requests


def items(list_file: str) -> Iterator[tuple[str, str]]:
    with open(list_file) as lines:
        for line in lines:
            url, name = line.rstrip("\n").split("\t")
            yield url, name


def fetch(url: str, final: Path) -> None:
    temporary = final.with_name(final.name + ".part")
    hf_transfer.download(url=url, filename=str(temporary), max_files=_AT_ONCE, chunk_size=_PIECE)
    temporary.rename(final)


def main() -> None:
    list_file, directory, tasks, ca_file = sys.argv[1:]
    if ca_file:
        os.environ["SSL_CERT_FILE"] = ca_file
    with ThreadPoolExecutor(int(tasks)) as pool:
        done = [pool.submit(fetch, url, Path(directory, name)) for url, name in items(list_file)]
        for each in done:
            each.result()


if __name__ == "__main__":
    main()
