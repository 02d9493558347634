"""Candidates that come late, twice, wrong, or from another generation (RFC 8838)."""

from __future__ import annotations

import dataclasses

import pytest

from tests.ice.core_pair import BOB, connect, connected, host, relay, srflx, two_peers
from tests.ice.hand import THERE, Hand
from webrtc_py.ice import stun
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.checklist import SUCCEEDED
from webrtc_py.ice.core import Core
from webrtc_py.ice.events import SelectedPairChanged
from webrtc_py.ice.options import AgentTimings
from webrtc_py.ice.pairing import MAX_REMOTE_CANDIDATES
from webrtc_py.states import CandidatePairState, CandidateType, ICETransportState


@pytest.mark.row("TRI-04")
def test_a_local_candidate_pairs_when_it_has_been_added_and_not_before() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.requests()
    hand.now += 1
    assert hand.core.add_local_candidate(relay("198.51.100.1"), 1, hand.now)
    assert {(pair.base_id, pair.destination) for pair in hand.core.pairs} == {(0, THERE), (1, THERE)}
    assert [where for where, _ in hand.requests()] == [THERE], "and is checked at once"


@pytest.mark.row("TRI-04")
def test_a_check_at_a_base_that_has_no_candidate_yet_is_not_answered() -> None:
    hand = Hand(controlling=False)
    data = len(hand.core.datagrams_to_send(hand.now))
    hand.core.receive(b"", 9, THERE, hand.now)
    hand.ask()
    assert len(hand.core.datagrams_to_send(hand.now)) == data + 2
    hand = Hand(controlling=False)
    check = stun.binding_request(
        bytes(12), username="alic:bobb", key=hand.core.local_pwd.encode(), priority=1, controlling=True, tie_breaker=1
    )
    hand.core.receive(check, 9, THERE, hand.now)
    assert hand.core.datagrams_to_send(hand.now) == []
    assert hand.core.dropped.refused == 1


@pytest.mark.row("TRI-05", "ICE-14")
def test_late_candidates_are_pruned_like_early_ones() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    for _ in range(3):
        hand.core.add_local_candidate(srflx("203.0.113.1", 40000, ("192.0.2.1", 5000)), 0, hand.now)
        hand.core.add_remote_candidate(host(*THERE), hand.now)
        hand.core.add_remote_candidate(dataclasses.replace(host(*THERE), foundation="other", priority=7), hand.now)
    assert len(hand.core.pairs) == 1
    assert hand.core.pairs[0].remote.priority == host(*THERE).priority, "the first of the same address stays"


@pytest.mark.row("TRI-05", "ICE-15", "ICE-54")
def test_ten_thousand_candidates_make_a_bounded_number_of_pairs() -> None:
    hand = Hand(controlling=True)
    for number in range(1, 4):
        hand.core.add_local_candidate(host(f"10.0.0.{number}", index=number), number, hand.now)
    for number in range(10_000):
        candidate = host(f"198.51.{number // 250}.{number % 250 + 1}", index=number % 256)
        hand.core.add_remote_candidate(candidate, hand.now)
    assert len(hand.core.pairs) == 100
    assert len(hand.core.remote_candidates) == MAX_REMOTE_CANDIDATES
    assert hand.core.dropped.candidates == 10_000 - MAX_REMOTE_CANDIDATES


@pytest.mark.row("ICE-15")
def test_the_number_of_pairs_is_a_setting() -> None:
    core = Core(tie_breaker=1, local_ufrag="abcd", local_pwd="p" * 22, seed=b"s" * 16, max_pairs=3)
    core.add_local_candidate(host("192.0.2.1"), 0, 0.0)
    core.set_remote_credentials(*BOB, 0.0)
    for number in range(9):
        core.add_remote_candidate(host(f"198.51.100.{number}", index=number), 0.0)
    assert {pair.destination[0] for pair in core.pairs} == {"198.51.100.0", "198.51.100.1", "198.51.100.2"}


@pytest.mark.row("TRI-06")
@pytest.mark.parametrize("state", ["in-progress", "succeeded", "selected"])
def test_signalling_names_what_a_check_told_of(state: str) -> None:
    hand = Hand(controlling=False)
    hand.ask(priority=1234, use_candidate=state == "selected")
    [request] = hand.requests()
    if state != "in-progress":
        hand.answer(request)
    pair = hand.pair()
    before, requests = pair.state, pair.requests_received
    assert pair.remote.type is CandidateType.PRFLX
    hand.core.events()
    signalled = srflx(*THERE, ("10.0.0.2", 5000))
    hand.core.add_remote_candidate(signalled, hand.now)
    assert hand.core.pairs == [pair], "no second pair"
    assert hand.core.data_received(0, THERE, 1, 1, hand.now), "the peer has proved itself where it says it is"
    assert (pair.remote, pair.state, pair.requests_received) == (signalled, before, requests)
    theirs, ours = signalled.priority, pair.local.priority
    assert pair.priority == (min(theirs, ours) << 32) + 2 * max(theirs, ours) + (theirs > ours)
    assert hand.core.remote_candidates == [signalled]
    changed = [event for event in hand.core.events() if isinstance(event, SelectedPairChanged)]
    assert changed == ([SelectedPairChanged(pair)] if state == "selected" else [])


@pytest.mark.row("TRI-07")
def test_a_late_pair_of_a_foundation_that_works_is_checked_like_any() -> None:
    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    assert hand.pair().state is SUCCEEDED
    hand.now += 1
    hand.core.add_remote_candidate(host("192.0.2.2", 5001), hand.now)
    assert hand.pair(("192.0.2.2", 5001)).state is CandidatePairState.IN_PROGRESS


@pytest.mark.row("TRI-09")
def test_after_the_end_no_candidate_is_taken() -> None:
    hand = Hand(controlling=True)
    hand.core.end_of_remote_candidates(hand.now)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    assert hand.core.pairs == []
    assert hand.core.dropped.candidates == 1


@pytest.mark.row("TRI-09")
def test_the_end_before_the_credentials_keeps_what_came_before_it() -> None:
    wire, alice, bob = two_peers()
    alice.core.add_remote_candidate(host(*THERE), wire.now)
    alice.core.end_of_remote_candidates(wire.now)
    alice.core.add_remote_candidate(host("192.0.2.9"), wire.now)
    alice.meet(bob, controlling=True, candidates=False)
    assert [pair.destination for pair in alice.core.pairs] == [THERE]


@pytest.mark.row("TRI-11")
@pytest.mark.parametrize("early", [False, True])
def test_candidates_of_another_generation_are_ignored(early: bool) -> None:
    wire, alice, bob = two_peers()
    old = dataclasses.replace(host("192.0.2.8"), extensions=(("ufrag", "oldgen"),))
    new = dataclasses.replace(host(*THERE), extensions=(("generation", "0"), ("ufrag", BOB[0])))
    if not early:
        alice.meet(bob, controlling=True, candidates=False)
    for candidate in (old, new):
        alice.core.add_remote_candidate(candidate, wire.now)
    if early:
        alice.meet(bob, controlling=True, candidates=False)
    assert [pair.destination for pair in alice.core.pairs] == [THERE]
    assert alice.core.dropped.candidates == 1


def test_candidates_before_the_credentials_are_held_but_not_without_end() -> None:
    wire, alice, bob = two_peers()
    for number in range(1000):
        alice.core.add_remote_candidate(host(f"198.51.100.{number % 250}", 6000 + number), wire.now)
    assert alice.core.dropped.candidates == 1000 - MAX_REMOTE_CANDIDATES
    alice.meet(bob, controlling=True, candidates=False)
    assert len(alice.core.pairs) == MAX_REMOTE_CANDIDATES


@pytest.mark.row("TRI-10")
def test_component_1_goes_first_and_no_other_goes_at_all() -> None:
    """All of a session runs over one component; one that a peer of several trickles before it delays nothing."""
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(dataclasses.replace(host(*THERE), component=2), hand.now)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    assert [where for where, _ in hand.requests()] == [THERE]
    assert [pair.remote.component for pair in hand.core.pairs] == [1]
    assert hand.core.dropped.ignored == {"all runs over one component": 1}


@pytest.mark.parametrize(
    "candidate",
    [
        host("0.0.0.0"),
        host("::"),
        host("224.0.0.251"),
        host("ff02::fb"),
        host("255.255.255.255"),
        host("192.0.2.2", 0),
        host("unresolved.local"),
        host("host.example.org"),
        dataclasses.replace(host(*THERE), component=2),
        dataclasses.replace(host(*THERE), transport="tcp"),
    ],
)
def test_what_cannot_be_reached_is_not_checked(candidate: Candidate) -> None:
    hand = Hand(controlling=True)
    hand.core.add_local_candidate(host("2001:db8::1", index=1), 1, hand.now)
    hand.core.add_remote_candidate(candidate, hand.now)
    assert hand.core.pairs == []
    assert hand.requests() == []
    assert hand.core.dropped.candidates == 1


def test_the_applications_filter_holds_for_candidates_and_for_strangers() -> None:
    wire, _, bob = two_peers()
    carol = wire.peer("carol", ("caro", "c" * 22), 3, remote_ip_filter=lambda host: host != "192.0.2.2")
    carol.add(host("192.0.2.7"))
    bob.meet(carol, controlling=False)
    carol.meet(bob, controlling=True)
    wire.run(5)
    assert carol.core.pairs == []
    assert carol.sent() == []
    assert carol.core.dropped.refused > 0


def test_half_trickle_both_ways() -> None:
    """All candidates of one side in its description, the other's one by one."""
    wire, alice, bob = two_peers()
    alice.add(host("192.0.2.11", index=1))
    bob.meet(alice, controlling=False)
    alice.meet(bob, controlling=True, candidates=False)
    wire.run(0.3)
    for candidate in bob.core.local_candidates:
        alice.hear_of(candidate)
    assert wire.run(1, lambda: connected(alice, bob))


def test_candidates_after_the_selection_are_known_but_not_checked() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    alice.hear_of(host("192.0.2.9", index=1))
    alice.core.add_local_candidate(host("192.0.2.19", index=1), 5, wire.now)
    wire.run(1)
    assert len(alice.core.pairs) == 1
    assert len(alice.core.remote_candidates) == 2


def test_the_end_of_candidates_may_fail_a_search_no_sooner_and_no_later() -> None:
    timings = AgentTimings(disconnected_timeout=1, failed_timeout=2)
    wire, alice, bob = two_peers(timings=timings)
    wire.blocked = lambda packet: True
    alice.meet(bob, controlling=True)
    alice.core.local_gathering_done(wire.now)
    alice.core.end_of_remote_candidates(wire.now)
    wire.run(2.9)
    assert alice.core.state is ICETransportState.CHECKING
    wire.run(0.2)
    assert alice.core.state is ICETransportState.FAILED


def test_nothing_is_complete_while_pairs_wait_for_their_turn() -> None:
    hand = Hand(controlling=False, core={"keep_alternatives": True})
    for number in range(2, 5):
        hand.core.add_remote_candidate(host(f"192.0.2.{number}", index=number), hand.now)
    hand.core.local_gathering_done(hand.now)
    hand.core.end_of_remote_candidates(hand.now)
    hand.answer(hand.requests()[0])
    hand.ask(use_candidate=True)
    assert hand.core.state is ICETransportState.CONNECTED
    for _ in range(2):
        hand.wait(0.05)
        assert hand.core.state is ICETransportState.CONNECTED
        hand.answer(hand.requests()[-1])
    assert hand.core.state is ICETransportState.COMPLETED
