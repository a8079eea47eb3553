"""The Norman service from signup to output, by hand over real sockets."""

import trio

from tests.emulator.norman_plain import model, plain_client
from trio_norman.emulator import open_emulator


async def test_whoever_signs_up_can_upload_a_model_and_invoke_it() -> None:
    with trio.fail_after(30):
        async with open_emulator() as emulator:
            plain = plain_client(emulator, trio.open_tcp_stream)
            async with plain.http:
                signed = await plain.call("PUT", "authenticate/signup/key", {"device_id": None, "name": "alice"})
                await plain.log_in(signed["api_key"])
                assert plain.account_id == signed["account"]["id"]
                made = (await plain.call("POST", "persist/models/", [model(plain.account_id, "mine")]))[0]
                await plain.push(made["assets"][0], b"weights" * 50_000)
                await plain.wait_finished(made["id"], made["assets"][0]["id"])
                invocation = await plain.invocation("mine")
                await plain.push(invocation["inputs"][0], b"some input")
                await plain.wait_finished(invocation["id"], invocation["outputs"][0]["id"])
                answer = await plain.retrieve(invocation)
                assert (answer.status_code, answer.content) == (200, b"some input")
                asset = made["assets"][0]
                path = f"retrieve/asset/{plain.account_id}/{made['id']}/{asset['id']}"
                assert (await plain.http.get(path)).content == b"weights" * 50_000
            assert [push.connections for push in emulator.norman.pushes] == [1, 1]
