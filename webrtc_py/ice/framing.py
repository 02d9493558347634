"""Datagrams on a stream (RFC 4571): two octets of length in front of each, which is all that ICE-TCP adds to TCP."""

from __future__ import annotations

import struct

from ..errors import ParseError
from ..train import MAX_TRAIN_LENGTH, Train

#        0                   1                   2                   3
#        0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
#       +-------------------------------+-------------------------------+
#       |             LENGTH            |  datagram ...                 |
#       +-------------------------------+-------------------------------+
_LENGTH = struct.Struct("!H")

MAX_FRAME = 65535


def frame(train: Train) -> bytes:
    """The octets that carry a train's datagrams. ValueError for a datagram of more than 65535 octets."""
    data, size = train.data, train.segment_size
    if size > MAX_FRAME:
        raise ValueError(f"a datagram of {size} octets does not fit into a frame of {MAX_FRAME}")
    if len(data) <= size:
        return _LENGTH.pack(len(data)) + data
    header = _LENGTH.pack(size)
    parts: list[bytes | memoryview] = []
    for datagram in train:
        parts += (header, datagram)
    parts[-2] = _LENGTH.pack(len(parts[-1]))
    return b"".join(parts)


class FrameReader:
    """Cuts a stream into datagrams. It keeps one unfinished frame, of ``max_frame`` octets at most.

    Frames of one size that arrive together come as one train. A frame of length 0, RFC 4571's null packet, is skipped.
    """

    __slots__ = ("_missing", "_rest", "max_frame")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.max_frame = max_frame
        self._rest = bytearray()
        # How many octets the unfinished frame, or its header, still lacks: until then nothing is looked at.
        self._missing = _LENGTH.size

    @property
    def pending(self) -> int:
        """How many octets are kept of an unfinished frame."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Train]:
        """The datagrams that are complete now. ParseError when a longer one than ``max_frame`` is announced."""
        if self._rest or len(data) < self._missing:
            self._rest += data
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        view = memoryview(data)
        frames: list[memoryview] = []
        position, end = 0, len(data)
        needed = _LENGTH.size
        while position + needed <= end:
            start = position + _LENGTH.size
            stop = start + _LENGTH.unpack_from(data, position)[0]
            if stop - start > self.max_frame:
                raise ParseError(f"a frame of {stop - start} octets, where {self.max_frame} is the most")
            if stop > end:
                needed = stop - position
                break
            if stop > start:
                frames.append(view[start:stop])
            position = stop
        self._rest += view[position:]
        self._missing = needed - len(self._rest)
        return _trains(frames)


def _trains(frames: list[memoryview]) -> list[Train]:
    """Join what makes a train: datagrams of one size, and perhaps a shorter one at the end."""
    trains: list[Train] = []
    first, count = 0, len(frames)
    while first < count:
        size = len(frames[first])
        most = min(count, first + max(1, MAX_TRAIN_LENGTH // size))
        after = first + 1
        while after < most and len(frames[after]) == size:
            after += 1
        if after < most and len(frames[after]) < size:
            after += 1
        joined = frames[first] if after == first + 1 else memoryview(b"".join(frames[first:after]))
        trains.append(Train(joined, size))
        first = after
    return trains
