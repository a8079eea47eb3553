"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from inspect import getdoc, ismodule
from pathlib import Path
from typing import Any

import attrs
import pytest

import trio_norman
from trio_norman import errors
from trio_norman._lazily import LENT, MODULES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trio_norman"
LONGEST_MODULE = 450  # lines
LONGEST_TREE = 600  # lines of the errors, which are one flat tree in one file
FILES = sorted(PACKAGE.rglob("*.py"))
of_each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))

#: Who may import whom, besides itself. What is not named here is a service, and services do not know each other.
SHARED = {"errors", "_lifetimes", "_version"}
LOWER = {
    "errors": {"_sansio"},
    "_sansio": {"errors"},
    "_lifetimes": set[str](),
    "_version": set[str](),
    "_lazily": set[str](),
    "_wire": {"_sansio"} | SHARED,
    "transfer": {"_wire", "_sansio"} | SHARED,
    "emulator": set[str](),  # what shared our parsers would agree with our mistakes
    "testing": {"emulator"},
}
OF_A_SERVICE = {"transfer", "_wire", "_sansio"} | SHARED
EXTRAS = {"cli", "emulator", "testing"}

#: What a decision must not know: other tasks, the network, the clock, luck, files, the environment.
IMPURE_MODULES = {
    *("trio", "httpx", "h11", "httpcore", "time", "random", "secrets", "uuid", "os", "pathlib", "shutil", "tempfile"),
    *("glob", "io", "socket", "ssl", "select", "subprocess", "threading", "multiprocessing", "logging", "sys"),
    *("urllib.request", "platform", "getpass"),
}
IMPURE_CALLS = {"now", "utcnow", "today", "open", "input", "print", "exec", "eval", "__import__"}


@attrs.frozen
class Imported:
    """One import: of which module, at which line, and whether it is there for type checkers only."""

    module: str
    line: int
    for_types: bool


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """Give the dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """Give the part of the package that a module belongs to; empty for the package itself."""
    return [*module.split("."), ""][1]


@cache
def imports_of(path: Path) -> tuple[Imported, ...]:
    """Give every import of a module, relative ones resolved, wherever in it they stand."""
    for_types = {
        id(inner)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and is_for_checkers(node)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    found = []
    for node in ast.walk(tree_of(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            origin = ".".join(each for each in (base, node.module) if each)
            # `from . import x` may name a module as well as something inside one
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names if is_module(f"{origin}.{alias.name}"))]
        found += [Imported(name, getattr(node, "lineno", 0), id(node) in for_types) for name in names]
    return tuple(found)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


# ---- imports go one way


@of_each_file
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(name_of(path))
    everything = {part_of(name_of(each)) for each in FILES}
    if part == "":
        allowed = everything - EXTRAS
    elif part == "cli":
        allowed = everything
    else:
        allowed = LOWER.get(part, OF_A_SERVICE) | {part}
    ours = [each for each in imports_of(path) if each.module.split(".")[0] == "trio_norman"]
    assert [each for each in ours if part_of(each.module) not in allowed] == []


def test_errors_know_nothing_but_what_may_be_shown() -> None:
    ours = {each.module for each in imports_of(PACKAGE / "errors.py") if each.module.startswith("trio_norman")}
    assert ours <= {"trio_norman._sansio", "trio_norman._sansio.redaction"}


@of_each_file
def test_only_the_wire_and_testing_know_the_http_libraries(path: Path) -> None:
    """The emulator is a server: it reads requests with h11, and asks for nothing."""
    part = part_of(name_of(path))
    known = {each.module.split(".")[0] for each in imports_of(path) if not each.for_types}
    if part not in {"_wire", "testing"}:
        assert known.isdisjoint({"httpx", "httpcore"} if part == "emulator" else {"httpx", "h11", "httpcore"})
    if part not in EXTRAS:
        assert known.isdisjoint({"rich", "cyclopts", "starlette", "hypercorn"})


@of_each_file
def test_there_is_no_other_event_loop_than_trios(path: Path) -> None:
    known = {each.module.split(".")[0] for each in imports_of(path)}
    assert known.isdisjoint({"asyncio", "anyio", "sniffio", "curio", "nest_asyncio", "trio_asyncio"})


@pytest.mark.parametrize("path", sorted((PACKAGE / "_sansio").rglob("*.py")), ids=lambda path: path.name)
def test_decisions_are_pure(path: Path) -> None:
    assert {each.module for each in imports_of(path)}.isdisjoint(IMPURE_MODULES)
    for node in ast.walk(tree_of(path)):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global), ast.unparse(node)
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            assert called not in IMPURE_CALLS, f"line {node.lineno}: {ast.unparse(node)}"


# ---- what is public


def is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def exported(module: str) -> list[str]:
    """Give the names that a package exports: each imported as itself, or listed in ``__all__``."""
    tree = tree_of(ROOT.joinpath(*module.split(".")) / "__init__.py")
    listed = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    late = [node for block in tree.body if is_for_checkers(block) for node in ast.iter_child_nodes(block)]
    imports = [node for node in [*tree.body, *late] if isinstance(node, ast.ImportFrom) and node.level]
    hooks = {"__getattr__", "__dir__"}
    aliases = [alias for node in imports for alias in node.names if alias.name not in hooks]
    if listed:
        assert sorted(listed[0]) == sorted(alias.name for alias in aliases)
        return [str(name) for name in listed[0]]
    assert [alias.name for alias in aliases] == [alias.asname for alias in aliases]
    return [alias.name for alias in aliases]


@pytest.mark.parametrize(
    "module",
    [
        "trio_norman",
        *(f"trio_norman.{part}" for part in ("rest", "norman", "launch", "transfer", "emulator", "testing")),
    ],
)
def test_exports_exist_once_and_are_documented(module: str) -> None:
    names = exported(module)
    assert len(names) == len(set(names)) > 0
    package = importlib.import_module(module)
    for name in names:
        thing = getattr(package, name)
        if getattr(thing, "__module__", "").startswith("trio_norman"):
            assert thing.__name__ == name
            assert (getdoc(thing) or "").strip()
    names.append("TYPE_CHECKING")
    public = {name for name in vars(package) if not name.startswith("_") and not ismodule(vars(package)[name])}
    assert public <= set(names)


def test_the_package_defines_nothing_itself() -> None:
    body = tree_of(PACKAGE / "__init__.py").body
    assert isinstance(body[0], ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) or is_for_checkers(node) for node in body[1:])


def test_names_are_imported_when_they_are_asked_for() -> None:
    late = [block for block in tree_of(PACKAGE / "__init__.py").body if is_for_checkers(block)]
    told = {
        (node.module, alias.name)
        for block in late
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lent = {(module, name) for module, names in LENT.items() for name in names}
    assert told == lent | {(None, name) for name in MODULES}
    program = (
        "import sys, trio_norman\n"
        "assert {each for each in sys.modules if each.startswith(('trio', 'httpx'))} == "
        "{'trio_norman', 'trio_norman._lazily', 'trio_norman._version'}\n"
        "for name in dir(trio_norman): assert getattr(trio_norman, name) is vars(trio_norman)[name]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert {name for _, name in told} <= set(dir(trio_norman))
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        getattr(trio_norman, "nothing_of_ours")  # noqa: B009 (type checkers know that there is none)


def test_a_name_that_several_packages_export_is_one_thing() -> None:
    things: dict[str, Any] = {}
    for module in ("trio_norman", "trio_norman.rest", "trio_norman.transfer"):  # each service has a `Model` of its own
        for name in exported(module):
            thing = getattr(importlib.import_module(module), name)
            assert things.setdefault(name, thing) is thing


def public_nodes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    """Give every public class, function and method of a module, not those inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not child.name.startswith("_"):
                yield f"{prefix}.{child.name}", child
                if isinstance(child, ast.ClassDef):
                    yield from public_nodes(child, f"{prefix}.{child.name}")
        elif isinstance(child, ast.If | ast.Try):
            yield from public_nodes(child, prefix)


@of_each_file
def test_everything_public_is_documented(path: Path) -> None:
    module = name_of(path)
    assert ast.get_docstring(tree_of(path)), module
    bare = [
        name
        for name, node in public_nodes(tree_of(path), module)
        if not ast.get_docstring(node)  # type: ignore[arg-type]
        and not any("overload" in ast.unparse(each) for each in getattr(node, "decorator_list", ()))
    ]
    assert bare == []


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn: list[tuple[int, str]] = []
    text = (errors.__doc__ or "").partition("::\n")[2]
    for line in text.splitlines():
        word = line.split()[0] if line.split() else ""
        if word.endswith("Error"):
            drawn.append((len(line) - len(line.lstrip()), word))
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert sorted(name for _, name in drawn) == sorted(kinds)
    for position, (depth, name) in enumerate(drawn):
        above = next((other for level, other in reversed(drawn[:position]) if level < depth), "Exception")
        assert above in [base.__name__ for base in kinds[name].__bases__], name
        assert issubclass(kinds[name], errors.TrioNormanError)
        doc = kinds[name].__doc__ or ""
        assert doc, name
        assert doc != kinds[name].__bases__[0].__doc__, f"{name} has no docstring of its own"


# ---- how a module looks


@of_each_file
def test_a_module_is_a_small_room(path: Path) -> None:
    longest = LONGEST_TREE if path == PACKAGE / "errors.py" else LONGEST_MODULE
    assert len(path.read_text().splitlines()) < longest


@of_each_file
def test_nothing_is_printed_asserted_or_left_to_be_done(path: Path) -> None:
    lines = path.read_text().splitlines()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "breakpoint"}:
            assert part_of(name_of(path)) == "cli", f"line {node.lineno} prints"
        if isinstance(node, ast.Assert):
            shown = lines[node.lineno - 1 : node.end_lineno]
            assert any("noqa: S101" in line for line in shown), f"line {node.lineno} asserts without saying why"
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    assert not [line for line in lines if any(word in line for word in words)]


# ---- importing it

_IMPORTING = """
import json, sys
before = set(sys.modules)
import attrs, cattrs, h11, httpx, trio  # Trio asks ldconfig for a library when it is imported
seen = []
def note(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "urllib.", "ftplib.", "http.")):
        seen.append([event, repr(arguments)])
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        seen.append([event, str(arguments[0]), str(arguments[1])])
sys.addaudithook(note)
import trio_norman
modules = sorted(set(sys.modules) - before)
import importlib, pkgutil
rooms = [each.name for each in pkgutil.walk_packages(trio_norman.__path__, "trio_norman.") if "._" not in each.name]
for name in rooms:  # the package itself imports next to nothing before it is asked
    importlib.import_module(name)
found = {"seen": seen, "modules": modules, "rooms": rooms, "prefixes": [*sys.path, sys.prefix]}
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def importing() -> dict[str, Any]:
    """What happens while the package is imported in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORTING], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


@pytest.mark.rows("SEC-20")
def test_importing_touches_no_network_and_no_files_but_packages(importing: dict[str, Any]) -> None:
    """No socket, no process, no file but modules, whichever public package is imported."""
    assert {"rest", "norman", "launch", "transfer", "cli", "emulator", "testing"} <= {
        name.partition(".")[2] for name in importing["rooms"]
    }
    prefixes = (str(PACKAGE), *(str(Path(prefix).resolve()) for prefix in importing["prefixes"] if prefix))
    strange = []
    for event, *arguments in importing["seen"]:
        is_reading = event == "open" and arguments[1] in {"r", "rb", "None"}
        # The interpreter writes its own cache of compiled modules.
        is_cache = event == "open" and "__pycache__" in arguments[0]
        if not is_cache and not (is_reading and str(Path(arguments[0]).resolve()).startswith(prefixes)):
            strange.append([event, *arguments])
    assert strange == []


def test_importing_brings_in_the_core_dependencies_alone(importing: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted, closure = list(project["dependencies"]), {"trio-norman"}
    while wanted:
        name = distribution_name(wanted.pop())
        if name not in closure:
            closure.add(name)
            wanted += [each for each in metadata.requires(name) or () if "extra ==" not in each and is_installed(each)]
    owners = metadata.packages_distributions()
    loaded = {module.split(".")[0] for module in importing["modules"]} - set(sys.stdlib_module_names)
    foreign = {
        module
        for module in loaded
        if module in owners and {distribution_name(each) for each in owners[module]}.isdisjoint(closure)
    }
    assert foreign == set()
    assert loaded.isdisjoint({"rich", "cyclopts", "starlette", "hypercorn", "pytest", "hypothesis"})


def distribution_name(requirement: str) -> str:
    """Give the name in a requirement, as package indexes compare it."""
    name = "".join(each if each.isalnum() or each in "-_." else " " for each in requirement).split()[0]
    return name.lower().replace("_", "-").replace(".", "-")


def is_installed(requirement: str) -> bool:
    try:
        metadata.distribution(distribution_name(requirement))
    except metadata.PackageNotFoundError:
        return False
    return True


def test_the_version_is_said_once() -> None:
    assert trio_norman.__version__ == metadata.version("trio-norman")
