"""Both generations of the official SDK, unmodified, against the emulator: they read what the emulator holds."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.emulator.environments import install, new_environment
from trio_norman.emulator import Emulator, open_emulator

CLASSIC, V1 = "pytrio==0.1.13", "pytrio==0.2.9"
# What is for training alone is left out: it is large, and neither of them imports it for anything that is used here.
NEEDED = ["click", "httpx", "jinja2", "msgpack", "nanoid", "numpy", "pydantic", "python-socketio[client]"]
NEEDED += ["requests", "tomli"]

SCRIPT = """
import json, sys
from pytrio import ServiceClient
from pytrio.config import settings

key, host, deletable, checkpoint_path = sys.argv[1:]
settings.host, settings.use_https = host, False
service = ServiceClient(api_key=key)
rest = service.create_rest_client()
said = {"session": service.run_id, "models": service.get_supported_models(), "user": rest.get_user_info()}
said["weights"] = rest.list_weights(page=2, page_size=2)
said["archive"] = rest.get_archive_url(said["weights"]["data"][0]["cuid"])
said["runs"] = rest.list_training_runs(limit=1, offset=1)
run = said["runs"]["training_runs"][0]["training_run_id"]
said["run"] = rest.get_training_run(run)
said["checkpoints"] = rest.list_checkpoints(run)
checkpoint = said["checkpoints"]["checkpoints"][0]
said["run_archive"] = rest.get_checkpoint_archive_url(run, checkpoint["checkpoint_id"])
said["deleted"] = rest.delete_checkpoint(*deletable.split("/"))
said["user_checkpoints"] = rest.list_user_checkpoints(limit=3, offset=1)
said["sessions"] = rest.list_sessions(limit=20, offset=0)
said["one_session"] = rest.get_session(said["sessions"]["sessions"][0])
said["sampler"] = rest.get_sampler(said["one_session"]["sampler_ids"][0])
said["info"] = rest.get_checkpoint_info(checkpoint_path)
service.socket.sio.disconnect()
print("SAID " + json.dumps(said))
"""


V1_SCRIPT = """
import json, sys
from pytrio import RestClient, ServiceClient, configure
from pytrio.runtime.service import ServiceRuntime

key, url, deletable, local, ready, folder = sys.argv[1:]
configure(api_key=key, base_url=url)

def told(future):
    return future.result().model_dump(mode="json")

service = ServiceClient(api_key=key)
said = {"session": service.service_session_cuid, "user": service.user_cuid, "workspace": service.workspace_cuid}
said["models"] = service.get_supported_models()
rest = service.create_rest_client()
said["runs"] = told(rest.list_training_runs(limit=1, offset=1, access_scope="accessible"))
run = said["runs"]["training_runs"][0]["training_run_id"]
said["run"] = told(rest.get_training_run(run))
said["checkpoints"] = told(rest.list_checkpoints(run))
said["user_checkpoints"] = told(rest.list_user_checkpoints(limit=3, offset=1))
said["archive"] = told(rest.get_checkpoint_archive_url(ready))
said["source"] = told(rest.get_checkpoint_download_url(local))
said["deleted"] = rest.delete_checkpoint(*deletable.split("/")).result()
said["sessions"] = told(rest.list_sessions(limit=20, offset=0))
said["one_session"] = told(rest.get_session(said["sessions"]["sessions"][0]))
said["sampler"] = told(rest.get_sampler(said["one_session"]["sampler_ids"][0]))
said["ready"] = told(rest.download_checkpoint(ready, folder + "/ready.zip"))
said["local"] = told(rest.download_checkpoint(local, folder + "/local.zip"))
service._runtime.shutdown()
runtime = ServiceRuntime(api_key=key)
said["alone"] = told(RestClient(runtime).list_user_checkpoints())
runtime.shutdown()
print("SAID " + json.dumps(said))
"""


class SdkEndedError(Exception):
    """The SDK's process failed: exit status, what it wrote."""


@pytest.fixture(scope="session")
def sdk_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdk") / "venv"
    python = new_environment(folder)
    install(python, *NEEDED)
    for sdk in (CLASSIC, V1):  # side by side: they share their dependencies
        install(python, "--no-deps", "--target", str(folder / sdk), sdk)
    return python


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with open_emulator(runs=2, checkpoints=6, size_bytes=20_000) as emulator:
        yield emulator


async def test_every_method_of_the_official_rest_client_is_answered(
    sdk_python: Path, emulator: Emulator, tmp_path: Path
) -> None:
    deleted = emulator.checkpoints[0]
    resumed = emulator.checkpoints[3]
    before = [run.training_run_id for run in emulator.training_runs]
    said = await run_sdk(sdk_python, emulator, tmp_path, deleted=deleted, path=resumed.path)

    assert said["user"]["user_id"] == emulator.user_id
    assert said["user"]["username"] == "ada"
    assert said["user"]["created_at"].endswith(" GMT")
    assert resumed.training_run_id == before[0]
    assert "Qwen/Qwen2.5-3B" in said["models"]
    assert [weight["cuid"] for weight in said["weights"]["data"]] == [
        weight.checkpoint_id for weight in emulator.weights[2:4]
    ]
    assert said["weights"]["pagination"] == {
        "page": 2,
        "page_size": 2,
        "total": 6,
        "total_pages": 3,
        "has_next": True,
        "has_prev": True,
    }
    assert said["runs"]["training_runs"][0]["training_run_id"] == before[1] == said["run"]["training_run_id"]
    assert said["runs"]["has_more"] is False
    assert len(said["checkpoints"]["checkpoints"]) == 6
    assert said["deleted"] is None
    assert deleted.checkpoint_id not in [each.checkpoint_id for each in emulator.checkpoints]
    assert said["user_checkpoints"]["total"] == 11
    assert len(said["user_checkpoints"]["checkpoints"]) == 3
    assert said["sessions"]["sessions"] == [session.session_id for session in emulator.sessions]
    assert said["session"] == said["sessions"]["sessions"][-1]
    assert said["one_session"]["training_run_ids"] == before[:1]
    assert said["sampler"]["sampler_id"] == emulator.samplers[0].sampler_id
    assert said["info"]["model"] == emulator.training_runs[0].base_model
    assert said["info"]["lora"]["rank"] == 32


async def test_archive_urls_that_the_official_client_was_given_lead_to_the_archives(
    sdk_python: Path, emulator: Emulator, tmp_path: Path
) -> None:
    said = await run_sdk(
        sdk_python, emulator, tmp_path, deleted=emulator.checkpoints[0], path=emulator.checkpoints[3].path
    )
    async with httpx.AsyncClient() as client:
        for answer in (said["archive"], said["run_archive"]):
            archive = await client.get(answer["url"])
            assert archive.status_code == 200
            assert zipfile.ZipFile(io.BytesIO(archive.content)).testzip() is None
    assert said["run_archive"]["expires"].endswith("Z")


async def test_a_wrong_key_ends_the_official_client(sdk_python: Path, emulator: Emulator, tmp_path: Path) -> None:
    emulator.api_key = "another"
    with pytest.raises(SdkEndedError) as caught:
        await run_sdk(sdk_python, emulator, tmp_path, deleted=emulator.checkpoints[0], path="x", key="wrong")
    assert caught.value.args[0] == 1
    assert emulator.requests[0].status == 401


async def test_the_whole_life_of_the_later_sdk_is_answered_downloads_included(sdk_python: Path, tmp_path: Path) -> None:
    async with open_emulator(runs=2, checkpoints=6, size_bytes=20_000, actor=True) as emulator:
        deleted, ready, local = emulator.checkpoints[0], emulator.checkpoints[3], emulator.checkpoints[5]
        emulator.place(local.checkpoint_id, "LOCAL")
        arguments = [emulator.api_key, emulator.base_url, f"{deleted.training_run_id}/{deleted.checkpoint_id}"]
        arguments += [local.checkpoint_id, ready.checkpoint_id, str(tmp_path)]
        said = await run_script(sdk_python, V1, V1_SCRIPT, arguments, tmp_path)
        session = emulator.sessions[-1]

        assert (said["user"], said["workspace"]) == (emulator.user_id, emulator.state.workspace_id)
        assert "Qwen/Qwen2.5-3B" in said["models"]
        assert said["runs"]["training_runs"][0] == said["run"]
        assert said["run"]["training_run_id"] == emulator.training_runs[1].training_run_id
        assert said["runs"]["cursor"] == {"offset": 1, "limit": 1, "total_count": 2}
        assert len(said["checkpoints"]["checkpoints"]) == 6
        assert said["user_checkpoints"]["cursor"]["total_count"] == 12
        assert said["archive"]["url"].startswith(emulator.storage_url)
        assert (said["source"]["source"], said["source"]["checkpoint_status"]) == ("actor", "LOCAL")
        assert said["deleted"] is None
        assert said["session"] == said["sessions"]["sessions"][-1] == session.session_id
        assert said["one_session"]["training_run_ids"] == [emulator.training_runs[0].training_run_id]
        assert said["sampler"]["sampler_id"] == emulator.samplers[0].sampler_id
        assert len(said["alone"]["checkpoints"]) == 11
        for name, checkpoint in (("ready", ready), ("local", local)):
            digest = hashlib.sha256((tmp_path / f"{name}.zip").read_bytes()).hexdigest()
            assert digest == emulator.sha256_of(checkpoint.checkpoint_id)
            assert said[name]["bytes_written"] == 20_000
        assert (len(emulator.requests.of("storage")), len(emulator.requests.of("actor"))) == (1, 1)
        assert (session.status, session.sdk_version) == ("ENDED", "0.2.9")
        sunk = [each.status for each in emulator.requests if each.path == "/api/telemetry/event"]
        assert set(sunk) == {202}


async def run_sdk(
    python: Path, emulator: Emulator, home: Path, *, deleted: Any, path: str, key: str | None = None
) -> dict[str, Any]:
    host = emulator.base_url.removeprefix("http://")
    deletable = f"{deleted.training_run_id}/{deleted.checkpoint_id}"
    return await run_script(python, CLASSIC, SCRIPT, [key or emulator.api_key, host, deletable, path], home)


async def run_script(python: Path, sdk: str, script: str, arguments: list[str], home: Path) -> dict[str, Any]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"}
    environment["PYTHONPATH"] = str(python.parents[1] / sdk)
    with trio.fail_after(30):
        done = await trio.run_process(
            [python, "-c", script, *arguments],
            capture_stdout=True,
            capture_stderr=True,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise SdkEndedError(done.returncode, done.stderr.decode())
    answer = next(line for line in done.stdout.decode().splitlines() if line.startswith("SAID "))
    said: dict[str, Any] = json.loads(answer.removeprefix("SAID "))
    return said
