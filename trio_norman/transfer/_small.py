"""Bodies that fit into one buffer: no partial, no sidecar, one visit to a worker thread."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from .._sansio.digests import new_hasher
from ..errors import DestinationExistsError
from ._digesting import checked, same_or_refused
from ._folder import Folder, local_errors, passing_name
from ._part import write_all

SMALL = 2**20  # bytes


def save_small(
    folder: Folder,
    name: str,
    body: bytes,
    algorithms: Sequence[str],
    announced: Mapping[str, str],
    twin: Mapping[str, str],
    *,
    overwrite: bool,
    durable: bool,
) -> dict[str, str]:
    """Check a whole body and put it under its final name; return its digests. Blocks.

    Where a file has the name already, `twin` has its digests, and the body is only compared with it.

    Raises:
        ChecksumMismatchError: If an announced digest differs; nothing was written.
        DestinationExistsError: If something has the name; nothing is left behind.
        NoSpaceError: If the disk is full; nothing is left behind.
        LocalFileError: If the file system refuses; nothing is left behind.
    """
    digests: dict[str, str] = {}
    for algorithm in algorithms:
        hasher = new_hasher(algorithm)
        hasher.update(body)
        digests[algorithm] = hasher.hexdigest()
    checked(name, announced, digests)
    if twin:
        same_or_refused(name, twin, digests)
        return digests
    temporary = passing_name(name, "part")
    with local_errors(name):
        fd = folder.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                write_all(fd, 0, [body])
                os.fchmod(fd, folder.file_mode)
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            folder.publish(temporary, name, overwrite=overwrite, durable=durable)
        except (OSError, DestinationExistsError):
            folder.remove(temporary)
            raise
    return digests
