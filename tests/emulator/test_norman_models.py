"""Models, versions and bases, and the constraints that choose among them."""

from typing import Any

import pytest

from tests.emulator.conftest import NormanServed
from tests.emulator.norman_plain import Plain, includes, model, signature


async def created(plain: Plain, name: str = "mine", **changes: Any) -> dict[str, Any]:
    return dict((await plain.call("POST", "persist/models/", [model(plain.account_id, name, **changes)]))[0])


def node(column: str, value: Any, operator: str = "=") -> dict[str, Any]:
    return {"table": "Models", "column": column, "operator": operator, "value": value}


def constraints(*children: Any, join: str = "AND", sort: Any = None, page: Any = None) -> dict[str, Any]:
    return {"filter": {"children": list(children), "join_condition": join}, "sort": sort, "page": page}


async def names(plain: Plain, wish: Any) -> list[str]:
    return [row["name"] for row in (await plain.call("POST", "persist/models/get", wish)).values()]


async def test_a_model_comes_back_with_all_its_identifiers_in_order(norman: NormanServed) -> None:
    plain = norman.plain
    assets = [{"account_id": plain.account_id, "asset_name": name} for name in ("Logo", "File")]
    wishes = [model(plain.account_id, "a", assets=assets), model(plain.account_id, "b")]
    first, second = await plain.call("POST", "persist/models/", wishes)
    assert (first["name"], second["name"]) == ("a", "b")
    assert [asset["asset_name"] for asset in first["assets"]] == ["Logo", "File"]
    identifiers = [first["id"], first["model_base_id"], *(asset["id"] for asset in first["assets"])]
    for each in first["inputs"] + first["outputs"]:
        identifiers += [each["id"], each["parameters"][0]["id"]]
        assert each["model_id"] == each["parameters"][0]["model_id"] == first["id"]
        assert each["parameters"][0]["signature_id"] == each["id"]
    assert "0" not in identifiers
    assert len(set(identifiers)) == len(identifiers)
    assert first["build_status"] == "InProgress"
    assert first["tags"] == [{"model_id": first["id"], "name": "demo", "tag_count": 2}]


async def test_a_model_is_built_when_its_assets_have_come(norman: NormanServed) -> None:
    plain, emulator = norman.plain, norman.emulator
    made = await created(plain)
    asset = made["assets"][0]
    assert await plain.flags(made["id"], asset["id"]) == {made["id"]: [0], asset["id"]: [0, 0]}
    emulator.norman.flags.seconds = 10
    await plain.push(asset, b"weights")
    assert await plain.flags(made["id"], asset["id"]) == {made["id"]: [1], asset["id"]: [2, 1]}
    emulator.clock.jump(15)
    assert await plain.flags(made["id"], asset["id"]) == {made["id"]: [1], asset["id"]: [3, 2]}
    assert await plain.call("POST", "persist/notifications/get") == []
    emulator.clock.jump(10)
    assert await plain.flags(made["id"], asset["id"]) == {made["id"]: [2], asset["id"]: [3, 3]}
    emulator.clock.jump(10)
    assert await plain.flags(made["id"]) == {made["id"]: [3]}
    read = (await plain.call("POST", "persist/models/get", includes("ID", [made["id"]], "Models")))[made["id"]]
    assert read == made | {"build_status": "Completed"}
    told = (await plain.call("POST", "persist/notifications/get"))[0]
    assert (told["entity_id"], told["model_name"], told["severity"]) == (made["id"], "mine", "Success")


async def test_flags_have_the_names_of_their_entities(norman: NormanServed) -> None:
    plain = norman.plain
    assets = [{"account_id": plain.account_id, "asset_name": name} for name in ("Logo", "File")]
    made = await created(plain, assets=assets)
    ids = [made["id"], *(asset["id"] for asset in made["assets"])]
    shown = await plain.call("POST", "persist/flags/get", includes("Entity_ID", ids))
    assert [[flag["flag_name"] for flag in shown[each]] for each in ids] == [
        ["File_Image_Build"],
        ["Logo_EFS_Staging", "Logo_S3_Storage"],
        ["File_EFS_Staging", "File_S3_Storage"],
    ]
    one = {"table": "Status_Flags", "column": "Entity_ID", "operator": "=", "value": ids[0]}
    assert list(await plain.call("POST", "persist/flags/get", constraints(one))) == ids[:1]


@pytest.mark.parametrize(
    "changes",
    [
        {"request_type": "POST"},
        {"model_type": "PyTorch"},
        {"model_class": None},
        {"version_label": 5},
        {"inputs": [{}]},
        {"inputs": [signature("Input", "twice"), signature("Input", "twice")]},
        {"hosting_location": "External"},
        {"id": 7},
        {"creation_time": "yesterday"},
    ],
)
async def test_a_model_that_does_not_fit_the_schema_is_refused(norman: NormanServed, changes: dict[str, Any]) -> None:
    answer = await norman.plain.ask("POST", "persist/models/", [model(norman.plain.account_id, "m", **changes)])
    assert (answer.status_code, answer.json()["error_type"]) == (400, "validation")


async def test_assets_of_one_name_and_models_of_another_account_are_refused(norman: NormanServed) -> None:
    plain = norman.plain
    twice = [{"account_id": plain.account_id, "asset_name": "File"}] * 2
    assert (await plain.ask("POST", "persist/models/", [model(plain.account_id, "m", assets=twice)])).status_code == 400
    assert (await plain.ask("POST", "persist/models/", [model("77", "m")])).status_code == 403
    assert "m" not in await names(plain, None)


async def test_versions_share_a_base_and_one_of_them_is_active(norman: NormanServed) -> None:
    plain = norman.plain
    first = await created(plain)
    wish = model(plain.account_id, "mine", model_base_id=first["model_base_id"], version_label="v2")
    second = (await plain.call("POST", "persist/models/version", [wish]))[0]
    assert second["model_base_id"] == first["model_base_id"]

    async def active() -> list[str]:
        bases = await plain.call("POST", "persist/models/bases/get", includes("Name", ["mine"], "Model_Bases"))
        previews = bases[first["model_base_id"]]["model_previews"]
        return [preview["version_label"] for preview in previews if preview["active"]]

    assert await active() == ["v2"]
    preview = {name: first[name] for name in ("id", "account_id", "version_label", "short_description")}
    changed = await plain.call("PATCH", "persist/models/version", [preview])
    assert [each["version_label"] for each in changed] == ["v1.0"]
    assert "long_description" not in changed[0]
    assert await active() == ["v1.0"]
    assert (await plain.invocation("mine"))["model_id"] == first["id"]


async def test_a_model_is_replaced_and_deleted_by_its_owner_only(norman: NormanServed) -> None:
    plain = norman.plain
    made = await created(plain)
    replaced = (await plain.call("PATCH", "persist/models/", [made | {"long_description": "new"}]))[0]
    assert (replaced["id"], replaced["long_description"]) == (made["id"], "new")
    assert replaced["assets"] == made["assets"]
    signed = await plain.call("PUT", "authenticate/signup/key", {"device_id": None, "name": "mallory"})
    await plain.log_in(signed["api_key"])
    stolen = made | {"account_id": plain.account_id}
    assert (await plain.ask("PATCH", "persist/models/", [stolen])).status_code == 403
    by_id = constraints(node("ID", made["id"]))
    assert await plain.call("DELETE", "persist/models/", by_id) == 0
    await plain.log_in(norman.emulator.norman_api_key)
    assert await plain.call("DELETE", "persist/models/", by_id) == 1
    assert await names(plain, by_id) == []
    assert (await plain.ask("POST", "persist/invocations/by-name", {"mine": 1})).status_code == 404


async def test_invocations_of_a_base_are_counted(norman: NormanServed) -> None:
    made = await created(norman.plain)
    await norman.plain.call("POST", "persist/invocations/by-name", {"mine": 3})
    bases = await norman.plain.call("POST", "persist/models/bases/get")
    assert bases[made["model_base_id"]]["invocation_count"] == 3


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        (None, "abcd"),
        (constraints(), "abcd"),
        ({"constraints": constraints(node("Name", "a")), "finished_models": True}, "a"),
        (constraints(node("Name", "b")), "b"),
        (constraints(node("name", "b", "!=")), "acd"),
        (constraints(node("Name", ["c", "a"], "IN")), "ac"),
        (constraints(node("Name", ["c", "a"], "NOT IN")), "bd"),
        (constraints(node("Name", "b", ">")), "cd"),
        (constraints(node("Name", "b", "<=")), "ab"),
        (constraints(node("Version_Label", "ow%", "LIKE")), "abcd"),
        (constraints(node("Name", "_", "LIKE")), "abcd"),
        (constraints(node("Active", 1)), "abcd"),
        (constraints(node("Name", "a"), node("Name", "d"), join="OR"), "ad"),
        (constraints(node("Name", "a"), node("Name", "d")), ""),
        (constraints(constraints(node("Name", "a"), node("Name", "d"), join="OR")["filter"], node("Name", "d")), "d"),
        (constraints(node("Creation_Time", "2026-01-01", ">=")), "abcd"),
        (constraints(node("Creation_Time", "2026-01-01T00:00:00+00:00", "<")), ""),
        (constraints(sort={"children": [{"table": "Models", "column": "Name", "direction": "DESC"}]}), "dcba"),
        (constraints(sort={"children": [{"table": "Models", "column": "ID"}]}), "abcd"),
        (constraints(node("Version_Label", "own"), page={"limit": 2, "offset": 1}), "bc"),
        (constraints(node("Version_Label", "own"), page={"limit": None, "offset": 3}), "d"),
        (constraints(node("Version_Label", "own"), page={"limit": 1, "offset": None}), "a"),
    ],
)
async def test_constraints_mean_what_they_mean_in_sql(norman: NormanServed, wish: Any, found: str) -> None:
    plain = norman.plain
    await plain.call("POST", "persist/models/", [model(plain.account_id, name, version_label="own") for name in "abcd"])
    chosen = await names(plain, wish)
    brought_along = ("echo", "text_reverser", "image_mirror")
    assert [name for name in chosen if name not in brought_along] == list(found)


@pytest.mark.parametrize(
    "wish",
    [
        [],
        {"filter": 5},
        constraints(node("Colour", "red")),
        constraints(node("Name", "a", "~")),
        constraints(node("Name", [], "IN")),
        constraints(node("Name", ["a"])),
        constraints(join="XOR"),
        constraints(page={"limit": 1}),
        constraints(page={"limit": -1, "offset": 0}),
        constraints(sort={"children": [{"table": "Models", "column": "ID", "direction": "UP"}]}),
    ],
)
async def test_constraints_without_a_meaning_are_refused(norman: NormanServed, wish: Any) -> None:
    answer = await norman.plain.ask("POST", "persist/models/get", wish)
    assert (answer.status_code, answer.json()["error_type"]) == (400, "validation")
