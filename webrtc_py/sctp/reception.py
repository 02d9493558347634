"""The packets that arrive: what is common is read in place, the rest chunk by chunk.

RFC 9260 sections 6.2, 6.8, 6.10, 8.4 and 8.5.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from crc32c import crc32c

from ..errors import ParseError
from ..train import Train
from .chunk import (
    ABORT,
    COOKIE_ECHO,
    DATA,
    DATA_HEADER,
    DATA_HEADER_SIZE,
    IMMEDIATE,
    INIT,
    SACK,
    SHUTDOWN_ACK,
    SHUTDOWN_COMPLETE,
    TAG_REFLECTED,
    AbortChunk,
    CauseCode,
    Chunk,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    ErrorChunk,
    ForwardTsnChunk,
    HeartbeatAckChunk,
    HeartbeatChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    ShutdownAckChunk,
    ShutdownChunk,
    ShutdownCompleteChunk,
    UnknownChunk,
    parse_chunk,
)
from .events import Closed
from .inbound import MessageTooLargeError
from .lifecycle import CONNECTING, AssociationConfig, AssociationState, Deadline, Lifecycle
from .outbound import ProtocolViolationError
from .packet import ADDRESSING, HEADER_SIZE, HEADER_WORDS, RawChunk, checksum_seed, split_chunks
from .parameter import Parameter

logger = logging.getLogger(__name__)

# SACK.Delay (RFC 9260 section 16), in seconds.
SACK_DELAY = 0.2

# A peer in slow start grows with each SACK, so that it gets one for every second packet of a train, as if the packets
# had come one by one, while it may be in slow start: at the beginning, and after a loss. From then on, one SACK says
# all there is to say about a train: a sender in congestion avoidance counts bytes.
_DENSE_PACKETS = 512
# After a gap opened, so many packets are acknowledged each for itself: three reports make a sender retransmit, the
# fourth is for one that gets lost. While a gap stays open, some more go in between, lest a long train says too little.
_LOSS_REPORTS = 4
_SPARSE_PACKETS = 16

_NEVER = 1 << 30

# In the flags of the DATA chunks of a packet, taken together: there was one.
_DATA_SEEN = 0x100


class Reception(Lifecycle):
    """The part of an association that takes packets apart."""

    def __init__(
        self, config: AssociationConfig, verification_tag: int, initial_tsn: int, cookie_key: bytes, built: bytearray
    ) -> None:
        super().__init__(config, verification_tag, initial_tsn, cookie_key, built)
        self._header = self._seed = 0
        self._expect_own_tag()
        self._sacks: list[SackChunk] = []
        """SACKs for packets before the last one of a train."""
        self._dense_packets = _DENSE_PACKETS
        self._loss_reports = 0
        self._sack_threshold = 2
        self._attentive = True
        self._packets_received = self._bytes_received = self._packets_dropped = 0

    def _expect_own_tag(self) -> None:
        addressing = ADDRESSING.pack(self._config.remote_port, self._config.local_port, self._local_tag)
        self._header = int.from_bytes(addressing, "little")
        self._seed = checksum_seed(addressing)

    def receive(self, train: Train, now: float) -> None:
        """Take the packets of a train, one for each DTLS record (RFC 8261 section 3)."""
        self._packets_received += len(train)
        self._bytes_received += len(train.data)
        try:
            self._receive_train(train.data, train.segment_size, now)
        except (ProtocolViolationError, MessageTooLargeError) as error:
            cause = Parameter(CauseCode.PROTOCOL_VIOLATION, str(error).encode())
            self._abort(cause, Closed(f"protocol violation: {error}", CauseCode.PROTOCOL_VIOLATION, failed=True))
        if self._inbound.packets_since_sack and Deadline.ACKNOWLEDGE not in self._deadlines:
            self._deadlines[Deadline.ACKNOWLEDGE] = now + SACK_DELAY

    def _receive_train(self, data: memoryview, size: int, now: float) -> None:
        """The way of nearly all packets: our tag, a right checksum, DATA and SACKs without gaps."""
        inbound = self._inbound
        receive_data, unpack_header, unpack_chunk = inbound.receive, HEADER_WORDS.unpack_from, DATA_HEADER.unpack_from
        end, total = 0, len(data)
        while end < total:
            start = end
            end += size
            if end > total:
                end = total
            position = start + HEADER_SIZE
            if position > end:
                self._packets_dropped += 1
                continue
            header, checksum = unpack_header(data, start)
            if header != self._header:
                self._receive_exceptional(data, start, end, now)
                continue
            if checksum != crc32c(data[position:end], self._seed) and (checksum or not self._config.zero_checksum):
                self._packets_dropped += 1
                continue
            seen = 0
            while end - position >= DATA_HEADER_SIZE and self._receives_data:
                # SACK's fixed part is as long as DATA's: what is read as the TSN is the cumulative TSN ack, the window
                # stands in the place of stream and SSN, and the counts of blocks and duplicates in that of the PPID.
                type_, flags, length, tsn, stream_id, ssn, ppid = unpack_chunk(data, position)
                if type_ == DATA:
                    stop = position + length
                    if length <= DATA_HEADER_SIZE or stop > end:
                        break
                    if not seen and inbound.packets_since_sack >= self._sack_threshold:
                        self._sack_earlier_packets()
                    seen |= flags | _DATA_SEEN
                    receive_data(flags, tsn, stream_id, ssn, ppid, data[position + DATA_HEADER_SIZE : stop])
                elif type_ == SACK and length == DATA_HEADER_SIZE and not ppid:
                    self._outbound.acknowledge(tsn, stream_id << 16 | ssn, now)
                else:
                    break
                position += (length + 3) & ~3
            if seen:
                inbound.packets_since_sack += 1
                if seen & IMMEDIATE or self._attentive or inbound.attention:
                    self._data_received(seen, now)
            if position < end:
                self._receive_chunks(data, position, end, now, checked=checksum != 0)

    def _data_received(self, flags: int, now: float) -> None:
        """A packet brought data, and that was not all there was to do; ``flags`` are its chunks' together."""
        inbound = self._inbound
        inbound.attention = False
        if self._dense_packets == _DENSE_PACKETS or flags & IMMEDIATE:
            # RFC 9260 section 5.1: the very first DATA chunk is acknowledged at once.
            inbound.acknowledge_now = True
        if self._dense_packets:
            self._dense_packets -= 1
        if inbound.gap_opened:
            inbound.gap_opened = False
            self._loss_reports = _LOSS_REPORTS
            self._dense_packets = _DENSE_PACKETS - 1
        if inbound.is_deferring and self._reset is not None:
            self._reset.data_received()
        if inbound.invalid_stream is not None:
            cause = Parameter(CauseCode.INVALID_STREAM_IDENTIFIER, inbound.invalid_stream.to_bytes(2, "big") + bytes(2))
            self._chunks.append(ErrorChunk((cause,)).serialize())
            inbound.invalid_stream = None
        if self._state is AssociationState.SHUTDOWN_SENT:
            # RFC 9260 section 9.2: SHUTDOWN answers data now.
            self._send_shutdown(now)
        self._pace_sacks()

    def _pace_sacks(self) -> None:
        """After how many packets of a train a SACK is due while more of it follows."""
        inbound = self._inbound
        if inbound.in_order:
            dense = self._dense_packets > 0
            self._sack_threshold = (1 if inbound.acknowledge_now else 2) if dense else _NEVER
            self._attentive = dense or self._state is AssociationState.SHUTDOWN_SENT
        else:
            self._sack_threshold = 1 if self._loss_reports else _SPARSE_PACKETS
            self._attentive = True

    def _sack_earlier_packets(self) -> None:
        """A packet with data comes after others for which a SACK is due."""
        inbound = self._inbound
        if not inbound.in_order and self._loss_reports:
            self._loss_reports -= 1
        self._sacks.append(inbound.take_sack(self._config.packet_size - HEADER_SIZE))
        self._pace_sacks()

    def _receive_chunks(self, data: memoryview, position: int, end: int, now: float, *, checked: bool) -> None:
        """The chunks of a packet that carries our tag, in their order."""
        acknowledged = False
        try:
            for raw in split_chunks(data, position, end):
                if raw.type == SACK:
                    if acknowledged:
                        # Nobody has more than one to say at a time; fifty with gaps would cost us as many searches.
                        continue
                    acknowledged = True
                if self._ended:
                    self._answer_out_of_the_blue(raw)
                    return
                if raw.type == INIT or (raw.type == COOKIE_ECHO and not checked):
                    # INIT has no tag, and neither it nor COOKIE ECHO goes without a checksum (RFC 9653 section 5.2).
                    raise ParseError(f"chunk {raw.type} is out of place")
                if not self._handle_chunk(parse_chunk(raw), now):
                    return
        except ParseError as error:
            self._packets_dropped += 1
            logger.debug("SCTP association %08x: packet dropped: %s", self._local_tag, error)

    def _receive_exceptional(self, data: memoryview, start: int, end: int, now: float) -> None:
        """A packet without our tag: only few chunks may come in one (RFC 9260 sections 8.4 and 8.5.1)."""
        source, destination, tag = ADDRESSING.unpack_from(data, start)
        seed = checksum_seed(bytes(data[start : start + ADDRESSING.size]))
        checksum = HEADER_WORDS.unpack_from(data, start)[1]
        try:
            if (source, destination) != (self._config.remote_port, self._config.local_port):
                raise ParseError(f"from port {source} to port {destination}")
            if crc32c(data[start + HEADER_SIZE : end], seed) != checksum:
                raise ParseError("the checksum is wrong")
            raws = list(split_chunks(data, start + HEADER_SIZE, end))
            if not raws or not self._handle_exceptional(raws, tag, now):
                raise ParseError(f"the verification tag {tag:08x} is not ours")
        except ParseError as error:
            self._packets_dropped += 1
            logger.debug("SCTP association %08x: packet dropped: %s", self._local_tag, error)

    def _handle_exceptional(self, raws: list[RawChunk], tag: int, now: float) -> bool:
        """False when the packet may not have this tag."""
        first = parse_chunk(raws[0])
        reflected = self._peer is not None and tag == self._peer.tag
        if isinstance(first, InitChunk):
            if tag or first.is_ack or len(raws) > 1:
                return False
            self._receive_init(first, now)
        elif isinstance(first, CookieEchoChunk):
            if self._receive_cookie_echo(first, tag, now):
                for raw in raws[1:]:
                    if not self._handle_chunk(parse_chunk(raw), now):
                        break
        elif isinstance(first, AbortChunk) and reflected and first.flags & TAG_REFLECTED:
            self._receive_abort(first)
        elif isinstance(first, ShutdownCompleteChunk) and reflected and first.flags & TAG_REFLECTED:
            self._receive_shutdown_complete()
        elif isinstance(first, ShutdownAckChunk) and self._state in CONNECTING | {AssociationState.CLOSED}:
            self._receive_shutdown_ack(tag)
        else:
            return False
        return True

    def _answer_out_of_the_blue(self, raw: RawChunk) -> None:
        """The association is over and the peer does not know it (RFC 9260 section 8.4)."""
        if raw.type == SHUTDOWN_ACK:
            self._send_packet(self._local_tag, ShutdownCompleteChunk(TAG_REFLECTED).serialize())
        elif raw.type not in (ABORT, SHUTDOWN_COMPLETE):
            self._send_packet(self._local_tag, AbortChunk(TAG_REFLECTED).serialize())

    def _handle_chunk(self, chunk: Chunk, now: float) -> bool:
        """One chunk in its general form. False when the rest of the packet is to be left alone."""
        handler = _HANDLERS.get(type(chunk))
        if handler is not None:
            handler(self, chunk, now)
        elif isinstance(chunk, UnknownChunk):
            if chunk.is_reported and self._peer is not None:
                cause = Parameter(CauseCode.UNRECOGNIZED_CHUNK_TYPE, chunk.serialize())
                self._chunks.append(ErrorChunk((cause,)).serialize())
            return not chunk.stops_processing
        return not self._ended

    # One method for each chunk that may come with our tag.

    def _handle_data(self, chunk: DataChunk, now: float) -> None:
        if not self._receives_data:
            return
        if not chunk.data:
            # RFC 9260 section 6.2: an empty DATA chunk ends the association.
            cause = Parameter(CauseCode.NO_USER_DATA, chunk.tsn.to_bytes(4, "big"))
            self._abort(cause, Closed("the peer sent an empty DATA chunk", CauseCode.NO_USER_DATA, failed=True))
            return
        self._inbound.receive(chunk.flags, chunk.tsn, chunk.stream_id, chunk.ssn, chunk.ppid, memoryview(chunk.data))
        self._inbound.packets_since_sack += 1
        self._data_received(chunk.flags, now)

    def _handle_init_ack(self, chunk: InitChunk, now: float) -> None:
        self._receive_init_ack(chunk, now)

    def _handle_sack(self, chunk: SackChunk, now: float) -> None:
        if not (self._sends_data or self._receives_data):
            return
        if chunk.gap_ack_blocks:
            self._outbound.acknowledge_gaps(chunk, now)
        else:
            self._outbound.acknowledge(chunk.cumulative_tsn_ack, chunk.a_rwnd, now)

    def _handle_heartbeat(self, chunk: HeartbeatChunk, now: float) -> None:
        if self._peer is not None:
            self._chunks.append(HeartbeatAckChunk(chunk.value).serialize())

    def _handle_heartbeat_ack(self, chunk: HeartbeatAckChunk, now: float) -> None:
        raise NotImplementedError

    def _handle_abort(self, chunk: AbortChunk, now: float) -> None:
        # With our tag, but reflected: it would have to be the peer's (RFC 9260 section 8.5.1 B).
        if not chunk.flags & TAG_REFLECTED and self._state is not AssociationState.CLOSED:
            self._receive_abort(chunk)

    def _handle_shutdown(self, chunk: ShutdownChunk, now: float) -> None:
        self._receive_shutdown(chunk, now)

    def _handle_shutdown_ack(self, chunk: ShutdownAckChunk, now: float) -> None:
        self._receive_shutdown_ack(self._local_tag)

    def _handle_shutdown_complete(self, chunk: ShutdownCompleteChunk, now: float) -> None:
        if not chunk.flags & TAG_REFLECTED:
            self._receive_shutdown_complete()

    def _handle_error(self, chunk: ErrorChunk, now: float) -> None:
        self._receive_error(chunk, now)

    def _handle_cookie_echo(self, chunk: CookieEchoChunk, now: float) -> None:
        self._receive_cookie_echo(chunk, self._local_tag, now)

    def _handle_cookie_ack(self, chunk: CookieAckChunk, now: float) -> None:
        self._receive_cookie_ack(now)

    def _handle_reconfig(self, chunk: ReconfigChunk, now: float) -> None:
        if self._receives_data and self._reset is not None:
            self._reset.handle_chunk(chunk, now)

    def _handle_forward_tsn(self, chunk: ForwardTsnChunk, now: float) -> None:
        """It is acknowledged as a DATA chunk is (RFC 3758 section 3.6)."""
        if self._receives_data:
            self._inbound.skip(chunk)
            self._inbound.packets_since_sack += 1
            self._data_received(0, now)


_HANDLERS: dict[type[Chunk], Callable[..., None]] = {
    DataChunk: Reception._handle_data,
    InitChunk: Reception._handle_init_ack,
    SackChunk: Reception._handle_sack,
    HeartbeatChunk: Reception._handle_heartbeat,
    AbortChunk: Reception._handle_abort,
    ShutdownChunk: Reception._handle_shutdown,
    ShutdownAckChunk: Reception._handle_shutdown_ack,
    ShutdownCompleteChunk: Reception._handle_shutdown_complete,
    ErrorChunk: Reception._handle_error,
    CookieEchoChunk: Reception._handle_cookie_echo,
    CookieAckChunk: Reception._handle_cookie_ack,
    ReconfigChunk: Reception._handle_reconfig,
    ForwardTsnChunk: Reception._handle_forward_tsn,
    HeartbeatAckChunk: lambda self, chunk, now: self._handle_heartbeat_ack(chunk, now),
}
