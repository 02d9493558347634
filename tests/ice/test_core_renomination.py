"""Renomination (draft-thatcher-ice-renomination): the controlling agent changes its mind, and the other follows."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from tests.ice.core_pair import ALICE, BOB, Packet, Peer, Wire, connect, connected, host, relay, two_peers
from tests.ice.hand import THERE, Hand
from webrtc_py.errors import ArgumentTypeError, InvalidAccessError, InvalidStateError
from webrtc_py.ice import stun
from webrtc_py.ice.events import SelectedPairChanged
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.ice.pair import CandidatePair
from webrtc_py.ice.renomination import Renomination, cost
from webrtc_py.states import CandidatePairState, ICETransportState

BY_HAND = RenominationOptions(automatic=False)
ELSEWHERE = ("192.0.2.3", 5000)


def two_paths(
    seed: int = 0, options: RenominationOptions | None = BY_HAND, *, bobs: RenominationOptions | None = BY_HAND
) -> tuple[Wire, Peer, Peer]:
    """Bob has two addresses, the first of which is the better one."""
    wire = Wire(seed, delay=0.02)
    alice = wire.peer("alice", ALICE, 2, renomination=options)
    bob = wire.peer("bob", BOB, 1, renomination=bobs)
    alice.add(host("192.0.2.1"))
    bob.add(host("192.0.2.2"))
    bob.add(host("192.0.2.3", index=1))
    connect(wire, alice, bob)
    wire.run(4)
    return wire, alice, bob


def to(peer: Peer, address: str) -> CandidatePair:
    return next(pair for pair in peer.core.pairs if pair.destination[0] == address)


def in_use(alice: Peer, bob: Peer) -> set[str | None]:
    """The address of Bob's that each end sends over."""
    ours = alice.core.path.destination[0] if alice.core.path is not None else None
    theirs = bob.core.path.base.address if bob.core.path is not None else None
    return {ours, theirs}


def change(alice: Peer, address: str) -> None:
    pair = to(alice, address)
    alice.core.renominate(pair.local, pair.remote, alice.wire.now)
    alice.wire.flush()


def values(peer: Peer, attribute: int = stun.NOMINATION) -> list[int | None]:
    """The values of the nominations that were sent."""
    found = [packet.message.nomination(attribute) for packet in peer.sent() if packet.has("USE-CANDIDATE")]
    return list(dict.fromkeys(found))


# By hand


@pytest.mark.row("REN-01", "REN-03")
@pytest.mark.parametrize("attribute", [0xC001, 0x0030, 0xC777, 0x7777])
def test_a_pair_is_changed_by_hand_and_back(attribute: int) -> None:
    options = RenominationOptions(automatic=False, attribute=attribute)
    wire, alice, bob = two_paths(options=options, bobs=options)
    assert in_use(alice, bob) == {"192.0.2.2"}
    for address in ("192.0.2.3", "192.0.2.2", "192.0.2.3"):
        change(alice, address)
        assert wire.run(0.1, lambda address=address: in_use(alice, bob) == {address})  # type: ignore[misc]
    wire.run(60)
    assert in_use(alice, bob) == {"192.0.2.3"}
    assert values(alice, attribute) == [1, 2, 3, 4]
    assert values(bob, attribute) == []
    assert (alice.selections, bob.selections) == (4, 4)
    assert not any(isinstance(event, SelectedPairChanged) and event.lost for _, event in alice.happened + bob.happened)
    assert ICETransportState.DISCONNECTED not in alice.states + bob.states


@pytest.mark.row("REN-01", "REN-03")
def test_a_nomination_without_a_value_has_been_counted() -> None:
    """libwebrtc gives it the value 1, whether it says that it knows values or not, and follows greater ones only."""
    wire = Wire(delay=0.02)
    alice = wire.peer("alice", ALICE, 2, renomination=BY_HAND)
    bob = wire.peer("bob", BOB, 1, renomination=BY_HAND)
    alice.core.set_remote_renomination(False)
    alice.add(host("192.0.2.1"))
    bob.add(host("192.0.2.2"))
    bob.add(host("192.0.2.3", index=1))
    connect(wire, alice, bob)
    wire.run(4)
    alice.core.set_remote_renomination(True)
    change(alice, "192.0.2.3")
    assert wire.run(0.1, lambda: in_use(alice, bob) == {"192.0.2.3"})
    assert values(alice) == [None, 2]


@pytest.mark.row("REN-03")
def test_the_path_is_whole_while_it_changes() -> None:
    wire, alice, bob = two_paths()
    wire.blocked = lambda packet: packet.has("USE-CANDIDATE")
    change(alice, "192.0.2.3")
    wire.run(3)
    assert in_use(alice, bob) == {"192.0.2.2"}, "what the peer has not confirmed is not used"
    wire.blocked = lambda packet: False
    assert wire.run(1, lambda: in_use(alice, bob) == {"192.0.2.3"})


@pytest.mark.row("REN-03")
def test_a_change_that_is_never_confirmed_leaves_the_path_as_it_is() -> None:
    wire, alice, bob = two_paths()
    wire.blocked = lambda packet: "192.0.2.3" in (packet.source[0], packet.destination[0])
    change(alice, "192.0.2.3")
    wire.run(20)
    assert in_use(alice, bob) == {"192.0.2.2"}
    assert alice.selections == bob.selections == 1
    wire.blocked = lambda packet: False
    wire.run(30)
    change(alice, "192.0.2.3")
    assert wire.run(1, lambda: in_use(alice, bob) == {"192.0.2.3"}), "it was tried again when it had worked before"


@pytest.mark.row("REN-03")
@pytest.mark.parametrize("seed", range(25))
def test_both_ends_agree_whatever_is_lost(seed: int) -> None:
    wire, alice, bob = two_paths(seed)
    wire.loss = 0.3
    change(alice, "192.0.2.3")
    assert wire.run(6, lambda: in_use(alice, bob) == {"192.0.2.3"})
    wire.run(random.Random(seed).random())
    change(alice, "192.0.2.2")
    assert wire.run(6, lambda: in_use(alice, bob) == {"192.0.2.2"})
    wire.run(20)
    assert in_use(alice, bob) == {"192.0.2.2"}


@pytest.mark.row("REN-03")
def test_of_two_changes_the_last_counts() -> None:
    wire, alice, bob = two_paths()
    change(alice, "192.0.2.3")
    change(alice, "192.0.2.2")
    change(alice, "192.0.2.3")
    wire.run(5)
    assert in_use(alice, bob) == {"192.0.2.3"}
    assert len([packet for packet in alice.sent() if packet.has("USE-CANDIDATE") and packet.time > 104]) == 3


@pytest.mark.row("REN-03")
def test_a_change_back_counts_though_the_first_one_is_not_confirmed_yet() -> None:
    wire, alice, bob = two_paths()
    change(alice, "192.0.2.3")
    change(alice, "192.0.2.2")
    wire.run(5)
    assert in_use(alice, bob) == {"192.0.2.2"}
    assert alice.selections == 1


@pytest.mark.row("REN-03")
@pytest.mark.parametrize("answers", [True, False])
def test_the_peer_comes_back_from_a_change_that_we_never_heard_of(answers: bool) -> None:
    """It has followed, and its answers were lost, or were to a change that was replaced by another that failed."""
    wire, alice, bob = two_paths()
    if answers:
        bob.add(host("192.0.2.4", index=2))
        alice.hear_of(bob.core.local_candidates[-1])
        wire.run(4)
        change(alice, "192.0.2.3")
        wire.blocked = lambda packet: "192.0.2.4" in (packet.source[0], packet.destination[0])
        change(alice, "192.0.2.4")
    else:
        wire.blocked = lambda packet: packet.source[0] == "192.0.2.3"
        change(alice, "192.0.2.3")
    assert wire.run(1, lambda: in_use(alice, bob) == {"192.0.2.2", "192.0.2.3"})
    assert wire.run(10, lambda: in_use(alice, bob) == {"192.0.2.2"})


def test_what_cannot_be_changed_to() -> None:
    wire, alice, bob = two_paths()
    first = to(alice, "192.0.2.2")
    selections = alice.selections
    alice.core.renominate(first.local, first.remote, wire.now)
    wire.run(1)
    assert alice.selections == selections, "it is in use already"
    with pytest.raises(
        InvalidAccessError, match=r"no candidate pair host udp 192\.0\.2\.1:5000 -> host udp 192\.0\.2\.9"
    ):
        alice.core.renominate(first.local, host("192.0.2.9"), wire.now)
    back = bob.core.pairs[0]
    with pytest.raises(InvalidStateError, match="controlled"):
        bob.core.renominate(back.local, back.remote, wire.now)
    dead = alice.add(host("192.0.2.77"))
    wire.blocked = lambda packet: "192.0.2.77" in (packet.source[0], packet.destination[0])
    wire.run(1)
    with pytest.raises(InvalidStateError, match="checks are not answered"):
        alice.core.renominate(dead, first.remote, wire.now)
    alice.core.set_remote_renomination(False)
    other = to(alice, "192.0.2.3")
    with pytest.raises(InvalidStateError, match="the peer does not understand"):
        alice.core.renominate(other.local, other.remote, wire.now)
    _, carol, _ = two_peers()
    with pytest.raises(InvalidStateError, match="made without renomination"):
        carol.core.renominate(first.local, first.remote, wire.now)


@pytest.mark.row("REN-01")
def test_a_peer_that_does_not_understand_gets_no_values() -> None:
    wire = Wire()
    alice = wire.peer("alice", ALICE, 2, renomination=RenominationOptions())
    bob = wire.peer("bob", BOB, 1)
    alice.core.set_remote_renomination(False)
    alice.add(host("192.0.2.1"))
    bob.add(host("192.0.2.2"))
    connect(wire, alice, bob)
    assert values(alice) == [None]


# The controlled side


def nominate(hand: Hand, where: tuple[str, int], value: int | None, *, kind: int = 0xC001, **more: Any) -> None:
    """A check, and the answer to ours if there is one."""
    nomination = None if value is None else (kind, value)
    hand.ask(where, nomination=nomination, **more)
    for request in hand.requests():
        hand.answer(request)


@pytest.mark.row("REN-02")
@pytest.mark.parametrize("kind", [0xC001, 0x0030])
@pytest.mark.parametrize("use_candidate", [True, False])
def test_the_greater_value_is_followed_whatever_the_priorities(kind: int, use_candidate: bool) -> None:
    """libwebrtc sends the value instead of USE-CANDIDATE, Pion sends both. We need not have been asked for it."""
    hand = Hand(controlling=False)
    for number, (where, priority) in enumerate([(THERE, 9), (ELSEWHERE, 1), (THERE, 9), (ELSEWHERE, 1)], 1):
        nominate(hand, where, number, kind=kind, use_candidate=use_candidate, priority=priority)
        assert hand.core.selected is hand.pair(where)


@pytest.mark.row("REN-02")
def test_a_value_that_is_not_greater_is_answered_and_not_followed() -> None:
    hand = Hand(controlling=False)
    nominate(hand, THERE, 7, use_candidate=True)
    for value in (0, 6, 7, 1 << 24):
        nominate(hand, ELSEWHERE, value, use_candidate=True, priority=2**31 - 1)
        assert hand.core.selected is hand.pair(THERE)
    nominate(hand, THERE, 7, use_candidate=True)
    assert hand.core.selected is hand.pair(THERE)
    assert hand.pair(ELSEWHERE).responses_sent == 4
    nominate(hand, ELSEWHERE, 8, use_candidate=True)
    assert hand.core.selected is hand.pair(ELSEWHERE)


@pytest.mark.row("REN-02")
def test_without_a_value_the_standard_holds_and_after_one_it_says_nothing() -> None:
    hand = Hand(controlling=False)
    nominate(hand, THERE, None, use_candidate=True, priority=5)
    nominate(hand, ELSEWHERE, None, use_candidate=True, priority=1)
    assert hand.core.selected is hand.pair(THERE), "of several nominations the best"
    nominate(hand, ELSEWHERE, 1, use_candidate=True, priority=1)
    assert hand.core.selected is hand.pair(ELSEWHERE)
    nominate(hand, THERE, None, use_candidate=True, priority=5)
    assert hand.core.selected is hand.pair(ELSEWHERE), "that was sent before"


@pytest.mark.row("REN-02")
def test_a_pair_that_must_be_checked_first_is_selected_when_it_works_unless_another_was_named_since() -> None:
    hand = Hand(controlling=False)
    nominate(hand, THERE, 1, use_candidate=True)
    hand.ask(ELSEWHERE, nomination=(0xC001, 2), use_candidate=True)
    [late] = hand.requests()
    assert hand.core.selected is hand.pair(THERE)
    nominate(hand, THERE, 3, use_candidate=True)
    hand.answer(late)
    assert hand.core.selected is hand.pair(THERE)
    assert hand.pair(ELSEWHERE).succeeded


@pytest.mark.row("REN-02", "CON-01")
def test_a_pair_whose_consent_has_expired_is_checked_before_it_is_used() -> None:
    hand = Hand(controlling=False, failed_timeout=0)
    for value, where in enumerate((ELSEWHERE, THERE), 1):
        nominate(hand, where, value, use_candidate=True)
    for _ in range(40):
        hand.wait(1)
        for request in hand.requests():
            hand.answer(request)
    assert not hand.pair(ELSEWHERE).has_consent(hand.now)
    hand.ask(ELSEWHERE, nomination=(0xC001, 3), use_candidate=True)
    assert hand.core.path is hand.pair(THERE)
    hand.answer(next(request for request in hand.requests() if request[0] == ELSEWHERE))
    assert hand.core.path is hand.pair(ELSEWHERE)


# By itself


def slow(address: str, seconds: float) -> Any:
    def detour(packet: Packet) -> float:
        return seconds if address in (packet.source[0], packet.destination[0]) else 0.0

    return detour


@pytest.mark.row("REN-03")
def test_a_path_that_becomes_slow_is_left_for_a_faster_one_and_neither_end_notices() -> None:
    wire, alice, bob = two_paths(options=RenominationOptions(), bobs=None)
    wire.run(60)
    assert alice.selections == 1, "nothing is better"
    wire.detour = slow("192.0.2.2", 0.1)
    assert wire.run(40, lambda: in_use(alice, bob) == {"192.0.2.3"})
    wire.run(60)
    assert (alice.selections, bob.selections) == (2, 2)
    assert ICETransportState.DISCONNECTED not in alice.states + bob.states


@pytest.mark.row("REN-03")
@pytest.mark.parametrize("seed", range(5))
def test_paths_that_are_alike_do_not_take_turns(seed: int) -> None:
    """Round trips jitter by a factor of four, and now and then a packet is lost."""
    wire, alice, bob = two_paths(seed, RenominationOptions(interval=0))
    chance = random.Random(seed)
    wire.detour = lambda packet: chance.uniform(0, 0.06)
    wire.loss = 0.02
    wire.run(600)
    assert alice.selections <= 3
    assert in_use(alice, bob) in ({"192.0.2.2"}, {"192.0.2.3"})


@pytest.mark.row("REN-03")
def test_a_relay_is_left_when_a_direct_path_turns_up() -> None:
    wire = Wire(delay=0.03)
    alice = wire.peer("alice", ALICE, 2, renomination=RenominationOptions())
    bob = wire.peer("bob", BOB, 1)
    alice.add(host("192.0.2.1"))
    alice.add(relay("203.0.113.1"))
    bob.add(host("192.0.2.2"))
    wire.blocked = lambda packet: {packet.source[0], packet.destination[0]} == {"192.0.2.1", "192.0.2.2"}
    connect(wire, alice, bob)
    assert alice.core.selected is not None
    assert alice.core.selected.base.address == "203.0.113.1"
    wire.run(10)
    wire.blocked = lambda packet: False
    start = wire.now
    assert wire.run(40, lambda: alice.core.selected.base.address == "192.0.2.1")  # type: ignore[union-attr]
    assert wire.now - start < 30
    wire.run(60)
    assert alice.selections == bob.selections == 2


@pytest.mark.row("REN-03")
def test_changes_keep_their_distance() -> None:
    wire, alice, _ = two_paths(options=RenominationOptions(interval=20.0), bobs=None)
    changed = []
    for slow_one in ("192.0.2.2", "192.0.2.3", "192.0.2.2"):
        wire.detour = slow(slow_one, 0.3)
        before = alice.selections
        assert wire.run(60, lambda before=before: alice.selections > before)  # type: ignore[misc]
        changed.append(wire.now)
    assert min(b - a for a, b in itertools.pairwise(changed)) >= 20


def judged(renomination: Renomination, pairs: dict[str, float], selected: str, rounds: int) -> str | None:
    """Which of several pairs with these round trips takes the selected one's place."""
    made = {}
    for number, (name, round_trip) in enumerate(pairs.items()):
        base = relay("203.0.113.1") if name.startswith("relay") else host("192.0.2.1")
        made[name] = pair = CandidatePair(number, base, number, host("192.0.2.2"), THERE, True)
        pair.state = CandidatePairState.SUCCEEDED
        pair.response_received(round_trip, 0.0)
    for _ in range(rounds):
        for name, pair in made.items():
            if name != selected and renomination.judge(pair, made[selected], 100.0):
                return name
    return None


@pytest.mark.parametrize(
    ("pairs", "selected", "winner"),
    [
        ({"a": 0.100, "b": 0.050}, "a", "b"),
        ({"a": 0.100, "b": 0.085}, "a", None),  # better, but not by a fifth
        ({"a": 0.020, "b": 0.012}, "a", None),  # better by a fifth, but not by 10 ms
        ({"a": 0.050, "b": 0.050}, "a", None),
        ({"relay": 0.050, "b": 0.050}, "relay", "b"),
        ({"relay": 0.050, "b": 0.090}, "relay", "b"),  # a direct path may be a little longer
        ({"relay": 0.050, "b": 0.200}, "relay", None),
        ({"a": 0.500, "relay": 0.050}, "a", "relay"),  # and not twice as long
        ({"a": 0.060, "relay": 0.050}, "a", None),
        ({"a": 0.100, "b": 0.060, "c": 0.010}, "a", "c"),
    ],
)
def test_what_is_better(pairs: dict[str, float], selected: str, winner: str | None) -> None:
    assert judged(Renomination(RenominationOptions()), pairs, selected, 4) == winner
    assert judged(Renomination(RenominationOptions()), pairs, selected, 1) is None, "once is not enough"
    assert judged(Renomination(BY_HAND), pairs, selected, 4) is None


def test_a_pair_that_is_lost_stands_in_nobodys_way() -> None:
    selected, best, good = (
        CandidatePair(number, host("192.0.2.1"), number, host("192.0.2.2"), THERE, True) for number in range(3)
    )
    for pair, round_trip in ((selected, 0.1), (best, 0.01), (good, 0.05)):
        pair.state = CandidatePairState.SUCCEEDED
        pair.response_received(round_trip, 0.0)
    renomination = Renomination(RenominationOptions())
    for _ in range(2):
        assert not renomination.judge(best, selected, 100.0)
        assert not renomination.judge(good, selected, 100.0)
    assert not renomination.judge(good, selected, 100.0), "the best one's next answer will decide"
    best.state = CandidatePairState.FAILED
    assert renomination.judge(good, selected, 100.0)


def test_pairs_that_have_come_and_gone_are_not_kept() -> None:
    renomination = Renomination(RenominationOptions())
    selected, *others = (
        CandidatePair(number, host("192.0.2.1"), number, host("192.0.2.2"), THERE, True) for number in range(1000)
    )
    selected.response_received(0.1, 0.0)
    for pair in others:
        pair.state = CandidatePairState.SUCCEEDED
        pair.response_received(0.01, 0.0)
        renomination.judge(pair, selected, 100.0)
        pair.state = CandidatePairState.FAILED
    assert len(renomination._wins) == 1


def test_a_pair_that_was_never_measured_is_not_compared() -> None:
    pair = CandidatePair(1, host("192.0.2.1"), 0, host("192.0.2.2"), THERE, True)
    assert cost(pair) is None
    measured = CandidatePair(2, host("192.0.2.1"), 0, host("192.0.2.2"), THERE, True)
    measured.response_received(0.1, 0.0)
    renomination = Renomination(RenominationOptions())
    assert not any(renomination.judge(*pairs, 100.0) for pairs in ((pair, measured), (measured, pair)) * 4)


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attribute": 0}, "attribute is 0"),
        ({"attribute": 0x10000}, "16 bits"),
        ({"attribute": 0x0006}, "means something else"),
        ({"interval": -1.0}, "interval is -1.0"),
        ({"rtt_improvement": float("nan")}, "rtt_improvement is nan"),
        ({"rtt_ratio": 0.0}, "rtt_ratio is 0.0"),
        ({"rtt_ratio": 1.5}, "at most 1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidAccessError, match=message):
        RenominationOptions(**options)


def test_automatic_is_true_or_false() -> None:
    with pytest.raises(ArgumentTypeError, match="automatic"):
        RenominationOptions(automatic="no")  # type: ignore[arg-type]


def test_a_connection_that_has_nothing_better_is_quiet() -> None:
    wire, alice, bob = two_paths(options=RenominationOptions())
    mark = len(wire.log)
    wire.run(100)
    assert len(wire.log) - mark < 1.2 * 4 * 100, "two paths, asked for every 2 s by both ends, with the answers"
    assert connected(alice, bob)
