"""A batch: from a listing through bounded channels to results."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self, Unpack

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.names import NameSet, safe_name
from .._wire._connecting import ConnectionSettings
from .._wire._fetching import open_fetcher
from ..errors import FileNameError
from ._folder import Folder
from ._item import download_item
from ._model import DownloadFinished, DownloadOptions, DownloadResult, Fetch, OnEvent, Options, Outcome, Source
from ._shop import Progress, Shop

Sources = Iterable[Source] | AsyncIterable[Source]


@attrs.define(eq=False)
class Downloads:
    """The results of a batch in order of completion: an asynchronous iterator that ends with the last one.

    Take the results as they come: nothing is held back but the result itself, so whoever is slow in taking them
    slows down the downloads, and with them the listing.
    """

    _results: trio.MemoryReceiveChannel[DownloadResult]
    _shop: Shop

    @property
    def progress(self) -> Progress:
        """How far the batch is, now."""
        return attrs.evolve(self._shop.progress)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DownloadResult:
        return await self._results.__anext__()


@asynccontextmanager
async def download_many(
    sources: Sources,
    dest: Path | str,
    max_concurrency: int = 8,
    *,
    fetch: Fetch | None = None,
    connection: ConnectionSettings | None = None,
    on_event: OnEvent | None = None,
    **options: Unpack[Options],
) -> AsyncIterator[Downloads]:
    """Download any sources into one directory, in parallel, resumable and verified.

    ::

        async with download_many(sources, "models/", max_concurrency=8) as results:
            async for result in results:
                print(result.path, result.outcome, result.sha256)

    Args:
        sources: What to download; it is iterated over only as fast as the downloads go on.
        dest: Directory, made if need be. A file appears in it only when it is complete and verified.
        max_concurrency: Files that are worked on at the same time; at least 1.
        fetch: How to ask for bytes; by default with a client of the batch's own that holds no credentials.
        connection: How peers are reached, for that client.
        on_event: Called with every event, in the Trio thread; it must be quick. What it raises ends the batch.
        **options: See `DownloadOptions`.

    Returns:
        A context manager that gives the results. Leaving its block stops what is still going on; partial files stay
        and are taken up by the next run.

    Raises:
        LocalFileError: If the directory cannot be used; nothing was requested.
        TrioNormanError: What the iteration over `sources` raises, after what came before it is done; and with
            ``fail_fast=True`` the first item's error.
        ValueError: If an option is out of its bounds.

    Cancellation: every wait is a checkpoint. Nothing of a batch outlives the block.
    """
    run = partial(
        run_downloads, sources, dest, max_concurrency, fetch=fetch, connection=connection, on_event=on_event, **options
    )
    with lone_error_unwrapped():
        async with trio.open_nursery() as nursery:
            yield await nursery.start(run)
            nursery.cancel_scope.cancel()


async def run_downloads(
    sources: Sources,
    dest: Path | str,
    max_concurrency: int = 8,
    *,
    fetch: Fetch | None = None,
    connection: ConnectionSettings | None = None,
    on_event: OnEvent | None = None,
    task_status: trio.TaskStatus[Downloads] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[Options],
) -> None:
    """Do what `download_many` does in a nursery of the caller's: ``results = await nursery.start(run_downloads, ...)``.

    It returns when every result was taken. Arguments, errors and behaviour are those of `download_many`.
    """
    chosen = DownloadOptions(max_concurrency=max_concurrency, **options)
    async with AsyncExitStack() as stack:
        if fetch is None:
            total = chosen.max_connections or chosen.max_concurrency
            fetch = (await stack.enter_async_context(open_fetcher(connection, max_connections=total))).fetch
        folder = await trio.to_thread.run_sync(Folder.open, Path(dest))
        stack.callback(folder.close)
        shop = Shop(fetch, folder, chosen, on_event)
        send_result, receive_result = trio.open_memory_channel[DownloadResult](0)
        stack.enter_context(receive_result)
        task_status.started(Downloads(receive_result, shop))
        with lone_error_unwrapped():
            await _run(shop, sources, send_result)


async def _run(shop: Shop, sources: Sources, send_result: trio.MemorySendChannel[DownloadResult]) -> None:
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        send_source, receive_source = trio.open_memory_channel[Source](0)
        nursery.start_soon(_list, shop, sources, send_source, send_result.clone(), failures)
        with send_result, receive_source:
            for _ in range(shop.options.max_concurrency):
                nursery.start_soon(_work, shop, receive_source.clone(), send_result.clone())
    if failures:
        raise failures[0]


async def _list(
    shop: Shop,
    sources: Sources,
    send_source: trio.MemorySendChannel[Source],
    send_result: trio.MemorySendChannel[DownloadResult],
    failures: list[Exception],
) -> None:
    """Deal the sources out; one with an impossible or doubled name gets its result at once."""
    names = NameSet()
    with send_source, send_result:
        try:
            async with aclosing(_each(sources)) as each:
                async for source in each:
                    shop.progress.items_seen += 1
                    refused = _refusal(source, names)
                    if refused is None:
                        await send_source.send(attrs.evolve(source, name=safe_name(source.name)))
                    else:
                        result = DownloadResult(source, shop.folder.path, Outcome.FAILED, error=refused)
                        shop.emit(DownloadFinished(result))
                        await _deliver(shop, result, send_result)
        except Exception as error:  # the listing's own error: raised once the rest is done
            if shop.options.fail_fast:
                raise
            failures.append(error)


def _refusal(source: Source, names: NameSet) -> FileNameError | None:
    try:
        name = safe_name(source.name)
    except ValueError as error:
        return FileNameError(source.name, str(error))
    if not names.add(name):
        return FileNameError(source.name, "another item of this batch has the same name")
    return None


async def _each(sources: Sources) -> AsyncGenerator[Source, None]:
    if isinstance(sources, AsyncIterable):
        iterator = aiter(sources)
        try:
            async for source in iterator:
                yield source
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()
    else:
        for source in sources:
            yield source


async def _work(
    shop: Shop,
    receive_source: trio.MemoryReceiveChannel[Source],
    send_result: trio.MemorySendChannel[DownloadResult],
) -> None:
    with receive_source, send_result:
        async for source in receive_source:
            await _deliver(shop, await download_item(shop, source), send_result)


async def _deliver(shop: Shop, result: DownloadResult, send_result: trio.MemorySendChannel[DownloadResult]) -> None:
    if shop.options.fail_fast and result.error is not None:
        raise result.error
    await send_result.send(result)
