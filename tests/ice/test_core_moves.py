"""The session moves: alternatives that are kept alive, bases that go and come, a peer that is somewhere else now."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.ice.core_pair import ALICE, BOB, Peer, Wire, connect, connected, host, relay, two_peers
from tests.ice.hand import THERE, Hand
from webrtc_py.ice.candidate import Candidate, unmarshal_candidate
from webrtc_py.ice.checklist import MAX_UNPROVEN_STRANGERS
from webrtc_py.ice.core import DEFAULT_MAX_PAIRS
from webrtc_py.ice.events import SelectedPairChanged
from webrtc_py.ice.pairing import MAX_REMOTE_CANDIDATES
from webrtc_py.ice.search import MAX_ALTERNATIVES
from webrtc_py.states import CandidatePairState, ICETransportState

CONNECTED = ICETransportState.CONNECTED
DISCONNECTED = ICETransportState.DISCONNECTED
FAILED = ICETransportState.FAILED

ELSEWHERE = ("192.0.2.3", 5000)


def two_homes(keep: bool = True, *, alice_controls: bool = True, **options: Any) -> tuple[Wire, Peer, Peer]:
    """Alice has two addresses, and is connected over the first."""
    wire = Wire(delay=0.03)
    alice = wire.peer("alice", ALICE, 2, keep_alternatives=keep, **options)
    bob = wire.peer("bob", BOB, 1)
    alice.add(host("192.0.2.1"))
    alice.add(host("192.0.2.11", index=1))
    bob.add(host("192.0.2.2"))
    alice.meet(bob, controlling=alice_controls)
    bob.meet(alice, controlling=not alice_controls)
    assert wire.run(5, lambda: connected(alice, bob))
    wire.run(5)
    return wire, alice, bob


def lose(peer: Peer, base_id: int) -> None:
    peer.bases.pop(base_id)
    peer.core.base_lost(base_id, peer.wire.now, reason="the interface has vanished")
    peer.wire.flush()


def trickle(peer: Peer, other: Peer, candidate: Candidate, base_id: int) -> None:
    peer.bases[base_id] = candidate.address, candidate.port
    peer.core.add_local_candidate(candidate, base_id, peer.wire.now)
    other.hear_of(unmarshal_candidate(candidate.marshal()))


def our_end(peer: Peer) -> str | None:
    return peer.core.path.base.address if peer.core.path is not None else None


def far_end(peer: Peer) -> str | None:
    return peer.core.path.destination[0] if peer.core.path is not None else None


# Alternatives


def test_alternatives_are_kept_alive_and_no_others() -> None:
    for keep in (True, False):
        wire, alice, _ = two_homes(keep)
        mark = wire.now
        wire.run(60)
        times = [p.time for p in alice.requests() if p.time > mark and p.source[0] == "192.0.2.11"]
        if keep:
            assert max(b - a for a, b in itertools.pairwise(times)) < 3
            assert len(times) < 40
        else:
            assert times == []
        other = next(pair for pair in alice.core.pairs if pair.base.address == "192.0.2.11")
        assert other.has_consent(wire.now) is keep


def test_alternatives_are_few_and_of_each_base() -> None:
    wire = Wire()
    alice = wire.peer("alice", ALICE, 2, keep_alternatives=True)
    bob = wire.peer("bob", BOB, 1)
    for number in range(8):
        alice.add(host(f"192.0.2.{number}", index=number))
        bob.add(host(f"198.51.100.{number}", index=number))
    alice.add(relay("203.0.113.1"))
    connect(wire, alice, bob)
    wire.run(30)
    assert all(pair.succeeded for pair in alice.core.pairs)
    mark = wire.now
    wire.run(60)
    asked = {(p.source, p.destination) for p in alice.requests() if p.time > mark + 30}
    assert len(asked) == 1 + MAX_ALTERNATIVES
    assert len({source for source, _ in asked}) == 9
    assert len([p for p in alice.requests() if p.time > mark]) < 60 * (1 + MAX_ALTERNATIVES)


def test_an_alternative_that_dies_is_one_no_more_and_is_tried_again_now_and_then() -> None:
    wire, alice, _ = two_homes()
    other = next(pair for pair in alice.core.pairs if pair.base.address == "192.0.2.11")
    wire.blocked = lambda packet: "192.0.2.11" in (packet.source[0], packet.destination[0])
    wire.run(40)
    assert not other.succeeded
    assert other.failure == "its checks are answered no more"
    wire.blocked = lambda packet: False
    assert wire.run(25, lambda: other.succeeded)
    assert connected(alice)
    assert alice.selections == 1


# Bases that go


@pytest.mark.parametrize("alice_controls", [True, False])
def test_when_the_base_goes_the_session_is_on_another_at_once(alice_controls: bool) -> None:
    wire, alice, bob = two_homes(alice_controls=alice_controls)
    gone = wire.now
    lose(alice, 0)
    assert our_end(alice) == "192.0.2.11"
    assert wire.run(3, lambda: far_end(bob) == "192.0.2.11")
    assert wire.now - gone < 2.5
    wire.run(60)
    assert DISCONNECTED not in alice.states + bob.states
    assert (alice.selections, bob.selections) == (2, 2)


@pytest.mark.parametrize("alice_controls", [True, False])
def test_a_path_that_works_in_one_direction_only_is_left_for_one_that_answers(alice_controls: bool) -> None:
    """The route to one of the peer's addresses goes with the base, while that address's packets still find us."""
    wire, alice, bob = two_homes(alice_controls=alice_controls)
    trickle(bob, alice, host("198.51.100.2", index=1), 1)
    wire.run(10)
    gone = wire.now
    wire.blocked = lambda packet: packet.source[0] == "192.0.2.11" and packet.destination[0] == "192.0.2.2"
    lose(alice, 0)
    assert (our_end(alice), far_end(alice)) == ("192.0.2.11", "192.0.2.2")
    assert wire.run(5, lambda: far_end(alice) == "198.51.100.2" and our_end(bob) == "198.51.100.2")
    assert wire.now - gone < 3
    wire.run(60)
    assert (our_end(alice), far_end(alice)) == ("192.0.2.11", "198.51.100.2")
    assert (our_end(bob), far_end(bob)) == ("198.51.100.2", "192.0.2.11")
    assert DISCONNECTED not in alice.states + bob.states


@pytest.mark.parametrize("seed", range(5))
def test_losses_alone_are_no_reason_to_leave_a_path(seed: int) -> None:
    wire, alice, bob = two_homes()
    wire.loss = 0.2
    wire.run(60)
    assert alice.selections <= 2
    assert connected(alice, bob)


@pytest.mark.parametrize("alice_controls", [True, False])
def test_what_worked_once_is_tried_first_when_nothing_is_kept_alive(alice_controls: bool) -> None:
    wire, alice, bob = two_homes(keep=False, alice_controls=alice_controls)
    wire.run(10)
    gone = wire.now
    lose(alice, 0)
    assert alice.core.state is DISCONNECTED
    assert wire.run(0.1, lambda: our_end(alice) == "192.0.2.11")
    assert wire.run(3, lambda: far_end(bob) == "192.0.2.11")
    assert wire.now - gone < 2.5
    wire.run(60)
    assert connected(alice, bob)


@pytest.mark.row("ICE-52")
@pytest.mark.parametrize("alice_controls", [True, False])
@pytest.mark.parametrize("gap", [-1.0, 0.0, 0.5])
@pytest.mark.parametrize("keep", [True, False])
def test_a_new_base_is_moved_to_within_three_seconds(alice_controls: bool, gap: float, keep: bool) -> None:
    """It comes before, with or after the loss of the only one. The peer does not know of moves."""
    wire, alice, bob = two_peers(Wire(delay=0.05), keep_alternatives=keep)
    alice.meet(bob, controlling=alice_controls)
    bob.meet(alice, controlling=not alice_controls)
    assert wire.run(5, lambda: connected(alice, bob))
    wire.run(7.3)
    if gap < 0:
        trickle(alice, bob, host("192.0.2.11"), 1)
        wire.run(-gap)
    gone = wire.now
    lose(alice, 0)
    if gap >= 0:
        wire.run(gap)
        trickle(alice, bob, host("192.0.2.11"), 1)
    assert wire.run(3, lambda: our_end(alice) == "192.0.2.11" and far_end(bob) == "192.0.2.11")
    assert wire.now - gone < 3
    for peer in (alice, bob):
        moved = [event for _, event in peer.happened if isinstance(event, SelectedPairChanged)]
        assert [event.lost for event in moved] == [False, True], "what was under way to where nobody is any more"
    wire.run(60)
    assert connected(alice, bob)
    assert far_end(bob) == "192.0.2.11"
    assert FAILED not in alice.states + bob.states


def test_a_new_address_beside_one_that_works_changes_nothing() -> None:
    wire, alice, bob = two_homes()
    trickle(alice, bob, host("192.0.2.99"), 9)
    wire.run(30)
    assert alice.selections == bob.selections == 1
    pair = next(pair for pair in alice.core.pairs if pair.base.address == "192.0.2.99")
    assert pair.succeeded, "but it is there when it is needed"


def test_without_any_other_way_the_agent_waits_and_fails_when_its_time_is_up() -> None:
    wire, alice, _ = two_homes(keep=False)
    for base_id in (0, 1):
        lose(alice, base_id)
    assert alice.core.state is DISCONNECTED
    assert "the interface has vanished" in alice.reason
    mark = len(alice.requests())
    wire.run(20)
    assert len(alice.requests()) == mark, "there is nothing to send from"
    wire.run(15)
    assert alice.core.state is FAILED


# Outages


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("seconds", [3, 8, 20])
def test_after_an_outage_of_everything_the_better_pair_is_used_as_before(keep: bool, seconds: float) -> None:
    wire, alice, bob = two_homes(keep)
    wire.blocked = lambda packet: True
    wire.run(seconds)
    wire.blocked = lambda packet: False
    assert wire.run(3, lambda: connected(alice, bob))
    wire.run(30)
    assert our_end(alice) == far_end(bob) == "192.0.2.1"
    assert connected(alice, bob)


@pytest.mark.parametrize("keep", [True, False])
def test_a_path_that_dies_silently_is_left_for_the_next(keep: bool) -> None:
    wire, alice, bob = two_homes(keep)
    wire.blocked = lambda packet: "192.0.2.1" in (packet.source[0], packet.destination[0])
    start = wire.now
    assert wire.run(10, lambda: our_end(alice) == far_end(bob) == "192.0.2.11")
    assert wire.now - start < 7
    wire.run(60)
    assert connected(alice, bob)


def test_a_lost_connection_checks_old_pairs_again_but_not_for_ever() -> None:
    """What never answered is tried once for each outage, what once worked again and again, both at a bounded rate."""
    hand = Hand(controlling=True, failed_timeout=0)
    for number in range(20, 60):
        hand.core.add_remote_candidate(host(f"192.0.2.{number}", index=number), hand.now)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    while hand.core.selected is None:
        hand.wait(0.05)
        for request in hand.requests():
            if request[0] == THERE:
                hand.answer(request)
    hand.wait(200)
    hand.requests()
    hand.wait(600)
    asked = [where for where, _ in hand.requests()]
    assert set(asked) == {THERE}, "the selected pair is still asked whether it is there"
    assert len(asked) < 600


# The peer on the move


def test_a_peer_that_has_had_many_addresses_is_still_followed() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    for number in range(MAX_REMOTE_CANDIDATES + 50):
        alice.hear_of(host(f"198.51.{number // 200}.{number % 200 + 1}", index=0))
    named = {candidate.address for candidate in alice.core.remote_candidates}
    assert len(named) == MAX_REMOTE_CANDIDATES
    assert {"192.0.2.2", "198.51.0.150"} <= named
    hand = Hand(controlling=True)
    for number in range(MAX_REMOTE_CANDIDATES + 50):
        hand.core.add_remote_candidate(host(f"198.51.{number // 200}.{number % 200 + 1}", index=0), hand.now)
    assert len(hand.core.remote_candidates) == MAX_REMOTE_CANDIDATES
    assert "198.51.0.1" in {candidate.address for candidate in hand.core.remote_candidates}, (
        "not before a path is found"
    )


def test_a_hundred_moves_leave_room_for_the_next() -> None:
    wire, alice, bob = two_peers(Wire(delay=0.01), keep_alternatives=True)
    connect(wire, alice, bob)
    for number in range(1, 130):
        trickle(alice, bob, host(f"198.51.100.{number}"), number)
        wire.run(0.5)
        lose(alice, number - 1)
        assert wire.run(3, lambda number=number: our_end(alice) == far_end(bob) == f"198.51.100.{number}")  # type: ignore[misc]
    assert len(alice.core.pairs) <= 100
    assert len(bob.core.pairs) <= 100
    wire.run(900)
    mark = wire.now
    wire.run(60)
    asked = {packet.destination for packet in bob.requests() if packet.time > mark}
    assert asked == {("198.51.100.129", 5000)}, "where the peer has not been for minutes nobody asks"
    assert connected(alice, bob)


def test_one_nomination_that_comes_late_and_is_worse_does_not_move_a_pair_that_works() -> None:
    hand = Hand(controlling=False)
    for where, priority in ((THERE, 9), (ELSEWHERE, 1)):
        hand.ask(where, use_candidate=True, priority=priority)
        for request in hand.requests():
            hand.answer(request)
    for _ in range(30):
        hand.wait(0.1)
        for request in hand.requests():
            hand.answer(request)
    assert hand.core.selected is hand.pair(THERE)
    assert hand.pair(ELSEWHERE).state is CandidatePairState.SUCCEEDED


def test_a_worse_nomination_moves_us_as_soon_as_the_selected_pair_leaves_a_question_unanswered() -> None:
    hand = Hand(controlling=False)
    hand.ask(use_candidate=True, priority=9)
    hand.answer(hand.requests()[0])
    hand.wait(1.1)
    hand.ask(ELSEWHERE, use_candidate=True, priority=1)
    hand.answer(next(request for request in hand.requests() if request[0] == ELSEWHERE))
    assert hand.core.selected is hand.pair(THERE)
    hand.wait(1.2)
    assert hand.core.selected is hand.pair(ELSEWHERE)
    assert 5 <= len([where for where, _ in hand.requests() if where == THERE]) <= 15, "it had its chances"


@pytest.mark.parametrize("addresses", [2 * MAX_UNPROVEN_STRANGERS, DEFAULT_MAX_PAIRS])
def test_a_peer_whose_addresses_have_all_died_is_found_at_a_new_one(addresses: int) -> None:
    """A NAT has changed its mind more than once. What worked before is tried again, and takes nobody's place."""
    hand = Hand(controlling=False, core={"keep_alternatives": True}, failed_timeout=0)
    for number in range(addresses):
        where = THERE[0], 40000 + number
        hand.ask(where, use_candidate=number == 0)
        hand.wait(0.05)
        hand.answer([request for request in hand.requests() if request[0] == where][-1])
    hand.wait(60)
    assert hand.core.state is DISCONNECTED
    hand.requests()
    new = THERE[0], 50000
    hand.ask(new)
    hand.wait(0.1)
    hand.answer(next(request for request in hand.requests() if request[0] == new))
    hand.wait(1.5)
    assert hand.core.path is hand.core.selected is hand.pair(new)


def test_a_check_that_the_selection_has_cut_short_is_made_again_when_that_is_lost() -> None:
    hand = Hand(controlling=True)
    for where in (THERE, ELSEWHERE):
        hand.core.add_remote_candidate(host(*where, index=where is ELSEWHERE), hand.now)
    hand.wait(0.1)
    first, second = hand.requests()
    hand.answer(first)
    hand.wait(0.5)
    nomination = hand.requests()[-1]
    assert (first[0], second[0], nomination[0]) == (THERE, ELSEWHERE, THERE)
    hand.answer(nomination)
    hand.requests()
    hand.wait(6)
    assert hand.core.state is DISCONNECTED
    asked = [request for request in hand.requests() if request[0] == ELSEWHERE]
    assert asked
    hand.answer(asked[-1])
    assert hand.core.selected is hand.pair(ELSEWHERE)


# The controlled agent goes where the peer's data come from


def two_ways(nominated: tuple[str, int], **options: Any) -> Hand:
    """Controlled, with two pairs that work."""
    hand = Hand(controlling=False, **options)
    for where in (THERE, ELSEWHERE):
        hand.ask(where, use_candidate=where == nominated, priority=2 if where == THERE else 1)
        hand.answer(hand.requests()[0])
    assert hand.core.selected is hand.pair(nominated)
    return hand


def listen(hand: Hand, where: tuple[str, int], seconds: float) -> None:
    """Data come from there, and all checks are answered."""
    for _ in range(round(seconds * 10)):
        hand.wait(0.1)
        hand.core.data_received(0, where, 100, 1, hand.now)
        for request in hand.requests():
            hand.answer(request)


def test_after_a_move_of_its_own_it_follows_the_data() -> None:
    hand = two_ways(THERE)
    hand.wait(0.1)
    hand.core.path_lost(0, THERE, hand.now, "gone")
    assert hand.core.selected is hand.pair(ELSEWHERE)
    hand.ask(THERE)
    hand.answer(next(request for request in hand.requests() if request[0] == THERE))
    assert hand.core.selected is hand.pair(ELSEWHERE)
    hand.core.data_received(0, THERE, 100, 1, hand.now)
    assert hand.core.selected is hand.pair(ELSEWHERE), "that may have been late"
    listen(hand, THERE, 1.5)
    assert hand.core.selected is hand.pair(THERE)


def test_a_worse_nomination_is_followed_when_the_data_are() -> None:
    hand = two_ways(THERE)
    listen(hand, THERE, 3)
    hand.ask(ELSEWHERE, use_candidate=True)
    listen(hand, THERE, 3)
    assert hand.core.selected is hand.pair(THERE), "the peer has not moved, or an aggressive one nominates all"
    listen(hand, ELSEWHERE, 1.5)
    assert hand.core.selected is hand.pair(ELSEWHERE)


def test_its_own_data_go_there_with_it() -> None:
    hand = two_ways(THERE)
    hand.ask(ELSEWHERE, use_candidate=True)
    listen(hand, THERE, 3)
    while hand.core.selected is hand.pair(THERE):
        hand.wait(0.1)
        hand.core.data_received(0, ELSEWHERE, 100, 1, hand.now)
    assert hand.core.path is hand.pair(ELSEWHERE), "before any check of that pair is answered"


def test_what_a_value_has_nominated_is_left_for_no_data() -> None:
    hand = two_ways(THERE)
    hand.ask(ELSEWHERE, use_candidate=True, nomination=(0xC001, 1))
    assert hand.core.selected is hand.pair(ELSEWHERE)
    listen(hand, THERE, 3)
    assert hand.core.selected is hand.pair(ELSEWHERE)


def test_the_controlling_agent_stays_where_it_has_gone_as_long_as_that_works() -> None:
    hand = Hand(controlling=True)
    for where in (THERE, ELSEWHERE):
        hand.ask(where, priority=2 if where == THERE else 1)
        hand.answer(hand.requests()[0])
    hand.wait(1.1)
    hand.answer(hand.requests()[-1])
    listen(hand, ELSEWHERE, 3)
    assert hand.core.selected is hand.pair(THERE)
    for _ in range(30):
        hand.wait(0.1)
        hand.core.data_received(0, ELSEWHERE, 100, 1, hand.now)
    assert hand.core.selected is hand.pair(ELSEWHERE)


# Long and lossy ways


def lossy(seed: int, round_trip: float, loss: float) -> float:
    """The time it takes both to connect, with a relay each beside the hosts that do not reach one another."""
    wire = Wire(seed, delay=round_trip / 2, loss=loss)
    alice, bob = wire.peer("alice", ALICE, 2), wire.peer("bob", BOB, 1)
    for number, peer in enumerate((alice, bob)):
        peer.add(host(f"192.0.2.{number + 1}"))
        peer.add(relay(f"203.0.113.{number + 1}"))
    hosts = {"192.0.2.1", "192.0.2.2"}
    if seed % 2:
        wire.blocked = lambda packet: {packet.source[0], packet.destination[0]} == hosts
    start = wire.now
    alice.meet(bob, controlling=True)
    wire.run(round_trip / 2)
    bob.meet(alice, controlling=False)
    assert wire.run(28, lambda: connected(alice, bob)), f"seed {seed}: {alice.core.pairs}, {bob.core.pairs}"
    return wire.now - start


def test_all_of_200_connect_over_600_ms_and_30_per_cent_loss() -> None:
    times = sorted(lossy(seed, 0.6, 0.3) for seed in range(200))
    assert times[100] < 5
    assert times[190] < 12
