"""Agents over TCP (RFC 6544): where UDP is blocked, by the rules of the transport policy, and when connections end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.ice.test_mux import connect
from tests.support.real_loop import run_real
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from webrtc_py.errors import ConnectionFailedError
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate, unmarshal_candidate
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.mux import TCPMux, UDPMux
from webrtc_py.ice.options import AgentTimings
from webrtc_py.states import CandidateType, ICETransportState, TCPType

SERVER = "192.0.2.1"
SERVER6 = "2001:db8::1"
PEER = "192.0.2.2"
PORT = 443
ALL = ("udp4", "udp6", "tcp4", "tcp6")
TCP = ("tcp4", "tcp6")


class Scene:
    """A server with a TCP mux, and a peer that can dial."""

    def __init__(self, network: VirtualNetwork, mux: TCPMux) -> None:
        self.network = network
        self.mux = mux
        self.agents: list[Agent] = []

    def server(self, **options: Any) -> Agent:
        return self.agent("server", tcp_mux=self.mux, **options)

    def peer(self, **options: Any) -> Agent:
        return self.agent("peer", **options)

    def agent(self, host: str, **options: Any) -> Agent:
        agent = Agent(AgentOptions(**{"net": self.network.hosts[host], "network_types": ALL, **options}))
        self.agents.append(agent)
        return agent

    def block_udp(self) -> None:
        self.network.tap(lambda packet: DROP)

    @property
    def streams(self) -> list[Any]:
        return list(self.network.hosts["peer"].streams)


def scene(
    test: Callable[[Scene], Coroutine[Any, Any, None]],
    server: tuple[str, ...] = (SERVER,),
    peer: tuple[str, ...] = (PEER,),
    **limits: float,
) -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        network.host("server", *server)
        if peer:
            network.host("peer", *peer)
        async with await TCPMux.listen(port=PORT, net=network.hosts["server"]) as mux:
            it = Scene(network, mux)
            await test(it)
            await asyncio.gather(*(agent.close() for agent in it.agents))
            await asyncio.sleep(1)
            assert mux.connections == 0

    run(main(), **limits)


async def talk(here: Conn, there: Conn, rounds: int = 3) -> None:
    for round in range(rounds):
        here.send(b"%d" % round)
        assert await there.recv() == b"%d" % round
        there.send(b"%d" % round)
        assert await here.recv() == b"%d" % round


def selected(agent: Agent) -> tuple[Candidate, Candidate]:
    pair = agent.get_selected_candidate_pair()
    assert pair is not None
    return pair


@pytest.mark.row("TCP-01", "TCP-05")
@pytest.mark.parametrize("dialling", ["server", "peer"])
def test_where_udp_is_blocked_tcp_connects(dialling: str) -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        server, peer = it.server(), it.peer()
        ends = (server, peer) if dialling == "server" else (peer, server)
        here, there = await connect(*ends)
        await talk(here, there)
        local, remote = selected(peer)
        assert (local.transport, local.tcp_type, remote.tcp_type) == ("tcp", TCPType.ACTIVE, TCPType.PASSIVE)
        assert (local.type, remote.type) == (CandidateType.PRFLX, CandidateType.HOST)
        assert (remote.address, remote.port) == (SERVER, PORT)
        local, remote = selected(server)
        assert (local.tcp_type, remote.tcp_type) == (TCPType.PASSIVE, TCPType.ACTIVE)
        assert len(it.streams) == 1
        for _ in range(4):
            await asyncio.sleep(60)
            await talk(here, there)
        assert {agent.connection_state for agent in ends} == {ICETransportState.COMPLETED}
        assert len(it.streams) == 1

    scene(test)


@pytest.mark.row("TCP-01")
@pytest.mark.parametrize("dialling", ["server", "peer"])
def test_agents_without_udp_wait_for_nothing_better(dialling: str) -> None:
    """Neither end says that it has no more candidates, which may mean that better ones come."""

    async def test(it: Scene) -> None:
        server, peer = it.server(network_types=TCP), it.peer(network_types=TCP)
        for agent, other in ((server, peer), (peer, server)):
            agent.on_candidate(lambda candidate, other=other: candidate and other.add_remote_candidate(candidate))
            await agent.gather_candidates()
        one, other = (server, peer) if dialling == "server" else (peer, server)
        begin = asyncio.get_running_loop().time()
        here, there = await asyncio.gather(
            one.dial(*other.get_local_user_credentials()), other.accept(*one.get_local_user_credentials())
        )
        assert asyncio.get_running_loop().time() - begin < 0.1
        await talk(here, there)

    scene(test)


@pytest.mark.row("TCP-02")
def test_udp_is_preferred_where_it_works() -> None:
    async def test(it: Scene) -> None:
        here, there = await connect(it.peer(), it.server())
        await talk(here, there)
        for agent in it.agents:
            assert selected(agent)[0].transport == "udp"
            types = [
                candidate.transport for candidate in sorted(agent.get_local_candidates(), key=lambda c: c.priority)
            ]
            assert types == sorted(types)
        # The connection that was checked and not selected is of no use, and goes.
        await asyncio.sleep(120)
        assert it.mux.connections == 0

    scene(test)


@pytest.mark.row("TCP-02")
def test_priorities_of_candidates_over_tcp() -> None:
    async def test(it: Scene) -> None:
        agents = [it.server(), it.server(tcp_priority_offset=1)]
        for agent in agents:
            await agent.gather_candidates()
            await agent.gathering_complete()
        for agent, offset in zip(agents, (27, 1), strict=True):
            found = {(c.tcp_type, c.address): c for c in agent.get_local_candidates() if c.transport == "tcp"}
            assert set(found) == {(kind, host) for kind in ("active", "passive") for host in (SERVER, SERVER6)}
            for (kind, host), candidate in found.items():
                place = [SERVER6, SERVER].index(host)
                preference = {"active": 6, "passive": 4}[str(kind)] * 8192 + 8191 - place
                assert candidate.priority == (126 - offset << 24) + (preference << 8) + 255
                assert candidate.port == {"active": 9, "passive": PORT}[str(kind)]
                line = candidate.marshal()
                assert f" tcp {candidate.priority} {host} {candidate.port} typ host tcptype {kind} " in line
                assert unmarshal_candidate(line).marshal() == line
            assert len({candidate.foundation for candidate in agent.get_local_candidates()}) == 4

    scene(test, (SERVER, SERVER6))


@pytest.mark.parametrize("families", [(SERVER, SERVER6), (SERVER6,), (SERVER,)])
def test_both_families(families: tuple[str, ...]) -> None:
    async def test(it: Scene) -> None:
        here, there = await connect(it.peer(network_types=TCP), it.server(network_types=TCP))
        await talk(here, there)
        assert selected(it.agents[0])[1].address == families[-1]

    scene(test, families, (PEER, "2001:db8::2"))


def test_a_family_that_is_not_asked_for_is_not_used() -> None:
    async def test(it: Scene) -> None:
        server = it.server(network_types=["udp6", "tcp4"])
        await server.gather_candidates()
        await server.gathering_complete()
        found = {(c.transport, c.address) for c in server.get_local_candidates()}
        assert found == {("udp", SERVER6), ("tcp", SERVER)}

    scene(test, (SERVER, SERVER6))


def test_a_peer_behind_a_nat_dials() -> None:
    async def test(it: Scene) -> None:
        it.network.nat("router", "198.51.100.1", kind="symmetric").host("peer", "10.0.0.1")
        it.block_udp()
        here, there = await connect(it.peer(), it.server())
        await talk(here, there)
        local, _ = selected(it.agents[0])
        assert (local.address, local.type) == ("198.51.100.1", CandidateType.PRFLX)

    scene(test, peer=())


@pytest.mark.parametrize("types", [["relay"], ["srflx", "relay"], ["srflx"]])
def test_without_host_candidates_there_is_no_tcp(types: list[str]) -> None:
    """A connection would tell the peer the address that the policy hides."""

    async def test(it: Scene) -> None:
        it.network.stun_server("stun.example", "192.0.2.3")
        peer = it.peer(candidate_types=types, urls=["stun:stun.example"])
        passive = it.agent("server", tcp_mux=it.mux, candidate_types=types)
        server = it.server()
        for agent in (peer, passive, server):
            await agent.gather_candidates()
            await agent.gathering_complete()
        assert all(c.transport == "udp" for agent in (peer, passive) for c in agent.get_local_candidates())
        for candidate in server.get_local_candidates():
            if candidate.transport == "tcp":
                peer.add_remote_candidate(candidate)
                passive.add_remote_candidate(candidate)
        peer.start(True, *server.get_local_user_credentials())
        passive.start(True, *server.get_local_user_credentials())
        await asyncio.sleep(20)
        assert (it.streams, it.mux.connections, it.mux.refused) == ([], 0, 0)

    scene(test)


def test_active_tcp_can_be_turned_off() -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        timings = AgentTimings(disconnected_timeout=2, failed_timeout=2)
        peer, server = it.peer(active_tcp=False, timings=timings), it.server(timings=timings)
        with pytest.raises(ConnectionFailedError):
            await connect(peer, server)
        assert all(candidate.transport == "udp" for candidate in peer.get_local_candidates())

    scene(test)


@pytest.mark.row("TCP-01")
@pytest.mark.parametrize("late", [0.0, 0.5])
def test_two_agents_without_a_mux_meet_by_simultaneous_open(late: float) -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        peer, other = it.peer(), it.agent("server")
        for agent in (peer, other):
            await agent.gather_candidates()
            await agent.gathering_complete()
        for one, two in ((peer, other), (other, peer)):
            for candidate in two.get_local_candidates():
                one.add_remote_candidate(candidate)
        dialling = asyncio.ensure_future(peer.dial(*other.get_local_user_credentials()))
        await asyncio.sleep(late)
        there = await other.accept(*peer.get_local_user_credentials())
        await talk(await dialling, there)
        for agent in (peer, other):
            local, remote = selected(agent)
            assert (local.type, local.tcp_type) == (CandidateType.HOST, TCPType.SIMULTANEOUS_OPEN)
            assert (remote.type, remote.tcp_type) == (CandidateType.HOST, TCPType.SIMULTANEOUS_OPEN)
        assert len(it.streams) == 1
        assert (it.streams[0].local_address, it.streams[0].remote_address) == (
            (selected(peer)[0].address, selected(peer)[0].port),
            (selected(other)[0].address, selected(other)[0].port),
        )
        await asyncio.sleep(120)
        await talk(await dialling, there)

    scene(test)


def test_who_is_refused_at_a_simultaneous_open_tries_again() -> None:
    async def test(it: Scene) -> None:
        peer = it.peer(network_types=TCP)
        await peer.gather_candidates()
        await peer.gathering_complete()
        peer.add_remote_candidate(
            unmarshal_candidate(f"candidate:1 1 tcp 1675624447 {SERVER} 5000 typ host tcptype so")
        )
        peer.start(True, "them", "t" * 22)
        await asyncio.sleep(3)
        [pair] = peer.get_candidate_pairs_stats()
        assert str(pair.state) == "in-progress"
        received: list[bytes] = []
        accepted: list[Any] = []
        listener = it.network.hosts["server"].listen(SERVER, 5000, accepted.append)
        await asyncio.sleep(0.3)
        accepted[0].set_receiver(received.append, lambda error: None)
        await asyncio.sleep(0.1)
        assert received[0][2:4] == b"\x00\x01"
        assert accepted[0].remote_address[1] == peer.get_local_candidates()[1].port
        accepted[0].close()
        listener.close()

    scene(test)


def test_a_remote_candidate_of_simultaneous_open_harms_nothing() -> None:
    async def test(it: Scene) -> None:
        peer, server = it.peer(), it.server()
        for agent in (peer, server):
            agent.add_remote_candidate(
                unmarshal_candidate("candidate:9 1 tcp 1675624447 192.0.2.9 9999 typ host tcptype so")
            )
        here, there = await connect(peer, server)
        await talk(here, there)
        assert len(it.streams) <= 1

    scene(test)


@pytest.mark.row("ICE-50")
@pytest.mark.parametrize("blocked", [False, True])
def test_a_lite_agent_takes_connections_and_opens_none(blocked: bool) -> None:
    async def test(it: Scene) -> None:
        if blocked:
            it.block_udp()
        server, peer = it.server(lite=True, candidate_types=["host"]), it.peer()
        for one, other in ((server, peer), (peer, server)):
            one.on_candidate(other.add_remote_candidate)
        for agent in (server, peer):
            await agent.gather_candidates()
            await agent.gathering_complete()
        assert {(one.transport, one.tcp_type) for one in server.get_local_candidates()} == {
            ("udp", None),
            ("tcp", TCPType.PASSIVE),
        }
        server.start(False, *peer.get_local_user_credentials())
        peer.start(True, *server.get_local_user_credentials(), remote_lite=True)
        await asyncio.sleep(5)
        assert selected(peer)[0].transport == ("tcp" if blocked else "udp")
        await asyncio.sleep(120)
        for agent in (server, peer):
            assert agent.connection_state in (ICETransportState.CONNECTED, ICETransportState.COMPLETED)

    scene(test)


@pytest.mark.parametrize("has_ended", [False, True])
def test_what_a_connection_has_no_room_for_is_counted_as_discarded(has_ended: bool) -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        here, there = await connect(it.peer(), it.server())
        await talk(here, there)
        agent = it.agents[0]
        before = agent.get_selected_candidate_pair_stats()
        assert before is not None
        if has_ended:
            it.streams[0].peer.close()
            await asyncio.sleep(0.1)
        else:
            it.network.cut(it.network.hosts["peer"], it.network.hosts["server"])
        for _ in range(1000):
            here.send(b"x" * 1000)
        stats = agent.get_selected_candidate_pair_stats()
        assert stats is not None
        sent, discarded = stats.packets_sent - before.packets_sent, stats.packets_discarded_on_send
        assert sent + discarded == 1000
        assert sent == (0 if has_ended else pytest.approx(262, abs=2))
        assert stats.bytes_discarded_on_send == 1000 * discarded == 1000 * agent.dropped
        assert agent.traffic.packets_sent == stats.packets_sent

    scene(test)


# Connections that end


def test_a_connection_that_ends_is_opened_again_and_the_agents_go_on() -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        here, there = await connect(it.peer(), it.server())
        await talk(here, there)
        for stream in it.streams:
            stream.peer.close()
        states: list[ICETransportState] = []
        for agent in it.agents:
            agent.on_connection_state_change(states.append)
        await asyncio.sleep(20)
        await talk(here, there)
        assert len(it.streams) == 1
        assert ICETransportState.FAILED not in states

    scene(test)


def test_a_connection_that_was_opened_again_stays() -> None:
    """It needs no other proof than the first, whichever end of it had come to an end."""

    async def test(it: Scene) -> None:
        it.block_udp()
        here, there = await connect(it.peer(), it.server())
        for _ in range(2):
            before = it.streams[0].local_address
            it.streams[0].peer.close()
            await asyncio.sleep(20)
            reopened = it.streams[0].local_address
            assert reopened != before
            await asyncio.sleep(120)
            assert [stream.local_address for stream in it.streams] == [reopened]
            await talk(here, there)

    scene(test)


def test_a_dead_server_fails_the_agent() -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        peer, server = it.peer(), it.server()
        await connect(peer, server)
        it.mux.close()
        assert server.connection_state is ICETransportState.DISCONNECTED
        await asyncio.sleep(40)
        assert peer.connection_state is ICETransportState.FAILED
        assert server.connection_state is ICETransportState.FAILED

    scene(test)


@pytest.mark.row("CON-05")
def test_consent_is_asked_over_tcp_and_ends_with_the_path() -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        peer, server = it.peer(timings=AgentTimings(failed_timeout=0)), it.server()
        here, there = await connect(peer, server)
        await talk(here, there)
        await asyncio.sleep(60)
        stats = peer.get_selected_candidate_pair_stats()
        assert stats is not None
        assert stats.consent_requests_sent >= 10
        it.network.cut(it.network.hosts["peer"], it.network.hosts["server"])
        await asyncio.sleep(20)
        here.send(b"with consent")
        sent = peer.get_selected_candidate_pair_stats()
        await asyncio.sleep(11)
        here.send(b"without consent")
        assert peer.connection_state is ICETransportState.DISCONNECTED
        after = peer.get_selected_candidate_pair_stats()
        assert sent is not None
        assert after is not None
        assert sent.packets_sent == after.packets_sent == stats.packets_sent + 1

    scene(test)


@pytest.mark.row("TCP-06")
def test_a_check_over_tcp_is_sent_once() -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        peer, server = it.peer(network_types=TCP), it.server(network_types=TCP)
        await server.gather_candidates()
        await server.gathering_complete()
        await peer.gather_candidates()
        # The server has not heard of the peer yet: its mux takes the connection, and its agent the check.
        for candidate in server.get_local_candidates():
            peer.add_remote_candidate(candidate)
        it.network.cut(it.network.hosts["server"], it.network.hosts["peer"], one_way=True)
        peer.start(True, *server.get_local_user_credentials())
        await asyncio.sleep(25)
        [pair] = peer.get_candidate_pairs_stats()
        assert pair.requests_sent == 1

    scene(test)


# Many, restarts, real sockets


def test_fifty_agents_on_one_port() -> None:
    async def test(it: Scene) -> None:
        pairs = []
        for number in range(50):
            it.network.host(f"peer {number}", f"198.51.100.{number + 1}")
            pairs.append((it.agent(f"peer {number}", network_types=TCP), it.server(network_types=TCP)))
        conns = await asyncio.gather(*(connect(*pair) for pair in pairs))
        await asyncio.gather(*(talk(*conn) for conn in conns))
        assert it.mux.connections == 50

    scene(test)


def test_a_restart_over_tcp_keeps_the_old_connection_until_the_new_one_is_there() -> None:
    async def test(it: Scene) -> None:
        it.block_udp()
        peer, server = it.peer(), it.server()
        here, there = await connect(peer, server)
        await talk(here, there)
        [before] = it.streams
        for agent in (server, peer):
            await agent.restart()
        for agent in (server, peer):
            await agent.gather_candidates()
        await talk(here, there)
        peer.start(True, *server.get_local_user_credentials())
        server.start(False, *peer.get_local_user_credentials())
        for _ in range(100):
            await talk(here, there, 1)
            await asyncio.sleep(0.05)
        assert not peer.is_restarting
        await asyncio.sleep(60)
        [after] = it.streams
        assert after is not before
        await talk(here, there)

    scene(test)


def test_udp_and_tcp_muxes_side_by_side() -> None:
    async def test(it: Scene) -> None:
        udp = await UDPMux.listen(port=PORT, net=it.network.hosts["server"])
        server = it.server(udp_mux=udp)
        here, there = await connect(it.peer(), server)
        await talk(here, there)
        assert {candidate.port for candidate in server.get_local_candidates()} == {9, PORT}
        udp.close()
        await asyncio.sleep(0.1)
        assert server.connection_state is not ICETransportState.FAILED

    scene(test)


def test_simultaneous_open_over_real_sockets() -> None:
    async def main() -> None:
        options = {"network_types": TCP, "include_loopback": True, "ip_filter": lambda ip: ip == "127.0.0.1"}
        one, other = Agent(AgentOptions(**options)), Agent(AgentOptions(**options))
        here, there = await connect(one, other)
        await talk(here, there)
        assert selected(one)[0].tcp_type is TCPType.SIMULTANEOUS_OPEN
        await one.close()
        await other.close()

    run_real(main())


def test_over_real_sockets() -> None:
    async def main() -> None:
        async with await TCPMux.listen("127.0.0.1") as mux:
            options = {"network_types": TCP, "include_loopback": True, "ip_filter": lambda ip: ip == "127.0.0.1"}
            peer, server = Agent(AgentOptions(**options)), Agent(AgentOptions(tcp_mux=mux, **options))
            here, there = await connect(peer, server)
            await talk(here, there)
            assert there.local_address == ("127.0.0.1", mux.port)
            for size in (1, 1200, 16000):
                here.send(b"x" * size)
                assert len(await there.recv()) == size
            await peer.close()
            await server.close()

    run_real(main())
