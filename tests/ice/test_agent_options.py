"""Options of agents that decide about the selected pair, and the statistics of candidates."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.ice.agent_pair import Pair, in_network
from tests.ice.core_pair import host
from tests.ice.hand import THERE, Hand
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.ice import BindingRequest, RenominationOptions
from webrtc_py.states import CandidateType

ELSEWHERE = ("192.0.2.3", 5000)


def test_a_handler_sees_each_check_and_selects_the_pair_that_it_wants() -> None:
    """Two paths work; the application moves to the worse one, and both ends follow."""
    asked: list[BindingRequest] = []

    def wanted(request: BindingRequest) -> bool:
        asked.append(request)
        return request.remote.address == "192.0.2.12"

    async def test(network: VirtualNetwork) -> None:
        network.host("alice", "192.0.2.1")
        network.host("bob", "192.0.2.2", "192.0.2.12")
        kept: Any = {"renomination": RenominationOptions(automatic=False)}
        async with Pair(network, {"on_binding_request": wanted, **kept}, kept) as pair:
            here, there = await pair.connect()
            await asyncio.sleep(10)
            selected = pair.one.get_selected_candidate_pair()
            assert selected is not None
            assert selected[1].address == "192.0.2.12"
            here.send(b"this way")
            assert await there.recv() == b"this way"
            assert pair.other.get_selected_candidate_pair() == selected[::-1]
            assert {request.remote.address for request in asked} == {"192.0.2.2", "192.0.2.12"}

    in_network(test, delay=0.01)


def test_a_handler_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: BindingRequest) -> bool:
        raise RuntimeError("broken")

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network, {"on_binding_request": broken}, {}) as pair:
            here, there = await pair.connect()
            here.send(b"all the same")
            assert await there.recv() == b"all the same"

    with caplog.at_level(logging.ERROR):
        in_network(test, delay=0.01)
    assert "on_binding_request raised" in caplog.text


def test_a_handler_cannot_select_a_pair_that_does_not_work() -> None:
    """A captured check, sent from elsewhere, is authenticated; but nobody has answered from there."""
    hand = Hand(controlling=False, core={"on_binding_request": lambda request: True})
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.ask(ELSEWHERE)
    assert hand.core.selected is None
    [request, *_] = [request for request in hand.requests() if request[0] == THERE]
    hand.answer(request)
    hand.ask(THERE)
    assert hand.core.selected is not None
    assert hand.core.selected.destination == THERE


@pytest.mark.parametrize("by_priority", [False, True])
def test_a_lite_agent_may_keep_the_better_pair(by_priority: bool) -> None:
    hand = Hand(controlling=False, core={"lite": True, "use_candidate_check_priority": by_priority})
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.ask(THERE, use_candidate=True, priority=2**30)
    assert hand.core.selected is not None
    hand.ask(ELSEWHERE, use_candidate=True, priority=1)
    assert hand.core.selected.destination == (THERE if by_priority else ELSEWHERE)


def test_the_statistics_of_candidates() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            await asyncio.sleep(5)
            here.send(b"12345")
            assert await there.recv() == b"12345"
            [local] = pair.one.get_local_candidates_stats()
            [remote] = pair.one.get_remote_candidates_stats()
            assert local.candidate.type is CandidateType.HOST
            assert (local.candidate.address, remote.candidate.address) == ("192.0.2.1", "192.0.2.2")
            assert local.selected
            assert remote.selected
            assert local.pairs == remote.pairs == 1
            assert (local.bytes_sent, local.packets_sent, local.bytes_received) == (5, 1, 0)
            [theirs] = pair.other.get_local_candidates_stats()
            assert (theirs.bytes_received, theirs.bytes_sent) == (5, 0)
            assert local.last_sent_timestamp is not None
            assert local.last_received_timestamp is not None
            assert local.generation == pair.one.get_local_user_credentials()[0]

    in_network(test, delay=0.01)
