"""Checkpoints as files, by the one engine."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import attrs
import trio

from .._lifetimes import each
from .._sansio.readiness import next_question
from ..errors import ConflictError, NotReadyError
from ..transfer import Downloads, Link, Source, Transfer, download_many
from ..transfer._model import DownloadResult, OnEvent, Options
from ._archives import link_to, unsynced
from ._calls import Call
from ._downloads import Downloadable, Items, check_item, checkpoint_file_name, source_of, training_run_of
from ._lists import Lists
from ._models import ArchiveUrl, Weight

FileName = Callable[[Downloadable], str]

READY_WITHIN = 60.0  # seconds


@attrs.frozen
class _Wish:
    """How a download is wanted: under which name, and how long to wait for the checkpoint itself."""

    file_name: FileName
    ready_within: float
    synced: bool


class Downloading(Lists):
    """Downloads of one checkpoint, of many, and as a handle."""

    @asynccontextmanager
    async def download_checkpoints(
        self,
        items: Items | str,
        dest: Path | str,
        max_concurrency: int = 8,
        *,
        file_name: FileName = checkpoint_file_name,
        ready_within: float = READY_WITHIN,
        synced: bool = False,
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[Downloads]:
        """Download the archives of many checkpoints; see `trio_norman.download_many` for all that is the same.

        Args:
            items: Checkpoints or weights, from any iterable or asynchronous iterable; or a training run's id.
            dest: Directory, made if need be.
            max_concurrency: Files that are worked on at the same time.
            file_name: Gives each archive its name; by default its own name, its id and ``.zip``.
            ready_within: Seconds for which a checkpoint that the service does not give out yet is asked for again and
                again, each time after a longer pause of 30 s at most; 0 asks once.
            synced: Whether a checkpoint must have reached the object storage. Without it, one that still lies with the
                actor that made it is fetched from there.
            on_event: Called with every event.
            **options: See `DownloadOptions`.

        Returns:
            A context manager that gives the results, in order of completion. A checkpoint that did not become ready
            has failed with `NotReadyError`.
        """
        with self._in_use() as state:
            sources = self._sources(items, _Wish(file_name, ready_within, synced))
            fetch = state.fetcher.fetch
            batch = download_many(sources, dest, max_concurrency, fetch=fetch, on_event=on_event, **options)
            async with batch as results:
                yield results

    async def download_checkpoint(
        self,
        item: Downloadable,
        dest: Path | str,
        *,
        file_name: FileName = checkpoint_file_name,
        ready_within: float = READY_WITHIN,
        synced: bool = False,
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> DownloadResult:
        """Download the archive of one checkpoint and return its result; arguments as for many.

        Raises:
            TrioNormanError: If it could not be brought home.

        Cancellation: the partial file stays and is taken up by the next download.
        """
        result: DownloadResult | None = None
        options["fail_fast"] = True
        wish: dict[str, Any] = {"file_name": file_name, "ready_within": ready_within, "synced": synced}
        async with self.download_checkpoints([item], dest, on_event=on_event, **wish, **options) as results:
            async for result in results:  # noqa: B007 (there is exactly one)
                pass
        assert result is not None  # noqa: S101 (else fail_fast has raised)
        return result

    def start_download(
        self,
        item: Downloadable,
        dest: Path | str,
        *,
        file_name: FileName = checkpoint_file_name,
        ready_within: float = READY_WITHIN,
        synced: bool = False,
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> Transfer:
        """Start downloading one archive in this client's nursery and return its handle at once; arguments as above."""
        state = self._open_state()
        source = self._source(item, _Wish(file_name, ready_within, synced))
        transfer = Transfer(
            source,
            lambda note: download_many(
                [source], dest, fetch=state.fetcher.fetch, on_event=_both(note, on_event), **options
            ),
        )
        state.nursery.start_soon(transfer.run)
        return transfer

    async def _sources(self, items: Items | str, wish: _Wish) -> AsyncGenerator[Source, None]:
        chosen = (await self.list_checkpoints(items)).checkpoints if isinstance(items, str) else items
        async with aclosing(each(chosen)) as all_of_them:
            async for item in all_of_them:
                yield self._source(item, wish)  # noqa: ASYNC119 (the engine closes this generator)

    def _source(self, item: Downloadable, wish: _Wish) -> Source:
        check_item(item)
        name, service = wish.file_name(item), self._open_state().settings.base_url
        return source_of(item, service=service, name=name, link=partial(self._link, wish, name))

    async def _link(self, wish: _Wish, name: str, item: Downloadable) -> Link:
        """Ask where an archive lies until it may be had."""
        began, asked = trio.current_time(), 0
        while True:
            found = await self._once_ready(item, synced=wish.synced)
            if isinstance(found, Link):
                return found
            asked += 1
            waited = trio.current_time() - began
            pause = next_question(asked, waited=waited, within=wish.ready_within, jitter=random.random())
            if pause is None:
                raise NotReadyError(name, found)
            await trio.sleep(pause)

    async def _once_ready(self, item: Downloadable, *, synced: bool) -> Link | str:
        """Ask where an archive lies; give why it cannot be had yet."""
        try:
            archive, answer = await self._ask(self._archive(item))
        except ConflictError as error:
            return str(error)
        if synced and (status := unsynced(archive)):
            return f"the checkpoint is {status}"
        return link_to(archive, now=answer.date)

    def _archive(self, item: Downloadable) -> Call[ArchiveUrl]:
        if isinstance(item, Weight):
            return self._api.weight_archive(self.user_info.user_id, item.cuid)
        run = training_run_of(item)
        if run is None:
            return self._api.weight_archive(self.user_info.user_id, item.checkpoint_id)
        return self._api.checkpoint_archive(run, item.checkpoint_id)


def _both(first: OnEvent, second: OnEvent | None) -> OnEvent:
    def call_both(event: Any) -> None:
        first(event)
        if second is not None:
            second(event)

    return call_both
