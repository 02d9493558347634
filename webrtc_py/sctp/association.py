"""One SCTP association over DTLS, without sockets or clocks (RFC 9260, RFC 8261)."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InvalidAccessError, InvalidStateError
from ..train import MAX_TRAIN_LENGTH, MAX_TRAIN_SEGMENTS, Train
from .chunk import HeartbeatAckChunk, HeartbeatChunk
from .events import AssociationEvent
from .lifecycle import (
    ASSOCIATION_MAX_RETRANSMISSIONS,
    CONNECTING,
    AssociationConfig,
    AssociationState,
    Deadline,
)
from .packet import HEADER_SIZE, build_packet
from .parameter import HEARTBEAT_INFO, Parameter
from .reception import Reception
from .send_queue import Message

__all__ = ["Association", "AssociationConfig", "AssociationState", "AssociationStats"]

logger = logging.getLogger(__name__)

# HB.interval (RFC 9260 section 16), in seconds.
HEARTBEAT_INTERVAL = 30.0

# RFC 9260 section 6.1 D recommends Max.Burst, 4 packets, against floods after the window opened by much at once. It
# dates from before segmentation offload, where a train is the smallest send that is not a waste. Here it is four of the
# longest, in bytes: a socket's receive buffer holds that, and the next is under way while the peer works on the last.
# What the windows allow beyond it goes out a moment later, or with the next SACK.
MAX_BURST = 1 << 18
_BURST_PAUSE = 0.001

# Control chunks that take more than this go out in packets of their own: data would hardly fit beside them.
_LONGEST_PREFIX = 256

_HEARTBEAT = struct.Struct("!LL")


@dataclass(frozen=True, slots=True)
class AssociationStats:
    """Figures for webrtc-stats: sizes in bytes, times in seconds, packets as DTLS takes them."""

    congestion_window: int
    receiver_window: int
    smoothed_round_trip_time: float | None
    mtu: int
    unacknowledged_data: int
    packets_sent: int
    packets_received: int
    packets_dropped: int
    bytes_sent: int
    bytes_received: int
    retransmissions: int


class Association(Reception):
    """A sans-IO engine with the five verbs of ``runtime.driver.Engine``.

    ``verification_tag`` (not 0), ``initial_tsn`` (32 bits) and ``cookie_key`` (32 bytes) are random values. Trains are
    made in ``built``, which others may use in turns.
    """

    def __init__(
        self, *, config: AssociationConfig, verification_tag: int, initial_tsn: int, cookie_key: bytes, built: bytearray
    ) -> None:
        if not 0 < verification_tag <= 0xFFFFFFFF:
            raise InvalidAccessError(f"a verification tag is 1 to 4294967295, not {verification_tag}")
        super().__init__(config, verification_tag, initial_tsn, cookie_key, built)
        self._view = memoryview(built)
        self._heartbeat: tuple[bytes, float] | None = None
        self._heartbeats = 0
        self._packets_sent = self._bytes_sent = 0

    # Commands.

    def send(
        self,
        stream_id: int,
        ppid: int,
        data: bytes | bytearray | memoryview,
        now: float,
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        counted: bool = True,
        priority: int = 256,
    ) -> None:
        """Queue a message, which must have at least one byte; ``data`` belongs to the association from now on.

        ``max_retransmits`` or ``lifetime`` (in seconds from now) make it partially reliable (RFC 7496, RFC 3758).
        ``counted`` messages count into the buffered amount. ``priority`` is the message's weight in its turn among the
        streams (RFC 8831 section 6.4). InvalidStateError when the association, or the stream, is being closed.
        """
        if not self._queues_data:
            raise InvalidStateError("the association is closed, or closing")
        if not 0 <= stream_id < self._outbound_streams:
            raise InvalidAccessError(f"a stream id is 0 to {self._outbound_streams - 1} here, not {stream_id}")
        if not data:
            raise InvalidAccessError("SCTP cannot carry an empty message")
        queue = self._outbound.queue
        stream = queue.stream(stream_id)
        if stream.resetting:
            raise InvalidStateError(f"stream {stream_id} is being reset")
        expires = None if lifetime is None else now + lifetime
        queue.push(Message(stream, ppid, data, ordered, max_retransmits, expires, counted, max(priority, 1)))

    @property
    def accepts_data(self) -> bool:
        """Whether messages may be queued: until the association is being closed, by either side."""
        return self._queues_data

    def buffered_amount(self, stream_id: int) -> int:
        """Bytes of counted messages on a stream that were not sent for the first time yet."""
        stream = self._outbound.queue.streams.get(stream_id)
        return stream.buffered if stream is not None else 0

    @property
    def total_buffered_amount(self) -> int:
        return self._outbound.queue.buffered

    def set_buffered_amount_low_threshold(self, stream_id: int, threshold: int) -> None:
        """Report ``BufferedAmountLow`` when the stream's buffered amount falls to ``threshold`` from above it."""
        self._outbound.queue.stream(stream_id).low_threshold = threshold

    def reset_streams(self, stream_ids: list[int], now: float) -> None:
        """Close our direction of these streams once all that is queued on them is sent (RFC 6525).

        An association that is being closed ends all its streams anyway. InvalidStateError before it is established.
        """
        if self._reset is not None and self._state is AssociationState.ESTABLISHED:
            self._reset.request(stream_ids)
        elif self._queues_data:
            raise InvalidStateError("streams are reset on an established association")

    def consumed(self, size: int) -> None:
        """The application took messages of ``size`` bytes in all: the receive window opens by them."""
        self._inbound.consumed(size)

    def set_path_changed(self, now: float, *, lost: bool) -> None:
        """The packets take another path from now on: nothing is known of its capacity (RFC 8261 section 6.1).

        ``lost`` says that what was under way on the old one will not arrive: it is sent again, or given up, at once.
        """
        self._outbound.reset_path(now, lost=lost)

    # Figures.

    @property
    def smoothed_round_trip_time(self) -> float | None:
        return self._outbound.round_trip_time.srtt

    @property
    def stats(self) -> AssociationStats:
        outbound = self._outbound
        return AssociationStats(
            congestion_window=outbound.congestion.cwnd,
            receiver_window=max(0, outbound.peer_rwnd),
            smoothed_round_trip_time=outbound.round_trip_time.srtt,
            mtu=outbound.packet_size,
            unacknowledged_data=len(outbound.rtx.chunks),
            packets_sent=self._packets_sent,
            packets_received=self._packets_received,
            packets_dropped=self._packets_dropped + self._inbound.dropped,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            retransmissions=outbound.retransmissions,
        )

    # The five verbs.

    def handle_timeout(self, now: float) -> None:
        outbound = self._outbound
        due = [deadline for deadline, when in self._deadlines.items() if when <= now]
        for deadline in due:
            if self._deadlines.pop(deadline, None) is not None:
                self._handle_deadline(deadline, now)
        if outbound.retransmit_at is not None and outbound.retransmit_at <= now:
            logger.debug("SCTP association %08x: T3-rtx went off", self._local_tag)
            outbound.handle_timeout(now)
        reset = self._reset
        if reset is not None and reset.retransmit_at is not None and reset.retransmit_at <= now:
            reset.handle_timeout()
        if outbound.errors > ASSOCIATION_MAX_RETRANSMISSIONS:
            self._fail(f"the peer acknowledged nothing for {outbound.errors} timeouts")

    def _handle_deadline(self, deadline: Deadline, now: float) -> None:
        if deadline in (Deadline.INIT, Deadline.COOKIE):
            self._handshake_timeout(deadline, now)
        elif deadline is Deadline.SHUTDOWN:
            self._shutdown_timeout(now)
        elif deadline is Deadline.ACKNOWLEDGE:
            self._inbound.acknowledge_now = self._inbound.packets_since_sack > 0
        elif deadline is Deadline.HEARTBEAT:
            self._heartbeat_timeout(now)
        elif deadline is Deadline.PATH_MTU:
            self._outbound.path_mtu.lost(now)

    def next_timeout(self) -> float | None:
        if self._ended:
            return None
        due = min(self._deadlines.values(), default=None)
        retransmit_at = self._outbound.retransmit_at
        if retransmit_at is not None and (due is None or retransmit_at < due):
            due = retransmit_at
        if self._reset is not None:
            retransmit_at = self._reset.retransmit_at
            if retransmit_at is not None and (due is None or retransmit_at < due):
                due = retransmit_at
        return due

    def events(self) -> list[AssociationEvent]:
        events = self._events[:]
        self._events.clear()
        return events

    def datagrams_to_send(self, now: float) -> Iterator[Train]:
        """The packets that may be sent now, in trains. A train is valid until the next is asked for."""
        while self._packets:
            yield self._packet(self._packets.pop(0))
        if self._ended or self._peer is None or self._state in CONNECTING:
            return
        if self._sacks:
            yield from self._sack_trains()
        yield from self._data_trains(now)
        if self._outbound.congestion.fully_used and self._state is AssociationState.ESTABLISHED:
            yield from self._path_mtu_probe(now)

    # Sending.

    def _train(self, length: int, segment: int) -> Train:
        """The first ``length`` bytes of the buffer, as packets of ``segment`` bytes."""
        self._packets_sent += -(-length // segment)
        self._bytes_sent += length
        return Train(self._view[:length], segment)

    def _sack_trains(self) -> Iterator[Train]:
        """The SACKs for all but the last packets that arrived, those of one size in one train."""
        sacks, self._sacks = self._sacks, []
        view, length, segment = self._view, 0, 0
        for sack in sacks:
            packet = self._build_control([sack.serialize()])
            room = MAX_TRAIN_LENGTH - segment * MAX_TRAIN_SEGMENTS
            if length and (len(packet) != segment or length >= segment * MAX_TRAIN_SEGMENTS or length > room):
                yield self._train(length, segment)
                length = 0
            segment = len(packet)
            view[length : length + segment] = packet
            length += segment
        if length:
            yield self._train(length, segment)

    def _data_trains(self, now: float) -> Iterator[Train]:
        outbound, rtx = self._outbound, self._outbound.rtx
        budget = MAX_BURST // outbound.packet_size
        while budget > 0:
            chunks = self._take_control(now)
            prefix = b"".join(chunks)
            if len(prefix) > _LONGEST_PREFIX or (prefix and rtx.has_marked):
                yield from self._control_packets(chunks)
                prefix = b""
            length = segment = 0
            if self._sends_data:
                if rtx.has_marked:
                    # RFC 9260 section 6.1 C: they come first.
                    length = segment = outbound.build_retransmission(now)
                if not rtx.has_marked and not length:
                    length, segment = outbound.build_train(prefix, now, budget)
                    prefix = b"" if length else prefix
            if prefix:
                yield from self._control_packets(chunks)
            if length:
                budget -= -(-length // segment)
                yield self._train(length, segment)
            elif not outbound.forward_tsn_due and not self._advance_shutdown(now):
                return
        self._deadlines[Deadline.BURST] = now + _BURST_PAUSE

    def _take_control(self, now: float) -> list[bytes]:
        """The control chunks that are due. A COOKIE ACK stands first among them."""
        chunks, self._chunks = self._chunks, []
        inbound, outbound = self._inbound, self._outbound
        owed = inbound.packets_since_sack
        if (
            inbound.acknowledge_now
            or owed >= 2
            or inbound.wants_window_update
            or (owed and self._sends_data and outbound.can_send)
        ):
            self._deadlines.pop(Deadline.ACKNOWLEDGE, None)
            chunks.append(inbound.take_sack(self._config.packet_size - HEADER_SIZE).serialize())
        if self._reset is not None and self._sends_data:
            reconfig = self._reset.take_chunk(now)
            if reconfig is not None:
                chunks.append(reconfig.serialize())
        if outbound.forward_tsn_due:
            forward_tsn = outbound.take_forward_tsn(now)
            if forward_tsn is not None:
                chunks.append(forward_tsn.serialize())
        return chunks

    def _build_control(self, chunks: list[bytes]) -> bytes:
        assert self._peer is not None
        config = self._config
        return build_packet(
            config.local_port,
            config.remote_port,
            self._peer.tag,
            chunks,
            checksum=not self._outbound.zero_checksum,
        )

    def _control_packets(self, chunks: list[bytes]) -> Iterator[Train]:
        """Control chunks in packets of their own, as few as may be (RFC 9260 section 6.10)."""
        room = self._config.packet_size - HEADER_SIZE
        first = size = 0
        for index, chunk in enumerate(chunks):
            if size and size + len(chunk) > room:
                yield self._packet(self._build_control(chunks[first:index]))
                first, size = index, 0
            size += len(chunk)
        yield self._packet(self._build_control(chunks[first:]))

    def _packet(self, packet: bytes) -> Train:
        self._packets_sent += 1
        self._bytes_sent += len(packet)
        return Train.of(packet)

    def _path_mtu_probe(self, now: float) -> Iterator[Train]:
        """A probe for larger packets, while there is more to send than the window allows: else nobody would gain."""
        outbound = self._outbound
        probe = outbound.path_mtu.take_probe(now)
        if probe is not None:
            self._deadlines[Deadline.PATH_MTU] = now + outbound.path_mtu.probe_timeout(outbound.round_trip_time.rto)
            yield self._packet(self._build_control(probe))

    # Heartbeats (RFC 9260 section 8.3).

    def _on_established(self, now: float) -> None:
        self._expect_own_tag()
        queue = self._outbound.queue
        for stream_id in [stream_id for stream_id in queue.streams if stream_id >= self._outbound_streams]:
            logger.warning("SCTP: the peer has only %d streams, there is no %d", self._outbound_streams, stream_id)
            queue.drop_stream(stream_id)
        self._arm_heartbeat(now)

    def _arm_heartbeat(self, since: float) -> None:
        rto = self._outbound.round_trip_time.rto
        # The jitter is half an RTO either way; the tag is as random as it needs to be.
        jitter = rto * ((self._local_tag & 0xFF) / 255 - 0.5)
        self._deadlines[Deadline.HEARTBEAT] = since + HEARTBEAT_INTERVAL + rto + jitter

    def _heartbeat_timeout(self, now: float) -> None:
        outbound = self._outbound
        if self._state is not AssociationState.ESTABLISHED:
            return
        if outbound.last_sent is not None and now - outbound.last_sent < HEARTBEAT_INTERVAL:
            self._arm_heartbeat(outbound.last_sent)
            return
        if self._heartbeat is not None:
            outbound.round_trip_time.back_off()
        # Counted as an error until it is answered (the implementation note of section 8.3).
        outbound.errors += 1
        self._heartbeats += 1
        info = _HEARTBEAT.pack(self._heartbeats & 0xFFFFFFFF, self._local_tag)
        self._heartbeat = info, now
        self._chunks.append(HeartbeatChunk(Parameter(HEARTBEAT_INFO, info).serialize()).serialize())
        self._arm_heartbeat(now)

    def _handle_heartbeat_ack(self, chunk: HeartbeatAckChunk, now: float) -> None:
        if self._outbound.path_mtu.acknowledged(chunk.value):
            self._deadlines.pop(Deadline.PATH_MTU, None)
            self._outbound.use_path_mtu()
            return
        if self._heartbeat is None or chunk.value != Parameter(HEARTBEAT_INFO, self._heartbeat[0]).serialize():
            return
        self._outbound.round_trip_time.measure(now - self._heartbeat[1])
        self._heartbeat = None
        self._outbound.errors = 0
