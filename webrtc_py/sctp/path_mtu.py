"""How large a packet the path carries: packetization layer path MTU discovery (RFC 8899) for SCTP (its section 6.2.1).

A probe is a HEARTBEAT with a PAD chunk (RFC 4820) that fills the packet to the size in question; only the small answer
comes back. A probe that is lost costs nothing: it counts neither as an error nor as congestion. Large packets are
bundles of chunks that each fit into the smallest packet, so that going back to that is possible at any time.

Only a peer that lists PAD among its supported extensions (RFC 5061 section 4.2.7), as we do, is probed. Others should
skip what they do not know, as PAD's highest bits say, but one ends its whole process at a chunk of a type unknown to
it. Nor may they read what the path carries: aiortc takes 1500 bytes of a DTLS record at a time and is late by a packet
for ever after, and most have a buffer of 2 KiB.
"""

from __future__ import annotations

import struct

from .chunk import HeartbeatChunk, PadChunk
from .packet import CHUNK_HEADER_SIZE, HEADER_SIZE
from .parameter import HEARTBEAT_INFO, Parameter

# RFC 8899 section 5.1.2.
_MAX_PROBES = 3
# PROBE_TIMER: at least a second (section 5.1.1). A round trip that takes longer has a longer RTO, which is used then.
_PROBE_TIME = 1.0
# PMTU_RAISE_TIMER: when a search that ended is begun again.
_RAISE_TIME = 600.0
# After large packets stopped to arrive, how long the path gets to settle before it is probed again.
_SETTLE_TIME = 5.0
# So many samples of large packets lost in a row, each with a retransmission in a small one that arrived, are no chance.
_MAX_LOSSES = 3

# An SCTP packet that fits an Ethernet frame below IPv6, UDP, DTLS and a TURN channel.
_ETHERNET_PACKET = 1400

_INFO = struct.Struct("!LL")


def probe_sizes(base: int, largest: int) -> tuple[int, ...]:
    """The sizes to try, ascending: Ethernet's, then as many full chunks as fit into a jumbo frame and into a DTLS
    record (16384 bytes). Steps between them would gain less than they cost.
    """
    chunk = base - HEADER_SIZE
    sizes = (_ETHERNET_PACKET, HEADER_SIZE + 7 * chunk, HEADER_SIZE + 14 * chunk)
    return tuple(size for size in sizes if base < size <= largest)


class PathMtu:
    """Looks for the largest size that works while there is much to send. Times in seconds, sizes of SCTP packets."""

    __slots__ = (
        "_base",
        "_info",
        "_losses",
        "_number",
        "_remaining",
        "_sample",
        "_sizes",
        "_tries",
        "_wait_until",
        "size",
    )

    def __init__(self, base: int, largest: int) -> None:
        self._base = base
        self._sizes = probe_sizes(base, largest)
        self.size = base
        """The largest size that was acknowledged."""
        self._remaining = self._sizes
        self._tries = 0
        self._number = 0
        self._info: bytes | None = None
        """What the probe under way carries, and its answer brings back."""
        self._wait_until = 0.0
        self._sample: int | None = None
        """The TSN of a chunk in a large packet, which stands for all of them until its fate is known."""
        self._losses = 0

    def take_probe(self, now: float) -> list[bytes] | None:
        """The chunks of the probe that is due, for a packet of their own."""
        if self._info is not None or now < self._wait_until:
            return None
        if not self._remaining:
            self._remaining = tuple(size for size in self._sizes if size > self.size)
            if not self._remaining:
                self._wait_until = float("inf")
                return None
        size = self._remaining[0]
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._info = Parameter(HEARTBEAT_INFO, _INFO.pack(self._number, size)).serialize()
        heartbeat = HeartbeatChunk(self._info).serialize()
        return [heartbeat, PadChunk(size - HEADER_SIZE - len(heartbeat) - CHUNK_HEADER_SIZE).serialize()]

    def probe_timeout(self, rto: float) -> float:
        """How long the probe under way may take."""
        return max(_PROBE_TIME, rto)

    def acknowledged(self, info: bytes) -> bool:
        """Whether ``info``, of a HEARTBEAT ACK, is the probe's; the size is then known to work."""
        if info != self._info:
            return False
        self._info = None
        self._tries = 0
        self.size, *rest = self._remaining
        self._remaining = tuple(rest)
        return True

    def lost(self, now: float) -> None:
        """The probe was not answered in time."""
        if self._info is None:
            return
        self._info = None
        self._tries += 1
        if self._tries >= _MAX_PROBES:
            # Larger ones would fare no better: the search is over for now.
            self._tries = 0
            self._remaining = ()
            self._wait_until = now + _RAISE_TIME

    def fall_back(self, wait_until: float) -> None:
        """Nothing is known any more but that the smallest size works; search again later."""
        self.size = self._base
        self._remaining = self._sizes
        self._info = self._sample = None
        self._tries = self._losses = 0
        self._wait_until = wait_until

    # Black holes (RFC 8899 section 4.3).

    def large_packet_sent(self, tsn: int) -> None:
        """A packet of more than the smallest size went out with this TSN."""
        if self._sample is None:
            self._sample = tsn

    def data_acknowledged(self, cumulative: int) -> None:
        if self._sample is not None and self._sample <= cumulative:
            self._sample = None
            self._losses = 0

    @property
    def sample(self) -> int | None:
        return self._sample

    def sample_lost(self, now: float) -> bool:
        """The sample has to be sent again. True when that is once too often, and the path is taken for a black hole."""
        self._sample = None
        self._losses += 1
        if self._losses < _MAX_LOSSES:
            return False
        self.fall_back(now + _SETTLE_TIME)
        return True

    def retransmission_timed_out(self, now: float) -> None:
        """T3-rtx went off: nothing arrives any more, perhaps because of the size."""
        if self.size > self._base:
            self.fall_back(now + _SETTLE_TIME)
