"""The association's states: how it comes up and how it goes down (RFC 9260 sections 4, 5, 8.4, 8.5 and 9)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum, IntEnum

from ..errors import InvalidStateError, ParseError
from .chunk import (
    TAG_REFLECTED,
    AbortChunk,
    CauseCode,
    CookieAckChunk,
    CookieEchoChunk,
    ErrorChunk,
    InitChunk,
    ShutdownAckChunk,
    ShutdownChunk,
    ShutdownCompleteChunk,
)
from .events import AssociationEvent, Closed, Established, Restarted
from .handshake import (
    COOKIE_LIFE,
    CookieAction,
    InitRefusedError,
    Peer,
    StateCookie,
    cookie_action,
    derive_tag,
    init_parameters,
    read_init,
    stale_cookie_cause,
    unrecognized_parameters,
)
from .inbound import Inbound
from .outbound import Outbound
from .packet import ADDRESSING, build_packet
from .parameter import STATE_COOKIE, Parameter
from .reset import StreamReset

logger = logging.getLogger(__name__)

# RFC 9260 section 16.
ASSOCIATION_MAX_RETRANSMISSIONS = 10
MAX_INIT_RETRANSMISSIONS = 8

_TSN_MASK = 0xFFFFFFFF


class AssociationState(Enum):
    """RFC 9260 section 4."""

    CLOSED = "closed"
    COOKIE_WAIT = "cookie-wait"
    COOKIE_ECHOED = "cookie-echoed"
    ESTABLISHED = "established"
    SHUTDOWN_PENDING = "shutdown-pending"
    SHUTDOWN_SENT = "shutdown-sent"
    SHUTDOWN_RECEIVED = "shutdown-received"
    SHUTDOWN_ACK_SENT = "shutdown-ack-sent"


_S = AssociationState

CONNECTING = frozenset({_S.COOKIE_WAIT, _S.COOKIE_ECHOED})
MAY_SEND_DATA = frozenset({_S.ESTABLISHED, _S.SHUTDOWN_PENDING, _S.SHUTDOWN_RECEIVED})
MAY_RECEIVE_DATA = frozenset({_S.ESTABLISHED, _S.SHUTDOWN_PENDING, _S.SHUTDOWN_SENT})
MAY_QUEUE_DATA = frozenset({_S.CLOSED, _S.COOKIE_WAIT, _S.COOKIE_ECHOED, _S.ESTABLISHED})


class Deadline(IntEnum):
    """What an association waits for; retransmissions of data and of resets have timers of their own."""

    INIT = 1
    COOKIE = 2
    SHUTDOWN = 3
    ACKNOWLEDGE = 4
    HEARTBEAT = 5
    BURST = 6
    PATH_MTU = 7


@dataclass(frozen=True, slots=True)
class AssociationConfig:
    """What an association may be told. Sizes are in bytes.

    ``max_receive_buffer``: what we hold for the peer at most; it is its window. ``max_message_size``: the largest
    message that we take; when it exceeds the buffer, it is the buffer's size too. ``streams``: in each direction.
    ``packet_size``: an SCTP packet that every path carries. RFC 8261 section 4 asks for 1200 bytes of IP packet when
    nothing is known of the path; DTLS, UDP, IPv6 and a TURN channel leave 1148 of 1280, IPv6's least.
    ``largest_packet_size``: what path MTU discovery looks for at most.
    """

    local_port: int = 5000
    remote_port: int = 5000
    max_receive_buffer: int = 1 << 20
    max_message_size: int = 1 << 18
    streams: int = 65535
    zero_checksum: bool = False
    packet_size: int = 1148
    largest_packet_size: int = 16384


class Lifecycle:
    """The part of an association that sets it up and takes it down. ``Association`` moves the data."""

    def __init__(
        self, config: AssociationConfig, verification_tag: int, initial_tsn: int, cookie_key: bytes, built: bytearray
    ) -> None:
        self._config = config
        self._state = AssociationState.CLOSED
        self._ended = self._receives_data = self._sends_data = False
        self._queues_data = True
        self._outbound_streams = config.streams
        self._local_tag = verification_tag
        self._local_initial_tsn = initial_tsn
        self._peer: Peer | None = None
        self._cookie_key = cookie_key
        self._built = built
        self._events: list[AssociationEvent] = []
        self._outbound = self._make_outbound(initial_tsn)
        self._inbound = Inbound(config.max_receive_buffer, config.max_message_size, self._events.append)
        self._reset: StreamReset | None = None
        self._deadlines: dict[Deadline, float] = {}
        self._packets: list[bytes] = []
        """Whole packets that go out as they are: handshake, aborts."""
        self._chunks: list[bytes] = []
        """Control chunks for the next packet."""
        self._cookie_echo = b""
        self._attempts = 0
        self._asked_at = 0.0

    def _make_outbound(self, initial_tsn: int) -> Outbound:
        config = self._config
        return Outbound(self._built, config.packet_size, config.largest_packet_size, initial_tsn, self._events.append)

    @property
    def state(self) -> AssociationState:
        return self._state

    # Commands.

    def connect(self, now: float) -> None:
        """Open the association: send an INIT, unless the peer's handshake is already under way or done."""
        if self._ended:
            raise InvalidStateError("the association is closed and cannot be opened again")
        if self._state is AssociationState.CLOSED:
            self._set_state(AssociationState.COOKIE_WAIT, "connecting")
            self._attempts = 0
            self._send_init(now)

    def shutdown(self, now: float) -> None:
        """Close when all data has arrived on both sides (RFC 9260 section 9.2). Before it is up, close at once."""
        if self._state is AssociationState.ESTABLISHED:
            self._set_state(AssociationState.SHUTDOWN_PENDING, "shut down by the application")
            self._outbound.shutting_down = True
        elif self._state in CONNECTING or self._state is AssociationState.CLOSED:
            self.abort("shut down before it was established", now)

    def abort(self, reason: str, now: float) -> None:
        """Close at once; what is queued is lost (RFC 9260 section 9.1). ``reason`` is told to the peer."""
        cause = Parameter(CauseCode.USER_INITIATED_ABORT, reason.encode()[:1024])
        self._abort(cause, Closed(reason))

    def _abort(self, cause: Parameter, closed: Closed) -> None:
        if self._ended:
            return
        if self._peer is not None:
            self._send_packet(self._peer.tag, AbortChunk(0, (cause,)).serialize())
        self._close(closed)

    def _close(self, closed: Closed) -> None:
        """The end, for whatever reason."""
        if self._ended:
            return
        self._ended = True
        self._set_state(AssociationState.CLOSED, closed.reason)
        self._queues_data = False
        self._deadlines.clear()
        self._outbound.retransmit_at = None
        self._outbound.queue.clear()
        self._outbound.rtx.chunks.clear()
        self._reset = None
        self._chunks.clear()
        self._events.append(closed)

    def _fail(self, reason: str) -> None:
        """The peer does not answer (RFC 9260 section 8.1)."""
        self._close(Closed(reason, failed=True))

    def _set_state(self, state: AssociationState, why: str) -> None:
        if state is not self._state:
            logger.debug("SCTP association %08x: %s -> %s: %s", self._local_tag, self._state.value, state.value, why)
            self._state = state
            # Looked at for each packet: hashing a member of an enumeration would cost more than the rest.
            self._receives_data = state in MAY_RECEIVE_DATA
            self._sends_data = state in MAY_SEND_DATA
            self._queues_data = state in MAY_QUEUE_DATA

    def _send_packet(self, tag: int, *chunks: bytes) -> None:
        """A packet of its own. These are the ones that always carry a checksum (RFC 9653 section 5.2)."""
        self._packets.append(build_packet(self._config.local_port, self._config.remote_port, tag, chunks))

    # INIT and INIT ACK.

    def _make_init(self, tag: int, initial_tsn: int, parameters: tuple[Parameter, ...], *, is_ack: bool) -> bytes:
        streams = self._config.streams
        chunk = InitChunk(tag, self._inbound.window, streams, streams, initial_tsn, parameters, is_ack)
        return chunk.serialize()

    def _send_init(self, now: float) -> None:
        parameters = init_parameters(zero_checksum=self._config.zero_checksum)
        self._send_packet(0, self._make_init(self._local_tag, self._local_initial_tsn, parameters, is_ack=False))
        self._asked_at = now
        self._deadlines[Deadline.INIT] = now + self._outbound.round_trip_time.rto

    def _receive_init(self, chunk: InitChunk, now: float) -> None:
        """RFC 9260 sections 5.1, 5.2.1 and 5.2.2. Nothing of the association changes."""
        if self._state is AssociationState.SHUTDOWN_ACK_SENT:
            self._chunks.append(ShutdownAckChunk().serialize())
            return
        try:
            contents = read_init(chunk)
        except InitRefusedError as error:
            self._send_packet(chunk.initiate_tag, AbortChunk(0, (error.cause,)).serialize())
            return
        if self._ended:
            cause = Parameter(CauseCode.OUT_OF_RESOURCE)
            self._send_packet(chunk.initiate_tag, AbortChunk(0, (cause,)).serialize())
            return
        tag, initial_tsn = self._local_tag, self._local_initial_tsn
        local_tie_tag = peer_tie_tag = 0
        if self._peer is not None:
            local_tie_tag, peer_tie_tag = self._local_tag, self._peer.tag
            if self._state not in CONNECTING:
                context = ADDRESSING.pack(0, 0, chunk.initiate_tag) + ADDRESSING.pack(0, 0, tag)
                tag = derive_tag(self._cookie_key, context)
                initial_tsn = self._outbound.rtx.next_tsn & _TSN_MASK
        cookie = StateCookie(now, tag, initial_tsn, contents.peer, local_tie_tag, peer_tie_tag)
        parameters = (
            Parameter(STATE_COOKIE, cookie.serialize(self._cookie_key)),
            *init_parameters(zero_checksum=self._config.zero_checksum),
            *unrecognized_parameters(contents.unrecognized),
        )
        self._send_packet(contents.peer.tag, self._make_init(tag, initial_tsn, parameters, is_ack=True))

    def _receive_init_ack(self, chunk: InitChunk, now: float) -> None:
        """RFC 9260 sections 5.1 C and 5.2.3."""
        if self._state is not AssociationState.COOKIE_WAIT:
            return
        try:
            contents = read_init(chunk)
        except InitRefusedError as error:
            self._send_packet(chunk.initiate_tag, AbortChunk(0, (error.cause,)).serialize())
            self._close(Closed(f"the peer's INIT ACK has {error}", error.cause.type, failed=True))
            return
        if self._attempts == 0:
            self._outbound.round_trip_time.measure(now - self._asked_at)
        self._adopt(contents.peer)
        chunks = [CookieEchoChunk(contents.cookie or b"").serialize()]
        if contents.unrecognized:
            causes = tuple(
                Parameter(CauseCode.UNRECOGNIZED_PARAMETERS, item.serialize()) for item in contents.unrecognized
            )
            chunks.append(ErrorChunk(causes).serialize())
        self._cookie_echo = build_packet(self._config.local_port, self._config.remote_port, contents.peer.tag, chunks)
        self._attempts = 0
        self._deadlines.pop(Deadline.INIT, None)
        self._set_state(AssociationState.COOKIE_ECHOED, "INIT ACK received")
        self._send_cookie_echo(now)

    def _send_cookie_echo(self, now: float) -> None:
        self._packets.append(self._cookie_echo)
        self._deadlines[Deadline.COOKIE] = now + self._outbound.round_trip_time.rto

    def _handshake_timeout(self, deadline: Deadline, now: float) -> None:
        """T1-init or T1-cookie (RFC 9260 section 4, notes 2 and 3)."""
        self._attempts += 1
        if self._attempts > MAX_INIT_RETRANSMISSIONS:
            what = "INIT" if deadline is Deadline.INIT else "COOKIE ECHO"
            self._fail(f"the peer did not answer {self._attempts} times {what}")
            return
        self._outbound.round_trip_time.back_off()
        if deadline is Deadline.INIT:
            self._send_init(now)
        else:
            self._send_cookie_echo(now)

    def _adopt(self, peer: Peer) -> None:
        """Take over what the peer's INIT or INIT ACK says."""
        config = self._config
        self._peer = peer
        # RFC 9260 section 5.1.1.
        self._outbound_streams = min(config.streams, peer.inbound_streams)
        self._outbound.open(
            ADDRESSING.pack(config.local_port, config.remote_port, peer.tag),
            peer.a_rwnd,
            forward_tsn=peer.forward_tsn,
            zero_checksum=config.zero_checksum and peer.zero_checksum,
            large_packets=peer.padding,
        )
        self._inbound.reset(peer.initial_tsn, min(peer.outbound_streams, config.streams))
        self._reset = StreamReset(
            self._local_initial_tsn,
            peer.initial_tsn,
            self._outbound,
            self._inbound,
            self._events.append,
            supported=peer.reconfig,
        )

    # COOKIE ECHO and COOKIE ACK.

    def _receive_cookie_echo(self, chunk: CookieEchoChunk, tag: int, now: float) -> bool:
        """RFC 9260 sections 5.1.5 and 5.2.4. False when the rest of the packet is to be dropped with it."""
        cookie = StateCookie.parse(chunk.cookie, self._cookie_key)
        if cookie.local_tag != tag:
            raise ParseError("the state cookie is for another verification tag")
        if self._ended:
            return False
        action = None
        if self._state is not AssociationState.CLOSED:
            action = cookie_action(cookie, self._local_tag, self._peer.tag if self._peer is not None else 0)
        if cookie.age(now) > COOKIE_LIFE and action is not CookieAction.DUPLICATE:
            error = ErrorChunk((stale_cookie_cause(cookie.age(now)),))
            self._send_packet(cookie.peer.tag, error.serialize())
            return False
        if action in (CookieAction.LATE, CookieAction.DISCARD):
            return False
        if action is CookieAction.RESTART:
            return self._restart(cookie, now)
        if action is CookieAction.ADOPT and self._data_exchanged:
            # The tag is the peer's that we have talked with since: this is an old cookie that took its time.
            return False
        if action is not CookieAction.DUPLICATE:
            self._adopt(cookie.peer)
        self._chunks.insert(0, CookieAckChunk().serialize())
        self._establish("COOKIE ECHO received", now)
        return True

    @property
    def _data_exchanged(self) -> bool:
        peer = self._peer
        received = peer is not None and self._inbound.cumulative != peer.initial_tsn - 1
        return received or self._outbound.rtx.next_tsn != self._local_initial_tsn

    def _restart(self, cookie: StateCookie, now: float) -> bool:
        """The peer lost the association and made a new one (RFC 9260 section 5.2.4, action A)."""
        if self._state is AssociationState.SHUTDOWN_ACK_SENT:
            self._chunks.append(ShutdownAckChunk().serialize())
            self._chunks.append(ErrorChunk((Parameter(CauseCode.COOKIE_WHILE_SHUTTING_DOWN),)).serialize())
            return False
        self._local_tag = cookie.local_tag
        self._local_initial_tsn = cookie.local_initial_tsn
        self._outbound = self._make_outbound(cookie.local_initial_tsn)
        self._deadlines.clear()
        self._chunks.clear()
        self._adopt(cookie.peer)
        self._set_state(AssociationState.ESTABLISHED, "the peer restarted")
        self._chunks.append(CookieAckChunk().serialize())
        self._on_established(now)
        self._events.append(Restarted(self._outbound_streams, self._inbound.streams))
        return True

    def _receive_cookie_ack(self, now: float) -> None:
        if self._state is AssociationState.COOKIE_ECHOED:
            self._establish("COOKIE ACK received", now)

    def _establish(self, why: str, now: float) -> None:
        if self._state is not AssociationState.CLOSED and self._state not in CONNECTING:
            return
        self._deadlines.pop(Deadline.INIT, None)
        self._deadlines.pop(Deadline.COOKIE, None)
        self._cookie_echo = b""
        self._set_state(AssociationState.ESTABLISHED, why)
        self._on_established(now)
        self._events.append(Established(self._outbound_streams, self._inbound.streams))

    def _on_established(self, now: float) -> None:
        """Data may flow from now on."""
        raise NotImplementedError

    # The end.

    def _receive_error(self, chunk: ErrorChunk, now: float) -> None:
        for cause in chunk.causes:
            logger.debug("SCTP association %08x: the peer reports error cause %d", self._local_tag, cause.type)
            if cause.type == CauseCode.STALE_COOKIE and self._state is AssociationState.COOKIE_ECHOED:
                # Ask for a fresh one (RFC 9260 section 5.2.6, first way).
                self._deadlines.pop(Deadline.COOKIE, None)
                self._set_state(AssociationState.COOKIE_WAIT, "the state cookie was stale")
                self._peer = None
                self._handshake_timeout(Deadline.INIT, now)
                return

    def _receive_abort(self, chunk: AbortChunk) -> None:
        """RFC 9260 section 9.1."""
        code, text = None, ""
        if chunk.causes:
            code = chunk.causes[0].type
            if code in (CauseCode.USER_INITIATED_ABORT, CauseCode.PROTOCOL_VIOLATION):
                text = chunk.causes[0].value.decode(errors="replace")
        reason = "aborted by the peer" + (f", error cause {code}" if code is not None else "")
        expected = code == CauseCode.USER_INITIATED_ABORT
        self._close(Closed(f"{reason}: {text}" if text else reason, code, by_peer=True, failed=not expected))

    def _receive_shutdown(self, chunk: ShutdownChunk, now: float) -> None:
        """RFC 9260 section 9.2."""
        if self._state in CONNECTING or self._state is AssociationState.CLOSED:
            return
        self._outbound.acknowledge_cumulative(chunk.cumulative_tsn_ack, now)
        if self._state in (AssociationState.ESTABLISHED, AssociationState.SHUTDOWN_PENDING):
            self._set_state(AssociationState.SHUTDOWN_RECEIVED, "SHUTDOWN received")
            self._outbound.shutting_down = True
        elif self._state is AssociationState.SHUTDOWN_SENT:
            self._send_shutdown_ack(now)

    def _receive_shutdown_ack(self, tag: int) -> None:
        if self._state in (AssociationState.SHUTDOWN_SENT, AssociationState.SHUTDOWN_ACK_SENT):
            if self._peer is not None:
                self._send_packet(self._peer.tag, ShutdownCompleteChunk().serialize())
            self._close(Closed("shut down"))
        elif self._state in CONNECTING or self._state is AssociationState.CLOSED:
            # Out of the blue (RFC 9260 section 8.4, 5): the peer waits for the end of an association that we forgot.
            self._send_packet(tag, ShutdownCompleteChunk(TAG_REFLECTED).serialize())

    def _receive_shutdown_complete(self) -> None:
        if self._state is AssociationState.SHUTDOWN_ACK_SENT:
            self._close(Closed("shut down by the peer", by_peer=True))

    def _advance_shutdown(self, now: float) -> bool:
        """Take the step of a graceful end that waits for all our data to be acknowledged, if it is time for it."""
        shutting_down = self._state in (AssociationState.SHUTDOWN_PENDING, AssociationState.SHUTDOWN_RECEIVED)
        if not shutting_down or not self._outbound.idle:
            return False
        self._attempts = 0
        self._deadlines.pop(Deadline.HEARTBEAT, None)
        if self._state is AssociationState.SHUTDOWN_PENDING:
            self._set_state(AssociationState.SHUTDOWN_SENT, "all data is acknowledged")
            self._send_shutdown(now)
        else:
            self._send_shutdown_ack(now)
        return True

    def _send_shutdown(self, now: float) -> None:
        self._chunks.append(ShutdownChunk(self._inbound.cumulative & _TSN_MASK).serialize())
        self._deadlines[Deadline.SHUTDOWN] = now + self._outbound.round_trip_time.rto

    def _send_shutdown_ack(self, now: float) -> None:
        self._set_state(AssociationState.SHUTDOWN_ACK_SENT, "all data is acknowledged, and the peer shuts down")
        self._chunks.append(ShutdownAckChunk().serialize())
        self._deadlines[Deadline.SHUTDOWN] = now + self._outbound.round_trip_time.rto

    def _shutdown_timeout(self, now: float) -> None:
        """T2-shutdown (RFC 9260 section 9.2)."""
        self._attempts += 1
        if self._attempts > ASSOCIATION_MAX_RETRANSMISSIONS:
            self._fail("the peer did not answer the shutdown")
            return
        self._outbound.round_trip_time.back_off()
        if self._state is AssociationState.SHUTDOWN_SENT:
            self._send_shutdown(now)
        else:
            self._send_shutdown_ack(now)
