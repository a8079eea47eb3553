"""Invocations: runs, flags by the emulator's clock, outputs, and links in place of pushes."""

import io
from typing import Any

import pytest
import trio
from PIL import Image
from trio.testing import MockClock

from tests.emulator.conftest import NormanServed
from tests.emulator.norman_plain import includes, model, output_path, plain_client, signature
from trio_norman.emulator import open_emulator
from trio_norman.testing import open_memory_emulator


async def invoked(norman: NormanServed, name: str, *bodies: bytes) -> dict[str, Any]:
    invocation = await norman.plain.invocation(name)
    for entry, body in zip(invocation["inputs"], bodies, strict=True):
        await norman.plain.push(entry, body)
    return invocation


async def answer_of(norman: NormanServed, name: str, *bodies: bytes) -> bytes:
    invocation = await invoked(norman, name, *bodies)
    await norman.plain.wait_finished(invocation["id"], invocation["outputs"][0]["id"])
    return (await norman.plain.retrieve(invocation)).content


async def test_an_invocation_carries_the_models_titles_and_real_identifiers(norman: NormanServed) -> None:
    plain = norman.plain
    wish = model(plain.account_id, "m", inputs=[signature("Input", "A"), signature("Input", "B")])
    made = (await plain.call("POST", "persist/models/", [wish]))[0]
    first, second = await plain.call("POST", "persist/invocations/by-name", {"m": 2})
    assert first["id"] != second["id"]
    assert [entry["display_title"] for entry in first["inputs"]] == ["A", "B"]
    for noun in ("inputs", "outputs"):
        for entry, its in zip(first[noun], made[noun], strict=True):
            assert entry["signature_id"] == its["id"]
            assert entry["invocation_id"] == first["id"]
            assert (entry["account_id"], entry["model_id"]) == (plain.account_id, made["id"])
    assert await plain.call("POST", "persist/invocations/get", includes("ID", [first["id"]])) == {first["id"]: first}


async def test_built_in_models_do_what_their_names_say(norman: NormanServed) -> None:
    assert await answer_of(norman, "echo", b"\x00\xff") == b"\x00\xff"
    assert await answer_of(norman, "text_reverser", "größer".encode()) == "reßörg".encode()


async def test_a_picture_is_mirrored(norman: NormanServed) -> None:
    picture = Image.new("RGB", (2, 1), "red")
    picture.putpixel((1, 0), (0, 0, 255))
    written = io.BytesIO()
    picture.save(written, "PNG")
    with Image.open(io.BytesIO(await answer_of(norman, "image_mirror", written.getvalue()))) as mirrored:
        assert [mirrored.getpixel((x, 0)) for x in range(2)] == [(0, 0, 255), (255, 0, 0)]


async def test_an_uploaded_model_answers_with_its_first_input(norman: NormanServed) -> None:
    plain = norman.plain
    wish = model(
        plain.account_id,
        "m",
        inputs=[signature("Input", "A"), signature("Input", "B")],
        outputs=[signature("Output", "X"), signature("Output", "Y")],
    )
    await plain.call("POST", "persist/models/", [wish])
    invocation = await invoked(norman, "m", b"first", b"second")
    await plain.wait_finished(*(entry["id"] for entry in invocation["outputs"]))
    for position in range(2):
        assert (await plain.http.get(output_path(invocation, position))).content == b"first"


async def test_a_registered_function_runs_models_of_its_name(norman: NormanServed) -> None:
    plain = norman.plain
    wish = model(plain.account_id, "sum", inputs=[signature("Input", "A"), signature("Input", "B")])
    await plain.call("POST", "persist/models/", [wish])
    norman.emulator.register_model("sum", lambda inputs: {"Out": str(int(inputs["A"]) + int(inputs["B"]))})
    assert await answer_of(norman, "sum", b"2", b"40") == b"42"


async def test_a_registered_name_without_a_model_gets_one(norman: NormanServed) -> None:
    async def shout(inputs: dict[str, bytes]) -> str:
        await trio.lowlevel.checkpoint()
        return inputs["Input"].decode().upper()

    norman.emulator.register_model("shout", shout)
    assert await answer_of(norman, "shout", b"hey") == b"HEY"


async def test_a_run_takes_its_time_by_the_emulators_clock(norman: NormanServed) -> None:
    plain, service, clock = norman.plain, norman.emulator.norman, norman.emulator.clock
    service.flags.seconds, service.invocations.seconds = 10, 100
    invocation = await plain.invocation("echo")
    ids = [invocation["id"], invocation["inputs"][0]["id"], invocation["outputs"][0]["id"]]

    async def seen() -> list[list[int]]:
        shown = await plain.flags(*ids)
        return [shown[each] for each in ids]

    assert await seen() == [[0], [0, 0, 0, 0], [0, 0]]
    await plain.push(invocation["inputs"][0], b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert await seen() == [[1], [2, 1, 1, 1], [1, 1]]
    clock.jump(25)
    assert await seen() == [[1], [3, 3, 2, 1], [1, 1]]
    clock.jump(20)
    assert await seen() == [[2], [3, 3, 3, 3], [1, 1]]
    assert (await plain.retrieve(invocation)).status_code == 404
    clock.jump(100)
    assert await seen() == [[3], [3, 3, 3, 3], [2, 1]]
    clock.jump(20)
    assert await seen() == [[3], [3, 3, 3, 3], [3, 3]]
    assert (await plain.retrieve(invocation)).content == b"x"


async def test_a_model_that_fails_fails_its_invocation_and_says_why(norman: NormanServed) -> None:
    def break_down(inputs: dict[str, bytes]) -> bytes:
        raise ValueError("no tensor of this shape")

    norman.emulator.register_model("broken", break_down)
    invocation = await invoked(norman, "broken", b"x")
    norman.emulator.clock.jump(10)
    await trio.testing.wait_all_tasks_blocked()
    assert await norman.plain.flags(invocation["id"]) == {invocation["id"]: [4]}
    told = (await norman.plain.call("POST", "persist/notifications/get"))[-1]
    assert (told["entity_id"], told["severity"], told["model_name"]) == (invocation["id"], "Error", "broken")
    assert "no tensor of this shape" in told["message"]
    assert (await norman.plain.retrieve(invocation)).status_code == 404


async def test_inputs_with_defaults_may_be_left_out(norman: NormanServed) -> None:
    plain = norman.plain
    inputs = [signature("Input", "A"), signature("Input", "B", default_value="fallback")]
    await plain.call("POST", "persist/models/", [model(plain.account_id, "m", inputs=inputs)])
    norman.emulator.register_model("m", lambda given: given["A"] + b" " + given["B"])
    for more, expected in (([], b"a fallback"), ([b"b"], b"a b")):
        invocation = await plain.invocation("m")
        for entry, body in zip(invocation["inputs"], [b"a", *more], strict=False):
            await plain.push(entry, body)
        await plain.wait_finished(invocation["id"], invocation["outputs"][0]["id"])
        assert (await plain.retrieve(invocation)).content == expected


async def test_an_invocation_runs_once_however_many_wait_for_it(norman: NormanServed) -> None:
    plain = norman.plain
    runs: list[dict[str, bytes]] = []

    def note(given: dict[str, bytes]) -> bytes:
        runs.append(given)
        return b"done"

    inputs = [signature("Input", "A", default_value="fallback")]
    await plain.call("POST", "persist/models/", [model(plain.account_id, "m", inputs=inputs)])
    norman.emulator.register_model("m", note)
    invocation = await plain.invocation("m")
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(plain.wait_finished, invocation["id"], invocation["outputs"][0]["id"])
    assert runs == [{"A": b"fallback"}]


async def test_a_model_without_inputs_runs_at_once(norman: NormanServed) -> None:
    await norman.plain.call("POST", "persist/models/", [model(norman.plain.account_id, "m", inputs=[])])
    norman.emulator.register_model("m", lambda given: b"out of nothing")
    assert await answer_of(norman, "m") == b"out of nothing"


async def test_invocations_can_be_made_entry_by_entry(norman: NormanServed) -> None:
    plain = norman.plain
    made = (await plain.call("POST", "persist/models/", [model(plain.account_id, "m")]))[0]
    entry = {"account_id": plain.account_id, "model_id": made["id"]}
    wish = entry | {
        "inputs": [entry | {"signature_id": made["inputs"][0]["id"]}],
        "outputs": [entry | {"signature_id": made["outputs"][0]["id"]}],
    }
    invocation = (await plain.call("POST", "persist/invocations", [wish]))[0]
    assert invocation["inputs"][0]["display_title"] == "In"
    for changes, status in (({"inputs": []}, 400), ({"account_id": "5"}, 403), ({"model_id": "5"}, 404)):
        assert (await plain.ask("POST", "persist/invocations", [wish | changes])).status_code == status


@pytest.mark.parametrize("wish", [[], {"echo": 0}, {"echo": "1"}, {"echo": True}, {"echo": 10_000}])
async def test_counts_that_make_no_sense_are_refused(norman: NormanServed, wish: Any) -> None:
    assert (await norman.plain.ask("POST", "persist/invocations/by-name", wish)).status_code == 400


async def test_an_unknown_name_is_not_found(norman: NormanServed) -> None:
    answer = await norman.plain.ask("POST", "persist/invocations/by-name", {"nobody": 1})
    assert (answer.status_code, answer.json()["error_type"]) == (404, "not_found")


async def test_the_history_outlives_the_model(norman: NormanServed) -> None:
    plain = norman.plain
    made = (await plain.call("POST", "persist/models/", [model(plain.account_id, "m")]))[0]
    invocation = await plain.invocation("m")
    await plain.call("DELETE", "persist/models/", includes("ID", [made["id"]], "Models"))
    entry = (await plain.call("POST", "persist/invocation/history/get"))[invocation["id"]]
    assert (
        entry.items()
        >= {
            "id": invocation["id"],
            "asset_id": made["assets"][0]["id"],
            "model_name": "m",
            "flag_value": 0,
        }.items()
    )


async def test_nobody_sees_what_others_invoke(norman: NormanServed) -> None:
    plain = norman.plain
    invocation = await invoked(norman, "echo", b"secret")
    await plain.wait_finished(invocation["outputs"][0]["id"])
    signed = await plain.call("PUT", "authenticate/signup/key", {"device_id": None, "name": "mallory"})
    await plain.log_in(signed["api_key"])
    assert (await plain.retrieve(invocation)).status_code == 403
    path = output_path(invocation).replace(invocation["account_id"], plain.account_id)
    assert (await plain.http.get(path)).status_code == 404
    assert await plain.flags(invocation["id"]) == {}
    assert await plain.call("POST", "persist/invocations/get") == {}
    assert await plain.call("POST", "persist/notifications/get") == []


# ---- faults of flags


async def test_a_flag_can_stick_or_fail_or_be_unknown_or_hidden(norman: NormanServed) -> None:
    plain, service = norman.plain, norman.emulator.norman
    invocation = await invoked(norman, "echo", b"x")
    run, output = invocation["id"], invocation["outputs"][0]["id"]
    await plain.wait_finished(run, output)
    rule = service.inject_flags(flag_name="Model_Function_Run", value=2, times=2)
    assert [(await plain.flags(run, output))[run] for _ in range(3)] == [[2], [2], [3]]
    assert rule.hits == 3
    service.inject_flags(entity_id=output, value=7, shown_as="Output_GPU_Warmup")
    shown = await plain.call("POST", "persist/flags/get", includes("Entity_ID", [output]))
    assert {(flag["flag_name"], flag["flag_value"]) for flag in shown[output]} == {("Output_GPU_Warmup", 7)}
    norman.emulator.behave()
    service.inject_flags(hidden=True)
    assert await plain.flags(run, output) == {}


async def test_the_api_can_misbehave_before_and_after_the_deed(norman: NormanServed) -> None:
    plain = norman.plain
    path = "persist/invocations/by-name"
    norman.emulator.misbehave("/v0/persist/invocations/by-name", status=503, times=1)
    assert (await plain.ask("POST", path, {"echo": 1})).status_code == 503
    assert await plain.call("POST", "persist/invocations/get") == {}
    norman.emulator.misbehave("/v0/persist/invocations/by-name", status=503, times=1, acts=True)
    assert (await plain.ask("POST", path, {"echo": 1})).status_code == 503
    assert len(await plain.call("POST", "persist/invocations/get")) == 1


# ---- links


def link_wish(invocation: dict[str, Any], link: str) -> dict[str, Any]:
    entry = invocation["inputs"][0]
    shared = {name: entry[name] for name in ("account_id", "model_id", "signature_id", "invocation_id")}
    return shared | {"links": [link], "input_id": entry["id"]}


async def test_a_link_is_fetched_in_place_of_a_push(norman: NormanServed) -> None:
    plain = norman.plain
    invocation = await plain.invocation("echo")
    link = norman.emulator.upload("in.bin", b"linked" * 1000)
    wish = link_wish(invocation, link)
    assert await plain.call("POST", "file-pull/upload/inputs", wish) == [link]
    await plain.wait_finished(invocation["id"], invocation["outputs"][0]["id"])
    assert (await plain.retrieve(invocation)).content == b"linked" * 1000
    state = await plain.call("GET", f"file-pull/metadata/{wish['input_id']}")
    assert state["entity_type"] == "Input"
    assert state["downloaded_bytes"] == state["total_bytes"] == 6000
    assert state["download_request"] == {name: wish[name] for name in ("account_id", "model_id", "links")}
    assert state["invocation"]["id"] == invocation["id"]
    assert state["invocation_input"] == invocation["inputs"][0]
    assert len(state["file_checksum"]) == 16
    assert (await plain.ask("GET", "file-pull/metadata/5")).status_code == 404


async def test_assets_and_outputs_can_be_links_too(norman: NormanServed) -> None:
    plain = norman.plain
    link = norman.emulator.upload("logo.png", b"\x89PNG\r\n\x1a\nlogo")
    made = (await plain.call("POST", "persist/models/", [model(plain.account_id, "m")]))[0]
    asset = made["assets"][0]
    wish = {"account_id": plain.account_id, "model_id": made["id"], "links": [link]}
    asset_wish = wish | {"asset_id": asset["id"], "asset_name": "File"}
    assert await plain.call("POST", "file-pull/upload/assets", asset_wish) == [link]
    await plain.wait_finished(made["id"], asset["id"])
    answer = await plain.http.get(f"retrieve/asset/{plain.account_id}/{made['id']}/{asset['id']}")
    assert answer.headers["content-type"] == "image/png"
    assert (await plain.call("GET", f"file-pull/metadata/{asset['id']}"))["asset"] == asset
    invocation = await plain.invocation("m")
    entry = invocation["outputs"][0]
    more = {"signature_id": entry["signature_id"], "invocation_id": invocation["id"], "output_id": entry["id"]}
    assert await plain.call("POST", "file-pull/upload/outputs", wish | more) == [link]
    await plain.wait_finished(entry["id"])
    assert (await plain.retrieve(invocation)).content == b"\x89PNG\r\n\x1a\nlogo"


@pytest.mark.parametrize("kind", ["missing", "refused", "elsewhere", "https", "cut"])
async def test_a_link_that_cannot_be_fetched_fails_its_entity(norman: NormanServed, kind: str) -> None:
    plain, emulator = norman.plain, norman.emulator
    links = {
        "missing": f"{emulator.storage_url}/nothing",
        "refused": "http://127.0.0.1:9/",
        "elsewhere": "http://192.0.2.1/x",
        "https": "https://127.0.0.1/x",
        "cut": emulator.blob_url(1000, trunc=10),
    }
    invocation = await plain.invocation("echo")
    entry = invocation["inputs"][0]["id"]
    await plain.call("POST", "file-pull/upload/inputs", link_wish(invocation, links[kind]))
    await trio.testing.wait_all_tasks_blocked()
    assert await plain.flags(entry) == {entry: [4, 4, 4, 4]}
    assert (await plain.call("POST", "persist/notifications/get"))[-1]["title"] == "Download failed"


@pytest.mark.parametrize("links", [[], ["no link"], ["ftp://127.0.0.1/x"], ["http://["], "http://127.0.0.1/"])
async def test_what_is_no_link_is_refused_at_once(norman: NormanServed, links: Any) -> None:
    invocation = await norman.plain.invocation("echo")
    wish = link_wish(invocation, "") | {"links": links}
    assert (await norman.plain.ask("POST", "file-pull/upload/inputs", wish)).status_code == 400


async def test_links_are_fetched_over_real_sockets() -> None:
    with trio.fail_after(30):
        async with open_emulator(runs=0) as emulator:
            plain = plain_client(emulator, trio.open_tcp_stream)
            async with plain.http:
                await plain.log_in(emulator.norman_api_key)
                invocation = await plain.invocation("echo")
                link = emulator.blob_url(300_000, signed=False)
                await plain.call("POST", "file-pull/upload/inputs", link_wish(invocation, link))
                await plain.wait_finished(invocation["id"], invocation["outputs"][0]["id"])
                assert len((await plain.retrieve(invocation)).content) == 300_000


async def test_what_runs_ends_with_the_emulator(autojump_clock: MockClock) -> None:
    started, cancelled = trio.Event(), trio.Event()

    async def endless(inputs: dict[str, bytes]) -> bytes:
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_memory_emulator(runs=0) as (emulator, transport):
        emulator.register_model("endless", endless)
        plain = plain_client(emulator, transport.connect_tcp, transport)
        async with plain.http:
            await plain.log_in(emulator.norman_api_key)
            await plain.push((await plain.invocation("endless"))["inputs"][0], b"x")
        await started.wait()
    assert cancelled.is_set()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
