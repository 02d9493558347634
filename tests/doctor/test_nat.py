"""What a NAT does, found out from behind it on the virtual network."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.virtual_behaviour import BehaviourServer
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, Behaviour, NATKind, Packet, Verdict, VirtualHost, VirtualNetwork
from webrtc_py.doctor.nat import Dependence, NATBehaviour, discover
from webrtc_py.ice import stun
from webrtc_py.runtime.network import Address

SERVER = ("203.0.113.1", 3478)
NOTHING, BY_ADDRESS, BY_PORT = Dependence.NOTHING, Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT


def find_out(network: VirtualNetwork, host: VirtualHost, *servers: Address) -> NATBehaviour | None:
    async def main() -> NATBehaviour | None:
        return await discover(network.hosts[host.name], servers or [SERVER], 3.0)

    return run(main())


def behind(kind: NATKind | str, *, hairpin: bool = False) -> tuple[VirtualNetwork, VirtualHost]:
    network = VirtualNetwork(delay=0.02)
    BehaviourServer.on(network, "stun.example", "203.0.113.1", "203.0.113.2")
    return network, network.nat("router", "198.51.100.1", kind=kind, hairpin=hairpin).host("alice", "10.0.0.2")


@pytest.mark.parametrize(
    ("kind", "mapping", "filtering", "name"),
    [
        ("full cone", NOTHING, NOTHING, "a full cone NAT"),
        ("restricted", NOTHING, BY_ADDRESS, "a restricted cone NAT"),
        ("port restricted", NOTHING, BY_PORT, "a port-restricted cone NAT"),
        ("symmetric", BY_PORT, BY_PORT, "a symmetric NAT"),
    ],
)
def test_each_kind_of_nat_is_recognized(kind: str, mapping: Dependence, filtering: Dependence, name: str) -> None:
    found = find_out(*behind(kind))
    assert found is not None
    assert (found.mapping, found.filtering, found.kind, found.method) == (mapping, filtering, name, "RFC 5780")
    assert found.translated
    assert found.mapped[0] == "198.51.100.1"


@pytest.mark.parametrize("mapping", list(Behaviour))
@pytest.mark.parametrize("filtering", list(Behaviour))
def test_mapping_and_filtering_are_told_apart(mapping: Behaviour, filtering: Behaviour) -> None:
    network = VirtualNetwork()
    BehaviourServer.on(network, "stun.example", "203.0.113.1", "203.0.113.2")
    host = network.nat("router", "198.51.100.1", mapping=mapping, filtering=filtering).host("alice", "10.0.0.2")
    found = find_out(network, host)
    assert found is not None
    assert (found.mapping, found.filtering) == (str(mapping), str(filtering))
    assert found.is_symmetric == (mapping is not Behaviour.ENDPOINT_INDEPENDENT)


@pytest.mark.parametrize("hairpin", [True, False])
@pytest.mark.parametrize("kind", ["full cone", "port restricted"])
def test_hairpinning_is_seen(kind: str, hairpin: bool) -> None:
    found = find_out(*behind(kind, hairpin=hairpin))
    assert found is not None
    assert found.hairpin is hairpin


def test_a_host_on_the_internet_has_no_nat() -> None:
    network = VirtualNetwork()
    BehaviourServer.on(network, "stun.example", "203.0.113.1", "203.0.113.2")
    found = find_out(network, network.host("alice", "192.0.2.1"))
    assert found is not None
    assert not found.translated
    assert found.kind == "no NAT, and open"
    assert found.hairpin is None


def test_a_firewall_without_a_nat_is_one() -> None:
    network = VirtualNetwork()
    server = BehaviourServer.on(network, "stun.example", "203.0.113.1", "203.0.113.2")
    asked: set[Address] = set()

    def stateful(packet: Packet) -> Verdict | None:
        if packet.sender is server.host and packet.source not in asked:
            return DROP
        asked.add(packet.destination)
        return None

    network.tap(stateful)
    found = find_out(network, network.host("alice", "192.0.2.1"))
    assert found is not None
    assert (found.translated, found.filtering, found.kind) == (False, BY_PORT, "no NAT, but a firewall")


def test_the_tests_survive_loss() -> None:
    network, host = behind("restricted")
    network.set_path(host, network.hosts["stun.example"], loss=0.3)
    found = find_out(network, host)
    assert found is not None
    assert (found.mapping, found.filtering) == (NOTHING, BY_ADDRESS)


@pytest.mark.parametrize(
    ("kind", "mapping", "name"), [("full cone", NOTHING, "a cone NAT"), ("symmetric", BY_PORT, "a symmetric NAT")]
)
def test_two_plain_servers_are_compared(kind: str, mapping: Dependence, name: str) -> None:
    network = VirtualNetwork()
    network.stun_server("one.example", "203.0.113.1")
    network.stun_server("two.example", "203.0.113.2")
    host = network.nat("router", "198.51.100.1", kind=kind).host("alice", "10.0.0.2")
    found = find_out(network, host, SERVER, ("203.0.113.2", 3478))
    assert found is not None
    assert (found.mapping, found.filtering, found.kind) == (mapping, None, name)
    assert found.method == "2 servers compared"


def test_one_plain_server_shows_only_that_there_is_a_nat() -> None:
    network = VirtualNetwork()
    network.stun_server("one.example", "203.0.113.1")
    found = find_out(network, network.nat("router", "198.51.100.1").host("alice", "10.0.0.2"))
    assert found is not None
    assert (found.mapping, found.filtering, found.kind, found.method) == (None, None, "a NAT", "one server")


def test_a_server_that_only_says_it_can_is_not_believed() -> None:
    network, host = behind("restricted")
    server = BehaviourServer.on(network, "liar.example", "203.0.113.7", "203.0.113.8")
    server.obeys = False
    found = find_out(network, host, ("203.0.113.7", 3478))
    assert found is not None
    assert (found.mapping, found.filtering) == (NOTHING, None)
    server.other_is_dead = True
    network, host = behind("restricted")
    dead = BehaviourServer.on(network, "liar.example", "203.0.113.7", "203.0.113.8")
    dead.other_is_dead = True
    found = find_out(network, host, ("203.0.113.7", 3478))
    assert found is not None
    assert (found.mapping, found.filtering, found.method) == (None, None, "one server")


def test_silence_is_no_behaviour() -> None:
    network, host = behind("full cone")
    network.cut(host, network.hosts["stun.example"])
    assert find_out(network, host) is None


def test_ipv6_is_found_out_alike() -> None:
    network = VirtualNetwork()
    BehaviourServer.on(network, "stun.example", "2001:db8:1::1", "2001:db8:1::2")
    found = find_out(network, network.host("alice", "2001:db8::5"), ("2001:db8:1::1", 3478))
    assert found is not None
    assert found.kind == "no NAT, and open"


HOSTS = st.sampled_from(
    ["203.0.113.1", "203.0.113.2", "127.0.0.1", "0.0.0.0", "224.0.0.251", "2001:db8::1", "10.0.0.2"]
)
PLACES = st.tuples(HOSTS, st.sampled_from([0, 3478, 3479, 65535]))


@settings(max_examples=50)
@given(st.lists(st.tuples(PLACES, PLACES, st.booleans()), min_size=1, max_size=8), st.binary(max_size=40))
def test_servers_that_lie_cost_little_and_end_in_some_answer(
    answers: list[tuple[Address, Address, bool]], junk: bytes
) -> None:
    """Its own addresses, and those that it sees us at, are whatever it likes, each time something else."""
    network = VirtualNetwork()
    alice = network.host("alice", "192.0.2.1")

    async def main() -> None:
        sockets = [network.host("server", "203.0.113.1", "203.0.113.2").bind("203.0.113.1", 3478)]
        sockets.append(network.hosts["server"].bind("203.0.113.2", 3479))
        lies = itertools.cycle(answers)

        def lie(packet: Packet) -> None:
            if packet.sender is not alice or packet.data[:2] != b"\x00\x01":
                return
            mapped, other, is_whole = next(lies)
            attributes = {"XOR-MAPPED-ADDRESS": mapped, "OTHER-ADDRESS": other}
            answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, packet.data[8:20], attributes)
            data = stun.serialize(answer) if is_whole else bytes(answer)[:20] + junk
            network.inject(data, source=packet.destination, destination=packet.source)

        network.tap(lie)
        sent = []
        network.tap(lambda packet: sent.append(packet) if packet.sender is alice else None)
        started = asyncio.get_running_loop().time()
        found = await discover(alice, [SERVER], 1.0)
        assert asyncio.get_running_loop().time() - started <= 8
        assert found is None or found.kind
        assert len(sent) <= 8 * 4
        for socket in sockets:
            socket.close()

    run(main())
