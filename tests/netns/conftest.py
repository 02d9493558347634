"""The lab that the tests of these modules share, and the tables that they leave behind."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.netns.calling", "tests.netns.meeting", "tests.netns.outages")

TABLES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def tables(request: pytest.FixtureRequest) -> list[str]:
    """Texts that are printed when all tests have run."""
    return request.config.stash.setdefault(TABLES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for table in config.stash.get(TABLES, []):
        terminalreporter.write_sep("-", table.partition("\n")[0])
        terminalreporter.write_line(table.partition("\n")[2])
