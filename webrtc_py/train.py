"""The batch that all layers hand on: datagrams of one size, back to back in one buffer.

One ``sendmsg`` with ``UDP_SEGMENT`` sends a whole train, and one ``recvmsg`` with ``UDP_GRO`` brings one. A layer that
took one ``bytes`` a packet would spend more time on objects than on protocols.
"""

from __future__ import annotations

from collections.abc import Iterator

# The kernel refuses more segments than this in one UDP_SEGMENT send (UDP_MAX_SEGMENTS was 64 before Linux 6.2).
MAX_TRAIN_SEGMENTS = 64
# A UDP datagram's largest payload over IPv4, and so a train's largest length.
MAX_TRAIN_LENGTH = 65507


class Train:
    """Datagrams of ``segment_size`` bytes each in ``data``; only the last may be shorter, and none is empty.

    ``data`` is a view of a buffer that its owner uses again: a train is valid during the call it is handed to, and
    whoever keeps anything of it copies.
    """

    __slots__ = ("data", "segment_size")

    def __init__(self, data: memoryview, segment_size: int) -> None:
        self.data = data
        self.segment_size = segment_size

    @classmethod
    def of(cls, datagram: bytes | bytearray | memoryview) -> Train:
        """A train of one datagram, which must not be empty."""
        return cls(memoryview(datagram), len(datagram))

    def __len__(self) -> int:
        """How many datagrams there are."""
        return -(-len(self.data) // self.segment_size)

    def __iter__(self) -> Iterator[memoryview]:
        data, size = self.data, self.segment_size
        if len(data) <= size:
            yield data
            return
        for start in range(0, len(data), size):
            yield data[start : start + size]

    def first_bytes(self) -> bytes:
        """The first byte of each datagram: what RFC 7983 tells protocols apart by."""
        return bytes(self.data[:: self.segment_size])

    def __repr__(self) -> str:
        return f"Train({len(self)} x {self.segment_size} bytes)"
