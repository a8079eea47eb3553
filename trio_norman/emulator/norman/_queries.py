"""Query constraints: filters, orders and pages, with the meaning that they have in SQL."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from ._refusals import invalid
from ._shapes import Wire

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_DEEPEST = 50


def chosen(rows: Iterable[Wire], constraints: object) -> list[Wire]:
    """Give the rows that constraints ask for, in their order; all of them without constraints.

    Raises:
        RefusedError: For constraints that do not make sense, and for columns that the rows do not have.
    """
    if isinstance(constraints, dict) and "constraints" in constraints:
        constraints = constraints["constraints"]  # as an older generation of clients sends them
    if constraints is None:
        return list(rows)
    if not isinstance(constraints, dict):
        raise invalid("constraints must be an object")
    held = [row for row in rows if _holds(constraints.get("filter"), row)]
    return _paged(_sorted(held, constraints.get("sort")), constraints.get("page"))


def _holds(clause: Any, row: Wire, depth: int = 0) -> bool:
    if clause is None:
        return True
    if not isinstance(clause, dict) or depth > _DEEPEST:
        raise invalid("a filter must be an object, not too deep")
    if "children" not in clause:
        return _node_holds(clause, row)
    children = _children(clause)
    joined = clause.get("join_condition", "AND")
    if joined not in ("AND", "OR"):
        raise invalid("join_condition must be AND or OR")
    results = [_holds(child, row, depth + 1) for child in children]
    return not results or (all(results) if joined == "AND" else any(results))


def _node_holds(node: Wire, row: Wire) -> bool:
    mine = _column(node, row)
    name, value = node.get("operator", "="), node.get("value")
    if name in ("IN", "NOT IN"):
        if not isinstance(value, list) or not value:
            raise invalid(f"{name} needs a list with something in it")
        found = any(_compared(operator.eq, mine, each) for each in value)
        return found if name == "IN" else not found
    if not isinstance(value, str | int | float):
        raise invalid(f"{name} needs one value")
    if name == "LIKE":
        return _like(str(value)).fullmatch(str(mine)) is not None
    if name not in _COMPARISONS:
        raise invalid(f"there is no operator {name!r}")
    return _compared(_COMPARISONS[name], mine, value)


def _column(node: Wire, row: Wire) -> Any:
    name = node.get("column", "ID")
    if not isinstance(name, str) or not isinstance(node.get("table"), str):
        raise invalid("table and column must be strings")
    if name.lower() not in row:
        raise invalid(f"there is no column {name!r}")
    return row[name.lower()]


def _compared(compare: Callable[[Any, Any], bool], mine: Any, theirs: Any) -> bool:
    if mine is None:
        return False
    left, right = _comparable(mine), _comparable(theirs)
    if type(left) is not type(right):
        left, right = str(mine), str(theirs)
    return bool(compare(left, right))


def _comparable(value: Any) -> Any:
    """Numbers as numbers, whether or not they are written as strings; times as times."""
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else int(value)
    text = str(value)
    if re.fullmatch(r"[0-9]{1,40}", text):
        return int(text)
    if re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return text


def _like(pattern: str) -> re.Pattern[str]:
    signs = {"%": ".*", "_": "."}
    return re.compile("".join(signs.get(each, re.escape(each)) for each in pattern), re.DOTALL | re.IGNORECASE)


def _sorted(rows: list[Wire], sort: Any) -> list[Wire]:
    if sort is None:
        return rows
    for part in reversed(_children(sort)):
        if not isinstance(part, dict) or part.get("direction", "ASC") not in ("ASC", "DESC"):
            raise invalid("direction must be ASC or DESC")
        key = functools.partial(_sorting_key, part)
        rows = sorted(rows, key=key, reverse=part.get("direction") == "DESC")
    return rows


def _sorting_key(part: Wire, row: Wire) -> tuple[str, Any]:
    value = _comparable(_column(part, row))
    return type(value).__name__, value


def _paged(rows: Sequence[Wire], page: Any) -> list[Wire]:
    if page is None:
        return list(rows)
    if not isinstance(page, dict) or not {"limit", "offset"} <= page.keys():
        raise invalid("a page needs limit and offset")
    limit, offset = page["limit"], page["offset"] or 0
    if any(not isinstance(each, int) or isinstance(each, bool) or each < 0 for each in (limit or 0, offset)):
        raise invalid("limit and offset must be whole numbers, not negative")
    return list(rows[offset:] if limit is None else rows[offset : offset + limit])


def _children(clause: Any) -> list[Any]:
    children = clause.get("children") if isinstance(clause, dict) else None
    if not isinstance(children, list):
        raise invalid("children must be a list")
    return children
