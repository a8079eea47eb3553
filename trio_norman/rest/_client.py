"""`RestClient`: the calls of the training service, its lists as iterators, and its checkpoints as files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import attrs
import trio

from .._lifetimes import lone_error_unwrapped
from .._sansio.paging import PageFacts, PageWalk
from .._sansio.retrying import RetryPolicy
from .._sansio.settings import Settings
from .._wire._client import JsonAnswer, JsonClient, open_json_client
from .._wire._connecting import ConnectionSettings
from .._wire._fetching import Fetcher, open_fetcher
from ..errors import ServiceError
from ..transfer import Downloads, Link, Source, Transfer, download_many
from ..transfer._model import DownloadResult, OnEvent, Options
from . import _classic as api
from ._converter import from_wire
from ._downloads import (
    Downloadable,
    Items,
    check_item,
    checkpoint_file_name,
    each,
    link_of,
    of_run,
    source_of,
    training_run_of,
)
from ._models import (
    ArchiveUrl,
    Checkpoint,
    CheckpointInfo,
    CheckpointList,
    CheckpointsPage,
    Model,
    Sampler,
    Session,
    SessionsPage,
    TrainingRun,
    TrainingRunsPage,
    UserInfo,
    Weight,
    WeightsPage,
)
from ._pages import Page, PageIterator

if TYPE_CHECKING:
    import httpx

_MOST_SOCKETS = 1000  # of the pool for bodies; every batch keeps to its own, smaller limit

M = TypeVar("M", bound=Model)
T = TypeVar("T")
FileName = Callable[[Downloadable], str]


@attrs.frozen(eq=False)
class _Open:
    """What exists only between entering and leaving the client's block."""

    json: JsonClient
    fetcher: Fetcher
    nursery: trio.Nursery
    user_info: UserInfo
    root: str


@attrs.define(eq=False, repr=False)
class RestClient:
    """The training service, for as long as the client's ``async with`` block lasts.

    It owns a nursery: pages that are read ahead and downloads that were started run in it. Leaving the block cancels
    them and waits for them. Entering it checks the key. Made by `ServiceClient.create_rest_client`.

    Every call raises `TransportError`, `ServiceError` or `MalformedResponseError` as its kind of failure is, and
    `trio.ClosedResourceError` outside the block. Calls that only read are repeated within the retry policy.
    """

    _resolve: Callable[[], Settings]
    _connection: ConnectionSettings
    _retry: RetryPolicy
    _state: _Open | None = attrs.field(init=False, default=None)
    _uses: set[trio.CancelScope] = attrs.field(init=False, factory=set)
    _lifetime: AbstractAsyncContextManager[None] | None = attrs.field(init=False, default=None)

    def __repr__(self) -> str:
        return f"<RestClient, {'not open' if self._state is None else f'open on {self._state.root}'}>"

    async def __aenter__(self) -> Self:
        if self._lifetime is not None:
            raise RuntimeError("a RestClient is entered once; make another one with create_rest_client()")
        self._lifetime = self._live()
        await self._lifetime.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._lifetime is not None  # noqa: S101 (entered before it is left)
        return await self._lifetime.__aexit__(kind, error, traceback)  # noqa: ASYNC102 (the nursery's own end)

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        settings = await trio.to_thread.run_sync(self._resolve)
        with lone_error_unwrapped():
            async with (
                open_json_client(
                    settings.base_url,
                    settings.api_key,
                    key_header=api.KEY_HEADER,
                    settings=self._connection,
                    policy=self._retry,
                ) as json,
                open_fetcher(self._connection, max_connections=_MOST_SOCKETS) as fetcher,
                trio.open_nursery() as nursery,
            ):
                self._state = _Open(json, fetcher, nursery, await _who_am_i(json, settings), settings.base_url)
                try:
                    yield
                finally:
                    self._state = None
                    for use in self._uses:
                        use.cancel()
                nursery.cancel_scope.cancel()

    def _open_state(self) -> _Open:
        if self._state is None:
            raise trio.ClosedResourceError("this RestClient is used outside its `async with` block")
        return self._state

    @contextmanager
    def _in_use(self) -> Iterator[_Open]:
        """Give what is open, and end the block with `trio.ClosedResourceError` when the client is closed meanwhile."""
        state = self._open_state()
        with trio.CancelScope() as scope:
            self._uses.add(scope)
            try:
                yield state
            finally:
                self._uses.discard(scope)
        if scope.cancelled_caught:
            raise trio.ClosedResourceError("the RestClient was closed meanwhile")

    async def _ask(self, call: api.Call[M]) -> tuple[M, JsonAnswer]:
        result: tuple[M, JsonAnswer] | None = None
        with self._in_use() as state:
            answer = await state.json.call("GET", call.path, call.query)
            model = from_wire(call.kind, answer.document, method="GET", url=answer.url, request_id=answer.request_id)
            result = (model, answer)
        assert result is not None  # noqa: S101 (else _in_use has raised)
        return result

    async def _get(self, call: api.Call[M]) -> M:
        return (await self._ask(call))[0]

    # Who

    @property
    def http_client(self) -> httpx.AsyncClient:
        """The HTTP client below: relative URLs go to the service, with the key; other origins never get the key."""
        return self._open_state().json.http_client

    @property
    def user_info(self) -> UserInfo:
        """The account of the key, as it was when the client was opened."""
        return self._open_state().user_info

    async def get_user_info(self) -> UserInfo:
        """Return the account of the key. No request is made: it was asked for when the client was opened."""
        await trio.lowlevel.checkpoint()
        return self._open_state().user_info

    # Weights

    async def list_weights(self, page: int = 1, page_size: int = 20) -> WeightsPage:
        """Return one page of the account's weights; `page` counts from 1, `page_size` is at least 1."""
        return await self._get(api.weights(self.user_info.user_id, page=page, page_size=page_size))

    def iter_weights(self, page_size: int = 100) -> PageIterator[Weight]:
        """Iterate over all weights of the account."""
        user_id = self.user_info.user_id
        return self._iterate(
            lambda page: api.weights(user_id, page=page, page_size=page_size),
            lambda page: page.data,
            api.weights_facts,
            PageWalk(page_size, position=1, numbered=True),
        )

    async def get_archive_url(self, checkpoint_id: str) -> ArchiveUrl:
        """Return a signed URL of a weight's archive; `checkpoint_id` is a weight's `cuid`."""
        return await self._get(api.weight_archive(self.user_info.user_id, checkpoint_id))

    # Training runs and checkpoints

    async def get_training_run(self, training_run_id: str) -> TrainingRun:
        """Return one training run."""
        return await self._get(api.training_run(training_run_id))

    async def list_training_runs(self, limit: int = 20, offset: int = 0) -> TrainingRunsPage:
        """Return one page of training runs: `limit` of them (at least 1), from the `offset`-th on (at least 0)."""
        return await self._get(api.training_runs(limit=limit, offset=offset))

    def iter_training_runs(self, limit: int = 100) -> PageIterator[TrainingRun]:
        """Iterate over all training runs, `limit` a page."""
        return self._iterate(
            lambda offset: api.training_runs(limit=limit, offset=offset),
            lambda page: page.training_runs,
            api.runs_facts,
            PageWalk(limit),
        )

    async def list_checkpoints(self, training_run_id: str) -> CheckpointList:
        """Return all checkpoints of a run; the service does not page them."""
        found = await self._get(api.checkpoints(training_run_id))
        return attrs.evolve(found, checkpoints=of_run(training_run_id, found))

    def iter_checkpoints(self, training_run_id: str) -> PageIterator[Checkpoint]:
        """Iterate over the checkpoints of a run."""
        return self._iterate(
            lambda _: api.checkpoints(training_run_id),
            partial(of_run, training_run_id),
            api.checkpoint_list_facts,
            PageWalk(1),
        )

    async def get_checkpoint_archive_url(self, training_run_id: str, checkpoint_id: str) -> ArchiveUrl:
        """Return a signed URL of a checkpoint's archive, and until when it is good."""
        return await self._get(api.checkpoint_archive(training_run_id, checkpoint_id))

    async def delete_checkpoint(self, training_run_id: str, checkpoint_id: str) -> None:
        """Delete a checkpoint for good.

        It is asked once: after a lost answer the checkpoint may be gone. Cancellation: likewise.
        """
        path = api.checkpoint_path(training_run_id, checkpoint_id)
        with self._in_use() as state:
            answer = await state.json.call("DELETE", path)
            if isinstance(answer.document, dict) and answer.document.get("success") is False:
                message = str(answer.document.get("message") or "the service says that it did not delete")
                raise ServiceError("DELETE", answer.url, 200, "", message, answer.request_id)

    async def list_user_checkpoints(self, limit: int = 100, offset: int = 0) -> CheckpointsPage:
        """Return one page of the account's checkpoints, over all runs."""
        return await self._get(api.user_checkpoints(limit=limit, offset=offset))

    def iter_user_checkpoints(self, limit: int = 100) -> PageIterator[Checkpoint]:
        """Iterate over all checkpoints of the account, `limit` a page."""
        return self._iterate(
            lambda offset: api.user_checkpoints(limit=limit, offset=offset),
            lambda page: page.checkpoints,
            api.checkpoints_facts,
            PageWalk(limit),
        )

    async def get_checkpoint_info(self, path: str) -> CheckpointInfo:
        """Return base model and LoRA settings of a checkpoint, by its path."""
        return await self._get(api.checkpoint_info(path))

    # Sessions and samplers

    async def get_session(self, session_id: str) -> Session:
        """Return the runs and samplers of a session."""
        return await self._get(api.session(session_id))

    async def list_sessions(self, limit: int = 20, offset: int = 0) -> SessionsPage:
        """Return one page of session ids."""
        return await self._get(api.sessions(limit=limit, offset=offset))

    def iter_sessions(self, limit: int = 20) -> PageIterator[str]:
        """Iterate over all session ids, `limit` a page.

        The service does not tell which limit it applied, so a page that is shorter than `limit` is taken for the last
        one: ask for no more than the service surely gives.
        """
        return self._iterate(
            lambda offset: api.sessions(limit=limit, offset=offset),
            lambda page: page.sessions,
            api.sessions_facts,
            PageWalk(limit),
        )

    async def get_sampler(self, sampler_id: str) -> Sampler:
        """Return a sampler."""
        return await self._get(api.sampler(sampler_id))

    def _iterate(
        self,
        call: Callable[[int], api.Call[M]],
        items: Callable[[M], Sequence[T]],
        facts: Callable[[M], PageFacts],
        walk: PageWalk,
    ) -> PageIterator[T]:
        call(walk.position)  # refuse bad arguments here, not in the first iteration
        self._open_state()
        return PageIterator(partial(self._page, call, items, facts), walk, lambda: self._open_state().nursery)

    async def _page(
        self,
        call: Callable[[int], api.Call[M]],
        items: Callable[[M], Sequence[T]],
        facts: Callable[[M], PageFacts],
        position: int,
    ) -> Page[T]:
        model, answer = await self._ask(call(position))
        return Page(items(model), facts(model), answer.url, answer.request_id)

    # Downloads

    @asynccontextmanager
    async def download_checkpoints(
        self,
        items: Items | str,
        dest: Path | str,
        max_concurrency: int = 8,
        *,
        file_name: FileName = checkpoint_file_name,
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[Downloads]:
        """Download the archives of many checkpoints; see `trio_norman.download_many` for all that is the same.

        Args:
            items: Checkpoints or weights, from any iterable or asynchronous iterable; or a training run's id.
            dest: Directory, made if need be.
            max_concurrency: Files that are worked on at the same time.
            file_name: Gives each archive its name; by default its own name, its id and ``.zip``.
            on_event: Called with every event.
            **options: See `DownloadOptions`.

        Returns:
            A context manager that gives the results, in order of completion.
        """
        with self._in_use() as state:
            sources = self._sources(items, file_name)
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
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> DownloadResult:
        """Download the archive of one checkpoint and return its result.

        Raises:
            TrioNormanError: If it could not be brought home.

        Cancellation: the partial file stays and is taken up by the next download.
        """
        result: DownloadResult | None = None
        options["fail_fast"] = True
        batch = self.download_checkpoints([item], dest, file_name=file_name, on_event=on_event, **options)
        async with batch as results:
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
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> Transfer:
        """Start downloading one archive in this client's nursery and return its handle at once."""
        state = self._open_state()
        source = self._source(item, file_name)
        transfer = Transfer(
            source,
            lambda note: download_many(
                [source], dest, fetch=state.fetcher.fetch, on_event=_both(note, on_event), **options
            ),
        )
        state.nursery.start_soon(transfer.run)
        return transfer

    async def _sources(self, items: Items | str, file_name: FileName) -> AsyncGenerator[Source, None]:
        chosen = (await self.list_checkpoints(items)).checkpoints if isinstance(items, str) else items
        async with aclosing(each(chosen)) as all_of_them:
            async for item in all_of_them:
                yield self._source(item, file_name)  # noqa: ASYNC119 (the engine closes this generator)

    def _source(self, item: Downloadable, file_name: FileName) -> Source:
        check_item(item)
        return source_of(item, service=self._open_state().root, name=file_name(item), link=self._link)

    async def _link(self, item: Downloadable) -> Link:
        call = (
            api.weight_archive(self.user_info.user_id, item.cuid) if isinstance(item, Weight) else self._archive(item)
        )
        return link_of(*await self._ask(call))

    def _archive(self, item: Checkpoint) -> api.Call[ArchiveUrl]:
        run = training_run_of(item)
        if run is None:
            return api.weight_archive(self.user_info.user_id, item.checkpoint_id)
        return api.checkpoint_archive(run, item.checkpoint_id)


async def _who_am_i(json: JsonClient, settings: Settings) -> UserInfo:
    answer = await json.call("GET", api.USER)
    document = answer.document
    if isinstance(document, dict):
        document = {**document, "api_key": settings.api_key.reveal()}
    return from_wire(UserInfo, document, method="GET", url=answer.url, request_id=answer.request_id)


def _both(first: OnEvent, second: OnEvent | None) -> OnEvent:
    def call_both(event: Any) -> None:
        first(event)
        if second is not None:
            second(event)

    return call_both
