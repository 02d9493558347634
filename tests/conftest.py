"""What all tests share: Hypothesis' profiles, and what happens when a part of the system is missing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

# A slow machine that runs two things at once must not fail a property by its clock: pytest-timeout bounds each test.
settings.register_profile("test", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))

REQUIRE_ALL = bool(os.environ.get("CI") or os.environ.get("WEBRTC_PY_REQUIRE_ALL"))
"""Whether a test that is skipped is a failure: at a desk a missing part is no fault, in CI nobody would notice."""

# A skip whose reason starts so is one even in CI: the test says something about another kind of system.
NOT_APPLICABLE = "not applicable"


def _missing(part: str) -> str | None:
    """Why tests that need ``part`` cannot run here, or None."""
    if part == "chromium":
        return None if shutil.which("chromium") else "Chromium is not installed (apt-get install chromium)"
    if part == "coturn":
        return None if shutil.which("turnserver") else "coturn is not installed (apt-get install coturn)"
    if part == "ipv6":
        return None if _has_ipv6() else f"{NOT_APPLICABLE}: this host has no IPv6, not even on loopback"
    if part == "openssl":
        return None if shutil.which("openssl") else "the openssl program is not installed (apt-get install openssl)"
    if part == "pion":
        if shutil.which("go") and os.path.isdir("/usr/share/gocode/src/github.com/pion/webrtc"):
            return None
        return "Pion is not installed (apt-get install golang-go golang-github-pion-webrtc.v3-dev)"
    if part == "netns":
        if sys.platform != "linux" or os.geteuid() != 0:
            return "network namespaces need root on Linux"
        tools = [tool for tool in ("ip", "nft", "sysctl") if not shutil.which(tool)]
        return f"{' and '.join(tools)} not installed (apt-get install iproute2 nftables procps)" if tools else None
    raise pytest.UsageError(f"a test needs {part!r}, which is not one of chromium, coturn, ipv6, netns, openssl, pion")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            reason = _missing(part)
            if reason is not None:
                pytest.skip(reason)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs that the test starts listen to SIGINT, also where this one does not, as a shell's background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not REQUIRE_ALL or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(NOT_APPLICABLE):
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report
