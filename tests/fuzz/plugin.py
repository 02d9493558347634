"""``make fuzz``: the tests' properties, for longer.

Each property runs again and again, every time with examples of its own, until its share of FUZZ_SECONDS is over. The
first failure of a property ends its run, and Hypothesis keeps the example in .hypothesis for the next ``make test``.
"""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import settings

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "300"))

_share = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    # In CI Hypothesis draws the same examples each time, which is right for tests and useless here.
    settings.register_profile("fuzz", settings.get_profile("test"), derandomize=False)
    settings.load_profile("fuzz")
    config.option.markexpr = "hypothesis"


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        item.stash[_share] = FUZZ_SECONDS / len(session.items)
        item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + pyfuncitem.stash[_share]
    runs = 0
    while not runs or time.monotonic() < end:
        pyfuncitem.obj(**arguments)
        runs += 1
    pyfuncitem.add_report_section("call", "fuzz", f"{runs} runs")
    return True
