"""The times and limits of the ICE core. Pion's defaults, checked when they are set."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from ..errors import InvalidAccessError
from ..states import CandidateType

# RFC 7675 section 5.1: without an answer for so long, nothing but checks may be sent.
CONSENT_TIMEOUT = 30.0
# RFC 7675 section 5.1: consent is asked for every 5 s at least.
MAX_KEEPALIVE_INTERVAL = 5.0
# RFC 8445 section 14.2: all agents of a host together send no faster than one new check in 5 ms.
MIN_CHECK_INTERVAL = 0.005


@dataclass(frozen=True, slots=True)
class AgentTimings:
    """All durations in seconds. InvalidAccessError for a value that makes no sense.

    ``disconnected_timeout``: silence on the selected pair until ``disconnected``; 0 is never.
    ``failed_timeout``: further silence until ``failed``; 0 leaves that to the expiry of consent alone. Both together
    are also the patience before a first path is found (RFC 8863), counted anew when the peer shows something new.
    ``keepalive_interval``: between checks on the selected pair, which ask for consent too (RFC 7675), so it is
    at most 5 s, and 0 means 5 s.
    ``check_interval``: Ta, between new ordinary checks (RFC 8445 section 14.2).
    ``max_binding_requests``: how often a check is sent before it has failed (Rc, RFC 8489 section 6.2.1).
    ``*_acceptance_min_wait``: how long the controlling agent leaves better types their chance before it nominates
    a pair with a candidate of this type.
    """

    disconnected_timeout: float = 5.0
    failed_timeout: float = 25.0
    keepalive_interval: float = 2.0
    check_interval: float = 0.05
    max_binding_requests: int = 7
    host_acceptance_min_wait: float = 0.0
    srflx_acceptance_min_wait: float = 0.5
    prflx_acceptance_min_wait: float = 1.0
    relay_acceptance_min_wait: float = 2.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InvalidAccessError(f"{name} is {value!r}; it must be a finite number and not negative")
        if self.check_interval < MIN_CHECK_INTERVAL:
            raise InvalidAccessError(f"check_interval is {self.check_interval!r}; it must be at least 0.005 s")
        if not isinstance(self.max_binding_requests, int) or not 1 <= self.max_binding_requests <= 20:
            raise InvalidAccessError(f"max_binding_requests is {self.max_binding_requests!r}; it must be 1 to 20")

    @property
    def patience(self) -> float:
        """How long to look for a first path: for ever when ``failed_timeout`` is 0."""
        return self.disconnected_timeout + self.failed_timeout if self.failed_timeout else math.inf

    @property
    def consent_interval(self) -> float:
        """The mean time between checks on the selected pair."""
        return min(self.keepalive_interval or MAX_KEEPALIVE_INTERVAL, MAX_KEEPALIVE_INTERVAL)

    def acceptance_min_wait(self, type: CandidateType) -> float:
        waits = {
            CandidateType.HOST: self.host_acceptance_min_wait,
            CandidateType.SRFLX: self.srflx_acceptance_min_wait,
            CandidateType.PRFLX: self.prflx_acceptance_min_wait,
            CandidateType.RELAY: self.relay_acceptance_min_wait,
        }
        return waits[type]

    def for_relay_only(self) -> AgentTimings:
        """The times for an agent that gathers nothing but relays: it has nothing better to wait for."""
        return replace(
            self, srflx_acceptance_min_wait=0.0, prflx_acceptance_min_wait=0.0, relay_acceptance_min_wait=0.0
        )
