"""Objects as they are sent: every field always, no other, in the right kind; and filters as SQL means them."""

import re
import sqlite3
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.conftest import NormanServed
from tests.emulator.norman_plain import model, signature
from trio_norman.emulator.norman._queries import chosen

ACCOUNT = "id creation_time name"
PREVIEW = "id account_id model_base_id version_label active build_status creation_time short_description assets tags"
MODEL = (
    f"{PREVIEW} name model_class url request_type model_type hosting_location output_format long_description inputs"
    " outputs http_headers user_added_tags"
)
SIGNATURE = (
    "id model_id signature_type data_modality data_domain data_encoding receive_format http_location hidden"
    " display_title default_value parameters transforms signature_args"
)
FIELDS = {
    "asset": "id account_id model_id asset_name",
    "tag": "id account_id model_id name",
    "aggregate tag": "model_id name tag_count",
    "parameter": "id model_id signature_id data_modality data_encoding parameter_name",
    "transform": "id signature_id transform_name transform_args",
    "base": "id account_id name invocation_count model_previews",
    "invocation": "id account_id model_id creation_time inputs outputs",
    "entry": "id account_id model_id signature_id invocation_id display_title",
    "flag": "id account_id entity_id update_time flag_name flag_value",
    "notification": "id account_id entity_id creation_time model_name title message read_status severity",
    "pairing": "pairing_id host port encryption_key nonce authentication_header",
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


def check(shown: dict[str, Any], fields: str) -> None:
    assert set(shown) == set(fields.split())
    for name, value in shown.items():
        if name == "id" or name.endswith("_id"):
            assert re.fullmatch(r"\d{38}", value), name
        if name.endswith("_time"):
            assert TIME.fullmatch(value), name


async def test_every_object_has_its_fields_and_no_others(norman: NormanServed) -> None:
    plain = norman.plain
    transforms = [{"transform_name": "scale"}]
    wish = model(plain.account_id, "m", inputs=[signature("Input", "In", transforms=transforms)], surplus="ignored")
    made = (await plain.call("POST", "persist/models/", [wish]))[0]
    check(made, MODEL)
    check(made["assets"][0], FIELDS["asset"])
    check(made["user_added_tags"][0], FIELDS["tag"])
    check(made["tags"][0], FIELDS["aggregate tag"])
    check(made["inputs"][0], SIGNATURE)
    check(made["inputs"][0]["parameters"][0], FIELDS["parameter"])
    check(made["inputs"][0]["transforms"][0], FIELDS["transform"])
    await plain.push(made["assets"][0], b"x")
    await plain.wait_finished(made["id"])
    base = (await plain.call("POST", "persist/models/bases/get"))[made["model_base_id"]]
    check(base, FIELDS["base"])
    check(base["model_previews"][0], PREVIEW)
    check((await plain.call("POST", "authenticate/accounts/get"))[plain.account_id], ACCOUNT)
    check((await plain.call("POST", "persist/notifications/get"))[0], FIELDS["notification"])
    invocation = await plain.invocation("m")
    check(invocation, FIELDS["invocation"])
    check(invocation["outputs"][0], FIELDS["entry"])
    check(await plain.pair(invocation["inputs"][0], 0), FIELDS["pairing"])
    for flags in (await plain.call("POST", "persist/flags/get")).values():
        for flag in flags:
            check(flag, FIELDS["flag"])


async def test_every_model_that_is_listed_has_the_fields_of_a_model(norman: NormanServed) -> None:
    shown = await norman.plain.call("POST", "persist/models/get")
    assert {each["name"] for each in shown.values()} == {"echo", "text_reverser", "image_mirror"}
    for identifier, each in shown.items():
        check(each, MODEL)
        assert each["id"] == identifier
        assert each["build_status"] in ("InProgress", "Completed")


# ---- filters, beside a real database

ROWS = [{"id": str(number), "name": name, "count": number % 3} for number, name in enumerate("abcabcde")]
operators = st.sampled_from(["=", "!=", ">", "<", ">=", "<="])
nodes = st.one_of(
    st.builds(lambda op, value: ("name", op, value), operators, st.sampled_from("abcxyz")),
    st.builds(lambda op, value: ("count", op, value), operators, st.integers(0, 3)),
    st.builds(
        lambda op, values: ("name", op, values),
        st.sampled_from(["IN", "NOT IN"]),
        st.lists(st.sampled_from("abcx"), min_size=1),
    ),
    st.builds(lambda value: ("name", "LIKE", value), st.sampled_from(["a", "%", "_", "b%", "%c", "%x%"])),
)
clauses = st.recursive(
    nodes,
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=6,
)


def as_wire(clause: Any) -> dict[str, Any]:
    if len(clause) == 2:
        return {"join_condition": clause[0], "children": [as_wire(each) for each in clause[1]]}
    return {"table": "T", "column": clause[0].title(), "operator": clause[1], "value": clause[2]}


def as_sql(clause: Any) -> tuple[str, list[Any]]:
    if len(clause) == 2:
        parts = [as_sql(each) for each in clause[1]]
        text = f" {clause[0]} ".join(f"({part})" for part, _ in parts)
        return text, [value for _, values in parts for value in values]
    column, operator, value = clause
    if isinstance(value, list):
        return f'"{column}" {operator} ({",".join("?" * len(value))})', value
    return f'"{column}" {operator} ?', [value]


@given(clause=clauses, direction=st.sampled_from(["ASC", "DESC"]), limit=st.integers(0, 9), offset=st.integers(0, 9))
def test_constraints_choose_what_a_database_chooses(clause: Any, direction: str, limit: int, offset: int) -> None:
    database = sqlite3.connect(":memory:")
    database.execute('CREATE TABLE t (id INTEGER, name TEXT, "count" INTEGER)')
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", [tuple(row.values()) for row in ROWS])
    text, values = as_sql(clause)
    order = f'"count" {direction}, id ASC'
    found = database.execute(f"SELECT id FROM t WHERE {text} ORDER BY {order} LIMIT {limit} OFFSET {offset}", values)
    expected = [str(row[0]) for row in found]
    database.close()
    wire = as_wire(clause)
    sort = [{"table": "T", "column": "Count", "direction": direction}, {"table": "T", "column": "ID"}]
    wish = {
        "filter": wire if "children" in wire else {"children": [wire]},
        "sort": {"children": sort},
        "page": {"limit": limit, "offset": offset},
    }
    assert [row["id"] for row in chosen(ROWS, wish)] == expected
