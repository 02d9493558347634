"""Data on its way: order, fragments, bundles, and what the application sees of it."""

from __future__ import annotations

import itertools
import random

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
    sent_by,
    sent_chunks,
)
from webrtc_py.errors import InvalidAccessError
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
from webrtc_py.sctp.events import BufferedAmountLow

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


@pytest.mark.row("SCD-04")
def test_a_path_that_comes_and_goes_does_not_end_the_association() -> None:
    """As ICE tells where only one direction is cut: the peer is heard, and what is sent to it is lost."""
    wire = connected()
    wire.drop = lambda packet, sender: sender is wire.a
    for number in range(25):
        wire.a.send(0, 53, b"%d" % number, wire.now)
        wire.run(1.0)
        wire.a.set_path_changed(wire.now, lost=True)
    wire.drop = lambda packet, sender: False
    assert wire.run(5.0, lambda: len(wire.messages(wire.b)) == 25)


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
