"""`checkpoints download` and `fetch`: results, lists, exit codes."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.cli.commandline import Ended, Shell, is_content, names
from trio_norman.emulator import Emulator


def service(shell: Shell) -> Emulator:
    assert shell.emulator is not None
    return shell.emulator


async def test_all_checkpoints_and_again(shell: Shell) -> None:
    emulator = service(shell)
    first = await shell.run("checkpoints", "download", "--all", "--to", "out", "-j", "4", "--max-connections", "auto")
    assert first.code == 0
    assert "6 files: 6 fetched" in first.err
    for checkpoint in emulator.checkpoints:
        name = f"{checkpoint.name}-{checkpoint.checkpoint_id}.zip"
        assert is_content(shell.home / "out" / name, emulator.content_of(checkpoint.checkpoint_id))
        assert emulator.sha256_of(checkpoint.checkpoint_id) in first.out
    sent = emulator.sent_bytes
    again = await shell.run("checkpoints", "download", "--all", "--to", "out", "--json")
    assert [line["outcome"] for line in again.json_lines] == ["skipped"] * 6
    assert emulator.sent_bytes - sent <= 6  # a byte each, to learn what it is now


async def test_runs_and_single_checkpoints(shell: Shell) -> None:
    emulator = service(shell)
    run = emulator.training_runs[1].training_run_id
    wanted = emulator.checkpoints[4].checkpoint_id
    by_run, by_id, both, lost, nothing, too_much = await shell.run_all(
        ["checkpoints", "download", run, run, "--to", "a", "--json"],
        ["checkpoints", "download", "--checkpoint", wanted, "--checkpoint", "nope", "--to", "b", "--json"],
        ["checkpoints", "download", run, "no-such-run", "--checkpoint", wanted, "--to", "c", "--quiet"],
        ["checkpoints", "download", "no-such-run", "--to", "d"],
        ["checkpoints", "download", "--to", "e"],
        ["checkpoints", "download", run, "--all", "--to", "f"],
    )
    assert {line["checkpoint_id"] for line in by_run.json_lines} == {c.checkpoint_id for c in emulator.checkpoints[3:]}
    assert {line["training_run_id"] for line in by_run.json_lines} == {run}
    assert (by_id.code, [line["checkpoint_id"] for line in by_id.json_lines]) == (6, [wanted])
    assert "checkpoint nope" in by_id.err
    assert (both.code, both.out, len(names(shell.home / "c"))) == (6, "", 1)
    assert "run no-such-run" in both.err
    assert (by_run.code, lost.code, nothing.code, too_much.code) == (0, 3, 2, 2)
    assert not (shell.home / "e").exists()


async def test_nothing_to_download_is_well(shell: Shell) -> None:
    run = service(shell).state.add_run(checkpoints=0)
    ended = await shell.run("checkpoints", "download", run.training_run_id, "--to", "out")
    assert (ended.code, ended.out, ended.err) == (0, "", "no files\n")


async def test_what_to_do_with_files_that_are_there(shell: Shell) -> None:
    emulator = service(shell)
    checkpoint = emulator.checkpoints[0]
    target = shell.home / f"{checkpoint.name}-{checkpoint.checkpoint_id}.zip"
    target.write_bytes(b"mine")
    line = ["checkpoints", "download", "--checkpoint", checkpoint.checkpoint_id, "--to", "."]
    careful = await shell.run(*line)
    assert (careful.code, target.read_bytes()) == (8, b"mine")
    assert "--force" in careful.err
    assert (await shell.run(*line, "--no-clobber")).code == 0
    assert target.read_bytes() == b"mine"
    assert (await shell.run(*line, "--force", "--no-clobber")).code == 2
    assert (await shell.run(*line, "--force", "--no-durable", "--max-connections", "2")).code == 0
    assert is_content(target, emulator.content_of(checkpoint.checkpoint_id))


async def test_a_destination_that_cannot_be_written(shell: Shell) -> None:
    (shell.home / "file").write_bytes(b"")
    ended = await shell.run("checkpoints", "download", "--all", "--to", "file/out")
    assert ended.code == 8


KINDS: list[tuple[dict[str, Any], int, str]] = [
    ({"status": 404}, 3, "NotFoundError"),
    ({"sig": "bad"}, 4, "PermissionDeniedError"),
    ({"expire": 0}, 5, "UrlExpiredError"),
    ({"status": 503, "ra": 4000}, 5, "RateLimitedError"),
    ({"sum": "bad"}, 7, "ChecksumMismatchError"),
    ({"shortcl": 100}, 7, "ChecksumMismatchError"),
]


async def test_if_all_fail_in_one_way_the_code_is_of_that_kind(shell: Shell) -> None:
    chosen = [each.checkpoint_id for each in service(shell).checkpoints[: len(KINDS)]]
    for checkpoint, (knobs, _, _) in zip(chosen, KINDS, strict=True):
        service(shell).inject(checkpoint, **knobs)
    lines = [["checkpoints", "download", "--checkpoint", each, "--to", each, "--json"] for each in chosen]
    for ended, checkpoint, (_, code, kind) in zip(await shell.run_all(*lines), chosen, KINDS, strict=True):
        (line,) = ended.json_lines
        assert (ended.code, line["error"]["exit_code"], line["error"]["kind"]) == (code, code, kind)
        assert not [name for name in names(shell.home / checkpoint) if not name.startswith(".")]


async def test_some_fail_others_do_not_and_fail_fast(shell: Shell) -> None:
    emulator = service(shell)
    emulator.inject(emulator.checkpoints[0].checkpoint_id, status=404)
    some, fast = await shell.run_all(
        ["checkpoints", "download", "--all", "--to", "a"],
        ["checkpoints", "download", "--all", "--to", "b", "--fail-fast", "-j", "1"],
    )
    assert (some.code, len(names(shell.home / "a"))) == (6, 5)
    assert some.err.count("error: ") == 1
    assert (fast.code, names(shell.home / "b")) == (3, set())


async def fetch(shell: Shell, text: str, *words: str) -> Ended:
    return await shell.run("fetch", "-", "--to", "out", *words, stdin=text.encode())


async def test_fetch_with_all_fields(shell: Shell) -> None:
    emulator = service(shell)
    url = emulator.blob_url(5000, name="one")
    content = emulator.blob_content(5000, name="one")
    digest = hashlib.sha256(content.read(0, 5000)).hexdigest()
    text = f"# a list\r\n\r\n{url}\tone.bin\tsize=5000\tsha256={digest}\r\n{emulator.blob_url(0)}\tempty.bin"
    (shell.home / "list.tsv").write_text(text)
    ended = await shell.run("fetch", "list.tsv", "--to", "out", "--json", "-j", "1")
    lines = ended.json_lines
    assert ended.code == 0
    assert [line["name"] for line in lines] == ["one.bin", "empty.bin"]
    assert (lines[0]["sha256"], "sha256" in lines[0]["verified_by"]) == (digest, True)
    assert lines[0]["url"] == url.partition("?")[0]
    assert "q-signature" not in ended.out + ended.err
    assert is_content(shell.home / "out" / "one.bin", content)


async def test_no_verify_computes_only_what_is_announced(shell: Shell) -> None:
    emulator = service(shell)
    plain = emulator.blob_url(5000, name="a", nodigest=1)
    ended = await fetch(shell, f"{plain}\ta.bin\n", "--no-verify", "--json")
    assert (ended.code, ended.json_lines[0]["sha256"]) == (0, None)


BAD_LISTS: list[tuple[str, int, str]] = [
    ("{url}\tok.bin\n{url}\n", 2, "line 2 has no name"),
    ("{url}\tok.bin\n{url}\tb.bin\tsize=many\n", 2, "line 2: size"),
    ("{url}\tok.bin\n{url}\tb.bin\tsha1=00\n", 2, "line 2"),
    ("{url}\tok.bin\nhttps://example.org/x\tok.bin\n", 6, "same name"),
    ("{url}\tok.bin\n{url}\tOK.BIN\n", 6, "same name"),
    ("{url}\tok.bin\n{url}\t../b.bin\n", 6, "separator"),
    ("{url}\tok.bin\nftp://example.org/x\tb.bin\n", 6, "absolute http"),
    ("{url}\tok.bin\nhttp://example.org/x\tb.bin\n", 6, "--allow-http"),
    ("{url}\tok.bin\n{url}\tb.bin\tsha256=" + "0" * 64 + "\n", 6, "sha256"),
]


async def test_a_bad_line_spoils_no_other(shell: Shell) -> None:
    url = service(shell).blob_url(1000)
    for number, (text, _, _) in enumerate(BAD_LISTS):
        (shell.home / f"{number}.tsv").write_text(text.format(url=url))
    lines = [["fetch", f"{number}.tsv", "--to", f"out{number}"] for number in range(len(BAD_LISTS))]
    for number, ended in enumerate(await shell.run_all(*lines)):
        _, code, word = BAD_LISTS[number]
        assert (number, ended.code) == (number, code)
        assert word in ended.err
        assert names(shell.home / f"out{number}") == {"ok.bin"}
        assert url.partition("?")[2] not in ended.err


async def test_lists_where_nothing_succeeds(shell: Shell) -> None:
    emulator = service(shell)
    wrong = f"{emulator.blob_url(1000)}\tb.bin\tsha256={'0' * 64}\n"
    gone = f"{emulator.blob_url(1000, status=404)}\tc.bin\n"
    expired = f"{emulator.blob_url(1000, name='secret', sig='bad')}\td.bin\n"
    outside = f"{emulator.blob_url(1000)}\t/etc/x\n"
    codes = [(await fetch(shell, text)).code for text in (wrong, gone, expired, outside, gone + wrong)]
    assert codes == [7, 3, 4, 2, 1]
    assert not names(shell.home / "out")


async def test_a_list_that_cannot_be_read(shell: Shell) -> None:
    (shell.home / "latin").write_bytes(b"\xff\xfe")
    missing, directory, latin, option, none = await shell.run_all(
        ["fetch", "nowhere.tsv", "--to", "out"],
        ["fetch", ".", "--to", "out"],
        ["fetch", "latin", "--to", "out"],
        ["fetch", "--bogus", "--to", "out"],
        ["fetch", "latin", "--to", "out", "--max-connections", "0"],
    )
    assert [ended.code for ended in (missing, directory, latin, option, none)] == [2] * 5
    assert "at least 1" in none.err
    assert "nowhere.tsv" in missing.err
    assert "line 1 is not UTF-8" in latin.err


async def test_many_small_files_through_a_pipe(shell: Shell) -> None:
    emulator = service(shell)
    text = "".join(f"{emulator.upload(f'u/{n}', b'%d' % n)}\t{n}.txt\n" for n in range(300))
    ended = await fetch(shell, text, "--json", "--no-durable", "-j", "16")
    lines: list[dict[str, Any]] = ended.json_lines
    assert (ended.code, len(lines)) == (0, 300)
    assert all((shell.home / "out" / f"{n}.txt").read_bytes() == b"%d" % n for n in range(300))
