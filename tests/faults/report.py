"""Which test stands for which row of the fault matrix: `python -m tests.faults.report` writes it to tests/FAULTS.md.

Nothing is imported or run for it. A test belongs to the row in its name (``test_B_01_one_reset`` to B-01) and to those
that ``@pytest.mark.rows("B-02")`` or the ``id="B-03"`` of one of its parameters names; the first line of its docstring
says the outcome. It may stand anywhere below tests/.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

TESTS = Path(__file__).parents[1]
MATRIX = Path(__file__).with_name("matrix.toml")
REPORT = TESTS / "FAULTS.md"
_ROW = re.compile(r"[A-Z]+3?-\d\d")
_WORTH_PARSING = re.compile(r"def test_[A-Z]+3?_\d\d_|mark\.rows\(|\bid=")
_NAME = re.compile(r"test_([A-Z]+3?)_(\d\d)_\w")

#: Why no test of a row takes the fixture `row`, which holds it to the invariants.
UNHELD = {"T-06": "known answers of a cipher: it asks nobody, and leaves nothing"}
#: Sections whose rows are no faults with one outcome: what they demand is looked for by tests of its own.
_DEMANDS = {"SEC"}

_INTRODUCTION = """\
# Every fault has one outcome

Made from the suite by `make faults`; what to do about a new fault stands in CONTRIBUTING.md. What the disk holds
afterwards: **D0** the final name as before, nothing new; **D1** the same, and one partial that can be taken up;
**D2** the file, complete and verified; **D3** the file that was there, untouched. Each row is also held to the
invariants at the top of `tests/faults/rows.py`, but for the demands (SEC) and for pure arithmetic (T-06). Where an
outcome differs from the one demanded of its row, the last line says how and why; {deviations} rows have such a line.
"""


@attrs.frozen
class Fault:
    """A row of the matrix."""

    row: str
    fault: str
    pending: bool = False
    later: str = ""  # what it comes with
    reason: str = ""  # why it cannot be tested where the suite runs
    deviates: str = ""  # how the outcome differs from what was demanded, and why

    @property
    def section(self) -> str:
        """The letters that its id begins with."""
        return self.row.rpartition("-")[0]


@attrs.frozen
class Case:
    """A test, the rows that it serves, and the outcome that it defends."""

    name: str
    path: str  # from tests/ on
    rows: tuple[str, ...]
    outcome: str
    is_held: bool = False  # to the invariants, by the fixture `row`


def read_matrix(text: str) -> tuple[dict[str, str], list[Fault]]:
    """Return the sections' titles and all rows, in order."""
    table = tomllib.loads(text)
    return table["sections"], [Fault(row, **fields) for row, fields in table["rows"].items()]


def cases_below(tests: Path) -> list[Case]:
    """Find all tests that serve a row."""
    texts = {path: path.read_text() for path in tests.rglob("test_*.py")}
    worth = {path: text for path, text in texts.items() if _WORTH_PARSING.search(text)}
    found = [case for path, text in worth.items() for case in cases_in(text, path, tests)]
    return sorted(found, key=lambda case: (case.path, case.name))


def cases_in(text: str, path: Path, tests: Path) -> Iterator[Case]:
    """Find the tests of one module that serve a row."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            named = _NAME.match(node.name)
            rows = [f"{named[1]}-{named[2]}"] if named else []
            rows += [row for mark in node.decorator_list for row in _marked(mark)]
            if rows:
                outcome = (ast.get_docstring(node) or "").partition("\n")[0]
                is_held = any(argument.arg == "row" for argument in node.args.args)
                yield Case(node.name, str(path.relative_to(tests)), tuple(rows), outcome, is_held)


def _marked(mark: ast.expr) -> Iterable[str]:
    kind = ast.unparse(mark.func) if isinstance(mark, ast.Call) else ""
    if isinstance(mark, ast.Call) and kind == "pytest.mark.rows":
        return [ast.literal_eval(each) for each in mark.args]
    if kind != "pytest.mark.parametrize":
        return []
    ids = [each.value for each in ast.walk(mark) if isinstance(each, ast.keyword) and each.arg == "id"]
    names = [str(each.value) for each in ids if isinstance(each, ast.Constant)]
    return [name for name in names if _ROW.fullmatch(name)]


def problems_of(faults: Sequence[Fault], cases: Sequence[Case]) -> list[str]:
    """Say which rows are not accounted for, or more than once, or not held, and which tests say nothing of use."""
    known = {fault.row for fault in faults}
    tested = {row for case in cases for row in case.rows}
    held = {row for case in cases if case.is_held for row in case.rows}
    problems = [f"{case.name}: there is no row {row}" for case in cases for row in case.rows if row not in known]
    problems += [f"{case.name}: its docstring does not say the outcome" for case in cases if not case.outcome]
    for fault in faults:
        excuses = sum([fault.pending, bool(fault.later), bool(fault.reason)])
        if fault.row in tested and excuses:
            problems.append(f"{fault.row} is tested: take its excuse out of matrix.toml")
        if fault.row not in tested and excuses != 1:
            problems.append(f"{fault.row} is not tested, and matrix.toml does not say why (once)")
        if fault.row in tested - held and fault.row not in UNHELD and fault.section not in _DEMANDS:
            problems.append(f"{fault.row}: no test of it takes the fixture `row`")
        if fault.row in held and fault.row in UNHELD:
            problems.append(f"{fault.row} is held to the invariants: take it out of UNHELD")
    return problems


def written(titles: Mapping[str, str], faults: Sequence[Fault], cases: Sequence[Case]) -> str:
    """Write the report."""
    tested = {row for case in cases for row in case.rows}
    rows = [fault for fault in faults if fault.row not in tested]
    counts = [
        f"{len(faults)} rows: {len(faults) - len(rows)} tested by {len(cases)} tests",
        f"{sum(bool(fault.reason) for fault in rows)} that cannot be tested where the suite runs",
        f"{sum(bool(fault.later) for fault in rows)} that come with their service",
        f"{sum(fault.pending for fault in rows)} pending.",
    ]
    lines = [_INTRODUCTION.format(deviations=sum(bool(fault.deviates) for fault in faults)), ", ".join(counts)]
    for section, title in titles.items():
        lines += ["", f"## {section}: {title}", "", "| Row | Fault | Tests and their outcomes |", "|---|---|---|"]
        lines += [_line(fault, cases) for fault in faults if fault.section == section]
    return "\n".join(lines) + "\n"


def _line(fault: Fault, cases: Sequence[Case]) -> str:
    mine = [case for case in cases if fault.row in case.rows]
    told = [f"[{case.name}]({case.path}): {case.outcome}" for case in mine]
    if not mine:
        excuse = fault.reason and f"not tested: {fault.reason}"
        told = [excuse or (fault.later and f"comes with {fault.later}") or "pending"]
    told += [f"*Differs from the demand:* {fault.deviates}."] * bool(fault.deviates)
    cells = (fault.row, fault.fault, "<br>".join(told))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def present_report() -> str:
    """Write the report of the suite as it is."""
    titles, faults = read_matrix(MATRIX.read_text())
    return written(titles, faults, cases_below(TESTS))


if __name__ == "__main__":
    REPORT.write_text(present_report())
