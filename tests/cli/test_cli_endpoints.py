"""`endpoints`: list, show, predict."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from tests.cli.commandline import Shell
from trio_norman.cli._endpoints import read_request
from trio_norman.emulator import WorkerError
from trio_norman.errors import ConfigurationError


async def test_endpoints_are_listed_shown_and_asked(shell: Shell) -> None:
    (shell.home / "args.json").write_text('{"x": [1, null]}')
    ends = await shell.run_all(
        ["endpoints", "list"],
        ["endpoints", "show", "echo-async", "--json"],
        ["endpoints", "predict", "echo-sync", "--args", '{"x": 1}'],
        ["endpoints", "predict", "echo-stream", "--args", "@args.json", "--stream"],
    )
    assert [ended.code for ended in ends] == [0] * 4, [ended.err for ended in ends]
    assert [line.split()[:2] for line in ends[0].out.splitlines()[1:]] == [
        ["echo-sync", "sync"],
        ["echo-async", "async"],
        ["echo-stream", "streaming"],
    ]
    assert ends[1].json["endpoint_type"] == "async"
    (line,) = ends[2].json_lines
    assert line.pop("request_id")
    assert line == {
        "status": "SUCCESS",
        "status_code": 200,
        "result": {"x": 1},
        "result_url": None,
        "traceback": None,
        "error": None,
        "task_id": None,
    }
    assert [each["result"] for each in ends[3].json_lines] == [{"x": [1, None]}]


async def test_many_are_asked_at_once(shell: Shell) -> None:
    assert shell.emulator is not None

    def model(args: Any) -> Any:
        if args == "bad":
            raise WorkerError("boom \x1b[31m")
        return args

    shell.emulator.register_endpoint("picky", "async", model, delay=0.05)
    lines = [json.dumps({"args": number, "request_id": f"r{number}"}) for number in range(20)]
    (shell.home / "many.jsonl").write_text("\n".join([*lines, "", '{"x": 1}', '"bad"']))
    line = ["endpoints", "predict", "picky", "-j", "8", "--timeout", "20"]
    ended = await shell.run(*line, "--many", "many.jsonl")
    assert ended.code == 6
    by_id = {each["request_id"]: each for each in ended.json_lines}
    assert sorted(by_id) == sorted([*(f"r{number}" for number in range(20)), "22", "23"])
    assert (by_id["r7"]["result"], by_id["22"]["result"]) == (7, {"x": 1})
    assert (by_id["23"]["status"], by_id["23"]["error"]["kind"]) == ("FAILURE", "EndpointTaskError")
    assert "\x1b" not in ended.out + ended.err


async def test_a_line_that_is_no_request_spoils_no_other(shell: Shell) -> None:
    predict = ["endpoints", "predict", "echo-async", "--many", "-", "--timeout", "20"]
    wrong = [
        b"{x}",
        b'"\xff"',
        b'{"args": 1, "timeout_seconds": "5"}',
        b'{"args": 1, "reqest_id": "r"}',
        b"x" * 2**24 + b"x",
    ]
    long = json.dumps("x" * 100_000).encode()
    ended = await shell.run(*predict, stdin=b"\n".join([b"1", *wrong, b"2", long]))
    assert ended.code == 6
    by_id = {each["request_id"]: each for each in ended.json_lines}
    assert sorted(by_id) == [str(number) for number in range(1, 9)]
    assert [by_id[each]["result"] for each in "178"] == [1, 2, "x" * 100_000]
    for number in "23456":
        assert by_id[number]["error"]["kind"] == "ConfigurationError"
        assert f"line {number} is" in by_id[number]["error"]["message"]
        assert f"error: {number}: " in ended.err
    none = await shell.run(*predict, stdin=b"{x}\n\n{y}")
    assert (none.code, len(none.json_lines)) == (2, 2)


async def test_mistakes_and_failures_have_their_exit_codes(shell: Shell) -> None:
    assert shell.emulator is not None
    shell.emulator.register_endpoint("slow", "async", lambda args: args, delay=60)
    ends = await shell.run_all(
        ["endpoints", "predict", "nobody", "--args", "1"],
        ["endpoints", "predict", "echo-sync", "--args", "1", "--stream"],
        ["endpoints", "predict", "slow", "--args", "1", "--timeout", "0.2"],
        ["endpoints", "predict", "echo-sync", "--args", "@nothing"],
    )
    assert [ended.code for ended in ends] == [3, 2, 5, 2]
    assert all(ended.err.startswith("error: ") for ended in ends)
    assert ends[2].json["error"]["kind"] == "EndpointTimeoutError"
    assert list(shell.emulator.launch.tasks) == [ends[2].json["task_id"]]


async def test_another_services_key_is_not_sent_to_the_hosted_one(shell: Shell) -> None:
    ended = await shell.run("endpoints", "list", env={"TRIO_NORMAN_BASE_URL": None})
    assert ended.code == 2
    assert "TRIO_NORMAN_LAUNCH_API_KEY" in ended.err
    assert shell.emulator is not None
    key = shell.home / "key"
    await trio.Path(key).write_text(shell.emulator.api_key)
    await trio.Path(key).chmod(0o600)
    unset = {"TRIO_NORMAN_BASE_URL": None, "TRIO_NORMAN_API_KEY": None}
    address = shell.emulator.launch_base_url
    given = await shell.run("endpoints", "list", "--base-url", address, "--api-key-file", key, "--json", env=unset)
    assert [each["name"] for each in given.json] == ["echo-sync", "echo-async", "echo-stream"]


@pytest.mark.parametrize(
    ("line", "args", "request_id"),
    [
        ("1", 1, "7"),
        ('{"x": 1}', {"x": 1}, "7"),
        ('{"args": {"x": 1}}', {"x": 1}, "7"),
        ('{"args": [], "request_id": "a"}', [], "a"),
        ('{"arg": 1, "other": 2}', {"arg": 1, "other": 2}, "7"),
    ],
)
def test_a_line_is_arguments_or_a_request(line: str, args: Any, request_id: str) -> None:
    request = read_request(line, number=7)
    assert (request.args, request.request_id) == (args, request_id)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "null",
        '{"args": null}',
        '{"args": 1, "url": "x"}',
        '{"args": 1, "num_retries": -1}',
        '{"args": 1, "reqest_id": "a"}',
        '{"url": "https://h/x", "timeout_seconds": "5"}',
    ],
)
def test_a_line_that_is_no_request_is_named(line: str) -> None:
    with pytest.raises(ConfigurationError, match="line 7 is no request"):
        read_request(line, number=7)
