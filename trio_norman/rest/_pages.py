"""Going through a list: an asynchronous iterator that reads one page ahead and holds nothing when it is dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Self, TypeVar

import attrs
import trio

from .._sansio.paging import PageFacts, PageWalk
from ..errors import PagingError

T = TypeVar("T")


@attrs.frozen
class Page(Generic[T]):
    """One page: its items, what it says of itself, and where it came from (for errors)."""

    items: Sequence[T]
    facts: PageFacts
    url: str
    request_id: str | None = None


FetchPage = Callable[[int], Awaitable[Page[T]]]


@attrs.define(eq=False)
class _Ahead(Generic[T]):
    """A page on its way. The fetching task knows this alone, never the iterator: that can be dropped at any time."""

    arrived: trio.Event = attrs.field(factory=trio.Event)
    page: Page[T] | None = None
    error: Exception | None = None

    async def fetch(self, fetch_page: FetchPage[T], position: int) -> None:
        try:
            self.page = await fetch_page(position)
        except Exception as error:  # noqa: BLE001 (raised where the page is asked for, not in the client's nursery)
            self.error = error
        finally:
            self.arrived.set()

    async def receive(self) -> Page[T]:
        await self.arrived.wait()
        if self.error is not None:
            raise self.error
        if self.page is None:
            raise trio.ClosedResourceError("the client was closed while a page was on its way")
        return self.page


@attrs.define(eq=False)
class PageIterator(Generic[T]):
    """The items of a list, over all its pages.

    While you work on one page the next one is fetched, in the nursery of the client; the next few at once, where the
    service tells the list's length. Whoever stops iterating needs to do nothing: at most the requests that are under
    way are finished, and no task waits for you.

    Raises:
        PagingError: When pages repeat or contradict each other; every item that was yielded before is right.
        TrioNormanError: Whatever fetching a page raises, at the place in the list where that page would be; iterating
            on asks for it again.
        trio.ClosedResourceError: When the client is closed.

    Cancellation: nothing is lost; iterate on.
    """

    _fetch_page: FetchPage[T]
    _walk: PageWalk
    _nursery: Callable[[], trio.Nursery]  # raises once the client is closed
    _is_wanted: Callable[[T], bool] | None = None
    _items: deque[T] = attrs.field(init=False, factory=deque)
    _ahead: dict[int, _Ahead[T]] = attrs.field(init=False, factory=dict)  # by position

    @property
    def discrepancy(self) -> str:
        """How the total that the service told differs from the items that came; empty if it does not, or not yet.

        The items are right: a total is the service's word, and the list may have changed meanwhile.
        """
        return self._walk.discrepancy

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._nursery()
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._walk.is_over:
                raise StopAsyncIteration
            await self._turn_page()
        return self._items.popleft()

    async def _turn_page(self) -> None:
        position = self._walk.position
        ahead = self._ahead.get(position) or self._read_ahead(position)
        try:
            page = await ahead.receive()
        except Exception:
            if self._ahead.get(position) is ahead:
                self._ahead.clear()  # whoever iterates on has this page asked for again, and those behind it
            raise
        if self._ahead.pop(position, None) is not ahead:
            return  # another task took this page meanwhile
        try:
            fresh = self._walk.accept(page.facts)
        except ValueError as error:
            self._walk.is_over = True
            self._ahead.clear()
            raise PagingError("GET", page.url, (str(error),), page.request_id) from None
        new = (page.items[index] for index in fresh)
        self._items.extend(new if self._is_wanted is None else filter(self._is_wanted, new))
        # What was fetched for positions that the list turned out not to have is dropped.
        kept, self._ahead = self._ahead, {}
        for at in self._walk.ahead(page.facts):
            self._ahead[at] = kept.get(at) or self._read_ahead(at)

    def _read_ahead(self, position: int) -> _Ahead[T]:
        nursery, ahead = self._nursery(), _Ahead[T]()
        nursery.start_soon(ahead.fetch, self._fetch_page, position)
        self._ahead[position] = ahead
        return ahead
