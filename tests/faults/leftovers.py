"""What a row may leave behind: nothing; and what it may use: so much."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from pathlib import Path

import attrs
import trio

_IDLE = re.compile(r"Trio thread \d+")  # Trio keeps a worker thread for a while; at work, it bears its job's name


def descriptors() -> dict[int, str]:
    """Return the open descriptors of this process, and what each of them is."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            found[int(entry)] = str(Path(f"/proc/self/fd/{entry}").readlink())
        except FileNotFoundError:
            continue  # the descriptor by which the directory was read
    return found


def busy_threads() -> set[threading.Thread]:
    """Return the threads that are there for a reason."""
    return {each for each in threading.enumerate() if not _IDLE.fullmatch(each.name)}


def unknown_threads() -> int:
    """Return how many threads of this process Python knows nothing of."""
    return len(os.listdir("/proc/self/task")) - len(threading.enumerate())


def tasks() -> set[trio.lowlevel.Task]:
    """Return all living tasks of this run."""
    root = trio.lowlevel.current_root_task()
    waiting, found = [root] if root else [], set()
    while waiting:
        task = waiting.pop()
        found.add(task)
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def children() -> set[int]:
    """Return the processes that this one has started and that are still there, dead or alive."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(each) for each in (task / "children").read_text().split()}
        except FileNotFoundError:
            continue  # the thread has ended meanwhile
    return found


@attrs.frozen
class Leftovers:
    """What was there at one moment."""

    descriptors: dict[int, str] = attrs.field(factory=descriptors)
    threads: set[threading.Thread] = attrs.field(factory=busy_threads)
    unknown_threads: int = attrs.field(factory=unknown_threads)
    tasks: set[trio.lowlevel.Task] = attrs.field(factory=tasks)
    children: set[int] = attrs.field(factory=children)

    def since(self, before: Leftovers) -> list[str]:
        """Say what is there now and was not there `before`."""
        opened = self.descriptors.items() - before.descriptors.items()
        left = [f"descriptor {number}: {what}" for number, what in sorted(opened)]
        left += [f"thread {each.name}" for each in self.threads - before.threads]
        left += [f"task {each.name}" for each in self.tasks - before.tasks]
        left += [f"process {each}" for each in self.children - before.children]
        if self.unknown_threads > before.unknown_threads:
            left.append("threads that Python does not know")
        return left


async def left_since(before: Leftovers, patience: float) -> list[str]:
    """Say what is left of a row; what is just closing gets so many seconds for it."""
    deadline = trio.current_time() + patience
    while left := Leftovers().since(before) + _calls():
        if trio.current_time() >= deadline:
            break
        await trio.sleep(0.02)
    return left


def _calls() -> list[str]:
    # A thread tells Trio that it is done when it has ended already: both are waited for.
    borrowed = trio.to_thread.current_default_thread_limiter().borrowed_tokens
    return [f"{borrowed} calls in worker threads"] if borrowed else []


def resident_mib() -> float:
    """Return the memory that this process has now, in MiB."""
    return _status("VmRSS")


def forget_peak_memory() -> None:
    """Let the peak of this process's memory begin at what it has now, without what earlier tests have freed.

    What the allocator keeps would otherwise be filled first, and growth up to its size would not show.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of the GNU library
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Return the most memory that this process had since `forget_peak_memory`, in MiB."""
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
