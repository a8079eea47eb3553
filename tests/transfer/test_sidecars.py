"""Sidecars of partials at work: claimed, written anew, let go of."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trio_norman import errors
from trio_norman._sansio.heads import Version
from trio_norman._sansio.journal import Journal, decode
from trio_norman._sansio.ranges import ByteRange
from trio_norman.transfer._folder import Folder
from trio_norman.transfer._part import Part

MiB = 2**20
VERSION = Version(MiB, '"v1"')


class KilledError(BaseException):
    """The process ends here."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    opened = Folder.open(tmp_path)
    yield opened
    opened.close()


def claim(folder: Folder, version: Version = VERSION) -> Part:
    return Part.claim(folder, "f", "id", version)


def sidecar(folder: Folder) -> Journal:
    read = decode((folder.path / ".f.part.json").read_bytes())
    assert read is not None
    return read


def test_a_sidecar_does_not_grow_with_the_number_of_writes(folder: Folder) -> None:
    part, sizes = claim(folder), set[int]()
    for number in range(40_000):
        part.write(number * 2 if number < 20 else 100 + number, [b"x"])
        if number == 10:
            part.sync()
        if number % 500 == 0:
            sizes.add((folder.path / ".f.part.json").stat().st_size)
    assert max(sizes) < 1.1 * MiB
    assert max(sizes) > 0.9 * MiB  # else it would be written anew for nothing
    held, synced = [ByteRange(number * 2, number * 2 + 1) for number in range(20)], 11
    assert sidecar(folder).trusted(boot="") == held[:synced]
    part.release()
    again = claim(folder)
    assert again.held == [*held, ByteRange(120, 40_100)]
    again.discard()
    assert list(folder.path.iterdir()) == []


def test_a_sidecar_that_cannot_be_written_anew_stays_as_it_is(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    part = claim(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        for number in range(34_000):
            part.write(number, [b"x"])
    assert {path.name for path in folder.path.iterdir()} == {".f.part", ".f.part.json"}
    part.release()
    again = claim(folder)
    assert again.held == [ByteRange(0, 34_000)]
    again.discard()


def test_who_is_killed_while_claiming_loses_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    part = claim(folder)
    part.write(0, [b"x" * 1000])
    part.sync()
    part.write(2000, [b"x" * 1000])
    part.release()
    before, rename = sidecar(folder), os.rename

    def be_killed_behind(*args: Any, **kwargs: Any) -> None:
        rename(*args, **kwargs)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", be_killed_behind)
        with pytest.raises(KilledError):
            claim(folder)
    left, boot = sidecar(folder), folder.owner.boot
    assert not left.is_released
    assert left.version == before.version
    assert left.trusted(boot=boot) == before.trusted(boot=boot) == [ByteRange(0, 1000), ByteRange(2000, 3000)]
    assert left.trusted(boot="another") == before.trusted(boot="another") == [ByteRange(0, 1000)]


def test_a_partial_that_cannot_be_opened_is_nobodys(folder: Folder) -> None:
    (folder.path / ".f.part").mkdir()
    for _ in range(2):
        with pytest.raises(errors.LocalFileError) as caught:
            claim(folder)
        assert not isinstance(caught.value, errors.DestinationBusyError)


def test_an_empty_partial_is_removed_before_anybody_else_may_claim_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Part | errors.DestinationBusyError] = []
    part = claim(folder)

    def claimed_before(call: Any) -> Any:
        def claim_first(*args: Any, **kwargs: Any) -> None:
            with monkeypatch.context() as undisturbed:
                undisturbed.setattr(os, "utime", utime)
                undisturbed.setattr(os, "unlink", unlink)
                try:
                    others.append(claim(folder))
                except errors.DestinationBusyError as error:
                    others.append(error)
            call(*args, **kwargs)

        return claim_first

    utime, unlink = os.utime, os.unlink
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", claimed_before(utime))
        patch.setattr(os, "unlink", claimed_before(unlink))
        part.release()
    assert others
    for other in others:
        if isinstance(other, Part):  # then it must have its partial to itself
            assert (folder.path / ".f.part").exists()
            other.discard()
    assert list(folder.path.iterdir()) == []
