"""The commands that look at the service, and what they say when it says no."""

from __future__ import annotations

import os
from typing import Any

from tests.cli.commandline import Shell
from trio_norman.emulator import Emulator


def service(shell: Shell) -> Emulator:
    assert shell.emulator is not None
    return shell.emulator


async def test_lists_as_rows_and_as_json(shell: Shell) -> None:
    emulator = service(shell)
    emulator.max_limit = 2  # so that every list has several pages
    run = emulator.training_runs[1].training_run_id
    lines = ("runs list", "weights list", "sessions list", "checkpoints list", f"checkpoints list {run}")
    rows = await shell.run_all(*(line.split() for line in lines))
    arrays = await shell.run_all(*([*line.split(), "--json"] for line in lines))
    expected = [
        [each.training_run_id for each in emulator.training_runs],
        [each.checkpoint_id for each in emulator.weights],
        [each.session_id for each in emulator.sessions],
        [each.checkpoint_id for each in emulator.checkpoints],
        [each.checkpoint_id for each in emulator.checkpoints if each.training_run_id == run],
    ]
    assert [ended.code for ended in [*rows, *arrays]] == [0] * 10
    assert [[row.split()[0] for row in ended.out.splitlines()[1:]] for ended in rows] == expected
    keys = ["training_run_id", "cuid", "", "checkpoint_id", "checkpoint_id"]
    found = [[item[key] if key else item for item in ended.json] for key, ended in zip(keys, arrays, strict=True)]
    assert found == expected
    assert "".join(ended.err for ended in [*rows, *arrays]) == ""


async def test_limit_ends_a_list_and_its_requests(shell: Shell) -> None:
    emulator = service(shell)
    one, none = await shell.run_all(
        ["checkpoints", "list", "--limit", "1", "--json"], ["weights", "list", "--limit", "0"]
    )
    assert [item["checkpoint_id"] for item in one.json] == [emulator.checkpoints[0].checkpoint_id]
    assert none.code == 2
    assert ">= 1" in none.err


async def test_single_things(shell: Shell) -> None:
    emulator = service(shell)
    run, session = emulator.training_runs[0], emulator.sessions[0]
    checkpoint, sampler = emulator.checkpoints[0], emulator.samplers[0]
    lines = [
        ["whoami"],
        ["runs", "show", run.training_run_id],
        ["sessions", "show", session.session_id],
        ["samplers", "show", sampler.sampler_id],
        ["checkpoints", "info", f"trio://{run.training_run_id}/training_state/{checkpoint.name}"],
    ]
    rows = await shell.run_all(*lines)
    documents = [ended.json for ended in await shell.run_all(*([*line, "--json"] for line in lines))]
    assert documents[0]["cuid"] == emulator.user_id
    assert "api_key" not in documents[0]
    assert documents[1]["training_run_id"] == run.training_run_id
    assert documents[2]["training_run_ids"] == [run.training_run_id]
    assert documents[2]["sampler_ids"] == [sampler.sampler_id]
    assert documents[3]["sampler_id"] == sampler.sampler_id
    assert documents[4]["model"] == run.base_model
    assert [ended.code for ended in rows] == [0] * 5
    assert emulator.user_id in rows[0].out
    assert run.base_model in rows[1].out
    assert "".join(ended.out for ended in rows).count(emulator.api_key) == 0


async def test_whoami_tells_the_dialect_and_in_the_later_one_workspace_and_end_of_the_key(shell: Shell) -> None:
    emulator = service(shell)
    v1, forced, classic = [
        ended.json
        for ended in await shell.run_all(
            ["whoami", "--json"], ["--api", "v1", "whoami", "--json"], ["whoami", "--api=classic", "--json"]
        )
    ]
    assert v1 == forced
    assert (v1["dialect"], v1["cuid"], v1["workspace_id"]) == ("v1", emulator.user_id, emulator.state.workspace_id)
    assert v1["expires_at"].endswith("Z")
    assert (classic["dialect"], classic["cuid"]) == ("classic", emulator.user_id)
    assert (classic["workspace_id"], classic["expires_at"]) == (None, None)
    rows, bad = await shell.run_all(["whoami"], ["whoami", "--api", "v2"])
    assert {"dialect", "workspace_name", "expires_at"} <= {line.split()[0] for line in rows.out.splitlines()}
    assert bad.code == 2


async def test_a_signed_url_is_printed_and_works_for_fetch(shell: Shell) -> None:
    checkpoint = service(shell).checkpoints[0]
    words = ["checkpoints", "url", checkpoint.training_run_id, checkpoint.checkpoint_id]
    plain, document = await shell.run_all(words, [*words, "--json"])
    assert document.json.keys() >= {"url", "expires"}
    got = await shell.run("fetch", "-", "--to", "out", stdin=f"{plain.out.strip()}\tone.zip\n".encode())
    assert (got.code, (shell.home / "out" / "one.zip").stat().st_size) == (0, checkpoint.size_bytes)


async def test_deleting_wants_a_yes(shell: Shell) -> None:
    emulator = service(shell)
    checkpoint = emulator.checkpoints[0]
    words = ["checkpoints", "delete", checkpoint.training_run_id, checkpoint.checkpoint_id]
    unsure = await shell.run(*words)
    assert (unsure.code, len(emulator.checkpoints)) == (2, 6)
    assert "--yes" in unsure.err
    sure = await shell.run(*words, "--yes", "--json")
    assert (sure.code, sure.json["deleted"], len(emulator.checkpoints)) == (0, checkpoint.checkpoint_id, 5)
    assert (await shell.run(*words, "--yes")).code == 3


REFUSALS: list[tuple[dict[str, Any], int, str]] = [
    ({"status": 404}, 3, "404"),
    ({"status": 401}, 4, "key"),
    ({"status": 403}, 4, "403"),
    ({"status": 503, "retry_after": 4000}, 5, "503"),
    ({"status": 429, "retry_after": 4000}, 5, "429"),
    ({"status": 200, "body": b"<html>hello</html>", "content_type": "text/html"}, 1, "not JSON"),
    ({"status": 200, "body": b'{"training_run_cuid": 5}'}, 1, "training_run_cuid"),
]


async def test_each_refusal_is_one_line_and_a_code(shell: Shell) -> None:
    for number, (fault, _, _) in enumerate(REFUSALS):
        service(shell).misbehave(f".*runs/run{number}$", **fault)
    ends = await shell.run_all(*(["runs", "show", f"run{number}", "--json"] for number in range(len(REFUSALS))))
    for ended, (_, code, word) in zip(ends, REFUSALS, strict=True):
        assert (ended.code, ended.err.count("\n"), ended.out) == (code, 1, "")
        assert ended.err.startswith("error: ")
        assert word in ended.err


async def test_keys(shell: Shell) -> None:
    emulator = service(shell)
    key = shell.home / "key"
    key.write_text(f"{emulator.api_key}\n")
    key.chmod(0o644)
    no_key: dict[str, str | None] = {"TRIO_NORMAN_API_KEY": None}
    from_file = await shell.run("whoami", "--api-key-file", key, env=no_key)
    assert (from_file.code, "other users" in from_file.err) == (0, True)
    key.chmod(0o600)
    quiet = await shell.run("--api-key-file", key, "whoami", "--json", env=no_key)
    assert (quiet.code, quiet.err) == (0, "")
    from_stdin = await shell.run("whoami", "--api-key-file", "-", env=no_key, stdin=emulator.api_key.encode())
    assert from_stdin.code == 0
    missing = await shell.run("whoami", env=no_key)
    assert (missing.code, "--api-key-file" in missing.err) == (2, True)
    wrong = await shell.run("whoami", env={"TRIO_NORMAN_API_KEY": "sk-wrong-canary"})
    assert (wrong.code, "canary" in wrong.err) == (4, False)
    unread = await shell.run("whoami", "--api-key-file", "nowhere")
    assert unread.code == 2


async def test_pages_that_never_end_are_an_error_after_what_came(shell: Shell) -> None:
    emulator = service(shell)
    emulator.max_limit = 2
    emulator.paging_fault = "same"
    ended = await shell.run("checkpoints", "list")
    assert ended.code == 1
    assert "pages" in ended.err
    assert len(ended.out.splitlines()) >= 3  # the heading and the first page


async def test_plain_http_to_another_machine_needs_leave(shell: Shell) -> None:
    ended = await shell.run("whoami", "--base-url", "http://example.org")
    assert (ended.code, "--allow-http" in ended.err) == (2, True)


async def test_a_closed_stdout_ends_a_list_without_a_word(shell: Shell) -> None:
    read, write = os.pipe()
    os.close(read)
    async with shell.start("checkpoints", "list", stdout=write) as process:
        os.close(write)
        assert process.stderr is not None
        said = b"".join([block async for block in process.stderr])
        assert (await process.wait(), said) == (141, b"")


async def test_a_full_disk_behind_stdout(shell: Shell) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with shell.start("runs", "list", stdout=full) as process:
            assert await process.wait() == 8
    finally:
        os.close(full)
