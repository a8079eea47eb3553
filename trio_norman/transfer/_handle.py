"""One download as a handle, for programs that start it here and wait for it there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from ..errors import DownloadCancelledError
from ._engine import Downloads
from ._model import DownloadAdvanced, DownloadResult, DownloadStarted, Event, Source

Open = Callable[[Callable[[Event], None]], AbstractAsyncContextManager[Downloads]]


@attrs.frozen
class TransferProgress:
    """How far one download is: `done_bytes` of `size_bytes` (None while nobody has told) are on disk."""

    done_bytes: int = 0
    size_bytes: int | None = None
    is_done: bool = False


@attrs.define(eq=False)
class Transfer:
    """A download that runs in its client's nursery until it is done, cancelled, or the client is closed."""

    source: Source
    _open: Open
    progress: TransferProgress = attrs.field(init=False, factory=TransferProgress)
    _scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _done: trio.Event = attrs.field(init=False, factory=trio.Event)
    _result: DownloadResult | None = attrs.field(init=False, default=None)
    _error: BaseException | None = attrs.field(init=False, default=None)

    async def wait(self) -> DownloadResult:
        """Wait until the download is over and return its result; any number of tasks may wait.

        Raises:
            TrioNormanError: What made it fail; `DownloadCancelledError` after `cancel`, or after its client's end.

        Cancellation: only this waiting ends; the download goes on.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise DownloadCancelledError(self.source.name)
        if self._result.error is not None:
            raise self._result.error
        return self._result

    def cancel(self) -> None:
        """Stop the download; its partial file stays and is taken up by the next one. Twice does no harm."""
        self._scope.cancel()

    async def run(self) -> None:
        """Do the download. The client calls this once, in its nursery."""
        try:
            with self._scope:
                async with self._open(self._note) as results:
                    async for result in results:
                        self._result = result
        except Exception as error:  # noqa: BLE001 (it belongs to whoever waits, not to the client's nursery)
            self._error = error
        finally:
            self.progress = attrs.evolve(self.progress, is_done=True)
            self._done.set()

    def _note(self, event: Event) -> None:
        match event:
            case DownloadStarted(size_bytes=size, held_bytes=held):
                self.progress = TransferProgress(held, size)
            case DownloadAdvanced(done_bytes=done, size_bytes=size):
                self.progress = TransferProgress(done, size)
            case _:
                pass
