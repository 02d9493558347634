"""The last flight, kept and sent again until the peer answers (RFC 6347 section 4.2.4).

OpenSSL has a timer of its own, but it starts at a second and reads the real clock. So what OpenSSL wrote is kept here,
and sent again sooner. The encrypted Finished in it stays what it was: the peer takes it if it was lost, and drops it as
a replay otherwise.
"""

from __future__ import annotations

from .record import RECORD_HEADER_SIZE, ContentType

# RFC 6347 section 4.2.4.1 starts at a second, RFC 9147 section 5.8.2 allows less where a second hurts, and libwebrtc
# starts at 50 ms. A flight is a datagram or two, and sent twice too often on a path with a round trip of half a second.
INITIAL_TIMEOUT = 0.1
# Where half of the packets are lost a handshake needs many tries: it never waits longer than the standard's first time.
MAX_TIMEOUT = 1.0


class Flight:
    """The records of our last flight, and when to send them again."""

    __slots__ = ("_interval", "_key", "_resend_from", "deadline", "records")

    def __init__(self) -> None:
        self.records = b""
        self.deadline: float | None = None
        """When the peer should have answered; None when no answer is expected."""
        self._interval = INITIAL_TIMEOUT
        self._resend_from = 0.0
        self._key = b""

    def replace(self, records: bytes, now: float) -> bool:
        """Take what OpenSSL wrote, which is sent now. Whether it is a new flight.

        When it is the flight we have already, written anew, the timer goes on as it was.
        """
        key = _identity(records)
        new = key != self._key
        if new:
            self._key = key
            self._interval = INITIAL_TIMEOUT
        self.records = records
        self.deadline = now + self._interval
        return new

    def back_off(self, now: float) -> None:
        """The flight is sent again: wait twice as long for the answer."""
        self._interval = min(2 * self._interval, MAX_TIMEOUT)
        self.deadline = now + self._interval

    def finish(self, now: float) -> None:
        """It is the handshake's last flight: nothing answers it, but the peer may ask for it (:meth:`wanted`)."""
        self.deadline = None
        self._interval = INITIAL_TIMEOUT / 2
        self._resend_from = now + self._interval

    def wanted(self, now: float) -> bool:
        """The peer sent its last flight again, so ours was lost (RFC 6347 section 4.2.4, state FINISHED): send it?

        Anybody can send what looks like that: the answers get rarer, as the peer's timer makes its questions.
        """
        if not self.records or now < self._resend_from:
            return False
        self._interval = min(2 * self._interval, MAX_TIMEOUT / 2)
        self._resend_from = now + self._interval
        return True

    def forget(self) -> None:
        """The peer has got it."""
        self.records = b""
        self.deadline = None


def _identity(records: bytes) -> bytes:
    """What tells one flight from the next: the first record's content type, and its message's sequence number."""
    if records[0] == ContentType.HANDSHAKE:
        return records[:1] + records[RECORD_HEADER_SIZE + 4 : RECORD_HEADER_SIZE + 6]
    return records[:1]
