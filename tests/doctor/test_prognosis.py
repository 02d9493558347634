"""What will and won't connect: the theory as a table."""

from __future__ import annotations

import pytest

from webrtc_py.doctor.findings import Finding, ServerFindings, Way
from webrtc_py.doctor.nat import Dependence, NATBehaviour
from webrtc_py.doctor.prognosis import advise, predict

MACHINE = (Finding("ipv4", True, "10.0.0.2"), Finding("ipv6", None, "no address"), Finding("udp", True, ""))
SERVER = ("203.0.113.9", 3478)
OURS = ("198.51.100.1", 20000)
ASKED = Way("udp", SERVER, reached=True, mapped=OURS)
GRANTED = Way("udp", SERVER, reached=True, mapped=OURS, relayed=("203.0.113.9", 50000))
SILENT = Way("udp", SERVER, problem="no answer within 3 s")
NOTHING, BY_ADDRESS, BY_PORT = Dependence.NOTHING, Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT


def outlook(*ways: Way, nat: NATBehaviour | None = None) -> list[str]:
    """The ways to peers with a public address, behind cones, behind port-restricted and behind symmetric NATs."""
    behaviours = () if nat is None else (nat,)
    prospects, _ = predict(MACHINE, [ServerFindings("turn:t", ways)], behaviours)
    return [one.way for one in prospects[1:5]]


def behaviour(mapping: Dependence | None, filtering: Dependence | None, *, translated: bool = True) -> NATBehaviour:
    return NATBehaviour(OURS, translated, mapping, filtering)


@pytest.mark.parametrize(
    ("mapping", "filtering", "direct"),
    [
        (NOTHING, NOTHING, "dddd"),
        (NOTHING, BY_ADDRESS, "dddd"),
        (NOTHING, BY_PORT, "ddd-"),
        (NOTHING, None, "ddd?"),
        (BY_ADDRESS, BY_ADDRESS, "dd--"),
        (BY_PORT, BY_PORT, "dd--"),
        (None, None, "dd??"),
    ],
)
@pytest.mark.parametrize("has_relay", [True, False])
def test_each_behaviour_meets_whom_it_can(
    mapping: Dependence | None, filtering: Dependence | None, direct: str, has_relay: bool
) -> None:
    otherwise = {"d": "direct", "-": "relay" if has_relay else "no", "?": "relay" if has_relay else "unknown"}
    nat = behaviour(mapping, filtering)
    assert outlook(GRANTED if has_relay else ASKED, nat=nat) == [otherwise[one] for one in direct]


def test_without_udp_everything_takes_the_relay() -> None:
    over_tls = Way("tls", SERVER, reached=True, relayed=("203.0.113.9", 50000))
    assert outlook(SILENT, over_tls) == ["relay"] * 4
    assert outlook(SILENT, Way("tcp", SERVER, reached=True)) == ["no"] * 4


def test_servers_that_are_not_reached_tell_nothing() -> None:
    assert outlook(SILENT) == ["unknown"]


@pytest.mark.parametrize(("hairpin", "way"), [(True, "direct"), (False, "no"), (None, "unknown")])
def test_peers_behind_the_same_nat_need_hairpinning(hairpin: bool | None, way: str) -> None:
    nat = NATBehaviour(OURS, True, NOTHING, BY_PORT, hairpin)
    prospects, _ = predict(MACHINE, [ServerFindings("stun:s", (ASKED,))], (nat,))
    assert next(one.way for one in prospects if "same NAT" in one.peer) == way


@pytest.mark.parametrize(
    ("ways", "nat", "said"),
    [
        ((ASKED,), behaviour(None, None), "Give a second server on another address"),
        ((ASKED,), behaviour(NOTHING, BY_PORT), "No relay was asked for"),
        (
            (Way("udp", SERVER, reached=True, relay_problem="it forbids it (403)"),),
            None,
            "to be had: it forbids it (403).",
        ),
        ((SILENT, Way("tcp", SERVER, reached=True)), None, "UDP does not get through, TCP does"),
        ((SILENT,), None, "No server was reached at all"),
    ],
)
def test_advice_follows_from_what_was_found(ways: tuple[Way, ...], nat: NATBehaviour | None, said: str) -> None:
    lines = advise(MACHINE, [ServerFindings("turn:t", ways)], () if nat is None else (nat,))
    assert any(said in line for line in lines)


def test_an_open_machine_needs_no_advice() -> None:
    assert advise(MACHINE, [ServerFindings("stun:s", (ASKED,))], (behaviour(NOTHING, NOTHING, translated=False),)) == ()
