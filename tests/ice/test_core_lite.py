"""Lite agents (RFC 8445 sections 6.2, 7.3.2 and 8.2)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.ice.core_pair import ALICE, BOB, Nat, Peer, Wire, connected, host, srflx
from tests.ice.hand import THERE, Hand
from webrtc_py.errors import InvalidAccessError
from webrtc_py.ice import stun
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.states import CandidatePairState, ICETransportState

CHECKING = ICETransportState.CHECKING
CONNECTED = ICETransportState.CONNECTED
COMPLETED = ICETransportState.COMPLETED
DISCONNECTED = ICETransportState.DISCONNECTED
FAILED = ICETransportState.FAILED

ELSEWHERE = ("192.0.2.3", 5000)


def lite(**options: Any) -> Hand:
    return Hand(controlling=False, core={"lite": True}, **options)


def lite_and(wire: Wire, *, both: bool) -> tuple[Peer, Peer]:
    """Alice is lite, and Bob is when both are."""
    alice = wire.peer("alice", ALICE, 2, lite=True)
    bob = wire.peer("bob", BOB, 1, lite=both)
    alice.core.set_remote_lite(both)
    bob.core.set_remote_lite(True)
    alice.add(host("192.0.2.1"))
    bob.add(host("192.0.2.2"))
    return alice, bob


def requests_of(peer: Peer) -> int:
    return len(peer.requests())


@pytest.mark.parametrize("renomination", [None, RenominationOptions()])
def test_a_lite_peer_hears_of_a_nat_that_has_changed_its_mind(renomination: RenominationOptions | None) -> None:
    wire = Wire(delay=0.02)
    lite_one = wire.peer("alice", ALICE, 2, lite=True, renomination=renomination)
    full = wire.peer("bob", BOB, 1, renomination=renomination)
    full.nat = Nat("203.0.113.1")
    full.core.set_remote_lite(True)
    lite_one.add(host("192.0.2.1"))
    full.add(host("10.0.0.1"))
    full.meet(lite_one, controlling=True)
    lite_one.meet(full, controlling=False)
    assert wire.run(5, lambda: connected(lite_one, full))
    for port in range(40001, 40031):
        wire.run(10)
        full.nat.forget()
        wire.run(3)
        assert lite_one.core.path is not None
        assert lite_one.core.path.destination == ("203.0.113.1", port)
    assert DISCONNECTED not in full.states + lite_one.states


def test_a_change_that_is_not_answered_yet_is_not_taken_back_by_a_check_of_consent() -> None:
    wire = Wire(delay=0.02)
    lite_one = wire.peer("alice", ALICE, 2, lite=True)
    full = wire.peer("bob", BOB, 1, renomination=RenominationOptions(automatic=False))
    full.core.set_remote_lite(True)
    lite_one.add(host("192.0.2.1"))
    for index in range(2):
        full.add(host(f"192.0.2.{2 + index}", index=index))
    full.meet(lite_one, controlling=True)
    lite_one.meet(full, controlling=False)
    assert wire.run(5, lambda: connected(lite_one, full))
    wire.run(1)
    [other] = [pair for pair in full.core.pairs if pair is not full.core.selected]
    wire.blocked = lambda packet: packet.sender is lite_one and packet.destination[0] == other.base.address
    full.core.renominate(other.local, other.remote, wire.now)
    wire.flush()
    mark = len(wire.log)
    wire.run(4)
    told = {packet.source[0] for packet in wire.log[mark:] if packet.sender is full and packet.has("USE-CANDIDATE")}
    assert told == {other.base.address}


@pytest.mark.row("ICE-50", "ICE-54")
@pytest.mark.parametrize("nominates", [True, False])
def test_a_lite_agent_follows_a_peer_that_is_ever_elsewhere(nominates: bool) -> None:
    hand = lite()
    hand.ask(use_candidate=True)
    for number in range(150):
        for port in range(3):
            hand.ask((f"198.51.100.{number}", 5000 + port), use_candidate=nominates and port == 2)
        hand.ask(THERE)
        hand.wait(7)
        assert len(hand.core.pairs) <= 25
        if nominates:
            assert hand.core.selected is hand.pair((f"198.51.100.{number}", 5002))
        else:
            assert hand.pair((f"198.51.100.{number}", 5002))
            assert hand.core.selected is hand.pair()


@pytest.mark.row("ICE-48", "ICE-50")
@pytest.mark.parametrize("seed", range(50))
def test_a_lite_peer_is_found_soon_at_600_ms_and_30_percent_loss_each_way(seed: int) -> None:
    wire = Wire(seed, delay=0.3, loss=0.3)
    lite_one, full = lite_and(wire, both=False)
    full.meet(lite_one, controlling=True)
    lite_one.meet(full, controlling=False)
    assert wire.run(8, lambda: connected(lite_one, full))


@pytest.mark.row("ICE-50", "ICE-11")
@pytest.mark.parametrize("lite_offers", [True, False])
@pytest.mark.parametrize("candidates", [True, False])
def test_a_lite_agent_only_answers_and_is_controlled_whoever_offers(lite_offers: bool, candidates: bool) -> None:
    wire = Wire(delay=0.02)
    alice, bob = lite_and(wire, both=False)
    alice.meet(bob, controlling=lite_offers, candidates=candidates)
    bob.meet(alice, controlling=not lite_offers)
    assert wire.run(5, lambda: connected(alice, bob))
    assert (alice.core.controlling, bob.core.controlling) == (False, True)
    assert alice.core.path is alice.core.selected is not None
    assert alice.core.selected.destination == ("192.0.2.2", 5000)
    wire.run(300)
    assert alice.states == [CHECKING, CONNECTED]
    assert requests_of(alice) == 0
    assert alice.selections == 1


@pytest.mark.row("ICE-50")
def test_what_a_lite_agent_is_told_to_use_it_uses_and_nothing_before() -> None:
    hand = lite()
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    assert hand.core.pairs == [], "it has no check list"
    hand.ask()
    assert hand.core.state is CHECKING
    assert hand.core.path is None
    hand.ask(use_candidate=True)
    assert hand.core.selected is hand.core.path is hand.pair()
    assert (hand.pair().state, hand.pair().nominated) == (CandidatePairState.SUCCEEDED, True)
    assert hand.core.state is CONNECTED
    assert hand.requests() == []


@pytest.mark.row("ICE-50")
def test_the_last_nomination_counts() -> None:
    hand = lite()
    for where, priority in ((THERE, 9), (ELSEWHERE, 1), (THERE, 9)):
        hand.ask(where, use_candidate=True, priority=priority)
        assert hand.core.selected is hand.pair(where)
        assert hand.core.path is hand.pair(where)


@pytest.mark.row("ICE-50")
def test_a_lite_agent_asks_nothing_whatever_it_is_made_with() -> None:
    hand = Hand(controlling=False, core={"lite": True, "keep_alternatives": True})
    for where in (THERE, ELSEWHERE):
        hand.ask(where, use_candidate=True)
    for _ in range(10):
        hand.wait(2)
        hand.ask(THERE)  # and the selected one is silent
    assert hand.requests() == []
    assert hand.core.selected is hand.pair(ELSEWHERE), "it is the peer that moves"
    assert hand.core.state is DISCONNECTED


@pytest.mark.row("ICE-50")
def test_a_lite_agent_has_nothing_but_host_candidates() -> None:
    hand = lite()
    with pytest.raises(InvalidAccessError, match="host candidates only"):
        hand.core.add_local_candidate(srflx("203.0.113.1", 4000, ("192.0.2.1", 5000)), 0, hand.now)


@pytest.mark.row("ICE-50")
def test_a_full_agent_that_believes_it_is_controlled_is_told_otherwise() -> None:
    hand = lite()
    hand.ask(controlling=False, tie_breaker=2**64 - 1)
    [refusal] = hand.core.datagrams_to_send(hand.now)
    assert stun.parse_message(refusal.data).error_code == stun.ROLE_CONFLICT
    hand.ask(controlling=False, tie_breaker=0)
    [refusal] = hand.core.datagrams_to_send(hand.now)
    assert stun.parse_message(refusal.data).error_code == stun.ROLE_CONFLICT
    assert not hand.core.controlling


@pytest.mark.row("ICE-50", "ICE-56")
def test_a_check_that_was_captured_and_sent_from_elsewhere_moves_nothing() -> None:
    hand = lite()
    request = stun.binding_request(
        b"captured-one",
        username=f"{ALICE[0]}:{BOB[0]}",
        key=ALICE[1].encode(),
        priority=1,
        controlling=True,
        tie_breaker=1,
        use_candidate=True,
    )
    hand.core.receive(request, 0, THERE, hand.now)
    hand.core.receive(request, 0, THERE, hand.now)
    assert hand.core.selected is hand.pair()
    hand.core.receive(request, 0, ("203.0.113.66", 6666), hand.now)
    assert hand.core.selected is hand.pair()
    assert not hand.core.data_received(0, ("203.0.113.66", 6666), 10, 1, hand.now)
    assert hand.core.dropped.refused == 1


@pytest.mark.row("ICE-50", "CON-07")
def test_silence_is_longer_until_a_lite_agent_minds_it() -> None:
    hand = lite()
    hand.ask(use_candidate=True)
    hand.wait(9.9)
    assert hand.core.state is CONNECTED
    hand.wait(0.2)
    assert hand.core.state is DISCONNECTED
    hand.core.data_received(0, THERE, 10, 1, hand.now)
    assert hand.core.state is CONNECTED
    hand.wait(12)
    hand.ask()
    assert hand.core.state is CONNECTED
    hand.wait(34)
    assert (hand.core.state, hand.core.path) == (DISCONNECTED, None), "30 s without a check are no consent any more"
    hand.wait(1.1)
    assert hand.core.state is FAILED
    assert hand.core.next_timeout() is None


@pytest.mark.row("ICE-50")
def test_the_times_that_are_asked_for_are_those_of_a_lite_agent_too() -> None:
    hand = lite(disconnected_timeout=3.0)
    hand.ask(use_candidate=True)
    hand.wait(3.1)
    assert hand.core.state is DISCONNECTED


@pytest.mark.row("ICE-50", "CON-01")
def test_only_checks_stand_in_for_consent() -> None:
    hand = lite()
    hand.ask(use_candidate=True)
    start = hand.now
    while hand.core.path is not None:
        hand.wait(1)
        hand.core.data_received(0, THERE, 10, 1, hand.now)
    assert hand.now - start == pytest.approx(30, abs=1.1)
    hand.ask()
    assert hand.core.path is hand.pair()


# Two lite agents


@pytest.mark.row("ICE-50", "ICE-11")
@pytest.mark.parametrize("alice_offers", [True, False])
def test_two_lite_agents_use_what_both_know(alice_offers: bool) -> None:
    wire = Wire(delay=0.01)
    alice, bob = lite_and(wire, both=True)
    alice.add(host("2001:db8::1", index=1))
    bob.add(host("2001:db8::2", index=3))
    bob.add(host("192.0.2.9", index=7))
    alice.meet(bob, controlling=alice_offers)
    bob.meet(alice, controlling=not alice_offers)
    assert connected(alice, bob)
    assert alice.core.controlling is alice_offers
    assert bob.core.controlling is not alice_offers
    assert alice.core.selected is not None
    assert bob.core.selected is not None
    assert alice.core.selected.destination == ("192.0.2.2", 5000)
    assert bob.core.selected.destination == ("192.0.2.1", 5000)
    for peer in (alice, bob):
        peer.core.local_gathering_done(wire.now)
        peer.core.end_of_remote_candidates(wire.now)
    mark = wire.now
    wire.run(300)
    assert alice.states == bob.states == [CHECKING, CONNECTED, COMPLETED]
    assert alice.core.path is alice.core.selected
    assert requests_of(alice) == requests_of(bob) == 0
    kept = [packet for packet in alice.sent() if packet.time > mark]
    assert {packet.message.message_class for packet in kept} == {stun.Class.INDICATION}
    assert [b.time - a.time for a, b in itertools.pairwise(kept)] == pytest.approx([15.0] * (len(kept) - 1))
    assert len(kept) >= 19
    assert alice.core.data_received(0, ("192.0.2.2", 5000), 10, 1, wire.now)


@pytest.mark.row("ICE-50")
def test_two_lite_agents_go_on_with_what_there_is() -> None:
    wire = Wire()
    alice, bob = lite_and(wire, both=True)
    alice.add(host("192.0.2.5", index=5))
    alice.meet(bob, controlling=True)
    bob.meet(alice, controlling=False)
    alice.hear_of(host("192.0.2.8", index=9))
    assert alice.core.selected is not None
    assert (alice.core.selected.base_id, alice.core.selected.destination[0]) == (0, "192.0.2.2")
    alice.core.base_lost(0, wire.now)
    assert alice.core.selected.base_id == 1
    assert alice.core.state is CONNECTED
    alice.core.base_lost(1, wire.now)
    assert (alice.core.state, alice.core.path) == (DISCONNECTED, None)
    alice.add(host("192.0.2.6"))
    assert (alice.core.state, alice.core.path) == (CONNECTED, alice.core.selected)


def test_a_captured_check_that_is_sent_again_renews_no_consent() -> None:
    """Whoever can forge the source too would have us send to a peer that has gone, for as long as they like."""
    hand = lite()
    hand.ask(use_candidate=True, transaction_id=b"captured one")
    for _ in range(29):
        hand.ask(use_candidate=True, transaction_id=b"captured one")
        hand.wait(1.0)
        assert hand.core.path is hand.pair()
    for _ in range(60):
        hand.wait(1.0)
        hand.ask(use_candidate=True, transaction_id=b"captured one")
        assert hand.core.path is None
    assert hand.core.state is FAILED


def test_a_captured_nomination_that_is_sent_again_moves_nothing_back() -> None:
    hand = lite()
    hand.ask(use_candidate=True, transaction_id=b"captured one")
    hand.ask(ELSEWHERE, use_candidate=True)
    hand.ask(use_candidate=True, transaction_id=b"captured one")
    assert hand.core.selected is hand.pair(ELSEWHERE)


def test_captured_checks_from_many_addresses_leave_room_for_the_peers_own() -> None:
    hand = lite()
    hand.ask(use_candidate=True, transaction_id=b"captured one")
    for port in range(1000, 2000):
        hand.ask(("203.0.113.66", port), use_candidate=True, transaction_id=b"captured one")
    assert hand.core.pairs == [hand.pair()]
    assert hand.core.dropped.refused == 1000
    hand.ask(ELSEWHERE, use_candidate=True)
    assert hand.core.selected is hand.pair(ELSEWHERE)


def test_a_lite_agent_that_prefers_the_better_pair_does_not_stay_on_a_dead_one() -> None:
    hand = Hand(controlling=False, core={"lite": True, "use_candidate_check_priority": True})
    hand.ask(use_candidate=True, priority=2)
    hand.ask(ELSEWHERE, use_candidate=True, priority=1)
    assert hand.core.selected is hand.pair()
    hand.wait(11)
    assert hand.core.state is ICETransportState.DISCONNECTED
    hand.ask(ELSEWHERE, use_candidate=True, priority=1)
    assert hand.core.selected is hand.pair(ELSEWHERE)
    assert hand.core.state is ICETransportState.CONNECTED
