"""Whatever a service says, no command of the command line writes what a terminal would obey."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from cyclopts import App

from tests.cli.commandline import Shell
from tests.cli.forked import Shown, on_terminals
from tests.cli.test_cli_norman import MODEL, NormanShell
from tests.cli.test_cli_terminal import foreign_controls
from trio_norman.cli._app import app
from trio_norman.emulator import Emulator, WorkerError, open_emulator
from trio_norman.emulator._openapi_shapes import uri_of

HOSTILE = (
    *("\x1b]0;owned\x07a", "\x1b[2Jb", "\x9b31mc", "d\re", "f\u202eg", "h\u200bi", "[red]j[/red]", "[/]k", "l\x7fm"),
    *("n\nx", "\x00", "\x85y", "\u2028z", "\x1b[31;7mq"),
)
TEXT = "\x1b[2JSAID" + "".join(HOSTILE)  # the end may be cut off, not the beginning
SAID = ("\\x1b[2JSAID", "\\u001b[2JSAID")  # how its beginning is shown: in a text, in JSON
#: What must not be there as it is, though it has colours and line ends as we write them too; a terminal adds a return.
OBEYED = ("n\r\nx", *(each for each in HOSTILE if not each.isprintable()))

Words = Sequence[str]


def commands_of(group: App, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that there is, from the command line itself."""
    for name, found in group.resolved_commands().items():
        if name.startswith("-"):
            continue
        if found.default_command is not None:
            yield " ".join((*path, name))
        yield from commands_of(found, (*path, name))


@attrs.frozen
class Line:
    """How one command is run, and which calls of it can be refused."""

    words: Words
    refused: str = ""  # a regular expression: the path of the call that the service refuses
    refused_classic: str = ""  # in the classic dialect, where that is another
    shows: bool | None = True  # whether a service that answers gets its text shown; None: only as JSON

    def refused_in(self, dialect: str) -> str:
        """Give the path of the refused call in one dialect."""
        return self.refused_classic if dialect == "classic" else self.refused


_API, _OLD, _NORMAN, _LAUNCH = "/api/openapi/v1/", "/api/api/", "/v0/", "(/v1/launch)?/v1/"
_RUN, _CHECKPOINT = f"{_OLD}runs/[^/]*", f"{_OLD}runs/[^/]*/checkpoints/[^/]*"

#: Every command that shows what a service says. Words in capitals stand for what a test has of its own.
LINES: Mapping[str, Line] = {
    "whoami": Line([], f"{_API}api-key/verify$", "/api/user/me$"),
    "weights list": Line([], f"{_API}checkpoints$", "/api/user/[^/]*/weights$"),
    "runs list": Line([], f"{_API}training-runs$", f"{_OLD}runs$"),
    "runs show": Line(["RUN"], f"{_API}training-runs/[^/]*$", f"{_RUN}$"),
    "checkpoints list": Line([], f"{_API}checkpoints$", f"{_OLD}user/checkpoints$"),
    "checkpoints info": Line(["PATH"], f"{_API}training-runs/by-checkpoint-uri", "/api/checkpoints/info"),
    "checkpoints url": Line(["RUN", "ID"], f"{_API}checkpoints/[^/]*/download-url", f"{_CHECKPOINT}/archive", False),
    "checkpoints download": Line(
        ["RUN", "--to", "TO"], f"{_API}training-runs/[^/]*/checkpoints", f"{_RUN}/checkpoints$"
    ),
    "checkpoints delete": Line(["RUN", "ID", "--yes"], f"{_API}checkpoints/[^/]*$", f"{_CHECKPOINT}$", False),
    "sessions list": Line([], f"{_API}service-sessions$", f"{_OLD}sessions$"),
    "sessions show": Line(["SESSION"], f"{_API}service-sessions/[^/]*$", f"{_OLD}sessions/"),
    "samplers show": Line(["SAMPLER"], f"{_API}sampling-runs/", f"{_OLD}samplers/"),
    "fetch": Line(["list.tsv", "--to", "TO"]),
    "bench": Line(["BAD_URL"]),
    "signup": Line([f"{TEXT}-NAME".replace("\0", "")], f"{_NORMAN}authenticate/"),
    "models upload": Line(["NAME.toml"], f"{_NORMAN}persist/models/"),
    "models list": Line([], f"{_NORMAN}persist/models/"),
    "assets download": Line(["v1-NAME", "--to", "TO"], f"{_NORMAN}persist/models/", shows=None),
    "invoke": Line(["echo", "--input", "Input=@hostile.txt"], f"{_NORMAN}persist/invocations"),
    "endpoints list": Line([], f"{_LAUNCH}model-endpoints$"),
    "endpoints show": Line(["loud"], f"{_LAUNCH}model-endpoints"),
    "endpoints predict": Line(["loud", "--args", "1"], f"{_LAUNCH}async-tasks$"),
}
#: What a user types or pastes is not obeyed either.
OF_THE_USER = [
    (Line([], shows=False), ["sessions", "show", TEXT]),
    (Line([]), ["checkpoints", "delete", "run", TEXT]),
    (Line([]), ["endpoints", "show", TEXT]),
]
OURS_ALONE = {"demo", "serve"}  # they speak with no service but the emulator that they bring along
REST = {"whoami", "weights", "runs", "checkpoints", "sessions", "samplers"}


@attrs.frozen
class Stage:
    """Services that put such text wherever they may, and a user who asks them in one of the two dialects."""

    emulator: Emulator
    shell: Shell
    dialect: str

    def lines(self, *more: str, number: int = 0) -> Iterator[tuple[Line, Words]]:
        """Give each line of this dialect and its words; those of no dialect are asked beside v1."""
        for name, line in LINES.items():
            command = name.split()
            api = ["--api", self.dialect] if command[0] in REST else []
            if api or self.dialect == "v1":
                yield line, [*command, *(self._meant(word, number) for word in line.words), *api, *more]

    def _meant(self, word: str, number: int) -> str:
        emulator, checkpoint = self.emulator, self.emulator.checkpoints[number]
        path = checkpoint.path if self.dialect == "classic" else uri_of(checkpoint)
        meant = {"RUN": checkpoint.training_run_id, "ID": checkpoint.checkpoint_id, "PATH": path, "TO": f"to{number}"}
        meant |= {"SESSION": emulator.sessions[0].session_id, "SAMPLER": emulator.samplers[0].sampler_id}
        meant |= {"BAD_URL": emulator.blob_url(10, status=404, sbody=TEXT.encode().decode("latin-1"))}
        return meant.get(word, word.replace("NAME", f"name{number}"))


@asynccontextmanager
async def open_stage(home: Path, dialect: str) -> AsyncIterator[Stage]:
    """Open such services, and lay out what the lines name."""
    async with open_emulator(runs=1, checkpoints=3, size_bytes=2000) as emulator:
        state, (run,), (sampler,), (session,) = (
            emulator.state,
            emulator.training_runs,
            emulator.samplers,
            emulator.sessions,
        )
        state.username = TEXT
        state.runs[run.training_run_id] = attrs.evolve(run, base_model=TEXT)
        state.samplers[sampler.sampler_id] = attrs.evolve(sampler, base_model=TEXT)
        state.sessions[session.session_id] = attrs.evolve(session, training_run_ids=(TEXT,))
        state.open_session(TEXT)
        for name in (TEXT, *HOSTILE):
            state.add_checkpoint(run.training_run_id, name=name, kind="sampler")
        emulator.inject(emulator.checkpoints[2].checkpoint_id, status=404, sbody=TEXT.encode().decode("latin-1"))
        emulator.register_model(TEXT, lambda inputs: b"")
        emulator.register_endpoint("loud", "async", _fail, fields={"status": TEXT})
        good, bad = emulator.blob_url(10), emulator.blob_url(10, status=404, sbody=TEXT.encode().decode("latin-1"))
        name = TEXT.replace("\n", "")  # which would end the line of the list
        (home / "list.tsv").write_bytes(f"{good}\tok\n{good}\t{name}\n{bad}\tbad\n".encode())
        (home / "hostile.txt").write_bytes(TEXT.encode())
        (home / "weights.bin").write_bytes(b"weights")
        model = MODEL.replace("parts/", "").replace('asset_name = "File"', f"asset_name = {json.dumps(TEXT)}")
        for number in range(2):
            (home / f"name{number}.toml").write_text(model.replace('"shouter"', f'"v1-name{number}"'))
        yield Stage(emulator, NormanShell(home, emulator), dialect)


def _fail(_: object) -> object:
    raise WorkerError(TEXT)


def check(words: Words, shown: Shown, *, holds_text: bool | None) -> None:
    """Whatever the command wrote: only our own colours and lines, and where the service's text stands, its escapes."""
    assert shown.written, words
    assert shown.code not in {70, 71}, (words, shown)  # not a traceback
    assert foreign_controls(shown.written) == b"", words
    text = shown.written.decode()
    assert not [each for each in OBEYED if each in text], words
    shows = "--json" in words if holds_text is None else holds_text
    assert shows is any(said in text for said in SAID), (words, shown)


def test_SEC_13_every_command_is_tried() -> None:
    """Each command of the command line has its line here, or is named among those that show nothing of a service's."""
    assert set(commands_of(app)) == set(LINES) | OURS_ALONE


@pytest.mark.parametrize("dialect", ["v1", "classic"])
async def test_SEC_13_no_command_obeys_a_service_that_answers(dialect: str, tmp_path: Path) -> None:
    """Every command, on a terminal, of a service whose names and texts are all hostile; as text and (once) as JSON."""
    async with open_stage(tmp_path, dialect) as stage:
        tried = [*stage.lines()]
        if dialect == "v1":
            tried += [*stage.lines("--json", number=1), *OF_THE_USER]
        shown = await on_terminals(stage.shell, [words for _, words in tried])
    for (line, words), each in zip(tried, shown, strict=True):
        check(words, each, holds_text=line.shows)


@pytest.mark.parametrize("dialect", ["v1", "classic"])
async def test_SEC_13_no_command_obeys_a_service_that_refuses(dialect: str, tmp_path: Path) -> None:
    """Every command, when just the call that it is made for is refused with a hostile text; each call was made."""
    async with open_stage(tmp_path, dialect) as stage:
        tried = [(line.refused_in(dialect), words) for line, words in stage.lines() if line.refused]
        body = json.dumps(dict.fromkeys(("message", "code", "detail"), TEXT))
        counts = Counter(path for path, _ in tried)
        rules = [stage.emulator.misbehave(path, status=400, body=body, times=many) for path, many in counts.items()]
        shown = await on_terminals(stage.shell, [words for _, words in tried])
    assert [rule.pattern.pattern for rule in rules if rule.hits < (rule.times or 0)] == []
    for (_, words), each in zip(tried, shown, strict=True):
        check(words, each, holds_text=True)
        assert each.code != 0, words
