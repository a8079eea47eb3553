"""`signup`, `models`, `invoke` and `assets`: the Norman service from a shell."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.cli.commandline import Ended, Shell, read_all
from tests.norman.norman_opening import asked, model
from trio_norman.emulator import Emulator, open_emulator

MODEL = """
name = "shouter"
version_label = "v1"
model_class = "text"
short_description = "Shouts."
long_description = "Answers with its input in capitals."
[[assets]]
asset_name = "File"
data = "parts/weights.bin"
[[inputs]]
display_title = "Words"
data_domain = "prose"
data_encoding = "utf8"
receive_format = "File"
parameters = [{ parameter_name = "words", data_encoding = "utf8" }]
[[outputs]]
display_title = "Answer"
data_domain = "prose"
data_encoding = "utf8"
receive_format = "File"
parameters = [{ parameter_name = "answer", data_encoding = "utf8" }]
"""


@attrs.frozen
class NormanShell(Shell):
    """A user with an account at the emulated Norman service."""

    def environment(self, **changes: str | None) -> dict[str, str]:
        assert self.emulator is not None
        norman = {"NORMAN_BASE_URL": self.emulator.norman_base_url, "NORMAN_API_KEY": self.emulator.norman_api_key}
        given: Mapping[str, str | None] = {**norman, **changes}
        return super().environment(**given)


@asynccontextmanager
async def open_shell(home: Path) -> AsyncIterator[tuple[Emulator, NormanShell]]:
    async with open_emulator(runs=0) as emulator:
        (home / "parts").mkdir()
        (home / "parts" / "weights.bin").write_bytes(b"weights" * 1000)
        (home / "model.toml").write_text(MODEL)
        yield emulator, NormanShell(home, emulator)


def check_quiet(ended: Ended) -> Ended:
    assert (ended.code, ended.err) == (0, ""), ended.err
    return ended


@pytest.mark.rows("SEC-08")
async def test_from_an_account_to_saved_outputs_and_assets(tmp_path: Path) -> None:
    """Success; the key that is saved has mode 0600 and is not shown."""
    async with open_shell(tmp_path) as (emulator, shell):
        made = check_quiet(await shell.run("signup", "zoe", "--json", env={"NORMAN_API_KEY": None})).json
        assert (made["name"], set(made)) == ("zoe", {"account_id", "name", "api_key"})
        saved = check_quiet(await shell.run("signup", "eve", "--save-key", "eve.key"))
        key = tmp_path / "eve.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert key.read_text().strip() not in saved.out
        who = ["--api-key-file", "eve.key", "--quiet"]
        uploaded = check_quiet(await shell.run("models", "upload", "model.toml", "--json", *who)).json
        assert emulator.norman.body_of(uploaded["assets"][0]["id"]).read_all() == b"weights" * 1000
        emulator.register_model("shouter", lambda inputs: inputs["Words"].upper())
        (tmp_path / "in.txt").write_text("from a file")
        link = emulator.upload("in.txt", b"from a link")
        listed, text, file, linked, capitals, bytes_, assets = await shell.run_all(
            ["models", "list", "--json", *who],
            ["invoke", "shouter", "--input", "Words=hello", *who],
            ["invoke", "shouter", "--input", "Words=@in.txt", "--output", "Answer=out.txt", "--json", *who],
            ["invoke", "shouter", "--input", f"Words={link}", "--json", *who],
            ["invoke", "shouter", "--input", f"Words={link.replace('http:', 'HTTP:')}", "--json", *who],
            ["invoke", "echo", "--input", "Input=@parts/../eve.key", "--json", *who],
            ["assets", "download", "shouter", "--to", "models", "--json", *who],
        )
        assert uploaded["id"] in {each["id"] for each in listed.json}
        assert "HELLO" in text.out
        assert (tmp_path / "out.txt").read_bytes() == b"FROM A FILE"
        assert file.json["outputs"]["Answer"] | {"sha256": ""} == {"path": "out.txt", "size_bytes": 11, "sha256": ""}
        for each in (linked, capitals):
            assert each.json["outputs"]["Answer"]["text"] == "FROM A LINK"
        assert bytes_.json["outputs"]["Output"]["text"] == key.read_text()
        assert [each["asset_name"] for each in assets.json_lines] == ["File"]
        assert [path.read_bytes() for path in (tmp_path / "models").iterdir()] == [b"weights" * 1000]
        piped = await shell.run("invoke", "shouter", "--input", "Words=@-", "--json", *who, stdin=b"piped")
        assert piped.json["outputs"]["Answer"]["text"] == "PIPED"
        emulator.register_model("shouter", lambda inputs: b"\xff\x00")
        odd = await shell.run("invoke", "shouter", "--input", "Words=x", "--json", *who)
        assert odd.json["outputs"]["Answer"] == {"base64": "/wA=", "size_bytes": 2}


async def test_mistakes_have_their_exit_codes_and_one_line(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as (emulator, shell):
        (tmp_path / "broken.toml").write_text("name = ")
        (tmp_path / "typo.json").write_text(json.dumps(model({"File": "missing.bin"})))
        (tmp_path / "there").write_text("x")
        cases: list[tuple[list[str], int, str]] = [
            (["models", "upload", "broken.toml"], 2, "is no TOML"),
            (["models", "upload", "typo.json"], 2, "does not exist"),
            (["invoke", "echo", "--input", "Input"], 2, "TITLE=VALUE"),
            (["invoke", "echo", "--input", "Imput=x"], 2, "no input called"),
            (["invoke", "echo", "--input", "Input=x", "--output", "Output=there"], 8, "--force"),
            (["invoke", "echo", "--input", "Input=x", "--max-seconds", "-1"], 2, "--max-seconds"),
            (["invoke", "echo", "--input", "Input=x", "--max-seconds", "nan"], 2, "--max-seconds"),
            (["models", "upload", "typo.json", "--max-seconds", "0"], 2, "--max-seconds"),
            (["signup", "ada"], 1, "name is taken"),
            (["assets", "download", "nobody", "--to", "x"], 3, "there is no model"),
        ]
        ends = await shell.run_all(*(words for words, _, _ in cases))
        seen = [
            (ended.code, said in ended.err, "error: " in ended.err)
            for ended, (_, _, said) in zip(ends, cases, strict=True)
        ]
        assert seen == [(code, True, True) for _, code, _ in cases], [ended.err for ended in ends]
        refused = await shell.run("models", "list", env={"NORMAN_API_KEY": "wrong-canary"})
        assert (refused.code, "canary" in refused.err) == (4, False)
        (tmp_path / "empty.key").touch()
        lacking: list[tuple[list[str], dict[str, str | None], str]] = [
            (["models", "list"], {"NORMAN_BASE_URL": None}, "--base-url"),
            (["signup", "zoe"], {"NORMAN_BASE_URL": None}, "--base-url"),
            (["models", "list"], {"NORMAN_API_KEY": None}, "--api-key-file"),
            (["assets", "download", "77", "--to", "x"], {"NORMAN_API_KEY": None}, "--api-key-file"),
            (["models", "list", "--api-key-file", "empty.key"], {}, "--api-key-file"),
        ]
        for words, env, option in lacking:  # it speaks of what a user of a shell has, not of arguments
            ended = await shell.run(*words, env=env)
            assert (ended.code, option in ended.err, "=..." in ended.err) == (2, True, False), ended.err
        assert not asked(emulator, "by-name") or all(each.status == 404 for each in asked(emulator, "by-name"))


async def test_a_failed_model_and_one_that_never_ends(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as (emulator, shell):

        def fail(_: Any) -> bytes:
            raise RuntimeError("out of paper")

        emulator.register_model("broken", fail)
        failed = await shell.run("invoke", "broken", "--input", "Input=x", "--quiet")
        assert (failed.code, "Model_Function_Run" in failed.err) == (1, True)
        assert "left at the service, unfinished: invocation " in failed.err
        emulator.norman.inject_flags(flag_name="Model_Function_Run", value=2)
        late = await shell.run("invoke", "echo", "--input", "Input=x", "--max-seconds", "0.5", "--quiet")
        assert (late.code, "not finished within 0.5 s" in late.err) == (5, True)


async def test_ctrl_c_in_the_middle_of_an_upload_leaves_nothing_open(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as (emulator, shell):
        (tmp_path / "parts" / "weights.bin").write_bytes(bytes(4 << 20))
        emulator.norman.push_port.rate = 256 << 10
        async with shell.start("models", "upload", "model.toml") as process:
            with trio.fail_after(30):
                while not any(push.received_bytes for push in emulator.norman.pushes):  # noqa: ASYNC110 (nobody tells)
                    await trio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            with trio.fail_after(5):
                assert await process.wait() == 130
            said = await read_all(process.stderr)
        assert b"stopped by Ctrl-C" in said
        assert b"Traceback" not in said
        with trio.fail_after(5):
            while emulator.norman.push_connections.active:  # noqa: ASYNC110 (a counter tells nobody)
                await trio.sleep(0.01)
        assert not any(push.is_accepted for push in emulator.norman.pushes)
