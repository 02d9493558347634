"""Peers that mean ill, or are broken: bounded memory, no exception, the association goes on or ends with a reason."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sctp.wire import (
    WHOLE,
    Wire,
    chunks_of,
    connected,
    events_of,
    make_association,
    next_tsn,
    packet_checksum,
    packet_to,
    sent_by,
    sent_chunks,
)
from webrtc_py.sctp import chunk as c
from webrtc_py.sctp.association import Association, AssociationState
from webrtc_py.sctp.chunk import BEGINNING, END, UNORDERED, CauseCode, DataChunk, ErrorChunk, ForwardTsnChunk, SackChunk
from webrtc_py.sctp.events import Closed, MessageReceived
from webrtc_py.sctp.packet import CHUNK_HEADER, build_chunk, build_packet
from webrtc_py.sctp.parameter import OutgoingResetRequest, Parameter
from webrtc_py.train import Train

pytestmark = pytest.mark.row("SCP-28")


def raw_packet(association: Association, body: bytes) -> Train:
    return Train.of(build_packet(5000, 5000, association._local_tag, [body]))


def works(wire: Wire) -> None:
    """Both ends still talk."""
    for sender, receiver in ((wire.a, wire.b), (wire.b, wire.a)):
        wire.events[receiver].clear()
        sender.send(9, 51, b"still here", wire.now)
        assert wire.run(30.0, lambda: b"still here" in [item.data for item in wire.messages(receiver)])  # noqa: B023


def closed_with(association: Association, cause: int) -> Closed:
    (closed,) = events_of(association, Closed)
    assert association.state is AssociationState.CLOSED
    assert closed.failed
    assert closed.cause_code == cause
    assert closed.reason
    return closed  # type: ignore[no-any-return]


BODIES = {
    "nothing": b"",
    "zero length": bytes(4),
    "length 3": b"\0\0\0\3",
    "length beyond": b"\0\3\xff\xff" + bytes(20),
    "half a header": b"\0\0",
    "data without tsn": build_chunk(c.DATA, 3, bytes(3)),
    "sack with 65535 blocks": build_chunk(c.SACK, 0, bytes(8) + b"\xff\xff\xff\xff"),
    "init": build_chunk(c.INIT, 0, bytes(16)),
    "init ack": build_chunk(c.INIT_ACK, 0, b"\1" * 16),
    "cut parameters": build_chunk(c.INIT_ACK, 0, b"\1" * 16 + b"\0\7\0\x40abc"),
    "cookie": build_chunk(c.COOKIE_ECHO, 0, bytes(80)),
    "error": build_chunk(c.ERROR, 0, b"\0\3\0\x08" + bytes(4)),
    "error of nothing": build_chunk(c.ERROR, 0, b""),
    "cut error": build_chunk(c.ERROR, 0, b"\0\3\0\x09" + bytes(4)),
    "heartbeat of nothing": build_chunk(c.HEARTBEAT, 0, b""),
    "heartbeat ack of nobody": build_chunk(c.HEARTBEAT_ACK, 0, b"\0\1\0\x0c" + bytes(8)),
    "forward tsn": build_chunk(c.FORWARD_TSN, 0, b"\x30" * 8),
    "pad": build_chunk(c.PAD, 0, bytes(1000)),
    "1000 cookie acks": c.CookieAckChunk().serialize() * 1000,
    "16000 bytes of sacks": SackChunk(0x7FFFFFF7, 0).serialize() * 1000,
}


@pytest.mark.row("PAD-01")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_odd_packets_change_nothing(body: bytes) -> None:
    wire = connected()
    start = time.process_time()
    for association in (wire.a, wire.b):
        association.receive(raw_packet(association, body), wire.now)
    assert time.process_time() - start < 3.0
    assert wire.a.state is wire.b.state is AssociationState.ESTABLISHED
    for association in (wire.a, wire.b):
        association._outbound.peer_rwnd = association._outbound._advertised = 1 << 20
    works(wire)


@pytest.mark.parametrize("size", range(13))
def test_packets_shorter_than_a_header(size: int) -> None:
    wire = connected()
    if size:
        wire.b.receive(Train.of(bytes(size)), wire.now)
    assert wire.b.stats.packets_dropped == (size > 0)
    works(wire)


@pytest.mark.row("SCP-03")
@pytest.mark.parametrize(
    ("type_", "goes_on", "reported"),
    [(0x3A, False, False), (0x7A, False, True), (0xBA, True, False), (0xFA, True, True)],
)
def test_unknown_chunks(type_: int, goes_on: bool, reported: bool) -> None:
    wire = connected()
    b = wire.b
    unknown = c.UnknownChunk(type_, 0, b"hello")
    b.receive(packet_to(b, unknown, DataChunk(WHOLE, next_tsn(b), 0, 0, 51, b"x")), wire.now)
    assert bool(events_of(b, MessageReceived)) == goes_on
    errors = [chunk for chunk in sent_chunks(b, wire.now) if isinstance(chunk, ErrorChunk)]
    report = ErrorChunk((Parameter(CauseCode.UNRECOGNIZED_CHUNK_TYPE, unknown.serialize()),))
    assert errors == ([report] if reported else [])


def test_an_empty_data_chunk_ends_the_association() -> None:
    wire = connected()
    wire.b.receive(packet_to(wire.b, DataChunk(WHOLE, next_tsn(wire.b), 0, 0, 51, b"")), wire.now)
    closed_with(wire.b, CauseCode.NO_USER_DATA)
    (abort,) = sent_chunks(wire.b, wire.now)
    assert isinstance(abort, c.AbortChunk)
    assert abort.causes[0].type == CauseCode.NO_USER_DATA


@pytest.mark.row("SCP-25")
@pytest.mark.parametrize("ahead", [1, 1000, (1 << 31) - 2])
def test_a_sack_for_what_was_never_sent_ends_the_association(ahead: int) -> None:
    wire = connected()
    wire.a.send(0, 51, b"x", wire.now)
    sent_by(wire.a, wire.now)
    last = wire.a._outbound.rtx.next_tsn - 1
    wire.a.receive(packet_to(wire.a, SackChunk((last + ahead) & 0xFFFFFFFF, 1 << 20)), wire.now)
    closed_with(wire.a, CauseCode.PROTOCOL_VIOLATION)


@pytest.mark.row("SCP-25")
def test_a_gap_block_for_what_was_never_sent_ends_the_association() -> None:
    wire = connected()
    wire.a.send(0, 51, b"x", wire.now)
    sent_by(wire.a, wire.now)
    cumulative = wire.a._outbound.rtx.cumulative & 0xFFFFFFFF
    wire.a.receive(packet_to(wire.a, SackChunk(cumulative, 1 << 20, ((2, 3),))), wire.now)
    closed_with(wire.a, CauseCode.PROTOCOL_VIOLATION)


@pytest.mark.row("SCP-25")
@pytest.mark.parametrize(
    "blocks", [((3, 2),), ((2, 3), (3, 4)), ((5, 6), (2, 3)), ((0, 2),), ((2, 2), (2, 2))], ids=str
)
def test_senseless_gap_blocks_are_ignored_as_a_whole(blocks: tuple[tuple[int, int], ...]) -> None:
    wire = connected()
    outbound = wire.a._outbound
    outbound.congestion.cwnd = 1 << 20
    for _ in range(10):
        wire.a.send(0, 51, bytes(1120), wire.now)
    sent_by(wire.a, wire.now)
    flight, cumulative = outbound.rtx.flight, outbound.rtx.cumulative
    wire.a.receive(packet_to(wire.a, SackChunk((cumulative + 1) & 0xFFFFFFFF, 5, blocks)), wire.now)
    assert (outbound.rtx.flight, outbound.rtx.cumulative) == (flight, cumulative)
    assert wire.a.state is AssociationState.ESTABLISHED
    works(wire)


@pytest.mark.row("SCP-25")
def test_old_sacks_are_ignored() -> None:
    wire = connected()
    for _ in range(10):
        wire.a.send(0, 51, bytes(2000), wire.now)
    wire.run(2.0)
    cumulative = wire.a._outbound.rtx.cumulative
    for back in (1, 5, 1 << 30):
        wire.a.receive(packet_to(wire.a, SackChunk((cumulative - back) & 0xFFFFFFFF, 0)), wire.now)
        wire.a.receive(packet_to(wire.a, SackChunk((cumulative - back) & 0xFFFFFFFF, 0, ((2, 3),))), wire.now)
    works(wire)


def test_of_several_sacks_with_gaps_in_a_packet_only_the_first_is_looked_at() -> None:
    wire = connected()
    wire.drop = lambda packet, sender: True
    first = wire.a._outbound.rtx.next_tsn
    for _ in range(4):
        wire.a.send(0, 53, bytes(1000), wire.now)
    sent_by(wire.a, wire.now)
    before = (first - 1) & 0xFFFFFFFF
    sacks = SackChunk(before, 1 << 20, ((2, 2),)), SackChunk(before, 1 << 20, ((3, 4),))
    wire.a.receive(packet_to(wire.a, *sacks), wire.now)
    assert wire.a._outbound.rtx.flight == 3 * 1016


def flood(wire: Wire, make: Callable[[int], DataChunk], count: int) -> None:
    for index in range(count):
        wire.b.receive(packet_to(wire.b, make(index)), wire.now)
        if wire.b.state is AssociationState.CLOSED:
            return


@pytest.mark.row("SCP-27")
def test_fragments_without_an_end() -> None:
    wire = connected(consume=False)
    tsn = next_tsn(wire.b)
    flood(
        wire, lambda index: DataChunk(0 if index else BEGINNING, (tsn + index) & 0xFFFFFFFF, 0, 0, 51, bytes(1100)), 500
    )
    closed_with(wire.b, CauseCode.PROTOCOL_VIOLATION)


@pytest.mark.row("SCP-27")
@pytest.mark.parametrize(
    "kind", ["stalled", "gap", "far", "every second", "beginnings", "fragments", "hole filler", "one byte"]
)
def test_no_flood_fills_the_memory(kind: str) -> None:
    wire = Wire(b=make_association(0xBBBB0002, 9, max_receive_buffer=50_000, max_message_size=50_000), consume=False)
    wire.connect()
    tsn = next_tsn(wire.b)
    big = bytes(1100)

    def make(index: int) -> DataChunk:
        at = {
            "stalled": index,
            "gap": index + 1,
            "far": index + 65000,
            "every second": 2 * index + 1,
            "beginnings": index,
            "fragments": index + 1,
            "hole filler": 60_000 - index,
            "one byte": index,
        }[kind]
        flags = BEGINNING if kind in ("beginnings", "fragments") else WHOLE
        tiny = kind in ("one byte", "fragments")
        stream = index % 60_000 if kind == "one byte" else 0
        # Ordered messages whose first never comes; the window must count them though they have but a byte.
        ssn = 1 if kind == "one byte" else index & 0xFFFF
        return DataChunk(flags, (tsn + at) & 0xFFFFFFFF, stream, ssn, 51, b"x" if tiny else big)

    flood(wire, make, 5000)
    inbound = wire.b._inbound
    assert wire.b.state is AssociationState.ESTABLISHED
    assert inbound._used <= 2 * 50_000
    held = sum(len(run.pieces) for run in inbound._by_first.values())
    # Each run of fragments takes a kilobyte, however short it is.
    assert len(inbound._by_first) * 1024 <= 2 * 50_000
    waiting = sum(len(messages) for messages in inbound._waiting.values())
    delivered = len(events_of(wire.b, MessageReceived))
    assert (0 if kind == "fragments" else held * 1100) + (waiting + delivered) * 64 <= 2 * 50_000
    assert len(wire.b._sacks) <= 5000
    sent_by(wire.b, wire.now)
    assert wire.b._sacks == []


@pytest.mark.row("SCP-27", "SCP-12")
def test_beyond_a_closed_window_data_is_dropped_and_answered() -> None:
    wire = Wire(b=make_association(0xBBBB0002, 9, max_receive_buffer=3000, max_message_size=1500), consume=False)
    wire.connect()
    b, tsn = wire.b, next_tsn(wire.b)
    for index in range(5):
        b.receive(packet_to(b, DataChunk(WHOLE, tsn + index, 0, index, 51, bytes(1000))), wire.now)
    sacks = [chunk for chunk in sent_chunks(b, wire.now) if isinstance(chunk, SackChunk)]
    assert sacks[-1].cumulative_tsn_ack == tsn + 1
    assert sacks[-1].a_rwnd < 1000
    b.consumed(2000)
    b.receive(packet_to(b, DataChunk(WHOLE, tsn + 2, 0, 2, 51, bytes(1000))), wire.now)
    assert len(events_of(b, MessageReceived)) == 3


def test_a_message_larger_than_we_take_ends_the_association() -> None:
    wire = Wire(b=make_association(0xBBBB0002, 9, max_message_size=10_000))
    wire.connect()
    wire.a.send(0, 51, bytes(20_000), wire.now)
    wire.run(5.0)
    (closed,) = wire.take(wire.b, Closed)
    assert closed.cause_code == CauseCode.PROTOCOL_VIOLATION
    (theirs,) = wire.take(wire.a, Closed)
    assert theirs.by_peer
    assert "10000 bytes" in theirs.reason


def test_fragments_that_do_not_belong_together_are_dropped() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    chunks = [
        DataChunk(BEGINNING, tsn, 1, 0, 51, b"a"),
        DataChunk(END, tsn + 1, 2, 0, 51, b"other stream"),
        DataChunk(BEGINNING, tsn + 2, 1, 1, 51, b"b"),
        DataChunk(BEGINNING | END, tsn + 3, 3, 0, 51, b"whole"),
        DataChunk(END, tsn + 4, 1, 1, 51, b"its beginning was cut off"),
        DataChunk(0, tsn + 5, 1, 1, 51, b"middle"),
        DataChunk(BEGINNING | UNORDERED, tsn + 6, 1, 1, 51, b"un"),
        DataChunk(END | UNORDERED, tsn + 7, 1, 9, 51, b"ordered"),
    ]
    for chunk in chunks:
        b.receive(packet_to(b, chunk), wire.now)
    assert [event.data for event in events_of(b, MessageReceived)] == [b"whole", b"unordered"]
    b.consumed(14)
    assert b._inbound._used == 0


def test_an_init_flood_leaves_nothing_behind() -> None:
    wire = connected()
    for tag in range(1, 2000):
        wire.b.receive(packet_to(wire.b, c.InitChunk(tag, 65535, 1, 1, tag), tag=0), wire.now)
        packets = sent_by(wire.b, wire.now)
        assert len(packets) == 1
        assert len(packets[0]) < 200
    works(wire)


def test_floods_of_requests_are_answered_one_by_one() -> None:
    wire = connected()
    b = wire.b
    for number in range(2000):
        request = OutgoingResetRequest(number, 0, 0x10000, (number,)).serialize()
        b.receive(packet_to(b, c.ReconfigChunk((request,))), wire.now)
        b.receive(packet_to(b, ForwardTsnChunk(0x40000000 + number, ((number, number),))), wire.now)
        assert sum(len(packet) for packet in sent_by(b, wire.now)) < 200
    works(wire)


@pytest.mark.row("SCP-18")
def test_a_packet_of_many_chunks_costs_little() -> None:
    wire = connected()
    unknown = CHUNK_HEADER.pack(0xFA, 0, 4)
    start = time.process_time()
    wire.b.receive(raw_packet(wire.b, unknown * 1000), wire.now)
    answers = sent_by(wire.b, wire.now)
    assert time.process_time() - start < 3.0
    assert all(len(packet) <= 1148 for packet in answers)
    works(wire)


def test_many_gaps_cost_little() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b._inbound._limit = 1 << 30
    order = list(range(1, 40_001, 2))
    random.Random(1).shuffle(order)
    start = time.process_time()
    for offset in order:
        b._inbound.receive(WHOLE | UNORDERED, (tsn + offset) & 0xFFFFFFFF, 0, 0, 51, memoryview(b"x"))
    assert time.process_time() - start < 15.0
    outbound = wire.a._outbound
    outbound.congestion.cwnd = outbound.peer_rwnd = 1 << 30
    for _ in range(4000):
        wire.a.send(0, 51, bytes(100), wire.now)
    for _ in range(10):
        sent_by(wire.a, wire.now)
    cumulative = outbound.rtx.cumulative
    blocks = tuple((offset, offset) for offset in range(2, len(outbound.rtx.chunks), 2))
    start = time.process_time()
    for count in range(1, 20):
        wire.a.receive(packet_to(wire.a, SackChunk(cumulative & 0xFFFFFFFF, 1 << 20, blocks[: count * 20])), wire.now)
    assert time.process_time() - start < 15.0


def test_an_idle_association_is_small() -> None:
    association = make_association()

    def size(item: object, seen: set[int]) -> int:
        if id(item) in seen or item is None or isinstance(item, type | Callable):  # type: ignore[arg-type]
            return 0
        seen.add(id(item))
        if isinstance(item, bytearray | memoryview):
            return sys.getsizeof(item) if isinstance(item, memoryview) else 0
        total = sys.getsizeof(item)
        if isinstance(item, dict):
            total += sum(size(key, seen) + size(value, seen) for key, value in item.items())
        elif isinstance(item, list | tuple | set | frozenset):
            total += sum(size(value, seen) for value in item)
        for name in getattr(type(item), "__slots__", ()):
            total += size(getattr(item, name, None), seen)
        return total + size(getattr(item, "__dict__", None), seen)

    assert size(association, set()) < 10 * 1024


# Fuzz of live associations.


def mutate(packet: bytes, source: random.Random) -> bytes:
    """A packet that is nearly right, its checksum fixed so that it gets past the first check."""
    data = bytearray(packet)
    kind = source.randrange(4)
    if kind == 0:
        for _ in range(source.randrange(1, 5)):
            data[source.randrange(12, len(data)) if len(data) > 12 else 0] = source.randrange(256)
    elif kind == 1:
        del data[source.randrange(12, len(data) + 1) :]
    elif kind == 2:
        data += source.randbytes(source.randrange(1, 40))
    else:
        cut = source.randrange(12, len(data) + 1)
        data[cut:cut] = source.randbytes(source.randrange(1, 12))
    if len(data) >= 12:
        data[8:12] = packet_checksum(data).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.row("X-09")
@pytest.mark.parametrize("seed", range(20))
def test_mutated_packets_never_raise(seed: int) -> None:
    source = random.Random(seed)
    wire = Wire(loss=0.05, seed=seed)
    original = wire._put

    def put(sender: Association, data: bytes, segment: int) -> None:
        if source.random() < 0.3:
            original(sender, (bad := mutate(data, source)), len(bad))
        original(sender, data, segment)

    wire._put = put  # type: ignore[method-assign]
    wire.a.connect(wire.now)
    wire.b.connect(wire.now)
    for index in range(100):
        for end in (wire.a, wire.b):
            if end._queues_data and not end._outbound.queue.stream(index % 5).resetting:
                end.send(index % 5, 51, source.randbytes(source.randrange(1, 5000)), wire.now, max_retransmits=2)
            if index % 20 == 7 and end.state is AssociationState.ESTABLISHED:
                end.reset_streams([index % 5], wire.now)
        wire.run(0.1)
    wire.run(100.0)
    for end in (wire.a, wire.b):
        # A forged chunk may end an association; then it says why, and says nothing more.
        if end.state is AssociationState.CLOSED:
            assert wire.take(end, Closed)[0].reason
            assert end.next_timeout() is None
        assert end._inbound._used <= 2 * end._inbound._limit


@given(st.lists(st.binary(max_size=120), max_size=10), st.integers(0, 6))
def test_any_bytes_in_any_state(bodies: list[bytes], stage: int) -> None:
    wire = Wire(delay=0.0)
    b = wire.b
    if stage == 1:
        b.connect(wire.now)
    elif stage >= 2:
        wire.connect()
        if stage >= 4:
            b.send(1, 51, bytes(3000), wire.now)
            sent_by(b, wire.now)
        if stage == 3:
            b.shutdown(wire.now)
            sent_by(b, wire.now)
        elif stage == 5:
            b.reset_streams([1], wire.now)
        elif stage == 6:
            b.abort("over", wire.now)
    for body in bodies:
        b.receive(raw_packet(b, body), wire.now)
        b.receive(Train.of(body or b"\0"), wire.now)
        for packet in sent_by(b, wire.now):
            chunks_of(packet)
        events = b.events()
        if any(isinstance(event, Closed) for event in events):
            assert b.next_timeout() is None
    wire.now += 1.0
    b.handle_timeout(wire.now)
    sent_by(b, wire.now)


chunk_strategy = st.one_of(
    st.builds(
        DataChunk,
        st.integers(0, 15),
        st.integers(-3, 6),
        st.integers(0, 3),
        st.integers(0, 3),
        st.just(51),
        st.binary(max_size=9),
    ),
    st.builds(
        ForwardTsnChunk,
        st.integers(-3, 8),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=2).map(tuple),
    ),
    st.builds(
        lambda sequence, last, ids: OutgoingResetRequest(sequence, 0, last, ids),
        st.integers(0, 2),
        st.integers(-2, 6),
        st.lists(st.integers(0, 3), max_size=2).map(tuple),
    ),
)


@given(st.lists(chunk_strategy, max_size=25))
def test_any_sequence_of_data_keeps_the_books(items: list[object]) -> None:
    """DATA, FORWARD TSN and resets near the window's edge, in any order: what is held is what is counted."""
    wire = Wire(delay=0.0)
    wire.connect()
    b = wire.b
    base = next_tsn(b)
    for item in items:
        if isinstance(item, DataChunk):
            chunk: c.Chunk = DataChunk(
                item.flags, (base + item.tsn) & 0xFFFFFFFF, item.stream_id, item.ssn, 51, item.data or b"x"
            )
        elif isinstance(item, ForwardTsnChunk):
            chunk = ForwardTsnChunk((base + item.new_cumulative_tsn) & 0xFFFFFFFF, item.streams)
        else:
            assert isinstance(item, OutgoingResetRequest)
            request = OutgoingResetRequest(
                0xFFFFFFF0 + item.request_sequence, 0, (base + item.last_assigned_tsn) & 0xFFFFFFFF, item.stream_ids
            )
            chunk = c.ReconfigChunk((request.serialize(),))
        b.receive(packet_to(b, chunk), wire.now)
        sent_by(b, wire.now)
        taken = sum(len(event.data) for event in events_of(b, MessageReceived))
        b.consumed(taken)
        inbound = b._inbound
        runs = list(inbound._by_first.values()) + ([inbound._tail] if inbound._tail else [])
        held = sum(len(piece) for run in runs for piece in run.pieces)
        held += sum(len(message.data) + 64 for waiting in inbound._waiting.values() for message in waiting.values())
        held += sum(len(message.data) for _, _, message in inbound._held)
        assert inbound._used == held
        assert all(first <= last for first, last in inbound._gaps)
        edges = [edge for block in inbound._gaps for edge in block]
        assert edges == sorted(edges)
        assert not edges or edges[0] > inbound.cumulative + 1
        assert set(inbound._by_first.values()) == set(inbound._by_last.values())
