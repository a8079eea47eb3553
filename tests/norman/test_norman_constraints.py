"""Queries as the service reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_norman import QueryConstraints
from trio_norman.errors import ConfigurationError

Q = QueryConstraints
scalars = st.text(max_size=5) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def node(column: str, operator: str, value: Any) -> dict[str, Any]:
    return {"table": "Models", "column": column, "operator": operator, "value": value}


def test_no_constraint_at_all_has_all_three_keys() -> None:
    assert Q().to_dict() == {"filter": None, "sort": None, "page": None}


def test_equals_is_one_condition_and_includes_a_list_of_alternatives() -> None:
    assert Q.equals("Models", "ID", "7").to_dict()["filter"] == {
        "children": [node("ID", "=", "7")],
        "join_condition": "AND",
    }
    for built, operator in ((Q.includes, "IN"), (Q.not_includes, "NOT IN")):
        assert built("Models", "ID", iter(["7", "8"])).to_dict()["filter"] == {
            "children": [node("ID", operator, ["7", "8"])],
            "join_condition": "OR",
        }


def test_a_query_of_several_steps() -> None:
    query = (
        (Q.equals("Models", "Account_ID", "9") & Q.where("Models", "Creation_Time", ">=", "2025-01-01"))
        .sorted_by("Models", "Creation_Time", "DESC")
        .sorted_by("Models")
        .limited_to(20, 0)
    )
    assert query.to_dict() == {
        "filter": {
            "children": [
                {"children": [node("Account_ID", "=", "9")], "join_condition": "AND"},
                {"children": [node("Creation_Time", ">=", "2025-01-01")], "join_condition": "AND"},
            ],
            "join_condition": "AND",
        },
        "sort": {
            "children": [
                {"table": "Models", "column": "Creation_Time", "direction": "DESC"},
                {"table": "Models", "column": "ID", "direction": "ASC"},
            ]
        },
        "page": {"limit": 20, "offset": 0},
    }


@given(first=scalars, second=scalars, limit=st.none() | st.integers(1, 100))
def test_what_is_joined_keeps_both_sides_and_the_right_page(first: Any, second: Any, limit: int | None) -> None:
    left, right = Q.equals("A", "X", first).limited_to(5, 3), Q.equals("B", "Y", second).sorted_by("B")
    page = right if limit is None else right.limited_to(limit)
    joined = left & page
    assert joined.to_dict()["filter"]["children"] == [left.to_dict()["filter"], right.to_dict()["filter"]]
    assert joined.page == ((5, 3) if limit is None else (limit, None))
    assert joined.sort == right.sort
    json.dumps(joined.to_dict(), allow_nan=False)


def test_a_side_without_a_filter_keeps_everything() -> None:
    some = Q.equals("Models", "ID", "7")
    assert (some & Q()).filter == (Q() & some).filter == some.filter
    assert (some | Q()).filter is None
    assert (some | some).to_dict()["filter"]["join_condition"] == "OR"


def test_a_boolean_is_a_number() -> None:
    assert Q.equals("Models", "Active", True).to_dict()["filter"]["children"][0]["value"] == 1


@pytest.mark.parametrize(
    ("operator", "value"),
    [("~", "x"), ("=", ["x"]), ("IN", "x"), ("IN", []), ("NOT IN", ()), ("LIKE", []), ("<", float("inf"))],
)
def test_a_comparison_that_no_service_reads_is_refused(operator: Any, value: Any) -> None:
    with pytest.raises(ConfigurationError):
        Q.where("Models", "ID", operator, value)


@pytest.mark.parametrize("value", ["238", b"238", 238])
def test_the_letters_of_a_single_value_are_no_list(value: Any) -> None:
    for build in (Q.includes, Q.not_includes):
        with pytest.raises(ConfigurationError, match="compares with a list"):
            build("Models", "ID", value)
    if isinstance(value, bytes):
        with pytest.raises(TypeError):
            Q.equals("Models", "ID", value)  # type: ignore[arg-type]


def test_bounds_of_pages_and_kinds_of_values() -> None:
    with pytest.raises(ConfigurationError):
        Q().limited_to(0)
    with pytest.raises(ConfigurationError):
        Q().limited_to(1, -1)
    with pytest.raises(TypeError):
        Q.includes("Models", "ID", [b"x"])  # type: ignore[list-item]
