"""Messages that are given up: RFC 3758 and RFC 7496, on both sides."""

from __future__ import annotations

import pytest

from tests.sctp.wire import (
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
from webrtc_py.sctp.association import Association
from webrtc_py.sctp.chunk import BEGINNING, END, UNORDERED, DataChunk, ForwardTsnChunk, InitChunk, SackChunk
from webrtc_py.sctp.events import BufferedAmountLow
from webrtc_py.sctp.parameter import FORWARD_TSN_SUPPORTED


class Loser:
    """Loses the first ``times`` packets with data from ``a``, and notes what data went out when."""

    def __init__(self, wire: Wire, times: int) -> None:
        self.wire, self.times = wire, times
        self.data: list[tuple[float, int]] = []
        self.skipped: list[ForwardTsnChunk] = []
        wire.drop = self.drop

    def drop(self, packet: bytes, sender: Association) -> bool:
        if sender is not self.wire.a:
            return False
        chunks = chunks_of(packet)
        self.skipped += [chunk for chunk in chunks if isinstance(chunk, ForwardTsnChunk)]
        found = [chunk for chunk in chunks if isinstance(chunk, DataChunk)]
        self.data += [(self.wire.now, chunk.tsn) for chunk in found]
        if found and self.times:
            self.times -= 1
            return True
        return False


@pytest.mark.row("PRS-02", "PRS-04")
@pytest.mark.parametrize("retransmits", [0, 1, 3])
def test_a_message_is_sent_again_so_often_and_no_more(retransmits: int) -> None:
    wire = connected()
    loser = Loser(wire, 1000)
    wire.a.send(2, 51, b"lost", wire.now, max_retransmits=retransmits)
    wire.run(30.0)
    assert len(loser.data) == retransmits + 1
    assert loser.skipped[-1] == ForwardTsnChunk(loser.data[0][1], ((2, 0),))
    assert wire.a._outbound.idle
    assert wire.a._outbound.rtx.flight == 0
    loser.times = 0
    wire.a.send(2, 51, b"next", wire.now)
    wire.run(5.0)
    assert [message.data for message in wire.messages(wire.b)] == [b"next"]


@pytest.mark.row("PRS-02", "PRS-04")
def test_a_message_that_arrives_at_last_is_not_given_up() -> None:
    wire = connected()
    loser = Loser(wire, 2)
    wire.a.send(2, 51, b"third time", wire.now, max_retransmits=2)
    wire.run(30.0)
    assert [message.data for message in wire.messages(wire.b)] == [b"third time"]
    assert loser.skipped == []


@pytest.mark.row("PRS-02")
def test_all_fragments_are_given_up_together() -> None:
    wire = connected()
    lost = False

    def drop(packet: bytes, sender: Association) -> bool:
        nonlocal lost
        found = [chunk for chunk in chunks_of(packet) if isinstance(chunk, DataChunk)]
        if sender is wire.a and found and found[0].flags & 7 == 0 and not lost:
            lost = True
            return True
        return False

    wire.drop = drop
    wire.a.send(2, 51, bytes(20_000), wire.now, max_retransmits=0)
    wire.a.send(2, 51, b"after", wire.now)
    wire.run(10.0)
    assert lost
    assert [message.data for message in wire.messages(wire.b)] == [b"after"]
    assert wire.b._inbound._used == 0
    assert wire.a._outbound.idle


@pytest.mark.row("PRS-02")
def test_a_message_of_which_only_a_part_was_sent_is_given_up() -> None:
    wire = connected()
    base = wire.a._outbound.rtx.next_tsn
    wire.a.send(2, 51, bytes(100_000), wire.now, lifetime=0.5)
    wire.a.send(2, 51, b"after", wire.now)
    sent = [chunk for chunk in sent_chunks(wire.a, wire.now) if isinstance(chunk, DataChunk)]
    assert len(sent) == 4
    for chunk in sent:
        wire.b.receive(packet_to(wire.b, chunk), wire.now)
    late = wire.now + 1.0
    for packet in sent_by(wire.b, wire.now):
        from webrtc_py.train import Train

        wire.a.receive(Train.of(packet), late)
    chunks = sent_chunks(wire.a, late)
    # One TSN more than was sent: without it the receiver would lack nothing, and keep what it has.
    assert ForwardTsnChunk((base + 4) & 0xFFFFFFFF, ((2, 0),)) in chunks
    assert [chunk.data for chunk in chunks if isinstance(chunk, DataChunk)] == [b"after"]
    assert wire.a.total_buffered_amount == 0
    for item in chunks:
        wire.b.receive(packet_to(wire.b, item), late)
    assert received(wire.b) == [b"after"]
    wire.b.consumed(5)
    assert wire.b._inbound._used == 0


@pytest.mark.row("PRS-05")
def test_a_lifetime_counts_in_the_queue() -> None:
    wire = connected()
    wire.a.set_buffered_amount_low_threshold(1, 10)
    for _ in range(10):
        wire.a.send(0, 51, bytes(60_000), wire.now)
    wire.a.send(1, 51, bytes(50), wire.now, lifetime=0.01)
    assert wire.a.buffered_amount(1) == 50
    loser = Loser(wire, 0)
    start = wire.now
    wire.run(5.0)
    assert {message.stream_id for message in wire.messages(wire.b)} == {0}
    assert loser.skipped == [], "it never had a TSN"
    assert wire.a.buffered_amount(1) == 0
    assert BufferedAmountLow(1) in wire.take(wire.a, BufferedAmountLow)
    assert wire.now > start


@pytest.mark.row("PRS-05", "PRS-02")
def test_a_message_is_not_retransmitted_after_its_lifetime() -> None:
    wire = connected()
    loser = Loser(wire, 1000)
    start = wire.now
    wire.a.send(0, 51, b"fleeting", wire.now, lifetime=1.0)
    wire.run(20.0)
    assert len(loser.data) == 2
    assert all(when - start < 1.0 for when, _ in loser.data)
    assert wire.a._outbound.idle


@pytest.mark.row("PRS-02")
def test_a_forward_tsn_is_sent_until_it_is_acknowledged() -> None:
    wire = connected()
    skips = []

    def drop(packet: bytes, sender: Association) -> bool:
        chunks = chunks_of(packet)
        if any(isinstance(chunk, ForwardTsnChunk) for chunk in chunks):
            skips.append(wire.now)
            return len(skips) < 4
        return sender is wire.a and any(isinstance(chunk, DataChunk) for chunk in chunks) and not skips

    wire.drop = drop
    wire.a.send(0, 51, b"lost", wire.now, max_retransmits=0)
    wire.run(0.5)
    wire.a.send(0, 51, b"after", wire.now)
    wire.run(30.0)
    assert len(skips) >= 4
    assert [message.data for message in wire.messages(wire.b)] == [b"after"]
    assert wire.a._outbound.idle


@pytest.mark.row("PRS-02")
def test_a_new_path_is_no_reason_to_retransmit_more_often() -> None:
    wire = connected()
    base = next_tsn(wire.b)
    wire.a.send(0, 51, b"once", wire.now, max_retransmits=0)
    wire.a.send(0, 51, b"as often as need be", wire.now)
    sent_chunks(wire.a, wire.now)
    wire.a.set_path_changed(wire.now, lost=True)
    chunks = sent_chunks(wire.a, wire.now)
    assert ForwardTsnChunk(base, ((0, 0),)) in chunks
    assert [chunk.data for chunk in chunks if isinstance(chunk, DataChunk)] == [b"as often as need be"]


def test_what_was_given_up_is_no_measure_of_the_round_trip() -> None:
    wire = connected(delay=0.05)
    wire.drop = lambda packet, sender: sender is wire.a and b"lost" in packet
    wire.a.send(0, 51, b"lost", wire.now, max_retransmits=0)
    for _ in range(8):
        wire.run(0.03)
        wire.a.send(0, 51, b"after", wire.now, max_retransmits=0)
    wire.run(0.35)
    assert len(wire.messages(wire.b)) == 8
    assert wire.a.smoothed_round_trip_time == pytest.approx(0.1, rel=0.1)


@pytest.mark.row("PRS-02")
def test_loss_of_given_up_data_still_shrinks_the_window() -> None:
    wire = connected()
    outbound = wire.a._outbound
    outbound.congestion.cwnd = 1 << 20
    for _ in range(10):
        wire.a.send(0, 53, bytes(1120), wire.now, max_retransmits=0)
    base = next(chunk.tsn for chunk in sent_chunks(wire.a, wire.now) if isinstance(chunk, DataChunk))
    cwnd = outbound.congestion.cwnd
    for last in (2, 3, 4):
        wire.a.receive(packet_to(wire.a, SackChunk((base - 1) & 0xFFFFFFFF, 1 << 20, ((2, last),))), wire.now)
    chunks = sent_chunks(wire.a, wire.now)
    assert ForwardTsnChunk(base, ((0, 0),)) in chunks
    assert not any(isinstance(chunk, DataChunk) for chunk in chunks)
    assert outbound.congestion.cwnd == cwnd // 2


@pytest.mark.row("PRS-01")
def test_a_peer_without_forward_tsn_gets_everything() -> None:
    wire = Wire()

    def strip(association: Association) -> None:
        original = association._adopt

        def adopt(peer):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            original(replace(peer, forward_tsn=False))

        association._adopt = adopt  # type: ignore[method-assign]

    strip(wire.a)
    wire.connect()
    loser = Loser(wire, 3)
    wire.a.send(0, 51, b"stubborn", wire.now, max_retransmits=0)
    wire.run(30.0)
    assert [message.data for message in wire.messages(wire.b)] == [b"stubborn"]
    assert loser.skipped == []


@pytest.mark.row("PRS-01")
def test_forward_tsn_is_announced() -> None:
    association = make_association()
    association.connect(0.0)
    (init,) = sent_chunks(association, 0.0)
    assert isinstance(init, InitChunk)
    assert FORWARD_TSN_SUPPORTED in [item.type for item in init.parameters]


# The receiving side.


@pytest.mark.row("PRS-03")
def test_skipping_moves_on_over_what_is_here() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    # The drawing of RFC 3758 section 3.6: 103 is missing, 104 and 105 are here, 106 is missing, 107 is here.
    b.receive(
        packet_to(b, data(tsn + 1, stream=1), data(tsn + 2, stream=1, ssn=1), data(tsn + 4, stream=1, ssn=3)), wire.now
    )
    sent_by(b, wire.now)
    b.receive(packet_to(b, ForwardTsnChunk(tsn, ((0, 0),))), wire.now)
    (sack,) = [chunk for chunk in sent_chunks(b, wire.now) if isinstance(chunk, SackChunk)]
    assert sack.cumulative_tsn_ack == (tsn + 2) & 0xFFFFFFFF
    assert sack.gap_ack_blocks == ((2, 2),)
    # A TSN that was skipped and comes after all is a duplicate.
    b.receive(packet_to(b, data(tsn)), wire.now)
    assert len(received(b)) == 2
    (sack,) = [chunk for chunk in sent_chunks(b, wire.now) if isinstance(chunk, SackChunk)]
    assert sack.duplicate_tsns == (tsn,)


@pytest.mark.row("PRS-03")
def test_skipping_delivers_what_waited_for_it() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(
        packet_to(b, data(tsn + 1, b"two", ssn=1), data(tsn + 3, b"four", ssn=3), data(tsn + 4, b"five", ssn=4)),
        wire.now,
    )
    assert received(b) == []
    b.receive(packet_to(b, ForwardTsnChunk((tsn + 2) & 0xFFFFFFFF, ((0, 2),))), wire.now)
    assert received(b) == [b"two", b"four", b"five"]


@pytest.mark.row("PRS-03")
def test_skipping_drops_what_cannot_be_completed() -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(packet_to(b, data(tsn, b"begin", flags=BEGINNING), data(tsn + 2, b"end", flags=END)), wire.now)
    b.receive(packet_to(b, data(tsn + 4, b"tail", flags=END | UNORDERED)), wire.now)
    b.receive(packet_to(b, data(tsn + 5, b"whole", stream=3)), wire.now)
    b.receive(packet_to(b, ForwardTsnChunk((tsn + 2) & 0xFFFFFFFF, ((0, 0),))), wire.now)
    assert received(b) == [b"whole"]
    assert b._inbound._used == len(b"tail") + len(b"whole") + 64
    # The rest of an unordered message whose beginning was not skipped.
    b.receive(packet_to(b, data(tsn + 3, b"head ", flags=BEGINNING | UNORDERED)), wire.now)
    assert received(b) == [b"head tail"]


@pytest.mark.row("PRS-03", "SCP-28")
@pytest.mark.parametrize("ahead", [-1, 0, 70_000, 1 << 30, (1 << 31) + 5])
def test_a_forward_tsn_out_of_date_or_out_of_the_window_is_answered_and_ignored(ahead: int) -> None:
    wire = connected()
    b, tsn = wire.b, next_tsn(wire.b)
    b.receive(packet_to(b, data(tsn)), wire.now)
    sent_by(b, wire.now)
    b.receive(packet_to(b, ForwardTsnChunk((tsn + ahead) & 0xFFFFFFFF, ((0, 9),))), wire.now)
    (sack,) = [chunk for chunk in sent_chunks(b, wire.now) if isinstance(chunk, SackChunk)]
    assert sack.cumulative_tsn_ack == tsn
    b.receive(packet_to(b, data(tsn + 1, b"next", ssn=1)), wire.now)
    assert received(b) == [b"x", b"next"]


@pytest.mark.row("PRS-02", "PRS-03", "PRS-04")
@pytest.mark.parametrize("seed", range(5))
def test_unreliable_messages_on_a_bad_path(seed: int) -> None:
    wire = connected(loss=0.3, reorder=0.2, duplicate=0.1, seed=seed)
    for index in range(200):
        wire.a.send(0, 51, bytes([index]) * (1 + index * 20), wire.now, ordered=index % 2 == 0, max_retransmits=0)
        wire.a.send(1, 51, bytes([index]) * 100, wire.now, lifetime=0.3)
        wire.run(0.05)
    wire.a.send(0, 51, b"end", wire.now)
    wire.a.send(1, 51, b"end", wire.now)
    assert wire.run(300.0, lambda: [message.data for message in wire.messages(wire.b)].count(b"end") == 2)
    messages = [message for message in wire.messages(wire.b) if message.data != b"end"]
    assert 100 < len(messages) < 400
    for message in messages:
        index = message.data[0]
        assert message.data in (bytes([index]) * (1 + index * 20), bytes([index]) * 100)
    ordered = [message.data[0] for message in messages if message.stream_id == 1]
    assert ordered == sorted(ordered)
    wire.run(100.0, lambda: wire.a._outbound.idle)
    assert wire.a._outbound.rtx.flight == 0
    assert wire.b._inbound._used == 0
