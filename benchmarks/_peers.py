"""Who is measured: how each downloads a list of URLs into a directory, and what that includes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import attrs

from ._machine import find_program

TASKS = 8  # files at a time, for whoever can
_HERE = Path(__file__).parent


@attrs.frozen
class Job:
    """What a peer has to bring home, as files that list it: one for each way of reading a list."""

    directory: Path  # where to; empty
    tabbed: Path  # URL, tab, name
    plain: Path  # URL
    curl_config: Path
    aria2_list: Path


@attrs.frozen
class Peer:
    """One way of downloading.

    Args:
        name: As shown in the table.
        command: Gives the command line for a job.
        needs: What has to be installed, by the name of the program or ``python:module``.
        verifies: Which digest it computes of each file, or "no".
        syncs: Whether the files are on the disk when it ends, rather than in the kernel's hands.
        is_serial: Whether it asks for one file after the other.
    """

    name: str
    command: Callable[[Job], Sequence[str | Path]]
    needs: str
    verifies: str = "no"
    syncs: bool = False
    is_serial: bool = False

    def is_present(self) -> bool:
        """Tell whether it can be run here."""
        if self.needs == "trio-norman fetch":
            return has_fetch()
        kind, _, module = self.needs.rpartition(":")
        return find_spec(module) is not None if kind == "python" else find_program(self.needs) is not None


def has_fetch() -> bool:
    """Tell whether the command line of the installed package has its ``fetch``."""
    asked = subprocess.run([*_CLI, "fetch", "--help"], capture_output=True, check=False)
    return asked.returncode == 0 and b"--to" in asked.stdout


_CLI = (sys.executable, "-P", "-c", "from trio_norman.cli import main; raise SystemExit(main())")


def _ours(*flags: str) -> Callable[[Job], Sequence[str | Path]]:
    return _script("_ours.py", *flags)


def _command_line(*flags: str) -> Callable[[Job], Sequence[str | Path]]:
    return lambda job: [*_CLI, "fetch", job.tabbed, "--to", job.directory, "-j", str(TASKS), *flags]


def _script(name: str, *flags: str) -> Callable[[Job], Sequence[str | Path]]:
    return lambda job: [sys.executable, "-P", _HERE / name, job.tabbed, job.directory, str(TASKS), *flags]


def _curl(*flags: str) -> Callable[[Job], Sequence[str | Path]]:
    return lambda job: ["curl", "-q", "--silent", "--show-error", "--fail", *flags, "--config", job.curl_config]


def _wget(job: Job) -> Sequence[str | Path]:
    return ["wget", "--no-config", "--quiet", "-P", job.directory, "-i", job.plain]


def _aria2(job: Job) -> Sequence[str | Path]:
    quiet = ["--no-conf", "--quiet", "--console-log-level=error", "--summary-interval=0"]
    return ["aria2c", *quiet, "--file-allocation=none", "-j", str(TASKS), "-d", job.directory, "-i", job.aria2_list]


CURL = Peer("curl", _curl(), "curl", is_serial=True)
HTTPX = Peer("httpx on Trio by hand", _script("_httpx_by_hand.py"), "python:httpx")
VERIFIED = Peer("trio_norman (library)", _ours(), "python:trio_norman", "sha256", syncs=True)

PEERS = (
    CURL,
    Peer("curl -Z", _curl("--parallel", "--parallel-max", str(TASKS)), "curl"),
    Peer("wget", _wget, "wget", is_serial=True),
    Peer("aria2c", _aria2, "aria2c"),
    Peer("aiohttp by hand", _script("_aiohttp_by_hand.py"), "python:aiohttp"),
    Peer("requests in threads", _script("_requests_by_hand.py"), "python:requests"),
    HTTPX,
    Peer("httpx on Trio by hand, sha256", _script("_httpx_by_hand.py", "--sha256"), "python:httpx", "sha256"),
    Peer(
        "httpx on Trio by hand, sha256, fsync",
        _script("_httpx_by_hand.py", "--sha256", "--sync"),
        "python:httpx",
        "sha256",
        syncs=True,
    ),
    VERIFIED,
    Peer("trio_norman (library), durable=False", _ours("--no-durable"), "python:trio_norman", "sha256"),
    Peer(
        "trio_norman (library), verify=False, durable=False",
        _ours("--no-verify", "--no-durable"),
        "python:trio_norman",
    ),
    Peer("trio-norman fetch", _command_line(), "trio-norman fetch", "sha256", syncs=True),
    Peer(
        "trio-norman fetch --no-verify --no-durable", _command_line("--no-verify", "--no-durable"), "trio-norman fetch"
    ),
)


def write_lists(names: Sequence[str], address: str, directory: Path, home: Path) -> Job:
    """Write down what is to be downloaded, in every peer's way.

    Args:
        names: Files below the server's root.
        address: The server, without a slash at its end.
        directory: Where the downloads go.
        home: Where the lists go.
    """
    job = Job(directory, home / "list.tsv", home / "list.txt", home / "list.curl", home / "list.aria2")
    urls = [(f"{address}/{name}", name) for name in names]
    job.tabbed.write_text("".join(f"{url}\t{name}\n" for url, name in urls))
    job.plain.write_text("".join(f"{url}\n" for url, _ in urls))
    job.curl_config.write_text("".join(f'url = "{url}"\noutput = "{directory / name}"\n' for url, name in urls))
    job.aria2_list.write_text("".join(f"{url}\n out={name}\n" for url, name in urls))
    return job
