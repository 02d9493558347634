"""The receiving half: DATA chunks become messages, and SACKs tell the peer what is here.

RFC 9260 sections 6.2, 6.5 to 6.7 and 6.9; RFC 3758 section 3.6.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from ..serial import diff32, gt16
from .chunk import BEGINNING, END, SACK_FIXED_SIZE, UNORDERED, ForwardTsnChunk, SackChunk
from .events import AssociationEvent, MessageReceived

_TSN_MASK = 0xFFFFFFFF

# How far beyond the cumulative TSN a chunk may be: a gap ack block has 16 bits to say so.
_MAX_GAP_OFFSET = 0xFFFF

# What a message costs beside its bytes, as the receive window counts it. Without it a peer could fill the memory with
# messages of a byte each.
_MESSAGE_OVERHEAD = 64

# The same for fragments that wait for those between them, a share for each run of them: it is what one takes here.
_RUN_OVERHEAD = 1024

# Duplicates reported in one SACK. They are a hint to the sender, no more (RFC 9260 section 6.2).
_MAX_DUPLICATES = 16


class MessageTooLargeError(Exception):
    """The peer sends a message that is larger than we said we take."""


class _Run:
    """Fragments of one message with consecutive TSNs, ``first`` to ``last``."""

    __slots__ = ("begins", "ends", "first", "last", "pieces", "ppid", "size", "ssn", "stream_id", "unordered")

    def __init__(self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, piece: bytes) -> None:
        self.first = self.last = tsn
        self.begins = bool(flags & BEGINNING)
        self.ends = bool(flags & END)
        self.unordered = bool(flags & UNORDERED)
        self.stream_id = stream_id
        self.ssn = ssn
        self.ppid = ppid
        self.pieces = deque((piece,))
        self.size = len(piece)

    def continues(self, other: _Run) -> bool:
        """Whether this run and ``other``, whose last TSN comes just before it, are parts of one message."""
        return (
            not other.ends
            and not self.begins
            and self.stream_id == other.stream_id
            and self.unordered == other.unordered
            and (self.unordered or self.ssn == other.ssn)
        )

    def join(self, later: _Run) -> _Run:
        """This run and the one after it as one. The shorter is added to the longer, so that no order is quadratic."""
        if len(self.pieces) >= len(later.pieces):
            self.pieces.extend(later.pieces)
            self.last, self.ends = later.last, later.ends
            self.size += later.size
            return self
        later.pieces.extendleft(reversed(self.pieces))
        later.first, later.begins, later.ppid = self.first, self.begins, self.ppid
        later.size += self.size
        return later


class Inbound:
    """``limit`` is the receive buffer in bytes: what is held for reassembly and order, and what the application has
    not consumed yet. TSNs are counted without wrapping around.
    """

    __slots__ = (
        "_by_first",
        "_by_last",
        "_deferred",
        "_delivered_bytes",
        "_delivered_messages",
        "_duplicates",
        "_emit",
        "_expected",
        "_gaps",
        "_held",
        "_limit",
        "_max_message_size",
        "_next_ssn",
        "_tail",
        "_used",
        "_usual",
        "_waiting",
        "acknowledge_now",
        "attention",
        "cumulative",
        "dropped",
        "gap_opened",
        "invalid_stream",
        "packets_since_sack",
        "released",
        "streams",
    )

    def __init__(self, limit: int, max_message_size: int, emit: Callable[[AssociationEvent], None]) -> None:
        # A message must fit into the buffer whole: there is no partial delivery.
        self._limit = max(limit, max_message_size)
        self._max_message_size = max_message_size
        self._emit = emit
        self.streams = 0
        self.dropped = 0
        self.invalid_stream: int | None = None
        """A stream number that the peer used and does not have; who reports it clears it."""
        self.acknowledge_now = False
        self.attention = False
        """Something other than data in order happened; who looks clears it."""
        self.gap_opened = False
        """A new gap appeared; who looks clears it."""
        self.packets_since_sack = 0
        self._expected = 0
        self.cumulative = 0
        self._used = 0
        self._delivered_bytes = self._delivered_messages = 0
        self.released = 0
        self.reset(0, 0)

    def reset(self, initial_tsn: int, streams: int) -> None:
        """Begin to receive, or begin anew when the peer did. What was delivered keeps its hold on the window."""
        self.streams = streams
        self.cumulative = initial_tsn - 1
        """The highest TSN that was received with all before it."""
        self._expected = initial_tsn
        self._usual = True
        """Whether nothing is missing and no reset is deferred."""
        self._gaps: list[list[int]] = []
        """First and last TSN of each block received beyond the cumulative TSN, in order."""
        self._duplicates: list[int] = []
        self._tail: _Run | None = None
        """The message whose last fragment so far is the cumulative TSN, while nothing is missing."""
        self._by_first: dict[int, _Run] = {}
        self._by_last: dict[int, _Run] = {}
        self._next_ssn: dict[int, int] = {}
        self._waiting: dict[int, dict[int, MessageReceived]] = {}
        self._deferred: tuple[int, frozenset[int]] | None = None
        """A reset that waits for data: the last TSN before it, and the streams (none for all)."""
        self._held: list[tuple[int, bool, MessageReceived]] = []
        self.packets_since_sack = 0
        self.acknowledge_now = False
        self._used = self._delivered_bytes + self._delivered_messages * _MESSAGE_OVERHEAD

    @property
    def in_order(self) -> bool:
        """Whether no TSN is missing."""
        return not self._gaps

    @property
    def is_deferring(self) -> bool:
        """Whether a reset waits for data that is missing."""
        return self._deferred is not None

    # Data.

    def receive(self, flags: int, tsn: int, stream_id: int, ssn: int, ppid: int, data: memoryview) -> None:
        """One DATA chunk. MessageTooLargeError when its message exceeds what we take."""
        size = len(data)
        if tsn != self._expected or not self._usual or self._used + size > self._limit or stream_id >= self.streams:
            self.attention = True
            self._receive_out_of_order(flags, tsn, stream_id, ssn, ppid, data)
            return
        self._expected = (tsn + 1) & _TSN_MASK
        self.cumulative += 1
        self._used += size
        tail = self._tail
        if flags & BEGINNING:
            if tail is not None:
                self._discard(tail)
                self._tail = None
            if flags & END:
                self._complete(flags & UNORDERED, ssn, MessageReceived(stream_id, ppid, bytes(data)))
            else:
                self._tail = _Run(self.cumulative, flags, stream_id, ssn, ppid, bytes(data))
            return
        if tail is None or tail.stream_id != stream_id or (tail.ssn != ssn and not flags & UNORDERED):
            # The middle of nothing: its beginning was skipped by a FORWARD TSN, or was never sent.
            self._used -= size
            self.dropped += 1
            return
        tail.pieces.append(bytes(data))
        tail.size += size
        if tail.size > self._max_message_size:
            raise MessageTooLargeError(f"a message on stream {stream_id} exceeds {self._max_message_size} bytes")
        if flags & END:
            self._tail = None
            message = MessageReceived(stream_id, tail.ppid, b"".join(tail.pieces))
            self._complete(flags & UNORDERED, ssn, message)

    def _receive_out_of_order(
        self, flags: int, tsn: int, stream_id: int, ssn: int, ppid: int, data: memoryview
    ) -> None:
        offset = diff32(tsn, self.cumulative & _TSN_MASK)
        position = self.cumulative + offset
        if offset <= 0 or self._is_in_gaps(position):
            self.acknowledge_now = True
            if len(self._duplicates) < _MAX_DUPLICATES:
                self._duplicates.append(tsn)
            return
        if offset > _MAX_GAP_OFFSET or not self._has_room(position, len(data)):
            self.acknowledge_now = True
            self.dropped += 1
            return
        self._leave_usual()
        self._register(position)
        if self._gaps:
            # While something is missing every packet is acknowledged at once (RFC 9260 section 6.7).
            self.acknowledge_now = True
        if stream_id < self.streams:
            self._used += len(data)
            self._assemble(_Run(position, flags, stream_id, ssn, ppid, bytes(data)))
        else:
            self.invalid_stream = stream_id
            self.dropped += 1
        self._advanced()

    def _has_room(self, position: int, size: int) -> bool:
        """Whether the window takes this chunk (RFC 9260 section 6.2).

        Beyond the window, a chunk that fills a gap is still taken, within reason: a peer that keeps to the window never
        comes near twice of it, and one that does not must not fill the memory.
        """
        used = self._used + len(self._by_first) * _RUN_OVERHEAD + size
        if used <= self._limit:
            return True
        fills_gap = bool(self._gaps) and position < self._gaps[-1][1]
        return fills_gap and used <= 2 * self._limit

    def _is_in_gaps(self, position: int) -> bool:
        gaps = self._gaps
        if not gaps or position > gaps[-1][1]:
            return False
        index = bisect_right(gaps, position, key=lambda block: block[0]) - 1
        return index >= 0 and position <= gaps[index][1]

    def _register(self, position: int) -> None:
        """Note a TSN as received."""
        gaps = self._gaps
        if position == self.cumulative + 1:
            self._move_to(position)
        elif not gaps or position > gaps[-1][1] + 1:
            gaps.append([position, position])
            self.gap_opened = True
        elif position == gaps[-1][1] + 1:
            gaps[-1][1] = position
        else:
            index = bisect_right(gaps, position, key=lambda block: block[0])
            joins_before = index > 0 and gaps[index - 1][1] == position - 1
            joins_after = gaps[index][0] == position + 1
            if joins_before and joins_after:
                gaps[index - 1][1] = gaps[index][1]
                del gaps[index]
            elif joins_before:
                gaps[index - 1][1] = position
            elif joins_after:
                gaps[index][0] = position
            else:
                gaps.insert(index, [position, position])

    def _move_to(self, position: int) -> None:
        """The cumulative TSN moves to ``position``, and on over what was received beyond it."""
        gaps = self._gaps
        count = 0
        for first, last in gaps:
            if first > position + 1:
                break
            position = max(position, last)
            count += 1
        del gaps[:count]
        self.cumulative = position
        self._expected = (position + 1) & _TSN_MASK

    def _assemble(self, run: _Run) -> None:
        """Join fragments with their neighbours; a message that is whole leaves."""
        before = self._by_last.get(run.first - 1)
        if before is not None and run.continues(before):
            self._remove(before)
            run = before.join(run)
        after = self._by_first.get(run.last + 1)
        if after is not None and after.continues(run):
            self._remove(after)
            run = run.join(after)
        if run.size > self._max_message_size:
            raise MessageTooLargeError(f"a message on stream {run.stream_id} exceeds {self._max_message_size} bytes")
        if not (run.begins and run.ends):
            self._by_first[run.first] = self._by_last[run.last] = run
            return
        message = MessageReceived(run.stream_id, run.ppid, b"".join(run.pieces))
        deferred = self._deferred
        if deferred is not None and run.first > deferred[0] and (not deferred[1] or run.stream_id in deferred[1]):
            # It belongs to the stream's next life (RFC 6525 section 5.2.2, E2).
            self._held.append((run.ssn, run.unordered, message))
        else:
            self._complete(run.unordered, run.ssn, message)

    def _advanced(self) -> None:
        """After a step that may have closed the last gap: go back to the short way."""
        if self._gaps or self._deferred is not None:
            return
        tail = self._by_last.get(self.cumulative)
        for run in self._by_first.values():
            # What cannot be completed any more is a peer's mistake, or the rest of what it skipped.
            if run is not tail:
                self._discard(run)
        self._by_first.clear()
        self._by_last.clear()
        self._tail = tail
        self._usual = True

    def _leave_usual(self) -> None:
        self._usual = False
        tail = self._tail
        if tail is not None:
            tail.last = self.cumulative
            self._by_first[tail.first] = self._by_last[tail.last] = tail
            self._tail = None

    def _remove(self, run: _Run) -> None:
        del self._by_first[run.first]
        del self._by_last[run.last]

    def _discard(self, run: _Run) -> None:
        self._used -= run.size
        self.dropped += 1

    # Messages.

    def _complete(self, unordered: int | bool, ssn: int, message: MessageReceived) -> None:
        """A whole message: deliver it, or let it wait for those before it (RFC 9260 section 6.6)."""
        self._used += _MESSAGE_OVERHEAD
        if unordered:
            self._deliver(message)
            return
        stream_id = message.stream_id
        expected = self._next_ssn.get(stream_id, 0)
        if ssn == expected:
            self._next_ssn[stream_id] = (ssn + 1) & 0xFFFF
            self._delivered_bytes += len(message.data)
            self._delivered_messages += 1
            self._emit(message)
            if self._waiting and stream_id in self._waiting:
                self._deliver_waiting(stream_id)
        elif gt16(ssn, expected) and ssn not in (waiting := self._waiting.setdefault(stream_id, {})):
            waiting[ssn] = message
        else:
            self._used -= len(message.data) + _MESSAGE_OVERHEAD
            self.dropped += 1

    def _deliver(self, message: MessageReceived) -> None:
        self._delivered_bytes += len(message.data)
        self._delivered_messages += 1
        self._emit(message)

    def _deliver_waiting(self, stream_id: int) -> None:
        waiting = self._waiting[stream_id]
        ssn = self._next_ssn.get(stream_id, 0)
        while (message := waiting.pop(ssn, None)) is not None:
            ssn = (ssn + 1) & 0xFFFF
            self._deliver(message)
        self._next_ssn[stream_id] = ssn
        if not waiting:
            del self._waiting[stream_id]

    def consumed(self, size: int) -> None:
        """The application took ``size`` bytes of messages: the window opens by them, and by their messages' share."""
        size = min(size, self._delivered_bytes)
        if not size:
            return
        if size == self._delivered_bytes:
            messages = self._delivered_messages
        else:
            messages = max(1, self._delivered_messages * size // self._delivered_bytes)
            messages = min(messages, self._delivered_messages)
        self._delivered_bytes -= size
        self._delivered_messages -= messages
        freed = size + messages * _MESSAGE_OVERHEAD
        self._used -= freed
        self.released += freed

    @property
    def wants_window_update(self) -> bool:
        """Whether the window grew by a quarter of the buffer since the last SACK (RFC 9260 section 6.2)."""
        return self.released * 4 >= self._limit

    # FORWARD TSN.

    def skip(self, chunk: ForwardTsnChunk) -> None:
        """The peer gave up what is missing up to a TSN (RFC 3758 section 3.6)."""
        offset = diff32(chunk.new_cumulative_tsn, self.cumulative & _TSN_MASK)
        if offset <= 0 or offset > _MAX_GAP_OFFSET:
            # Out of date, or beyond anything that can have been sent: the SACK tells the peer where we are.
            self.acknowledge_now = True
            return
        self._leave_usual()
        point = self.cumulative + offset
        for run in list(self._by_first.values()):
            lacks_beginning = not run.begins and run.first - 1 <= point
            lacks_more = not run.ends and run.last < point
            if lacks_beginning or lacks_more:
                self._remove(run)
                self._discard(run)
        self._move_to(point)
        if self._gaps:
            self.acknowledge_now = True
        for stream_id, ssn in chunk.streams:
            self._skip_ssn(stream_id, ssn)
        self._advanced()

    def _skip_ssn(self, stream_id: int, ssn: int) -> None:
        expected = self._next_ssn.get(stream_id, 0)
        if stream_id >= self.streams or not (ssn == expected or gt16(ssn, expected)):
            return
        waiting = self._waiting.get(stream_id)
        if waiting is not None:
            for passed in sorted(waiting, key=lambda number: (number - expected) & 0xFFFF):
                if gt16(passed, ssn):
                    break
                self._deliver(waiting.pop(passed))
        self._next_ssn[stream_id] = (ssn + 1) & 0xFFFF
        if waiting is not None:
            self._deliver_waiting(stream_id)

    # Resets by the peer.

    def defer_reset(self, last_tsn: int, streams: frozenset[int]) -> None:
        """Hold what arrives for these streams (all, when there are none) with a TSN beyond ``last_tsn``."""
        self._leave_usual()
        self._deferred = last_tsn, streams

    def reset_streams(self, stream_ids: tuple[int, ...]) -> None:
        """The streams begin anew at SSN 0, all when none is named."""
        for stream_id in stream_ids or {*self._next_ssn, *self._waiting}:
            self._next_ssn.pop(stream_id, None)
            for message in self._waiting.pop(stream_id, {}).values():
                self._used -= len(message.data) + _MESSAGE_OVERHEAD
                self.dropped += 1

    def end_deferral(self) -> None:
        """The deferred reset was done: what arrived after it is processed."""
        self._deferred = None
        held, self._held = self._held, []
        for ssn, unordered, message in held:
            self._complete(unordered, ssn, message)
        self._advanced()

    # SACKs.

    @property
    def window(self) -> int:
        """What may still arrive, in bytes: the a_rwnd of a SACK."""
        return max(0, self._limit - self._used - len(self._by_first) * _RUN_OVERHEAD)

    def take_sack(self, max_size: int) -> SackChunk:
        """A SACK of at most ``max_size`` bytes that says all there is to say; nothing is owed after it."""
        self.acknowledge_now = False
        self.packets_since_sack = 0
        self.released = 0
        cumulative = self.cumulative
        most = (max_size - SACK_FIXED_SIZE) // 4
        # From the lowest on, as many as fit (RFC 9260 section 6.7).
        blocks = tuple(
            (first - cumulative, min(last - cumulative, _MAX_GAP_OFFSET)) for first, last in self._gaps[:most]
        )
        duplicates = tuple(self._duplicates[: most - len(blocks)])
        self._duplicates.clear()
        return SackChunk(cumulative & _TSN_MASK, self.window, blocks, duplicates)
