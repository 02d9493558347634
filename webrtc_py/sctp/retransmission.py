"""The DATA chunks that have a TSN and are not acknowledged for good, and what is known about each of them.

Every chunk from the cumulative TSN ack on is in one of four states: in flight, acknowledged by a gap ack block, marked
for retransmission, or abandoned. In flight is the rule and costs nothing to keep; the others are kept by TSN. TSNs are
counted here without wrapping around: the wire's 32 bits are a TSN's lower ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from .send_queue import Message

Outstanding: TypeAlias = tuple[Message, int, int, int]
"""A chunk: its message, the data's start and stop in it, and the chunk's size as the window counts it."""

Block: TypeAlias = tuple[int, int]
"""A range of TSNs, both ends included."""

# A chunk is taken for lost after so many SACKs that report it missing (RFC 9260 section 7.2.4).
_MISS_INDICATIONS = 3


def subtract(blocks: Sequence[Block], others: Sequence[Block]) -> Iterator[Block]:
    """What of ``blocks`` is not in ``others``. Both are in order, and neither overlaps itself."""
    index, count = 0, len(others)
    for first, last in blocks:
        while index < count and others[index][1] < first:
            index += 1
        look = index
        while look < count and others[look][0] <= last:
            start, stop = others[look]
            if first < start:
                yield first, start - 1
            first = max(first, stop + 1)
            look += 1
        if first <= last:
            yield first, last


class RetransmissionQueue:
    __slots__ = (
        "_abandoned",
        "_gaps",
        "_heap",
        "_marked",
        "_misses",
        "_resent",
        "_special",
        "chunks",
        "cumulative",
        "flight",
        "next_tsn",
    )

    def __init__(self, initial_tsn: int) -> None:
        self.next_tsn = initial_tsn
        self.cumulative = initial_tsn - 1
        """The highest TSN that the peer has together with all before it."""
        self.chunks: deque[Outstanding] = deque()
        """From ``cumulative + 1`` to ``next_tsn - 1``. Who appends counts up ``next_tsn`` and ``flight``."""
        self.flight = 0
        """The size of the chunks in flight."""
        self._special = False
        """Whether any chunk is anything else than in flight for the first time."""
        self._gaps: list[Block] = []
        self._misses: dict[int, int] = {}
        self._marked: set[int] = set()
        self._heap: list[int] = []
        self._resent: dict[int, tuple[int, int]] = {}
        """For each chunk that was sent again: how often, and the first TSN that was new after the last time."""
        self._abandoned = 0

    @property
    def has_marked(self) -> bool:
        return bool(self._marked)

    @property
    def has_gaps(self) -> bool:
        return bool(self._gaps)

    @property
    def has_abandoned(self) -> bool:
        return self._abandoned > 0

    def is_marked(self, tsn: int) -> bool:
        return tsn in self._marked

    def marked_with_limits(self, now: float) -> list[int]:
        """The marked chunks that may not be sent again: the message's retransmissions or its lifetime are used up."""
        over = []
        for tsn in self._marked:
            message = self._chunk(tsn)[0]
            limit = message.max_retransmits
            used_up = limit is not None and self._resent.get(tsn, (0, 0))[0] >= limit
            if used_up or (message.expires is not None and now >= message.expires):
                over.append(tsn)
        return over

    def acknowledge(self, count: int) -> int:
        """The cumulative TSN ack moves on by ``count``. The bytes that this acknowledges for the first time."""
        popleft = self.chunks.popleft
        acked = 0
        if not self._special:
            for _ in range(count):
                acked += popleft()[3]
            self.cumulative += count
            self.flight -= acked
            return acked
        gaps, index = self._gaps, 0
        for tsn in range(self.cumulative + 1, self.cumulative + count + 1):
            message, _, _, size = popleft()
            while index < len(gaps) and gaps[index][1] < tsn:
                index += 1
            if message.abandoned:
                self._abandoned -= 1
            elif tsn in self._marked:
                self._marked.discard(tsn)
                acked += size
            elif not (index < len(gaps) and gaps[index][0] <= tsn):
                self.flight -= size
                acked += size
            self._misses.pop(tsn, None)
            self._resent.pop(tsn, None)
        self.cumulative += count
        if gaps and gaps[0][0] <= self.cumulative:
            self._gaps = list(subtract(gaps, [(gaps[0][0], self.cumulative)]))
        self._settle()
        return acked

    def report_gaps(self, blocks: list[Block]) -> tuple[int, int]:
        """The peer's gap ack blocks, in order and within the chunks outstanding, take the place of those before.

        Returns the bytes that they acknowledge for the first time, and the highest TSN among those (0 for none).
        """
        old, self._gaps = self._gaps, blocks
        acked = highest = 0
        for first, last in subtract(blocks, old):
            for tsn in range(first, last + 1):
                message, _, _, size = self._chunk(tsn)
                self._misses.pop(tsn, None)
                if message.abandoned:
                    continue
                if tsn in self._marked:
                    self._marked.discard(tsn)
                else:
                    self.flight -= size
                acked += size
                highest = tsn
        for first, last in subtract(old, blocks):
            # The peer took its word back (RFC 9260 section 6.2.1, D iii): the chunk is under way again, missed once.
            for tsn in range(max(first, self.cumulative + 1), last + 1):
                message, _, _, size = self._chunk(tsn)
                if not message.abandoned:
                    self.flight += size
                    self._misses[tsn] = 1
        self._special = True
        self._settle()
        return acked, highest

    def count_misses(self, newly_acked: int, *, all_missing: bool) -> tuple[int | None, bool]:
        """One more miss indication for each chunk that a SACK reports as missing (RFC 9260 section 7.2.4).

        Only those before the highest TSN that it newly acknowledged count, or ``all_missing``. Marks those that reach
        three, and returns the lowest of them with whether one was lost a second time.

        The standard leaves a chunk that was retransmitted to T3-rtx. It is marked again here when three SACKs
        acknowledge data that was sent after its retransmission: they say the same about it as about a first
        transmission, and waiting for the timer would empty the path each time.
        """
        lowest, lost_again = None, False
        start = self.cumulative + 1
        limit = self.next_tsn if all_missing else newly_acked
        for first, last in self._gaps:
            for tsn in range(start, min(first, limit)):
                if tsn in self._marked or self._chunk(tsn)[0].abandoned:
                    continue
                resent = self._resent.get(tsn)
                if resent is not None and newly_acked < resent[1]:
                    continue
                misses = self._misses.get(tsn, 0) + 1
                self._misses[tsn] = misses
                if misses >= _MISS_INDICATIONS:
                    self._mark(tsn)
                    lowest = tsn if lowest is None else lowest
                    lost_again = lost_again or resent is not None
            start = last + 1
            if start >= limit:
                break
        return lowest, lost_again

    def mark_all(self) -> None:
        """T3-rtx went off: everything that is not acknowledged is to be sent again (RFC 9260 section 6.3.3)."""
        acked = {tsn for first, last in self._gaps for tsn in range(first, last + 1)}
        start = self.cumulative + 1
        self._marked = {
            start + index
            for index, chunk in enumerate(self.chunks)
            if start + index not in acked and not chunk[0].abandoned
        }
        self._heap = sorted(self._marked)
        self._misses.clear()
        self.flight = 0
        self._special = True
        self._settle()

    def next_marked(self) -> tuple[int, Outstanding] | None:
        """The lowest TSN that is marked, with its chunk. It stays marked."""
        while self._heap:
            tsn = self._heap[0]
            if tsn in self._marked:
                return tsn, self._chunk(tsn)
            heappop(self._heap)
        return None

    def resend(self, tsn: int) -> None:
        """A marked chunk is sent again: it is in flight."""
        self._marked.discard(tsn)
        self.flight += self._chunk(tsn)[3]
        times = self._resent.get(tsn, (0, 0))[0] + 1
        self._resent[tsn] = times, self.next_tsn
        self._misses.pop(tsn, None)
        self._special = True

    def message(self, tsn: int) -> Message:
        """The message that an outstanding chunk is of."""
        return self._chunk(tsn)[0]

    def abandon(self, message: Message, tsn: int) -> None:
        """Give up a message with all its chunks, ``tsn`` being one of them (RFC 3758 section 3.5, A2 and A3).

        When not all of the message was sent, a TSN is used up for the rest: the receiver then misses a TSN of the
        message, whatever it has of it, and so drops it.
        """
        if tsn > self.cumulative:
            self._abandon_chunks(message, tsn)
        if message.sent < message.length:
            self.chunks.append((message, message.length, message.length, 0))
            self.next_tsn += 1
            self._abandoned += 1
        message.abandoned = True
        self._special = True

    def _abandon_chunks(self, message: Message, tsn: int) -> None:
        first = last = tsn
        while first > self.cumulative + 1 and self._chunk(first - 1)[0] is message:
            first -= 1
        while last + 1 < self.next_tsn and self._chunk(last + 1)[0] is message:
            last += 1
        for start, stop in list(subtract([(first, last)], self._gaps)):
            for lost in range(start, stop + 1):
                if lost in self._marked:
                    self._marked.discard(lost)
                else:
                    self.flight -= self._chunk(lost)[3]
                self._misses.pop(lost, None)
        self._abandoned += last - first + 1

    def advanced_ack_point(self, max_streams: int) -> tuple[int, dict[int, int]]:
        """How far the peer may skip, and the largest SSN that is skipped on each stream (RFC 3758 section 3.5, C2-C4).

        It stops before there are more than ``max_streams`` of these.
        """
        point, streams = self.cumulative, dict[int, int]()
        if self._abandoned:
            for message, _, _, _ in self.chunks:
                if not message.abandoned:
                    break
                if not message.flags:
                    if message.stream.id not in streams and len(streams) == max_streams:
                        break
                    streams[message.stream.id] = message.ssn
                point += 1
        return point, streams

    def _chunk(self, tsn: int) -> Outstanding:
        return self.chunks[tsn - self.cumulative - 1]

    def _mark(self, tsn: int) -> None:
        self._misses.pop(tsn, None)
        self._marked.add(tsn)
        heappush(self._heap, tsn)
        self.flight -= self._chunk(tsn)[3]

    def _settle(self) -> None:
        """Go back to the short way when nothing out of the ordinary is left."""
        if len(self._heap) > 2 * len(self._marked) + 64:
            self._heap = list(self._marked)
            heapify(self._heap)
        self._special = bool(self._gaps or self._misses or self._marked or self._resent or self._abandoned)
        if not self._special:
            self._heap.clear()
