"""What the layer of sockets asks of the core and is told by it: whose a message is, where the peer is, what is lost."""

from __future__ import annotations

import pytest

from tests.ice.core_pair import BOB, connect, host, two_peers
from tests.ice.hand import HERE, THERE, Hand
from webrtc_py.ice import stun
from webrtc_py.ice.events import PathProved
from webrtc_py.states import CandidatePairState, ICETransportState

ELSEWHERE = ("192.0.2.3", 5000)


def proved(hand: Hand) -> list[tuple[int, tuple[str, int], bool]]:
    """Each path that has been proved, and whether an answer has."""
    events = [event for event in hand.core.events() if isinstance(event, PathProved)]
    return [(event.base_id, event.address, event.has_answered) for event in events]


def test_a_message_may_come_parsed() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [(where, request)] = hand.requests()
    data = stun.binding_success(request.transaction_id, mapped_address=HERE, key=BOB[1].encode())
    hand.core.receive_message(stun.parse_message(data), 0, where, hand.now)
    assert hand.pair().succeeded


def test_a_path_is_proved_once_by_an_answer() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    assert proved(hand) == []
    hand.answer(hand.requests()[0])
    assert proved(hand) == [(0, THERE, True)]
    hand.ask()
    hand.wait(20)
    for request in hand.requests():
        hand.answer(request)
    assert proved(hand) == []


def test_a_path_is_proved_by_a_check_from_a_signalled_address_and_not_from_another() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.ask(THERE)
    hand.ask(ELSEWHERE)
    assert proved(hand) == [(0, THERE, False)]
    hand.core.add_remote_candidate(host(*ELSEWHERE), hand.now)
    assert proved(hand) == [(0, ELSEWHERE, False)]
    hand.answer(hand.requests()[0])
    assert proved(hand) == [(0, THERE, True)]


def test_a_lost_path_fails_and_no_other() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.core.add_remote_candidate(host(*ELSEWHERE, index=1), hand.now)
    hand.wait(0.1)
    requests = hand.requests()
    hand.core.path_lost(0, THERE, hand.now, "the connection was closed")
    hand.core.path_lost(0, ("192.0.2.77", 1), hand.now, "nobody knows it")
    assert hand.pair().state is CandidatePairState.FAILED
    assert hand.pair().failure == "the connection was closed"
    assert hand.pair(ELSEWHERE).state is CandidatePairState.IN_PROGRESS
    hand.answer(requests[0])
    assert hand.pair().state is CandidatePairState.FAILED, "what was under way there is forgotten"


def test_when_the_selected_path_is_lost_another_that_works_takes_its_place_at_once() -> None:
    hand = Hand(controlling=False)
    for where in (THERE, ELSEWHERE):
        hand.ask(where)
        hand.answer(hand.requests()[0])
    hand.ask(use_candidate=True)
    assert hand.core.selected is hand.pair()
    hand.core.path_lost(0, THERE, hand.now, "the connection was closed")
    assert hand.core.selected is hand.core.path is hand.pair(ELSEWHERE)
    assert hand.core.state is ICETransportState.CONNECTED


def test_when_the_only_path_is_lost_the_agent_is_disconnected_and_sends_no_data() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    alice.core.path_lost(0, ("192.0.2.2", 5000), wire.now, "the connection was closed")
    alice.flush()
    assert alice.core.state is ICETransportState.DISCONNECTED
    assert alice.core.path is None
    assert "the connection was closed" in alice.reason


@pytest.mark.parametrize("still_works", [True, False])
def test_data_on_another_path_makes_us_ask_whether_the_peer_has_moved(still_works: bool) -> None:
    """It sends on the pair that it has selected, and is followed when the one that we have selected is silent."""
    hand = Hand(controlling=False, disconnected_timeout=30.0)
    for where in (THERE, ELSEWHERE):
        hand.ask(where)
        hand.answer(hand.requests()[0])
    hand.ask(use_candidate=True)
    hand.wait(1)
    for request in hand.requests():
        hand.answer(request)
    asked = 0
    for _ in range(50):
        hand.wait(0.1)
        assert hand.core.data_received(0, ELSEWHERE, 100, 1, hand.now)
        for request in hand.requests():
            asked += request[0] == THERE
            if still_works or request[0] == ELSEWHERE:
                hand.answer(request)
    assert hand.core.selected is hand.pair(THERE if still_works else ELSEWHERE)
    assert 1 <= asked <= 12
