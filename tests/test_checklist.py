"""The script that compares the checklist with the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checklist import check, read_marks, read_rows

ROWS = """
# a comment
## ABC: a section
ABC-01 P0 must have a test
ABC-02 P0 is left out
  > for this reason
ABC-03 P1 may have a test
"""


def test_rows_are_read_with_their_reasons() -> None:
    rows = read_rows(ROWS)
    assert [(row.identity, row.priority, row.reason) for row in rows.values()] == [
        ("ABC-01", "P0", ""),
        ("ABC-02", "P0", "for this reason"),
        ("ABC-03", "P1", ""),
    ]


@pytest.mark.parametrize("line", ["ABC-04 PX no such priority", "ABC-01 P0 twice", "word"])
def test_a_line_that_is_no_row_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        read_rows(ROWS + line)


@pytest.mark.parametrize(
    ("marks", "wrong"),
    [
        ({"ABC-01": ["test_a.py:1"]}, ""),
        ({}, "ABC-01 has neither"),
        ({"ABC-01": ["test_a.py:1"], "ABC-09": ["test_a.py:2"]}, "no row 'ABC-09'"),
        ({"ABC-01": ["test_a.py:1"], "ABC-02": ["test_a.py:2"]}, "take its reason out"),
    ],
)
def test_what_is_wrong_is_found(marks: dict[str, list[str]], wrong: str) -> None:
    found = check(read_rows(ROWS), marks)
    assert found == [] if not wrong else wrong in "\n".join(found)


def test_marks_are_read_from_decorators_parameters_and_files(tmp_path: Path) -> None:
    path = tmp_path / "test_a.py"
    path.write_text(
        "import pytest\n"
        "pytestmark = pytest.mark.row('ABC-01')\n"
        "@pytest.mark.row('ABC-02', 'ABC-03')\n"
        "def test_a(): pass\n"
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.row('ABC-04'))])\n"
        "def test_b(x): pass\n"
    )
    assert sorted(mark for mark, _ in read_marks(path)) == ["ABC-01", "ABC-02", "ABC-03", "ABC-04"]
