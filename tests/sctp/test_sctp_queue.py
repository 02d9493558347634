"""Whose turn it is, and what is known of chunks that are under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sctp.wire import Wire, chunks_of
from webrtc_py.sctp.association import Association
from webrtc_py.sctp.chunk import BEGINNING, DataChunk
from webrtc_py.sctp.events import AssociationEvent
from webrtc_py.sctp.retransmission import Block, RetransmissionQueue, subtract
from webrtc_py.sctp.send_queue import Message, SendQueue


def make_queue() -> tuple[SendQueue, list[AssociationEvent]]:
    events: list[AssociationEvent] = []
    return SendQueue(events.append), events


def push(queue: SendQueue, stream: int, size: int, priority: int = 256) -> None:
    queue.push(Message(queue.stream(stream), 51, memoryview(bytes(size)), True, None, None, True, priority))


def drain(queue: SendQueue) -> list[int]:
    """The streams in the order in which their messages are sent."""
    order = []
    while (message := queue.select(0.0)) is not None:
        order.append(message.stream.id)
        message.sent = message.length
        queue.account(message)
        queue.current = None
    return order


@pytest.mark.row("INT-03")
def test_streams_take_turns() -> None:
    queue, _ = make_queue()
    for stream in (1, 2, 3):
        for _ in range(3):
            push(queue, stream, 100)
    assert drain(queue) == [1, 2, 3] * 3


@pytest.mark.row("INT-03", "DCH-09")
def test_turns_are_weighted() -> None:
    queue, _ = make_queue()
    for stream, priority in ((1, 128), (2, 256), (3, 512), (4, 1024)):
        for _ in range(100):
            push(queue, stream, 1000, priority)
    order = drain(queue)[:75]
    counts = [order.count(stream) for stream in (1, 2, 3, 4)]
    assert counts == pytest.approx([5, 10, 20, 40], abs=2)


@pytest.mark.row("INT-03", "DCH-06")
def test_turns_are_fair_by_bytes() -> None:
    queue, _ = make_queue()
    for _ in range(10):
        push(queue, 1, 100_000)
    for _ in range(200):
        push(queue, 2, 1000)
    order = drain(queue)
    # A large message costs its stream as much as the small ones of the other together.
    assert 90 <= order[2:].index(1) <= 100


def test_a_stream_that_was_quiet_is_not_owed_anything() -> None:
    queue, _ = make_queue()
    for _ in range(100):
        push(queue, 1, 1000)
    drain(queue)
    for _ in range(5):
        push(queue, 1, 1000)
        push(queue, 2, 1000)
    assert drain(queue)[:4].count(2) == 2


@pytest.mark.row("INT-03", "DCH-06")
def test_small_messages_are_not_held_up_by_a_queue_of_large_ones() -> None:
    wire = Wire()
    wire.connect()
    for _ in range(20):
        wire.a.send(1, 53, bytes(262_144), wire.now)
    wire.run(0.2)
    begun: list[int] = []

    def look(packet: bytes, sender: Association) -> bool:
        begun.extend(
            chunk.stream_id for chunk in chunks_of(packet) if isinstance(chunk, DataChunk) and chunk.flags & BEGINNING
        )
        return False

    wire.drop = look
    assert wire.a.buffered_amount(1) > 5 * 262_144
    wire.a.send(2, 51, b"quick", wire.now)
    wire.run(100.0)
    # It comes right after the message that was being sent.
    assert begun[0] == 2
    assert len(wire.messages(wire.b)) == 21


def test_dropping_a_stream_forgets_its_messages() -> None:
    queue, _events = make_queue()
    push(queue, 1, 100)
    push(queue, 1, 100)
    push(queue, 2, 7)
    assert queue.select(0.0) is not None
    queue.drop_stream(1)
    assert queue.buffered == 7
    assert drain(queue) == [2]
    assert not queue


blocks = st.lists(st.integers(0, 60), unique=True).map(lambda numbers: [(first, first) for first in sorted(numbers)])


def merged(items: set[int]) -> list[Block]:
    found: list[Block] = []
    for number in sorted(items):
        if found and found[-1][1] == number - 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_subtract(one: set[int], other: set[int]) -> None:
    left = [number for first, last in subtract(merged(one), merged(other)) for number in range(first, last + 1)]
    assert left == sorted(one - other)


@given(st.data())
def test_the_books_of_the_retransmission_queue(data: st.DataObject) -> None:
    """Whatever SACKs say and timers do, what is counted as in flight is what is."""
    queue, _ = make_queue()
    rtx = RetransmissionQueue(0xFFFFFFFE)
    gap_acked: set[int] = set()
    for _ in range(data.draw(st.integers(1, 15))):
        action = data.draw(st.sampled_from(["send", "sack", "timeout", "resend", "abandon", "miss"]))
        start = rtx.cumulative + 1
        if action == "send":
            for _ in range(data.draw(st.integers(1, 4))):
                message = Message(queue.stream(1), 51, memoryview(bytes(300)), True, None, None, True, 256)
                pieces = data.draw(st.integers(1, 3))
                message.sent = 100 * pieces
                for index in range(pieces):
                    rtx.chunks.append((message, 100 * index, 100 * (index + 1), 116))
                    rtx.next_tsn += 1
                    rtx.flight += 116
        elif action == "sack" and rtx.chunks:
            count = data.draw(st.integers(0, len(rtx.chunks)))
            rtx.acknowledge(count)
            start = rtx.cumulative + 1
            numbers = range(start + 1, rtx.next_tsn)
            gap_acked = data.draw(st.sets(st.sampled_from(numbers))) if numbers else set()
            # A placeholder for what was not sent cannot have arrived.
            gap_acked = {tsn for tsn in gap_acked if rtx.chunks[tsn - start][3]}
            rtx.report_gaps(merged(gap_acked))
        elif action == "timeout":
            rtx.mark_all()
        elif action == "resend":
            marked = rtx.next_marked()
            if marked is not None:
                rtx.resend(marked[0])
        elif action == "abandon" and rtx.chunks:
            tsn = data.draw(st.integers(start, rtx.next_tsn - 1))
            if not rtx.message(tsn).abandoned:
                rtx.abandon(rtx.message(tsn), tsn)
        elif action == "miss":
            rtx.count_misses(rtx.next_tsn, all_missing=True)
        gap_acked = {tsn for tsn in gap_acked if tsn > rtx.cumulative}
        start = rtx.cumulative + 1
        expected = sum(
            size
            for tsn, (message, _, _, size) in enumerate(rtx.chunks, start)
            if not message.abandoned and tsn not in gap_acked and not rtx.is_marked(tsn)
        )
        assert rtx.flight == expected
        assert len(rtx.chunks) == rtx.next_tsn - start
    rtx.acknowledge(len(rtx.chunks))
    assert rtx.flight == 0
    assert not rtx.has_marked
    assert not rtx.has_abandoned
    assert not rtx._special
