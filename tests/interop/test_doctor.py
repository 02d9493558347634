"""The doctor against a real coturn: every way to it, certificates, credentials, and RFC 5780 on two addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.real_loop import run_real
from webrtc_py.doctor import Dependence, Report, Way, examine
from webrtc_py.ice.url import parse_url
from webrtc_py.runtime.system_network import SystemNetwork

from .coturn import PASSWORD, USERNAME, Coturn, coturn

pytestmark = [pytest.mark.interop, pytest.mark.needs("coturn"), pytest.mark.realtime]

WAYS = ("udp", "tcp", "tls")
# Where something stays silent: the doctor waits for it in full, and twice.
SHORT = 4.0


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    with coturn("--listening-ip=127.0.0.2") as one:
        yield one


def diagnose(
    server: Coturn, url: str, *, password: str = PASSWORD, trusts: bool = True, timeout: float = 20.0
) -> Report:
    context = server.tls_context() if trusts else None
    parsed = parse_url(url, USERNAME, password)
    return run_real(examine(SystemNetwork(), [parsed], timeout=timeout, tls_context=context))


def way(report: Report, transport: str) -> Way:
    return next(one for one in report.servers[0].ways if one.transport == transport)


@pytest.mark.parametrize("transport", WAYS)
def test_each_way_gives_an_address_and_a_relay(server: Coturn, transport: str) -> None:
    is_secure = transport == "tls"
    timeout = SHORT if is_secure else 20.0
    report = diagnose(server, server.url("turns" if is_secure else "turn"), timeout=timeout)
    found = way(report, transport)
    assert found.reached, found.problem
    assert found.mapped is not None
    assert found.mapped[0] == "127.0.0.1"
    assert found.took is not None
    assert 0 < found.took < timeout
    assert found.relayed is not None, found.relay_problem
    assert 49152 <= found.relayed[1] <= 49999
    assert report.can_connect


def test_a_wrong_password_is_told_in_words(server: Coturn) -> None:
    report = diagnose(server, server.url(), password="wrong")
    assert "refuses the user name or the password" in way(report, "udp").relay_problem
    assert way(report, "udp").reached


def test_a_certificate_that_nobody_vouches_for_is_told_in_words(server: Coturn) -> None:
    assert "not trusted" in way(diagnose(server, server.url("turns"), trusts=False, timeout=SHORT), "tls").problem


def test_a_certificate_for_another_address_is_told_in_words(server: Coturn) -> None:
    assert "is for another address" in way(diagnose(server, server.url("turns", "127.0.0.2")), "tls").problem


def test_two_addresses_are_enough_for_rfc_5780(server: Coturn) -> None:
    report = diagnose(server, f"stun:127.0.0.1:{server.port}")
    behaviour = report.nat[0]
    assert behaviour.method == "RFC 5780"
    assert behaviour.mapping is Dependence.NOTHING
    assert behaviour.filtering is Dependence.NOTHING
    assert behaviour.kind == "no NAT, and open"
