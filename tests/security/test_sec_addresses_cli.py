"""The same from the shell: what is refused, and how a user allows it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.commandline import Shell
from trio_norman.emulator import open_emulator


async def test_SEC_05_the_command_line_says_how_a_host_is_allowed(tmp_path: Path) -> None:
    """Exit codes 6 and 2, and the option that helps."""
    async with open_emulator(runs=1, checkpoints=1, size_bytes=3000) as emulator:
        away = emulator.other_storage_url.replace("127.0.0.1", "localhost")
        list_ = "".join(
            f"{emulator.blob_url(1000, redirect=1, loc=location)}\t{name}\n"
            for location, name in ((f"{away}/blobs/0/1000/blob", "near"), ("https://10.0.0.1/x", "lan"))
        )
        (tmp_path / "list.tsv").write_text(list_)
        shell = Shell(tmp_path, emulator)
        judged, elsewhere, wrong = await shell.run_all(
            ["fetch", "list.tsv", "--to", "judged"],
            [
                "fetch",
                "list.tsv",
                "--to",
                "elsewhere",
                "--allow-host",
                "store.example.org",
                "--allow-host",
                "a.example",
            ],
            ["checkpoints", "list", "--allow-host", "http://store.example.org/"],
        )
    assert (judged.code, elsewhere.code, wrong.code) == (6, 2, 2)
    assert "10.0.0.1 is a private address" in judged.err
    assert "--allow-host" in judged.err
    assert (tmp_path / "judged" / "near").stat().st_size == 1000
    assert elsewhere.err.count("not among those that were allowed") == 2
    assert "an allowed host is no host" in wrong.err
    assert "q-signature" not in judged.err + elsewhere.err
