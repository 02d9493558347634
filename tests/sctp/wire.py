"""Two associations on a virtual wire: delay, loss, reordering, duplication, a largest packet; all from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from crc32c import crc32c

from webrtc_py.sctp.association import Association, AssociationConfig
from webrtc_py.sctp.chunk import BEGINNING, END, Chunk, DataChunk, SackChunk, parse_chunk
from webrtc_py.sctp.events import AssociationEvent, MessageReceived
from webrtc_py.sctp.packet import HEADER_SIZE, HEADER_WORDS, build_packet, checksum_seed, split_chunks
from webrtc_py.train import Train


def make_association(
    tag: int = 0x1000, initial_tsn: int = 0xFFFFFFF0, *, key: bytes = b"k" * 32, **config: Any
) -> Association:
    return Association(
        config=AssociationConfig(**config),
        verification_tag=tag,
        initial_tsn=initial_tsn,
        cookie_key=key,
        built=bytearray(1 << 17),
    )


def packet_checksum(packet: bytes | bytearray | memoryview) -> int:
    """The checksum that a packet should carry, whatever its checksum field holds."""
    view = memoryview(packet)
    return crc32c(view[HEADER_SIZE:], checksum_seed(bytes(view[:8])))


def chunks_of(packet: bytes | memoryview) -> list[Chunk]:
    """The chunks of a packet whose checksum is right, or absent."""
    checksum = HEADER_WORDS.unpack_from(packet)[1]
    assert checksum in (0, packet_checksum(packet))
    return [parse_chunk(raw) for raw in split_chunks(memoryview(packet), HEADER_SIZE, len(packet))]


def packet_to(association: Association, *chunks: Chunk, tag: int | None = None, checksum: bool = True) -> Train:
    """A packet with ``association``'s tag, or another one."""
    tag = association._local_tag if tag is None else tag
    return Train.of(build_packet(5000, 5000, tag, [chunk.serialize() for chunk in chunks], checksum=checksum))


def sent_by(association: Association, now: float) -> list[bytes]:
    """The packets that an association sends now."""
    return [bytes(packet) for train in association.datagrams_to_send(now) for packet in train]


def sent_chunks(association: Association, now: float) -> list[Chunk]:
    return [chunk for packet in sent_by(association, now) for chunk in chunks_of(packet)]


def events_of(association: Association, kind: type[AssociationEvent]) -> list[Any]:
    return [event for event in association.events() if isinstance(event, kind)]


class Wire:
    """Associations ``a`` and ``b`` and the time ``now``. Messages are consumed as they arrive, unless told otherwise.

    ``drop(packet, sender)`` loses what it returns True for; ``keep_trains`` delivers the packets of a train together.
    """

    def __init__(
        self,
        a: Association | None = None,
        b: Association | None = None,
        *,
        delay: float = 0.01,
        loss: float = 0.0,
        reorder: float = 0.0,
        duplicate: float = 0.0,
        keep_trains: bool = False,
        consume: bool = True,
        rate: float | None = None,
        seed: int = 1,
    ) -> None:
        self.a = a or make_association(0xAAAA0001, 0xFFFFFFF0, key=b"a" * 32)
        self.b = b or make_association(0xBBBB0002, 0x7FFFFFF8, key=b"b" * 32)
        self.delay, self.loss, self.reorder, self.duplicate = delay, loss, reorder, duplicate
        self.keep_trains, self.consume, self.rate = keep_trains, consume, rate
        self.largest_packet = 65535
        self.drop: Callable[[bytes, Association], bool] = lambda packet, sender: False
        self.random = random.Random(seed)
        self.now = 1000.0
        self.packets = 0
        self.events: dict[Association, list[AssociationEvent]] = {self.a: [], self.b: []}
        self._queue: list[tuple[float, int, Association, bytes, int]] = []
        self._sequence = 0
        self._free = {self.a: 0.0, self.b: 0.0}

    def other(self, association: Association) -> Association:
        return self.b if association is self.a else self.a

    def messages(self, association: Association) -> list[MessageReceived]:
        return [event for event in self.events[association] if isinstance(event, MessageReceived)]

    def take(self, association: Association, kind: type[AssociationEvent]) -> list[Any]:
        """The events of a kind, which are forgotten then."""
        found = [event for event in self.events[association] if isinstance(event, kind)]
        self.events[association] = [event for event in self.events[association] if not isinstance(event, kind)]
        return found

    def connect(self) -> None:
        self.a.connect(self.now)
        self.b.connect(self.now)
        up = self.run(60.0, lambda: all(end.state.value == "established" for end in (self.a, self.b)))
        assert up
        self.run(1.0)
        for association in (self.a, self.b):
            self.events[association].clear()

    def flush(self) -> None:
        """Put what both want to send on the wire, and collect what they report."""
        for association in (self.a, self.b):
            for train in association.datagrams_to_send(self.now):
                self._carry(association, train)
            for event in association.events():
                self.events[association].append(event)
                if self.consume and isinstance(event, MessageReceived):
                    association.consumed(len(event.data))
            if self.consume:
                for train in association.datagrams_to_send(self.now):
                    self._carry(association, train)

    def _carry(self, sender: Association, train: Train) -> None:
        packets = [bytes(packet) for packet in train]
        self.packets += len(packets)
        kept = [packet for packet in packets if not self._is_lost(packet, sender)]
        if self.keep_trains and kept:
            self._put(sender, b"".join(kept), train.segment_size)
            return
        for packet in kept:
            self._put(sender, packet, len(packet))
            if self.random.random() < self.duplicate:
                self._put(sender, packet, len(packet))

    def _is_lost(self, packet: bytes, sender: Association) -> bool:
        lost = self.random.random() < self.loss or len(packet) > self.largest_packet
        return self.drop(packet, sender) or lost

    def _put(self, sender: Association, data: bytes, segment: int) -> None:
        leaves = self.now
        if self.rate is not None:
            leaves = self._free[sender] = max(self._free[sender], self.now) + len(data) / self.rate
        delay = self.delay
        if self.random.random() < self.reorder:
            delay *= 1 + 2 * self.random.random()
        self._sequence += 1
        heapq.heappush(self._queue, (leaves + delay, self._sequence, self.other(sender), data, segment))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, at most so much, until a condition holds; whether it did."""
        end = self.now + seconds
        self.flush()
        while not until():
            due = [self._queue[0][0]] if self._queue else []
            due += [when for when in (self.a.next_timeout(), self.b.next_timeout()) if when is not None]
            if not due or min(due) > end:
                self.now = end
                return until()
            self.now = max(self.now, min(due))
            while self._queue and self._queue[0][0] <= self.now:
                _, _, receiver, data, segment = heapq.heappop(self._queue)
                receiver.receive(Train(memoryview(data), segment), self.now)
            for association in (self.a, self.b):
                timeout = association.next_timeout()
                if timeout is not None and timeout <= self.now:
                    association.handle_timeout(self.now)
            self.flush()
        return True


WHOLE = BEGINNING | END


def connected(**options: object) -> Wire:
    wire = Wire(**options)  # type: ignore[arg-type]
    wire.connect()
    return wire


def next_tsn(association: Association) -> int:
    """The TSN that ``association`` expects next."""
    return (association._inbound.cumulative + 1) & 0xFFFFFFFF


def data(tsn: int, payload: bytes = b"x", *, flags: int = WHOLE, stream: int = 0, ssn: int = 0) -> DataChunk:
    return DataChunk(flags, tsn & 0xFFFFFFFF, stream, ssn, 51, payload)


def sacks(association: Association, now: float) -> list[SackChunk]:
    return [chunk for chunk in sent_chunks(association, now) if isinstance(chunk, SackChunk)]


def received(association: Association) -> list[bytes]:
    return [event.data for event in events_of(association, MessageReceived)]
