"""Disks that are full, small or slow, and programs that watch or trip system calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_PACKAGES = {"strace": "strace", "mount": "mount", "mkfs.ext4": "e2fsprogs", "prlimit": "util-linux"}


def program(name: str) -> str:
    """Return where a program lies; the test fails if it is missing, and says what to install."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {_PACKAGES[name]}")
    return found


def needs_root(what: str) -> None:
    """Skip, aloud, where the suite does not run as root."""
    if os.geteuid() != 0:
        pytest.skip(f"{what} takes root")


@contextmanager
def mounted(kind: str, at: Path, mib: int) -> Iterator[None]:
    """Have a file system of its own at a directory, as large as so many MiB: ``tmpfs``, or ``ext4`` in a file."""
    needs_root("mounting a file system")
    at.mkdir(parents=True, exist_ok=True)
    image = at.parent.parent.parent / f"{at.name}.image"
    if kind == "ext4":
        with image.open("wb") as file:
            file.truncate(mib * 2**20)
        _run(program("mkfs.ext4"), "-q", "-m", "0", "-O", "^has_journal", image)
        _run(program("mount"), "-o", "loop", image, at)
    else:
        _run(program("mount"), "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", at)
    try:
        yield
    finally:
        _run("umount", at)
        image.unlink(missing_ok=True)


def _run(*words: str | Path) -> None:
    done = subprocess.run([*map(str, words)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{words[0]}: {done.stderr}"


def failing(call: Callable[..., Any], code: int, *, after: int = 0, only: Callable[..., bool] | None = None) -> Any:
    """Wrap a function of `os` so that it fails with an error code from some call on; `only` says which calls count."""
    calls = 0

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        counts = only is None or only(*args, **kwargs)
        calls += counts
        if counts and calls > after:
            raise OSError(code, os.strerror(code))
        return call(*args, **kwargs)

    return fail


def into_a_file(*args: Any, **kwargs: Any) -> bool:
    """Whether a call of `os.splice` writes to a file, rather than into a pipe."""
    return "offset_dst" in kwargs


def is_partial(fd: int, *args: Any, **kwargs: Any) -> bool:
    """Whether a descriptor is that of a partial file, or of a new one without a name."""
    at = str(Path(f"/proc/self/fd/{fd}").readlink())
    return at.endswith((".part", "(deleted)"))


def strace(log: Path, *options: str) -> list[str]:
    """Return the words that run a command under strace, all threads, one line a call, into a log."""
    return [program("strace"), "-f", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-o", str(log), *options]


def calls_in(log: Path, *names: str) -> list[str]:
    """Return the traced calls of some names, in the order in which they ended; split ones are put together."""
    found: list[str] = []
    begun: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        process, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>", rest)
        if resumed:
            rest = begun.pop(process, "") + rest[resumed.end() :]
        if rest.split("(")[0] in names:
            found.append(rest)
    return found
