"""Which SCTP stream a data channel has: even for the DTLS client, odd for the server (RFC 8832 section 6)."""

from __future__ import annotations

LARGEST_STREAM_ID = 65534
"""65535 is illegal in WebRTC: it means "no id yet" (RFC 8831 section 6.5)."""


class StreamIDs:
    """The ids in use, and the next free one of our parity. ``limit`` is the number of streams both ends have."""

    __slots__ = ("_lowest", "_used", "limit", "parity")

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._lowest = 0  # no id below it and of our parity is free
        self.limit = LARGEST_STREAM_ID + 1
        self.parity: int | None = None
        """0 for the DTLS client, 1 for the server, None until the role is known."""

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._used

    def reserve(self, stream_id: int) -> None:
        self._used.add(stream_id)

    def release(self, stream_id: int) -> None:
        self._used.discard(stream_id)
        self._lowest = min(self._lowest, stream_id)

    def clear(self) -> None:
        """No id is in use any more."""
        self._used.clear()
        self._lowest = 0

    def allocate(self) -> int | None:
        """Take the lowest free id of our parity; None when all are in use."""
        stream_id = self.free()
        if stream_id is not None:
            self._used.add(stream_id)
            self._lowest = stream_id
        return stream_id

    def free(self) -> int | None:
        """The id that :meth:`allocate` would take."""
        if self.parity is None:
            raise AssertionError("ids are given out only once the DTLS role is known")
        start = self._lowest + (self._lowest + self.parity) % 2
        for stream_id in range(start, min(self.limit, LARGEST_STREAM_ID + 1), 2):
            if stream_id not in self._used:
                return stream_id
        return None
