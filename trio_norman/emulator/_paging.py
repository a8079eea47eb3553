"""Pages of lists, honest ones and those that a client must not trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import attrs

from ._misbehaviour import PagingFault
from ._records import Checkpoint

_T = TypeVar("_T")
_LIES = {"lie_total": 10**18, "lie_few": 1, "lie_negative": -1}


class BadPagingError(ValueError):
    """A paging value that the service refuses."""


def whole_number(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    """Read a paging value; raises `BadPagingError`."""
    text = query.get(name, str(default))
    if not text.lstrip("-").isdecimal() or not text.isascii() or int(text) < least:
        raise BadPagingError(f"{name} must be an integer, {least} or more")
    return int(text)


@attrs.frozen
class Page(Generic[_T]):
    """A part of a list, and what is said about it."""

    items: Sequence[_T]
    total: int
    limit: int
    offset: int
    has_more: bool


def page_of(items: Sequence[_T], *, limit: int, offset: int, fault: PagingFault | None) -> Page[_T]:
    """Cut a page out of a list, or misbehave as `fault` says.

    ``loop`` starts again at the end, ``same`` gives the first page for ever, ``empty`` gives nothing and promises more,
    ``lie_total`` names a total of 10**18, ``lie_few`` of 1, ``lie_negative`` of -1, ``ignore_offset`` gives the first
    page and tells the truth about the asked one, ``zero_limit`` says that the limit applied was 0.
    """
    total = len(items)
    honest = Page(items[offset : offset + limit], total, limit, offset, offset + limit < total)
    if fault is None or not total:
        return honest
    if fault == "loop":
        turned = [items[(offset + each) % total] for each in range(limit)]
        return attrs.evolve(honest, items=turned, has_more=True)
    if fault == "same":
        return attrs.evolve(honest, items=items[:limit], has_more=True)
    if fault == "empty":
        return attrs.evolve(honest, items=[], has_more=True)
    if fault in _LIES:
        return attrs.evolve(honest, total=_LIES[fault])
    if fault == "ignore_offset":
        return attrs.evolve(honest, items=items[:limit])
    return attrs.evolve(honest, limit=0)


def offset_fields(page: Page[Checkpoint] | Page[str] | Page[object]) -> dict[str, object]:
    """Write what is said about a page with an offset."""
    return {"total": page.total, "limit": page.limit, "offset": page.offset, "has_more": page.has_more}


def numbered_fields(page: Page[Checkpoint]) -> dict[str, object]:
    """Write what is said about a page with a number, counted from 1."""
    size = max(1, page.limit)
    return {
        "page": page.offset // size + 1,
        "page_size": page.limit,
        "total": page.total,
        "total_pages": -(-page.total // size),
        "has_next": page.has_more,
        "has_prev": page.offset > 0,
    }
