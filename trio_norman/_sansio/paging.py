"""Going through a list page by page without ever going in circles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs

from .limits import DEFAULT_LIMITS


@attrs.frozen
class PageFacts:
    """What one page says of itself. None: the service does not say it.

    `keys` are the identities of its items; `offset` (or `page`) is the position that the service says it applied.
    """

    keys: Sequence[str]
    has_more: bool | None = None
    total: int | None = None
    limit: int | None = None
    position: int | None = None


@attrs.define
class PageWalk:
    """The way through one list: asks for positions, takes what comes, and notices when the pages contradict.

    Args:
        limit: Items that each page asks for.
        position: Where to begin: an offset, or a page number if `numbered`.
        numbered: Whether positions count pages (from 1) instead of items (from 0).
        most_pages: A list with more pages than this is taken for endless.
        lanes: With more than 1, `total` tells where the list ends, and so many pages may be asked for at once.

    A page whose items all stood on an earlier page ends the walk with an error, and so does one on which the list
    begins again, one that announces more and holds nothing, and one for another position than was asked. Only digests
    are kept, two of each page, so memory stays small over a million items. `total` is never trusted: the items decide,
    and where they contradict a total that should tell the list's end, the walk ends with an error as well. Elsewhere
    `discrepancy` says so.
    """

    limit: int
    position: int = 0
    numbered: bool = False
    most_pages: int = DEFAULT_LIMITS.pages
    lanes: int = 1
    pages: int = attrs.field(init=False, default=0)
    is_over: bool = attrs.field(init=False, default=False)
    _seen: set[bytes] = attrs.field(init=False, factory=set)
    _beginnings: set[bytes] = attrs.field(init=False, factory=set)
    _last: frozenset[str] = attrs.field(init=False, default=frozenset())
    _count: int = attrs.field(init=False, default=0)
    _total: int | None = attrs.field(init=False, default=None)

    @property
    def discrepancy(self) -> str:
        """How the last total that was told differs from the items of the whole list; empty as long as it does not."""
        if not self.is_over or self._total in (None, self._count):
            return ""
        return f"the list is said to have {self._total} items, it has {self._count}"

    def accept(self, page: PageFacts) -> list[int]:
        """Take a page in and return the indexes of its items that are new.

        Items at the start of a page that also stood on the page before (something was inserted meanwhile) are left out.

        Raises:
            ValueError: With what contradicts, if the walk cannot go on.
        """
        self.pages += 1
        problem = self._contradiction(page)
        if problem:
            raise ValueError(problem)
        fresh = [index for index, key in enumerate(page.keys) if key not in self._last]
        if page.keys:
            self._seen.add(_digest(page.keys))
            self._beginnings.add(_digest(page.keys[:1]))
            self._last = frozenset(page.keys)
        self.position += 1 if self.numbered else len(page.keys)
        self._count += len(fresh)
        self._total = self._total if page.total is None else page.total
        self.is_over = self._ends(page)
        return fresh

    def ahead(self, page: PageFacts) -> Sequence[int]:
        """Return the positions worth asking for after a page that was just accepted, the next one first."""
        if self.is_over:
            return ()
        step = page.limit or 0
        if self.lanes == 1 or page.total is None or step <= 0 or len(page.keys) < step:
            return (self.position,)
        return range(self.position, max(page.total, self.position + 1), step)[: self.lanes]

    def _contradiction(self, page: PageFacts) -> str:
        if self.pages > self.most_pages:
            return f"the list goes on after {self.most_pages} pages, the limit"
        if page.position is not None and page.position != self.position:
            return f"asked for position {self.position}, the answer is for {page.position}"
        if len(set(page.keys)) != len(page.keys):
            return "one page has the same item twice"
        if page.keys and (_digest(page.keys) in self._seen or self._last.issuperset(page.keys)):
            return f"page {self.pages} repeats items that came before"
        if any(_digest([key]) in self._beginnings for key in page.keys if key not in self._last):
            return f"page {self.pages} repeats items that came before: the list begins again"
        if not page.keys and page.has_more:
            return f"page {self.pages} is empty and says that more follows"
        if self.lanes > 1 and page.total is not None and page.keys and self.position + len(page.keys) > page.total:
            return f"the list is said to have {page.total} items, and page {self.pages} goes beyond them"
        if page.has_more and page.limit is not None and page.limit <= 0:
            return f"the service applied a limit of {page.limit} and says that more follows"
        return ""

    def _ends(self, page: PageFacts) -> bool:
        if page.has_more is not None:
            return not page.has_more
        # Without `has_more` only a short page is the end; the service may apply a smaller limit than was asked.
        applied = self.limit if page.limit is None or page.limit <= 0 else min(self.limit, page.limit)
        return len(page.keys) < applied


def _digest(keys: Sequence[str]) -> bytes:
    return hashlib.blake2b(ascii(list(keys)).encode(), digest_size=12).digest()
