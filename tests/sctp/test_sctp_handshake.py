"""How associations come up: four packets, crossed INITs, restarts, and what a stranger may try."""

from __future__ import annotations

import itertools

import pytest

from tests.sctp.wire import Wire, chunks_of, events_of, make_association, packet_to, sent_by, sent_chunks
from webrtc_py.errors import InvalidAccessError, InvalidStateError
from webrtc_py.sctp.association import Association, AssociationState
from webrtc_py.sctp.chunk import (
    DATA,
    FORWARD_TSN,
    PAD,
    RE_CONFIG,
    AbortChunk,
    CauseCode,
    Chunk,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    ErrorChunk,
    InitChunk,
    SackChunk,
    ShutdownAckChunk,
)
from webrtc_py.sctp.congestion import RTO_MAX
from webrtc_py.sctp.events import Closed, Established, MessageReceived, Restarted
from webrtc_py.sctp.handshake import COOKIE_LIFE
from webrtc_py.sctp.packet import ADDRESSING, HEADER_WORDS, build_packet
from webrtc_py.sctp.parameter import (
    FORWARD_TSN_SUPPORTED,
    HOST_NAME_ADDRESS,
    IPV4_ADDRESS,
    PADDING,
    STATE_COOKIE,
    SUPPORTED_EXTENSIONS,
    UNRECOGNIZED_PARAMETER,
    ZERO_CHECKSUM_ACCEPTABLE,
    Parameter,
)
from webrtc_py.train import Train

ESTABLISHED, CLOSED = AssociationState.ESTABLISHED, AssociationState.CLOSED


def init_of(association: Association, now: float = 0.0) -> InitChunk:
    association.connect(now)
    (chunk,) = sent_chunks(association, now)
    assert isinstance(chunk, InitChunk)
    return chunk


def tag_of(packet: bytes) -> int:
    return int(ADDRESSING.unpack_from(packet)[2])


def deliver(packets: list[bytes], to: Association, now: float = 0.0) -> None:
    for packet in packets:
        to.receive(Train.of(packet), now)


def pair(**config: object) -> tuple[Association, Association]:
    return make_association(1, 0xFFFFFFF0, key=b"1" * 32, **config), make_association(2, 7, key=b"2" * 32, **config)


def established(association: Association) -> list[Established]:
    return events_of(association, Established)


@pytest.mark.row("SCP-01", "SCP-06", "PRS-01", "RCF-01", "SCD-02")
def test_four_packets() -> None:
    a, b = pair()
    a.connect(0.0)
    (init,) = sent_by(a, 0.0)
    assert ADDRESSING.unpack_from(init) == (5000, 5000, 0)
    (chunk,) = chunks_of(init)
    assert chunk == InitChunk(
        1,
        1 << 20,
        65535,
        65535,
        0xFFFFFFF0,
        # Nothing else, and no address: some peers drop what they do not know.
        (Parameter(FORWARD_TSN_SUPPORTED), Parameter(SUPPORTED_EXTENSIONS, bytes((RE_CONFIG, FORWARD_TSN, PAD)))),
    )
    deliver([init], b)
    (init_ack,) = sent_by(b, 0.0)
    assert tag_of(init_ack) == 1
    (ack,) = chunks_of(init_ack)
    assert isinstance(ack, InitChunk)
    assert ack.is_ack
    assert (ack.initiate_tag, ack.initial_tsn) == (2, 7)
    assert {item.type for item in ack.parameters} == {STATE_COOKIE, FORWARD_TSN_SUPPORTED, SUPPORTED_EXTENSIONS}
    # The listener keeps nothing until its cookie comes back.
    assert b.state is CLOSED
    assert b.next_timeout() is None
    deliver([init_ack], a)
    assert a.state is AssociationState.COOKIE_ECHOED
    (echo,) = sent_by(a, 0.0)
    assert tag_of(echo) == 2
    assert isinstance(chunks_of(echo)[0], CookieEchoChunk)
    deliver([echo], b)
    assert b.state is ESTABLISHED
    assert established(b) == [Established(65535, 65535)]
    (cookie_ack,) = sent_by(b, 0.0)
    assert chunks_of(cookie_ack)[0] == CookieAckChunk()
    deliver([cookie_ack], a)
    assert a.state is ESTABLISHED
    assert established(a) == [Established(65535, 65535)]


@pytest.mark.row("SCP-06")
def test_data_waits_for_the_cookie_ack_and_cookie_ack_stands_first() -> None:
    a, b = pair()
    a.send(0, 51, b"early", 0.0)
    b.send(0, 51, b"early too", 0.0)
    a.connect(0.0)
    deliver(sent_by(a, 0.0), b)
    deliver(sent_by(b, 0.0), a)
    assert [type(chunk) for chunk in sent_chunks(a, 0.0)] == [CookieEchoChunk]
    wire = Wire(*pair())
    wire.a.send(0, 51, b"early", wire.now)
    wire.b.send(0, 51, b"early too", wire.now)
    wire.a.connect(wire.now)
    firsts: list[list[Chunk]] = []

    def look(packet: bytes, sender: Association) -> bool:
        if sender is wire.b:
            firsts.append(chunks_of(packet))
        return False

    wire.drop = look
    wire.run(1.0)
    assert [type(chunk) for chunk in firsts[1]] == [CookieAckChunk, DataChunk]
    assert [message.data for message in wire.messages(wire.a)] == [b"early too"]
    assert [message.data for message in wire.messages(wire.b)] == [b"early"]


@pytest.mark.row("SCP-06")
def test_init_must_be_alone() -> None:
    a, b = pair()
    init = init_of(a)
    b.receive(packet_to(b, init, CookieAckChunk(), tag=0), 0.0)
    b.receive(packet_to(b, init, tag=77), 0.0)
    b.receive(packet_to(b, init), 0.0)
    assert sent_by(b, 0.0) == []
    assert b.stats.packets_dropped == 3


@pytest.mark.row("SCP-05")
@pytest.mark.parametrize(
    ("init", "cause"),
    [
        (InitChunk(0, 65535, 1, 1, 1), None),
        (InitChunk(9, 65535, 0, 1, 1), CauseCode.INVALID_MANDATORY_PARAMETER),
        (InitChunk(9, 65535, 1, 0, 1), CauseCode.INVALID_MANDATORY_PARAMETER),
        (InitChunk(9, 1499, 1, 1, 1), CauseCode.INVALID_MANDATORY_PARAMETER),
        (InitChunk(9, 65535, 1, 1, 1, (Parameter(HOST_NAME_ADDRESS, b"a.b\0"),)), CauseCode.UNRESOLVABLE_ADDRESS),
    ],
    ids=["tag 0", "no outbound", "no inbound", "small window", "host name"],
)
def test_an_init_that_is_refused(init: InitChunk, cause: int | None) -> None:
    association = make_association()
    association.receive(packet_to(association, init, tag=0), 0.0)
    packets = sent_by(association, 0.0)
    assert association.state is CLOSED
    if cause is None:
        assert packets == []
        return
    (packet,) = packets
    assert tag_of(packet) == 9
    (abort,) = chunks_of(packet)
    assert isinstance(abort, AbortChunk)
    assert abort.flags == 0
    assert abort.causes[0].type == cause


@pytest.mark.row("SCP-05")
@pytest.mark.parametrize(
    ("ack", "cause"),
    [
        (InitChunk(9, 65535, 1, 1, 1, (), True), CauseCode.MISSING_MANDATORY_PARAMETER),
        (InitChunk(9, 65535, 0, 1, 1, (Parameter(STATE_COOKIE, b"c"),), True), CauseCode.INVALID_MANDATORY_PARAMETER),
    ],
    ids=["no cookie", "no streams"],
)
def test_an_init_ack_that_is_refused(ack: InitChunk, cause: int) -> None:
    association = make_association()
    init_of(association)
    association.receive(packet_to(association, ack), 0.0)
    (abort,) = sent_chunks(association, 0.0)
    assert isinstance(abort, AbortChunk)
    assert abort.causes[0].type == cause
    (closed,) = events_of(association, Closed)
    assert closed.failed
    assert closed.cause_code == cause


@pytest.mark.row("SCP-04")
def test_unknown_parameters_are_skipped_or_reported() -> None:
    association = make_association()
    parameters = (
        Parameter(0xC042, b"abc"),
        Parameter(0x8042, b"x"),
        Parameter(PADDING, bytes(5)),
        Parameter(IPV4_ADDRESS, b"\x7f\0\0\1"),
        Parameter(FORWARD_TSN_SUPPORTED),
        Parameter(0x4042),
        Parameter(0xC043),
    )
    association.receive(packet_to(association, InitChunk(9, 65535, 1, 1, 1, parameters), tag=0), 0.0)
    (ack,) = sent_chunks(association, 0.0)
    assert isinstance(ack, InitChunk)
    reported = [item.value for item in ack.parameters if item.type == UNRECOGNIZED_PARAMETER]
    # What follows 0x4042 is not looked at: its highest bit is 0.
    assert reported == [Parameter(0xC042, b"abc").serialize(), Parameter(0x4042).serialize()]


@pytest.mark.row("SCP-04")
def test_unknown_parameters_of_an_init_ack_are_reported_behind_the_cookie_echo() -> None:
    a, b = pair()
    deliver([build_packet(5000, 5000, 0, [init_of(a).serialize()])], b)
    (ack,) = sent_chunks(b, 0.0)
    assert isinstance(ack, InitChunk)
    odd = InitChunk(2, ack.a_rwnd, 65535, 65535, 7, (*ack.parameters, Parameter(0xC042), Parameter(0x0001)), True)
    a.receive(packet_to(a, odd), 0.0)
    echo, error = sent_chunks(a, 0.0)
    assert isinstance(echo, CookieEchoChunk)
    assert error == ErrorChunk((Parameter(CauseCode.UNRECOGNIZED_PARAMETERS, Parameter(0xC042).serialize()),))
    b.receive(packet_to(b, echo, error), 0.0)
    assert b.state is ESTABLISHED


@pytest.mark.row("SCP-08")
def test_streams_are_the_lesser_of_what_both_offer() -> None:
    wire = Wire(make_association(1, 1, streams=10), make_association(2, 2, streams=300))
    wire.a.connect(wire.now)
    wire.b.send(200, 51, b"lost", wire.now)
    wire.run(1.0)
    assert wire.take(wire.a, Established) == [Established(10, 10)]
    assert wire.take(wire.b, Established) == [Established(10, 10)]
    with pytest.raises(InvalidAccessError, match="0 to 9"):
        wire.b.send(10, 51, b"x", wire.now)
    wire.b.send(9, 51, b"x", wire.now)
    wire.run(1.0)
    assert [message.stream_id for message in wire.messages(wire.a)] == [9]


@pytest.mark.row("SCP-09", "DSD-04")
@pytest.mark.parametrize("gap", [0.0, 0.005, 0.015, 0.025, 0.035])
def test_both_ends_connect(gap: float) -> None:
    wire = Wire(*pair())
    wire.a.connect(wire.now)
    wire.run(gap)
    wire.b.connect(wire.now)
    wire.run(1.0)
    assert wire.a.state is wire.b.state is ESTABLISHED
    assert len(wire.take(wire.a, Established)) == len(wire.take(wire.b, Established)) == 1
    wire.a.send(1, 51, b"ping", wire.now)
    wire.b.send(1, 51, b"pong", wire.now)
    wire.run(1.0)
    assert [message.data for message in wire.messages(wire.a)] == [b"pong"]
    assert [message.data for message in wire.messages(wire.b)] == [b"ping"]


@pytest.mark.row("SCP-09")
@pytest.mark.parametrize("seed", range(10))
def test_both_ends_connect_on_a_bad_path(seed: int) -> None:
    wire = Wire(*pair(), loss=0.3, reorder=0.3, duplicate=0.3, seed=seed)
    wire.a.connect(wire.now)
    wire.b.connect(wire.now)
    assert wire.run(60.0, lambda: wire.a.state is wire.b.state is ESTABLISHED)
    wire.loss = 0.0
    wire.a.send(1, 51, b"ping", wire.now)
    wire.b.send(1, 51, b"pong", wire.now)
    wire.run(10.0)
    assert [message.data for message in wire.messages(wire.a)] == [b"pong"]
    assert [message.data for message in wire.messages(wire.b)] == [b"ping"]
    assert len(wire.take(wire.a, Established)) == len(wire.take(wire.b, Established)) == 1


def cookie_for(a: Association, b: Association, now: float = 0.0) -> CookieEchoChunk:
    """What ``a`` answers to ``b``'s INIT ACK."""
    b.receive(packet_to(b, init_of(a, now), tag=0), now)
    deliver(sent_by(b, now), a, now)
    echo = sent_chunks(a, now)[0]
    assert isinstance(echo, CookieEchoChunk)
    return echo


@pytest.mark.row("SCP-07")
def test_a_tampered_cookie_is_dropped() -> None:
    a, b = pair()
    echo = cookie_for(a, b)
    for index in range(0, len(echo.cookie), 5):
        cookie = bytearray(echo.cookie)
        cookie[index] ^= 1
        b.receive(packet_to(b, CookieEchoChunk(bytes(cookie))), 0.0)
    for wrong in (b"", echo.cookie[:-1], echo.cookie + b"\0"):
        b.receive(packet_to(b, CookieEchoChunk(wrong)), 0.0)
    assert sent_by(b, 0.0) == []
    assert b.state is CLOSED
    # It is for another tag: somebody replays it.
    b.receive(packet_to(b, echo, tag=99), 0.0)
    assert b.state is CLOSED


@pytest.mark.row("SCP-07")
def test_a_stale_cookie_is_answered_with_an_error_and_a_new_one_is_asked_for() -> None:
    a, b = pair()
    echo = cookie_for(a, b)
    late = COOKIE_LIFE + 1.5
    b.receive(packet_to(b, echo), late)
    (packet,) = sent_by(b, late)
    assert tag_of(packet) == 1
    (error,) = chunks_of(packet)
    assert error == ErrorChunk((Parameter(CauseCode.STALE_COOKIE, (1_500_000).to_bytes(4, "big")),))
    assert b.state is CLOSED
    deliver([packet], a, late)
    assert a.state is AssociationState.COOKIE_WAIT
    (init,) = sent_chunks(a, late)
    assert isinstance(init, InitChunk)
    b.receive(packet_to(b, init, tag=0), late)
    deliver(sent_by(b, late), a, late)
    deliver(sent_by(a, late), b, late)
    deliver(sent_by(b, late), a, late)
    assert a.state is b.state is ESTABLISHED


@pytest.mark.row("SCP-07", "SCP-10")
def test_a_replayed_cookie_changes_nothing() -> None:
    a, b = pair()
    echo = cookie_for(a, b)
    for now in (0.0, 0.1, COOKIE_LIFE * 2):
        b.receive(packet_to(b, echo), now)
        assert CookieAckChunk() in sent_chunks(b, now)
    assert len(established(b)) == 1
    b.receive(packet_to(b, echo, DataChunk(3, 0xFFFFFFF0, 0, 0, 51, b"x")), 1.0)
    assert [event.data for event in events_of(b, MessageReceived)] == [b"x"]


@pytest.mark.row("SCP-10")
def test_a_restarted_peer_replaces_the_association() -> None:
    wire = Wire()
    wire.connect()
    wire.a.send(1, 51, b"before", wire.now)
    wire.b.send(1, 51, b"lost", wire.now)
    wire.run(0.011)
    restarted = make_association(0xCCCC0003, 55, key=b"c" * 32)
    # Everything from here on comes from the new one, on the same wire.
    old, wire.a = wire.a, restarted
    wire.events[restarted] = []
    wire._free[restarted] = 0.0
    wire._queue.clear()
    restarted.connect(wire.now)
    wire.run(5.0)
    assert restarted.state is wire.b.state is ESTABLISHED
    assert wire.take(wire.b, Restarted) == [Restarted(65535, 65535)]
    restarted.send(1, 51, b"after", wire.now)
    wire.b.send(1, 51, b"answer", wire.now)
    wire.run(1.0)
    assert [message.data for message in wire.messages(wire.b)] == [b"before", b"after"]
    assert [message.data for message in wire.messages(restarted)] == [b"answer"]
    # The old one's packets have a tag that is nobody's now.
    dropped = wire.b.stats.packets_dropped
    old.send(1, 51, b"ghost", wire.now)
    deliver(sent_by(old, wire.now), wire.b, wire.now)
    assert wire.b.stats.packets_dropped > dropped
    assert wire.b.state is ESTABLISHED


@pytest.mark.row("SCP-10")
def test_an_init_alone_changes_nothing() -> None:
    wire = Wire()
    wire.connect()
    for tag in range(1, 50):
        wire.b.receive(packet_to(wire.b, InitChunk(tag, 65535, 1, 1, 1), tag=0), wire.now)
        (packet,) = sent_by(wire.b, wire.now)
        (ack,) = chunks_of(packet)
        assert isinstance(ack, InitChunk)
        assert tag_of(packet) == tag
        assert ack.initiate_tag not in (0, 0xBBBB0002)
    wire.a.send(1, 51, b"still here", wire.now)
    wire.run(1.0)
    assert [message.data for message in wire.messages(wire.b)] == [b"still here"]


@pytest.mark.row("SCP-10")
def test_late_and_foreign_cookies_in_an_established_association() -> None:
    wire = Wire()
    wire.connect()
    b = wire.b
    # Action C: our cookie for the same peer but another tag of ours, made before there was an association.
    stranger = make_association(0xBBBB0099, 3, key=b"b" * 32)
    late = cookie_for(make_association(0xAAAA0001, 1), stranger, wire.now)
    b.receive(packet_to(b, late, tag=0xBBBB0099), wire.now)
    # Not in the table: neither tag is known, and the tie tags are not ours.
    foreign = cookie_for(make_association(0xDDDD0001, 1), stranger, wire.now)
    b.receive(packet_to(b, foreign, tag=0xBBBB0099), wire.now)
    assert sent_by(b, wire.now) == []
    assert events_of(b, Restarted) == []
    wire.a.send(1, 51, b"fine", wire.now)
    wire.run(1.0)
    assert [message.data for message in wire.messages(b)] == [b"fine"]


@pytest.mark.row("SCP-10")
def test_a_peer_that_picked_a_new_tag_is_adopted_before_data_and_not_after() -> None:
    # Action B: the peer answered our INIT with one tag and then sent its own INIT with another.
    a = make_association(1, 100, key=b"1" * 32)
    first, second = make_association(2, 7, key=b"2" * 32), make_association(3, 9, key=b"3" * 32)
    init = init_of(a)
    first.receive(packet_to(first, init, tag=0), 0.0)
    second_init = init_of(second)
    deliver(sent_by(first, 0.0), a)
    sent_by(a, 0.0)
    a.receive(packet_to(a, second_init, tag=0), 0.0)
    deliver(sent_by(a, 0.0), second)
    (echo,) = sent_by(second, 0.0)
    deliver([echo], a)
    assert a.state is ESTABLISHED
    (cookie_ack,) = sent_by(a, 0.0)
    assert tag_of(cookie_ack) == 3
    deliver([cookie_ack], second)
    second.send(0, 51, b"hello", 0.0)
    deliver(sent_by(second, 0.0), a)
    assert [event.data for event in events_of(a, MessageReceived)] == [b"hello"]


@pytest.mark.row("SCP-10")
def test_unexpected_init_ack_and_cookie_ack_are_dropped() -> None:
    wire = Wire()
    wire.connect()
    ack = InitChunk(9, 65535, 1, 1, 1, (Parameter(STATE_COOKIE, b"c"),), True)
    wire.b.receive(packet_to(wire.b, ack), wire.now)
    wire.b.receive(packet_to(wire.b, CookieAckChunk()), wire.now)
    assert sent_by(wire.b, wire.now) == []
    assert wire.b.state is ESTABLISHED
    assert wire.b.events() == []


@pytest.mark.row("SCP-11")
@pytest.mark.parametrize("answered", [False, True], ids=["T1-init", "T1-cookie"])
def test_the_handshake_gives_up(answered: bool) -> None:
    wire = Wire(*pair())
    sent: list[float] = []

    def drop(packet: bytes, sender: Association) -> bool:
        chunk = chunks_of(packet)[0]
        if sender is wire.a and isinstance(chunk, CookieEchoChunk if answered else InitChunk):
            sent.append(wire.now)
            return True
        return False

    wire.drop = drop
    wire.a.connect(wire.now)
    wire.run(1000.0)
    (closed,) = wire.take(wire.a, Closed)
    assert closed.failed
    assert "did not answer" in closed.reason
    assert wire.a.state is CLOSED
    assert wire.a.next_timeout() is None
    # Max.Init.Retransmits is 8, and each wait is twice the one before.
    assert len(sent) == 9
    waits = [later - earlier for earlier, later in itertools.pairwise(sent)]
    for shorter, longer in itertools.pairwise(waits):
        assert longer == pytest.approx(min(2 * shorter, RTO_MAX))


@pytest.mark.row("SCP-11")
def test_a_lost_packet_of_the_handshake_is_sent_again() -> None:
    for lost in range(4):
        wire = Wire(*pair())
        seen = 0

        def drop(packet: bytes, sender: Association, lost: int = lost) -> bool:
            nonlocal seen
            seen += 1
            return seen == lost + 1

        wire.drop = drop
        wire.a.connect(wire.now)
        wire.run(5.0)
        assert wire.a.state is wire.b.state is ESTABLISHED
        assert len(wire.take(wire.b, Established)) == 1


@pytest.mark.row("SCP-23")
def test_shutdown_ack_out_of_the_blue_is_completed() -> None:
    association = make_association()
    init_of(association)
    association.receive(packet_to(association, ShutdownAckChunk(), tag=0x1234), 0.0)
    (packet,) = sent_by(association, 0.0)
    assert tag_of(packet) == 0x1234
    assert packet[12:14] == b"\x0e\x01"
    assert association.state is AssociationState.COOKIE_WAIT


@pytest.mark.row("PAD-02")
@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True), (False, False)])
def test_zero_checksum_only_when_both_want_it(ours: bool, theirs: bool) -> None:
    wire = Wire(make_association(1, 1, zero_checksum=ours), make_association(2, 2, zero_checksum=theirs))
    zeros: dict[bool, list[str]] = {True: [], False: []}

    def look(packet: bytes, sender: Association) -> bool:
        zero = HEADER_WORDS.unpack_from(packet)[1] == 0
        zeros[zero].append(type(chunks_of(packet)[0]).__name__)
        return False

    wire.drop = look
    wire.a.connect(wire.now)
    wire.b.connect(wire.now)
    wire.run(1.0)
    wire.a.send(1, 51, bytes(5000), wire.now)
    wire.run(1.0)
    assert [len(message.data) for message in wire.messages(wire.b)] == [5000]
    assert ("DataChunk" in zeros[True]) == (ours and theirs)
    assert not {"InitChunk", "CookieEchoChunk"} & set(zeros[True])
    data = packet_to(wire.b, DataChunk(3, 3000, 0, 0, 51, b"x"), checksum=False)
    dropped = wire.b.stats.packets_dropped
    wire.b.receive(data, wire.now)
    assert (wire.b.stats.packets_dropped == dropped) == theirs
    init = build_packet(5000, 5000, 0, [InitChunk(5, 65535, 1, 1, 1).serialize()], checksum=False)
    wire.b.receive(Train.of(init), wire.now)
    assert wire.b.stats.packets_dropped > dropped


@pytest.mark.row("PAD-02")
def test_zero_checksum_is_offered_only_on_request() -> None:
    offered = [
        [
            item
            for item in init_of(make_association(zero_checksum=wanted)).parameters
            if item.type == ZERO_CHECKSUM_ACCEPTABLE
        ]
        for wanted in (False, True)
    ]
    assert offered == [[], [Parameter(ZERO_CHECKSUM_ACCEPTABLE, b"\0\0\0\1")]]


def test_a_closed_association_cannot_be_opened_again() -> None:
    association = make_association()
    association.abort("no", 0.0)
    with pytest.raises(InvalidStateError):
        association.connect(0.0)
    with pytest.raises(InvalidStateError):
        association.send(0, 51, b"x", 0.0)


def test_connect_after_the_peer_did_is_nothing() -> None:
    wire = Wire()
    wire.b.connect(wire.now)
    wire.run(1.0)
    assert wire.a.state is ESTABLISHED
    wire.a.connect(wire.now)
    assert sent_by(wire.a, wire.now) == []


@pytest.mark.row("SCD-01")
def test_packets_of_a_train_are_packets_of_their_own() -> None:
    wire = Wire(keep_trains=True)
    wire.connect()
    wire.a.send(1, 51, bytes(20000), wire.now)
    trains = [(bytes(train.data), train.segment_size) for train in wire.a.datagrams_to_send(wire.now)]
    data, size = trains[0]
    packets = [data[start : start + size] for start in range(0, len(data), size)]
    assert len(packets) > 1
    for packet in packets:
        assert chunks_of(packet)
        assert tag_of(packet) == 0xBBBB0002


@pytest.mark.row("SCP-10")
def test_sack_and_data_before_the_association_exists_are_ignored() -> None:
    association = make_association()
    association.receive(packet_to(association, DataChunk(3, 1, 0, 0, 51, b"x"), SackChunk(1, 2)), 0.0)
    assert sent_by(association, 0.0) == []
    assert association.events() == []
    assert DATA == 0
