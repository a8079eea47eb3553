"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PROGRAMS = {"nginx": "-v", "curl": "--version", "wget": "--version", "aria2c": "--version"}
_PACKAGES = ("trio-norman", "trio", "httpx", "h11", "aiohttp", "requests", "hf_transfer", "obstore")


def describe() -> dict[str, Any]:
    """Return the machine and the versions of all that takes part; what is missing has the version None."""
    load = os.getloadavg()
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": [round(each, 2) for each in load],
        "versions": {name: _program_version(name, flag) for name, flag in _PROGRAMS.items()}
        | {name: _package_version(name) for name in _PACKAGES},
    }


def in_words(machine: dict[str, Any]) -> str:
    """Return the description as two lines of text."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['kernel']}, "
        f"{machine['python']}; load before: {machine['load_before'][0]}; {machine['when']}.\n{versions}."
    )


def _processor() -> str:
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _program_version(name: str, flag: str) -> str | None:
    program = find_program(name)
    if program is None:
        return None
    said = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(?:\.\d+)+", said.stdout + said.stderr)
    return found[0] if found else "unknown"


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def find_program(name: str) -> str | None:
    """Return where a program is. System programs count, although not every user's PATH leads to them."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which(name, path=path)
