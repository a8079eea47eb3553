"""`QueryConstraints`: which entities a list is to hold, in which order, and how many of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import attrs

from .._sansio.routes import bounded
from ..errors import ConfigurationError

Operator = Literal["=", "!=", ">", "<", ">=", "<=", "LIKE", "IN", "NOT IN"]
Scalar = str | int | float
_LISTS = ("IN", "NOT IN")
_OPERATORS = ("=", "!=", ">", "<", ">=", "<=", "LIKE", *_LISTS)


@attrs.frozen
class Condition:
    """One comparison: ``table.column operator value``."""

    table: str
    column: str
    operator: Operator
    value: Scalar | Sequence[Scalar]

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands on the wire."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"table": self.table, "column": self.column, "operator": self.operator, "value": value}


@attrs.frozen
class Clause:
    """Conditions and further clauses, all of which (``AND``) or one of which (``OR``) must hold."""

    children: tuple[Clause | Condition, ...]
    join_condition: Literal["AND", "OR"] = "AND"

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands on the wire."""
        return {"children": [child.to_dict() for child in self.children], "join_condition": self.join_condition}


@attrs.frozen
class Order:
    """A column to sort by."""

    table: str
    column: str = "ID"
    direction: Literal["ASC", "DESC"] = "ASC"

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands on the wire."""
        return {"table": self.table, "column": self.column, "direction": self.direction}


@attrs.frozen
class QueryConstraints:
    """A filter, an order and a page, put together step by step.

    ::

        newest = (
            QueryConstraints.where("Models", "Account_ID", "=", account_id)
            & QueryConstraints.where("Models", "Creation_Time", ">=", "2025-01-01")
        ).sorted_by("Models", "Creation_Time", "DESC").limited_to(20)

    Names of tables and columns are the service's own: capitalised words with underscores, ``ID`` in capitals.

    Source: wire/norman, section 4.
    """

    filter: Clause | None = None
    sort: tuple[Order, ...] = ()
    page: tuple[int | None, int | None] | None = None

    @classmethod
    def where(cls, table: str, column: str, operator: Operator, value: Scalar | Iterable[Scalar]) -> Self:
        """Compare a column: with a list for ``IN`` and ``NOT IN``, else with one text or number.

        Raises:
            ConfigurationError: If the operator is unknown, a list is empty, or the value is not of the operator's kind.
        """
        if operator not in _OPERATORS:
            raise ConfigurationError(f"there is no operator {operator!r}", f"there are {', '.join(_OPERATORS)}")
        is_list = not isinstance(value, str | bytes | int | float)  # the letters of a text are no list of values
        if is_list != (operator in _LISTS):
            raise ConfigurationError(f"{operator} compares with {'one value' if is_list else 'a list'}")
        scalars = tuple(map(_scalar, value)) if isinstance(value, Iterable) and is_list else _scalar(value)
        if scalars == ():
            raise ConfigurationError(f"{operator} compares with an empty list", "give at least one value")
        return cls(Clause((Condition(table, column, operator, scalars),), "OR" if is_list else "AND"))

    @classmethod
    def equals(cls, table: str, column: str, value: Scalar) -> Self:
        """Keep what has this value."""
        return cls.where(table, column, "=", value)

    @classmethod
    def includes(cls, table: str, column: str, values: Iterable[Scalar]) -> Self:
        """Keep what has one of these values, at least one; a single text is refused, as `where` says."""
        return cls.where(table, column, "IN", values)

    @classmethod
    def not_includes(cls, table: str, column: str, values: Iterable[Scalar]) -> Self:
        """Keep what has none of these values, at least one; raises as `includes`."""
        return cls.where(table, column, "NOT IN", values)

    def __and__(self, other: QueryConstraints) -> QueryConstraints:
        """Keep what both keep; sorted by this one's order first. The other one's page wins, if it has one."""
        return self._joined(other, "AND")

    def __or__(self, other: QueryConstraints) -> QueryConstraints:
        """Keep what either keeps, as for ``&``; a side without a filter keeps everything."""
        return self._joined(other, "OR")

    def sorted_by(self, table: str, column: str = "ID", direction: Literal["ASC", "DESC"] = "ASC") -> QueryConstraints:
        """Sort by a further column, behind those that are there already."""
        return attrs.evolve(self, sort=(*self.sort, Order(table, column, direction)))

    def limited_to(self, limit: int | None, offset: int | None = None) -> QueryConstraints:
        """Keep at most `limit` entities (at least 1), from the `offset`-th on (at least 0)."""
        page = (
            None if limit is None else bounded(limit, at_least=1, what="limit"),
            None if offset is None else bounded(offset, at_least=0, what="offset"),
        )
        return attrs.evolve(self, page=page)

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands on the wire."""
        return {
            "filter": None if self.filter is None else self.filter.to_dict(),
            "sort": {"children": [order.to_dict() for order in self.sort]} if self.sort else None,
            "page": None if self.page is None else {"limit": self.page[0], "offset": self.page[1]},
        }

    def _joined(self, other: QueryConstraints, how: Literal["AND", "OR"]) -> QueryConstraints:
        filters = [each for each in (self.filter, other.filter) if each is not None]
        both = Clause(tuple(filters), how) if len(filters) == 2 else None
        if len(filters) == 1 and how == "AND":
            both = filters[0]
        return QueryConstraints(both, self.sort + other.sort, other.page or self.page)


def _scalar(value: object) -> Scalar:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"a column is compared with {value}", "give a finite number")
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"a column is compared with texts and numbers, not with {type(value).__name__}")
