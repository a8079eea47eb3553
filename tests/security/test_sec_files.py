"""Files come into being inside the destination and nowhere else, whoever moves directories and links about."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Set
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.destinations import QUICK, results_of
from trio_norman import Source, download_many
from trio_norman.emulator import open_emulator
from trio_norman.errors import DestinationBusyError, LocalFileError, TrioNormanError

ONCE = attrs.evolve(QUICK, attempts=1)


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


SMALL, PARTIAL = 500, (1 << 20) + 1  # bytes: what is written without a partial, and what has one and a sidecar


async def bring(directory: Path, began: threading.Event, *, count: int, size: int = SMALL) -> list[str]:
    """Download many objects, setting the event at the first one; give the names of those that came.

    Every third one of those that have partials was begun by an earlier run, and is gone on with.
    """
    came = []
    async with open_emulator(runs=0) as emulator:
        urls = {f"f{n}": emulator.blob_url(size, name=f"b{n}") for n in range(count)}
        if size == PARTIAL:
            cut = [Source.from_url(f"{url}&reset={size // 2}", name) for name, url in [*urls.items()][::3]]
            async with download_many(cut, directory, 16, retry=ONCE) as downloads:
                results = await results_of(downloads)
            assert all((directory / f".{result.source.name}.part.json").exists() for result in results)
        sources = [Source.from_url(url, name) for name, url in urls.items()]
        async with download_many(sources, directory, 16, retry=QUICK, durable=False) as downloads:
            async for result in downloads:
                began.set()
                came += [result.source.name] if result.error is None else []
    return came


@pytest.mark.parametrize(("count", "size"), [(1000, SMALL), (60, PARTIAL)])
async def test_SEC_11_a_directory_that_is_swapped_for_a_link_leads_nowhere(
    count: int, size: int, tmp_path: Path
) -> None:
    """The destination was opened once: all files land in that directory, wherever its name leads meanwhile."""
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
        came = await bring(home, began, count=count, size=size)
    landed = set(os.listdir(descriptor))
    os.close(descriptor)
    assert len(came) == count
    assert landed == set(came)
    assert tree(away) == set()
    assert len(swaps) > 10


@pytest.mark.parametrize(("count", "size"), [(200, SMALL), (60, PARTIAL)])
async def test_SEC_11_a_link_under_the_final_name_or_the_partials_is_never_written_through(
    count: int, size: int, tmp_path: Path
) -> None:
    """Symbolic and hard links that somebody plants while files come, new ones and ones that are gone on with."""
    home, victim = tmp_path / "home", tmp_path / "victim"
    home.mkdir()
    victim.write_bytes(b"untouched")
    mode = victim.stat().st_mode
    turn = iter(range(10**9))
    planted: Counter[str] = Counter()

    def plant() -> None:
        number = next(turn)
        name = f"f{count - 1 - number // 6 % count}"  # from the last one on, whose names are still free
        kind = ("{}", ".{}.part", ".{}.part.json")[number % 3]
        wanted = home / kind.format(name)
        if number // 3 % 2:
            wanted.symlink_to(victim)
        else:
            os.link(victim, wanted)
        planted[kind] += 1

    with meanwhile(plant, from_the_first_file_on=True) as began:
        came = await bring(home, began, count=count, size=size)
    assert victim.read_bytes() == b"untouched"
    assert victim.stat().st_mode == mode
    assert tree(tmp_path) - {"home", "victim"} == {f"home/{name}" for name in tree(home)}
    assert len(planted) == 3
    assert came
    for name in came:
        path = home / name
        assert not path.is_symlink()
        assert path.stat().st_size == size


# ---- in the very moment between looking and opening

PART, SIDECAR, CLAIM = ".f.part", ".f.part.json", ".f.part.json.take"


def before_opening(monkeypatch: pytest.MonkeyPatch, names: Set[str], act: Callable[[str], Callable[[], None]]) -> None:
    """Do something just before a file of one of these names is opened, and what that returned just after."""
    true_open = os.open

    def opened(path: Any, *args: Any, **kwargs: Any) -> int:
        name = Path(path).name
        if name not in names:
            return true_open(path, *args, **kwargs)
        undo = act(name)
        try:
            return true_open(path, *args, **kwargs)
        finally:
            undo()

    monkeypatch.setattr(os, "open", opened)


@asynccontextmanager
async def half_brought(home: Path) -> AsyncIterator[Source]:
    """Open a storage and leave half a file of it in a partial; give the file's source."""
    async with open_emulator(runs=0) as emulator:
        url = emulator.blob_url(PARTIAL)
        async with download_many([Source.from_url(f"{url}&reset={PARTIAL // 2}", "f")], home, retry=ONCE) as cut:
            assert (await anext(cut)).error is not None
        assert tree(home) == {PART, SIDECAR}
        yield Source.from_url(url, "f")


@pytest.mark.parametrize("is_begun", [True, False])
@pytest.mark.parametrize(
    ("name", "link", "kind"),
    [
        (PART, Path.symlink_to, LocalFileError),
        (PART, Path.hardlink_to, DestinationBusyError),
        (SIDECAR, Path.symlink_to, LocalFileError),
        (CLAIM, Path.symlink_to, DestinationBusyError),
        (CLAIM, Path.hardlink_to, DestinationBusyError),
    ],
)
async def test_SEC_11_a_link_that_is_planted_after_the_look_is_not_opened(
    name: str,
    link: Callable[[Path, Path], None],
    kind: type[TrioNormanError],
    is_begun: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LocalFileError or DestinationBusyError: what it leads to is neither written, cut, believed nor made private."""
    home, victim = tmp_path / "home", tmp_path / "victim"
    plants: list[str] = []

    def plant(name: str) -> Callable[[], None]:
        plants.append(name)
        (home / name).unlink(missing_ok=True)
        link(home / name, victim)
        return lambda: None

    async with half_brought(home) as source:
        victim.write_bytes((home / SIDECAR).read_bytes())  # what would be believed as a sidecar
        before = victim.read_bytes(), victim.stat().st_mode
        if not is_begun:
            (home / PART).unlink()
            (home / SIDECAR).unlink(missing_ok=name != SIDECAR)
            if name == SIDECAR:
                (home / SIDECAR).write_bytes(b"")  # else nothing would be opened
        before_opening(monkeypatch, {name}, plant)
        async with download_many([source], home, retry=ONCE) as downloads:
            result = await anext(downloads)
    assert type(result.error) is kind
    assert plants
    assert (victim.read_bytes(), victim.stat().st_mode) == before
    assert tree(tmp_path) - {"home", "victim"} == {f"home/{each}" for each in tree(home)}
    assert not (home / "f").exists()


async def test_SEC_11_a_link_is_not_taken_for_the_file_that_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LocalFileError where a file is compared and a link is put in its place, though what it leads to is equal."""
    home, victim = tmp_path / "home", tmp_path / "victim"

    def plant(name: str) -> Callable[[], None]:
        (home / name).rename(victim)
        (home / name).symlink_to(victim)
        return lambda: None

    async with open_emulator(runs=0) as emulator:
        source = Source.from_url(emulator.blob_url(PARTIAL), "f")
        async with download_many([source], home) as downloads:
            assert (await anext(downloads)).error is None
        before_opening(monkeypatch, {"f"}, plant)
        async with download_many([source], home, retry=ONCE) as downloads:
            result = await anext(downloads)
    assert type(result.error) is LocalFileError
    assert (home / "f").is_symlink()


@pytest.mark.parametrize("is_begun", [True, False])
async def test_SEC_11_a_directory_that_is_swapped_in_the_moment_of_opening_leads_nowhere(
    is_begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is opened while the destination's name leads elsewhere lies in the destination."""
    home, away, aside = tmp_path / "home", tmp_path / "away", tmp_path / "aside"
    away.mkdir()
    swapped: list[str] = []

    def swap(name: str) -> Callable[[], None]:
        swapped.append(name)
        home.rename(aside)
        home.symlink_to(away)

        def undo() -> None:
            home.unlink()
            aside.rename(home)

        return undo

    async with half_brought(home) as source:
        if not is_begun:
            (home / PART).unlink()
            (home / SIDECAR).unlink()
        before_opening(monkeypatch, {PART, SIDECAR, CLAIM}, swap)
        async with download_many([source], home, retry=ONCE) as downloads:
            result = await anext(downloads)
    assert result.error is None
    assert (result.resumed_bytes > 0) is is_begun
    assert set(swapped) >= ({PART, SIDECAR, CLAIM} if is_begun else {PART, CLAIM})
    assert tree(home) == {"f"}
    assert tree(away) == set()


# ---- names


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
