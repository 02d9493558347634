"""Keepalives, consent, silence, failure and recovery (RFC 7675, RFC 8863)."""

from __future__ import annotations

import itertools

import pytest

from tests.ice.core_pair import ALICE, BOB, Nat, Wire, connect, connected, host, srflx, tcp, two_peers
from tests.ice.hand import HERE, THERE, Hand
from webrtc_py.ice import stun
from webrtc_py.ice.candidate import unmarshal_candidate
from webrtc_py.ice.events import PathResumed
from webrtc_py.ice.options import AgentTimings
from webrtc_py.states import CandidatePairState, ICETransportState, TCPType

CHECKING = ICETransportState.CHECKING
CONNECTED = ICETransportState.CONNECTED
DISCONNECTED = ICETransportState.DISCONNECTED
FAILED = ICETransportState.FAILED


def selected(hand: Hand) -> Hand:
    hand.ask(use_candidate=True)
    hand.answer(hand.requests()[0])
    assert hand.core.state is CONNECTED
    return hand


# Keepalives are consent checks


@pytest.mark.row("ICE-44", "CON-02")
@pytest.mark.parametrize("interval", [2.0, 5.0])
def test_the_selected_pair_is_asked_in_spread_intervals_each_time_anew(interval: float) -> None:
    wire, alice, bob = two_peers(timings=AgentTimings(keepalive_interval=interval, disconnected_timeout=15))
    connect(wire, alice, bob)
    mark = wire.now
    wire.run(300)
    requests = [packet for packet in alice.requests() if packet.time >= mark]
    gaps = [b.time - a.time for a, b in itertools.pairwise(requests)]
    assert 0.8 * interval <= min(gaps) < 0.9 * interval
    assert 1.1 * interval < max(gaps) <= 1.2 * interval
    assert len({packet.message.transaction_id for packet in requests}) == len(requests)
    assert not any(packet.has("USE-CANDIDATE") for packet in requests)


@pytest.mark.row("ICE-44")
def test_data_does_not_stand_in_for_a_check() -> None:
    hand = selected(Hand(controlling=False))
    for _ in range(100):
        hand.wait(0.1)
        hand.core.data_received(0, THERE, 100, 1, hand.now)
        hand.core.data_sent(100, 1, hand.now)
    assert len(hand.requests()) >= 4


@pytest.mark.row("CON-06")
def test_a_peer_that_takes_back_its_consent_gets_no_more_data() -> None:
    hand = selected(Hand(controlling=False))
    hand.wait(3)
    older, newer = hand.requests()[-2:]
    forbidden = stun.Message(
        stun.Method.BINDING, stun.Class.ERROR, older[1].transaction_id, {"ERROR-CODE": (403, "Forbidden")}
    )
    hand.core.receive(stun.serialize(forbidden, b"somebody else's password"), 0, THERE, hand.now)
    assert hand.core.path is not None, "nobody else can take it back"
    hand.core.receive(stun.serialize(forbidden, BOB[1].encode()), 0, THERE, hand.now)
    assert hand.core.path is None
    assert hand.core.state is DISCONNECTED
    hand.answer(newer)
    assert hand.core.path is None, "what was asked before gives nothing back"


@pytest.mark.row("CON-01", "CON-04")
def test_without_answers_consent_ends_after_30_seconds_though_data_comes_in() -> None:
    hand = selected(Hand(controlling=False))
    start = hand.now
    while hand.core.path is not None:
        hand.wait(0.1)
        hand.core.data_received(0, THERE, 100, 1, hand.now)
        hand.ask()
        assert hand.now < start + 31
    assert hand.now - start == pytest.approx(30, abs=0.11)
    assert hand.core.state is FAILED
    event = hand.core.events()[-1]
    assert "consent has expired" in event.reason  # type: ignore[union-attr]
    hand.core.data_sent(100, 1, hand.now)
    assert hand.pair().packets_sent == 0
    # Nothing but another generation brings it back.
    late = hand.requests()[-1]
    hand.answer(late)
    hand.ask(use_candidate=True)
    assert hand.core.state is FAILED
    assert hand.core.path is None
    assert hand.core.datagrams_to_send(hand.now) == []
    assert hand.core.next_timeout() is None


@pytest.mark.row("CON-03")
@pytest.mark.parametrize("way", ["error", "forged", "elsewhere", "other base", "other transaction"])
def test_what_does_not_renew_consent(way: str) -> None:
    hand = selected(Hand(controlling=False, failed_timeout=0, disconnected_timeout=0))
    start = hand.now
    while hand.core.path is not None:
        hand.wait(0.5)
        for where, message in hand.requests():
            id, key, mapped = message.transaction_id, BOB[1].encode(), ("192.0.2.1", 5000)
            good = stun.binding_success(id, mapped_address=mapped, key=key)
            data, base_id, source = {
                "error": (stun.binding_error(id, code=400, key=key), 0, where),
                "forged": (stun.binding_success(id, mapped_address=mapped, key=b"wrong"), 0, where),
                "elsewhere": (good, 0, ("192.0.2.66", 5000)),
                "other base": (good, 1, where),
                "other transaction": (stun.binding_success(bytes(12), mapped_address=mapped, key=key), 0, where),
            }[way]
            hand.core.receive(data, base_id, source, hand.now)
        assert hand.now < start + 31
    assert hand.core.state is DISCONNECTED
    assert hand.now - start == pytest.approx(30, abs=0.5)


@pytest.mark.row("CON-03")
def test_any_of_the_last_checks_may_be_answered() -> None:
    hand = selected(Hand(controlling=False))
    hand.wait(20)
    hand.answer(hand.requests()[0])
    assert hand.pair().consent_expires == hand.now + 30
    assert hand.core.state is CONNECTED


# Disconnected and failed


@pytest.mark.row("CON-07")
def test_a_cut_is_disconnected_after_5_seconds_and_failed_after_30() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    wire.run(10)
    wire.blocked = lambda packet: True
    start = max(alice.core.pairs[0].last_received or 0, wire.now - 2.4)
    wire.run(60)
    assert alice.states == bob.states == [CHECKING, CONNECTED, DISCONNECTED, FAILED]
    times = [at for at, event in alice.happened if getattr(event, "state", None) in (DISCONNECTED, FAILED)]
    assert times[0] - start == pytest.approx(5, abs=0.01)
    assert times[1] - start == pytest.approx(30, abs=2.4), "or when the last answer is 30 s old"
    reasons = [getattr(event, "reason", "") for _, event in alice.happened]
    assert any("nothing was heard for 5 s" in reason for reason in reasons)


@pytest.mark.row("CON-07")
@pytest.mark.parametrize(("disconnected", "failed"), [(1.0, 2.0), (3.0, 0.0), (0.0, 4.0), (0.0, 0.0), (5.0, 55.0)])
def test_the_times_are_settings_and_zero_is_never(disconnected: float, failed: float) -> None:
    timings = AgentTimings(disconnected_timeout=disconnected, failed_timeout=failed, keepalive_interval=0.5)
    wire, alice, bob = two_peers(timings=timings)
    connect(wire, alice, bob)
    wire.run(5)
    wire.blocked = lambda packet: True
    cut = wire.now
    wire.run(100)
    found = {
        event.state: at - cut  # type: ignore[union-attr]
        for at, event in alice.happened
        if getattr(event, "state", None) in (DISCONNECTED, FAILED)
    }
    if disconnected:
        assert found[DISCONNECTED] == pytest.approx(disconnected, abs=0.7)
    elif failed:
        assert DISCONNECTED not in found, "straight to failed"
    else:
        assert found[DISCONNECTED] == pytest.approx(30, abs=0.7), "nothing may be sent without consent, and that shows"
    if failed:
        assert found[FAILED] == pytest.approx(disconnected + failed, abs=0.7)
    else:
        assert FAILED not in found
    assert alice.core.path is None


@pytest.mark.row("CON-01", "CON-04")
def test_an_agent_that_does_not_fail_asks_again_for_consent_that_has_expired() -> None:
    """Nothing that was asked before the expiry brings consent back, and nothing but an answer does."""
    hand = selected(Hand(controlling=False, failed_timeout=0))
    hand.wait(29)
    [*_, before] = hand.requests()
    hand.wait(1.5)
    assert hand.core.state is DISCONNECTED
    assert hand.core.path is None
    hand.requests()
    hand.answer(before)
    hand.ask(use_candidate=True)
    assert hand.core.data_received(0, THERE, 10, 1, hand.now), "the peer may speak"
    assert hand.core.path is None, "but we may not"
    hand.wait(3600)
    assert hand.core.state is DISCONNECTED
    [*_, after] = hand.requests()
    hand.answer(after)
    assert hand.core.path is hand.core.selected is hand.pair()
    assert hand.core.state is CONNECTED


def test_longer_patience_than_consent_has_outlasts_its_end() -> None:
    wire, alice, bob = two_peers(timings=AgentTimings.mobile())
    connect(wire, alice, bob)
    wire.run(10)
    wire.blocked = lambda packet: True
    wire.run(60)
    assert alice.core.path is None
    assert alice.core.state is DISCONNECTED
    wire.blocked = lambda packet: False
    assert wire.run(6, lambda: connected(alice, bob))
    assert alice.core.path is alice.core.selected is not None
    wire.blocked = lambda packet: True
    wire.run(121)
    assert alice.core.state is FAILED


@pytest.mark.row("CON-02")
@pytest.mark.parametrize("seed", range(3))
def test_with_the_standards_period_no_two_checks_are_nearer_than_4_seconds_whatever_is_lost(seed: int) -> None:
    wire, alice, bob = two_peers(Wire(seed), AgentTimings(keepalive_interval=5, disconnected_timeout=20))
    connect(wire, alice, bob)
    wire.loss = 0.15
    mark = wire.now
    wire.run(300)
    assert alice.states == [CHECKING, CONNECTED]
    requests = [packet for packet in alice.requests() if packet.time >= mark]
    gaps = [b.time - a.time for a, b in itertools.pairwise(requests)]
    assert len(gaps) > 40
    assert 4 <= min(gaps) < max(gaps) <= 6
    assert len({packet.message.transaction_id for packet in requests}) == len(requests)


def test_a_round_trip_longer_than_the_interval_makes_no_more_questions() -> None:
    wire, alice, bob = two_peers(Wire(delay=0.4), AgentTimings.gaming())
    connect(wire, alice, bob)
    wire.loss = 0.5
    wire.run(10)
    wire.loss = 0
    wire.run(10)
    mark = wire.now
    wire.run(60)
    for peer in (alice, bob):
        requests = [packet for packet in peer.requests() if packet.time >= mark]
        assert 60 <= len(requests) <= 60 / (0.8 * 0.5)


@pytest.mark.row("CON-07")
def test_recovery_from_disconnected() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    wire.run(10)
    wire.blocked = lambda packet: True
    wire.run(20)
    assert alice.core.state is DISCONNECTED
    assert alice.core.path is alice.core.selected, "consent still holds"
    wire.blocked = lambda packet: False
    assert wire.run(3, lambda: connected(alice, bob))
    assert alice.states == [CHECKING, CONNECTED, DISCONNECTED, CONNECTED]
    assert "heard again" in alice.reason
    wire.run(60)
    assert connected(alice, bob)


def test_data_alone_recovers_at_once() -> None:
    hand = selected(Hand(controlling=False))
    hand.wait(6)
    assert hand.core.state is DISCONNECTED
    assert hand.core.data_received(0, THERE, 100, 1, hand.now)
    assert hand.core.state is CONNECTED


def resumptions(hand: Hand) -> int:
    return sum(isinstance(event, PathResumed) for event in hand.core.events())


@pytest.mark.parametrize("sign", ["answer", "request", "data"])
def test_a_path_that_is_heard_again_after_a_short_silence_is_told_once(sign: str) -> None:
    hand = selected(Hand(controlling=False))
    hand.wait(4)
    assert hand.core.is_silent
    assert hand.core.state is CONNECTED
    signs = {
        "answer": lambda: hand.answer(hand.requests()[-1]),
        "request": hand.ask,
        "data": lambda: hand.core.data_received(0, THERE, 100, 1, hand.now),
    }
    assert resumptions(hand) == 0
    signs[sign]()
    assert not hand.core.is_silent
    assert resumptions(hand) == 1
    hand.core.data_received(0, THERE, 100, 1, hand.now)
    hand.ask()
    assert resumptions(hand) == 0


def test_a_loss_or_two_are_no_silence() -> None:
    hand = selected(Hand(controlling=False))
    for _ in range(20):
        hand.requests()
        asked = 0
        while asked < 2:
            hand.wait(0.1)
            asked += len(hand.requests())
        hand.core.data_received(0, THERE, 100, 1, hand.now)
    assert resumptions(hand) == 0


def test_a_tcp_connection_that_stalls_loses_nothing() -> None:
    hand = Hand(controlling=False, local=tcp(TCPType.PASSIVE, *HERE))
    hand.core.add_remote_candidate(tcp(TCPType.ACTIVE, THERE[0]), hand.now)
    selected(hand)
    hand.wait(4)
    hand.answer(hand.requests()[-1])
    assert resumptions(hand) == 0


def test_silence_belongs_to_the_pair() -> None:
    """The peer is heard on another path of the same remote address: the selected one is as dead as before."""
    hand = selected(Hand(controlling=False))
    hand.core.add_local_candidate(host("192.0.2.8", index=1), 1, hand.now)
    for _ in range(60):
        hand.wait(0.1)
        data = stun.binding_request(
            bytes(12),
            username=f"{ALICE[0]}:{BOB[0]}",
            key=ALICE[1].encode(),
            priority=1,
            controlling=True,
            tie_breaker=9,
        )
        hand.core.receive(data, 1, THERE, hand.now)
    assert hand.core.selected is not None
    assert hand.core.selected.base_id == 0
    assert hand.core.state is DISCONNECTED


@pytest.mark.parametrize("seed", range(6))
def test_loss_alone_is_no_disconnection(seed: int) -> None:
    wire, alice, bob = two_peers(Wire(seed, delay=0.3))
    connect(wire, alice, bob)
    wire.loss = 0.1
    wire.run(600)
    assert alice.states == [CHECKING, CONNECTED]


@pytest.mark.parametrize("alice_controls", [True, False])
def test_a_nat_that_loses_its_mappings_does_not_end_the_connection(alice_controls: bool) -> None:
    wire = Wire()
    alice, bob = wire.peer("alice", ALICE, 2), wire.peer("bob", BOB, 1)
    alice.nat = Nat("203.0.113.1")
    alice.add(host("10.0.0.1"))
    bob.add(host("192.0.2.2"))
    alice.meet(bob, controlling=alice_controls)
    bob.meet(alice, controlling=not alice_controls)
    assert wire.run(5, lambda: connected(alice, bob))
    wire.run(10)
    before = bob.core.selected
    alice.nat.forget()
    wire.run(120)
    assert connected(alice, bob)
    assert bob.core.selected is not before
    assert bob.core.selected is not None
    assert bob.core.selected.destination[1] == 40001
    assert FAILED not in alice.states + bob.states


@pytest.mark.parametrize("alice_controls", [True, False])
def test_a_nat_that_loses_its_mappings_before_the_nomination_does_not_end_the_search(alice_controls: bool) -> None:
    wire = Wire()
    alice, bob = wire.peer("alice", ALICE, 2), wire.peer("bob", BOB, 1)
    alice.nat = Nat("203.0.113.1")
    alice.add(host("10.0.0.1"))
    bob.add(host("192.0.2.2"))
    wire.blocked = lambda packet: packet.has("USE-CANDIDATE")
    alice.meet(bob, controlling=alice_controls)
    bob.meet(alice, controlling=not alice_controls)
    wire.run(2)
    assert alice.core.path is not None
    alice.nat.forget()
    wire.blocked = lambda packet: False
    assert wire.run(10, lambda: connected(alice, bob))


def test_a_lost_base_is_a_disconnection_with_its_reason() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    alice.core.base_lost(0, wire.now, reason="the relay's allocation has expired")
    alice.flush()
    assert alice.core.path is None
    assert alice.core.state is DISCONNECTED
    assert "allocation has expired" in alice.reason
    wire.run(31)
    assert alice.core.state is FAILED


# Patience (RFC 8863)


@pytest.mark.row("PAC-01", "TRI-02", "PAC-03")
@pytest.mark.parametrize("ended", [False, True])
def test_nothing_to_check_is_no_reason_to_fail_before_the_time(ended: bool) -> None:
    wire, alice, bob = two_peers()
    alice.meet(bob, controlling=True, candidates=False)
    if ended:
        alice.core.local_gathering_done(wire.now)
        alice.core.end_of_remote_candidates(wire.now)
    wire.run(29.9)
    assert alice.states == [CHECKING]
    wire.run(0.2)
    assert alice.states == [CHECKING, FAILED]
    assert alice.reason == "no remote candidates arrived"


@pytest.mark.row("PAC-01", "PAC-03")
def test_failed_pairs_are_no_reason_to_fail_before_the_time() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [(where, message)] = hand.requests()
    refusal = stun.binding_error(message.transaction_id, code=400, key=BOB[1].encode())
    hand.core.receive(refusal, 0, where, hand.now)
    assert hand.pair().state is CandidatePairState.FAILED
    hand.core.local_gathering_done(hand.now)
    hand.core.end_of_remote_candidates(hand.now)
    hand.wait(29)
    assert hand.core.state is CHECKING
    hand.wait(2)
    assert hand.core.state is FAILED


@pytest.mark.row("TRI-02", "PAC-02")
@pytest.mark.parametrize("late", [1.0, 29.0])
def test_a_candidate_that_comes_late_still_connects(late: float) -> None:
    wire, alice, bob = two_peers()
    alice.meet(bob, controlling=True, candidates=False)
    bob.meet(alice, controlling=False, candidates=False)
    wire.run(late)
    alice.hear_of(unmarshal_candidate(bob.core.local_candidates[0].marshal()))
    assert wire.run(3, lambda: connected(alice, bob))


@pytest.mark.row("PAC-02")
def test_a_stranger_that_comes_late_still_connects() -> None:
    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host("192.0.2.99"), hand.now)
    hand.core.end_of_remote_candidates(hand.now)
    hand.wait(29.5)
    hand.requests()
    hand.ask(use_candidate=True)
    hand.answer(next(entry for entry in hand.requests() if entry[0] == THERE))
    assert hand.core.state is CONNECTED


def test_each_new_candidate_renews_the_patience() -> None:
    hand = Hand(controlling=True)
    for number in range(5):
        hand.wait(20)
        hand.core.add_remote_candidate(host(f"192.0.2.{number + 10}", index=number), hand.now)
    assert hand.core.state is CHECKING
    hand.wait(31)
    assert hand.core.state is FAILED


def test_without_a_failed_timeout_the_search_goes_on() -> None:
    hand = Hand(controlling=True, failed_timeout=0)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.wait(1000)
    assert hand.core.state is CHECKING
    assert 100 < len(hand.requests()) < 200, "now and then, and no more"
    hand.wait(60)
    hand.answer(hand.requests()[-1])
    assert hand.core.path is hand.pair()


# Reasons


def test_reasons_for_failure() -> None:
    def reason(hand: Hand) -> str:
        hand.wait(80)
        return hand.core.events()[-1].reason  # type: ignore[union-attr]

    hand = Hand(controlling=True)
    for number in (5, 6, 7):
        hand.core.add_remote_candidate(host(f"192.0.2.{number}", index=number), hand.now)
    assert reason(hand) == "checks were sent to 3 addresses, and none was answered"

    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.core.receive(stun.binding_success(bytes(12), mapped_address=THERE, key=b"x"), 0, THERE, hand.now)
    stranger = stun.binding_request(
        bytes(12), username="alic:other", key=b"wrong", priority=1, controlling=False, tie_breaker=1
    )
    hand.core.receive(stranger, 0, THERE, hand.now)
    assert reason(hand) == (
        "checks were sent to 1 address, and none was answered; 1 message came with a wrong user name or password"
    )

    hand = Hand(controlling=True)
    hand.ask()
    hand.ask()
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    assert reason(hand).endswith("none was answered, though the peer's checks came through")

    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host("2001:db8::2"), hand.now)
    assert reason(hand) == "no pair could be formed of 1 local candidate (udp4) and 1 remote candidate (udp6)"

    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    assert reason(hand) == "1 pair worked, but the peer nominated none"

    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    hand.answer(hand.requests()[0])
    assert reason(hand) == "1 pair worked, but the peer never answered the nomination"

    hand = Hand(controlling=True)
    hand.core.base_lost(0, hand.now)
    assert reason(hand) == "no local candidates were gathered"

    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(srflx("203.0.113.2", 5000, ("10.0.0.2", 5000)), hand.now)
    [(where, message)] = hand.requests()
    hand.core.receive(stun.binding_error(message.transaction_id, code=400, key=BOB[1].encode()), 0, where, hand.now)
    assert reason(hand) == "checks were sent to 1 address, and none was answered well: refused with 400"
