"""Which rows of checklist.txt have a test. Fails when one that must have a test has neither that nor a reason.

A test names its rows with ``@pytest.mark.row("STN-05", ...)``; a file of tests may name them in ``pytestmark``. The
marks are read from the source, so nothing has to be imported or run.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent


@dataclass
class Row:
    identity: str
    priority: str
    title: str
    reason: str = ""


def read_rows(text: str) -> dict[str, Row]:
    """The rows of a checklist. ValueError for a line that is none, and for a row that is there twice."""
    rows: dict[str, Row] = {}
    last: Row | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("  >") and last is not None:
            last.reason = line[3:].strip()
            continue
        identity, priority, title = line.split(" ", 2)
        if priority not in ("P0", "P1", "P2") or identity in rows:
            raise ValueError(f"line {number} is no new row: {line!r}")
        last = rows[identity] = Row(identity, priority, title)
    return rows


def read_marks(path: Path) -> Iterator[tuple[str, int]]:
    """The rows that a file of tests names, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "row":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, argument.lineno
                else:
                    yield ast.unparse(argument), argument.lineno


def check(rows: dict[str, Row], marks: dict[str, list[str]]) -> list[str]:
    """What is wrong, a line each."""
    wrong = [f"{places[0]}: there is no row {mark!r}" for mark, places in marks.items() if mark not in rows]
    for row in rows.values():
        if row.identity in marks:
            if row.reason:
                wrong.append(f"{row.identity} has a test now: take its reason out ({marks[row.identity][0]})")
        elif row.priority == "P0" and not row.reason:
            wrong.append(f"{row.identity} has neither a test nor a reason: {row.title}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", "-v", action="store_true", help="print the rows that have a test, too")
    options = parser.parse_args()
    rows = read_rows((TESTS / "checklist.txt").read_text())
    marks: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for identity, number in read_marks(path):
            marks[identity].append(f"{path.relative_to(TESTS.parent)}:{number}")
    wrong = check(rows, marks)
    if options.verbose:
        for row in rows.values():
            if row.identity in marks:
                print(f"with a test    {row.identity:11} {row.priority} {row.title}: {', '.join(marks[row.identity])}")
    for row in rows.values():
        if row.identity not in marks:
            print(
                f"without a test {row.identity:11} {row.priority} {row.title}" + f" [{row.reason}]" * bool(row.reason)
            )
    for priority in ("P0", "P1", "P2"):
        of_priority = [row for row in rows.values() if row.priority == priority]
        tested = sum(row.identity in marks for row in of_priority)
        reasoned = sum(row.identity not in marks and bool(row.reason) for row in of_priority)
        print(f"{priority}: {tested} of {len(of_priority)} rows have a test, {reasoned} are left out with a reason")
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
