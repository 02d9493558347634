"""Restarts of agents on a virtual network: make before break (RFC 8445 section 9)."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.ice.agent_pair import TURN, Pair, in_network
from tests.support.virtual_loop import turns
from tests.support.virtual_network import Packet, VirtualNetwork
from webrtc_py.errors import InvalidAccessError, InvalidStateError
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.conn import Conn
from webrtc_py.states import CandidateType, ICEGathererState, ICERole, ICETransportState


async def restart(pair: Pair) -> None:
    """Both ends, and the signalling between them."""
    await pair.one.restart()
    await pair.other.restart()
    await pair.one.gather_candidates()
    await pair.other.gather_candidates()
    pair.one.set_remote_credentials(*pair.other.get_local_user_credentials())
    pair.other.set_remote_credentials(*pair.one.get_local_user_credentials())


async def until(condition: Callable[[], bool], timeout: float = 60) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110  any of many things may make it true
            await asyncio.sleep(0.01)


async def count_through(here: Conn, there: Conn, work: Coroutine[Any, Any, None]) -> tuple[list[int], list[float]]:
    """A numbered datagram each 10 ms while ``work`` runs, and a second more: which arrived, and when."""
    loop = asyncio.get_running_loop()
    numbers: list[int] = []
    times: list[float] = []

    def received(data: bytes) -> None:
        numbers.append(int(data))
        times.append(loop.time())

    there.on_data(received)
    task = loop.create_task(work)
    sent = 0
    last = None
    while last is None or loop.time() < last + 1:
        here.send(b"%d" % sent)
        sent += 1
        await asyncio.sleep(0.01)
        if last is None and task.done():
            task.result()
            last = loop.time()
    await asyncio.sleep(1)
    assert numbers == list(range(sent))
    return numbers, times


@pytest.mark.row("ICE-41", "ICE-42")
@pytest.mark.parametrize("delay", [0.001, 0.05, 0.3])
def test_a_restart_loses_nothing_and_leaves_no_gap(delay: float) -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            states: list[ICETransportState] = []
            pair.one.on_connection_state_change(states.append)
            before = pair.one.get_local_user_credentials()
            roles = pair.one.role, pair.other.role

            async def work() -> None:
                await asyncio.sleep(0.5)
                await restart(pair)
                assert pair.one.is_restarting
                await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
                await asyncio.sleep(10)

            _, times = await count_through(here, there, work())
            assert max(b - a for a, b in itertools.pairwise(times)) <= 0.01 + 2 * delay
            after = pair.one.get_local_user_credentials()
            assert before[0] != after[0]
            assert before[1] != after[1]
            assert (pair.one.role, pair.other.role) == roles
            assert ICETransportState.CHECKING not in states
            assert ICETransportState.DISCONNECTED not in states
            ports = {candidate.port for candidate in pair.one.get_local_candidates()}
            assert len(ports) == 1

    in_network(test, delay=delay)


def test_a_lite_agent_stays_connected_when_the_peers_checks_are_ahead_of_its_credentials() -> None:
    """A lite agent then selects a path in the very step in which it starts."""

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network, other={"lite": True, "candidate_types": ["host"]}) as pair:
            await pair.connect()
            states: list[ICETransportState] = []
            pair.other.on_connection_state_change(states.append)
            await asyncio.gather(pair.one.restart(), pair.other.restart())
            await asyncio.gather(pair.one.gather_candidates(), pair.other.gather_candidates())
            pair.one.set_remote_credentials(*pair.other.get_local_user_credentials())
            await asyncio.sleep(0.5)
            assert pair.other.is_restarting
            pair.other.set_remote_credentials(*pair.one.get_local_user_credentials())
            assert not pair.other.is_restarting
            await asyncio.sleep(10)
            assert set(states) <= {ICETransportState.CONNECTED, ICETransportState.COMPLETED}

    in_network(test, delay=0.01)


def test_a_restart_reuses_the_sockets_and_gives_them_back_with_the_agent() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            port = pair.one.get_local_candidates()[0].port
            for _ in range(3):
                await restart(pair)
                await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
                assert pair.one.get_local_candidates()[0].port == port
            await asyncio.sleep(10)
            assert not pair.one._generations.are_several

    in_network(test, delay=0.01)


def test_a_restart_mends_what_has_failed() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            network.cut(network.hosts["alice"], network.hosts["bob"])
            await until(lambda: pair.one.connection_state is ICETransportState.FAILED)
            network.restore(network.hosts["alice"], network.hosts["bob"])
            await asyncio.sleep(10)
            assert pair.one.connection_state is ICETransportState.FAILED
            states: list[ICETransportState] = []
            pair.one.on_connection_state_change(states.append)
            await restart(pair)
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            here.send(b"again")
            assert await there.recv() == b"again"
            assert states[:2] == [ICETransportState.CHECKING, ICETransportState.CONNECTED]
            assert pair.one.failure == ""

    in_network(test, delay=0.01)


def test_a_restart_that_is_cancelled_leaves_the_old_session_whole() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await pair.one.gathering_complete()
            credentials = pair.one.get_local_user_credentials()
            candidates = pair.one.get_local_candidates()
            selected = pair.one.get_selected_candidate_pair()
            await pair.one.restart()
            await pair.one.gather_candidates()
            await pair.one.gathering_complete()
            assert pair.one.get_local_user_credentials() != credentials
            here.send(b"meanwhile")
            assert await there.recv() == b"meanwhile"
            pair.one.cancel_restart()
            assert pair.one.get_local_user_credentials() == credentials
            assert pair.one.get_local_candidates() == candidates
            assert pair.one.get_selected_candidate_pair() == selected
            assert pair.one.gathering_state is ICEGathererState.COMPLETE
            await asyncio.sleep(60)
            assert pair.one.connection_state in (ICETransportState.CONNECTED, ICETransportState.COMPLETED)
            here.send(b"still")
            assert await there.recv() == b"still"
            with pytest.raises(InvalidStateError, match="no restart"):
                pair.one.cancel_restart()

    in_network(test, delay=0.01)


def test_a_restart_whose_peer_never_answers_keeps_the_old_path() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await pair.one.restart()
            await pair.one.gather_candidates()
            pair.one.set_remote_credentials("nobody", "x" * 22)
            await asyncio.sleep(90)
            assert pair.one.connection_state is ICETransportState.CONNECTED
            here.send(b"still")
            assert await there.recv() == b"still"

    in_network(test, delay=0.01)


def test_a_restart_brings_another_policy_and_other_servers() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4")
        async with Pair(network) as pair:
            here, there = await pair.connect()
            options = pair.one._options
            options.urls = [TURN]
            options.candidate_types = [CandidateType.RELAY]
            pair.one.set_options(options)
            await restart(pair)
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            await asyncio.sleep(10)
            selected = pair.one.get_selected_candidate_pair()
            assert selected is not None
            assert selected[0].type is CandidateType.RELAY
            assert {candidate.type for candidate in pair.one.get_local_candidates()} == {CandidateType.RELAY}
            here.send(b"by relay")
            assert await there.recv() == b"by relay"
            assert server.allocations == 1
            await restart(pair)
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            await asyncio.sleep(10)
            assert server.allocations == 1

    in_network(test, delay=0.01)


def test_what_a_restart_refuses() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            with pytest.raises(InvalidStateError, match="not been started"):
                await pair.one.restart()
            await pair.connect()
            with pytest.raises(InvalidAccessError):
                await pair.one.restart("abc", "x" * 22)
            with pytest.raises(InvalidAccessError):
                await pair.one.restart("abcd", "x" * 21)
            ufrag, pwd = pair.one.get_local_user_credentials()
            for same in ((ufrag, "x" * 22), ("abcd", pwd)):
                with pytest.raises(InvalidAccessError, match="changes both"):
                    await pair.one.restart(*same)
            for half in (("abcd", ""), ("", "x" * 22)):
                with pytest.raises(InvalidAccessError, match="together"):
                    await pair.one.restart(*half)
            assert not pair.one.is_restarting
            await pair.one.restart("abcd", "x" * 22)
            assert pair.one.get_local_user_credentials() == ("abcd", "x" * 22)
            await pair.one.close()
            with pytest.raises(InvalidStateError, match="closed"):
                await pair.one.restart()

    in_network(test)


def test_candidates_go_to_the_generation_that_they_name() -> None:
    """The peer has restarted before us, and its candidates overtake the news of it."""

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            await pair.one.restart()
            await pair.one.gather_candidates()
            await pair.one.gathering_complete()
            await asyncio.sleep(1)
            assert pair.other.role is ICERole.CONTROLLED
            await pair.other.restart()
            await pair.other.gather_candidates()
            pair.other.set_remote_credentials(*pair.one.get_local_user_credentials())
            assert [candidate.port for candidate in pair.other.get_remote_candidates()] == [
                candidate.port for candidate in pair.one.get_local_candidates()
            ]

    in_network(test, delay=0.01)


def test_closing_amid_a_restart_leaves_nothing() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4")
        async with Pair(network, {"urls": [TURN]}, {"urls": [TURN]}) as pair:
            await pair.connect()
            await restart(pair)
            await asyncio.sleep(0.05)
        assert isinstance(pair.one, Agent)
        await asyncio.sleep(2)
        assert server.allocations == 0
        assert not any(task.get_name().startswith("ICE") for task in asyncio.all_tasks())

    in_network(test, delay=0.01)


def test_an_end_of_candidates_before_the_peers_restart_belongs_to_the_old_generation() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            await pair.one.restart()
            pair.one.add_remote_candidate(None)
            await restart(pair)
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            assert len(pair.one.get_remote_candidates()) == 1
            assert pair.one.get_remote_candidates()[0].type is CandidateType.HOST

    in_network(test, delay=0.01)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_restart_that_nobody_answers_keeps_nobody_waiting_for_the_first_path(is_cancelled: bool) -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            connecting = asyncio.create_task(pair.connect())
            await asyncio.sleep(0.3)
            await pair.one.restart()
            if is_cancelled:
                await asyncio.sleep(5)
                pair.one.cancel_restart()
            async with asyncio.timeout(10):
                here, there = await connecting
            here.send(b"connected")
            assert await there.recv() == b"connected"

    in_network(test, delay=0.25)


def test_a_candidate_of_a_retired_generation_is_forgotten() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            late = pair.other.get_local_candidates()[0]
            await restart(pair)
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            await asyncio.sleep(10)
            pair.one.add_remote_candidate(late)
            assert not pair.one._ahead.candidates

    in_network(test, delay=0.01)


def test_a_restart_keeps_the_tie_breaker_of_a_conflict_that_was_lost() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.one.gather_candidates()
            await pair.other.gather_candidates()
            first = pair.one._newest.core.tie_breaker, pair.other._newest.core.tie_breaker
            await asyncio.gather(
                pair.one.dial(*pair.other.get_local_user_credentials()),
                pair.other.dial(*pair.one.get_local_user_credentials()),
            )
            now = pair.one._newest.core.tie_breaker, pair.other._newest.core.tie_breaker
            assert len(set(first) & set(now)) >= 1
            await restart(pair)
            assert (pair.one._newest.core.tie_breaker, pair.other._newest.core.tie_breaker) == now

    in_network(test, delay=0.01)


@pytest.mark.parametrize("turn", range(8))
def test_an_allocation_that_is_given_while_its_restart_is_cancelled_is_given_back(turn: int) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4")
        granted = asyncio.Event()

        def look(packet: Packet) -> None:
            if packet.data[:2] == b"\x01\x03":
                asyncio.get_running_loop().call_later(0.01, granted.set)

        async with Pair(network, {"urls": [TURN]}) as pair:
            await pair.connect()
            await pair.one.gathering_complete()
            network.tap(look)
            await pair.one.restart()
            await pair.one.gather_candidates()
            await granted.wait()
            await turns(turn)
            pair.one.cancel_restart()
            await asyncio.sleep(0.1)
            assert server.allocations == 1

    in_network(test, delay=0.01)


def test_an_outage_is_no_failure_because_of_a_restart_that_nobody_has_answered() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await pair.one.restart()
            await pair.one.gather_candidates()
            pair.one.set_remote_credentials("nobody", "x" * 22)
            await asyncio.sleep(40)
            states: list[ICETransportState] = []
            pair.one.on_connection_state_change(states.append)
            network.cut_for(10, network.hosts["alice"], network.hosts["bob"])
            await asyncio.sleep(15)
            assert states == [ICETransportState.DISCONNECTED, ICETransportState.CONNECTED]
            here.send(b"still")
            assert await there.recv() == b"still"
            network.cut(network.hosts["alice"], network.hosts["bob"])
            await asyncio.sleep(35)
            assert states[2:] == [ICETransportState.DISCONNECTED, ICETransportState.FAILED]

    in_network(test, delay=0.01)


@pytest.mark.row("ICE-41", "ICE-42")
@pytest.mark.parametrize("answerer", ["controlling", "controlled"])
def test_an_answer_that_never_arrives_costs_nothing(answerer: str) -> None:
    """Who has answered finds a path, since the other end answers checks; but there nobody takes the data yet."""

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            ends = (pair.one, pair.other) if answerer == "controlling" else (pair.other, pair.one)
            answering, offering = ends

            async def work() -> None:
                for agent in ends:
                    await agent.restart()
                    await agent.gather_candidates()
                answering.set_remote_credentials(*offering.get_local_user_credentials())
                await asyncio.sleep(60)
                offering.cancel_restart()
                await asyncio.sleep(60)
                await restart(pair)
                await asyncio.sleep(10)
                assert not any(agent.is_restarting for agent in ends)

            await asyncio.gather(count_through(here, there, work()), count_through(there, here, asyncio.sleep(131)))

    in_network(test, delay=0.01)


@pytest.mark.row("ICE-41", "ICE-42")
@pytest.mark.parametrize("again", ["one", "other"])
def test_a_restart_on_the_heels_of_another_loses_nothing(again: str) -> None:
    """It begins when one end has changed to the new path, and what the other has sent on the old one is on its way."""

    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4")
        async with Pair(network, {"urls": [TURN]}) as pair:
            # By the relay it takes as long as directly, so that the order stays.
            for host in (network.hosts["alice"], network.hosts["bob"]):
                network.set_path(host, server.host, delay=0.05)
            here, there = await pair.connect()
            agent: Agent = getattr(pair, again)
            options = pair.one._options

            async def work() -> None:
                for policy in (CandidateType.RELAY, CandidateType.HOST) * 2:
                    options.candidate_types = [policy]
                    pair.one.set_options(options)
                    await restart(pair)
                    await until(lambda: not agent.is_restarting)
                    await agent.restart()
                    await asyncio.sleep(0.5)

            await asyncio.gather(count_through(here, there, work()), count_through(there, here, asyncio.sleep(8)))

    in_network(test, delay=0.1)


def test_candidates_may_be_ahead_of_two_restarts() -> None:
    """The news of the first comes, and those of the second still wait: with their end, which is not the first's."""

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            pair.other.on_candidate(None)
            await pair.other.restart()
            first = pair.other.get_local_user_credentials()
            await pair.other.restart()
            await pair.other.gather_candidates()
            await pair.other.gathering_complete()
            for candidate in (*pair.other.get_local_candidates(), None):
                pair.one.add_remote_candidate(candidate)
            await pair.one.restart()
            await pair.one.gather_candidates()
            pair.one.set_remote_credentials(*first)
            assert pair.one.get_remote_candidates() == []
            await pair.one.restart()
            await pair.one.gather_candidates()
            pair.one.set_remote_credentials(*pair.other.get_local_user_credentials())
            assert pair.one.get_remote_candidates() == pair.other.get_local_candidates()
            pair.other.set_remote_credentials(*pair.one.get_local_user_credentials())
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            await asyncio.sleep(0.1)
            assert pair.one.connection_state is ICETransportState.COMPLETED
            here.send(b"there")
            assert await there.recv() == b"there"

    in_network(test, delay=0.01)


@pytest.mark.parametrize("is_started", [False, True])
def test_closing_amid_a_restart_is_one_change_of_state(is_started: bool) -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            await asyncio.sleep(1)
            states: list[ICETransportState] = []
            await pair.one.restart()
            await asyncio.sleep(1)
            pair.one.on_connection_state_change(states.append)
            if is_started:
                pair.one.set_remote_credentials("nobody", "x" * 22)
            await pair.one.close()
            await asyncio.sleep(0)
            assert states == [ICETransportState.CLOSED]

    in_network(test)


@pytest.mark.row("ICE-41", "ICE-42")
@pytest.mark.parametrize("relayed", ["one", "other", "both"])
@pytest.mark.parametrize("clinging", ["controlling", "controlled"])
def test_a_peer_that_clings_to_a_better_path_is_taken_that(
    clinging: str, relayed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libwebrtc: it makes no check where a path is worse than the one that works."""

    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4")
        async with Pair(network, {"urls": [TURN]}, {"urls": [TURN]}) as pair:
            await pair.connect()
            for name in ("one", "other") if relayed == "both" else (relayed,):
                agent: Agent = getattr(pair, name)
                options = agent._options
                options.candidate_types = [CandidateType.RELAY]
                agent.set_options(options)
            for agent in (pair.one, pair.other):
                await agent.restart()
                await agent.gather_candidates()
            clings = pair.one if clinging == "controlling" else pair.other
            search = clings._newest.core._search
            monkeypatch.setattr(search, "step", lambda now: None)
            monkeypatch.setattr(search, "next_timeout", lambda: math.inf)
            for agent, peer in ((pair.one, pair.other), (pair.other, pair.one)):
                agent.set_remote_credentials(*peer.get_local_user_credentials())
            # The old path is silent.
            await until(lambda: clings.connection_state is ICETransportState.CHECKING, timeout=15)
            monkeypatch.undo()
            clings._newest.flush(asyncio.get_running_loop().time())
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            selected = pair.one.get_selected_candidate_pair()
            assert selected is not None
            assert CandidateType.RELAY in (selected[0].type, selected[1].type)

    in_network(test, delay=0.01)


def test_a_restart_that_is_cancelled_gives_back_the_one_before_it() -> None:
    """Also where that has found nothing, and the one before it has a path that nobody has nominated."""

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            for agent in (pair.one, pair.other):
                await agent.restart()
                await agent.gather_candidates()
            agent.set_remote_credentials(*pair.one.get_local_user_credentials())
            await asyncio.sleep(1)
            await agent.restart()
            agent.set_remote_credentials("nobody", "x" * 22)
            before = agent.get_local_user_credentials()
            await agent.restart()
            agent.cancel_restart()
            assert agent.get_local_user_credentials() == before
            assert agent.get_remote_user_credentials() == ("nobody", "x" * 22)

    in_network(test)
