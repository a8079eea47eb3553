"""Who is measured: how each downloads a list of URLs into a directory, and what that includes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import attrs

from trio_norman import DownloadOptions

from ._machine import find_program

TASKS = 8  # files at a time, for whoever can
RANGES = 16  # connections, for whoever has to be told
_HERE = Path(__file__).parent


@attrs.frozen
class Job:
    """What a peer has to bring home, as files that list it: one for each way of reading a list."""

    directory: Path  # where to; empty
    tabbed: Path  # URL, tab, name
    plain: Path  # URL
    curl_config: Path
    aria2_list: Path
    tasks: int = TASKS
    ca_file: Path | None = None  # who has certified the server; None where there is no TLS


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

    @property
    def is_ours(self) -> bool:
        """Whether it is this project."""
        return self.needs in {_LIBRARY, _FETCH}

    def is_present(self) -> bool:
        """Tell whether it can be run here."""
        if self.needs == _FETCH:
            return b"--to" in fetch_help()
        kind, _, module = self.needs.rpartition(":")
        return find_spec(module) is not None if kind == "python" else find_program(self.needs) is not None


_LIBRARY, _FETCH = "python:trio_norman", "trio-norman fetch"
_CLI = (sys.executable, "-P", "-c", "from trio_norman.cli import main; raise SystemExit(main())")


@cache
def fetch_help() -> bytes:
    """Return what the installed command line says of its ``fetch``; nothing if it has none."""
    asked = subprocess.run([*_CLI, "fetch", "--help"], capture_output=True, check=False)
    return asked.stdout if asked.returncode == 0 else b""


@cache
def has_auto() -> bool:
    """Tell whether the installed package finds the number of connections by itself."""
    try:
        DownloadOptions(max_connections="auto")
    except (TypeError, ValueError):
        return False
    return True


def _ours(*flags: str, connections: str = "auto") -> Callable[[Job], Sequence[str | Path]]:
    if connections == "auto" and not has_auto():
        return _script("_ours.py", *flags)
    return _script("_ours.py", *flags, f"--connections={connections}")


def _command_line(*flags: str) -> Callable[[Job], Sequence[str | Path]]:
    def command(job: Job) -> Sequence[str | Path]:
        further: list[str | Path] = [*flags, *(["--max-connections", "auto"] if b"auto" in fetch_help() else [])]
        further += ["--ca-file", job.ca_file] if job.ca_file else []
        return [*_CLI, "fetch", job.tabbed, "--to", job.directory, "-j", str(job.tasks), "--quiet", *further]

    return command


def _script(name: str, *flags: str) -> Callable[[Job], Sequence[str | Path]]:
    return lambda job: [
        sys.executable,
        "-P",
        _HERE / name,
        job.tabbed,
        job.directory,
        str(job.tasks),
        job.ca_file or "",
        *flags,
    ]


def _curl(*, is_parallel: bool = False) -> Callable[[Job], Sequence[str | Path]]:
    def command(job: Job) -> Sequence[str | Path]:
        flags: list[str | Path] = ["--parallel", "--parallel-max", str(job.tasks)] if is_parallel else []
        flags += ["--cacert", job.ca_file] if job.ca_file else []
        return ["curl", "-q", "--silent", "--show-error", "--fail", *flags, "--config", job.curl_config]

    return command


def _wget(job: Job) -> Sequence[str | Path]:
    trust = [f"--ca-certificate={job.ca_file}"] if job.ca_file else []
    return ["wget", "--no-config", "--quiet", *trust, "-P", job.directory, "-i", job.plain]


def _aria2(*flags: str) -> Callable[[Job], Sequence[str | Path]]:
    quiet = ["--no-conf", "--quiet", "--console-log-level=error", "--summary-interval=0", "--file-allocation=none"]

    def command(job: Job) -> Sequence[str | Path]:
        trust = [f"--ca-certificate={job.ca_file}"] if job.ca_file else []
        return ["aria2c", *quiet, *trust, *flags, "-j", str(job.tasks), "-d", job.directory, "-i", job.aria2_list]

    return command


CURL = Peer("curl", _curl(), "curl", is_serial=True)
CURL_Z = Peer("curl -Z", _curl(is_parallel=True), "curl")
WGET = Peer("wget", _wget, "wget", is_serial=True)
ARIA2 = Peer("aria2c", _aria2(), "aria2c")
ARIA2_RANGES = Peer(f"aria2c -x{RANGES} -s{RANGES}", _aria2(f"-x{RANGES}", f"-s{RANGES}", "-k1M"), "aria2c")
HF_TRANSFER = Peer("hf_transfer", _script("_hf_transfer_by_hand.py"), "python:hf_transfer")
OBSTORE = Peer("obstore", _script("_obstore_by_hand.py"), "python:obstore")
OBSTORE_RANGES = Peer(f"obstore, {RANGES} ranges", _script("_obstore_by_hand.py", str(RANGES)), "python:obstore")
AIOHTTP = Peer("aiohttp by hand", _script("_aiohttp_by_hand.py"), "python:aiohttp")
REQUESTS = Peer("requests in threads", _script("_requests_by_hand.py"), "python:requests")
HTTPX = Peer("httpx on Trio by hand", _script("_httpx_by_hand.py"), "python:httpx")
HTTPX_SYNCED = Peer(
    "httpx on Trio by hand, sha256, fsync",
    _script("_httpx_by_hand.py", "--sha256", "--sync"),
    "python:httpx",
    "sha256",
    syncs=True,
)

VERIFIED = Peer("trio_norman", _ours(), _LIBRARY, "sha256", syncs=True)
UNSYNCED = Peer("trio_norman, durable=False", _ours("--no-durable"), _LIBRARY, "sha256")
BARE = Peer("trio_norman, verify=False, durable=False", _ours("--no-verify", "--no-durable"), _LIBRARY)
BARE_TOLD = Peer(
    f"trio_norman, verify=False, durable=False, max_connections={RANGES}",
    _ours("--no-verify", "--no-durable", connections=str(RANGES)),
    _LIBRARY,
)
FETCH = Peer("trio-norman fetch", _command_line(), _FETCH, "sha256", syncs=True)
FETCH_BARE = Peer("trio-norman fetch --no-verify --no-durable", _command_line("--no-verify", "--no-durable"), _FETCH)

OURS = (VERIFIED, UNSYNCED, BARE, FETCH, FETCH_BARE)
THEIRS = (CURL, CURL_Z, WGET, ARIA2, HF_TRANSFER, OBSTORE, AIOHTTP, REQUESTS, HTTPX, HTTPX_SYNCED)
PEERS = (*THEIRS, *OURS)
#: Who opens many connections to one file.
RANGED = (CURL, CURL_Z, ARIA2_RANGES, HF_TRANSFER, OBSTORE_RANGES, BARE_TOLD, BARE, UNSYNCED, FETCH_BARE)


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
