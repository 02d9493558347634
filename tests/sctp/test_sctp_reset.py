"""Streams that are closed and begin anew: RFC 6525."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.sctp.wire import Wire, chunks_of, connected, events_of, packet_to, sent_by, sent_chunks
from webrtc_py.errors import InvalidStateError
from webrtc_py.sctp.association import Association, AssociationState
from webrtc_py.sctp.chunk import BEGINNING, END, DataChunk, ReconfigChunk
from webrtc_py.sctp.events import Closed, MessageReceived, StreamsResetByPeer, StreamsResetDone, StreamsResetFailed
from webrtc_py.sctp.parameter import (
    AddIncomingStreamsRequest,
    AddOutgoingStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
    Parameter,
    ReconfigResponse,
    ReconfigResult,
    TsnResetRequest,
    parse_reconfig,
)

R = ReconfigResult
# Where the peers' request numbers begin: their initial TSNs.
A_FIRST, B_FIRST = 0xFFFFFFF0, 0x7FFFFFF8


def reconfigs(association: Association, now: float) -> list[object]:
    return [
        parse_reconfig(parameter)
        for chunk in sent_chunks(association, now)
        if isinstance(chunk, ReconfigChunk)
        for parameter in chunk.parameters
    ]


def ask(wire: Wire, *requests: object) -> list[object]:
    """What ``b`` answers to requests of ``a``."""
    chunk = ReconfigChunk(tuple(request.serialize() for request in requests))  # type: ignore[attr-defined]
    wire.b.receive(packet_to(wire.b, chunk), wire.now)
    return reconfigs(wire.b, wire.now)


def last_tsn(wire: Wire) -> int:
    return wire.b._inbound.cumulative & 0xFFFFFFFF


@pytest.mark.row("RCF-02", "DCH-04")
@pytest.mark.parametrize("bad", [{}, {"loss": 0.3, "seed": 2}, {"reorder": 0.5, "duplicate": 0.3}])
def test_both_ends_reset_and_the_stream_begins_anew(bad: dict[str, float]) -> None:
    wire = connected(**bad)
    for life in range(3):
        for index in range(5):
            wire.a.send(4, 51, f"{life} {index}".encode() * 500, wire.now)
            wire.b.send(4, 51, b"answer", wire.now)
        wire.a.reset_streams([4], wire.now)
        assert wire.run(60.0, lambda: wire.take(wire.b, StreamsResetByPeer) == [StreamsResetByPeer([4])])
        # Everything that was sent before came first.
        assert len(wire.messages(wire.b)) == 5 * (life + 1)
        wire.b.reset_streams([4], wire.now)
        assert wire.run(60.0, lambda: bool(wire.take(wire.a, StreamsResetByPeer)))
        assert wire.run(60.0, lambda: bool(wire.take(wire.a, StreamsResetDone)))
        assert wire.run(60.0, lambda: bool(wire.take(wire.b, StreamsResetDone)))
        assert wire.a._outbound.queue.stream(4).next_ssn == 0
    assert len(wire.messages(wire.a)) == 15


@pytest.mark.row("RCF-02")
def test_what_a_request_says() -> None:
    wire = connected()
    wire.a.send(4, 51, b"x", wire.now)
    wire.a.send(6, 51, b"x", wire.now)
    sent_by(wire.a, wire.now)
    wire.a.reset_streams([4, 6], wire.now)
    assert reconfigs(wire.a, wire.now) == [
        OutgoingResetRequest(A_FIRST, B_FIRST - 1, (A_FIRST + 1) & 0xFFFFFFFF, (4, 6))
    ]
    with pytest.raises(InvalidStateError, match="being reset"):
        wire.a.send(4, 51, b"x", wire.now)


@pytest.mark.row("RCF-02", "DCH-04")
def test_a_reset_waits_for_what_is_queued() -> None:
    wire = connected()
    wire.a.send(4, 51, bytes(50_000), wire.now)
    wire.a.reset_streams([4], wire.now)
    assert reconfigs(wire.a, wire.now) == []
    wire.run(5.0)
    assert [len(message.data) for message in wire.messages(wire.b)] == [50_000]
    assert wire.take(wire.b, StreamsResetByPeer) == [StreamsResetByPeer([4])]
    assert wire.take(wire.a, StreamsResetDone) == [StreamsResetDone([4])]


@pytest.mark.row("RCF-01")
def test_one_request_at_a_time_and_the_timer() -> None:
    wire = connected()
    requests: list[tuple[float, OutgoingResetRequest]] = []

    def look(packet: bytes, sender: Association) -> bool:
        for chunk in chunks_of(packet):
            if isinstance(chunk, ReconfigChunk) and sender is wire.a:
                requests.extend(
                    (wire.now, item)
                    for item in map(parse_reconfig, chunk.parameters)
                    if isinstance(item, OutgoingResetRequest)
                )
                return len(requests) < 4
        return False

    wire.drop = look
    wire.a.reset_streams([4], wire.now)
    wire.flush()
    wire.a.reset_streams([6], wire.now)
    wire.run(20.0)
    assert [item.stream_ids for _, item in requests] == [(4,), (4,), (4,), (4,), (6,)]
    assert [item.request_sequence for _, item in requests] == [A_FIRST] * 4 + [A_FIRST + 1]
    waits = [later[0] - earlier[0] for earlier, later in itertools.pairwise(requests)]
    assert waits[1] == pytest.approx(2 * waits[0])
    assert waits[2] == pytest.approx(4 * waits[0])
    assert wire.take(wire.a, StreamsResetDone) == [StreamsResetDone([4]), StreamsResetDone([6])]


@pytest.mark.row("RCF-01", "SCP-21")
def test_requests_without_answer_end_the_association() -> None:
    wire = connected()
    wire.drop = lambda packet, sender: any(isinstance(chunk, ReconfigChunk) for chunk in chunks_of(packet))
    wire.a.reset_streams([4], wire.now)
    # Heartbeats are answered and would clear the count; they come more slowly than the requests.
    wire.drop = lambda packet, sender: True
    assert wire.run(1000.0, lambda: wire.a.state is AssociationState.CLOSED)
    assert wire.take(wire.a, Closed)[0].failed


@pytest.mark.row("RCF-01")
def test_a_peer_without_resets_is_not_asked() -> None:
    wire = Wire()
    original = wire.a._adopt
    wire.a._adopt = lambda peer: original(replace(peer, reconfig=False))  # type: ignore[method-assign]
    wire.connect()
    wire.a.reset_streams([4], wire.now)
    assert reconfigs(wire.a, wire.now) == []
    assert events_of(wire.a, StreamsResetFailed) == [StreamsResetFailed([4])]


@pytest.mark.row("RCF-03")
def test_a_reset_before_its_data_is_deferred() -> None:
    wire = connected()
    b = wire.b
    tsn = last_tsn(wire) + 1 & 0xFFFFFFFF
    request = OutgoingResetRequest(A_FIRST, B_FIRST - 1, tsn + 1 & 0xFFFFFFFF, (4,))

    def data(offset: int, payload: bytes, ssn: int, stream: int = 4) -> None:
        chunk = DataChunk(BEGINNING | END, tsn + offset & 0xFFFFFFFF, stream, ssn, 51, payload)
        b.receive(packet_to(b, chunk), wire.now)

    def received() -> list[bytes]:
        return [event.data for event in events_of(b, MessageReceived)]

    data(0, b"first", 0)
    assert received() == [b"first"]
    assert ask(wire, request) == [ReconfigResponse(A_FIRST, R.IN_PROGRESS)]
    assert ask(wire, request) == [ReconfigResponse(A_FIRST, R.IN_PROGRESS)], "asked again, answered again"
    # The stream's next life begins before the last of this one arrived; another stream does not care.
    data(2, b"new first", 0)
    data(3, b"other", 0, stream=6)
    assert received() == [b"other"]
    data(1, b"last", 1)
    events = b.events()
    assert events == [
        MessageReceived(4, 51, b"last"),
        StreamsResetByPeer([4]),
        MessageReceived(4, 51, b"new first"),
    ]
    assert reconfigs(b, wire.now) == [ReconfigResponse(A_FIRST, R.PERFORMED)]
    assert ask(wire, request) == [ReconfigResponse(A_FIRST, R.PERFORMED)]
    assert events_of(b, StreamsResetByPeer) == []
    data(4, b"new second", 1)
    assert received() == [b"new second"]


@pytest.mark.row("RCF-03")
def test_in_progress_is_asked_again_and_is_no_error() -> None:
    wire = connected()
    a = wire.a
    a.reset_streams([4], wire.now)
    for _ in range(20):
        assert len(reconfigs(a, wire.now)) == 1
        response = ReconfigResponse(A_FIRST, R.IN_PROGRESS).serialize()
        a.receive(packet_to(a, ReconfigChunk((response,))), wire.now)
        due = a._reset.retransmit_at if a._reset is not None else None
        assert due is not None
        wire.now = due
        a.handle_timeout(due)
    assert a._outbound.errors == 0
    a.receive(packet_to(a, ReconfigChunk((ReconfigResponse(A_FIRST, R.PERFORMED).serialize(),))), wire.now)
    assert events_of(a, StreamsResetDone) == [StreamsResetDone([4])]


@pytest.mark.row("RCF-04")
@pytest.mark.parametrize("result", [R.DENIED, R.WRONG_SSN, R.BAD_SEQUENCE_NUMBER, 77])
def test_a_refusal_is_reported(result: int) -> None:
    wire = connected()
    wire.a.reset_streams([4], wire.now)
    sent_by(wire.a, wire.now)
    stray = ReconfigResponse(A_FIRST + 5, R.PERFORMED).serialize()
    wire.a.receive(packet_to(wire.a, ReconfigChunk((stray,))), wire.now)
    assert wire.a.events() == []
    response = ReconfigResponse(A_FIRST, result).serialize()
    wire.a.receive(packet_to(wire.a, ReconfigChunk((response,))), wire.now)
    assert events_of(wire.a, StreamsResetFailed) == [StreamsResetFailed([4])]
    wire.a.send(4, 51, b"still usable", wire.now)


@pytest.mark.row("RCF-04")
def test_requests_that_are_out_of_order_or_too_many() -> None:
    wire = connected()
    far = last_tsn(wire) + 100 & 0xFFFFFFFF
    assert ask(wire, OutgoingResetRequest(A_FIRST + 1, 0, far, (1,))) == [
        ReconfigResponse(A_FIRST + 1, R.BAD_SEQUENCE_NUMBER)
    ]
    assert ask(wire, OutgoingResetRequest(A_FIRST - 1, 0, far, (1,))) == [
        ReconfigResponse(A_FIRST - 1, R.BAD_SEQUENCE_NUMBER)
    ]
    assert ask(wire, OutgoingResetRequest(A_FIRST, 0, far, (1,))) == [ReconfigResponse(A_FIRST, R.IN_PROGRESS)]
    for _ in range(1000):
        assert ask(wire, OutgoingResetRequest(A_FIRST + 1, 0, far, (2,))) == [
            ReconfigResponse(A_FIRST + 1, R.REQUEST_IN_PROGRESS)
        ]
    many = [OutgoingResetRequest(A_FIRST + 1, 0, far, (number,)) for number in range(100)]
    assert len(ask(wire, *many)) <= 2
    assert wire.b.state is AssociationState.ESTABLISHED


@pytest.mark.row("RCF-04", "SCP-28")
@pytest.mark.parametrize(
    "parameters",
    [
        (),
        (Parameter(99, b"what?"),),
        (Parameter(13, b"short"),),
        (Parameter(13, bytes(13)),),
        (Parameter(16, b""),),
        (Parameter(0xFFFF, b""),),
    ],
)
def test_malformed_requests_are_dropped(parameters: tuple[Parameter, ...]) -> None:
    wire = connected()
    wire.b.receive(packet_to(wire.b, ReconfigChunk(parameters)), wire.now)
    assert wire.b.events() == []
    assert wire.b.state is AssociationState.ESTABLISHED


@pytest.mark.row("RCF-04")
def test_streams_that_do_not_exist() -> None:
    wire = connected()
    wire.b._inbound.streams = 10
    request = OutgoingResetRequest(A_FIRST, 0, last_tsn(wire), (10,))
    assert ask(wire, request) == [ReconfigResponse(A_FIRST, R.WRONG_SSN)]
    assert wire.b.events() == []


def test_all_streams_are_reset_when_none_is_named() -> None:
    wire = connected()
    for stream in (3, 5):
        wire.a.send(stream, 51, b"x", wire.now)
    wire.run(1.0)
    assert ask(wire, OutgoingResetRequest(A_FIRST, 0, last_tsn(wire), ())) == [ReconfigResponse(A_FIRST, R.PERFORMED)]
    assert events_of(wire.b, StreamsResetByPeer) == [StreamsResetByPeer([])]


def test_a_flood_of_requests_is_not_answered_one_by_one() -> None:
    wire = connected()
    request = OutgoingResetRequest(A_FIRST + 7, 0, last_tsn(wire), (1,)).serialize()
    for _ in range(50):
        wire.b.receive(packet_to(wire.b, ReconfigChunk((request, request))), wire.now)
    bad = ReconfigResponse(A_FIRST + 7, R.BAD_SEQUENCE_NUMBER)
    assert reconfigs(wire.b, wire.now) == [bad, bad]
    assert reconfigs(wire.b, wire.now) == []


@pytest.mark.row("RCF-05")
def test_the_peer_asks_us_to_reset() -> None:
    wire = connected()
    wire.b.send(4, 51, b"x", wire.now)
    wire.run(1.0)
    answers = ask(wire, IncomingResetRequest(A_FIRST, (4,)))
    (request,) = [item for item in answers if isinstance(item, OutgoingResetRequest)]
    assert request.response_sequence == A_FIRST
    assert request.stream_ids == (4,)
    done = ReconfigResponse(request.request_sequence, R.PERFORMED).serialize()
    wire.b.receive(packet_to(wire.b, ReconfigChunk((done,))), wire.now)
    assert events_of(wire.b, StreamsResetDone) == [StreamsResetDone([4])]
    assert ask(wire, IncomingResetRequest(A_FIRST + 1, (4,))) == [ReconfigResponse(A_FIRST + 1, R.NOTHING_TO_DO)]


@pytest.mark.row("RCF-06")
def test_more_streams() -> None:
    wire = connected()
    assert ask(wire, AddOutgoingStreamsRequest(A_FIRST, 1)) == [ReconfigResponse(A_FIRST, R.DENIED)]
    wire.b._inbound.streams = 10
    assert ask(wire, AddOutgoingStreamsRequest(A_FIRST + 1, 5)) == [ReconfigResponse(A_FIRST + 1, R.PERFORMED)]
    assert wire.b._inbound.streams == 15
    assert ask(wire, AddIncomingStreamsRequest(A_FIRST + 2, 5)) == [ReconfigResponse(A_FIRST + 2, R.DENIED)]
    assert ask(wire, TsnResetRequest(A_FIRST + 3)) == [ReconfigResponse(A_FIRST + 3, R.DENIED)]


@pytest.mark.row("RCF-02")
def test_a_reset_drops_what_waits_for_a_message_that_never_came() -> None:
    wire = connected()
    b = wire.b
    tsn = last_tsn(wire) + 1 & 0xFFFFFFFF
    b.receive(packet_to(b, DataChunk(BEGINNING | END, tsn, 4, 7, 51, b"orphan")), wire.now)
    assert ask(wire, OutgoingResetRequest(A_FIRST, 0, tsn, (4,))) == [ReconfigResponse(A_FIRST, R.PERFORMED)]
    assert b._inbound._used == 0
    assert events_of(b, MessageReceived) == []


def test_resets_before_the_association_is_up_raise() -> None:
    with pytest.raises(InvalidStateError):
        Wire().a.reset_streams([1], 0.0)
