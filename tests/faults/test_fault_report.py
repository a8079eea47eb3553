"""No row of the fault matrix is forgotten, and tests/FAULTS.md says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.report import (
    MATRIX,
    REPORT,
    TESTS,
    Case,
    Fault,
    cases_below,
    cases_in,
    present_report,
    problems_of,
    read_matrix,
    written,
)

TESTED = Case("test_B_01_x", "faults/test_x.py", ("B-01",), "Success. D2.", is_held=True)
FREE = Case("test_B_01_y", "faults/test_x.py", ("B-01",), "Success. D2.")


def test_every_row_is_tested_or_says_why_not() -> None:
    _, faults = read_matrix(MATRIX.read_text())
    assert problems_of(faults, cases_below(TESTS)) == []


def test_the_matrix_is_whole() -> None:
    titles, faults = read_matrix(MATRIX.read_text())
    assert len(faults) == 214
    assert {fault.section for fault in faults} == set(titles)
    assert all(fault.fault for fault in faults)


def test_the_report_is_up_to_date() -> None:
    assert REPORT.read_text() == present_report(), "run `make faults`"


@pytest.mark.parametrize(
    ("faults", "cases", "says"),
    [
        ([Fault("B-01", "x")], [], "B-01 is not tested"),
        ([Fault("B-01", "x", pending=True, reason="y")], [], "B-01 is not tested"),
        ([Fault("B-01", "x", pending=True)], [TESTED], "B-01 is tested: take"),
        ([Fault("B-01", "x", reason="y")], [TESTED], "B-01 is tested: take"),
        ([], [TESTED], "there is no row B-01"),
        ([Fault("B-01", "x")], [FREE], "B-01: no test of it takes the fixture `row`"),
        ([Fault("T-06", "x")], [Case("test_T_06_x", "p", ("T-06",), "y", is_held=True)], "take it out of UNHELD"),
        ([Fault("B-01", "x")], [Case("test_B_01_x", "p", ("B-01",), "", is_held=True)], "does not say the outcome"),
    ],
)
def test_what_is_not_accounted_for_is_named(faults: list[Fault], cases: list[Case], says: str) -> None:
    (problem,) = problems_of(faults, cases)
    assert says in problem


def test_one_test_of_several_is_enough_and_demands_need_none() -> None:
    demand = Case("test_SEC_01_x", "p", ("SEC-01",), "y")
    assert problems_of([Fault("B-01", "x"), Fault("SEC-01", "x")], [FREE, TESTED, demand]) == []


def test_rows_come_from_names_and_marks_anywhere_in_a_module() -> None:
    text = '''
@pytest.mark.rows("B-02", "SEC-16")
async def test_E3_01_words(row):
    """Success. D2.

    More.
    """
class TestX:
    @pytest.mark.rows("K-01")
    @pytest.mark.parametrize("x", [pytest.param(1, id="B-03"), pytest.param(2, id="b3")])
    def test_words(self): ...
def test_other(): ...
'''
    path = Path("tests/x/test_y.py")
    assert list(cases_in(text, path, Path("tests"))) == [
        Case("test_E3_01_words", "x/test_y.py", ("E3-01", "B-02", "SEC-16"), "Success. D2.", is_held=True),
        Case("test_words", "x/test_y.py", ("K-01", "B-03"), ""),
    ]


def test_the_report_shows_outcomes_and_excuses() -> None:
    faults = [Fault("B-01", "a|b"), Fault("B-02", "c", reason="no kernel"), Fault("B-03", "d", later="pushes")]
    text = written({"B": "Bodies"}, [*faults, Fault("B-04", "e", pending=True)], [TESTED])
    assert "4 rows: 1 tested by 1 tests, 1 that cannot" in text
    assert "| B-01 | a\\|b | [test_B_01_x](faults/test_x.py): Success. D2. |" in text
    assert "| B-02 | c | not tested: no kernel |" in text
    assert "| B-03 | d | comes with pushes |" in text
    assert "| B-04 | e | pending |" in text


def test_the_report_pairs_each_test_with_its_outcome_and_says_what_differs() -> None:
    cases = [
        Case(f"test_{name}", "x.py", ("B-01",), outcome) for name, outcome in (("a", "D0."), ("b", "D2."), ("c", "D0."))
    ]
    text = written({"B": "Bodies"}, [Fault("B-01", "f", deviates="D0, not D1"), Fault("B-02", "g")], cases)
    told = "[test_a](x.py): D0.<br>[test_b](x.py): D2.<br>[test_c](x.py): D0."
    assert f"| B-01 | f | {told}<br>*Differs from the demand:* D0, not D1. |" in text
    assert "1 rows have such a line" in text
    assert text.count("Differs") == 1
