"""Losses: the congestion window, what is sent again, and the timers."""

from __future__ import annotations

import pytest

from tests.sctp.wire import Wire, chunks_of, connected, packet_to, sent_chunks
from webrtc_py.errors import InvalidStateError
from webrtc_py.sctp.association import HEARTBEAT_INTERVAL, Association, AssociationState
from webrtc_py.sctp.chunk import IMMEDIATE, DataChunk, HeartbeatAckChunk, HeartbeatChunk, SackChunk
from webrtc_py.sctp.congestion import RTO_INITIAL, RTO_MAX, RTO_MIN, CongestionWindow, RoundTripTime
from webrtc_py.sctp.events import Closed

# Congestion control.


@pytest.mark.row("SCP-19")
@pytest.mark.parametrize(("pmdcs", "cwnd"), [(1136, 4404), (500, 2000), (2500, 5000), (15904, 31808)])
def test_initial_window(pmdcs: int, cwnd: int) -> None:
    assert CongestionWindow(pmdcs, 1 << 20).cwnd == cwnd


@pytest.mark.row("SCP-19")
def test_slow_start_and_congestion_avoidance() -> None:
    window = CongestionWindow(1000, 10_000)
    window.cwnd = 4000
    window.grow(1000, all_acked=False)
    assert window.cwnd == 4000, "the window was not full"
    window.fully_used = True
    window.grow(1000, all_acked=False)
    assert window.cwnd == 5000
    window.grow(50_000, all_acked=False)
    assert window.cwnd == 7000, "one SACK, however much it says"
    window.cwnd = 10_001
    for _ in range(10):
        window.grow(1000, all_acked=False)
    assert window.cwnd == 10_001
    window.grow(1000, all_acked=False)
    assert window.cwnd == 11_001, "one packet for each window of bytes"
    window.fully_used = False
    for _ in range(100):
        window.grow(1000, all_acked=False)
    assert window.cwnd == 11_001


@pytest.mark.row("SCP-19")
def test_an_idle_window_decays() -> None:
    window = CongestionWindow(1000, 4000)
    window.cwnd = 64_000
    window.idle(2)
    assert (window.cwnd, window.ssthresh) == (16_000, 64_000)
    window.idle(1000)
    assert window.cwnd == 4000


@pytest.mark.row("SCP-20")
def test_losses_shrink_the_window() -> None:
    window = CongestionWindow(1000, 1 << 20)
    window.cwnd = 64_000
    window.enter_recovery(500)
    assert (window.cwnd, window.ssthresh, window.recovery_exit) == (32_000, 32_000, 500)
    window.fully_used = True
    window.grow(5000, all_acked=False)
    assert window.cwnd == 32_000, "not in fast recovery"
    window.timeout()
    assert (window.cwnd, window.ssthresh, window.recovery_exit) == (1000, 16_000, None)
    window.timeout()
    assert window.ssthresh == 4000


def burst(wire: Wire, count: int) -> list[DataChunk]:
    """``count`` chunks that ``a`` sent and nobody received yet."""
    wire.a._outbound.congestion.cwnd = 1 << 20
    for _ in range(count):
        wire.a.send(0, 53, bytes(1120), wire.now)
    return [chunk for chunk in sent_chunks(wire.a, wire.now) if isinstance(chunk, DataChunk)]


def sack(wire: Wire, base: int, cumulative: int, *blocks: tuple[int, int]) -> list[DataChunk]:
    """``a`` gets a SACK; what it sends then. TSNs count from ``base``."""
    point = (base + cumulative - 1) & 0xFFFFFFFF
    wire.a.receive(packet_to(wire.a, SackChunk(point, 1 << 20, blocks)), wire.now)
    return [chunk for chunk in sent_chunks(wire.a, wire.now) if isinstance(chunk, DataChunk)]


@pytest.mark.row("SCP-20")
def test_three_reports_retransmit_once() -> None:
    wire = connected()
    base = burst(wire, 10)[0].tsn
    # Chunk 0 is lost; each further one is reported by itself.
    assert sack(wire, base, 0, (2, 2)) == []
    assert sack(wire, base, 0, (2, 3)) == []
    cwnd = wire.a.stats.congestion_window
    again = sack(wire, base, 0, (2, 4))
    assert [chunk.tsn for chunk in again] == [base]
    assert wire.a.stats.congestion_window == cwnd // 2
    for last in (5, 6, 7, 8, 9, 10):
        assert sack(wire, base, 0, (2, last)) == []
    assert wire.a.stats.congestion_window == cwnd // 2
    assert sack(wire, base, 10) == []
    assert wire.a._outbound.idle
    assert wire.a._outbound.congestion.recovery_exit is None


@pytest.mark.row("SCP-20")
def test_the_same_report_again_does_not_count() -> None:
    wire = connected()
    base = burst(wire, 10)[0].tsn
    for _ in range(10):
        assert sack(wire, base, 0, (2, 2)) == []


@pytest.mark.row("SCP-20")
def test_a_retransmission_that_is_lost_is_noticed_by_what_was_sent_after_it() -> None:
    wire = connected()
    base = burst(wire, 10)[0].tsn
    for last in (2, 3, 4):
        again = sack(wire, base, 0, (2, last))
    assert [chunk.tsn for chunk in again] == [base]
    # What was under way before says nothing of the retransmission.
    for last in range(5, 11):
        assert sack(wire, base, 0, (2, last)) == []
    burst(wire, 3)
    assert sack(wire, base, 0, (2, 11)) == []
    assert sack(wire, base, 0, (2, 12)) == []
    assert [chunk.tsn for chunk in sack(wire, base, 0, (2, 13))] == [base]


@pytest.mark.row("SCP-20")
def test_several_losses_in_one_window_cost_one_halving() -> None:
    wire = connected()
    base = burst(wire, 30)[0].tsn
    cwnd = wire.a.stats.congestion_window
    again = [
        chunk.tsn for last in range(5, 31) for chunk in sack(wire, base, 0, (2, 3), *([(5, last)] if last > 4 else []))
    ]
    assert again == [base, (base + 3) & 0xFFFFFFFF]
    assert wire.a.stats.congestion_window == cwnd // 2


@pytest.mark.row("SCP-20", "SCP-15")
def test_a_timeout_sends_one_packet_and_doubles() -> None:
    wire = connected()
    chunks = burst(wire, 10)
    rto = wire.a._outbound.round_trip_time.rto
    due = wire.a.next_timeout()
    assert due is not None
    assert due == pytest.approx(wire.now + rto)
    wire.now = due
    wire.a.handle_timeout(due)
    again = [chunk for chunk in sent_chunks(wire.a, due) if isinstance(chunk, DataChunk)]
    assert [chunk.tsn for chunk in again] == [chunks[0].tsn]
    assert again[0].flags & IMMEDIATE
    assert wire.a.stats.congestion_window == 1136
    assert wire.a.next_timeout() == pytest.approx(due + 2 * rto)
    # The SACK for it opens slow start, two packets for each; nothing that arrives is sent again.
    assert [chunk.tsn for chunk in sack(wire, chunks[0].tsn, 1)] == [chunk.tsn for chunk in chunks[1:3]]
    assert sack(wire, chunks[0].tsn, 10) == []
    assert wire.a._outbound.idle


@pytest.mark.row("SCP-20", "SCP-25")
def test_a_peer_that_takes_its_word_back() -> None:
    wire = connected()
    base = burst(wire, 6)[0].tsn
    sack(wire, base, 0, (2, 4))
    flight = wire.a._outbound.rtx.flight
    assert flight == 3 * 1136
    sack(wire, base, 0, (2, 2))
    assert wire.a._outbound.rtx.flight == 5 * 1136
    assert wire.a._outbound.retransmit_at is not None
    sack(wire, base, 6)
    assert wire.a._outbound.rtx.flight == 0


# Timers.


@pytest.mark.row("SCP-15")
def test_retransmission_timeout_is_computed_as_the_standard_says() -> None:
    time = RoundTripTime()
    assert time.rto == RTO_INITIAL
    time.measure(1.0)
    assert (time.srtt, time.variation, time.rto) == (1.0, 0.5, 3.0)
    time.measure(2.0)
    assert time.variation == pytest.approx(0.75 * 0.5 + 0.25 * 1.0)
    assert time.srtt == pytest.approx(1.125)
    assert time.rto == pytest.approx(1.125 + 4 * 0.625)
    for _ in range(200):
        time.measure(0.0)
    assert time.rto == RTO_MIN
    for _ in range(20):
        time.back_off()
    assert time.rto == RTO_MAX
    time.measure(0.0)
    assert time.rto == RTO_MIN


@pytest.mark.row("SCP-15")
def test_round_trip_is_measured_once_and_not_by_retransmissions() -> None:
    wire = connected(delay=0.05)
    assert wire.a.smoothed_round_trip_time == pytest.approx(0.1)
    measured: list[float] = []
    time = wire.a._outbound.round_trip_time
    original = RoundTripTime.measure

    class Spy(RoundTripTime):
        __slots__ = ()

        def measure(self, sample: float) -> None:
            measured.append(sample)
            original(self, sample)

    spy = Spy()
    spy.srtt, spy.variation, spy.rto = time.srtt, time.variation, time.rto
    wire.a._outbound.round_trip_time = spy
    wire.a.send(0, 53, bytes(4000), wire.now)
    wire.run(1.0)
    assert measured == [pytest.approx(0.1)]
    measured.clear()
    first = True

    def drop_once(packet: bytes, sender: Association) -> bool:
        nonlocal first
        lost, first = first and sender is wire.a, False
        return lost

    wire.drop = drop_once
    wire.a.send(0, 53, b"x", wire.now)
    wire.run(5.0)
    assert measured == []


@pytest.mark.row("SCP-21")
def test_a_dead_peer_ends_the_association() -> None:
    wire = connected()
    wire.drop = lambda packet, sender: True
    wire.a.send(0, 53, b"anybody?", wire.now)
    start = wire.now
    wire.run(2000.0, lambda: bool(wire.take(wire.a, Closed)))
    assert wire.a.state is AssociationState.CLOSED
    # Ten retransmissions, each twice as late as the one before, within RTO.Max.
    waits = [min(RTO_MIN * 2**count, RTO_MAX) for count in range(11)]
    assert wire.now - start == pytest.approx(sum(waits), rel=0.01)
    with pytest.raises(InvalidStateError):
        wire.a.send(0, 51, b"x", wire.now)
    assert wire.a.next_timeout() is None


@pytest.mark.row("SCP-21")
def test_an_acknowledgement_resets_the_count() -> None:
    wire = connected()
    for _ in range(4):
        wire.drop = lambda packet, sender: True
        wire.a.send(0, 53, b"x", wire.now)
        wire.run(60.0)
        assert wire.a._outbound.errors > 4
        wire.drop = lambda packet, sender: False
        wire.run(11.0)
        assert wire.a._outbound.errors == 0
    assert wire.a.state is AssociationState.ESTABLISHED


@pytest.mark.row("SCP-22")
def test_heartbeats_when_idle() -> None:
    wire = connected()
    beats: list[tuple[str, float]] = []

    def look(packet: bytes, sender: Association) -> bool:
        beats.extend(
            ("a" if sender is wire.a else "b", wire.now)
            for chunk in chunks_of(packet)
            if isinstance(chunk, HeartbeatChunk)
        )
        return False

    wire.drop = look
    start = wire.now
    wire.run(100.0)
    mine = [when - start for who, when in beats if who == "a"]
    assert 2 <= len(mine) <= 3
    assert mine[0] == pytest.approx(HEARTBEAT_INTERVAL, abs=2.0)
    assert wire.a._outbound.errors == 0
    beats.clear()
    for _ in range(20):
        wire.a.send(0, 51, b"busy", wire.now)
        wire.run(5.0)
    assert [who for who, _ in beats if who == "a"] == []


@pytest.mark.row("SCP-22", "SCP-21")
def test_unanswered_heartbeats_end_the_association() -> None:
    wire = connected()
    wire.drop = lambda packet, sender: True
    assert wire.run(1500.0, lambda: wire.a.state is AssociationState.CLOSED)
    (closed,) = wire.take(wire.a, Closed)
    assert closed.failed


@pytest.mark.row("SCP-22")
def test_a_heartbeat_is_answered_with_what_it_brought() -> None:
    wire = connected()
    info = bytes.fromhex("00010009") + b"hello" + bytes(3)
    wire.b.receive(packet_to(wire.b, HeartbeatChunk(info)), wire.now)
    assert sent_chunks(wire.b, wire.now) == [HeartbeatAckChunk(info)]
    srtt = wire.a.smoothed_round_trip_time
    wire.a.receive(packet_to(wire.a, HeartbeatAckChunk(info)), wire.now)
    assert wire.a.smoothed_round_trip_time == srtt
