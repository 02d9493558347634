"""What strangers, eavesdroppers and hostile peers can do to whole agents: little, and here is how little.

Each test says in numbers what an attack may cost: datagrams, pairs, sockets, tasks, memory, lines in the log.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.ice.agent_pair import TURN, Pair
from tests.support.virtual_loop import run
from tests.support.virtual_network import Packet, VirtualNetwork
from webrtc_py.ice import mdns_message, stun
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.mux import UDPMux
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.runtime.network import Address
from webrtc_py.states import CandidateType, ICETransportState, MulticastDNSMode
from webrtc_py.train import Train

EVIL = "203.0.113.66"
LITE = {"lite": True, "candidate_types": ("host",)}
CONNECTED = (ICETransportState.CONNECTED, ICETransportState.COMPLETED)


def attack(test: Callable[[VirtualNetwork], Coroutine[Any, Any, None]], **conditions: Any) -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, **{"delay": 0.005} | conditions)
        network.host("alice", "192.0.2.1")
        network.host("bob", "192.0.2.2")
        await test(network)

    run(main(), timeout_virtual=10_000)


@contextmanager
def grows_by_less_than(octets: int) -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < octets, f"{grown} octets more than before"


class Sent:
    """Counts what a host sends while it is looked at: datagrams, octets, and where they go."""

    def __init__(self, network: VirtualNetwork, host: str) -> None:
        self.to: Counter[str] = Counter()
        self.octets: Counter[str] = Counter()
        self._host = network.hosts[host]
        network.tap(self._see)

    def _see(self, packet: Packet) -> None:
        if packet.sender is self._host:
            self.to[packet.destination[0]] += 1
            self.octets[packet.destination[0]] += len(packet.data)

    def clear(self) -> None:
        self.to.clear()
        self.octets.clear()


def check_for(agent: Agent, peer: Agent | str, number: int = 0, pwd: str = "", **more: Any) -> bytes:
    """A check for ``agent``, which is the controlled one unless it is said otherwise."""
    ufrag, right = agent.get_local_user_credentials()
    name = peer if isinstance(peer, str) else peer.get_local_user_credentials()[0]
    return stun.binding_request(
        number.to_bytes(12, "big"),
        username=f"{ufrag}:{name}",
        key=(pwd or right).encode(),
        **{"priority": 2**31 - 1, "controlling": True, "tie_breaker": 2**64 - 1, "use_candidate": True} | more,
    )


def where(agent: Agent) -> Address:
    candidate = agent.get_local_candidates()[0]
    return candidate.address, candidate.port


async def talk(here: Conn, there: Conn) -> None:
    here.send(b"\x80still there?")
    assert await asyncio.wait_for(there.recv(), 5) == b"\x80still there?"
    there.send(b"\x80still here")
    assert await asyncio.wait_for(here.recv(), 5) == b"\x80still here"


def state_of(agent: Agent) -> tuple[object, ...]:
    """What nobody but the peer may change."""
    core = agent._in_use.core
    pairs = [(str(pair), pair.state, pair.nominated, pair.peer_is_there, pair.requests_received) for pair in core.pairs]
    return agent.connection_state, agent.role, core.tie_breaker, agent.get_selected_candidate_pair(), pairs


# Strangers


@pytest.mark.row("ICE-53", "CON-08")
@pytest.mark.parametrize("kind", ["own socket", "mux", "lite"])
def test_ten_thousand_requests_of_strangers(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """They get no answer, change nothing, leave nothing behind and are not worth a line."""

    async def test(network: VirtualNetwork) -> None:
        mux = await UDPMux.listen("192.0.2.2", net=network.hosts["bob"])
        own = {"mux": {"udp_mux": mux}, "lite": LITE}.get(kind, {})
        async with Pair(network, {}, own) as pair:
            here, there = await pair.connect()
            await asyncio.sleep(10)
            target, peer = where(pair.other), where(pair.one)
            sent, before = Sent(network, "bob"), state_of(pair.other)
            caplog.clear()
            with caplog.at_level(logging.INFO, "webrtc_py"), grows_by_less_than(50_000):
                for number in range(5000):
                    forged = check_for(pair.other, pair.one, number, "not the password")
                    network.inject(forged, source=(EVIL, 1000 + number), destination=target)
                    network.inject(forged, source=peer, destination=target)
                    if number % 500 == 0:
                        await asyncio.sleep(0.001)
                await asyncio.sleep(0.01)
                assert caplog.records == []
            assert sent.to[EVIL] == 0
            assert sent.to.total() <= 2, "its own consent, if that was due"
            assert state_of(pair.other)[:4] == before[:4]
            assert len(pair.other.get_candidate_pairs_stats()) == 1
            await talk(here, there)
        mux.close()

    attack(test)


@pytest.mark.row("ICE-25", "ICE-55", "CON-03", "STN-12")
def test_forged_answers_to_everything_that_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody sees all requests, answers each before the peer does, in its name, and cannot sign."""

    async def test(network: VirtualNetwork) -> None:
        forged = 0

        def forge(packet: Packet) -> None:
            nonlocal forged
            if packet.sender is None or packet.data[:2] != b"\x00\x01":
                return
            transaction_id = packet.data[8:20]
            answers = [stun.binding_success(transaction_id, mapped_address=(EVIL, 1), key=b"guess")]
            answers += [stun.binding_error(transaction_id, code=code, key=b"guess") for code in (400, 487, 420)]
            for answer in answers:
                forged += 2
                network.inject(answer, source=packet.destination, destination=packet.source)
                network.inject(answer, source=(EVIL, 1), destination=packet.source)

        network.tap(forge)
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await asyncio.sleep(60)
            assert forged > 400
            assert (pair.one.role, pair.other.role) == ("controlling", "controlled")
            for agent in (pair.one, pair.other):
                assert agent.connection_state in CONNECTED
                assert len(agent.get_candidate_pairs_stats()) == 1
            await talk(here, there)

    attack(test)
    assert len(caplog.records) < 50


@pytest.mark.row("ICE-56", "ICE-53")
def test_everything_that_was_captured_is_sent_again_from_elsewhere() -> None:
    """The eavesdropper gets answers, one for each check, and our own checks until it has failed to answer those."""

    async def test(network: VirtualNetwork) -> None:
        captured: list[Packet] = []
        untap = network.tap(lambda packet: captured.append(packet) if packet.sender else None)
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await talk(here, there)
            await asyncio.sleep(10)
            untap()
            before = pair.one.get_selected_candidate_pair(), pair.other.get_selected_candidate_pair()
            roles = pair.one.role, pair.other.role
            sent = Sent(network, "bob")
            rounds = 50
            for number in range(rounds):
                for packet in captured:
                    source = (EVIL, 1000 + number)
                    network.inject(packet.data, source=source, destination=packet.destination)
                    network.inject(packet.data, source=packet.source, destination=packet.destination)
                await asyncio.sleep(0.2)
            checks = sum(packet.data[:2] == b"\x00\x01" for packet in captured)
            replayed = rounds * sum(len(packet.data) for packet in captured)
            assert sent.to[EVIL] <= rounds * checks + 20 * 14
            assert sent.octets[EVIL] < replayed
            assert (pair.one.get_selected_candidate_pair(), pair.other.get_selected_candidate_pair()) == before
            assert (pair.one.role, pair.other.role) == roles
            await talk(here, there)
            await asyncio.sleep(150)
            assert len(pair.other.get_candidate_pairs_stats()) == 1, "and the stranger is forgotten"
            await talk(here, there)

    attack(test)


# A hostile peer: it has the passwords


@pytest.mark.row("ICE-54")
def test_a_peer_floods_us_with_checks_from_ten_thousand_ports() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            target, sent = where(pair.other), Sent(network, "bob")
            flood = 0
            with grows_by_less_than(300_000):
                for number in range(10_000):
                    data = check_for(pair.other, pair.one, number)
                    flood += len(data)
                    network.inject(data, source=(EVIL, 1000 + number), destination=target)
                    if number % 100 == 0:
                        await asyncio.sleep(0.05)
                await asyncio.sleep(1)
            assert sent.to[EVIL] <= 10_000 + 20 * 14
            assert sent.octets[EVIL] < flood, "no amplification"
            assert len(pair.other.get_candidate_pairs_stats()) <= 21
            assert len(pair.other._in_use.core.remote_candidates) <= 21
            await talk(here, there)

    attack(test)


@pytest.mark.row("ICE-54")
def test_a_peer_trickles_ten_thousand_candidates() -> None:
    """Addresses, names, TCP, other generations: checks are bounded by the pairs, questions by the names."""

    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.50")
        own = {"urls": [TURN], "network_types": ("udp4", "udp6", "tcp4", "tcp6")}
        async with Agent(AgentOptions(net=network.hosts["alice"], **own)) as agent:
            await agent.gather_candidates()
            await agent.gathering_complete()
            agent.start(True, "evil", "p" * 22)
            sent = Sent(network, "alice")
            with grows_by_less_than(1_000_000):
                for number in range(10_000):
                    host = f"203.0.{number // 250 % 250}.{number % 250}"
                    kinds: tuple[tuple[str, str, Any], ...] = (
                        ("udp", host, None),
                        ("udp", f"name-{number}.local", None),
                        ("tcp", host, "passive"),
                        ("tcp", host, "so"),
                    )
                    transport, address, tcp_type = kinds[number % 4]
                    extensions = (("ufrag", f"other{number}"),) if number % 16 > 11 else ()
                    candidate = Candidate("1", 1, transport, 2**30 + number, address, 4000, CandidateType.HOST)
                    agent.add_remote_candidate(replace(candidate, tcp_type=tcp_type, extensions=extensions))
                    if number % 50 == 0:
                        await asyncio.sleep(0.2)
                assert len(agent.get_candidate_pairs_stats()) <= 100
                assert len(agent.get_remote_candidates()) <= 100
                assert len(agent._ahead.candidates) <= 100
                assert len(asyncio.all_tasks()) <= 32 + 32 + 20
                assert len(network.hosts["alice"].streams) <= 32
            await asyncio.sleep(120)
            multicast = sum(sent.to[group] for group in ("224.0.0.251", "ff02::fb"))
            relayed = sent.to["192.0.2.50"]
            assert multicast <= 2 * 3 * (100 + 16)
            assert sent.to.total() - multicast - relayed <= 7 * 100
            # A permission and its renewals for each host that is checked, and the checks themselves.
            assert relayed <= 9 * 100

    attack(test)


def test_names_that_are_trickled_for_an_hour_ask_the_local_network_little() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            sent = Sent(network, "alice")
            pair.other.on_candidate(lambda candidate: candidate and pair.one.add_remote_candidate(candidate))
            here, there = await pair.connect()
            for number in range(3600):
                pair.one.add_remote_candidate(
                    Candidate("1", 1, "udp", 1, f"printer-{number}.local", 631, CandidateType.HOST)
                )
                await asyncio.sleep(1)
            # A hundred names at once, and one in ten seconds after that; each is asked for three times.
            assert sent.to["224.0.0.251"] <= 3 * (100 + 360)
            await talk(here, there)

    attack(test)


def test_a_peer_that_cycles_through_addresses_fills_no_table() -> None:
    """It signals a port, makes a check from there, and refuses ours: so its candidates go and others come, for ever."""

    async def test(network: VirtualNetwork) -> None:
        evil = network.host("evil", EVIL)
        async with Pair(network, {"continual_gathering": "continually"}) as pair:
            pair.other.on_candidate(lambda candidate: candidate and pair.one.add_remote_candidate(candidate))
            here, there = await pair.connect()
            agent, target = pair.one, where(pair.one)
            key = pair.other.get_local_user_credentials()[1].encode()
            socket = evil.bind(EVIL, 999)

            def refuse(packet: Packet) -> None:
                if packet.destination[0] == EVIL and packet.data[:2] == b"\x00\x01":
                    refusal = stun.binding_error(packet.data[8:20], code=400, key=key)
                    network.inject(refusal, source=packet.destination, destination=packet.source)

            network.tap(refuse)
            for number in range(1000):
                address = (EVIL, 2000 + number)
                agent.add_remote_candidate(Candidate("1", 1, "udp", 2**31 - 1, *address, CandidateType.HOST))
                network.inject(
                    check_for(agent, pair.other, number, controlling=False, use_candidate=False),
                    source=address,
                    destination=target,
                )
                await asyncio.sleep(0.05)
            assert len(agent.get_candidate_pairs_stats()) <= 100
            assert len(agent.get_remote_candidates()) <= 100
            for base in agent._in_use.bases():
                assert len(base.socket.claims) <= 201  # type: ignore[union-attr]
                assert len(base.socket.port._claims) <= 201  # type: ignore[union-attr]
            await talk(here, there)
            socket.close()

    attack(test)


def test_a_peer_that_claims_the_other_role_each_time_changes_no_path_and_fills_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await asyncio.sleep(5)
            path = pair.other.get_selected_candidate_pair()
            sent = Sent(network, "bob")
            caplog.clear()
            with caplog.at_level(logging.INFO, "webrtc_py"):
                for number in range(2000):
                    is_controlling = pair.other.role == "controlling"
                    network.inject(
                        check_for(
                            pair.other,
                            pair.one,
                            number,
                            controlling=is_controlling,
                            tie_breaker=2**64 - 1 if is_controlling else 0,
                            use_candidate=False,
                        ),
                        source=where(pair.one),
                        destination=where(pair.other),
                    )
                    await asyncio.sleep(0.006)
            told = [record for record in caplog.records if "both ends claimed" in record.getMessage()]
            assert 1 <= len(told) <= 10
            assert pair.other.get_selected_candidate_pair() == path
            assert sent.to.total() <= 2000 * 2 + 60
            assert pair.other.connection_state in CONNECTED
            await talk(here, there)

    attack(test)


@pytest.mark.parametrize("lite", [False, True])
def test_nominations_that_flap_cost_an_answer_each(lite: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The peer has two addresses, and cannot make up its mind."""

    async def test(network: VirtualNetwork) -> None:
        network.hosts["alice"].add_address("eth0", "192.0.2.11")
        own = LITE if lite else {"renomination": RenominationOptions()}
        async with Pair(network, {"renomination": RenominationOptions(automatic=False)}, own) as pair:
            here, there = await pair.connect()
            await asyncio.sleep(5)
            agent, target = pair.other, where(pair.other)
            ends = [(one.address, one.port) for one in pair.one.get_local_candidates()]
            changes: list[object] = []
            agent.on_selected_candidate_pair_change(lambda local, remote: changes.append(remote))
            sent = Sent(network, "bob")
            caplog.clear()
            with caplog.at_level(logging.INFO, "webrtc_py"), grows_by_less_than(300_000):
                for number in range(2000):
                    data = check_for(agent, pair.one, number, nomination=(stun.NOMINATION, 1000 + number))
                    network.inject(data, source=ends[number % 2], destination=target)
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.1)
                changes.clear()
            assert sent.to.total() <= 2000 * 1.2
            assert len(caplog.records) <= 10
            # Values that are old, and each of those that were said, from the other address.
            last = agent.get_selected_candidate_pair()
            for number in range(1999):
                data = check_for(agent, pair.one, 5000 + number, nomination=(stun.NOMINATION, 1000 + number))
                network.inject(data, source=ends[(number + 1) % 2], destination=target)
            await asyncio.sleep(0.1)
            assert agent.get_selected_candidate_pair() == last
            assert changes == []
            await talk(here, there)

    attack(test)


# Restarts


def test_a_thousand_restarts_that_come_to_nothing() -> None:
    """Each begins a generation that the peer never speaks in: the path stays, and nothing piles up."""

    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.50")
        async with Pair(network, {"urls": [TURN]}) as pair:
            here, there = await pair.connect()
            agent = pair.one
            await asyncio.sleep(5)
            most_sockets = most_tasks = most_allocations = 0
            for number in range(1000):
                await agent.restart()
                await agent.gather_candidates()
                agent.set_remote_credentials(f"evil{number}", f"{number:022}")
                agent.add_remote_candidate(Candidate("1", 1, "udp", 1, EVIL, 1000 + number, CandidateType.HOST))
                agent.add_remote_candidate(
                    Candidate("1", 1, "udp", 1, EVIL, 1, CandidateType.HOST, extensions=(("ufrag", f"next{number}"),))
                )
                await asyncio.sleep(0.1)
                most_sockets = max(most_sockets, len(network.hosts["alice"].sockets))
                most_tasks = max(most_tasks, len(asyncio.all_tasks()))
                most_allocations = max(most_allocations, server.allocations)
            assert len(list(agent._generations)) <= 3
            assert most_sockets <= 1 + 3
            assert most_allocations <= 4
            assert most_tasks <= 25
            assert len(agent._ahead.candidates) <= 100
            assert agent.connection_state in CONNECTED
            await talk(here, there)
        await asyncio.sleep(2)
        assert server.allocations == 0

    attack(test)


# Networks and applications that misbehave


@pytest.mark.row("ICE-52")
def test_interfaces_that_flap_leave_nothing_behind() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.50")
        alice = network.hosts["alice"]
        async with Pair(network, {"continual_gathering": "continually", "urls": [TURN]}) as pair:
            here, there = await pair.connect()
            gone: list[Candidate] = []
            pair.one.on_candidate_removed(gone.append)
            for number in range(300):
                alice.add_interface(f"usb{number}", f"198.51.100.{number % 200 + 1}")
                await asyncio.sleep(0.3 if number % 3 else 2.5)
                alice.remove_interface(f"usb{number}")
                await asyncio.sleep(0.3)
            await asyncio.sleep(10)
            assert len(gone) >= 50
            assert len(alice.sockets) <= 3
            assert len(list(pair.one._in_use.bases())) <= 2
            assert len(pair.one.get_local_candidates()) <= 3
            assert len(pair.one.get_candidate_pairs_stats()) <= 100
            assert len(asyncio.all_tasks()) <= 12
            assert server.allocations == 1
            await talk(here, there)

    attack(test)


@pytest.mark.parametrize("name", ["remote_ip_filter", "on_binding_request"])
def test_a_filter_that_always_raises_says_so_and_not_for_each_packet(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(asked: object) -> bool:
        raise RuntimeError("the application's own mistake")

    async def test(network: VirtualNetwork) -> None:
        async with Agent(AgentOptions(net=network.hosts["bob"], **{name: raises})) as agent:
            await agent.gather_candidates()
            await agent.gathering_complete()
            agent.start(False, "evil", "p" * 22)
            for number in range(1000):
                network.inject(check_for(agent, "evil", number), source=(EVIL, 1000 + number), destination=where(agent))
            await asyncio.sleep(1)
            assert len(agent.get_candidate_pairs_stats()) <= 20

    with caplog.at_level(logging.INFO, "webrtc_py"):
        attack(test)
    told = [record for record in caplog.records if "the application's own mistake" in str(record.exc_info)]
    assert len(told) == 1
    assert len(caplog.records) <= 10


# The local network


@pytest.mark.row("MDN-06")
def test_a_local_network_full_of_junk_gets_an_answer_a_second() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network, {"multicast_dns_mode": MulticastDNSMode.QUERY_AND_GATHER}) as pair:
            here, there = await pair.connect()
            [candidate, *_] = pair.one.get_local_candidates()
            name, sent = candidate.address, Sent(network, "alice")
            evil = network.host("evil", EVIL)
            socket = await evil.open_multicast("224.0.0.251", 5353)
            query = mdns_message.serialize_query(name)
            label = name.partition(".")[0].encode()
            lie = mdns_message.serialize_response([mdns_message.AddressRecord(name, EVIL)])
            with grows_by_less_than(50_000):
                for number in range(2500):
                    for data in (query, label * 200, query[: number % len(query)] + label, lie):
                        socket.send(Train.of(data), ("224.0.0.251", 5353))
                    if number % 25 == 0:
                        await asyncio.sleep(0.1)
                await asyncio.sleep(1)
            # Ten seconds: one answer in each, and perhaps one more.
            assert sent.to["224.0.0.251"] <= 12
            assert pair.one.get_local_candidates()[0].address == name
            await talk(here, there)
            socket.close()

    attack(test)


# What people read


def test_what_the_peer_writes_does_not_write_our_log(caplog: pytest.LogCaptureFixture) -> None:
    """Names and fragments as long as they may be: each line is one line, of a length that somebody can read."""

    async def test(network: VirtualNetwork) -> None:
        async with Agent(AgentOptions(net=network.hosts["bob"])) as agent:
            await agent.gather_candidates()
            await agent.gathering_complete()
            agent.start(False, "u" * 256, "p" * 22)
            for number in range(200):
                long = f"{number:03}" + "n" * 60
                extensions = (("generation", "\x7e" * 1500),)
                agent.add_remote_candidate(
                    Candidate("1", 1, "udp", 1, f"{long}.local", 1, CandidateType.HOST, extensions=extensions)
                )
                agent.add_remote_candidate(
                    Candidate("1", 1, "udp", 1, EVIL, number, CandidateType.SRFLX, "x" * 250, 1, extensions=extensions)
                )
            request = check_for(agent, "u" * 256)
            network.inject(request, source=(EVIL, 1), destination=where(agent))
            explained = []
            for _ in range(8):
                await asyncio.sleep(5)
                explained.append(agent.explain())
            lines = [line for text in explained for line in text.split("\n")]
            assert max(map(len, lines)) < 700
            assert max(len(text.split("\n")) for text in explained) < 20
            assert all(line.isprintable() for line in lines)

    with caplog.at_level(logging.DEBUG, "webrtc_py"):
        attack(test)
    texts = [record.getMessage() for record in caplog.records]
    assert max(map(len, texts)) < 700
    assert all(text.isprintable() for text in texts)
    assert len(texts) < 1000
