"""The sending half: messages become DATA chunks in packets, as the windows allow, until the peer has them.

RFC 9260 sections 6.1, 6.3, 6.9, 6.10 and 7.2; RFC 3758 section 3.5.
"""

from __future__ import annotations

from collections.abc import Callable

from crc32c import crc32c

from ..train import MAX_TRAIN_LENGTH, MAX_TRAIN_SEGMENTS
from .chunk import BEGINNING, DATA, DATA_HEADER, DATA_HEADER_SIZE, END, IMMEDIATE, ForwardTsnChunk, SackChunk
from .congestion import CongestionWindow, RoundTripTime
from .events import AssociationEvent
from .packet import HEADER_SIZE, HEADER_WORDS, checksum_seed, padded
from .path_mtu import PathMtu
from .retransmission import RetransmissionQueue
from .send_queue import Message, SendQueue

_TSN_MASK = 0xFFFFFFFF
_TSN_HALF = 0x80000000
_PADDING = (b"", b"\0", b"\0\0", b"\0\0\0")

# Room that is left for each packet of a train: DTLS's record header, nonce and tag, and what a TURN channel adds.
_TRAIN_OVERHEAD = 64

# A message that needs several packets anyway may begin in what is left of a packet, if that is not too little: a full
# packet keeps the train whole, which is worth more than the chunk header that it costs.
_SMALLEST_FRAGMENT = 128

# How many streams a FORWARD TSN may name and still fit into the smallest packet beside a SACK.
_MAX_SKIPPED_STREAMS = 256


class ProtocolViolationError(Exception):
    """The peer did what no peer may (RFC 9260 section 3.3.10.13); the association is aborted."""


class Outbound:
    """``packet_size`` is the largest packet that the path is known to carry, ``chunk_data`` the most data in a chunk.

    The latter belongs to the smallest packet, which every path carries. A chunk cannot be cut again once it has a TSN
    (RFC 9260 section 6.9), so larger packets take several chunks: whatever becomes of the path, all that is
    outstanding can be sent again in packets that fit.
    """

    __slots__ = (
        "_addressing",
        "_advertised",
        "_base_packet_size",
        "_buffer",
        "_fast_retransmit_due",
        "_forward_tsn_sent",
        "_largest_packet_size",
        "_last_chunk",
        "_rtt_sent",
        "_rtt_tsn",
        "_sacked_since_timeout",
        "_seed",
        "_view",
        "chunk_data",
        "congestion",
        "errors",
        "forward_tsn",
        "forward_tsn_due",
        "last_sent",
        "packet_size",
        "path_mtu",
        "peer_rwnd",
        "queue",
        "retransmissions",
        "retransmit_at",
        "round_trip_time",
        "rtx",
        "shutting_down",
        "zero_checksum",
    )

    def __init__(
        self,
        buffer: bytearray,
        packet_size: int,
        largest_packet_size: int,
        initial_tsn: int,
        emit: Callable[[AssociationEvent], None],
    ) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._base_packet_size = self.packet_size = packet_size
        self._largest_packet_size = largest_packet_size
        self.path_mtu = PathMtu(packet_size, packet_size)
        self.chunk_data = (packet_size - HEADER_SIZE - DATA_HEADER_SIZE) & ~3
        self.queue = SendQueue(emit)
        self.rtx = RetransmissionQueue(initial_tsn)
        self.round_trip_time = RoundTripTime()
        self.congestion = CongestionWindow(packet_size - HEADER_SIZE, 0)
        self.shutting_down = False
        self.errors = 0
        """Timeouts in a row without any acknowledgement between them (RFC 9260 section 8.1)."""
        self.retransmit_at: float | None = None
        """When T3-rtx goes off. It times the probes of a closed window, too."""
        self.retransmissions = 0
        self._addressing = self._seed = self._last_chunk = 0
        self._advertised = self.peer_rwnd = 0
        self.forward_tsn = self.zero_checksum = False
        self._sacked_since_timeout = False
        self._fast_retransmit_due = False
        self.forward_tsn_due = False
        self._forward_tsn_sent = 0.0
        self._rtt_tsn: int | None = None
        self._rtt_sent = 0.0
        self.last_sent: float | None = None

    def open(
        self, addressing: bytes, a_rwnd: int, *, forward_tsn: bool, zero_checksum: bool, large_packets: bool
    ) -> None:
        """The peer is known: the ports and its tag, its receive window, what it understands."""
        self._addressing = int.from_bytes(addressing, "little")
        self._seed = checksum_seed(addressing)
        self._advertised = self.peer_rwnd = a_rwnd
        # "Arbitrarily high" (RFC 9260 section 7.2.1): more than the peer's window is never outstanding.
        self.congestion.ssthresh = a_rwnd
        self.forward_tsn = forward_tsn
        self.zero_checksum = zero_checksum
        largest = self._largest_packet_size if large_packets else self._base_packet_size
        self.path_mtu = PathMtu(self._base_packet_size, largest)

    @property
    def idle(self) -> bool:
        """Whether all data was sent and acknowledged."""
        return not self.rtx.chunks and not self.queue

    @property
    def can_send(self) -> bool:
        """Whether data is likely to go out now."""
        return bool(self.queue) and self.rtx.flight < self.congestion.cwnd

    def use_path_mtu(self) -> None:
        """Path MTU discovery came to another result."""
        self.packet_size = self.path_mtu.size
        self.congestion.pmdcs = self.packet_size - HEADER_SIZE

    def reset_path(self, now: float, *, lost: bool) -> None:
        """Another path: what was learnt of the old one does not hold for it (RFC 9260 section 7.2.5.2)."""
        self.path_mtu.fall_back(now)
        self.packet_size = self._base_packet_size
        self.congestion = CongestionWindow(self.packet_size - HEADER_SIZE, self._advertised)
        self.round_trip_time = RoundTripTime()
        self._rtt_tsn = None
        # Timeouts count on the path that they happened on. They come faster again now, and the path may change often.
        self.errors = 0
        if lost and self.rtx.chunks:
            # Waiting for it would only take time.
            self.rtx.mark_all()
            self.peer_rwnd = self._advertised
            self.retransmit_at = None
            self._give_up_marked(now)

    # Sending.

    def build_train(self, prefix: bytes, now: float, max_packets: int) -> tuple[int, int]:
        """Write packets of one size, as many as may be sent now, the control chunks of ``prefix`` in the first.

        Returns the train's length and the size of its packets; (0, 0) when no new data may be sent.
        """
        rtx, congestion = self.rtx, self.congestion
        message = self.queue.select(now)
        if message is None:
            congestion.fully_used = False
            return 0, 0
        if rtx.flight >= congestion.cwnd:
            congestion.fully_used = True
            return 0, 0
        if message.expires is not None and message.sent and now >= message.expires and self.forward_tsn:
            self._abandon(message, rtx.next_tsn - 1)
            return self.build_train(prefix, now, max_packets)
        if rtx.flight == 0 and self.last_sent is not None:
            idle = int((now - self.last_sent) / self.round_trip_time.rto)
            if idle:
                congestion.idle(idle)
        first = rtx.next_tsn
        length, segment = self._build_packets(message, prefix, now, max_packets)
        if length:
            congestion.fully_used = rtx.flight >= congestion.cwnd
            self.last_sent = now
            if self._rtt_tsn is None:
                self._rtt_tsn, self._rtt_sent = first, now
            if segment > self._base_packet_size:
                self.path_mtu.large_packet_sent(first)
        if self.retransmit_at is None:
            # T3-rtx runs while anything is outstanding (RFC 9260 section 6.3.2, R1). With nothing outstanding and the
            # peer's window closed, it is what the first probe of the window waits for (section 6.1 A).
            self.retransmit_at = now + self.round_trip_time.rto
        return length, segment

    def _build_packets(self, message: Message | None, prefix: bytes, now: float, packets: int) -> tuple[int, int]:
        buffer, view, queue, rtx, cwnd = self._buffer, self._view, self.queue, self.rtx, self.congestion.cwnd
        limit = self.packet_size
        packets = min(packets, MAX_TRAIN_SEGMENTS, MAX_TRAIN_LENGTH // (limit + _TRAIN_OVERHEAD))
        start = segment = 0
        while packets and message is not None:
            position = start + HEADER_SIZE
            if segment:
                if segment < limit:
                    size = min(message.length - message.sent, self.chunk_data)
                    if HEADER_SIZE + DATA_HEADER_SIZE + padded(size) > segment:
                        # Longer than the train's packets are: it begins the next train.
                        break
                    limit = segment
            elif prefix:
                view[position : position + len(prefix)] = prefix
                position += len(prefix)
            end = self._fill(message, position, start + limit, now)
            if end == position:
                break
            if rtx.flight >= cwnd or self.shutting_down:
                # Nothing more can be sent before the SACK comes (RFC 9260 section 6.1, I bit).
                buffer[self._last_chunk + 1] |= IMMEDIATE
            checksum = 0 if self.zero_checksum else crc32c(view[start + HEADER_SIZE : end], self._seed)
            HEADER_WORDS.pack_into(buffer, start, self._addressing, checksum)
            packets -= 1
            size = end - start
            start = end
            if not segment:
                segment = size
            message = queue.current
            if size < segment or rtx.flight >= cwnd:
                break
            if message is None:
                message = queue.select(now)
        if message is not None:
            queue.account(message)
        return start, segment

    def _fill(self, message: Message | None, start: int, end: int, now: float) -> int:
        """Write DATA chunks of new data between two offsets; returns where they end."""
        buffer, view, queue, rtx = self._buffer, self._view, self.queue, self.rtx
        chunk_data, rwnd = self.chunk_data, self.peer_rwnd
        position = start
        while message is not None:
            offset = message.sent
            size = message.length - offset
            if size > chunk_data:
                size = chunk_data
            room = end - position - DATA_HEADER_SIZE
            if size > room:
                if position != start and (room < _SMALLEST_FRAGMENT or message.length <= chunk_data):
                    break
                size = room & ~3
            if size > rwnd:
                if rtx.flight or rwnd <= 0:
                    break
                # A window smaller than a chunk: with nothing under way, waiting would not make it larger.
                size = rwnd
            stop = offset + size
            flags = message.flags
            if not offset:
                flags |= BEGINNING
                if not message.flags:
                    message.ssn = message.stream.next_ssn
                    message.stream.next_ssn = (message.ssn + 1) & 0xFFFF
            if stop == message.length:
                flags |= END
            tsn = rtx.next_tsn
            DATA_HEADER.pack_into(
                buffer, position, DATA, flags, size + DATA_HEADER_SIZE, tsn & _TSN_MASK,
                message.stream.id, message.ssn, message.ppid,
            )  # fmt: skip
            self._last_chunk = position
            position += DATA_HEADER_SIZE
            view[position : position + size] = message.data if size == message.length else message.data[offset:stop]
            position += size
            total = size + DATA_HEADER_SIZE
            if size & 3:
                padding = _PADDING[-size & 3]
                view[position : position + len(padding)] = padding
                position += len(padding)
                total += len(padding)
            rtx.chunks.append((message, offset, stop, total))
            rtx.next_tsn = tsn + 1
            rtx.flight += total
            rwnd -= total
            message.sent = stop
            if stop < message.length:
                if end - position < DATA_HEADER_SIZE + _SMALLEST_FRAGMENT:
                    break
            else:
                queue.account(message)
                queue.current = None
                if end - position <= DATA_HEADER_SIZE:
                    break
                message = queue.select(now)
        self.peer_rwnd = rwnd
        return position

    def build_retransmission(self, now: float) -> int:
        """Write one packet of chunks that are marked for it, lowest TSN first, if it may be sent; returns its length.

        It is a packet of the smallest size, lest it be lost again for being large.
        """
        rtx, view = self.rtx, self._view
        if not self._fast_retransmit_due and rtx.flight >= self.congestion.cwnd:
            self.congestion.fully_used = True
            return 0
        position = HEADER_SIZE
        while (marked := rtx.next_marked()) is not None:
            tsn, (message, offset, stop, total) = marked
            if message.expires is not None and now >= message.expires and self.forward_tsn:
                self._abandon(message, tsn)
                continue
            if position + total > self._base_packet_size:
                break
            flags = message.flags
            if not offset:
                flags |= BEGINNING
            if stop == message.length:
                flags |= END
            DATA_HEADER.pack_into(
                self._buffer, position, DATA, flags, stop - offset + DATA_HEADER_SIZE, tsn & _TSN_MASK,
                message.stream.id, message.ssn, message.ppid,
            )  # fmt: skip
            self._last_chunk = position
            end = position + DATA_HEADER_SIZE + stop - offset
            view[position + DATA_HEADER_SIZE : end] = message.data[offset:stop]
            position += total
            view[end:position] = _PADDING[position - end]
            rtx.resend(tsn)
            self.retransmissions += 1
            if self._rtt_tsn is not None and tsn <= self._rtt_tsn:
                # Karn: what is acknowledged now could be either transmission (RFC 9260 section 6.3.1, C5).
                self._rtt_tsn = None
            if tsn == rtx.cumulative + 1 or self.retransmit_at is None:
                self.retransmit_at = now + self.round_trip_time.rto
        self._fast_retransmit_due = False
        if position == HEADER_SIZE:
            return 0
        self.last_sent = now
        self.congestion.fully_used = rtx.flight >= self.congestion.cwnd
        if self.congestion.fully_used:
            self._buffer[self._last_chunk + 1] |= IMMEDIATE
        checksum = 0 if self.zero_checksum else crc32c(view[HEADER_SIZE:position], self._seed)
        HEADER_WORDS.pack_into(self._buffer, 0, self._addressing, checksum)
        return position

    # What the peer says.

    def acknowledge(self, cumulative: int, a_rwnd: int, now: float) -> None:
        """A SACK without gap ack blocks. ProtocolViolationError when it acknowledges what was never sent."""
        if self.acknowledge_cumulative(cumulative, now):
            if self.rtx.has_gaps:
                self.rtx.report_gaps([])
            self._sacked(a_rwnd, now)

    def acknowledge_cumulative(self, cumulative: int, now: float) -> bool:
        """A cumulative TSN ack alone, as SHUTDOWN has it too. False when it is older than another."""
        rtx = self.rtx
        count = (cumulative - rtx.cumulative) & _TSN_MASK
        if not count:
            return True
        if count > len(rtx.chunks):
            if count >= _TSN_HALF:
                return False
            raise ProtocolViolationError(f"the TSN {cumulative} is acknowledged, but was never sent")
        self._advanced(rtx.acknowledge(count), now)
        return True

    def acknowledge_gaps(self, sack: SackChunk, now: float) -> None:
        """A SACK with gap ack blocks (RFC 9260 sections 6.2.1 and 7.2.4). As a whole it counts or is dropped."""
        rtx = self.rtx
        count = (sack.cumulative_tsn_ack - rtx.cumulative) & _TSN_MASK
        if count >= _TSN_HALF:
            return
        point = rtx.cumulative + count
        previous = point
        blocks = []
        for start, end in sack.gap_ack_blocks:
            if start > end or point + start <= previous:
                return
            previous = point + end
            blocks.append((point + start, previous))
        if previous >= rtx.next_tsn:
            raise ProtocolViolationError(f"the TSN {previous & _TSN_MASK} is acknowledged, but was never sent")
        acked = rtx.acknowledge(count) if count else 0
        newly_acked, highest = rtx.report_gaps(blocks)
        congestion = self.congestion
        in_recovery = congestion.recovery_exit is not None
        if count:
            self._advanced(acked + newly_acked, now)
        elif newly_acked:
            self.errors = 0
            congestion.grow(newly_acked, all_acked=False)
        lost, lost_again = rtx.count_misses(highest, all_missing=in_recovery and count > 0)
        if lost is not None:
            sample = self.path_mtu.sample
            if sample is not None and rtx.is_marked(sample) and self.path_mtu.sample_lost(now):
                self.use_path_mtu()
            self._give_up_marked(now)
            if congestion.recovery_exit is None or lost_again:
                congestion.enter_recovery(rtx.next_tsn - 1)
                # One packet goes out at once, whatever the window says (RFC 9260 section 7.2.4, 3).
                self._fast_retransmit_due = True
        self._sacked(sack.a_rwnd, now)

    def _advanced(self, acked: int, now: float) -> None:
        """The cumulative TSN ack moved on."""
        rtx, congestion = self.rtx, self.congestion
        self.errors = 0
        cumulative = rtx.cumulative
        if self._rtt_tsn is not None and cumulative >= self._rtt_tsn:
            self.round_trip_time.measure(now - self._rtt_sent)
            self._rtt_tsn = None
        if self.path_mtu.sample is not None:
            self.path_mtu.data_acknowledged(cumulative)
        congestion.grow(acked, all_acked=not rtx.chunks)
        if congestion.recovery_exit is not None and cumulative >= congestion.recovery_exit:
            congestion.recovery_exit = None
        # RFC 9260 section 6.3.2, R2 and R3.
        self.retransmit_at = now + self.round_trip_time.rto if rtx.chunks else None

    def _sacked(self, a_rwnd: int, now: float) -> None:
        rtx = self.rtx
        self._sacked_since_timeout = True
        self._advertised = a_rwnd
        self.peer_rwnd = a_rwnd - rtx.flight
        if not rtx.chunks:
            self.retransmit_at = None
        elif rtx.has_abandoned:
            # RFC 3758 section 3.5, C3, but not more than once a round trip for the same loss.
            srtt = self.round_trip_time.srtt
            if now - self._forward_tsn_sent >= (srtt if srtt is not None else self.round_trip_time.rto):
                self.forward_tsn_due = True

    def handle_timeout(self, now: float) -> None:
        """T3-rtx went off (RFC 9260 section 6.3.3), or it is time to probe a closed window (section 6.1 A)."""
        rtx = self.rtx
        self.retransmit_at = None
        window_closed = self._advertised < self.chunk_data and self._sacked_since_timeout
        self._sacked_since_timeout = False
        self.round_trip_time.back_off()
        if not rtx.chunks:
            self.peer_rwnd = self.chunk_data
            self._sacked_since_timeout = True
            return
        if not window_closed:
            self.errors += 1
            self.path_mtu.retransmission_timed_out(now)
            self.use_path_mtu()
            self.congestion.timeout()
        self._rtt_tsn = None
        rtx.mark_all()
        self.peer_rwnd = self._advertised
        self._give_up_marked(now)
        self.forward_tsn_due = rtx.has_abandoned
        if not rtx.has_marked:
            self.retransmit_at = now + self.round_trip_time.rto

    # Partial reliability (RFC 3758, RFC 7496).

    def _give_up_marked(self, now: float) -> None:
        """Abandon the messages that were lost once too often, or too late."""
        if self.forward_tsn:
            for tsn in self.rtx.marked_with_limits(now):
                if self.rtx.is_marked(tsn):
                    self._abandon(self.rtx.message(tsn), tsn)

    def _abandon(self, message: Message, tsn: int) -> None:
        if self._rtt_tsn is not None and tsn <= self._rtt_tsn:
            # What is acknowledged next may be the FORWARD TSN, and not what was timed.
            self._rtt_tsn = None
        self.rtx.abandon(message, tsn)
        self.queue.forget(message)
        self.forward_tsn_due = True

    def take_forward_tsn(self, now: float) -> ForwardTsnChunk | None:
        """The FORWARD TSN that is due, if one is."""
        if not self.forward_tsn_due:
            return None
        self.forward_tsn_due = False
        point, streams = self.rtx.advanced_ack_point(_MAX_SKIPPED_STREAMS)
        if point == self.rtx.cumulative:
            return None
        self._forward_tsn_sent = now
        if self.retransmit_at is None:
            self.retransmit_at = now + self.round_trip_time.rto
        return ForwardTsnChunk(point & _TSN_MASK, tuple(streams.items()))
