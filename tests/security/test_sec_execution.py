"""Nothing that was fetched is executed, and importing touches nothing."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_norman
from tests.audited.sitecustomize import deeds
from tests.cli.commandline import Shell
from trio_norman.transfer._folder import passing_name

PACKAGE = Path(trio_norman.__file__).parent

#: Names that turn data into deeds. `exec` and `compile` of the standard library's own (attrs, dataclasses) stay there.
DEEDS = {
    *(
        "pickle",
        "cPickle",
        "marshal",
        "shelve",
        "dill",
        "cloudpickle",
        "yaml",
        "torch",
        "joblib",
        "imp",
        "runpy",
        "code",
    ),
    *("subprocess", "pty", "commands", "zipimport", "importlib.machinery", "webbrowser", "ctypes", "multiprocessing"),
}
#: Results of endpoints may be pickles: the emulator writes some, and `fetch_result` reads them with `unsafe_unpickle`.
ALLOWED = {
    str(Path("emulator", "_launch.py")): frozenset({"pickle"}),
    str(Path("launch", "_responses.py")): frozenset({"pickle"}),
}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "system",
    "popen",
    "unpack_archive",
    "extractall",
    "extract",
    "startfile",
    *("run_process", "open_process", "posix_spawn", "posix_spawnp", "fork", "forkpty", "import_module"),
    *(f"exec{kind}" for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    *(f"spawn{kind}" for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}
#: The package's own names are imported when they are asked for; those of others are not.
CALLS_ALLOWED = {"_lazily.py": frozenset({"import_module"})}

_DOWNLOADING = """
import json, sys, tempfile
import trio
from trio_norman import ServiceClient, Source, download_many
from trio_norman.emulator import open_emulator

deeds, watched = [], False
BAD = ("pickle.find_class", "marshal.load", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork",
       "os.startfile", "ctypes.dlopen", "code.__new__", "shutil.unpack_archive", "webbrowser.open")

def note(event, arguments):
    if not watched:
        return
    if event.startswith(BAD):
        deeds.append([event, repr(arguments)[:200]])
    elif event in ("exec", "compile", "import"):
        frame, ours = sys._getframe(1), False
        while frame is not None:
            ours = ours or "/importlib" in frame.f_code.co_filename or "<frozen importlib" in frame.f_code.co_filename
            frame = frame.f_back
        if event == "import":
            deeds.append([event, str(arguments[0])])
        elif not ours:
            deeds.append([event, repr(arguments)[:200]])

sys.addaudithook(note)

async def once(emulator, directory):
    evil = b"cos\\nsystem\\n(S'touch /tmp/owned'\\ntR."
    urls = [emulator.upload("evil.pickle", evil), emulator.upload("evil.py", b"import os; os.system('x')"),
            emulator.blob_url(3 << 20), emulator.blob_url(1000, reset=10, times=1)]
    sources = [Source.from_url(url, f"f{number}.pkl") for number, url in enumerate(urls)]
    async with download_many(sources, directory) as results:
        assert all([result.error is None async for result in results])
    async with ServiceClient(emulator.api_key, emulator.base_url).create_rest_client() as rest:
        async with rest.download_checkpoints(rest.iter_user_checkpoints(), directory, verify="archive") as results:
            assert all([result.error is None async for result in results])

async def main():
    global watched
    async with open_emulator(runs=1, checkpoints=2, size_bytes=5000) as emulator:
        with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as directory:
            await once(emulator, warm)  # imports that wait for their first use
            watched = True
            await once(emulator, directory)
            watched = False

trio.run(main)
json.dump(deeds, sys.stdout)
"""


def run_alone(program: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_SEC_14_downloads_execute_import_and_unpickle_nothing() -> None:
    """Under an audit hook: pickles, programs and archives are bytes."""
    assert run_alone(_DOWNLOADING) == []


@pytest.mark.parametrize(
    "deed", ["import pickle; pickle.loads(b'cos\\nsystem\\n.')", "__import__('os').system('true')"]
)
def test_SEC_14_the_hook_would_notice(deed: str) -> None:
    """Else the test above would prove nothing."""
    program = _DOWNLOADING.replace("            watched = False", f"            {deed}\n            watched = False")
    found = run_alone(program)
    assert found


DEEDS_OF_OURS = {
    "pickle.find_class": "import pickle; pickle.loads(b'cbuiltins\\nprint\\n.')",
    "os.system": "import os; os.system('true')",
    "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
    "exec": "exec('1')",
    "compile": "eval('1')",
    "marshal.loads": "import marshal; marshal.loads(b'N')",
    "import": "import fetched_by_nobody",
}


@pytest.mark.parametrize("event", DEEDS_OF_OURS)
@pytest.mark.parametrize("module", ["launch/_streams.py", "norman/_new.py", "cli/_main.py", "_lazily.py"])
def test_SEC_14_whatever_the_package_does_in_any_test_is_seen(event: str, module: str) -> None:
    """Each deed is noted that lines of the package do, and none that the emulator or a test does."""
    for place, is_seen in ((PACKAGE / module, True), (PACKAGE / "emulator" / "_new.py", False), (__file__, False)):
        deed = compile(DEEDS_OF_OURS[event], str(place), "exec")
        with suppress(ImportError):
            exec(deed, {"__name__": "deed"})
        assert any(each.startswith(f"{event} in ") for each in deeds) is is_seen
        deeds.clear()


async def test_SEC_14_a_command_that_executes_something_says_so(tmp_path: Path) -> None:
    """Else the silence of all the commands that tests run would prove nothing."""
    done = await trio.run_process(
        [sys.executable, "-c", f"exec(compile('eval(\"1\")', {str(PACKAGE / 'cli' / '_new.py')!r}, 'exec'))"],
        capture_stderr=True,
        env=Shell(tmp_path).environment(),
    )
    assert b"compile in " in done.stderr


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_SEC_14_the_source_knows_no_way_to_execute_data(path: Path) -> None:
    """No pickle but by its risk's name, no eval, no shell, no unpacking, anywhere in the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        allowed = ALLOWED.get(str(path.relative_to(PACKAGE)), frozenset())
        known = CALLS_ALLOWED.get(str(path.relative_to(PACKAGE)), frozenset())
        deeds = {name for name in modules if name in DEEDS or name.split(".")[0] in DEEDS}
        assert deeds <= allowed, ast.unparse(node)
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            is_regex = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "re"
            assert called not in CALLS - known or is_regex, f"{path.name}: {ast.unparse(node)}"


def test_SEC_12_archives_are_never_unpacked() -> None:
    """They are read against their own checksums at most."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "extractall" not in text
        assert ".extract(" not in text
        assert "unpack_archive" not in text
        assert "tarfile" not in text


# ---- luck


def test_SEC_19_names_do_not_follow_from_a_seed() -> None:
    """Whoever knows the state of `random` cannot guess the name of a file to come."""
    names = []
    for _ in range(2):
        random.seed(1)
        names += [passing_name("f", "part") for _ in range(3)]
    assert len(set(names)) == 6


def test_SEC_19_processes_share_no_luck() -> None:
    """After a fork, both draw other names and wait for other times, whatever they wait for."""
    ours, theirs = run_alone("from tests.security.forking import tell_of_both; tell_of_both()")
    assert ours["name"] != theirs["name"]
    assert set(ours["waits"]) == set(theirs["waits"]) == {"calls", "polls", "logins", "downloads"}
    for what, waits in ours["waits"].items():
        assert len(waits) == len(theirs["waits"][what]) >= 3
        assert not set(waits) & set(theirs["waits"][what]), what
