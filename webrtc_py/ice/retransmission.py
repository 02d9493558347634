"""When a request to a server is sent again (RFC 8489 section 6.2)."""

from __future__ import annotations

RTO = 0.5
"""The first retransmission timeout, RFC 8489 section 6.2.1."""
MAX_REQUESTS = 7
"""``Rc``: how often a request is sent over UDP."""
LAST_WAIT = 16 * RTO
"""``Rm`` times RTO: how long the last request is waited for."""
TRANSACTION_TIMEOUT = RTO * ((1 << (MAX_REQUESTS - 1)) - 1) + LAST_WAIT
"""39.5 s, all in all. Over TCP, where nothing is sent again, it is the whole wait (``Ti``, section 6.2.2)."""


class Retransmission:
    """The schedule of one request: the first at once, then after 0.5 s, 1 s, 2 s, ... until the timeout."""

    __slots__ = ("_interval", "_requests", "_resend", "deadline")

    def __init__(self, now: float, *, reliable: bool = False, timeout: float = TRANSACTION_TIMEOUT) -> None:
        self.deadline = now + min(timeout, TRANSACTION_TIMEOUT)
        self._interval = RTO
        self._requests = 1
        self._resend = now + RTO if not reliable else self.deadline

    @property
    def due(self) -> float:
        """When to call :meth:`is_due` again."""
        return min(self._resend, self.deadline)

    def is_over(self, now: float) -> bool:
        return now >= self.deadline

    def is_due(self, now: float) -> bool:
        """Whether the request is to be sent again now; it then counts as sent."""
        if now < self._resend or now >= self.deadline:
            return False
        self._requests += 1
        self._interval *= 2
        self._resend = now + self._interval if self._requests < MAX_REQUESTS else self.deadline
        return True
