"""What a client is between entering and leaving its block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from .._lifetimes import Block, Uses, lone_error_unwrapped
from .._sansio.redaction import Secret
from .._sansio.retrying import RetryPolicy
from .._sansio.settings import Settings
from .._wire._client import JsonAnswer, open_json_client
from .._wire._connecting import ConnectionSettings
from .._wire._fetching import Fetcher, open_fetcher
from ._calls import Call, Dialect, Listing
from ._dialects import Asking, Choice
from ._models import Model, UserInfo
from ._pages import Page, PageIterator

if TYPE_CHECKING:
    import httpx

_MOST_SOCKETS = 1000  # of the pool for bodies; every batch keeps to its own, smaller limit
_KEY_HEADER = "X-API-KEY"

M = TypeVar("M", bound=Model)
T = TypeVar("T")


@attrs.frozen(eq=False)
class _Open:
    """What exists only between entering and leaving the client's block."""

    asking: Asking
    fetcher: Fetcher
    nursery: trio.Nursery
    settings: Settings
    user_info: UserInfo


@attrs.define(eq=False, repr=False)
class OpenedClient(Block):
    """A client's block: its nursery, its connections, the dialect that is spoken in it."""

    _AGAIN = "a RestClient is entered once; make another one with create_rest_client()"

    _resolve: Callable[[], Settings]
    _connection: ConnectionSettings
    _retry: RetryPolicy
    _choice: Choice
    _state: _Open | None = attrs.field(init=False, default=None)
    _uses: Uses = attrs.field(init=False, factory=lambda: Uses("RestClient"))

    def __repr__(self) -> str:
        where = "not open" if self._state is None else f"open on {self._state.settings.base_url}"
        return f"<{type(self).__name__}, {where}>"

    @property
    def http_client(self) -> httpx.AsyncClient:
        """The HTTP client below: relative URLs go to the service, with the key.

        Other origins never get the key, and of the headers that you give they get Accept, Range and their like only;
        so does the service where another origin has sent a request back to it.
        """
        return self._open_state().asking.json.http_client

    @property
    def user_info(self) -> UserInfo:
        """The account of the key, as it was when the client was opened."""
        return self._open_state().user_info

    @property
    def dialect(self) -> str:
        """What the service speaks: ``classic`` or ``v1``."""
        return self._api.NAME

    @property
    def _api(self) -> Dialect:
        return self._open_state().asking.dialect

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        settings = await trio.to_thread.run_sync(self._resolve)
        with lone_error_unwrapped():
            async with (
                open_json_client(
                    settings.base_url,
                    settings.api_key,
                    key_header=_KEY_HEADER,
                    settings=self._connection,
                    policy=self._retry,
                ) as json,
                open_fetcher(self._connection, max_connections=_MOST_SOCKETS, home=json.vicinity) as fetcher,
                trio.open_nursery() as nursery,
            ):
                asking, user_info = await self._choice.introduce(json, settings)
                self._state = _Open(asking, fetcher, nursery, settings, user_info)
                try:
                    yield
                finally:
                    self._state = None
                    self._uses.end()
                nursery.cancel_scope.cancel()

    def _open_state(self) -> _Open:
        if self._state is None:
            raise trio.ClosedResourceError("this RestClient is used outside its `async with` block")
        return self._state

    @contextmanager
    def _in_use(self) -> Iterator[_Open]:
        """Give what is open, and end the block with `trio.ClosedResourceError` when the client is closed meanwhile."""
        state = self._open_state()
        with self._uses.one():
            yield state

    async def _ask(self, call: Call[M], **known: Secret) -> tuple[M, JsonAnswer]:
        result: tuple[M, JsonAnswer] | None = None
        with self._in_use() as state:
            result = await state.asking.ask(call, **known)
        assert result is not None  # noqa: S101 (else _in_use has raised)
        return result

    async def _get(self, call: Call[M]) -> M:
        return (await self._ask(call))[0]

    def _iterate(self, listing: Listing[Any, T], limit: int) -> PageIterator[T]:
        listing.page(limit, listing.first)  # refuse bad arguments here, not in the first iteration
        fetch_page = partial(self._page, listing, limit)
        walk = listing.walk(limit, most_pages=self._open_state().asking.json.limits.pages)
        return PageIterator(fetch_page, walk, lambda: self._open_state().nursery, is_wanted=listing.is_wanted)

    async def _page(self, listing: Listing[Any, T], limit: int, position: int) -> Page[T]:
        model, answer = await self._ask(listing.page(limit, position))
        items = listing.items(model)
        facts = listing.facts(model, [listing.key(item) for item in items])
        return Page(items, facts, answer.url, answer.request_id)
