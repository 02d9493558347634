"""Both ends' NATs and firewalls by policy and by servers: agents connect where theory says so, and by its paths."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Iterator

import pytest

from .matrix import try_cells
from .meeting import GATHER_TIMEOUT, NO_PATH, Met, Outcome
from .theory import Cell, End, Expected, Policy, Servers, expect

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.realtime,
    pytest.mark.needs("netns", "coturn"),
    pytest.mark.timeout(600),
]

CELLS = [
    Cell(left, right, policy, servers)
    for policy, servers in itertools.product(Policy, Servers)
    for left, right in itertools.product(End, repeat=2)
]
# What a busy machine with many pairs of agents at a time may add to one of them, which is a matter of luck, and to half
# of them, which is not.
ALLOWANCE = 20.0
USUAL = 1.5


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory, tables: list[str]) -> dict[Cell, Met]:
    outcomes = asyncio.run(try_cells(CELLS, tmp_path_factory.mktemp("matrix")))
    tables.extend(_table(policy, servers, outcomes) for policy, servers in itertools.product(Policy, Servers))
    return outcomes


@pytest.mark.row("X-05", "ICE-27", "ICE-28", "ICE-34", "ICE-39", "TRN-01")
@pytest.mark.parametrize("servers", Servers)
@pytest.mark.parametrize("policy", Policy)
def test_agents_connect_where_theory_says_so(policy: Policy, servers: Servers, tried: dict[Cell, Met]) -> None:
    cells = [cell for cell in CELLS if (cell.policy, cell.servers) == (policy, servers)]
    wrong = [
        f"{cell}: {difference}\n{tried[cell].logs}"
        for cell in cells
        for difference in _differences(expect(cell), tried[cell])
    ]
    assert not wrong, "\n\n".join([f"{len(wrong)} differences", *wrong])
    late = [tried[cell].left.seconds - expect(cell).wait for cell in cells if expect(cell).types]
    assert not late or statistics.median(late) < USUAL


def _differences(expected: Expected, met: Met) -> Iterator[str]:
    left, right = (
        expected.types and tuple(map(str, expected.types)),
        expected.types and tuple(map(str, expected.types))[::-1],
    )
    for side, wanted, outcome in (("left", left, met.left), ("right", right, met.right)):
        if outcome.types != wanted:
            yield f"the {side} end has {outcome.types} and should have {wanted} ({outcome.reason})"
        limit = (expected.wait if wanted else NO_PATH + GATHER_TIMEOUT) + ALLOWANCE
        if outcome.seconds > limit:
            yield f"the {side} end took {outcome.seconds:.2f} s, and at most {limit:g} s were expected"


def _table(policy: Policy, servers: Servers, tried: dict[Cell, Met]) -> str:
    width = max(map(len, End)) + 2
    lines = [f"ICE with policy {policy}, {servers}: the controlling end (rows) and the controlled; path, seconds"]
    lines.append(" " * width + "".join(f"{end:>{width}}" for end in End))
    for left in End:
        outcomes = [tried[Cell(left, right, policy, servers)].left for right in End]
        lines.append(f"{left:<{width}}" + "".join(f"{_entry(outcome):>{width}}" for outcome in outcomes))
    return "\n".join(lines)


def _entry(outcome: Outcome) -> str:
    """The first letters of the types, and when."""
    return f"{outcome.types[0][0]}-{outcome.types[1][0]} {outcome.seconds:.2f}" if outcome.types else "-"
