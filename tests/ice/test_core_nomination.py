"""Which pair is nominated and selected, and what a triggered check does."""

from __future__ import annotations

import pytest

from tests.ice.core_pair import ALICE, Peer, Wire, connect, connected, host, relay, srflx, two_peers
from tests.ice.hand import THERE, Hand
from webrtc_py.errors import InvalidStateError
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.core import Core
from webrtc_py.ice.options import AgentTimings
from webrtc_py.ice.pair import CandidatePair
from webrtc_py.states import CandidatePairState, CandidateType, ICETransportState

FROZEN, WAITING, IN_PROGRESS, SUCCEEDED, FAILED = CandidatePairState


# What a triggered check does (RFC 8445 section 7.3.1.4)


@pytest.mark.row("ICE-35")
def test_a_check_on_a_waiting_pair_triggers_one() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host("192.0.2.9"), hand.now)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    assert [where for where, _ in hand.requests()] == [("192.0.2.9", 5000)]
    assert hand.pair().state in (WAITING, FROZEN)
    hand.ask()
    assert [where for where, _ in hand.requests()] == [THERE], "at once, and not after Ta"


@pytest.mark.row("ICE-35")
def test_a_check_on_a_pair_in_progress_replaces_its_transaction_but_not_its_answer() -> None:
    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [first] = hand.requests()
    hand.now += 0.2
    hand.ask()
    hand.wait(0.002)
    [second] = hand.requests()
    assert first[1].transaction_id != second[1].transaction_id
    hand.now += 0.3
    hand.core.handle_timeout(hand.now)
    assert hand.requests() == [], "the first is not sent again"
    hand.answer(first)
    assert hand.pair().state is SUCCEEDED


@pytest.mark.row("ICE-35")
def test_a_check_on_a_pair_in_progress_leaves_the_answer_behind_it_time_to_be_read() -> None:
    """As in a process that connects hundreds of agents at once: each datagram is read late, and finds others behind."""
    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [first] = hand.requests()
    hand.now += 0.2
    hand.ask()
    hand.answer(first)
    hand.wait(0.4)
    assert hand.requests() == [], "nothing is asked twice"
    assert hand.pair().state is SUCCEEDED


@pytest.mark.row("ICE-35")
def test_a_check_on_a_succeeded_pair_does_nothing() -> None:
    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    hand.now += 1
    hand.ask()
    assert hand.requests() == []
    assert hand.pair().state is SUCCEEDED


@pytest.mark.row("ICE-35", "ICE-26")
def test_a_check_on_a_failed_pair_tries_again() -> None:
    hand = Hand(controlling=False, failed_timeout=60)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.wait(39.8)
    assert len(hand.requests()) == 7
    assert (hand.pair().state, hand.pair().failure) == (FAILED, "no answer")
    hand.ask()
    hand.answer(hand.requests()[0])
    assert hand.pair().state is SUCCEEDED


@pytest.mark.row("ICE-34")
def test_a_check_from_elsewhere_makes_a_pair_and_triggers_a_check() -> None:
    hand = Hand(controlling=True)
    hand.ask(("203.0.113.5", 1234), priority=77)
    [(where, _)] = hand.requests()
    assert where == ("203.0.113.5", 1234)
    pair = hand.pair(where)
    assert (pair.remote.type, pair.remote.priority) == (CandidateType.PRFLX, 77)


# The controlling agent (RFC 8445 section 8.1.1)


@pytest.mark.row("ICE-26", "STN-05")
def test_the_schedule_of_a_check_without_an_answer() -> None:
    hand = Hand(controlling=True, failed_timeout=60)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    times, start = [], hand.now
    while (due := hand.core.next_timeout()) is not None and hand.pair().state is not FAILED:
        if hand.requests():
            times.append(hand.now - start)
        hand.now = due
        hand.core.handle_timeout(hand.now)
    assert times == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
    assert hand.now - start == pytest.approx(39.5)


@pytest.mark.row("ICE-47", "ICE-48")
def test_ordinary_checks_are_paced_and_many_of_them_are_repeated_more_slowly() -> None:
    hand = Hand(controlling=True)
    for number in range(30):
        hand.core.add_remote_candidate(host(f"198.51.100.{number}", index=number), hand.now)
    log: list[tuple[float, bytes]] = []
    start = hand.now
    while hand.now < start + 3:
        log += [(hand.now - start, message.transaction_id) for _, message in hand.requests()]
        hand.now = hand.core.next_timeout() or start + 3
        hand.core.handle_timeout(hand.now)
    first: dict[bytes, float] = {}
    again: dict[bytes, float] = {}
    for time, id in log:
        if id in first:
            again.setdefault(id, time - first[id])
        else:
            first[id] = time
    times = list(first.values())
    assert len(times) == 30
    assert times == pytest.approx([0.05 * i for i in range(30)])
    assert list(again.values()) == pytest.approx([0.5] + [0.05 * 30] * 29), "the first was alone when it went out"
    assert len(log) / 3 <= 2 / 0.05, "all in all no more than two packets in Ta"


@pytest.mark.row("ICE-38", "ICE-19")
def test_one_pair_is_nominated_and_no_other() -> None:
    wire, alice, bob = two_peers()
    for number in range(3, 8):
        bob.add(host(f"192.0.2.{number}", index=number))
        alice.add(host(f"192.0.2.1{number}", index=number))
    connect(wire, alice, bob)
    wire.run(30)
    nominations = [packet for packet in alice.sent() if packet.has("USE-CANDIDATE")]
    assert len({(packet.source, packet.destination) for packet in nominations}) == 1
    assert sum(pair.nominated for pair in alice.core.pairs) == 1
    assert not any(packet.has("USE-CANDIDATE") for packet in bob.sent())
    assert alice.selections == bob.selections == 1


def types(kind: CandidateType) -> Candidate:
    if kind is CandidateType.HOST:
        return host(*THERE)
    return (srflx(*THERE, ("10.0.0.2", 5000))) if kind is CandidateType.SRFLX else relay(*THERE)


@pytest.mark.row("ICE-39")
@pytest.mark.parametrize(
    ("kind", "wait"), [(CandidateType.HOST, 0.0), (CandidateType.SRFLX, 0.5), (CandidateType.RELAY, 2.0)]
)
def test_nomination_leaves_better_types_their_time(kind: CandidateType, wait: float) -> None:
    hand = Hand(controlling=True)
    hand.now += 7  # candidates come late; the wait counts from the first check
    start = hand.now
    hand.core.add_remote_candidate(types(kind), hand.now)
    hand.answer(hand.requests()[0])
    hand.wait(wait - 0.01 if wait else 0)
    nominations = [message for _, message in hand.requests() if "USE-CANDIDATE" in message.attributes]
    assert len(nominations) == (0 if wait else 1)
    hand.wait(start + wait - hand.now)
    nominations += [message for _, message in hand.requests() if "USE-CANDIDATE" in message.attributes]
    assert len(nominations) == 1


@pytest.mark.row("ICE-39")
def test_the_better_pair_that_comes_in_time_is_nominated() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(relay(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    hand.wait(1.5)
    better = ("192.0.2.3", 5000)
    hand.core.add_remote_candidate(host(*better), hand.now)
    hand.answer(hand.requests()[0])
    [(where, nomination)] = hand.requests()
    assert where == better
    assert "USE-CANDIDATE" in nomination.attributes


def test_there_is_nothing_to_wait_for_when_nothing_better_can_come() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(relay(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    hand.core.local_gathering_done(hand.now)
    assert hand.requests() == []
    hand.core.end_of_remote_candidates(hand.now)
    [(_, nomination)] = hand.requests()
    assert "USE-CANDIDATE" in nomination.attributes


def test_a_better_pair_that_may_still_work_is_waited_for() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(relay(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    hand.core.add_remote_candidate(host("192.0.2.3"), hand.now)
    hand.core.local_gathering_done(hand.now)
    hand.core.end_of_remote_candidates(hand.now)
    hand.wait(1.9)
    assert not any("USE-CANDIDATE" in message.attributes for _, message in hand.requests())
    hand.wait(0.2)
    assert any("USE-CANDIDATE" in message.attributes for _, message in hand.requests())


def test_a_nominated_pair_that_dies_does_not_end_the_search() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.core.add_remote_candidate(srflx("203.0.113.2", 5000, ("10.0.0.2", 5000)), hand.now)
    [first] = hand.requests()
    hand.wait(0.05)
    [second] = hand.requests()
    hand.answer(second)
    hand.answer(first)
    [(where, _)] = hand.requests()
    assert where == THERE
    hand.wait(6)  # and now the nominated path says nothing more
    nominated = [where for where, message in hand.requests() if "USE-CANDIDATE" in message.attributes]
    assert nominated[0] == THERE
    assert nominated[-1] == ("203.0.113.2", 5000)
    assert hand.pair().state is FAILED
    assert hand.core.selected is None


def test_the_only_pair_is_nominated_again_and_again() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    hand.wait(20)
    nominations = [entry for entry in hand.requests() if "USE-CANDIDATE" in entry[1].attributes]
    assert len(nominations) == 41
    assert len({message.transaction_id for _, message in nominations}) == 5
    hand.answer(nominations[-1])
    assert hand.core.selected is hand.pair()


@pytest.mark.row("ICE-38")
def test_a_peer_that_answers_a_nomination_and_makes_no_check_is_told_again() -> None:
    # What comes before werift knows our candidates, right after a restart, it answers and forgets.
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.core.end_of_remote_candidates(hand.now)
    hand.core.local_gathering_done(hand.now)
    hand.answer(hand.requests()[0])
    [nomination] = hand.requests()
    hand.answer(nomination)
    assert hand.core.selected is hand.pair()
    times, start = [], hand.now
    while hand.now < start + 12:
        hand.now = hand.core.next_timeout() or start + 12
        hand.core.handle_timeout(hand.now)
        for request in hand.requests():
            if "USE-CANDIDATE" in request[1].attributes:
                times.append(hand.now - start)
            hand.answer(request)
    assert times == pytest.approx([0.5, 5.5, 10.5])
    hand.ask()
    hand.wait(10)
    assert not any("USE-CANDIDATE" in message.attributes for _, message in hand.requests()), "it has followed"


def test_a_nomination_goes_on_whatever_is_checked_meanwhile() -> None:
    """Consent has expired in an outage, so the peer's first check after it makes us check the nominated pair again."""
    hand = Hand(controlling=True, failed_timeout=90)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [check] = hand.requests()
    hand.answer(check)
    hand.wait(31)
    assert hand.core.path is None
    hand.requests()
    hand.ask()
    hand.wait(0.1)
    hand.answer(next(request for request in hand.requests() if "USE-CANDIDATE" not in request[1].attributes))
    assert hand.core.path is hand.pair()
    hand.wait(6)
    [*_, nomination] = [request for request in hand.requests() if "USE-CANDIDATE" in request[1].attributes]
    hand.answer(nomination)
    assert hand.core.selected is hand.pair()


# The controlled agent (RFC 8445 section 7.3.1.5)


@pytest.mark.row("ICE-36")
def test_use_candidate_on_a_pair_that_works_selects_it() -> None:
    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    assert hand.core.selected is None
    hand.ask(use_candidate=True)
    assert hand.core.selected is hand.pair()
    assert hand.core.state is ICETransportState.CONNECTED


@pytest.mark.row("ICE-36")
def test_use_candidate_on_another_pair_selects_it_once_it_works() -> None:
    hand = Hand(controlling=False)
    hand.ask(use_candidate=True)
    assert hand.core.selected is None
    assert not hand.pair().nominated
    hand.answer(hand.requests()[0])
    assert hand.core.selected is hand.pair()
    assert hand.pair().nominated


@pytest.mark.row("ICE-37")
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_of_several_nominated_pairs_the_best_is_selected(order: tuple[int, ...]) -> None:
    hand = Hand(controlling=False)
    for number in order:
        source = (f"192.0.2.{10 + number}", 5000)
        hand.ask(source, use_candidate=True, priority=number)
        [request] = hand.requests()
        hand.answer(request)
    assert hand.core.selected is not None
    assert hand.core.selected.remote.priority == 3


@pytest.mark.row("ICE-37")
def test_a_worse_nomination_is_followed_when_the_selected_pair_is_silent() -> None:
    hand = Hand(controlling=False)
    hand.ask(use_candidate=True, priority=9)
    hand.answer(hand.requests()[0])
    hand.wait(6)
    assert hand.core.state is ICETransportState.DISCONNECTED
    hand.requests()
    other = ("192.0.2.3", 5000)
    hand.ask(other, use_candidate=True, priority=1)
    hand.answer(next(entry for entry in hand.requests() if entry[0] == other))
    assert hand.core.selected is hand.pair(other)
    assert hand.core.state is ICETransportState.CONNECTED


def test_use_candidate_means_nothing_to_a_controlling_agent() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.ask(use_candidate=True)
    assert hand.core.selected is None


def test_an_aggressive_peer_is_tolerated() -> None:
    """Each of its checks nominates, as RFC 5245 allowed."""
    hand = Hand(controlling=False)
    for number in (4, 2, 7, 3):
        hand.core.add_remote_candidate(host(f"192.0.2.{number}", index=number), hand.now)
    for number in (4, 2, 7, 3):
        hand.ask((f"192.0.2.{number}", 5000), use_candidate=True)
    for request in hand.requests():
        hand.answer(request)
    assert hand.core.selected is hand.pair(("192.0.2.2", 5000))


# A lite peer


@pytest.mark.row("ICE-11")
def test_we_control_a_lite_peer_whoever_offered() -> None:
    wire = Wire()
    core = Core(tie_breaker=1, local_ufrag=ALICE[0], local_pwd=ALICE[1], seed=b"s" * 16)
    core.set_remote_lite(True)
    core.start(False, wire.now)
    assert core.controlling
    with pytest.raises(InvalidStateError, match="started once"):
        core.set_remote_lite(False)


@pytest.mark.row("ICE-11")
def test_a_lite_peer_that_only_answers_is_connected_to() -> None:
    wire, alice, bob = two_peers(timings=AgentTimings(failed_timeout=0))
    alice.core.set_remote_lite(True)
    wire.blocked = lambda packet: packet.sender is bob and packet.is_request
    alice.meet(bob, controlling=False)
    bob.meet(alice, controlling=False)
    assert wire.run(1, lambda: connected(alice))
    wire.run(60)
    assert connected(alice)


def fastest(alice: Peer, bob: Peer) -> CandidatePair:
    assert alice.core.selected is not None
    assert bob.core.selected is not None
    assert alice.core.selected.destination == bob.bases[bob.core.selected.base_id]
    return alice.core.selected


def test_when_the_best_address_is_dead_the_next_is_used() -> None:
    wire, alice, bob = two_peers()
    bob.add(host("192.0.2.3", index=1))
    wire.blocked = lambda packet: packet.destination[0] == "192.0.2.2"
    connect(wire, alice, bob)
    assert fastest(alice, bob).destination == ("192.0.2.3", 5000)
    assert wire.now - 100 < 0.2
