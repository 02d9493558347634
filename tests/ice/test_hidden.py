"""Host addresses hidden behind names in .local, and rewritten ones: what the peer is told, and that it connects."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.errors import InvalidAccessError
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate, unmarshal_candidate
from webrtc_py.ice.rewrite import AddressRewriteRule, nat_1to1_rules
from webrtc_py.ice.url import ServerURL
from webrtc_py.states import CandidateType

HOST, SRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY
TURN = ServerURL("turn", "turn.example", 3478, "udp", "user", "secret")
HIDDEN = {"multicast_dns_mode": "query-and-gather"}
NAME = re.compile(r"[0-9a-f-]{36}\.local\Z")


class Told:
    """An agent and all that it tells."""

    def __init__(self, **options: Any) -> None:
        self.agent = Agent(AgentOptions(**options))
        self.candidates: list[Candidate] = []
        self.errors: list[Any] = []
        self.selected: list[Any] = []
        self.agent.on_candidate(lambda candidate: None if candidate is None else self.candidates.append(candidate))
        self.agent.on_candidate_error(self.errors.append)
        self.agent.on_selected_candidate_pair_change(lambda *pair: self.selected.append(pair))

    async def __aenter__(self) -> Told:
        await self.agent.gather_candidates()
        await self.agent.gathering_complete()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.close()

    def of(self, kind: CandidateType) -> list[Candidate]:
        return [candidate for candidate in self.candidates if candidate.type is kind]

    def everything(self) -> str:
        """In one text, to look for what must not be there."""
        agent = self.agent
        told = (self.candidates, self.errors, self.selected, agent.get_local_candidates())
        return (
            f"{told!r} {agent.get_candidate_pairs_stats()!r} {agent.get_selected_candidate_pair()!r} {agent.explain()}"
        )


def in_network(test: Callable[[VirtualNetwork], Coroutine[Any, Any, None]], **conditions: Any) -> None:
    run(test(VirtualNetwork(seed=1, **conditions)))


async def connect(one: Told, other: Told) -> None:
    for candidate in one.candidates:
        other.agent.add_remote_candidate(candidate)
    for candidate in other.candidates:
        one.agent.add_remote_candidate(candidate)
    one.agent.start(True, *other.agent.get_local_user_credentials())
    there = await other.agent.accept(*one.agent.get_local_user_credentials())
    there.send(b"hello")
    await asyncio.sleep(1)


# Names


@pytest.mark.row("MDN-01", "MDN-04")
def test_two_agents_that_hide_connect_and_tell_no_address() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "10.0.0.1", "fd00::1", "fe80::1")
        bob = network.host("bob", "10.0.0.2", "fd00::2", "fe80::2")
        async with Told(net=alice, **HIDDEN) as one, Told(net=bob, **HIDDEN) as other:
            assert len(one.candidates) == 2
            assert all(NAME.match(candidate.address) for candidate in one.candidates)
            assert len({candidate.address for candidate in one.candidates}) == 2
            assert unmarshalled(one) == one.candidates
            await connect(one, other)
            for end in (one, other):
                for address in ("10.0.0.", "fd00::", "fe80::"):
                    assert address not in end.everything()
                assert len(end.selected) == 1
                assert all(candidate.is_hidden for candidate in end.selected[0])

    in_network(test, delay=0.01)


def unmarshalled(told: Told) -> list[Candidate]:
    return [unmarshal_candidate(candidate.marshal()) for candidate in told.candidates]


@pytest.mark.row("MDN-01", "SDP-ICE-03")
def test_related_addresses_and_errors_hide_too() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        network.turn_server("turn.example", "192.0.2.4")
        alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.2")
        urls = ["stun:stun.example", TURN, "stun:192.0.2.99"]
        async with Told(net=alice, urls=urls, **HIDDEN) as told:
            [reflexive] = told.of(SRFLX)
            [relayed] = told.of(RELAY)
            assert reflexive.address == "198.51.100.1"
            assert (reflexive.related_address, reflexive.related_port) == ("0.0.0.0", 9)
            assert (relayed.related_address, relayed.related_port) == ("0.0.0.0", 9)
            assert [error.base for error in told.errors] == [None]
            assert "10.0.0.2" not in told.everything()

    in_network(test, delay=0.01)


@pytest.mark.row("MDN-01")
def test_a_public_address_is_told_as_what_a_server_sees() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        async with Told(net=network.host("alice", "192.0.2.1"), urls=["stun:stun.example"], **HIDDEN) as told:
            [host], [reflexive] = told.of(HOST), told.of(SRFLX)
            assert NAME.match(host.address)
            assert (reflexive.address, reflexive.port) == ("192.0.2.1", host.port)
            assert (reflexive.related_address, reflexive.related_port) == ("0.0.0.0", 9)

    in_network(test)


@pytest.mark.row("MDN-01")
def test_where_nobody_could_resolve_names_no_host_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.2")
        alice.has_multicast = False
        with caplog.at_level(logging.INFO, logger="webrtc_py.ice"):
            async with Told(net=alice, urls=["stun:stun.example"], **HIDDEN) as told:
                assert [candidate.type for candidate in told.candidates] == [SRFLX]
                assert "10.0.0.2" not in told.everything()
        assert "nobody could resolve their names" in caplog.text

    in_network(test)


def test_the_first_name_can_be_chosen_and_a_restart_keeps_the_names() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "10.0.0.1", "10.0.0.2")
        bob = network.host("bob", "10.0.0.3")
        options = {"multicast_dns_host_name": "alice-at-home.local", **HIDDEN}
        async with Told(net=alice, **options) as one, Told(net=bob) as other:
            first, second = (candidate.address for candidate in one.candidates)
            assert first == "alice-at-home.local"
            assert NAME.match(second)
            await connect(one, other)
            await one.agent.restart()
            await one.agent.gather_candidates()
            await one.agent.gathering_complete()
            assert [candidate.address for candidate in one.agent.get_local_candidates()] == [first, second]

    in_network(test)


def test_agents_that_were_given_one_name_share_it_until_the_last_has_gone() -> None:
    """As all connections of one ``SettingEngine`` are. A name stands for one address only."""

    async def test(network: VirtualNetwork) -> None:
        alice, bob = network.host("alice", "10.0.0.1"), network.host("bob", "10.0.0.3")
        options = {"net": alice, "multicast_dns_host_name": "alice-at-home.local", **HIDDEN}
        async with Told(**options) as first, Told(net=bob) as other:
            async with Told(**options) as second:
                assert [one.address for one in (*first.candidates, *second.candidates)] == ["alice-at-home.local"] * 2
            assert await other.agent.look_up("alice-at-home.local") == "10.0.0.1"
            alice.add_interface("wlan0", "10.0.0.2")
            async with Told(interface_filter=lambda name: name == "wlan0", **options) as elsewhere:
                [candidate] = elsewhere.candidates
                assert NAME.match(candidate.address)
        async with Told(net=bob) as other:
            assert await other.agent.look_up("alice-at-home.local") is None

    in_network(test)


@pytest.mark.parametrize("name", ["alice", "alice.home.local", "al ice.local", ".local"])
def test_a_name_that_nobody_could_look_up_is_refused(name: str) -> None:
    with pytest.raises(InvalidAccessError, match="one label"):
        AgentOptions(multicast_dns_host_name=name)


@pytest.mark.row("MDN-02")
def test_names_of_the_peer_are_left_alone_when_disabled() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice, bob = network.host("alice", "10.0.0.1"), network.host("bob", "10.0.0.2")
        async with Told(net=alice, multicast_dns_mode="disabled") as one, Told(net=bob, **HIDDEN) as other:
            sent = network.counters["sent"]
            one.agent.start(True, *other.agent.get_local_user_credentials())
            one.agent.add_remote_candidate(other.candidates[0])
            assert network.counters["sent"] == sent
            assert one.agent.get_remote_candidates() == []

    in_network(test)


# Rewritten addresses


def test_a_host_behind_a_static_nat_is_reached_at_the_outer_address() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.nat("cloud", "203.0.113.7", kind="full cone").host("alice", "10.0.0.2")
        bob = network.host("bob", "192.0.2.2")
        # The NAT's mapping is made by the first packet out: it has the same port, as a 1:1 NAT keeps it.
        rules = nat_1to1_rules(["203.0.113.7"])
        async with Told(net=alice, address_rewrite_rules=rules) as one, Told(net=bob) as other:
            assert [candidate.address for candidate in one.candidates] == ["203.0.113.7"]
            await connect(one, other)
            stats = one.agent.get_selected_candidate_pair_stats()
            assert stats is not None
            assert "10.0.0.2" not in other.everything()

    in_network(test, delay=0.01)


def test_a_mapped_address_that_the_peer_sees_is_the_candidate_told() -> None:
    """The check's answer names the outer address, and no peer-reflexive candidate is made of it."""

    async def test(network: VirtualNetwork) -> None:
        alice = network.nat("cloud", "203.0.113.7", kind="full cone").host("alice", "10.0.0.2")
        bob = network.host("bob", "192.0.2.2")
        seen = Told(net=alice)
        async with seen, Told(net=bob) as other:
            await connect(seen, other)
            outer = seen.agent.get_selected_candidate_pair_stats()
            assert outer is not None
            assert outer.local.type is CandidateType.PRFLX
            ports = {seen.candidates[0].port: outer.local.port}
        for kind in ("host", "srflx"):
            rule = AddressRewriteRule(["203.0.113.7"], as_candidate_type=kind, mode="append", ports=ports)
            port = seen.candidates[0].port
            options = {"address_rewrite_rules": [rule], "port_range": (port, port)}
            async with Told(net=alice, **options) as one, Told(net=bob) as other:
                assert [(c.address, c.type) for c in one.candidates] == [("10.0.0.2", HOST), ("203.0.113.7", kind)]
                assert len({candidate.priority for candidate in one.candidates}) == 2
                await connect(one, other)
                stats = one.agent.get_selected_candidate_pair_stats()
                assert stats is not None
                assert stats.local == one.candidates[1]
                assert (stats.local.address, stats.local.port) == ("203.0.113.7", ports[port])

    in_network(test, delay=0.01)


def test_an_appended_host_candidate_needs_no_second_socket() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "10.0.0.2")
        rule = AddressRewriteRule(["203.0.113.7", "203.0.113.8"], mode="append")
        async with Told(net=alice, address_rewrite_rules=[rule]) as told:
            assert [c.address for c in told.candidates] == ["10.0.0.2", "203.0.113.7", "203.0.113.8"]
            assert len({c.port for c in told.candidates}) == 1
            assert len({c.priority for c in told.candidates}) == 3
            assert len(alice.sockets) == 1

    in_network(test)


def test_replaced_reflexive_candidates_ask_no_server_and_no_rule_may_leave_none() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.stun_server("stun.example", "192.0.2.3")
        alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.2", "10.0.0.3")
        rules = [
            AddressRewriteRule(["203.0.113.7"], local="10.0.0.2", as_candidate_type="srflx", mode="replace"),
            AddressRewriteRule([], local="10.0.0.3", as_candidate_type="srflx", mode="replace"),
        ]
        options = {"net": alice, "urls": ["stun:stun.example"], "address_rewrite_rules": rules}
        sent = network.counters["sent"]
        async with Told(**options) as told:
            [reflexive] = told.of(SRFLX)
            assert (reflexive.address, reflexive.related_address) == ("203.0.113.7", "10.0.0.2")
            assert reflexive.port == reflexive.related_port
            assert network.counters["sent"] == sent
            assert len(told.of(HOST)) == 2
        assert server is not None

    in_network(test)


def test_appended_reflexive_candidates_stand_beside_those_of_servers() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.2")
        rules = nat_1to1_rules(["203.0.113.7"], "srflx")
        async with Told(net=alice, urls=["stun:stun.example"], address_rewrite_rules=rules) as told:
            assert {c.address for c in told.of(SRFLX)} == {"198.51.100.1", "203.0.113.7"}
            assert len({c.priority for c in told.candidates}) == 3

    in_network(test)


def test_a_relay_behind_a_nat_of_its_own() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4")
        alice = network.host("alice", "192.0.2.1")
        rule = AddressRewriteRule(["203.0.113.7"], local="192.0.2.4", as_candidate_type="relay", mode="replace")
        async with Told(net=alice, urls=[TURN], candidate_types=["relay"], address_rewrite_rules=[rule]) as told:
            [relayed] = told.candidates
            assert relayed.address == "203.0.113.7"

    in_network(test)


def test_interfaces_decide() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "10.0.0.2")
        alice.add_interface("wg0", "10.8.0.2")
        rules = [AddressRewriteRule(["203.0.113.7"], iface="eth0"), AddressRewriteRule([], iface="wg0")]
        async with Told(net=alice, address_rewrite_rules=rules) as told:
            assert [candidate.address for candidate in told.candidates] == ["203.0.113.7"]

    in_network(test)


@pytest.mark.parametrize(
    "options",
    [
        {"candidate_types": ["relay"], "address_rewrite_rules": nat_1to1_rules(["203.0.113.7"])},
        {"candidate_types": ["host"], "address_rewrite_rules": nat_1to1_rules(["203.0.113.7"], "srflx")},
        {"address_rewrite_rules": nat_1to1_rules(["203.0.113.7"]), **HIDDEN},
    ],
)
def test_rules_that_contradict_other_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidAccessError):
        AgentOptions(**options)


def test_a_hidden_host_is_hidden_over_tcp_too_and_is_reached() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1)
        options = {**HIDDEN, "network_types": ["tcp4"]}
        alice, bob = network.host("alice", "192.0.2.1"), network.host("bob", "192.0.2.2")
        async with Told(net=alice, **options) as one, Told(net=bob, **options) as other:
            for told, peer in ((one, other), (other, one)):
                assert {(one.transport, str(one.tcp_type)) for one in told.candidates} == {
                    ("tcp", "active"),
                    ("tcp", "so"),
                }
                assert all(NAME.match(one.address) for one in told.candidates)
                for candidate in told.candidates:
                    peer.agent.add_remote_candidate(unmarshal_candidate(candidate.marshal()))
            here, there = await asyncio.gather(
                one.agent.dial(*other.agent.get_local_user_credentials()),
                other.agent.accept(*one.agent.get_local_user_credentials()),
            )
            here.send(b"hello")
            assert await there.recv() == b"hello"
            assert "192.0.2.1" not in one.everything()

    run(main())


def test_rewritten_addresses_over_tcp_have_priorities_of_their_own() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1)
        rules = [AddressRewriteRule(external=["203.0.113.1", "203.0.113.2"], mode="append")]
        alice = network.host("alice", "10.0.0.1")
        async with Told(net=alice, network_types=["tcp4"], address_rewrite_rules=rules) as told:
            assert {one.address for one in told.candidates} == {"10.0.0.1", "203.0.113.1", "203.0.113.2"}
            assert len({one.priority for one in told.candidates}) == len(told.candidates) == 6

    run(main())
