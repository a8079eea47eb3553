"""What every case works with: how often, where, and one server for all."""

from __future__ import annotations

import filecmp
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from ._links import PLAIN, Link, certify, delaying
from ._measuring import RunFailedError, Sample, measure
from ._peers import TASKS, Job, write_lists
from ._server import serving

_DISTINCT = 8  # different contents among the files of one set; the others are links to them
_BLOCK = 2**20  # bytes of random content that are made at once


@attrs.frozen
class FileSet:
    """Files of one size that are to be downloaded: `count` names, `size` bytes each."""

    count: int
    size: int

    @property
    def names(self) -> list[str]:
        """Return their names."""
        return [f"{number:05}.bin" for number in range(self.count)]

    def __str__(self) -> str:
        return f"{self.count:,} × {shown_size(self.size)}"  # noqa: RUF001 (times)


def shown_size(size: int) -> str:
    """Return a number of bytes in the largest unit that leaves it whole."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


@attrs.frozen
class Bench:
    """How cases are to be measured.

    Args:
        repeat: Runs of every peer.
        is_quick: Whether tiny amounts will do: the figures then mean nothing.
        directory: Where files, downloads and lists lie, all on one file system; it has to hold 3 GiB.
        is_full: Whether to take the largest amounts, however long it takes.
    """

    repeat: int
    is_quick: bool
    directory: Path
    is_full: bool = False

    def tell(self, text: str) -> None:
        """Say on stderr how far we are."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, files: FileSet, link: Link = PLAIN, *, tasks: int = TASKS) -> Iterator[Stage]:
        """Make files, serve them, and clean everything away in the end.

        Args:
            files: What is to be made.
            link: How the server is reached.
            tasks: Files at a time, for whoever can.
        """
        with TemporaryDirectory(dir=self.directory, prefix="bench-") as name:
            home = Path(name)
            root, directory = home / "root", home / "downloads"
            root.mkdir()
            fill(root, files)
            os.sync()
            certificate = certify(home) if link.is_tls else None
            with ExitStack() as stack:
                address = stack.enter_context(serving(root, home, link, certificate))
                if link.round_trip:
                    address = stack.enter_context(delaying(address, link))
                job = write_lists(files.names, address, directory, home)
                trusted = None if certificate is None else certificate.authority
                yield Stage(files, root, home, attrs.evolve(job, tasks=tasks, ca_file=trusted))


def fill(root: Path, files: FileSet) -> None:
    """Make files of random content; a few contents have many names, so that they cost little disk."""
    for number, name in enumerate(files.names):
        if number >= _DISTINCT:
            os.link(root / files.names[number % _DISTINCT], root / name)
            continue
        with open(root / name, "wb") as file:
            for start in range(0, files.size, _BLOCK):
                file.write(os.urandom(min(_BLOCK, files.size - start)))


@attrs.frozen
class Stage:
    """Files on a server that runs, and the lists that name them."""

    files: FileSet
    root: Path
    home: Path
    job: Job

    def measure(self, command: Sequence[str | Path], *, is_compared: bool) -> Sample:
        """Run a download from an empty directory and a disk at rest, and look whether it did what it should.

        Args:
            command: Command line that works on this stage's job.
            is_compared: Whether to compare every byte rather than the lengths alone.

        Raises:
            RunFailedError: If it failed, or what came is not what is served.
        """
        directory = self.job.directory
        directory.mkdir()
        try:
            os.sync()
            try:
                sample = measure([str(word) for word in command], self.home)
            except RunFailedError as error:  # where it happened to run is nobody's business
                raise RunFailedError(str(error).replace(f"{self.home}/", "")) from None
            self._check(directory, is_compared=is_compared)
        finally:
            _put_aside(directory, self.home / "done")
        return sample

    def _check(self, directory: Path, *, is_compared: bool) -> None:
        came = sorted(path.name for path in directory.iterdir())
        if came != self.files.names:
            raise RunFailedError(f"{len(came)} files came, {len(self.files.names)} were asked for")
        for name in came:
            there, here = self.root / name, directory / name
            if here.stat().st_size != self.files.size or (is_compared and not filecmp.cmp(there, here, shallow=False)):
                raise RunFailedError(f"{name} is not what is served")


def _put_aside(directory: Path, done: Path) -> None:
    """Free the space of a finished run, but not its inodes: ext4 without a journal (and not it alone) hands out an
    inode that was freed in the last minute only after looking at all others, so that the next run would pay for this.
    """
    for path in directory.iterdir():
        os.truncate(path, 0)
    done.mkdir(exist_ok=True)
    directory.rename(done / str(len(os.listdir(done))))
