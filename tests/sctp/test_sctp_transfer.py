"""Data on its way: windows, acknowledgements, retransmissions, order, fragments, bundles."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.sctp.wire import Wire, chunks_of, events_of, make_association, packet_to, sent_by, sent_chunks
from webrtc_py.errors import InvalidAccessError, InvalidStateError
from webrtc_py.sctp.association import HEARTBEAT_INTERVAL, MAX_BURST, Association, AssociationState
from webrtc_py.sctp.chunk import (
    BEGINNING,
    END,
    IMMEDIATE,
    UNORDERED,
    CauseCode,
    DataChunk,
    ErrorChunk,
    HeartbeatAckChunk,
    HeartbeatChunk,
    SackChunk,
)
from webrtc_py.sctp.congestion import RTO_INITIAL, RTO_MAX, RTO_MIN, CongestionWindow, RoundTripTime
from webrtc_py.sctp.events import BufferedAmountLow, Closed, MessageReceived

WHOLE = BEGINNING | END


def connected(**options: object) -> Wire:
    wire = Wire(**options)  # type: ignore[arg-type]
    wire.connect()
    return wire


def next_tsn(association: Association) -> int:
    """The TSN that ``association`` expects next."""
    return (association._inbound.cumulative + 1) & 0xFFFFFFFF


def data(tsn: int, payload: bytes = b"x", *, flags: int = WHOLE, stream: int = 0, ssn: int = 0) -> DataChunk:
    return DataChunk(flags, tsn & 0xFFFFFFFF, stream, ssn, 51, payload)


def sacks(association: Association, now: float) -> list[SackChunk]:
    return [chunk for chunk in sent_chunks(association, now) if isinstance(chunk, SackChunk)]


def received(association: Association) -> list[bytes]:
    return [event.data for event in events_of(association, MessageReceived)]


# Whole transfers.


@pytest.mark.row("SCP-16", "SCP-17", "SCP-26", "DCH-05")
@pytest.mark.parametrize("keep_trains", [False, True])
@pytest.mark.parametrize(
    "bad",
    [{}, {"loss": 0.05}, {"reorder": 0.5}, {"duplicate": 0.3}, {"loss": 0.2, "reorder": 0.3, "duplicate": 0.2}],
    ids=["good", "loss", "reordering", "duplication", "all"],
)
def test_messages_arrive_whole_and_in_order(bad: dict[str, float], keep_trains: bool) -> None:
    wire = connected(keep_trains=keep_trains, seed=7, **bad)
    source = random.Random(3)
    sizes = [1, 2, 3, 4, 1119, 1120, 1121, 2240, 5000, 65536, 262144] + [source.randrange(1, 4000) for _ in range(40)]
    sent: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for index, size in enumerate(sizes):
        message = source.randbytes(size)
        stream = index % 3
        sent[stream].append(message)
        wire.a.send(stream, 51, message, wire.now, ordered=stream != 2)
        wire.b.send(stream, 53, message, wire.now, ordered=stream != 2)
    total = len(sizes)
    assert wire.run(600.0, lambda: len(wire.messages(wire.a)) == len(wire.messages(wire.b)) == total)
    for end, ppid in ((wire.a, 53), (wire.b, 51)):
        messages = wire.messages(end)
        assert {message.ppid for message in messages} == {ppid}
        for stream in (0, 1):
            assert [message.data for message in messages if message.stream_id == stream] == sent[stream]
        assert sorted(message.data for message in messages if message.stream_id == 2) == sorted(sent[2])
    wire.run(600.0, lambda: wire.a._outbound.idle and wire.b._outbound.idle)
    for end in (wire.a, wire.b):
        assert end._outbound.rtx.flight == 0
        assert end._inbound._used == 0
        assert end.total_buffered_amount == 0


@pytest.mark.row("SCP-16", "SCP-26")
def test_stream_sequence_numbers_wrap_around() -> None:
    wire = connected(keep_trains=True)
    received_before = 0
    for _ in range(70):
        for _ in range(1000):
            wire.a.send(5, 51, b"x", wire.now)
        wire.run(1.0)
    received_before = len(wire.messages(wire.b))
    assert received_before == 70_000
    assert wire.a._outbound.queue.streams[5].next_ssn == 70_000 - 65_536


@pytest.mark.row("SCP-16")
def test_unordered_messages_do_not_count_and_do_not_wait() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(packet_to(b, data(tsn + 1, b"late", ssn=1), data(tsn + 2, b"free", flags=WHOLE | UNORDERED)), wire.now)
    assert received(b) == [b"free"]
    b.receive(packet_to(b, data(tsn, b"first")), wire.now)
    assert received(b) == [b"first", b"late"]


@pytest.mark.row("DCH-08")
def test_small_messages_go_out_at_once() -> None:
    wire = connected()
    wire.a.send(0, 51, b"one", wire.now)
    assert len(sent_chunks(wire.a, wire.now)) == 1
    wire.a.send(0, 51, b"two", wire.now)
    assert len(sent_chunks(wire.a, wire.now)) == 1


@pytest.mark.row("SCP-17")
@pytest.mark.parametrize("flags", [0, UNORDERED], ids=["ordered", "unordered"])
def test_fragments_in_every_order(flags: int) -> None:
    pieces = [b"a", b"bb", b"ccc", b"dddd"]
    for order in itertools.permutations(range(4)):
        wire = connected()
        b, tsn = wire.b, next_tsn(wire.b)
        for index in order:
            ends = (BEGINNING if index == 0 else 0) | (END if index == 3 else 0)
            b.receive(packet_to(b, data(tsn + index, pieces[index], flags=flags | ends)), wire.now)
        assert received(b) == [b"abbcccdddd"]
        b.consumed(10)
        assert b._inbound.window == 1 << 20


@pytest.mark.row("SCP-17")
def test_fragments_have_consecutive_tsns_and_their_ends_are_marked() -> None:
    wire = connected()
    wire.a.send(3, 53, bytes(3000), wire.now, ordered=False)
    chunks = [chunk for chunk in sent_chunks(wire.a, wire.now) if isinstance(chunk, DataChunk)]
    assert [chunk.flags & ~IMMEDIATE for chunk in chunks] == [UNORDERED | BEGINNING, UNORDERED, UNORDERED | END]
    assert [len(chunk.data) for chunk in chunks] == [1120, 1120, 760]
    assert [(chunk.tsn - chunks[0].tsn) & 0xFFFFFFFF for chunk in chunks] == [0, 1, 2]


def test_reassembly_in_reverse_is_not_quadratic() -> None:
    wire = connected()
    inbound = wire.b._inbound
    count = 20_000
    tsn = next_tsn(wire.b)
    for index in reversed(range(count)):
        flags = (BEGINNING if index == 0 else 0) | (END if index == count - 1 else 0)
        inbound.receive(flags, (tsn + index) & 0xFFFFFFFF, 0, 0, 51, memoryview(b"abcd"))
    assert [len(message) for message in received(wire.b)] == [4 * count]


# Bundles.


@pytest.mark.row("SCP-18")
def test_short_messages_share_packets_and_control_comes_first() -> None:
    wire = connected()
    for index in range(30):
        wire.a.send(index, 51, bytes(90), wire.now)
    wire.a.receive(packet_to(wire.a, HeartbeatChunk(b"\0\1\0\5x"), data(next_tsn(wire.a))), wire.now)
    packets = sent_by(wire.a, wire.now)
    assert all(len(packet) <= 1148 for packet in packets)
    kinds = [[type(chunk) for chunk in chunks_of(packet)] for packet in packets]
    assert kinds[0][:2] == [HeartbeatAckChunk, SackChunk]
    assert set(kinds[0][2:]) == {DataChunk}
    tsns = [chunk.tsn for packet in packets for chunk in chunks_of(packet) if isinstance(chunk, DataChunk)]
    assert len(tsns) == 30
    assert [(tsn - tsns[0]) & 0xFFFFFFFF for tsn in tsns] == list(range(30))
    assert len(packets) == 3


@pytest.mark.row("SCP-18")
def test_the_next_message_begins_in_what_is_left_of_a_packet() -> None:
    wire = connected()
    wire.a._outbound.congestion.cwnd = 1 << 20
    for _ in range(2):
        wire.a.send(0, 53, bytes(65536), wire.now)
    trains = [(train.segment_size, len(train)) for train in wire.a.datagrams_to_send(wire.now)]
    # All packets but the last are full, so that the trains are as long as they may be.
    assert trains[0] == (1148, 54)
    assert sum(count for _, count in trains) == 118


def test_messages_that_fit_into_a_packet_are_not_divided() -> None:
    wire = connected()
    wire.a._outbound.congestion.cwnd = 1 << 20
    for _ in range(20):
        wire.a.send(0, 53, bytes(1024), wire.now)
    (train,) = wire.a.datagrams_to_send(wire.now)
    assert (train.segment_size, len(train)) == (1052, 20)


@pytest.mark.row("SCP-18")
def test_a_partial_chunk_drops_the_rest_of_the_packet_only() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    good = data(tsn, b"good").serialize()
    cut = data(tsn + 1, bytes(100)).serialize()[:40]

    class Raw:
        def __init__(self, octets: bytes) -> None:
            self.octets = octets

        def serialize(self) -> bytes:
            return self.octets

    b.receive(packet_to(b, Raw(good), Raw(cut)), wire.now)  # type: ignore[arg-type]
    assert received(b) == [b"good"]
    assert b.stats.packets_dropped == 1


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


# The application's side.


def test_buffered_amount() -> None:
    wire = connected()
    wire.a.set_buffered_amount_low_threshold(1, 5000)
    wire.a.send(1, 51, bytes(20_000), wire.now)
    wire.a.send(1, 50, bytes(100), wire.now, counted=False)
    wire.a.send(2, 51, bytes(7), wire.now)
    assert wire.a.buffered_amount(1) == 20_000
    assert wire.a.buffered_amount(3) == 0
    assert wire.a.total_buffered_amount == 20_007
    sent_by(wire.a, wire.now)
    assert 20_000 - 4404 - 1120 <= wire.a.buffered_amount(1) < 20_000
    wire.run(5.0)
    assert wire.a.total_buffered_amount == 0
    assert wire.take(wire.a, BufferedAmountLow) == [BufferedAmountLow(1), BufferedAmountLow(2)]


@pytest.mark.parametrize(
    ("stream", "payload", "error"),
    [(-1, b"x", InvalidAccessError), (65535, b"x", InvalidAccessError), (0, b"", InvalidAccessError)],
)
def test_wrong_calls_raise(stream: int, payload: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        connected().a.send(stream, 51, payload, 0.0)


def test_any_buffer_can_be_sent() -> None:
    wire = connected()
    for payload in (b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview")):
        wire.a.send(0, 53, payload, wire.now)
    wire.run(1.0)
    assert [message.data for message in wire.messages(wire.b)] == [b"bytes", b"bytearray", b"memoryview"]


@pytest.mark.row("SCD-04")
def test_another_path_starts_over() -> None:
    wire = connected()
    for _ in range(20):
        wire.a.send(0, 53, bytes(65536), wire.now)
    wire.run(1.0)
    assert wire.a.stats.congestion_window > 20_000
    wire.a.set_path_changed(wire.now, lost=True)
    assert wire.a.stats.congestion_window == 4404
    assert wire.a.stats.mtu == 1148
    assert wire.a.smoothed_round_trip_time is None
    assert wire.run(60.0, lambda: len(wire.messages(wire.b)) == 20)


def test_an_unknown_stream_is_reported_and_acknowledged() -> None:
    wire = Wire(b=make_association(0xBBBB0002, 9, streams=4))
    wire.connect()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(packet_to(b, data(tsn, stream=4), data(tsn + 1)), wire.now)
    chunks = sent_chunks(b, wire.now)
    assert ErrorChunk((_cause(CauseCode.INVALID_STREAM_IDENTIFIER, b"\0\4\0\0"),)) in chunks
    assert [chunk.cumulative_tsn_ack for chunk in chunks if isinstance(chunk, SackChunk)] == [tsn + 1]
    assert received(b) == [b"x"]


def _cause(code: int, value: bytes):  # type: ignore[no-untyped-def]
    from webrtc_py.sctp.parameter import Parameter

    return Parameter(code, value)
