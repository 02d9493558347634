"""Address rewrite rules: which one counts, and what it makes of an address."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.errors import ArgumentTypeError, InvalidAccessError
from webrtc_py.ice.rewrite import AddressRewriteRule, find_rule, nat_1to1_rules, told_addresses
from webrtc_py.states import AddressRewriteMode, CandidateType, NetworkType

HOST, SRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY
UDP4, UDP6, TCP4 = NetworkType.UDP4, NetworkType.UDP6, NetworkType.TCP4


def rule(external: str = "203.0.113.7", **more: Any) -> AddressRewriteRule:
    return AddressRewriteRule([external], **more)


def told(*rules: AddressRewriteRule, host: str = "10.0.0.2", port: int = 5000, iface: str = "eth0") -> list[str]:
    network = UDP6 if ":" in host else UDP4
    return [f"{a} {p}" for a, p in told_addresses(rules, HOST, (host, port), iface, network)]


def test_the_default_is_to_replace_a_host_address_and_to_append_others() -> None:
    assert rule().mode is AddressRewriteMode.REPLACE
    assert rule(as_candidate_type="srflx").mode is AddressRewriteMode.APPEND
    assert rule(as_candidate_type="relay").mode is AddressRewriteMode.APPEND
    assert told(rule()) == ["203.0.113.7 5000"]
    assert told(rule(mode="append")) == ["10.0.0.2 5000", "203.0.113.7 5000"]
    assert told() == ["10.0.0.2 5000"]


def test_only_the_address_family_of_the_local_address_is_concerned() -> None:
    both = AddressRewriteRule(["203.0.113.7", "2001:db8::7"])
    assert told(both) == ["203.0.113.7 5000"]
    assert told(both, host="fd00::2") == ["2001:db8::7 5000"]
    assert told(rule(), host="fd00::2") == ["fd00::2 5000"]


def test_nothing_external_takes_a_candidate_away() -> None:
    nothing = AddressRewriteRule([], cidr="10.0.0.0/8")
    assert told(nothing) == []
    assert told(nothing, rule()) == []
    assert told(nothing, host="192.168.0.2") == ["192.168.0.2 5000"]


def test_the_closest_rule_counts_and_of_equals_the_first() -> None:
    order = [
        rule("203.0.113.1"),
        rule("203.0.113.2"),
        rule("203.0.113.3", cidr="10.0.0.0/8"),
        rule("203.0.113.4", iface="eth0"),
        rule("203.0.113.5", iface="eth0", cidr="10.0.0.0/8"),
        rule("203.0.113.6", local="10.0.0.2"),
    ]
    for count, last in ((1, "1"), (2, "1"), (3, "3"), (4, "4"), (5, "5"), (6, "6")):
        assert told(*order[:count]) == [f"203.0.113.{last} 5000"]
        assert told(*reversed(order[:count]))[0] == ("203.0.113.2 5000" if count == 2 else told(*order[:count])[0])
    assert told(*order, host="10.0.0.3", iface="eth1") == ["203.0.113.3 5000"]
    assert told(*order, host="192.168.0.3", iface="eth1") == ["203.0.113.1 5000"]


def test_all_conditions_of_a_rule_must_hold() -> None:
    one = rule(local="10.0.0.2", iface="eth1")
    assert told(one) == ["10.0.0.2 5000"]
    assert told(one, iface="eth1") == ["203.0.113.7 5000"]
    assert find_rule([rule(networks=["tcp4"])], HOST, "10.0.0.2", "eth0", UDP4) is None
    assert find_rule([rule(networks=["tcp4"])], HOST, "10.0.0.2", "eth0", TCP4) is not None
    assert find_rule([rule()], SRFLX, "10.0.0.2", "eth0", UDP4) is None


def test_ports_of_a_container() -> None:
    mapped = rule(ports={range(50000, 50100): 40000, 5000: 30000})
    assert told(mapped) == ["203.0.113.7 30000"]
    assert told(mapped, port=50000) == ["203.0.113.7 40000"]
    assert told(mapped, port=50099) == ["203.0.113.7 40099"]
    assert told(mapped, port=50100) == ["203.0.113.7 50100"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"external": ["example.org"]},
        {"external": ["0.0.0.0"]},
        {"external": ["fe80::1%eth0"]},
        {"external": [], "mode": "append"},
        {"external": [], "as_candidate_type": "srflx"},
        {"external": ["203.0.113.7"], "local": "fd00::2"},
        {"external": ["203.0.113.7"], "local": "10.0.0.0/8"},
        {"external": ["203.0.113.7"], "cidr": "10.0.0/8/8"},
        {"external": ["203.0.113.7"], "as_candidate_type": "prflx"},
        {"external": ["203.0.113.7"], "ports": {0: 5}},
        {"external": ["203.0.113.7"], "ports": {5: 70000}},
        {"external": ["203.0.113.7"], "ports": {range(5, 50, 2): 7}},
        {"external": ["203.0.113.7"], "ports": {range(5, 5): 7}},
        {"external": ["203.0.113.7"], "ports": {range(1, 1000): 65000}},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidAccessError):
        AddressRewriteRule(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"external": "203.0.113.7"},
        {"external": None},
        {"networks": "udp4"},
        {"local": 5},
        {"iface": 5},
        {"cidr": 5},
        {"ports": 5},
    ],
)
def test_wrong_types_are_refused(wrong: dict[str, Any]) -> None:
    [(name, _)] = wrong.items()
    with pytest.raises(ArgumentTypeError, match=name):
        AddressRewriteRule(**{"external": ["203.0.113.7"], **wrong})


@pytest.mark.parametrize("wrong", [{"mode": "both"}, {"as_candidate_type": "nat"}, {"networks": ["sctp4"]}])
def test_unknown_words_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it is one of"):
        AddressRewriteRule(["203.0.113.7"], **wrong)


def test_the_short_form_for_a_nat() -> None:
    rules = nat_1to1_rules(["203.0.113.7", "203.0.113.8/10.0.0.3", "2001:db8::7"])
    assert told(*rules) == ["203.0.113.7 5000"]
    assert told(*rules, host="10.0.0.3") == ["203.0.113.8 5000"]
    assert told(*rules, host="fd00::2") == ["2001:db8::7 5000"]
    assert {one.as_candidate_type for one in nat_1to1_rules(["203.0.113.7"], "srflx")} == {SRFLX}


@pytest.mark.parametrize(
    ("ips", "kind"),
    [
        (["203.0.113.7", "203.0.113.8"], "host"),
        (["203.0.113.7/"], "host"),
        (["203.0.113.7/fd00::2"], "host"),
        (["203.0.113.7"], "relay"),
    ],
)
def test_the_short_form_is_checked(ips: Any, kind: str) -> None:
    with pytest.raises(InvalidAccessError):
        nat_1to1_rules(ips, kind)


def test_the_short_form_is_a_list() -> None:
    with pytest.raises(ArgumentTypeError):
        nat_1to1_rules("203.0.113.7")


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(ADDRESSES, st.integers(1, 65535), st.lists(ADDRESSES, max_size=4), st.sampled_from(["replace", "append"]))
def test_any_rule_tells_addresses_of_the_same_family(host: str, port: int, external: list[str], mode: str) -> None:
    try:
        one = AddressRewriteRule(external, mode=mode)
    except InvalidAccessError:
        return
    for address, number in told_addresses([one], HOST, (host, port), "eth0", UDP4):
        assert (":" in address) == (":" in host)
        assert number == port
