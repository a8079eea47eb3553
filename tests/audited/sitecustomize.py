"""Watches that the package executes, unpickles and imports nothing that it fetched: in the suite, and in commands.

Python imports this module by itself where its folder is in ``PYTHONPATH``, as it is for the processes that tests start.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache
from pathlib import Path

_TESTS = str(Path(__file__).parents[1])
_PACKAGE = str(Path(__file__).parents[2] / "trio_norman") + os.sep
#: The emulator is the other side, and reads programs of the user's own.
_EXEMPT = (f"{_PACKAGE}emulator{os.sep}", f"{_PACKAGE}testing{os.sep}")
#: Unpickles results of endpoints where `unsafe_unpickle` asks for it.
_UNPICKLES = f"{_PACKAGE}launch{os.sep}_responses.py"

#: What other modules may do for us, so that whoever asked them is looked for.
_DEEDS = frozenset(
    {"pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"}
    | {"os.forkpty", "pty.spawn", "os.startfile", "ctypes.dlopen", "shutil.unpack_archive", "webbrowser.open"}
)
#: What libraries do to their own code all the time, so that only our own lines count.
_OF_OUR_OWN = frozenset({"exec", "compile", "code.__new__", "marshal.loads", "marshal.load", "import"})
_WATCHED = _DEEDS | _OF_OUR_OWN
_IMPORTING = "<frozen importlib"  # below these, a library minds its own business

#: What was done, and from where. Whoever finds something here fails.
deeds: list[str] = []


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Write down what the package should not do; nearly every event is none of that."""
    if event not in _WATCHED:
        return
    frame = sys._getframe().f_back  # none where the interpreter itself reads a program
    if event not in _OF_OUR_OWN:
        while frame is not None and not frame.f_code.co_filename.startswith((_TESTS, _PACKAGE, _IMPORTING)):
            frame = frame.f_back
    where = "" if frame is None else frame.f_code.co_filename
    if not where.startswith(_PACKAGE) or where.startswith(_EXEMPT):
        return
    if event == "import" and _is_installed(str(arguments[0]).partition(".")[0]):
        return
    if event == "pickle.find_class" and where == _UNPICKLES:
        return
    deeds.append(f"{event} in {where}: {arguments!r:.200}")
    if "pytest" not in sys.modules:
        os.write(2, f"{deeds[-1]}\n".encode())  # in a command there is nobody who could look


def _is_installed(name: str) -> bool:
    return name in sys.stdlib_module_names or name in _installed()


@cache
def _installed() -> frozenset[str]:
    names = {"trio_norman"}
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        names |= {entry.partition(".")[0] for entry in os.listdir(folder)}
    return frozenset(names)


sys.addaudithook(note)
