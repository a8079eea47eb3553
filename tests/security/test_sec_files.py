"""Files come into being inside the destination and nowhere else, whoever moves directories and links about."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.destinations import QUICK, results_of
from trio_norman import Source, download_many
from trio_norman.emulator import open_emulator


@contextmanager
def meanwhile(act: Callable[[], None], *, from_the_first_file_on: bool = False) -> Iterator[threading.Event]:
    """Do something again and again in a thread, for as long as the block lasts; the event lets it begin."""
    is_begun, is_over = threading.Event(), threading.Event()
    if not from_the_first_file_on:
        is_begun.set()

    def work() -> None:
        is_begun.wait()
        while not is_over.wait(0.0005):
            with suppress(OSError):
                act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield is_begun
    finally:
        is_begun.set()
        is_over.set()
        thread.join()


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


async def bring(directory: Path, began: threading.Event, *, count: int, size: int = 500) -> list[str]:
    """Download many objects, setting the event at the first one; give the names of those that came."""
    came = []
    async with open_emulator(runs=0) as emulator:
        sources = [Source.from_url(emulator.blob_url(size, name=f"b{n}"), f"f{n}") for n in range(count)]
        async with download_many(sources, directory, 16, retry=QUICK, durable=False) as downloads:
            async for result in downloads:
                began.set()
                came += [result.source.name] if result.error is None else []
    return came


async def test_SEC_11_a_directory_that_is_swapped_for_a_link_leads_nowhere(tmp_path: Path) -> None:
    """The destination was opened once: a thousand files land in that directory, wherever its name leads meanwhile."""
    home, away, aside = tmp_path / "home", tmp_path / "away", tmp_path / "aside"
    home.mkdir()
    away.mkdir()
    descriptor = os.open(home, os.O_RDONLY)

    swaps: list[int] = []

    def swap() -> None:
        swaps.append(len(swaps))
        home.rename(aside)
        home.symlink_to(away)
        home.unlink()
        aside.rename(home)

    with meanwhile(swap, from_the_first_file_on=True) as began:
        came = await bring(home, began, count=1000)
    landed = set(os.listdir(descriptor))
    os.close(descriptor)
    assert len(came) == 1000
    assert landed == set(came)
    assert tree(away) == set()
    assert len(swaps) > 10


@pytest.mark.parametrize("size", [500, 2 << 20])
async def test_SEC_11_a_link_under_the_final_name_or_the_partials_is_never_written_through(
    size: int, tmp_path: Path
) -> None:
    """Symbolic and hard links that somebody plants while files come."""
    home, victim = tmp_path / "home", tmp_path / "victim"
    home.mkdir()
    victim.write_bytes(b"untouched")
    turn = iter(range(10**9))

    def plant() -> None:
        number = next(turn)
        name = f"f{number // 3 % 20}"
        wanted = home / (name, f".{name}.part", f".{name}.part.json")[number % 3]
        if number % 2:
            wanted.symlink_to(victim)
        else:
            os.link(victim, wanted)

    with meanwhile(plant) as began:
        came = await bring(home, began, count=20, size=size)
    assert victim.read_bytes() == b"untouched"
    assert tree(tmp_path) - {"home", "victim"} == {f"home/{name}" for name in tree(home)}
    for name in came:
        path = home / name
        assert not path.is_symlink()
        assert path.stat().st_size == size


async def test_SEC_11_nothing_is_created_outside_by_any_name(tmp_path: Path) -> None:
    """Names that would lead out are refused, each as its own item's error."""
    names = [
        "../x",
        "/etc/x",
        "a/../../x",
        "..",
        ".",
        "~root",
        "a/b",
        "a\\b",
        "C:x",
        "-rf",
        "x\0y",
        "CON",
        "a" * 300,
        "ok",
    ]
    async with open_emulator(runs=0) as emulator:
        sources = [Source.from_url(emulator.blob_url(10), name) for name in names]
        async with download_many(sources, tmp_path / "home", retry=QUICK) as downloads:
            results = await results_of(downloads)
    assert [result.source.name for result in results if result.error is None] == ["ok"]
    assert tree(tmp_path) == {"home", "home/ok"}
