"""Checks that wait for their answer (RFC 8489 section 6.2.1, RFC 8445 section 14.3)."""

from __future__ import annotations

import hashlib
import math
from enum import Enum

from .options import CONSENT_TIMEOUT
from .pair import CandidatePair

# RFC 8445 section 14.3: "MUST NOT use an RTO value smaller than 500 ms".
MIN_RTO = 0.5
# Rm of RFC 8489 section 6.2.1: how many RTOs the last of a check's requests is waited for.
LAST_WAIT = 16
# A nomination goes to an address that answered a moment ago, so it is repeated steadily and given up sooner: a path
# that dies just then must leave time for the next one.
NOMINATION_INTERVAL = 0.5
NOMINATION_REQUESTS = 10
# Ti of RFC 8489 section 6.2.2: how long a request is waited for that TCP carries, and repeats if it has to.
STREAM_TIMEOUT = 39.5
# How often a triggered check is repeated before it backs off.
STEADY_REQUESTS = 6


class Chance:
    """What must not be guessed, from a secret seed: the same seed gives the same values in the same order."""

    __slots__ = ("_count", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0

    def octets(self, size: int) -> bytes:
        """Up to 32 octets."""
        self._count += 1
        return hashlib.sha256(self._seed + self._count.to_bytes(8, "big")).digest()[:size]

    def transaction_id(self) -> bytes:
        """The 96 bits of RFC 8489 section 5."""
        return self.octets(12)

    def tie_breaker(self) -> int:
        """The 64 bits of RFC 8445 section 16.1."""
        return int.from_bytes(self.octets(8), "big")

    def spread(self) -> float:
        """A factor from 0.8 to 1.2 (RFC 7675 section 5.1)."""
        return 0.8 + 0.4 * int.from_bytes(self.octets(4), "big") / 2**32


class Purpose(Enum):
    CHECK = "check"
    NOMINATION = "nomination"
    CONSENT = "consent"


def check_delays(rto: float, requests: int) -> tuple[float, ...]:
    """The wait after each request of a check: doubling, the last one longer."""
    return (*(rto * 2**i for i in range(requests - 1)), rto * LAST_WAIT)


def triggered_check_delays(rto: float, requests: int) -> tuple[float, ...]:
    """The wait after each request of a check to where somebody is: the peer has just spoken from there, or is lite.

    What is missing has been lost then, and backing off would only add to the loss: it is repeated steadily at first.
    """
    return (rto,) * STEADY_REQUESTS + check_delays(rto, requests)


def nomination_delays(round_trip_time: float | None) -> tuple[float, ...]:
    """The wait after each request of a nomination, on a path whose round-trip time is known."""
    interval = max(NOMINATION_INTERVAL, 1.5 * (round_trip_time or 0.0))
    return (interval,) * NOMINATION_REQUESTS


def stream_check_delays(rto: float) -> tuple[float, ...]:
    """Of a check over TCP: when its answer is overdue, and when it will not come any more."""
    rto = min(rto, STREAM_TIMEOUT / 2)
    return rto, STREAM_TIMEOUT - rto


# RFC 7675 section 5.1: each consent check is a transaction of its own and sent once; any of them may be answered.
CONSENT_DELAYS = (CONSENT_TIMEOUT,)


class Transaction:
    """One request, sent once or several times, until its answer comes or the time is up.

    Over TCP it is sent once (RFC 6544 section 7.1), and ``turns`` only counts the times it was looked after.
    """

    __slots__ = (
        "_delays",
        "cancelled",
        "controlling",
        "due",
        "first_sent",
        "id",
        "pair",
        "purpose",
        "request",
        "turns",
    )

    def __init__(
        self,
        id: bytes,
        pair: CandidatePair,
        request: bytes,
        purpose: Purpose,
        controlling: bool,
        delays: tuple[float, ...],
    ) -> None:
        self.id = id
        self.pair = pair
        self.request = request
        self.purpose = purpose
        self.controlling = controlling
        self.turns = 0
        self.first_sent = -math.inf
        self.due = math.inf
        # Not sent again and no failure when nothing comes, but its answer still counts (RFC 8445 section 7.3.1.4).
        self.cancelled = False
        self._delays = delays

    def take_turn(self, now: float) -> bool:
        """Whether the request is to be sent now; ``due`` is when to look again."""
        if not self.turns:
            self.first_sent = now
        self.due = now + self._delays[self.turns]
        self.turns += 1
        return self.turns == 1 or not self.pair.is_stream

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.cancelled or self.turns == len(self._delays)

    def cancel(self) -> None:
        self.cancelled = True
        self.due = self.first_sent + sum(self._delays)

    def round_trip_time(self, now: float) -> float | None:
        """The time its answer took, or None when it is not known which of several requests was answered."""
        return now - self.first_sent if self.turns == 1 or self.pair.is_stream else None
