"""TCP candidates in the core (RFC 6544): which pair, who begins, nothing sent twice, connections that end."""

from __future__ import annotations

import itertools

import pytest

from tests.ice.core_pair import ALICE, BOB, Packet, Peer, Wire, connect, connected, host, tcp
from tests.ice.hand import Hand
from webrtc_py.ice import stun
from webrtc_py.ice.candidate import Candidate
from webrtc_py.states import CandidatePairState, CandidateType, ICETransportState, TCPType

ACTIVE, PASSIVE, SO = TCPType.ACTIVE, TCPType.PASSIVE, TCPType.SIMULTANEOUS_OPEN

THERE = ("192.0.2.2", 7000)


def two_over_tcp(*, alice_dials: bool = True, udp: bool = False, wire: Wire | None = None) -> tuple[Wire, Peer, Peer]:
    wire = wire or Wire(delay=0.01)
    alice = wire.peer("alice", ALICE, 2)
    bob = wire.peer("bob", BOB, 1)
    for peer, address, dials in ((alice, "192.0.2.1", alice_dials), (bob, "192.0.2.2", not alice_dials)):
        peer.add(tcp(ACTIVE if dials else PASSIVE, address))
        if udp:
            peer.add(host(address))
    return wire, alice, bob


def active_hand(**options: float) -> Hand:
    hand = Hand(controlling=True, local=tcp(ACTIVE, "192.0.2.1"), **options)
    hand.core.add_remote_candidate(tcp(PASSIVE, *THERE), hand.now)
    return hand


@pytest.mark.row("TCP-04", "ICE-12")
@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [(a, b, 1 if (a, b) in ((ACTIVE, PASSIVE), (SO, SO)) else 0) for a in TCPType for b in TCPType],
)
@pytest.mark.parametrize("remote_first", [True, False])
def test_which_candidates_pair(ours: TCPType, theirs: TCPType, pairs: int, remote_first: bool) -> None:
    hand = Hand(controlling=True, local=host("2001:db8::1"))
    there = tcp(theirs, *THERE)
    if remote_first:
        hand.core.add_remote_candidate(there, hand.now)
    hand.core.add_local_candidate(tcp(ours, "192.0.2.1"), 1, hand.now)
    hand.core.add_local_candidate(host("192.0.2.1"), 2, hand.now)
    if not remote_first:
        hand.core.add_remote_candidate(there, hand.now)
    assert len(hand.core.pairs) == pairs
    assert hand.core.remote_candidates == [there]
    assert len(hand.requests()) == pairs


@pytest.mark.row("TCP-04")
def test_one_address_may_be_of_several_kinds() -> None:
    hand = active_hand()
    hand.core.add_remote_candidate(tcp(SO, *THERE), hand.now)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.core.add_remote_candidate(tcp(PASSIVE, *THERE), hand.now)
    assert len(hand.core.remote_candidates) == 3
    assert [(pair.remote.tcp_type, pair.base.tcp_type) for pair in hand.core.pairs] == [(PASSIVE, ACTIVE)]


@pytest.mark.row("TCP-04", "TCP-06", "CON-05")
@pytest.mark.parametrize("alice_dials", [True, False])
def test_two_agents_connect_over_tcp_whoever_controls(alice_dials: bool) -> None:
    wire, alice, bob = two_over_tcp(alice_dials=alice_dials)
    connect(wire, alice, bob)
    dialler, waiter = (alice, bob) if alice_dials else (bob, alice)
    assert wire.log[0].sender is dialler, "the passive side never begins"
    [pair] = dialler.core.pairs
    assert (pair.base.tcp_type, pair.remote.tcp_type) == (ACTIVE, PASSIVE)
    assert (pair.local.type, pair.local.tcp_type) == (CandidateType.PRFLX, ACTIVE)
    assert pair.local.port > 9, "it is the connection's own port that the peer sees"
    [other] = waiter.core.pairs
    assert (other.base.tcp_type, other.remote.tcp_type, other.remote.type) == (PASSIVE, ACTIVE, CandidateType.PRFLX)
    assert (other.destination, other.local) == ((pair.local.address, pair.local.port), other.base)
    assert other.remote.priority == pair.local.priority, "as the check said"
    assert pair.local.priority >> 24 == 110 - 27
    assert pair.priority == other.priority
    wire.run(60)
    for peer in (alice, bob):
        ids = [packet.message.transaction_id for packet in peer.requests()]
        assert len(ids) == len(set(ids)), "TCP repeats what is lost"
        late = [packet.time for packet in peer.requests() if packet.time > 110]
        gaps = [b - a for a, b in itertools.pairwise(late)]
        assert 1.6 <= min(gaps) <= max(gaps) <= 2.4, "and consent is asked for as on any pair"


@pytest.mark.row("CON-05", "CON-01")
def test_consent_ends_over_tcp_too() -> None:
    wire, alice, bob = two_over_tcp()
    connect(wire, alice, bob)
    wire.blocked = lambda packet: not packet.is_request
    wire.run(40)
    assert alice.core.path is None
    assert bob.core.path is None


@pytest.mark.row("TCP-06")
def test_a_check_over_tcp_is_sent_once_and_waited_for() -> None:
    hand = active_hand(failed_timeout=100)
    start = hand.now
    [(where, _)] = hand.requests()
    assert where == THERE
    while hand.pair(THERE).state is CandidatePairState.IN_PROGRESS:
        hand.wait(0.1)
    assert hand.now - start == pytest.approx(39.5, abs=0.11)
    assert hand.requests() == []
    assert (hand.pair(THERE).requests_sent, hand.pair(THERE).retransmissions_sent) == (1, 0)
    assert hand.pair(THERE).state is CandidatePairState.FAILED


@pytest.mark.row("TCP-06")
def test_relatives_of_a_check_over_tcp_wait_no_longer_than_others() -> None:
    hand = active_hand()
    hand.core.add_remote_candidate(tcp(PASSIVE, "192.0.2.3", index=0), hand.now)
    assert [where for where, _ in hand.requests()] == [THERE]
    hand.wait(0.6)
    assert [where for where, _ in hand.requests()] == [("192.0.2.3", 7000)]


@pytest.mark.row("TCP-06")
def test_a_check_that_comes_back_over_the_connection_sends_no_second_one() -> None:
    hand = active_hand()
    [request] = hand.requests()
    hand.ask(THERE)
    assert hand.requests() == []
    hand.answer(request)
    assert hand.pair(THERE).succeeded


@pytest.mark.row("TCP-06")
def test_a_nomination_over_tcp_is_sent_once_and_given_up() -> None:
    hand = active_hand()
    hand.core.add_remote_candidate(tcp(PASSIVE, "192.0.2.3", index=1), hand.now)
    hand.wait(0.1)
    for request in hand.requests():
        hand.answer(request)
    hand.wait(4)
    nominations = [where for where, message in hand.requests() if "USE-CANDIDATE" in message.attributes]
    assert nominations == [THERE]
    hand.wait(1.5)
    nominations = [where for where, message in hand.requests() if "USE-CANDIDATE" in message.attributes]
    assert nominations == [("192.0.2.3", 7000)]
    assert hand.pair(THERE).state is CandidatePairState.FAILED


@pytest.mark.row("TCP-02")
@pytest.mark.parametrize("udp_works", [True, False])
def test_udp_is_preferred_where_it_works(udp_works: bool) -> None:
    wire, alice, bob = two_over_tcp(udp=True)

    def is_udp(packet: Packet) -> bool:
        return 5000 in (packet.source[1], packet.destination[1])

    wire.blocked = lambda packet: not udp_works and is_udp(packet)
    connect(wire, alice, bob)
    for peer in (alice, bob):
        assert peer.core.selected is not None
        assert peer.core.selected.base.transport == ("udp" if udp_works else "tcp")


# Connections that end


@pytest.mark.row("TCP-06")
@pytest.mark.parametrize("alice_dials", [True, False])
@pytest.mark.parametrize("both_notice", [True, False])
def test_a_connection_that_has_ended_is_made_again_by_who_has_made_it(alice_dials: bool, both_notice: bool) -> None:
    wire, alice, bob = two_over_tcp(alice_dials=alice_dials)
    connect(wire, alice, bob)
    wire.run(10)
    dialler, waiter = (alice, bob) if alice_dials else (bob, alice)
    [pair], [other] = dialler.core.pairs, waiter.core.pairs
    before = other.destination
    dialler.dialled.clear()
    wire.blocked = lambda packet: before in (packet.source, packet.destination)
    dialler.core.path_lost(0, pair.destination, wire.now, "the peer has closed the connection")
    assert dialler.core.path is None
    assert dialler.core.state is ICETransportState.DISCONNECTED
    if both_notice:
        waiter.core.path_lost(0, before, wire.now, "the peer has closed the connection")
    wire.flush()
    assert wire.run(3, lambda: dialler.core.path is not None and waiter.core.selected is not other)
    assert dialler.core.path is pair
    assert waiter.core.path is waiter.core.selected
    assert waiter.core.selected is not None
    assert waiter.core.selected.destination != before
    wire.run(10)
    assert connected(alice, bob)


@pytest.mark.row("TCP-06")
def test_a_connection_that_cannot_be_made_again_is_tried_with_pauses() -> None:
    hand = active_hand(srflx_acceptance_min_wait=0)
    for _ in range(2):
        hand.answer(hand.requests()[-1])
    assert hand.core.selected is hand.pair(THERE)
    tries = 0
    end = hand.now + 25
    hand.core.path_lost(0, THERE, hand.now, "reset")
    while hand.now < end:
        hand.wait(0.1)
        if hand.requests():
            tries += 1
            hand.core.path_lost(0, THERE, hand.now, "refused")
    assert 10 <= tries <= 50, "at most two in a second"
    assert hand.pair(THERE).failure == "refused"
    hand.wait(10)
    assert hand.core.state is ICETransportState.FAILED


def test_a_connection_that_was_taken_is_not_tried_again() -> None:
    hand = Hand(controlling=True, local=tcp(PASSIVE, "192.0.2.1"))
    source = ("192.0.2.2", 51000)
    hand.ask(source)
    hand.answer(hand.requests()[-1])
    hand.wait(1)
    hand.answer(hand.requests()[-1])
    assert hand.core.selected is hand.pair(source)
    hand.core.path_lost(0, source, hand.now, "reset")
    hand.wait(10)
    assert hand.requests() == []
    assert hand.core.state is ICETransportState.DISCONNECTED


@pytest.mark.row("TCP-04")
def test_a_stranger_on_a_connection_must_answer_before_it_counts() -> None:
    hand = Hand(controlling=True, local=tcp(PASSIVE, "192.0.2.1"))
    source = ("192.0.2.2", 51000)
    hand.ask(source)
    assert not hand.core.data_received(0, source, 10, 1, hand.now)
    [(where, message)] = hand.requests()
    assert where == source
    answer = stun.binding_success(message.transaction_id, mapped_address=("192.0.2.1", 7000), key=BOB[1].encode())
    hand.core.receive(answer, 0, source, hand.now)
    assert hand.core.data_received(0, source, 10, 1, hand.now)
    assert hand.pair(source).local == tcp(PASSIVE, "192.0.2.1")


def test_a_tcp_candidate_without_a_role_is_of_no_use() -> None:
    hand = active_hand()
    nobody = Candidate("9", 1, "tcp", 5, "192.0.2.9", 80, CandidateType.HOST)
    hand.core.add_remote_candidate(nobody, hand.now)
    assert len(hand.core.pairs) == 1
    assert hand.core.dropped.ignored == {"its transport is tcp": 1}
