"""Data on paths, and what is counted about them."""

from __future__ import annotations

import dataclasses

import pytest

from tests.ice.core_pair import Wire, connect, host, two_peers
from tests.ice.hand import THERE, Hand
from webrtc_py.errors import InvalidStateError
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.ice.stats import CandidatePairStats
from webrtc_py.states import ICETransportState

# Statistics


def test_statistics() -> None:
    wire, alice, bob = two_peers(Wire(delay=0.02))
    start = wire.now
    connect(wire, alice, bob)
    wire.run(10)
    pair = alice.core.selected
    assert pair is not None
    assert pair.current_round_trip_time == pytest.approx(0.04)
    assert pair.total_round_trip_time == pytest.approx(0.04 * pair.responses_received)
    assert pair.requests_sent == pair.responses_received == 2 + pair.consent_requests_sent
    assert pair.consent_requests_sent >= 3
    assert pair.requests_received == pair.responses_sent
    assert pair.first_request_sent == start
    assert pair.last_response_received == pytest.approx((pair.last_request_sent or 0) + 0.04)
    now = wire.now
    assert alice.core.data_received(0, ("192.0.2.2", 5000), 2400, 2, now)
    alice.core.data_sent(1200, 1, now)
    assert (pair.packets_received, pair.bytes_received, pair.last_packet_received) == (2, 2400, now)
    assert (pair.packets_sent, pair.bytes_sent, pair.last_packet_sent) == (1, 1200, now)
    alice.core.data_discarded(900, 3)
    stats = CandidatePairStats.of(pair, "alic", selected=True, epoch=1000.0)
    for name in (field.name for field in dataclasses.fields(stats)):
        if hasattr(pair, name):
            assert getattr(stats, name) == getattr(pair, name)
    assert (stats.packets_discarded_on_send, stats.bytes_discarded_on_send) == (3, 900)
    assert (stats.generation, stats.selected) == ("alic", True)
    assert stats.first_request_sent_timestamp == start + 1000
    assert stats.last_packet_received_timestamp == stats.last_packet_sent_timestamp == now + 1000
    assert stats.last_response_received_timestamp == pytest.approx((pair.last_response_received or 0) + 1000)


def test_round_trips_are_smoothed_and_repetitions_counted() -> None:
    wire, alice, bob = two_peers(Wire(delay=0.02))
    connect(wire, alice, bob)
    wire.run(20)
    pair = alice.core.pairs[0]
    assert pair.smoothed_round_trip_time == pytest.approx(0.04)
    wire.delay = 0.1
    wire.run(2.5)
    assert pair.current_round_trip_time == pytest.approx(0.2)
    assert 0.05 < (pair.smoothed_round_trip_time or 0) < 0.11
    wire.run(120)
    assert pair.smoothed_round_trip_time == pytest.approx(0.2, abs=0.01)
    lost = Wire(delay=0.02)
    lost, carol, dave = two_peers(lost)
    lost.blocked = lambda packet: lost.now < 101 and packet.sender is dave and not packet.is_request
    connect(lost, carol, dave)
    [theirs] = dave.core.pairs
    assert carol.core.pairs[0].retransmissions_sent >= 1
    assert theirs.retransmissions_received == carol.core.pairs[0].retransmissions_sent
    assert carol.core.pairs[0].requests_sent == theirs.requests_received


@pytest.mark.row("ICE-46")
def test_data_is_taken_from_each_validated_path_and_from_nowhere_else() -> None:
    wire, alice, bob = two_peers()
    bob.add(host("192.0.2.3", index=1))
    alice.meet(bob, controlling=True)
    bob.meet(alice, controlling=False)
    wire.run(0.2)
    now = wire.now
    selected = alice.core.selected
    assert selected is not None
    assert selected.destination == ("192.0.2.2", 5000)
    for pair in alice.core.pairs:
        assert pair.succeeded
        assert alice.core.data_received(0, pair.destination, 100, 1, now)
        assert pair.packets_received == 1
    assert not alice.core.data_received(0, ("192.0.2.66", 5000), 100, 1, now)
    assert not alice.core.data_received(1, selected.destination, 100, 1, now), "another base is another path"


@pytest.mark.row("ICE-45")
def test_no_data_before_a_check_has_succeeded() -> None:
    wire, alice, bob = two_peers()
    alice.meet(bob, controlling=True)
    assert alice.core.path is None
    assert not alice.core.data_received(0, ("192.0.2.2", 5000), 100, 1, wire.now)
    alice.core.data_sent(100, 1, wire.now)
    assert alice.core.pairs[0].packets_sent == 0


@pytest.mark.row("CON-04")
@pytest.mark.parametrize("end", [ICETransportState.FAILED, ICETransportState.CLOSED])
def test_an_agent_that_has_come_to_its_end_sends_nothing_whatever_it_hears(end: ICETransportState) -> None:
    elsewhere = ("192.0.2.3", 5000)
    options = {"renomination": RenominationOptions()}
    hand = Hand(controlling=True, core=options, disconnected_timeout=1, failed_timeout=1)
    for where in (THERE, elsewhere):
        hand.ask(where)
        hand.answer(hand.requests()[0])
    hand.wait(1.1)
    hand.answer(hand.requests()[-1])
    selected = hand.core.selected
    assert selected is not None
    if end is ICETransportState.CLOSED:
        hand.core.close()
    hand.wait(5)
    assert hand.core.state is end
    hand.requests()
    [other] = [pair for pair in hand.core.pairs if pair is not selected]
    hand.core.data_received(0, other.destination, 100, 1, hand.now)
    hand.core.handle_timeout(hand.now)
    with pytest.raises(InvalidStateError, match=f"the agent is {end}"):
        hand.core.renominate(other.local, other.remote, hand.now)
    assert hand.core.datagrams_to_send(hand.now) == []
    assert hand.core.selected is selected
