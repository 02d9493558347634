"""Two agents: the path that they find, the names that hide them, their application, and the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.ice.agent_pair import TURN, Pair, in_network
from tests.support.real_loop import run_real
from tests.support.virtual_loop import run
from tests.support.virtual_network import NATKind, VirtualNetwork
from webrtc_py.errors import (
    ArgumentTypeError,
    ConnectionClosedError,
    ConnectionFailedError,
    InvalidAccessError,
    InvalidStateError,
)
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate, unmarshal_candidate
from webrtc_py.ice.mdns import AgentNames
from webrtc_py.ice.options import AgentTimings
from webrtc_py.ice.url import ServerURL
from webrtc_py.states import CandidateType, ICERole, ICETransportState

# The path


def test_agents_connect_and_talk_over_real_sockets() -> None:
    async def main() -> None:
        async with Pair(None, {"include_loopback": True}, {"include_loopback": True}) as pair:
            here, there = await pair.connect()
            assert pair.one.role is ICERole.CONTROLLING
            assert pair.other.role is ICERole.CONTROLLED
            here.send(b"hello")
            assert await there.recv() == b"hello"
            there.send(bytearray(b"world"))
            assert await here.recv() == b"world"
            assert here.local_address == there.remote_address
            stats = pair.one.get_selected_candidate_pair_stats()
            assert stats is not None
            assert (stats.bytes_sent, stats.bytes_received) == (5, 5)
            assert stats.selected
            assert stats.current_round_trip_time is not None

    run_real(main())


@pytest.mark.parametrize("kind", [kind.value for kind in NATKind])
def test_agents_behind_nats_connect_directly_or_by_relay(kind: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        server = network.turn_server("turn.example", "192.0.2.4")
        network.nat("left", "198.51.100.1", kind=kind).host("alice", "10.0.0.2")
        network.nat("right", "198.51.100.2", kind=kind).host("bob", "10.0.0.2")
        options = {"urls": ["stun:stun.example", TURN]}
        async with Pair(network, options, options) as pair:
            here, there = await pair.connect()
            selected = pair.one.get_selected_candidate_pair()
            assert selected is not None
            is_relayed = CandidateType.RELAY in (selected[0].type, selected[1].type)
            assert is_relayed == (kind == "symmetric")
            for number in range(20):
                here.send(b"%d" % number)
                assert await there.recv() == b"%d" % number
                there.send(b"%d back" % number)
                assert await here.recv() == b"%d back" % number
        await asyncio.sleep(0.5)
        assert server.allocations == 0

    in_network(test, delay=0.02)


@pytest.mark.row("ICE-23", "TRN-04", "TRN-06")
def test_a_relayed_path_lives_for_hours_and_uses_a_channel() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4")
        lengths: set[int] = set()
        async with Pair(network, {"urls": [TURN], "candidate_types": ["relay"]}, {}) as pair:
            here, there = await pair.connect()
            await asyncio.sleep(1)
            remove = network.tap(
                lambda packet: lengths.add(len(packet.data)) if packet.destination == ("192.0.2.4", 3478) else None
            )
            here.send(b"x" * 500)
            assert await there.recv() == b"x" * 500
            assert lengths == {504}
            remove()
            for _ in range(3):
                await asyncio.sleep(3600)
                there.send(b"still here?")
                assert await here.recv() == b"still here?"
                here.send(b"yes")
                assert await there.recv() == b"yes"
            assert pair.one.connection_state is ICETransportState.COMPLETED

    run(test(VirtualNetwork(seed=1, delay=0.02)), timeout_virtual=4 * 3600)


@pytest.mark.row("TRN-09")
def test_a_relay_that_is_lost_fails_its_pairs() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4")
        timings = AgentTimings(disconnected_timeout=5, failed_timeout=5)
        options = {"urls": [ServerURL("turn", "turn.example", 3478, "tcp", "user", "secret")]}
        async with Pair(network, {**options, "candidate_types": ["relay"], "timings": timings}) as pair:
            here, _ = await pair.connect()
            failed = asyncio.Event()
            pair.one.on_connection_state_change(
                lambda state: failed.set() if state is ICETransportState.FAILED else None
            )
            for stream in list(network.hosts["turn.example"].streams):
                stream.close()
            await failed.wait()
            assert pair.one.failure
            with pytest.raises(ConnectionClosedError):
                here.send(b"too late")

    in_network(test, delay=0.02)


@pytest.mark.row("ICE-09", "DST-03")
def test_link_local_addresses_serve_when_the_peer_tells_its_own() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.host("alice", "fe80::1", "192.0.2.1")
        network.host("bob", "fe80::2", "2001:db8::2")
        async with Pair(network) as pair:
            told: list[Candidate | None] = []
            pair.one.on_candidate(told.append)
            pair.other.on_candidate(None)
            await pair.one.gather_candidates()
            await pair.other.gather_candidates()
            await asyncio.gather(pair.one.gathering_complete(), pair.other.gathering_complete())
            await asyncio.sleep(0)
            assert [candidate and candidate.address for candidate in told] == ["192.0.2.1", None]
            assert [candidate.address for candidate in pair.other.get_local_candidates()] == ["2001:db8::2"]
            sockets = [base.socket.local_address for base in pair.other._newest.bases()]
            [port] = [port for host, port in sockets if host.startswith("fe80")]
            pair.one.add_remote_candidate(unmarshal_candidate(f"candidate:1 1 udp 2130706431 fe80::2 {port} typ host"))
            here, there = await asyncio.gather(
                pair.one.dial(*pair.other.get_local_user_credentials()),
                pair.other.accept(*pair.one.get_local_user_credentials()),
            )
            here.send(b"over the link")
            assert await there.recv() == b"over the link"
            there.send(b"and back")
            assert await here.recv() == b"and back"

    in_network(test)


@pytest.mark.row("ICE-09")
def test_hosts_that_have_nothing_but_link_local_addresses_meet() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.host("alice", "fe80::1")
        network.host("bob", "fe80::2")
        async with Pair(network) as pair:
            here, there = await pair.connect()
            here.send(b"on one link")
            assert await there.recv() == b"on one link"
            [candidate] = pair.one.get_local_candidates()
            assert candidate.address == "fe80::1"
            assert "%" not in candidate.marshal()

    in_network(test, delay=0.01)


def test_two_lite_agents_connect_when_they_know_each_other() -> None:
    """RFC 8445 section 6.2: neither checks, so the pairs are taken as they are."""

    async def test(network: VirtualNetwork) -> None:
        lite = {"lite": True, "candidate_types": ["host"]}
        async with Pair(network, lite, lite) as pair:
            await pair.one.gather_candidates()
            await pair.other.gather_candidates()
            await asyncio.sleep(1)
            here, there = await asyncio.gather(
                pair.one.dial(*pair.other.get_local_user_credentials(), remote_lite=True),
                pair.other.accept(*pair.one.get_local_user_credentials(), remote_lite=True),
            )
            here.send(b"unchecked")
            assert await there.recv() == b"unchecked"

    in_network(test)


# Names in .local


@pytest.mark.row("MDN-02", "MDN-04")
def test_hidden_addresses_are_resolved() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.host("alice", "192.0.2.1")
        network.host("bob", "192.0.2.2")
        names = AgentNames(network.hosts["bob"], "1b-2.local")
        await names.name_of("192.0.2.2")
        async with Pair(network) as pair:

            def hide(candidate: Candidate | None) -> None:
                if candidate is not None:
                    text = candidate.marshal().replace("192.0.2.2", "1b-2.local")
                    candidate = unmarshal_candidate(text)
                pair.one.add_remote_candidate(candidate)

            pair.other.on_candidate(hide)
            here, there = await pair.connect()
            here.send(b"found you")
            assert await there.recv() == b"found you"
            [stats] = pair.one.get_candidate_pairs_stats()
            assert stats.remote.address == "1b-2.local"
            assert here.remote_address is not None
            assert here.remote_address[0] == "1b-2.local"
        await names.close()

    in_network(test)


@pytest.mark.row("MDN-02")
def test_a_name_that_nobody_answers_for_holds_up_nothing() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network, {"candidate_types": ["host"], "stun_gather_timeout": 3.0}) as pair:
            gone = unmarshal_candidate("candidate:9 1 udp 2122260223 gone-1.local 5000 typ host")
            for _ in range(100):
                pair.one.add_remote_candidate(gone)
            assert len(pair.one._newest._tasks) == 32
            loop = asyncio.get_running_loop()
            began = loop.time()
            await pair.connect()
            assert loop.time() - began < 1
            # The end of the candidates is believed only when the names are done with.
            states = [pair.one.connection_state]
            await asyncio.sleep(3.5)
            states.append(pair.one.connection_state)
            assert states == [ICETransportState.CONNECTED, ICETransportState.COMPLETED]

    in_network(test, delay=0.01)


def test_names_are_ignored_when_mdns_is_disabled() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network, {"multicast_dns_mode": "disabled"}) as pair:
            pair.one.add_remote_candidate(
                unmarshal_candidate("candidate:9 1 udp 2122260223 gone-1.local 5000 typ host")
            )
            assert pair.one._newest._tasks == set()

    in_network(test)


# What the application does


@pytest.mark.row("ICE-01", "SEC-10")
def test_credentials_are_random_unless_given() -> None:
    async def test(network: VirtualNetwork) -> None:
        host = network.host("alice", "192.0.2.1")
        agents = [Agent(AgentOptions(net=host)) for _ in range(200)]
        credentials = [agent.get_local_user_credentials() for agent in agents]
        assert len({ufrag for ufrag, _ in credentials}) == len({pwd for _, pwd in credentials}) == 200
        for ufrag, pwd in credentials:
            assert len(ufrag) >= 4
            assert len(pwd) >= 22
            assert set(ufrag + pwd) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        given_ones = Agent(AgentOptions(net=host, local_ufrag="abcd", local_pwd="p" * 22))
        assert given_ones.get_local_user_credentials() == ("abcd", "p" * 22)
        for agent in [*agents, given_ones]:
            await agent.close()

    in_network(test)


@pytest.mark.parametrize("wrong", ["candidate:1 1 udp 1 192.0.2.1 9 typ host", b"", 5])
def test_a_remote_candidate_is_a_candidate(wrong: Any) -> None:
    async def test() -> None:
        async with Agent(AgentOptions(net=VirtualNetwork().host("alice", "192.0.2.1"))) as agent:
            with pytest.raises(ArgumentTypeError, match="unmarshal_candidate"):
                agent.add_remote_candidate(wrong)

    run(test())


@pytest.mark.parametrize("wrong", [(None, "p" * 22), ("abcd", None), (b"abcd", b"p" * 22)])
def test_remote_credentials_are_text(wrong: Any) -> None:
    async def test() -> None:
        async with Agent(AgentOptions(net=VirtualNetwork().host("alice", "192.0.2.1"))) as agent:
            with pytest.raises(ArgumentTypeError, match="the remote") as refused:
                agent.set_remote_credentials(*wrong)
            assert "ppp" not in str(refused.value)
            with pytest.raises(ArgumentTypeError):
                await agent.dial(*wrong)

    run(test())


def test_a_filter_that_raises_lets_nobody_in_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def raises(host: str) -> bool:
        raise RuntimeError("the application's own mistake")

    async def test(network: VirtualNetwork) -> None:
        timings = AgentTimings(disconnected_timeout=2, failed_timeout=2)
        async with Pair(network, {"remote_ip_filter": raises, "timings": timings}) as pair:
            with pytest.raises(ConnectionFailedError):
                await pair.connect()

    in_network(test)
    assert "the application's own mistake" in caplog.text


@pytest.mark.row("ICE-50")
@pytest.mark.parametrize("is_lite", [False, True])
def test_an_agent_is_lite_from_its_beginning_or_never(is_lite: bool) -> None:
    """The peer has been told, and what a full agent gathers is nothing for a lite one."""
    lite, full = {"lite": True, "candidate_types": ["host"]}, {"urls": [TURN]}

    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")
        async with Agent(AgentOptions(net=alice, **(lite if is_lite else full))) as agent:
            with pytest.raises(InvalidAccessError, match="lite"):
                agent.set_options(AgentOptions(**(full if is_lite else lite)))

    in_network(test)


def test_a_second_dial_leaves_the_first_connection_alone() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            with pytest.raises(InvalidStateError):
                await pair.other.accept(*pair.one.get_local_user_credentials())
            here.send(b"still here")
            assert await there.recv() == b"still here"

    in_network(test)


def test_connecting_in_two_steps() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            with pytest.raises(InvalidStateError, match="not been started"):
                await pair.one.await_connect()
            assert pair.one.get_remote_user_credentials() is None
            for agent, peer, controlling in ((pair.one, pair.other, True), (pair.other, pair.one, False)):
                await agent.gather_candidates()
                agent.start(controlling, *peer.get_local_user_credentials())
            here, there = await pair.one.await_connect(), await pair.other.await_connect()
            here.send(b"hello")
            assert await there.recv() == b"hello"
            assert (here.bytes_sent, there.bytes_received, there.bytes_sent) == (5, 5, 0)
            assert await pair.one.await_connect() is here
            assert pair.one.get_remote_user_credentials() == pair.other.get_local_user_credentials()

    in_network(test)


def test_what_has_failed_is_not_waited_for() -> None:
    async def test(network: VirtualNetwork) -> None:
        options = {"timings": AgentTimings(disconnected_timeout=1, failed_timeout=1)}
        async with Pair(network, options, options) as pair:
            await pair.connect()
            await pair.other.close()
            await asyncio.sleep(60)
            for _ in range(2):
                with pytest.raises(ConnectionFailedError):
                    await pair.one.await_connect()
                await pair.one.restart()

    in_network(test)


def test_dialling_again_after_a_restart_is_the_same_connection() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await pair.one.restart()
            await pair.other.restart()
            assert await pair.connect() == (here, there)
            here.send(b"hello")
            assert await there.recv() == b"hello"

    in_network(test)


# The end


def test_closing_wakes_who_waits() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, _ = await pair.connect()
            reader = asyncio.create_task(here.recv())
            await asyncio.sleep(0)
            await here.close()
            with pytest.raises(ConnectionClosedError):
                await reader
            with pytest.raises(ConnectionClosedError):
                here.send(b"x")
            with pytest.raises(InvalidStateError):
                pair.one.add_remote_candidate(None)

    in_network(test)


@pytest.mark.parametrize("closes", [True, False])
def test_dialling_ends_when_the_agent_closes_or_fails(closes: bool) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.host("alice", "192.0.2.1")
        network.host("bob", "192.0.2.2")
        network.cut(network.hosts["alice"], network.hosts["bob"])
        async with Pair(network) as pair:
            connecting = asyncio.create_task(pair.connect())
            await asyncio.sleep(1)
            if closes:
                await asyncio.gather(pair.one.close(), pair.other.close())
            with pytest.raises(ConnectionClosedError if closes else ConnectionFailedError):
                await connecting
            if not closes:
                assert pair.one.failure

    in_network(test)


def test_a_handler_may_close_the_agent() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            closed = asyncio.Event()
            states: list[str] = []

            async def on_state(state: ICETransportState) -> None:
                states.append(str(state))
                if state is ICETransportState.CHECKING:
                    await pair.one.close()
                    closed.set()

            pair.one.on_connection_state_change(on_state)
            await pair.one.gather_candidates()
            pair.one.start(True, *pair.other.get_local_user_credentials())
            await closed.wait()
            await pair.one.close()
            await asyncio.sleep(0.1)
            assert states == ["checking", "closed"]

    in_network(test)
