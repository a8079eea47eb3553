"""A batch: from a listing through bounded channels to results."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar, Unpack

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.names import safe_name
from .._wire._connecting import ConnectionSettings
from .._wire._fetching import open_fetcher
from ..errors import FileNameError
from ._folder import Folder, Sight
from ._item import download_item, result_of_present_file
from ._links import Links
from ._model import DownloadFinished, DownloadOptions, DownloadResult, Fetch, OnEvent, Options, Outcome, Source
from ._names import BatchNames
from ._shop import Progress, Shop, most_connections, most_files

T = TypeVar("T")
Sources = Iterable[Source] | AsyncIterable[Source]

_Task = tuple[Source, Sight, Links]


@attrs.frozen
class _Again:
    """A source that was listed before in this batch, under the same name."""

    source: Source


_GROUP = 16  # sources that are listed, and looked for on the disk, at once


@attrs.define(eq=False)
class Downloads:
    """The results of a batch in order of completion: an asynchronous iterator that ends with the last one.

    Take the results as they come: nothing is held back but the result itself, so whoever is slow in taking them
    slows down the downloads, and with them the listing.
    """

    _results: trio.MemoryReceiveChannel[DownloadResult]
    _shop: Shop
    _all_taken: trio.Event | None = attrs.field(init=False, default=None)

    @property
    def progress(self) -> Progress:
        """How far the batch is, now."""
        return attrs.evolve(self._shop.progress)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DownloadResult:
        result = await self._results.__anext__()
        if self._all_taken is not None and not self._results.statistics().current_buffer_used:
            self._all_taken.set()
        return result

    async def wait_taken(self) -> None:
        """Wait until the results that are there have been taken."""
        if self._results.statistics().current_buffer_used:
            self._all_taken = trio.Event()
            await self._all_taken.wait()


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
        max_concurrency: Files that are worked on at the same time, at least 1; fewer if the system allows the process
            too few descriptors (five for each).
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
            fetcher = await stack.enter_async_context(
                open_fetcher(connection, max_connections=most_connections(chosen))
            )
            fetch = fetcher.fetch
        folder = await trio.to_thread.run_sync(Folder.open, Path(dest))
        stack.callback(folder.close)
        shop = Shop(fetch, folder, chosen, on_event)
        send_result, receive_result = trio.open_memory_channel[DownloadResult](chosen.max_concurrency)
        # The receiving end stays open: whoever is busy with the last result must meet the end of the list afterwards.
        downloads = Downloads(receive_result, shop)
        task_status.started(downloads)
        with lone_error_unwrapped():
            await _run(shop, sources, send_result, downloads)


async def _run(
    shop: Shop, sources: Sources, send_result: trio.MemorySendChannel[DownloadResult], downloads: Downloads
) -> None:
    failures: list[Exception] = []
    with send_result:  # to the very end: whoever takes the results must not be done before we are
        async with trio.open_nursery() as helpers:
            helpers.start_soon(shop.small_files.run)
            helpers.start_soon(shop.climb)
            with lone_error_unwrapped():
                async with trio.open_nursery() as nursery:
                    names = BatchNames()
                    send_unsigned, receive_unsigned = trio.open_memory_channel[_Task](0)
                    send_task, receive_task = trio.open_memory_channel[_Task](shop.options.max_concurrency)
                    nursery.start_soon(
                        _list, shop, sources, names, send_unsigned, send_task, send_result.clone(), failures
                    )
                    for _ in range(most_files(shop.options)):
                        nursery.start_soon(_sign, shop, receive_unsigned, send_task.clone())
                        nursery.start_soon(_work, shop, names, receive_task, send_result.clone())
            helpers.cancel_scope.cancel()
        await downloads.wait_taken()  # whoever is slow in taking results gets them before an error all the same
        if failures:
            raise failures[0]


async def _list(
    shop: Shop,
    sources: Sources,
    names: BatchNames,
    send_unsigned: trio.MemorySendChannel[_Task],
    send_task: trio.MemorySendChannel[_Task],
    send_result: trio.MemorySendChannel[DownloadResult],
    failures: list[Exception],
) -> None:
    """Deal the sources out; one with an impossible or doubled name gets its result at once."""
    with send_unsigned, send_task, send_result:
        try:
            async with aclosing(_together(sources)) as groups:
                async for group in groups:
                    shop.progress.items_seen += len(group)
                    tasks = [_named(shop, source, names) for source in group]
                    for task in await _looked_at(shop, tasks):
                        if isinstance(task, _Again):
                            task = await _seen_again(shop, task.source, names)
                        if isinstance(task, DownloadResult):
                            shop.emit(DownloadFinished(task))
                            await _deliver(shop, task, send_result)
                        else:
                            await _put(send_unsigned if task[0].is_renewable else send_task, task)
        except Exception as error:  # the listing's own error: raised once the rest is done
            if shop.options.fail_fast:
                raise
            failures.append(error)


def _named(shop: Shop, source: Source, names: BatchNames) -> Source | _Again | DownloadResult:
    problem = "another item of this batch has the same name"
    try:
        name = safe_name(source.name)
        named = source if name == source.name else attrs.evolve(source, name=name)
        claim = names.claim(named)
        if claim != "taken":
            return named if claim == "new" else _Again(named)
    except ValueError as error:
        problem = str(error)
    return DownloadResult(source, shop.folder.path, Outcome.FAILED, error=FileNameError(source.name, problem))


async def _seen_again(shop: Shop, source: Source, names: BatchNames) -> _Task | DownloadResult:
    """Give a source that was listed before the result of the first time, from its file; try it again if it failed.

    The listing waits meanwhile, so nothing has to be remembered of sources that are done.
    """
    is_good = await names.wait_done(source)
    sight = await trio.to_thread.run_sync(shop.folder.look, source.name, limiter=shop.disk)
    if is_good and sight.is_file:
        return await result_of_present_file(shop, source, sight)
    names.take_up(source)
    return source, sight, Links(source)


async def _looked_at(
    shop: Shop, tasks: Sequence[Source | _Again | DownloadResult]
) -> list[_Task | _Again | DownloadResult]:
    """See what stands under the names of several sources, in one visit to a worker thread."""
    sources = [task.name for task in tasks if isinstance(task, Source)]
    look = partial(shop.folder.look_all, sources)
    sights = iter(await trio.to_thread.run_sync(look, limiter=shop.disk) if sources else ())
    return [(task, next(sights), Links(task)) if isinstance(task, Source) else task for task in tasks]


async def _together(sources: Sources) -> AsyncGenerator[Sequence[Source], None]:
    """Go through sources in small groups; one by one where each has to be waited for.

    An error of the iteration comes after what came before it.
    """
    if isinstance(sources, AsyncIterable):
        iterator = aiter(sources)
        try:
            async for source in iterator:
                yield [source]
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()
        return
    remaining, failure = iter(sources), None
    while failure is None:
        group: list[Source] = []
        try:
            group.extend(islice(remaining, _GROUP))
        except Exception as error:  # noqa: BLE001 (raised below, behind the sources that it came after)
            failure = error
        if group:
            yield group
        elif failure is None:
            return
    raise failure


async def _sign(
    shop: Shop, receive_unsigned: trio.MemoryReceiveChannel[_Task], send_task: trio.MemorySendChannel[_Task]
) -> None:
    """Make the links of the next sources while others are being fetched; not of those that may be here already."""
    with send_task:
        async for source, sight, links in receive_unsigned:
            if sight.kind is None or shop.options.existing == "overwrite":
                await links.prepare()
            await send_task.send((source, sight, links))


async def _work(
    shop: Shop,
    names: BatchNames,
    receive_task: trio.MemoryReceiveChannel[_Task],
    send_result: trio.MemorySendChannel[DownloadResult],
) -> None:
    with send_result:  # nobody closes the receiving end: the lister would fail beside whoever really failed
        while (task := await _taken(receive_task)) is not None:
            source, sight, links = task
            result = await download_item(shop, source, sight, links)
            names.note_done(result)
            await _deliver(shop, result, send_result)


async def _deliver(shop: Shop, result: DownloadResult, send_result: trio.MemorySendChannel[DownloadResult]) -> None:
    if shop.options.fail_fast and result.error is not None:
        raise result.error
    await _put(send_result, result)


async def _put(channel: trio.MemorySendChannel[T], value: T) -> None:
    """Send without a turn of the scheduler if there is room: with small files each turn counts."""
    try:
        channel.send_nowait(value)
    except trio.WouldBlock:
        await channel.send(value)


async def _taken(channel: trio.MemoryReceiveChannel[T]) -> T | None:
    """Receive without a turn of the scheduler if there is something; None at the end."""
    try:
        try:
            return channel.receive_nowait()
        except trio.WouldBlock:
            return await channel.receive()
    except trio.EndOfChannel:
        return None
