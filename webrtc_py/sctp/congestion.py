"""How much may be under way, and how long to wait for its acknowledgement (RFC 9260 sections 6.3 and 7.2).

CUBIC (RFC 9438) would be a quarter faster where packets are lost by chance, but RFC 9260 section 7.2 forbids a sender
to be more aggressive than what stands here.
"""

from __future__ import annotations

# RFC 9260 section 16 recommends 1 s. The DTLS handshake has just crossed the same path in less, as a rule, and a lost
# INIT should not cost the user a second; every WebRTC implementation of note starts at half of it.
RTO_INITIAL = 0.5
# The same section recommends 1 s. What it must exceed is the peer's delay of a SACK, 200 ms, by a good margin; more
# than that is time lost at the end of each transfer whose last packet is lost.
RTO_MIN = 0.4
# It recommends 60 s, too: a path that was away for half a minute would find us asleep for another half. With 10 s, an
# association outlives a lost path by more than a minute all the same (Association.Max.Retrans).
RTO_MAX = 10.0

_ALPHA = 1 / 8
_BETA = 1 / 4
# RFC 9260 leaves the clock's granularity to us: it keeps RTTVAR from becoming zero (section 6.3.1, G1).
_GRANULARITY = 0.001

# Slow start adds at most L packets for each SACK (section 7.2.1). Peers acknowledge every second packet, so 2 doubles
# the window in a round trip as intended; it is what RFC 3465 section 2.3 recommends.
_SLOW_START_LIMIT = 2


class RoundTripTime:
    """SRTT, RTTVAR and RTO, in seconds (RFC 9260 section 6.3.1)."""

    __slots__ = ("rto", "srtt", "variation")

    def __init__(self) -> None:
        self.srtt: float | None = None
        self.variation = 0.0
        self.rto = RTO_INITIAL

    def measure(self, sample: float) -> None:
        """Rules C2, C3 and C6. It also ends a back-off."""
        if self.srtt is None:
            self.srtt = sample
            self.variation = sample / 2
        else:
            self.variation = (1 - _BETA) * self.variation + _BETA * abs(self.srtt - sample)
            self.srtt = (1 - _ALPHA) * self.srtt + _ALPHA * sample
        self.variation = max(self.variation, _GRANULARITY)
        self.rto = min(max(self.srtt + 4 * self.variation, RTO_MIN), RTO_MAX)

    def back_off(self) -> None:
        """Rule E2: a timer went off."""
        self.rto = min(self.rto * 2, RTO_MAX)


class CongestionWindow:
    """The window and its growth, in bytes of DATA chunks with header and padding (RFC 9260 section 7.2).

    ``pmdcs`` is the largest amount of DATA chunks that a packet on this path takes.
    """

    __slots__ = ("_acked", "cwnd", "fully_used", "pmdcs", "recovery_exit", "ssthresh")

    def __init__(self, pmdcs: int, ssthresh: int) -> None:
        self.pmdcs = pmdcs
        # Section 7.2.1's figure for IPv4; that for IPv6 is 60 bytes less, which a window of packets does not notice.
        self.cwnd = min(4 * pmdcs, max(2 * pmdcs, 4404))
        self.ssthresh = ssthresh
        self.recovery_exit: int | None = None
        """The TSN whose acknowledgement ends fast recovery, while in it (section 7.2.4)."""
        self.fully_used = False
        """Whether the window, and not a lack of data, stopped the sender when it sent last.

        The standard looks at the bytes under way before each SACK; several SACKs that arrive in one batch would all
        but the first find them below the window, and the window would not grow.
        """
        self._acked = 0

    def grow(self, acked: int, *, all_acked: bool) -> None:
        """``acked`` bytes were newly acknowledged by one SACK (sections 7.2.1 and 7.2.2)."""
        if self.recovery_exit is None:
            if self.cwnd <= self.ssthresh:
                if self.fully_used:
                    self.cwnd += min(acked, _SLOW_START_LIMIT * self.pmdcs)
            else:
                self._acked += acked
                if self._acked >= self.cwnd:
                    if self.fully_used:
                        self._acked -= self.cwnd
                        self.cwnd += self.pmdcs
                    else:
                        self._acked = self.cwnd
        if all_acked:
            self._acked = 0

    def enter_recovery(self, highest_outstanding: int) -> None:
        """A packet is missing: halve, once for each window of data (sections 7.2.3 and 7.2.4)."""
        self.ssthresh = max(self.cwnd // 2, 4 * self.pmdcs)
        self.cwnd = self.ssthresh
        self._acked = 0
        self.recovery_exit = highest_outstanding

    def timeout(self) -> None:
        """T3-rtx went off: one packet, and slow start (section 7.2.3)."""
        self.ssthresh = max(self.cwnd // 2, 4 * self.pmdcs)
        self.cwnd = self.pmdcs
        self._acked = 0
        self.recovery_exit = None

    def idle(self, periods: int) -> None:
        """Nothing was sent for so many RTOs: halve the window for each of them (section 7.2.1, last rule)."""
        floor = 4 * self.pmdcs
        if self.cwnd > floor:
            self.ssthresh = max(self.ssthresh, self.cwnd)
            self.cwnd = max(self.cwnd >> min(periods, 32), floor)
