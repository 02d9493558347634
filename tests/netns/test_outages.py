"""Calls in which networks fail, change and forget: they come through, in time, and no message is missing.

The outages need their own time, half a minute for some; so all of them happen at once, before the first test.
"""

from __future__ import annotations

import asyncio

import pytest

from .outages import SCENARIOS, Outage, Scenario, let_all_happen

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.realtime,
    pytest.mark.needs("netns", "coturn"),
    pytest.mark.timeout(300),
]

Outcomes = dict[str, Outage | BaseException]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, tables: list[str]) -> Outcomes:
    outcomes = asyncio.run(let_all_happen(tmp_path_factory.mktemp("outages")))
    tables.append(_table(outcomes))
    return outcomes


@pytest.mark.row("X-04", "ICE-41", "ICE-44", "CON-07")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_call_comes_through(scenario: Scenario, outcomes: Outcomes) -> None:
    outcome = outcomes[scenario.__name__]
    if isinstance(outcome, BaseException):
        raise outcome
    assert outcome.story


def _table(outcomes: Outcomes) -> str:
    lines = ["calls in which networks fail: longest silence; data again after the network; what the caller's end told"]
    for name, outcome in outcomes.items():
        what = (
            f"{outcome.silence:6.2f} s {outcome.resumed:6.2f} s  {outcome.story}"
            if isinstance(outcome, Outage)
            else f"{type(outcome).__name__}: {outcome}"
        )
        lines.append(f"{name.replace('_', ' '):30}{what}")
    return "\n".join(lines)
