"""How associations go down: gracefully, at once, and by packets that have no business here."""

from __future__ import annotations

import pytest

from tests.sctp.wire import (
    Wire,
    chunks_of,
    connected,
    events_of,
    make_association,
    packet_checksum,
    packet_to,
    sent_by,
    sent_chunks,
)
from webrtc_py.errors import InvalidStateError
from webrtc_py.sctp.association import Association, AssociationState
from webrtc_py.sctp.chunk import (
    TAG_REFLECTED,
    AbortChunk,
    CauseCode,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    ErrorChunk,
    HeartbeatChunk,
    InitChunk,
    SackChunk,
    ShutdownAckChunk,
    ShutdownChunk,
    ShutdownCompleteChunk,
)
from webrtc_py.sctp.events import Closed, MessageReceived
from webrtc_py.sctp.packet import ADDRESSING
from webrtc_py.sctp.parameter import Parameter
from webrtc_py.train import Train

S = AssociationState
A_TAG, B_TAG = 0xAAAA0001, 0xBBBB0002


@pytest.mark.row("SCP-24")
@pytest.mark.parametrize("bad", [{}, {"loss": 0.3, "seed": 4}, {"reorder": 0.5, "duplicate": 0.5}])
def test_shutdown_delivers_what_is_queued_on_both_sides(bad: dict[str, float]) -> None:
    wire = connected(**bad)
    for index in range(20):
        wire.a.send(0, 51, bytes([index]) * 5000, wire.now)
        wire.b.send(0, 51, bytes([index]) * 3000, wire.now)
    wire.a.shutdown(wire.now)
    with pytest.raises(InvalidStateError):
        wire.a.send(0, 51, b"too late", wire.now)
    wire.run(300.0)
    assert len(wire.messages(wire.b)) == len(wire.messages(wire.a)) == 20
    (ours,), (theirs,) = wire.take(wire.a, Closed), wire.take(wire.b, Closed)
    assert (ours.failed, ours.by_peer, theirs.by_peer) == (False, False, True)
    assert wire.a.state is wire.b.state is S.CLOSED
    assert wire.a.next_timeout() is wire.b.next_timeout() is None


@pytest.mark.row("SCP-24")
def test_the_three_packets_of_a_shutdown() -> None:
    wire = connected()
    a, b, now = wire.a, wire.b, wire.now
    a.shutdown(now)
    assert a.state is S.SHUTDOWN_PENDING
    (shutdown,) = sent_chunks(a, now)
    assert shutdown == ShutdownChunk(b._outbound.rtx.next_tsn - 1 & 0xFFFFFFFF)
    assert a.state.name == "SHUTDOWN_SENT"
    b.receive(packet_to(b, shutdown), now)
    assert b.state is S.SHUTDOWN_RECEIVED
    with pytest.raises(InvalidStateError):
        b.send(0, 51, b"x", now)
    assert sent_chunks(b, now) == [ShutdownAckChunk()]
    assert b.state is S.SHUTDOWN_ACK_SENT
    a.receive(packet_to(a, ShutdownAckChunk()), now)
    assert a.state is S.CLOSED
    (complete,) = sent_by(a, now)
    assert chunks_of(complete) == [ShutdownCompleteChunk()]
    assert ADDRESSING.unpack_from(complete)[2] == B_TAG
    b.receive(Train.of(complete), now)
    assert b.state is S.CLOSED


@pytest.mark.row("SCP-24")
def test_crossed_shutdowns() -> None:
    wire = connected()
    wire.a.shutdown(wire.now)
    wire.b.shutdown(wire.now)
    wire.run(5.0)
    assert wire.a.state is wire.b.state is S.CLOSED
    assert not wire.take(wire.a, Closed)[0].failed
    assert not wire.take(wire.b, Closed)[0].failed


@pytest.mark.row("SCP-24")
def test_data_is_answered_with_a_shutdown_while_the_peer_still_has_some() -> None:
    wire = connected()
    a, now = wire.a, wire.now
    a.shutdown(now)
    sent_chunks(a, now)
    tsn = a._inbound.cumulative + 1 & 0xFFFFFFFF
    a.receive(packet_to(a, DataChunk(3, tsn, 0, 0, 51, b"last words")), now)
    assert ShutdownChunk(tsn) in sent_chunks(a, now)
    a.receive(packet_to(a, DataChunk(3, tsn + 2, 0, 2, 51, b"gap")), now)
    chunks = sent_chunks(a, now)
    assert ShutdownChunk(tsn) in chunks
    assert SackChunk(tsn, a._inbound.window, ((2, 2),)) in chunks
    assert [event.data for event in events_of(a, MessageReceived)] == [b"last words"]


@pytest.mark.row("SCP-24", "SCP-21")
@pytest.mark.parametrize("side", ["SHUTDOWN", "SHUTDOWN ACK"])
def test_t2_shutdown(side: str) -> None:
    wire = connected()
    lost: list[str] = []

    def drop(packet: bytes, sender: Association) -> bool:
        lost.extend(type(chunk).__name__ for chunk in chunks_of(packet))
        return sender is wire.b or side == "SHUTDOWN"

    wire.a.shutdown(wire.now)
    wire.drop = drop
    wire.run(1000.0)
    end, chunk = (wire.a, "ShutdownChunk") if side == "SHUTDOWN" else (wire.b, "ShutdownAckChunk")
    # Association.Max.Retrans is 10; b hears a's SHUTDOWNs again and answers each of those, too.
    assert lost.count(chunk) >= 11
    assert end.state is S.CLOSED
    assert wire.take(end, Closed)[0].failed


@pytest.mark.row("SCP-24")
def test_an_init_while_shutting_down_gets_the_shutdown_ack_again() -> None:
    wire = connected()
    b, now = wire.b, wire.now
    b.receive(packet_to(b, ShutdownChunk(b._outbound.rtx.next_tsn - 1 & 0xFFFFFFFF)), now)
    sent_chunks(b, now)
    assert b.state is S.SHUTDOWN_ACK_SENT
    b.receive(packet_to(b, InitChunk(5, 65535, 1, 1, 1), tag=0), now)
    assert sent_chunks(b, now) == [ShutdownAckChunk()]


@pytest.mark.row("SCP-10", "SCP-24")
def test_a_restart_while_shutting_down_is_refused() -> None:
    wire = connected()
    b, now = wire.b, wire.now
    restarted = make_association(0xCCCC0003, 55, key=b"c" * 32)
    restarted.connect(now)
    (init,) = sent_by(restarted, now)
    b.receive(Train.of(init), now)
    (ack,) = sent_by(b, now)
    restarted.receive(Train.of(ack), now)
    (echo,) = sent_by(restarted, now)
    b.receive(packet_to(b, ShutdownChunk(b._outbound.rtx.next_tsn - 1 & 0xFFFFFFFF)), now)
    sent_chunks(b, now)
    b.receive(Train.of(echo), now)
    assert b.state is S.SHUTDOWN_ACK_SENT
    assert sent_chunks(b, now) == [
        ShutdownAckChunk(),
        ErrorChunk((Parameter(CauseCode.COOKIE_WHILE_SHUTTING_DOWN),)),
    ]


@pytest.mark.row("SCP-24")
def test_shutdown_before_it_is_up_closes_at_once() -> None:
    association = make_association()
    association.connect(0.0)
    association.shutdown(0.0)
    assert association.state is S.CLOSED
    assert len(events_of(association, Closed)) == 1


@pytest.mark.row("SCP-24", "SCP-23")
def test_abort_tells_the_peer_why_and_nobody_answers() -> None:
    wire = connected()
    wire.a.send(0, 51, bytes(50_000), wire.now)
    wire.a.abort("so long", wire.now)
    (packet,) = sent_by(wire.a, wire.now)
    (abort,) = chunks_of(packet)
    assert abort == AbortChunk(0, (Parameter(CauseCode.USER_INITIATED_ABORT, b"so long"),))
    assert events_of(wire.a, Closed) == [Closed("so long")]
    wire.b.receive(Train.of(packet), wire.now)
    (closed,) = events_of(wire.b, Closed)
    assert closed.by_peer
    assert not closed.failed
    assert closed.cause_code == CauseCode.USER_INITIATED_ABORT
    assert "so long" in closed.reason
    assert sent_by(wire.b, wire.now) == []
    wire.b.abort("me too", wire.now)
    assert wire.b.events() == []


@pytest.mark.row("SCP-23", "SCP-01")
@pytest.mark.parametrize(
    ("tag", "flags", "accepted"),
    [(B_TAG, 0, True), (A_TAG, TAG_REFLECTED, True), (A_TAG, 0, False), (B_TAG, TAG_REFLECTED, False), (1, 0, False)],
)
def test_which_aborts_count(tag: int, flags: int, accepted: bool) -> None:
    wire = connected()
    wire.b.receive(packet_to(wire.b, AbortChunk(flags), tag=tag), wire.now)
    assert (wire.b.state is S.CLOSED) == accepted
    assert sent_by(wire.b, wire.now) == []


@pytest.mark.row("SCP-23", "SCP-01")
@pytest.mark.parametrize(
    ("tag", "flags", "accepted"),
    [(B_TAG, 0, True), (A_TAG, TAG_REFLECTED, True), (A_TAG, 0, False), (B_TAG, TAG_REFLECTED, False)],
)
def test_which_shutdown_completes_count(tag: int, flags: int, accepted: bool) -> None:
    wire = connected()
    wire.b.receive(packet_to(wire.b, ShutdownCompleteChunk(flags), tag=tag), wire.now)
    assert wire.b.state.name == "ESTABLISHED", "only SHUTDOWN-ACK-SENT waits for it"
    wire.b.receive(packet_to(wire.b, ShutdownChunk(wire.b._outbound.rtx.next_tsn - 1 & 0xFFFFFFFF)), wire.now)
    sent_by(wire.b, wire.now)
    wire.b.receive(packet_to(wire.b, ShutdownCompleteChunk(flags), tag=tag), wire.now)
    assert (wire.b.state is S.CLOSED) == accepted


@pytest.mark.row("SCP-23", "SCP-01", "SCP-02")
@pytest.mark.parametrize("wrong", ["tag", "source port", "destination port", "checksum"])
def test_packets_of_somebody_else_are_dropped(wrong: str) -> None:
    wire = connected()
    tsn = wire.b._inbound.cumulative + 1 & 0xFFFFFFFF
    packet = bytearray(packet_to(wire.b, DataChunk(3, tsn, 0, 0, 51, b"x")).data)
    if wrong == "checksum":
        packet[8] ^= 1
    else:
        from webrtc_py.sctp.packet import CHECKSUM

        packet[{"tag": 7, "source port": 1, "destination port": 3}[wrong]] ^= 1
        CHECKSUM.pack_into(packet, 8, packet_checksum(packet))
    wire.b.receive(Train.of(packet), wire.now)
    assert wire.b.events() == []
    assert sent_by(wire.b, wire.now) == []
    assert wire.b.stats.packets_dropped == 1


@pytest.mark.row("SCP-23")
def test_out_of_the_blue_after_the_end() -> None:
    wire = connected()
    wire.a.abort("gone", wire.now)
    sent_by(wire.a, wire.now)
    a = wire.a
    for chunk, answer in (
        (DataChunk(3, 1, 0, 0, 51, b"x"), [AbortChunk(TAG_REFLECTED)]),
        (HeartbeatChunk(b"\0\1\0\4"), [AbortChunk(TAG_REFLECTED)]),
        (ShutdownAckChunk(), [ShutdownCompleteChunk(TAG_REFLECTED)]),
        (AbortChunk(), []),
        (ShutdownCompleteChunk(), []),
    ):
        a.receive(packet_to(a, chunk), wire.now)
        packets = sent_by(a, wire.now)
        assert [item for packet in packets for item in chunks_of(packet)] == answer
        assert all(ADDRESSING.unpack_from(packet)[2] == A_TAG for packet in packets)
    # The peer hears from it that we are gone.
    wire.b.receive(packet_to(wire.b, AbortChunk(TAG_REFLECTED), tag=A_TAG), wire.now)
    assert wire.b.state is S.CLOSED


def bring_to(wire: Wire, state: str) -> None:
    """Bring ``b`` into a state."""
    b, now = wire.b, wire.now
    if state == "closed":
        return
    if state == "cookie-wait":
        b.connect(now)
        return
    wire.connect()
    now = wire.now
    if state in ("shutdown-pending", "shutdown-received"):
        b.send(0, 51, b"x", now)
    if state in ("shutdown-pending", "shutdown-sent"):
        b.shutdown(now)
    if state in ("shutdown-sent", "shutdown-received"):
        sent_by(b, now)
    if state in ("shutdown-received", "shutdown-ack-sent"):
        b.receive(packet_to(b, ShutdownChunk(0x7FFFFFF7)), now)
    if state == "shutdown-ack-sent":
        sent_by(b, now)


# What each state makes of a chunk that it does not wait for: nothing. What it waits for is tested above.
IGNORED = [
    ("closed", CookieAckChunk()),
    ("closed", ShutdownChunk(1)),
    ("closed", ShutdownCompleteChunk()),
    ("closed", AbortChunk()),
    ("closed", SackChunk(1, 1)),
    ("cookie-wait", CookieAckChunk()),
    ("cookie-wait", ShutdownChunk(1)),
    ("cookie-wait", ShutdownCompleteChunk()),
    ("cookie-wait", SackChunk(1, 1)),
    ("cookie-wait", DataChunk(3, 1, 0, 0, 51, b"x")),
    ("established", CookieAckChunk()),
    ("established", ShutdownAckChunk()),
    ("established", ShutdownCompleteChunk()),
    ("shutdown-pending", ShutdownAckChunk()),
    ("shutdown-pending", ShutdownCompleteChunk()),
    ("shutdown-sent", CookieAckChunk()),
    ("shutdown-sent", ShutdownCompleteChunk()),
    ("shutdown-received", ShutdownAckChunk()),
    ("shutdown-received", ShutdownCompleteChunk()),
    ("shutdown-ack-sent", CookieAckChunk()),
    ("shutdown-ack-sent", CookieEchoChunk(b"nonsense")),
]


@pytest.mark.row("SCP-24", "SCP-10")
@pytest.mark.parametrize(
    ("state", "chunk"), IGNORED, ids=lambda item: item if isinstance(item, str) else type(item).__name__
)
def test_what_a_state_does_not_wait_for_changes_nothing(state: str, chunk: object) -> None:
    wire = Wire()
    bring_to(wire, state)
    assert wire.b.state.value == state
    wire.b.receive(packet_to(wire.b, chunk), wire.now)  # type: ignore[arg-type]
    assert wire.b.state.value == state
    assert events_of(wire.b, Closed) == []
