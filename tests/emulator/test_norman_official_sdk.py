"""The official SDK's own code, unmodified, against the emulated Norman service.

What the service's maker published as a package is `norman-core` alone, which is the layer below: HTTP, the socket with
its encryption, and the calls. Two packages that it needs (`norman_objects`, `norman_utils_external`) were never
published, so their names are filled here with objects that take any field. What travels is the SDK's own doing.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.emulator.environments import install
from tests.emulator.norman_plain import model
from trio_norman.emulator import Emulator, open_emulator

SDK = "norman-core==0.1.0"
# What the SDK needs beside what our own environment has, each with what it needs itself.
NEEDED = ["aiofiles", "pydantic", "typing_extensions"]

SCRIPT = """
import asyncio, importlib.abc, importlib.util, json, sys, types
from io import BytesIO
from typing import ClassVar
from pydantic import BaseModel, ConfigDict

class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")
    UpdateSchema: ClassVar = dict

class Sensitive:
    def __class_getitem__(cls, item): return cls
    def __init__(self, text): self.text = text
    def value(self): return self.text

class StreamingUtils:
    @staticmethod
    async def process_read_stream(stream, look_at, size, close):
        while chunk := stream.read(size):
            look_at(chunk)
            yield chunk
    @staticmethod
    async def chain_streams(first, then):
        for chunk in first: yield chunk
        async for chunk in then: yield chunk

class Unpublished(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("norman_objects", "norman_utils_external"):
            return importlib.util.spec_from_loader(name, self, is_package=True)
    def create_module(self, spec): return types.ModuleType(spec.name)
    def exec_module(self, module):
        module.Sensitive, module.StreamingUtils = Sensitive, StreamingUtils
        module.__getattr__ = lambda name: Anything if name[0].isupper() else missing(name)

def missing(name): raise AttributeError(name)
sys.meta_path.insert(0, Unpublished())

from norman_core.clients.http_client import HttpClient
from norman_core.clients.socket_client import SocketClient
from norman_core.services.authenticate import Authenticate
from norman_core.services.file_pull.file_pull import FilePull
from norman_core.services.file_push.file_push import FilePush
from norman_core.services.persist import Persist
from norman_core.services.retrieve.retrieve import Retrieve

base_url, model, link = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]

async def push(http, token, allocate, body, **wish):
    pairing = await allocate(http, token, Anything(file_size_in_bytes=len(body), **wish))
    checksum = await SocketClient.write_and_digest(pairing, BytesIO(body))
    await FilePush.complete_file_transfer(http, token, Anything(pairing_id=pairing.pairing_id, checksum=checksum))

async def finished(ask, http, token, entity_id):
    node = {"table": "Status_Flags", "column": "Entity_ID", "operator": "IN", "value": [entity_id]}
    wish = Anything(filter={"children": [node], "join_condition": "OR"}, sort=None, page=None)
    while any(flag.flag_value != 3 for flag in (await ask(http, token, wish))[entity_id]):
        await asyncio.sleep(0.02)

async def taken(answer):
    headers, blocks = await answer
    return {"length": headers["content-length"], "text": b"".join([block async for block in blocks]).decode()}

async def main():
    said = {}
    async with HttpClient(base_url) as http:
        wish = Anything(device_id=None, name="alice", password="s3cret")
        account = await Authenticate.signup.signup_with_password(http, wish)
        login = await Authenticate.login.login_password_name(http, Anything(name="alice", password="s3cret"))
        token = Sensitive(login.access_token)
        said["accounts"] = account.id == login.account["id"]
        wish = Anything(account_id=account.id, second_token=None)
        key = await Authenticate.register.generate_api_key(http, token, wish)
        by_key = await Authenticate.login.login_with_key(http, Anything(api_key=key))
        token = Sensitive(by_key.access_token)
        model["account_id"] = account.id
        for asset in model["assets"]: asset["account_id"] = account.id
        # This SDK expects a map from the call that makes models, the service's later clients a list.
        made = (await http.post("persist/models/", token, json=[model]))[0]
        asset, shared = made["assets"][0], {"account_id": account.id, "model_id": made["id"]}
        await push(http, token, FilePush.allocate_socket_for_asset, b"weights" * 30000, asset_id=asset["id"], **shared)
        await finished(Persist.model_flags.get_asset_status_flags, http, token, asset["id"])
        await finished(Persist.model_flags.get_model_status_flags, http, token, made["id"])
        said["models"] = sorted((await Persist.models.get_models(http, token)))
        wish = Anything(filter=None, sort=None, page=None)
        said["bases"] = len(await Persist.model_bases.get_model_bases(http, token, wish))
        answer = Retrieve.get_model_asset(http, token, account.id, made["id"], asset["id"])
        said["asset"] = len((await taken(answer))["text"])
        said["outputs"] = []
        for source in ("socket", "link"):
            create = Persist.invocations.create_invocations_by_model_names
            invocation = (await create(http, token, {model["name"]: 1}))[0]
            entry, output = invocation.inputs[0], invocation.outputs[0]
            more = {"invocation_id": invocation.id, "input_id": entry["id"], **shared}
            if source == "socket":
                await push(http, token, FilePush.allocate_socket_for_input, b"stressed", **more)
            else:
                wish = Anything(links=[link], signature_id=entry["signature_id"], **more)
                said["links"] = await FilePull.submit_input_links(http, token, wish)
            await finished(Persist.invocation_flags.get_output_status_flags, http, token, output["id"])
            ids = (account.id, made["id"], invocation.id, output["id"])
            said["outputs"].append(await taken(Retrieve.get_invocation_output(http, token, *ids)))
        said["download"] = (await FilePull.get_download_metadata(http, token, entry["id"])).downloaded_bytes
        said["invocations"] = len(await Persist.invocations.get_invocations(http, token))
        said["history"] = len(await Persist.invocations.get_invocation_history(http, token))
        said["notifications"] = [each.title for each in await Persist.notifications.get_notifications(http, token)]
    print("SAID " + json.dumps(said))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def sdk_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("norman-sdk")
    install(sys.executable, "--target", str(folder), "--no-deps", SDK)
    install(sys.executable, "--target", str(folder), *NEEDED)
    return folder


async def test_the_official_sdk_signs_up_uploads_invokes_and_retrieves(sdk_folder: Path) -> None:
    with trio.fail_after(60):
        async with open_emulator(runs=0) as emulator:
            emulator.register_model("desserts", lambda inputs: inputs["In"][::-1])
            link = emulator.upload("word.txt", b"diaper")
            said = await run_sdk(sdk_folder, emulator, link)
            assert said["accounts"] is True
            assert said["asset"] == 210_000
            assert len(said["models"]) == said["bases"] >= 2
            assert said["outputs"] == [{"length": "8", "text": "desserts"}, {"length": "6", "text": "repaid"}]
            assert said["links"] == [link]
            assert said["download"] == 6
            assert said["invocations"] == said["history"] == 2
            assert said["notifications"] == ["Model ready"]
            pushes = emulator.norman.pushes
            assert [push.is_accepted for push in pushes] == [True, True]
            assert [push.received_bytes for push in pushes] == [210_000, 8]
            assert {request.status for request in emulator.requests.of("norman")} == {200}


async def run_sdk(folder: Path, emulator: Emulator, link: str) -> dict[str, Any]:
    wish = model("0", "desserts")
    done = await trio.run_process(
        [sys.executable, "-c", SCRIPT, emulator.norman_base_url, json.dumps(wish), link],
        capture_stdout=True,
        capture_stderr=True,
        env={"PYTHONPATH": str(folder), "NO_PROXY": "127.0.0.1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answer = next(line for line in done.stdout.decode().splitlines() if line.startswith("SAID "))
    said: dict[str, Any] = json.loads(answer.removeprefix("SAID "))
    return said
