"""From checkpoints to sources for the transfer engine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

from ..errors import ConfigurationError
from ..transfer import Link, Source
from ._models import Checkpoint, Weight

Downloadable = Checkpoint | Weight
Items = Iterable[Downloadable] | AsyncIterable[Downloadable]


def checkpoint_file_name(item: Downloadable) -> str:
    """Return the default file name of an archive: the checkpoint's own name, its id, and ``.zip``.

    The id keeps names apart: many runs have a ``step-0100``. A checkpoint without a path is named by its id alone.
    """
    identity = item.cuid if isinstance(item, Weight) else item.checkpoint_id
    name = (item.path or "").rpartition("/")[2].removesuffix(".zip")
    return f"{name}-{identity}.zip" if name else f"{identity}.zip"


def check_item(item: object) -> None:
    """Refuse what is neither a checkpoint nor a weight with a `ConfigurationError`."""
    if not isinstance(item, Checkpoint | Weight):
        raise ConfigurationError(f"a {type(item).__name__} cannot be downloaded", "pass checkpoints or weights")


def training_run_of(checkpoint: Checkpoint) -> str | None:
    """Return the run that a checkpoint belongs to, None if nothing tells.

    Source: wire/pytrio, sections 1.4 and 1.6: the run's id is the task id, the second part of the path.
    """
    if checkpoint.training_run_id:
        return checkpoint.training_run_id
    parts = (checkpoint.path or "").rpartition(":")[2].split("/")
    return parts[1] if len(parts) == 4 and parts[2] == "weights" and parts[1] else None


def source_of(
    item: Downloadable, *, service: str, name: str, link: Callable[[Downloadable], Awaitable[Link]]
) -> Source:
    """Describe the archive of one checkpoint (or weight) to the engine."""
    if isinstance(item, Weight):
        return Source(name, lambda: link(item), f"{service}#weight/{item.cuid}", size_bytes=item.size_bytes, item=item)
    identity = f"{service}#checkpoint/{item.checkpoint_id}"
    return Source(name, lambda: link(item), identity, size_bytes=item.size_bytes, item=item)
