"""Role conflicts (RFC 8445 sections 7.2.5.1 and 7.3.1.1)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.ice.core_pair import ALICE, BOB, Wire, connected, host, tcp, two_peers
from tests.ice.hand import HERE, THERE, Hand
from webrtc_py.ice import stun
from webrtc_py.ice.events import RoleChanged
from webrtc_py.states import CandidatePairState, ICERole, TCPType


@pytest.mark.row("ICE-24", "ICE-32")
@pytest.mark.parametrize("both_control", [True, False])
@pytest.mark.parametrize("tie_breakers", [(2, 1), (1, 2), (7, 7)])
@pytest.mark.parametrize("head_start", [0.0, 0.2])
def test_equal_roles_are_settled_by_the_tie_breaker(
    both_control: bool, tie_breakers: tuple[int, int], head_start: float
) -> None:
    wire = Wire()
    alice, bob = (
        wire.peer(name, credentials, tie_breaker)
        for name, credentials, tie_breaker in zip(("alice", "bob"), (ALICE, BOB), tie_breakers, strict=True)
    )
    alice.add(host(*HERE))
    bob.add(host(*THERE))
    alice.meet(bob, controlling=both_control)
    wire.run(head_start)
    bob.meet(alice, controlling=both_control)
    assert wire.run(3, lambda: connected(alice, bob))
    assert alice.core.controlling != bob.core.controlling
    if tie_breakers[0] != tie_breakers[1]:
        winner = alice if tie_breakers[0] > tie_breakers[1] else bob
        assert winner.core.controlling
    assert alice.core.pairs[0].priority == bob.core.pairs[0].priority
    changes = [event.role for peer in (alice, bob) for _, event in peer.happened if isinstance(event, RoleChanged)]
    assert len(changes) % 2, changes


@pytest.mark.row("ICE-32")
@pytest.mark.parametrize(
    ("controlling", "theirs", "switches"),
    [
        (True, 4, False),  # ours is 5
        (True, 5, False),
        (True, 6, True),
        (False, 4, True),
        (False, 5, True),
        (False, 6, False),
    ],
)
def test_the_four_cases(controlling: bool, theirs: int, switches: bool) -> None:
    hand = Hand(controlling=controlling)
    hand.ask(controlling=controlling, tie_breaker=theirs)
    answers = [stun.parse_message(outgoing.data) for outgoing in hand.core.datagrams_to_send(hand.now)]
    assert hand.core.controlling is (controlling != switches)
    if switches:
        assert answers[0].message_class is stun.Class.RESPONSE, "and the check is processed"
        assert hand.pair().requests_received == 1
        assert RoleChanged(hand.core.role) in hand.core.events()
    else:
        assert answers[0].error_code == 487
        assert answers[0].check_message_integrity(ALICE[1].encode())
        assert hand.core.pairs == [], "a refused check changes nothing"


def test_a_check_without_a_role_is_no_conflict() -> None:
    hand = Hand(controlling=True)
    signed = stun.Message(
        stun.Method.BINDING, stun.Class.REQUEST, bytes(12), {"USERNAME": f"{ALICE[0]}:{BOB[0]}", "PRIORITY": 1}
    )
    hand.core.receive(stun.serialize(signed, ALICE[1].encode()), 0, THERE, hand.now)
    assert hand.pair().requests_received == 1


def refuse(hand: Hand, request: Any, key: bytes = BOB[1].encode(), code: int = 487) -> None:
    where, message = request
    hand.core.receive(stun.binding_error(message.transaction_id, code=code, key=key), 0, where, hand.now)


@pytest.mark.row("ICE-24")
@pytest.mark.parametrize("controlling", [True, False])
def test_a_487_switches_the_role_and_repeats_the_check_with_another_tie_breaker(controlling: bool) -> None:
    hand = Hand(controlling=controlling)
    hand.core.add_remote_candidate(dataclasses.replace(host(*THERE), priority=5), hand.now)
    before = hand.pair().priority
    [first] = hand.requests()
    hand.now += 0.1
    refuse(hand, first)
    assert hand.core.controlling is not controlling
    assert hand.pair().priority != before
    [(where, again)] = hand.requests()
    assert where == THERE
    role = "ICE-CONTROLLED" if controlling else "ICE-CONTROLLING"
    assert again.attributes[role] != 5
    assert hand.core.role is (ICERole.CONTROLLED if controlling else ICERole.CONTROLLING)


@pytest.mark.row("ICE-24")
def test_a_late_487_for_a_role_we_have_given_up_is_no_reason_to_take_it_back() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [request] = hand.requests()
    hand.ask(controlling=True, tie_breaker=2**64 - 1)
    assert not hand.core.controlling
    tie_breaker = hand.core.tie_breaker
    refuse(hand, request)
    assert not hand.core.controlling
    assert hand.core.tie_breaker == tie_breaker


@pytest.mark.row("ICE-24", "ICE-53")
def test_a_forged_487_changes_nothing() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [request] = hand.requests()
    refuse(hand, request, key=b"not the password at all")
    refuse(hand, (("192.0.2.66", 5000), request[1]))
    assert hand.core.controlling
    assert hand.pair().state is CandidatePairState.IN_PROGRESS
    hand.answer(request)
    assert hand.pair().succeeded


def test_a_role_lost_during_the_nomination_leaves_the_choice_to_the_peer() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    [nomination] = hand.requests()
    hand.ask(controlling=True, tie_breaker=2**64 - 1)
    hand.answer(nomination)
    assert hand.core.selected is None
    hand.ask(controlling=True, tie_breaker=2**64 - 1, use_candidate=True)
    assert hand.core.selected is hand.pair()


@pytest.mark.row("ICE-20")
def test_the_tie_breaker_is_one_for_the_session() -> None:
    wire, alice, bob = two_peers()
    alice.meet(bob, controlling=True)
    bob.meet(alice, controlling=False)
    wire.run(30)
    assert {packet.message.attributes["ICE-CONTROLLING"] for packet in alice.requests()} == {2}
    assert {packet.message.attributes["ICE-CONTROLLED"] for packet in bob.requests()} == {1}


def test_a_role_lost_while_a_connection_is_opened_again_ends_no_search() -> None:
    hand = Hand(controlling=True, local=tcp(TCPType.ACTIVE, HERE[0]), srflx_acceptance_min_wait=0)
    there = THERE[0], 7000
    hand.core.add_remote_candidate(tcp(TCPType.PASSIVE, *there), hand.now)
    for _ in range(2):
        hand.answer(hand.requests()[-1])
    assert hand.core.selected is hand.pair(there)
    hand.core.path_lost(0, there, hand.now, "reset")
    hand.wait(3)
    refuse(hand, hand.requests()[-1])
    assert not hand.core.controlling
    hand.wait(0.1)
    hand.answer(hand.requests()[-1])
    assert hand.core.path is hand.core.selected is hand.pair(there)


def test_who_comes_to_control_nominates_what_is_in_use() -> None:
    """The peer, whose own nomination is void, may have selected nothing yet."""
    hand = Hand(controlling=False)
    hand.ask(use_candidate=True)
    hand.answer(hand.requests()[0])
    assert hand.core.selected is hand.pair()
    hand.ask(controlling=False, tie_breaker=1)
    assert hand.core.controlling
    nominations = [request for request in hand.requests() if "USE-CANDIDATE" in request[1].attributes]
    assert [where for where, _ in nominations] == [THERE]
    hand.answer(nominations[0])
    hand.wait(20)
    assert not any("USE-CANDIDATE" in message.attributes for _, message in hand.requests())


def test_a_refusal_of_what_is_in_use_makes_no_storm() -> None:
    hand = Hand(controlling=False, failed_timeout=0)
    hand.ask(use_candidate=True)
    hand.answer(hand.requests()[0])
    hand.ask(controlling=False, tie_breaker=1)
    nominations = 0
    for _ in range(200):
        for request in hand.requests():
            if "USE-CANDIDATE" in request[1].attributes:
                nominations += 1
                refuse(hand, request, code=400)
            else:
                hand.answer(request)
        hand.wait(0.1)
    assert nominations <= 5
    assert hand.core.path is hand.pair()
