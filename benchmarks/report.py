"""Interleaved runs, medians, and the table that the README carries."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks.peer import STACKS

Figure = TypeVar("Figure")


@dataclass(frozen=True)
class Options:
    """Runs of each stack for each figure, the length of a run, and how many are made of what is counted in a run."""

    stacks: Sequence[str]
    runs: int
    seconds: float
    count: int


@dataclass(frozen=True)
class Row:
    """One line of the table: for each stack that ran, the median of its runs, and the least and the largest."""

    what: str
    unit: str
    runs: Mapping[str, Sequence[float]]

    def __str__(self) -> str:
        cells = [self._cell(self.runs.get(stack, ())) for stack in STACKS]
        ours, theirs = (self.runs.get(stack) for stack in STACKS)
        ratio = f"{median(ours) / median(theirs):.2f}" if ours and theirs and median(theirs) else "-"
        return f"| {self.what} | {' | '.join(cells)} | {ratio} |"

    def _cell(self, runs: Sequence[float]) -> str:
        if not runs:
            return "-"
        middle, least, most = (_number(figure) for figure in (median(runs), min(runs), max(runs)))
        spread = f" ({least} - {most})" if len(runs) > 1 else ""
        return f"{middle} {self.unit}{spread}"


def _number(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"


HEADER = "| what | webrtc_py | aiortc | ratio |\n| --- | ---: | ---: | ---: |"


def interleaved(options: Options, measure: Callable[[str], Figure]) -> dict[str, list[Figure]]:
    """``measure(stack)`` for each stack in turn, ``runs`` times over."""
    measured: dict[str, list[Figure]] = {stack: [] for stack in options.stacks}
    for _ in range(options.runs):
        for stack in options.stacks:
            measured[stack].append(measure(stack))
    return measured


def figure_rows(measured: Mapping[str, Sequence[Any]], *figures: tuple[str, str, str]) -> list[Row]:
    """A row for each (attribute of what was measured, words for it, unit)."""
    return [
        Row(what, unit, {stack: [getattr(run, attribute) for run in runs] for stack, runs in measured.items()})
        for attribute, what, unit in figures
    ]


def machine() -> str:
    """The processor, the number of cores, the kernel and the interpreter, in one line."""
    try:
        information = Path("/proc/cpuinfo").read_text()
        processor = next(line.partition(":")[2].strip() for line in information.splitlines() if "model name" in line)
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def main(description: str | None, *questions: Callable[[Options], list[Row]]) -> None:
    """Ask each question, and print its rows as they come."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--stack", choices=STACKS, action="append", help="only this one (default: both)")
    parser.add_argument("--quick", action="store_true", help="one short run for each figure, to see that all works")
    arguments = parser.parse_args()
    stacks = arguments.stack or STACKS
    options = Options(stacks, 1, 2.0, 10) if arguments.quick else Options(stacks, 3, 5.0, 50)
    print(f"{machine()}\n\n{HEADER}", flush=True)
    for question in questions:
        for row in question(options):
            print(row, flush=True)
