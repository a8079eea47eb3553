"""The newest official client of the Launch service that the package index has, unmodified, against the emulator.

It speaks the first version of the protocol; the one that speaks the present version is not on the index.
"""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.emulator.environments import install, new_environment
from trio_norman.emulator import Emulator, WorkerError, open_emulator

SDK = "scale-launch==0.3.3"
NEEDED = ["cloudpickle", "dataclasses-json", "deprecation", "pyyaml", "requests", "setuptools<81", "typing-extensions"]

SCRIPT = """
import json, sys
from launch import LaunchClient, EndpointRequest

key, root = sys.argv[1:]
client = LaunchClient(api_key=key, endpoint=f"{root}/v1/hosted_inference")
said = {"names": sorted(each.model_endpoint.name for each in client.list_model_endpoints())}
sync = client.get_model_endpoint("echo-sync")
said["kinds"] = [type(sync).__name__, sync.status()]
answer = sync.predict(EndpointRequest(args={"x": 1}, return_pickled=False))
said["sync"] = [answer.status, json.loads(answer.result)]
asynchronous = client.get_model_endpoint("echo-async")
futures = [asynchronous.predict(EndpointRequest(args={"x": n}, return_pickled=False)) for n in range(3)]
said["async"] = [[each.status, json.loads(each.result)] for each in (future.get() for future in futures)]
broken = client.get_model_endpoint("broken").predict(EndpointRequest(args={}, return_pickled=False)).get()
said["broken"] = [broken.status, broken.result]
print("SAID " + json.dumps(said))
"""


@pytest.fixture(scope="session")
def launch_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = new_environment(tmp_path_factory.mktemp("launch") / "venv")
    install(python, "--no-deps", SDK)
    install(python, *NEEDED)
    return python


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=0) as emulator:
        yield emulator


async def test_the_official_client_is_answered(launch_python: Path, emulator: Emulator, tmp_path: Path) -> None:
    def fails(args: object) -> object:
        raise WorkerError("boom")

    emulator.register_endpoint("broken", "async", fails)
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"}
    with trio.fail_after(60):
        done = await trio.run_process(
            [launch_python, "-c", SCRIPT, emulator.api_key, emulator.launch_base_url],
            capture_stdout=True,
            capture_stderr=True,
            env=environment,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    line = next(line for line in done.stdout.decode().splitlines() if line.startswith("SAID "))
    said = json.loads(line.removeprefix("SAID "))
    assert said == {
        "names": ["broken", "echo-async", "echo-sync"],
        "kinds": ["SyncEndpoint", "READY"],
        "sync": ["SUCCESS", {"x": 1}],
        "async": [["SUCCESS", {"x": number}] for number in range(3)],
        "broken": ["FAILURE", None],
    }
