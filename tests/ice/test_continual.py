"""Continual gathering: interfaces that come and go while the agent lives, and the session that moves with them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.errors import InvalidAccessError
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.url import ServerURL
from webrtc_py.runtime.network import Interface
from webrtc_py.states import CandidateType, ICEGathererState, ICETransportState
from webrtc_py.train import Train

HOST, SRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY
TURN = ServerURL("turn", "turn.example", 3478, "udp", "user", "secret")


class End:
    """An agent that gathers continually, and what it has told with the time."""

    def __init__(self, host: VirtualHost, **options: Any) -> None:
        self.host = host
        self.agent = Agent(AgentOptions(**{"net": host, "continual_gathering": "continually", **options}))
        self.found: list[Candidate | None] = []
        self.removed: list[Candidate] = []
        self.states: list[ICETransportState] = []
        self.agent.on_candidate(self.found.append)
        self.agent.on_candidate_removed(self.removed.append)
        self.agent.on_connection_state_change(self.states.append)

    async def __aenter__(self) -> End:
        await self.agent.gather_candidates()
        await self.agent.gathering_complete()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.close()

    def addresses(self) -> list[tuple[str, str]]:
        return [(str(candidate.type), candidate.address) for candidate in self.agent.get_local_candidates()]


def in_network(test: Callable[[VirtualNetwork], Coroutine[Any, Any, None]], **conditions: Any) -> None:
    run(test(VirtualNetwork(seed=1, **conditions)))


@pytest.mark.row("ICE-52")
def test_an_interface_that_appears_brings_candidates_and_no_second_relay() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        server = network.turn_server("turn.example", "192.0.2.4")
        home, hotspot = network.nat("home", "198.51.100.1"), network.nat("hotspot", "198.51.100.2")
        alice = home.host("alice", "10.0.0.2")
        async with End(alice, urls=["stun:stun.example", TURN]) as end:
            assert end.addresses() == [("host", "10.0.0.2"), ("srflx", "198.51.100.1"), ("relay", "192.0.2.4")]
            alice.add_interface("wlan0", "10.1.0.2", segment=hotspot.inside)
            await asyncio.sleep(0.21)
            assert end.addresses()[3:] == [("host", "10.1.0.2")]
            await asyncio.sleep(1)
            assert end.addresses()[3:] == [("host", "10.1.0.2"), ("srflx", "198.51.100.2")]
            assert [candidate for candidate in end.found if candidate] == end.agent.get_local_candidates()
            assert len({candidate.priority for candidate in end.agent.get_local_candidates()}) == 5
            assert server.allocations == 1
            alice.add_address("eth0", "10.0.0.3")
            await asyncio.sleep(2)
            assert end.addresses()[5:] == [("host", "10.0.0.3"), ("srflx", "198.51.100.1")]

    in_network(test, delay=0.02)


@pytest.mark.row("ICE-52")
def test_an_interface_that_vanishes_takes_its_candidates_along() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        alice = network.nat("home", "198.51.100.1").host("alice", "10.0.0.2")
        alice.add_interface("wlan0", "192.0.2.1", "2001:db8::1")
        async with End(alice, urls=["stun:stun.example"]) as end:
            before = end.agent.get_local_candidates()
            alice.remove_interface("eth0")
            await asyncio.sleep(0.25)
            assert {candidate.address for candidate in end.removed} == {"10.0.0.2", "198.51.100.1"}
            assert end.agent.get_local_candidates() == [one for one in before if one not in end.removed]
            assert {socket.local_address[0] for socket in alice.sockets.values()} == {"192.0.2.1", "2001:db8::1"}
            alice.set_interface_up("wlan0", False)
            await asyncio.sleep(2)
            assert end.agent.get_local_candidates() == []
            assert len(end.removed) == 4
            alice.set_interface_up("wlan0", True)
            await asyncio.sleep(2)
            assert end.addresses() == [("host", "2001:db8::1"), ("host", "192.0.2.1")]

    in_network(test, delay=0.02)


@pytest.mark.row("ICE-52", "TRI-08")
def test_there_is_no_last_candidate_and_the_first_round_is_told_of() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")
        async with End(alice, urls=["stun:192.0.2.99"]) as end:
            assert asyncio.get_running_loop().time() == pytest.approx(1005)
            assert end.agent.has_gathered
            assert end.agent.gathering_state is ICEGathererState.GATHERING
            await asyncio.sleep(10)
            assert None not in end.found
        assert end.agent.gathering_state is ICEGathererState.CLOSED

    in_network(test)


def test_a_silent_server_holds_up_no_change() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")
        end = End(alice, urls=["stun:192.0.2.99"])
        await end.agent.gather_candidates()
        await asyncio.sleep(0.5)
        alice.add_address("eth0", "192.0.2.5")
        await asyncio.sleep(0.3)
        assert end.addresses() == [("host", "192.0.2.1"), ("host", "192.0.2.5")]
        alice.remove_address("eth0", "192.0.2.1")
        await asyncio.sleep(1.2)
        assert end.addresses() == [("host", "192.0.2.5")]
        await end.agent.close()

    in_network(test)


def test_an_interface_that_flaps_costs_a_round_a_second() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        alice = network.nat("home", "198.51.100.1").host("alice", "10.0.0.2")
        async with End(alice, urls=["stun:stun.example"]) as end:
            for turn in range(100):
                await asyncio.sleep(0.3)
                alice.set_interface_up("eth0", bool(turn % 2))
            assert len(end.found) <= 2 * 31
            await asyncio.sleep(3)
            assert end.addresses() == [("host", "10.0.0.2"), ("srflx", "198.51.100.1")]
            assert len(alice.sockets) == 1

    in_network(test, delay=0.02)


def test_an_interface_that_flaps_while_a_server_is_dead_piles_up_nothing() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4")
        alice = network.host("alice", "192.0.2.1")
        alice.add_interface("wlan0", "192.0.2.2")
        async with End(alice, urls=[TURN]) as end:
            assert ("relay", "192.0.2.4") in end.addresses()
            server.silent = True
            most = 0
            for turn in range(300):
                await asyncio.sleep(1)
                alice.set_interface_up("wlan0", bool(turn % 2))
                most = max(most, len(asyncio.all_tasks()))
            assert most < 20
            server.silent = False
            await asyncio.sleep(30)
            assert ("relay", "192.0.2.4") in end.addresses()
            assert server.allocations == 1

    in_network(test)


def test_what_a_round_brought_that_waited_for_a_dead_address_of_the_server_is_asked_for() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "2001:db8::4")
        network.names["turn.example"] = ["192.0.2.99", "2001:db8::4"]
        alice = network.host("alice", "192.0.2.1")
        async with End(alice, urls=[TURN]) as end:
            for address in ("192.0.2.2", "192.0.2.3", "2001:db8::1"):
                alice.add_address("eth0", address)
                await asyncio.sleep(1.5)
            await asyncio.sleep(30)
            assert ("relay", "2001:db8::4") in end.addresses()

    in_network(test)


def test_interfaces_that_cannot_be_read_for_a_while_are_read_later() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")
        async with End(alice) as end:
            interfaces = alice.interfaces

            def refuse() -> list[Interface]:
                raise OSError(24, "too many open files")

            alice.interfaces = refuse  # type: ignore[method-assign]
            alice.add_interface("wlan0", "192.0.2.2")
            await asyncio.sleep(5)
            assert end.addresses() == [("host", "192.0.2.1")]
            alice.interfaces = interfaces  # type: ignore[method-assign]
            await asyncio.sleep(2)
            assert end.addresses() == [("host", "192.0.2.1"), ("host", "192.0.2.2")]

    in_network(test)


def test_a_change_within_a_moment_is_none() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")
        async with End(alice) as end:
            alice.set_interface_up("eth0", False)
            alice.set_interface_up("eth0", True)
            await asyncio.sleep(3)
            assert end.removed == []
            assert len(end.found) == 1

    in_network(test)


def test_names_go_with_their_addresses() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")
        async with End(alice, multicast_dns_mode="query-and-gather") as end:
            [name] = (candidate.address for candidate in end.agent.get_local_candidates())
            alice.add_address("eth0", "192.0.2.5")
            await asyncio.sleep(1)
            alice.remove_address("eth0", "192.0.2.1")
            await asyncio.sleep(1.5)
            [other] = (candidate.address for candidate in end.agent.get_local_candidates())
            assert other != name
            assert await end.agent.look_up(name) is None
            assert await end.agent.look_up(other) == "192.0.2.5"
            assert [candidate.address for candidate in end.removed] == [name]

    in_network(test)


def test_without_it_nothing_is_followed() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")
        async with End(alice, continual_gathering="once") as end:
            alice.add_address("eth0", "192.0.2.5")
            await asyncio.sleep(5)
            assert end.addresses() == [("host", "192.0.2.1")]
            assert end.agent.gathering_state is ICEGathererState.COMPLETE
            assert end.found[-1] is None

    in_network(test)


@pytest.mark.parametrize("wrong", [{"network_monitor_interval": 0}, {"continual_gathering": "sometimes"}])
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((InvalidAccessError, ValueError), match=r"must be more than 0|it is one of"):
        AgentOptions(**wrong)


@pytest.mark.row("ICE-52")
@pytest.mark.parametrize("mover_controls", [True, False])
@pytest.mark.parametrize("overlap", [1.0, -0.5])
def test_the_session_moves_without_a_restart(mover_controls: bool, overlap: float) -> None:
    """The new interface comes before the old one goes, or half a second behind it."""

    async def test(network: VirtualNetwork) -> None:
        loop = asyncio.get_running_loop()
        home, hotspot = network.nat("home", "198.51.100.1"), network.nat("hotspot", "198.51.100.2")
        alice, bob = home.host("alice", "10.0.0.2"), network.host("bob", "192.0.2.2")
        async with End(alice) as one, End(bob, continual_gathering="once") as other:
            one.agent.on_candidate(other.agent.add_remote_candidate)
            for candidate in one.agent.get_local_candidates():
                other.agent.add_remote_candidate(candidate)
            for candidate in other.agent.get_local_candidates():
                one.agent.add_remote_candidate(candidate)
            one.agent.start(mover_controls, *other.agent.get_local_user_credentials())
            other.agent.start(not mover_controls, *one.agent.get_local_user_credentials())
            received: list[float] = []
            other.agent.set_data_receiver(lambda train, now: received.append(now))
            back: list[float] = []
            one.agent.set_data_receiver(lambda train, now: back.append(now))

            async def talk() -> None:
                while True:
                    one.agent.send(Train.of(b"hello"))
                    other.agent.send(Train.of(b"hello"))
                    await asyncio.sleep(0.02)

            talking = asyncio.create_task(talk())
            await asyncio.sleep(5)
            gone = loop.time() + max(overlap, 0.0)
            if overlap < 0:
                alice.remove_interface("eth0")
                await asyncio.sleep(-overlap)
                alice.add_interface("wlan0", "10.1.0.2", segment=hotspot.inside)
            else:
                alice.add_interface("wlan0", "10.1.0.2", segment=hotspot.inside)
                await asyncio.sleep(overlap)
                alice.remove_interface("eth0")
            await asyncio.sleep(10)
            talking.cancel()
            for times in (received, back):
                after = [now for now in times if now > gone + 0.1]
                assert after, "nothing arrives any more"
                assert after[0] - gone < 3.0
                assert max(b - a for a, b in itertools.pairwise(after)) < 0.5
            for end in (one, other):
                assert ICETransportState.FAILED not in end.states
                assert end.agent.connection_state in (ICETransportState.CONNECTED, ICETransportState.COMPLETED)
            pair = one.agent.get_selected_candidate_pair()
            assert pair is not None
            assert pair[0].address in ("10.1.0.2", "198.51.100.2")

    in_network(test, delay=0.02)


@pytest.mark.row("ICE-52")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("mover_controls", [True, False])
def test_a_relay_that_was_reached_from_the_vanished_address_is_allocated_anew(
    transport: str, mover_controls: bool
) -> None:
    async def test(network: VirtualNetwork) -> None:
        loop = asyncio.get_running_loop()
        server = network.turn_server("turn.example", "192.0.2.4")
        home, hotspot = network.nat("home", "198.51.100.1"), network.nat("hotspot", "198.51.100.2")
        alice, bob = home.host("alice", "10.0.0.2"), network.host("bob", "192.0.2.2")
        turn = ServerURL("turn", "turn.example", 3478, transport, "user", "secret")
        async with End(alice, urls=[turn], candidate_types=["relay"]) as one, End(bob) as other:
            one.agent.on_candidate(other.agent.add_remote_candidate)
            first = one.agent.get_local_candidates()
            for end, peer in ((one, other), (other, one)):
                for candidate in peer.agent.get_local_candidates():
                    end.agent.add_remote_candidate(candidate)
                end.agent.start((end is one) == mover_controls, *peer.agent.get_local_user_credentials())
            arrived: list[float] = []
            other.agent.set_data_receiver(lambda train, now: arrived.append(now))
            await asyncio.sleep(2)
            alice.add_interface("wlan0", "10.1.0.2", segment=hotspot.inside)
            alice.remove_interface("eth0")
            gone = loop.time()
            while loop.time() < gone + 10:
                one.agent.send(Train.of(b"hello"))
                await asyncio.sleep(0.05)
            assert one.removed == first
            assert len(one.agent.get_local_candidates()) == 1
            assert one.agent.get_local_candidates() != first
            assert min(now for now in arrived if now > gone + 0.2) - gone < 3.0
            assert arrived[-1] > gone + 9.8
        await asyncio.sleep(1)
        assert server.allocations <= 1  # the old one could not be given back

    in_network(test, delay=0.02)
