"""The official SDK, unmodified, against the emulator: what it reads must be what the emulator holds."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from trio_norman.emulator import Emulator, open_emulator

SDK = "pytrio==0.1.13"
# `datasets`, of which the import needs only `numpy`, is left out: it is for training, and large.
NEEDED = ["click", "httpx", "jinja2", "nanoid", "numpy", "pydantic", "python-socketio[client]", "requests", "tomli"]
# What pip says when the index cannot be reached; every other failure of pip is a failure of the test.
UNREACHABLE = ("connection broken by", "Could not fetch URL", "ConnectionError", "ProxyError", "Network is unreachable")

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


class SdkEndedError(Exception):
    """The SDK's process failed: exit status, what it wrote."""


def run_pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip(f"PyPI is not reachable: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def sdk_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdk") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    run_pip(python, "--no-deps", SDK)
    run_pip(python, *NEEDED)
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


async def run_sdk(
    python: Path, emulator: Emulator, home: Path, *, deleted: Any, path: str, key: str | None = None
) -> dict[str, Any]:
    host = emulator.base_url.removeprefix("http://")
    deletable = f"{deleted.training_run_id}/{deleted.checkpoint_id}"
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"}
    with trio.fail_after(30):
        done = await trio.run_process(
            [python, "-c", SCRIPT, key or emulator.api_key, host, deletable, path],
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
