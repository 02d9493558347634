"""Which local addresses are used."""

from __future__ import annotations

import pytest

from webrtc_py.ice.addresses import LocalAddress, local_addresses
from webrtc_py.runtime.network import Interface

LO = Interface("lo", ("127.0.0.1", "::1"))
ETH0 = Interface("eth0", ("192.0.2.1", "2001:db8::1", "fe80::1%eth0"))


def hosts(*interfaces: Interface, **more: object) -> list[str]:
    return [address.host for address in local_addresses(interfaces, **more)]  # type: ignore[arg-type]


@pytest.mark.row("ICE-06")
def test_loopback_only_on_request() -> None:
    assert hosts(LO) == []
    assert hosts(LO, include_loopback=True) == ["::1", "127.0.0.1"]
    assert hosts(LO, ETH0) == ["2001:db8::1", "192.0.2.1", "fe80::1%eth0"]


@pytest.mark.row("ICE-07")
@pytest.mark.parametrize("bad", ["fec0::1", "feff::1", "::192.0.2.9", "::ffff:192.0.2.9", "::", "0.0.0.0", "ff02::1"])
def test_addresses_that_must_not_be_offered(bad: str) -> None:
    assert hosts(Interface("eth0", (bad, "192.0.2.1"))) == ["192.0.2.1"]


@pytest.mark.row("ICE-08")
def test_a_private_address_hides_the_one_made_of_the_card() -> None:
    tracking, private, elsewhere = "2001:db8::211:22ff:fe33:4455", "2001:db8::1234", "2001:db8:1::211:22ff:fe33:4455"
    assert hosts(Interface("eth0", (tracking, private))) == [private]
    assert hosts(Interface("eth0", (tracking, elsewhere))) == [tracking, elsewhere]


@pytest.mark.row("ICE-08")
def test_a_temporary_address_hides_the_one_made_of_the_card_and_precedes_the_others() -> None:
    tracking, fixed, temporary = "2001:db8::211:22ff:fe33:4455", "2001:db8::1", "2001:db8::1234:5678:9abc:def0"
    addresses = (tracking, fixed, temporary)
    assert hosts(Interface("eth0", addresses, temporary=frozenset({temporary}))) == [temporary, fixed]
    # One that looks as if it were made of a card may be drawn at random, too.
    assert hosts(Interface("eth0", (fixed, tracking), temporary=frozenset({tracking}))) == [tracking, fixed]


@pytest.mark.row("ICE-08")
def test_addresses_of_two_interfaces_are_judged_apart() -> None:
    tracking, private = "2001:db8::211:22ff:fe33:4455", "2001:db8::1234"
    assert set(hosts(Interface("eth0", (tracking,)), Interface("eth1", (private,)))) == {tracking, private}


def test_a_filter_comes_before_the_choice_among_addresses() -> None:
    tracking, private = "2001:db8::211:22ff:fe33:4455", "2001:db8::1234"
    assert hosts(Interface("eth0", (tracking, private)), ip_filter=lambda host: host != private) == [tracking]


def test_a_deprecated_address_is_used_only_where_there_is_no_other() -> None:
    old, new, elsewhere = "2001:db8::1", "2001:db8::2", "2001:db8:1::1"
    deprecated = frozenset({old, elsewhere})
    assert hosts(Interface("eth0", (old, new, elsewhere), deprecated=deprecated)) == [new, elsewhere]


@pytest.mark.row("DST-01")
def test_families_take_turns() -> None:
    v4 = tuple(f"192.0.2.{n}" for n in range(1, 6))
    v6 = tuple(f"2001:db8::{n}" for n in range(1, 6))
    found = hosts(Interface("eth0", v4 + v6))
    families = "".join("6" if ":" in host else "4" for host in found)
    assert sorted(found) == sorted(v4 + v6)
    assert "444" not in families
    assert "666" not in families


@pytest.mark.row("DST-02")
def test_tunnels_and_bridges_come_last() -> None:
    docker, tunnel = Interface("docker0", ("172.17.0.1",)), Interface("wg0", ("10.8.0.1",))
    assert hosts(docker, tunnel, ETH0, use_ipv6=False)[-2:] == ["172.17.0.1", "10.8.0.1"]


@pytest.mark.row("DST-02")
def test_filters() -> None:
    assert hosts(LO, ETH0, interface_filter=lambda name: name == "eth1") == []
    assert hosts(ETH0, ip_filter=lambda host: host != "192.0.2.1") == ["2001:db8::1", "fe80::1%eth0"]
    assert hosts(ETH0, ip_filter=lambda host: host == "fe80::1") == ["fe80::1%eth0"]


@pytest.mark.row("DST-02")
def test_a_filter_that_raises_means_no(caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str) -> bool:
        raise RuntimeError("broken")

    assert hosts(LO, ETH0, interface_filter=broken) == []
    assert caplog.text.count("the interface filter raised for") == 1
    assert hosts(ETH0, ip_filter=broken) == []
    assert "the IP filter raised for 192.0.2.1" in caplog.text


@pytest.mark.row("DST-03")
def test_families_can_be_left_out() -> None:
    assert hosts(ETH0, use_ipv6=False) == ["192.0.2.1"]
    assert hosts(ETH0, use_ipv4=False) == ["2001:db8::1", "fe80::1%eth0"]


def test_link_local_addresses_are_not_announced() -> None:
    found = local_addresses([ETH0])
    assert [address.is_announced for address in found] == [True, True, False]
    assert LocalAddress("fe80::1%eth0", False).is_link_local
    assert {address.interface for address in found} == {"eth0"}


def test_an_address_on_two_interfaces_is_used_once() -> None:
    assert hosts(Interface("eth0", ("192.0.2.1",)), Interface("eth1", ("192.0.2.1",))) == ["192.0.2.1"]
