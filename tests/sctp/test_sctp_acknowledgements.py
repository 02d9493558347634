"""Acknowledgements and flow control: what is said of what came, and how much may be under way."""

from __future__ import annotations

import itertools

import pytest

from tests.sctp.wire import (
    WHOLE,
    Wire,
    chunks_of,
    connected,
    data,
    make_association,
    next_tsn,
    packet_to,
    received,
    sacks,
    sent_by,
    sent_chunks,
)
from webrtc_py.sctp.association import MAX_BURST, Association, AssociationState
from webrtc_py.sctp.chunk import IMMEDIATE, DataChunk, SackChunk
from webrtc_py.sctp.congestion import RTO_MAX

# Acknowledgements.


@pytest.mark.row("SCP-13")
def test_every_second_packet_is_acknowledged_and_one_alone_after_200_ms() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(packet_to(b, data(tsn)), wire.now)
    # The first DATA chunk of an association is acknowledged at once.
    assert len(sacks(b, wire.now)) == 1
    b.receive(packet_to(b, data(tsn + 1, ssn=1)), wire.now)
    assert sacks(b, wire.now) == []
    due = b.next_timeout()
    assert due == pytest.approx(wire.now + 0.2)
    b.receive(packet_to(b, data(tsn + 2, ssn=2)), wire.now)
    assert [sack.cumulative_tsn_ack for sack in sacks(b, wire.now)] == [(tsn + 2) & 0xFFFFFFFF]
    b.receive(packet_to(b, data(tsn + 3, ssn=3)), wire.now)
    assert sacks(b, wire.now) == []
    b.handle_timeout(wire.now + 0.2)
    assert [sack.cumulative_tsn_ack for sack in sacks(b, wire.now + 0.2)] == [(tsn + 3) & 0xFFFFFFFF]


@pytest.mark.row("SCP-13")
@pytest.mark.parametrize("what", ["gap", "duplicate", "I bit"])
def test_what_is_acknowledged_at_once(what: str) -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(packet_to(b, data(tsn), data(tsn + 1, ssn=1)), wire.now)
    sent_by(b, wire.now)
    chunk = {
        "gap": data(tsn + 3, ssn=3),
        "duplicate": data(tsn),
        "I bit": data(tsn + 2, ssn=2, flags=WHOLE | IMMEDIATE),
    }[what]
    b.receive(packet_to(b, chunk), wire.now)
    (sack,) = sacks(b, wire.now)
    assert sack.gap_ack_blocks == (((2, 2),) if what == "gap" else ())
    assert sack.duplicate_tsns == ((tsn & 0xFFFFFFFF,) if what == "duplicate" else ())


@pytest.mark.row("SCP-13")
def test_a_sack_travels_with_data() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(packet_to(b, data(tsn)), wire.now)
    sent_by(b, wire.now)
    b.receive(packet_to(b, data(tsn + 1, ssn=1)), wire.now)
    b.send(0, 51, b"answer", wire.now)
    assert [type(chunk) for chunk in sent_chunks(b, wire.now)] == [SackChunk, DataChunk]
    assert not any(deadline.name == "ACKNOWLEDGE" for deadline in b._deadlines)


@pytest.mark.row("SCP-13")
def test_one_train_is_acknowledged_like_its_packets_at_first_and_once_later() -> None:
    wire = connected(keep_trains=True)
    counts = []
    b = wire.b

    def look(packet: bytes, sender: Association) -> bool:
        if sender is b:
            counts.append(sum(isinstance(chunk, SackChunk) for chunk in chunks_of(packet)))
        return False

    wire.drop = look
    wire.a._outbound.congestion.cwnd = 1 << 20
    wire.a.send(0, 53, bytes(1120 * 40), wire.now)
    wire.run(0.5)
    assert 20 <= sum(counts) <= 22
    for _ in range(20):
        wire.a.send(0, 53, bytes(1120 * 40), wire.now)
    wire.run(1.0)
    counts.clear()
    wire.a.send(0, 53, bytes(1120 * 40), wire.now)
    wire.run(0.5)
    assert sum(counts) == 1


@pytest.mark.row("SCP-14")
def test_gap_blocks_are_relative_sorted_and_isolated() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    for offset in (2, 8, 4, 3, 6):
        b.receive(packet_to(b, data(tsn + offset, ssn=offset)), wire.now)
    sack = sacks(b, wire.now)[-1]
    assert sack.cumulative_tsn_ack == (tsn - 1) & 0xFFFFFFFF
    assert sack.gap_ack_blocks == ((3, 5), (7, 7), (9, 9))
    b.receive(packet_to(b, data(tsn + 5, ssn=5)), wire.now)
    assert sacks(b, wire.now)[-1].gap_ack_blocks == ((3, 7), (9, 9))
    b.receive(packet_to(b, data(tsn), data(tsn + 1, ssn=1)), wire.now)
    sack = sacks(b, wire.now)[-1]
    assert sack.cumulative_tsn_ack == (tsn + 6) & 0xFFFFFFFF
    assert sack.gap_ack_blocks == ((2, 2),)
    assert len(received(b)) == 7


@pytest.mark.row("SCP-14")
def test_gap_blocks_that_do_not_fit_are_left_out_from_the_highest() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    for offset in range(1, 2001, 2):
        b._inbound.receive(WHOLE, (tsn + offset) & 0xFFFFFFFF, 0, offset, 51, memoryview(b"x"))
    b._inbound.acknowledge_now = True
    (packet,) = sent_by(b, wire.now)
    assert len(packet) <= 1148
    (sack,) = [chunk for chunk in chunks_of(packet) if isinstance(chunk, SackChunk)]
    assert sack.gap_ack_blocks == tuple(
        (offset + 1, offset + 1) for offset in range(1, 2 * len(sack.gap_ack_blocks), 2)
    )
    assert len(sack.gap_ack_blocks) == (1148 - 12 - 16) // 4


# Flow control.


@pytest.mark.row("SCP-12", "SCP-27")
def test_an_application_that_does_not_read_stops_the_peer() -> None:
    wire = Wire(b=make_association(0xBBBB0002, 9, max_receive_buffer=100_000, max_message_size=50_000), consume=False)
    wire.connect()
    for _ in range(100):
        wire.a.send(0, 53, bytes(10_000), wire.now)
    wire.run(60.0)
    held = sum(len(message.data) for message in wire.messages(wire.b))
    assert held <= 100_000
    assert wire.a.total_buffered_amount > 800_000
    assert wire.a.state is AssociationState.ESTABLISHED
    before = len(wire.messages(wire.b))
    # The window opens in quarters of the buffer, and the peer hears of it without asking.
    wire.b.consumed(10_000)
    assert sacks(wire.b, wire.now) == []
    wire.b.consumed(20_000)
    assert [sack.a_rwnd > 25_000 for sack in sacks(wire.b, wire.now)] == [True]
    wire.consume = True
    wire.b.consumed(held)
    assert wire.run(120.0, lambda: len(wire.messages(wire.b)) == 100)
    assert len(wire.messages(wire.b)) > before


@pytest.mark.row("SCP-12", "SCP-21")
def test_a_closed_window_is_probed_for_ever() -> None:
    wire = Wire(b=make_association(0xBBBB0002, 9, max_receive_buffer=20_000, max_message_size=10_000), consume=False)
    wire.connect()
    probes: list[float] = []

    def look(packet: bytes, sender: Association) -> bool:
        if sender is wire.a and any(isinstance(chunk, DataChunk) for chunk in chunks_of(packet)):
            probes.append(wire.now)
        return False

    wire.drop = look
    for _ in range(10):
        wire.a.send(0, 53, bytes(10_000), wire.now)
    wire.run(5.0)
    probes.clear()
    cwnd = wire.a.stats.congestion_window
    wire.run(3000.0)
    assert wire.a.state is AssociationState.ESTABLISHED
    # Fewer and fewer, up to one in RTO.Max; and the congestion window has no part in it.
    waits = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert 290 < len(probes) < 310
    assert max(waits) == pytest.approx(RTO_MAX)
    assert wire.a.stats.congestion_window >= cwnd / 2
    wire.consume = True
    wire.b.consumed(20_000)
    assert wire.run(100.0, lambda: len(wire.messages(wire.b)) == 10)


@pytest.mark.row("SCP-12")
def test_a_lost_window_update_does_not_stall() -> None:
    wire = Wire(b=make_association(0xBBBB0002, 9, max_receive_buffer=20_000, max_message_size=10_000), consume=False)
    wire.connect()
    for _ in range(10):
        wire.a.send(0, 53, bytes(10_000), wire.now)
    wire.run(5.0)
    wire.drop = lambda packet, sender: sender is wire.b
    wire.consume = True
    wire.b.consumed(20_000)
    wire.flush()
    wire.drop = lambda packet, sender: False
    assert wire.run(200.0, lambda: len(wire.messages(wire.b)) == 10)


@pytest.mark.row("SCP-12")
def test_a_burst_is_bounded_and_goes_on_a_moment_later() -> None:
    wire = connected()
    wire.a._outbound.congestion.cwnd = 1 << 20
    wire.a.send(0, 53, bytes(700_000), wire.now)
    assert len(sent_by(wire.a, wire.now)) == MAX_BURST // 1148
    due = wire.a.next_timeout()
    assert due is not None
    assert wire.now < due < wire.now + 0.01
    wire.a.handle_timeout(due)
    assert len(sent_by(wire.a, due)) == MAX_BURST // 1148
