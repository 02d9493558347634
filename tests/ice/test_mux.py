"""One port for many agents: whole agents on virtual time, and what strangers can do to them."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from tests.support.real_loop import run_real
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from webrtc_py.errors import ArgumentTypeError, InvalidAccessError, InvalidStateError
from webrtc_py.ice import stun
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.mux import TCPMux, UDPMux
from webrtc_py.runtime.network import DatagramSocket
from webrtc_py.states import CandidateType, ICETransportState

PORT = 3478
SERVER = "192.0.2.1"
SERVER6 = "2001:db8::1"


class Call:
    """An agent on the mux, which accepts, and one elsewhere, which dials."""

    def __init__(self, network: VirtualNetwork, mux: UDPMux, number: int, address: str = "", **options: Any) -> None:
        name = f"peer {number}"
        if name not in network.hosts:
            network.host(name, address or f"198.51.{number // 256}.{number % 256}")
        self.number = number
        self.server = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux, **options))
        self.peer = Agent(AgentOptions(net=network.hosts[name]))

    async def connect(self) -> tuple[Conn, Conn]:
        return await connect(self.peer, self.server)

    async def talk(self, dialled: Conn, accepted: Conn, rounds: int = 3) -> None:
        for round in range(rounds):
            dialled.send(b"to the server %d %d" % (self.number, round))
            assert await accepted.recv() == b"to the server %d %d" % (self.number, round)
            accepted.send(b"to the peer %d %d" % (self.number, round))
            assert await dialled.recv() == b"to the peer %d %d" % (self.number, round)

    async def close(self) -> None:
        await asyncio.gather(self.server.close(), self.peer.close())


async def connect(dialling: Agent, accepting: Agent) -> tuple[Conn, Conn]:
    dialling.on_candidate(accepting.add_remote_candidate)
    accepting.on_candidate(dialling.add_remote_candidate)
    await dialling.gather_candidates()
    await accepting.gather_candidates()
    return await asyncio.gather(
        dialling.dial(*accepting.get_local_user_credentials()), accepting.accept(*dialling.get_local_user_credentials())
    )


def on_mux(test: Callable[[VirtualNetwork, UDPMux], Coroutine[Any, Any, None]], *addresses: str, seed: int = 1) -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=seed, delay=0.01)
        server = network.host("server", *(addresses or (SERVER, SERVER6)))
        async with await UDPMux.listen(port=PORT, net=server) as mux:
            await test(network, mux)

    run(main())


def described(candidates: Sequence[Candidate]) -> set[tuple[str, str, int]]:
    return {(candidate.type.value, candidate.address, candidate.port) for candidate in candidates}


# UDP


def test_a_hundred_agents_on_one_port_over_both_families() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        calls = [
            Call(network, mux, number, f"2001:db8:1::{number:x}" if number % 2 else "") for number in range(1, 101)
        ]
        conns = await asyncio.gather(*(call.connect() for call in calls))
        await asyncio.gather(*(call.talk(*conn) for call, conn in zip(calls, conns, strict=True)))
        assert {conn[1].local_address for conn in conns} == {(SERVER, PORT), (SERVER6, PORT)}
        bound = set(network.hosts["server"].sockets)
        assert bound == {(host, PORT) for host in (SERVER, SERVER6, "127.0.0.1", "::1")}
        assert mux.dropped == 0
        await asyncio.sleep(30)
        assert all(call.server.connection_state is ICETransportState.COMPLETED for call in calls)
        await asyncio.gather(*(call.close() for call in calls))
        assert all(len(port._endpoints) == 1 for port in mux._ports.values())

    on_mux(test)


def test_the_candidates_are_the_muxes_and_filters_hold() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        everything = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux, include_loopback=True))
        some = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux, ip_filter=lambda ip: ip != SERVER))
        for agent in (everything, some):
            await agent.gather_candidates()
            await agent.gathering_complete()
        assert described(everything.get_local_candidates()) == {
            ("host", host, PORT) for host in (SERVER, SERVER6, "127.0.0.1", "::1")
        }
        assert described(some.get_local_candidates()) == {("host", SERVER6, PORT)}
        assert mux.port == PORT
        assert set(mux.addresses) == {(host, PORT) for host in (SERVER, SERVER6, "127.0.0.1", "::1")}
        await everything.close()
        await some.close()

    on_mux(test)


def test_a_server_is_asked_once_for_all_and_again_when_the_answer_is_old() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        stun_server = ("192.0.2.3", 3478)
        network.stun_server("stun.example", stun_server[0])
        asked: list[float] = []
        loop = asyncio.get_running_loop()
        network.tap(lambda packet: asked.append(loop.time()) if packet.destination == stun_server else None)

        async def gather(count: int) -> list[Agent]:
            options = AgentOptions(net=network.hosts["server"], udp_mux=mux, urls=["stun:stun.example"])
            agents = [Agent(options) for _ in range(count)]
            for agent in agents:
                await agent.gather_candidates()
            for agent in agents:
                await agent.gathering_complete()
            return agents

        agents = await gather(20)
        srflx = {("srflx", "198.51.100.1", 20000)}
        for agent in agents:
            assert described(agent.get_local_candidates()) >= srflx
        await asyncio.sleep(10)
        agents += await gather(20)
        assert len(asked) == 1
        await asyncio.gather(*(agent.close() for agent in agents))
        await asyncio.sleep(15.1)
        agents = await gather(1)
        assert len(asked) == 2
        # What holds is the mapping of the NAT, and the socket is the same.
        assert described(agents[0].get_local_candidates()) >= srflx
        await agents[0].close()

    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        server = network.nat("router", "198.51.100.1").host("server", "10.0.0.1")
        async with await UDPMux.listen(port=PORT, net=server) as mux:
            await test(network, mux)

    run(main())


def test_a_server_that_does_not_answer_is_reported_to_all_who_ask() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        network.host("nobody", "192.0.2.3")
        network.names["stun.example"] = ["192.0.2.3"]
        options = AgentOptions(net=network.hosts["server"], udp_mux=mux, urls=["stun:stun.example"])
        agents = [Agent(options) for _ in range(3)]
        errors: list[int] = []
        for agent in agents:
            agent.on_candidate_error(lambda error: errors.append(error.error_code))
            await agent.gather_candidates()
        await agents[0].close()
        for agent in agents[1:]:
            await agent.gathering_complete()
        assert errors == [701, 701]
        last = Agent(options)
        last.on_candidate_error(lambda error: errors.append(error.error_code))
        await last.gather_candidates()
        await asyncio.sleep(1)
        mux.close()
        await last.gathering_complete()
        assert errors == [701, 701, 701]
        await asyncio.gather(*(agent.close() for agent in [*agents, last]))

    on_mux(test, SERVER)


def test_a_mux_that_is_closed_asks_no_server_any_more() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        server = network.hosts["server"]
        resolve = server.resolve

        async def resolve_slowly(host: str, port: int) -> list[tuple[str, int]]:
            await asyncio.sleep(1)
            return await resolve(host, port)

        server.resolve = resolve_slowly  # type: ignore[method-assign]
        network.stun_server("stun.example", "192.0.2.3")
        async with Agent(AgentOptions(net=server, udp_mux=mux, urls=["stun:stun.example"])) as agent:
            errors: list[str] = []
            agent.on_candidate_error(lambda error: errors.append(error.reason))
            await agent.gather_candidates()
            await asyncio.sleep(0.5)
            mux.close()
            async with asyncio.timeout(1):
                await agent.gathering_complete()
            await asyncio.sleep(0)
            assert errors == ["the UDP mux was closed"]

    on_mux(test, SERVER)


def test_many_behind_one_nat_are_told_apart() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        nat = network.nat("office", "198.51.100.1", kind="symmetric")
        calls = []
        for number in range(1, 21):
            nat.host(f"peer {number}", f"10.0.0.{number}")
            calls.append(Call(network, mux, number))
        conns = await asyncio.gather(*(call.connect() for call in calls))
        await asyncio.gather(*(call.talk(*conn) for call, conn in zip(calls, conns, strict=True)))
        assert len({conn[1].remote_address for conn in conns}) == 20
        await asyncio.gather(*(call.close() for call in calls))

    on_mux(test)


def test_a_mux_that_is_closed_while_it_opens_a_port_leaves_none() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        server = network.hosts["server"]
        server.add_interface("eth1", "192.0.2.9")
        open_udp = server.open_udp

        async def open_slowly(host: str, port: int = 0) -> DatagramSocket:
            socket = await open_udp(host, port)
            await asyncio.sleep(1)
            return socket

        server.open_udp = open_slowly  # type: ignore[method-assign, assignment]
        asking = asyncio.create_task(mux.port_on("192.0.2.9"))
        await asyncio.sleep(0.5)
        mux.close()
        assert await asking is None
        assert server.leftovers() == []

    on_mux(test)


def test_who_gives_up_listening_leaves_no_port() -> None:
    async def main() -> None:
        server = VirtualNetwork().host("server", SERVER, SERVER6)
        open_udp = server.open_udp

        async def open_slowly(host: str, port: int = 0) -> DatagramSocket:
            socket = await open_udp(host, port)
            if host == SERVER6:
                socket.close()
                await asyncio.sleep(10)
            return socket

        server.open_udp = open_slowly  # type: ignore[method-assign, assignment]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await UDPMux.listen(net=server)
        assert server.leftovers() == []

    run(main())


def test_agents_come_and_go_and_the_port_stays() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        stayer = Call(network, mux, 1)
        stay = await stayer.connect()
        for number in range(2, 12):
            call = Call(network, mux, number)
            await call.talk(*await call.connect())
            await call.close()
            await stayer.talk(*stay)
        await stayer.close()

    on_mux(test)


def test_a_restart_uses_the_same_port_and_loses_nothing() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        call, other = Call(network, mux, 1), Call(network, mux, 2)
        dialled, accepted = await call.connect()
        await other.connect()
        for agent in (call.server, call.peer):
            await agent.restart()
        assert call.server.is_restarting
        for agent in (call.server, call.peer):
            await agent.gather_candidates()
            assert "room for one connection" not in agent.explain()
        await call.talk(dialled, accepted)
        call.peer.start(True, *call.server.get_local_user_credentials())
        call.server.start(False, *call.peer.get_local_user_credentials())
        for _ in range(100):
            await call.talk(dialled, accepted, 1)
            assert "room for one connection" not in call.server.explain()
            await asyncio.sleep(0.01)
        assert not call.server.is_restarting
        assert accepted.local_address == (SERVER, PORT)
        await asyncio.sleep(30)
        assert len(mux._ports[SERVER]._endpoints) == 3
        await call.talk(dialled, accepted)
        await call.close()
        await other.close()

    on_mux(test)


def test_closing_the_mux_takes_its_candidates_from_the_agents(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "webrtc_py.ice")

    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        call = Call(network, mux, 1)
        waiting = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux))
        await waiting.gather_candidates()
        await waiting.gathering_complete()
        _, accepted = await call.connect()
        mux.close()
        mux.close()
        assert call.server.connection_state is ICETransportState.DISCONNECTED
        accepted.send(b"into the void")
        await asyncio.sleep(60)
        assert call.server.connection_state is ICETransportState.FAILED
        assert call.peer.connection_state is ICETransportState.FAILED
        assert waiting.get_local_candidates() == []
        late = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux))
        with pytest.raises(InvalidStateError, match="closed"):
            await late.gather_candidates()
        for agent in (late, waiting):
            await agent.close()
        await call.close()

    on_mux(test, SERVER)
    assert sum("the UDP mux was closed" in record.getMessage() for record in caplog.records) >= 2


def test_agents_on_one_mux_talk_to_each_other() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        async def say(sender: Conn, receiver: Conn, word: bytes) -> None:
            sender.send(word)
            assert await asyncio.wait_for(receiver.recv(), 1) == word

        options = AgentOptions(net=network.hosts["server"], udp_mux=mux)
        pairs = [(Agent(options), Agent(options)) for _ in range(3)]
        talks = [await connect(*pair) for pair in pairs]
        for number, (one, other) in enumerate(talks):
            await say(one, other, b"there %d" % number)
            await say(other, one, b"back %d" % number)
        for agent in pairs[0]:
            await agent.restart()
        for agent in pairs[0]:
            await agent.gather_candidates()
        for agent, peer in (pairs[0], pairs[0][::-1]):
            agent.set_remote_credentials(*peer.get_local_user_credentials())
        await asyncio.sleep(10)
        assert not any(agent.is_restarting for agent in pairs[0])
        for one, other in talks:
            await say(one, other, b"there again")
            await say(other, one, b"back again")
        await pairs[0][0].close()
        talks[0][1].send(b"nobody is there")
        await asyncio.sleep(1)
        assert mux.dropped
        await asyncio.gather(*(agent.close() for pair in pairs for agent in pair))

    on_mux(test)


def test_two_muxes_talk_and_the_newest_connection_has_the_address() -> None:
    """Between two ports there is one path: the first connection's checks go on, but the data are the second's."""

    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        there = network.host("other server", "192.0.2.9")
        other_mux = await UDPMux.listen("192.0.2.9", PORT, net=there)
        pairs = []
        for _ in range(2):
            pair = [Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux))]
            pair.append(Agent(AgentOptions(net=there, udp_mux=other_mux)))
            conns = await connect(*pair)
            conns[0].send(b"hello")
            assert await conns[1].recv() == b"hello"
            conns[1].send(b"hello")
            assert await conns[0].recv() == b"hello"
            pairs.append((pair, conns))
        await asyncio.sleep(60)
        for pair, _ in pairs:
            assert [agent.connection_state for agent in pair] == [ICETransportState.COMPLETED] * 2
        assert [["room for one connection" in agent.explain() for agent in pair] for pair, _ in pairs] == [
            [True, True],
            [False, False],
        ]
        newest = pairs[1][0][0].get_local_user_credentials()[0]
        assert f"another agent on our port, {newest}" in pairs[0][0][0].explain()
        await asyncio.gather(*(agent.close() for agent in pairs[1][0]))
        (first, (here, far)) = pairs[0]
        assert "room for one connection" not in first[0].explain()
        here.send(b"mine again")
        assert await far.recv() == b"mine again"
        await asyncio.gather(*(agent.close() for agent in first))
        other_mux.close()

    on_mux(test, SERVER)


def test_strangers_change_nothing() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        calls = [Call(network, mux, number) for number in (1, 2)]
        conns = [await call.connect() for call in calls]
        ufrags = [call.server.get_local_user_credentials()[0] for call in calls]
        before = [dict(port._claims) for port in mux._ports.values()]
        sent = network.counters["sent"]
        peer = conns[0][0].local_address
        for number in range(500):
            strange = (f"203.0.{number // 250}.{number % 250}", 1000 + number)
            for source in (strange, peer):
                for ufrag in (*ufrags, "nobody"):
                    request = stun.binding_request(
                        number.to_bytes(12),
                        username=f"{ufrag}:peer",
                        key=b"guess",
                        priority=1,
                        controlling=True,
                        tie_breaker=number,
                        use_candidate=True,
                    )
                    network.inject(request, source=source, destination=(SERVER, PORT))
                answer = stun.binding_success(number.to_bytes(12), mapped_address=strange, key=b"guess")
                network.inject(answer, source=source, destination=(SERVER, PORT))
            network.inject(bytes([23]) + b"x" * 50, source=strange, destination=(SERVER, PORT))
        await asyncio.sleep(0.5)
        assert [dict(port._claims) for port in mux._ports.values()] == before
        # The forged packets are counted as sent themselves; nothing is answered.
        assert network.counters["sent"] - sent <= 500 * 9 + 4
        assert mux.dropped >= 500 * 3
        for call, conn in zip(calls, conns, strict=True):
            await call.talk(*conn)
            await call.close()

    on_mux(test, SERVER)


def test_a_peer_cannot_take_the_address_of_another_agents_peer() -> None:
    """It signals that address as its own, and can forge its source; but it cannot answer from there."""

    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        victim, villain = Call(network, mux, 1), Call(network, mux, 2)
        dialled, accepted = await victim.connect()
        target = dialled.local_address
        assert target is not None
        agent, hostile = villain.server, villain.peer
        await agent.gather_candidates()
        await agent.gathering_complete()
        agent.start(False, *hostile.get_local_user_credentials())
        agent.add_remote_candidate(Candidate("1", 1, "udp", 2130706431, target[0], target[1], CandidateType.HOST))
        ufrag, pwd = agent.get_local_user_credentials()
        for number in range(50):
            request = stun.binding_request(
                number.to_bytes(12),
                username=f"{ufrag}:{hostile.get_local_user_credentials()[0]}",
                key=pwd.encode(),
                priority=2130706431,
                controlling=True,
                tie_breaker=2**64 - 1,
                use_candidate=True,
            )
            network.inject(request, source=target, destination=(SERVER, PORT))
            await victim.talk(dialled, accepted, 1)
        await asyncio.sleep(20)
        await victim.talk(dialled, accepted)
        assert agent.get_selected_candidate_pair() is None
        await victim.close()
        await villain.close()

    on_mux(test, SERVER)


def test_data_may_overtake_the_check_that_proves_them() -> None:
    """DTLS begins as soon as the peer's check is answered; ours may be on its way still."""

    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        call = Call(network, mux, 1)
        hello = bytes([22]) + b"hello"

        def hold_answers(packet: Any) -> Any:
            is_answer = packet.sender is network.hosts["peer 1"] and packet.data[:2] == b"\x01\x01"
            return DROP if is_answer and loop.time() < until else None

        loop = asyncio.get_running_loop()
        until = loop.time() + 0.4
        network.tap(hold_answers)
        selected: asyncio.Future[Candidate] = loop.create_future()
        call.peer.on_selected_candidate_pair_change(lambda local, remote: selected.set_result(local))
        connecting = asyncio.ensure_future(call.connect())
        local = await selected
        network.inject(hello, source=(local.address, local.port), destination=(SERVER, PORT))
        conn = await connecting
        assert await conn[1].recv() == hello
        await call.close()

    on_mux(test, SERVER)


def test_names_of_agents_are_different() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        own = {"local_ufrag": "mine", "local_pwd": "p" * 22}
        first = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux, **own))
        second = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux, **own))
        third = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux, **own))
        await first.gather_candidates()
        await second.gather_candidates()
        await first.gathering_complete()
        await second.gathering_complete()
        assert (len(first.get_local_candidates()), len(second.get_local_candidates())) == (1, 0)
        with pytest.raises(InvalidStateError, match="mine"):
            await third.gather_candidates()
        for agent in (first, second, third):
            await agent.close()
        again = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux, **own))
        await again.gather_candidates()
        await again.close()

    on_mux(test, SERVER)


def test_an_address_that_comes_later_is_listened_on() -> None:
    async def test(network: VirtualNetwork, mux: UDPMux) -> None:
        network.hosts["server"].add_interface("eth1", "192.0.2.77")
        agent = Agent(AgentOptions(net=network.hosts["server"], udp_mux=mux))
        await agent.gather_candidates()
        await agent.gathering_complete()
        assert described(agent.get_local_candidates()) == {("host", SERVER, PORT), ("host", "192.0.2.77", PORT)}
        await agent.close()

    on_mux(test, SERVER)


# Listening


@pytest.mark.parametrize("kind", [UDPMux, TCPMux])
def test_where_it_listens(kind: type[UDPMux] | type[TCPMux]) -> None:
    async def main() -> None:
        network = VirtualNetwork()
        host = network.host("server", SERVER, SERVER6, "192.0.2.7")
        four, six = {SERVER, "192.0.2.7", "127.0.0.1"}, {SERVER6, "::1"}
        for hosts, expected in (
            (None, four | six),
            ("0.0.0.0", four),
            ("::", six),
            (["::", SERVER], six | {SERVER}),
            (SERVER, {SERVER}),
            ([SERVER, SERVER6], {SERVER, SERVER6}),
        ):
            async with await kind.listen(hosts, net=host) as mux:
                assert {address[0] for address in mux.addresses} == expected
                assert {address[1] for address in mux.addresses} == {mux.port}
                assert mux.port >= 32768

    run(main())


@pytest.mark.parametrize("kind", [UDPMux, TCPMux])
def test_a_port_of_the_systems_choice_is_free_on_all_addresses(kind: type[UDPMux] | type[TCPMux]) -> None:
    async def main() -> None:
        network = VirtualNetwork()
        host = network.host("server", SERVER, "192.0.2.7")
        taken = [host.bind("192.0.2.7", 32768 + number) for number in range(3)]
        listening = [host.listen("192.0.2.7", 32768 + number) for number in range(3)]
        async with await kind.listen("0.0.0.0", net=host) as mux:
            assert mux.port == 32771
        taken.append(host.bind(SERVER, 5000))
        listening.append(host.listen(SERVER, 5000))
        with pytest.raises(OSError, match="in use") as raised:
            await kind.listen(port=5000, net=host)
        assert raised.value.errno == errno.EADDRINUSE
        for socket in taken:
            socket.close()
        for listener in listening:
            listener.close()

    run(main())


@pytest.mark.parametrize("kind", [UDPMux, TCPMux])
def test_wrong_arguments(kind: type[UDPMux] | type[TCPMux]) -> None:
    async def main() -> None:
        host = VirtualNetwork().host("server", SERVER)
        for hosts, port, words in (
            ("server.example", 0, "server.example"),
            ([], 0, "empty"),
            (None, 65536, "65536"),
            (None, -1, "-1"),
        ):
            with pytest.raises(ValueError, match=words):
                await kind.listen(hosts, port, net=host)
        wrong: list[tuple[Any, Any, str]] = [(5, 0, "hosts"), (None, "5000", "port is '5000'"), (None, 1.5, "port")]
        for hosts, port, words in wrong:
            with pytest.raises(ArgumentTypeError, match=words):
                await kind.listen(hosts, port, net=host)
        with pytest.raises(OSError, match="no address"):
            await kind.listen("192.0.2.9", net=host)
        with pytest.raises(ValueError, match="max_connections is 0"):
            await TCPMux.listen(net=host, max_connections=0)
        mux = await UDPMux.listen(SERVER, net=host)
        with pytest.raises(InvalidAccessError, match="port_range"):
            AgentOptions(udp_mux=mux, port_range=(5000, 6000))
        mux.close()

    run(main())


def test_a_mux_on_the_systems_network() -> None:
    async def main() -> None:
        async with await UDPMux.listen("127.0.0.1") as mux:
            agents = [Agent(AgentOptions(udp_mux=mux, include_loopback=True)) for _ in range(3)]
            peers = [Agent(AgentOptions(include_loopback=True, ip_filter=lambda ip: ip == "127.0.0.1")) for _ in agents]
            for agent, peer in zip(agents, peers, strict=True):
                dialled, accepted = await connect(peer, agent)
                assert accepted.local_address == ("127.0.0.1", mux.port)
                dialled.send(b"hello")
                assert await accepted.recv() == b"hello"
            for one in (*agents, *peers):
                await one.close()

    run_real(main())
