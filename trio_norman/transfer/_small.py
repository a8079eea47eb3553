"""Bodies that fit into one buffer: no partial, no sidecar, and one visit to a worker thread for several of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from ..errors import TrioNormanError
from ._digesting import checked, digests_of, same_or_refused
from ._folder import Folder, local_errors, passing_name
from ._part import flush, write_all

SMALL = 2**20  # bytes
_MOST_AT_ONCE = 16  # files that one visit publishes: the first of them waits for the last


@attrs.define(eq=False)
class SmallFile:
    """A whole body that wants to be checked and published.

    Where a file has the name already, `twin` has its digests, and the body is only compared with it.
    """

    name: str
    body: bytes = attrs.field(repr=False)
    algorithms: Sequence[str]
    announced: Mapping[str, str]
    twin: Mapping[str, str]
    digests: Mapping[str, str] = attrs.field(init=False, factory=dict)
    error: TrioNormanError | None = attrs.field(init=False, default=None)
    is_done: trio.Event = attrs.field(init=False, factory=trio.Event)


@attrs.define(eq=False)
class SmallFiles:
    """Publishes small files, as many in one visit to a worker thread as are waiting.

    A visit costs more than the work itself: threads that come and go one per file fight over the interpreter.
    """

    folder: Folder
    overwrite: bool
    durable: bool
    _send: trio.MemorySendChannel[SmallFile] = attrs.field(init=False)
    _receive: trio.MemoryReceiveChannel[SmallFile] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(_MOST_AT_ONCE)

    async def save(self, file: SmallFile) -> Mapping[str, str]:
        """Check a body and put it under its final name; return its digests.

        Raises:
            ChecksumMismatchError: If an announced digest differs; nothing was written.
            DestinationExistsError: If something has the name; nothing is left behind.
            NoSpaceError: If the disk is full; nothing is left behind.
            LocalFileError: If the file system refuses; nothing is left behind.

        Cancellation: the file may be published or not, but never in part.
        """
        try:
            self._send.send_nowait(file)  # a turn of the scheduler comes below anyway
        except trio.WouldBlock:
            await self._send.send(file)
        await file.is_done.wait()
        if file.error is not None:
            raise file.error
        return file.digests

    async def run(self) -> None:
        """Publish until cancelled."""
        async for first in self._receive:
            files = [first]
            with suppress(trio.WouldBlock):
                while len(files) < _MOST_AT_ONCE:
                    files.append(self._receive.receive_nowait())
            await trio.to_thread.run_sync(self._publish_all, files)
            for file in files:
                file.is_done.set()

    def _publish_all(self, files: Sequence[SmallFile]) -> None:
        published = False
        for file in files:
            try:
                file.digests = _digests_of(file)
                if not file.twin:
                    _publish(self.folder, file, overwrite=self.overwrite, durable=self.durable)
                    published = True
            except TrioNormanError as error:
                file.error = error
        if published and self.durable:
            self._sync_folder(files)

    def _sync_folder(self, files: Sequence[SmallFile]) -> None:
        try:
            with local_errors(str(self.folder.path)):
                self.folder.sync()
        except TrioNormanError as error:
            for file in files:
                file.error = file.error or error


def _digests_of(file: SmallFile) -> Mapping[str, str]:
    digests = digests_of(file.body, file.algorithms)
    checked(file.name, file.announced, digests)
    if file.twin:
        same_or_refused(file.name, file.twin, digests)
    return digests


def _publish(folder: Folder, file: SmallFile, *, overwrite: bool, durable: bool) -> None:
    with local_errors(file.name):
        if overwrite or not _publish_nameless(folder, file, durable=durable):
            _publish_by_rename(folder, file, overwrite=overwrite, durable=durable)


def _publish_nameless(folder: Folder, file: SmallFile, *, durable: bool) -> bool:
    """Write a file that gets its name when it is complete; False where the system cannot do that."""
    fd = folder.open_nameless()
    if fd is None:
        return False
    try:
        write_all(fd, 0, [file.body])
        (os.fsync if durable else flush)(fd)
        return folder.name_it(fd, file.name)
    finally:
        with suppress(OSError):  # what can be said of the bytes was said before they got their name
            os.close(fd)


def _publish_by_rename(folder: Folder, file: SmallFile, *, overwrite: bool, durable: bool) -> None:
    temporary = passing_name(file.name, "part")
    fd = folder.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        try:
            write_all(fd, 0, [file.body])
            os.fchmod(fd, folder.mode_for(file.name, overwrite=overwrite))
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        folder.publish(temporary, file.name, overwrite=overwrite, durable=False)
    except (OSError, TrioNormanError):
        with suppress(OSError):  # the first error counts
            folder.remove(temporary)
        raise
