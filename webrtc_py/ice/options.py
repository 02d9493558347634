"""The times and limits of the ICE core. Pion's defaults, checked when they are set."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from ..errors import ArgumentTypeError, InvalidAccessError
from ..states import CandidateType
from .stun import NOMINATION, NOMINATIONS, is_known_attribute

# RFC 7675 section 5.1: without an answer for so long, nothing but checks may be sent.
CONSENT_TIMEOUT = 30.0
# RFC 7675 section 5.1: consent is asked for every 5 s at least.
MAX_KEEPALIVE_INTERVAL = 5.0
# RFC 8445 section 14.2: all agents of a host together send no faster than one new check in 5 ms.
MIN_CHECK_INTERVAL = 0.005


@dataclass(frozen=True, slots=True)
class AgentTimings:
    """All durations in seconds. InvalidAccessError for a value that makes no sense.

    ``disconnected_timeout``: silence on the selected pair until ``disconnected``; with 0 silence alone never makes
    it that, and goes straight to ``failed``.
    ``failed_timeout``: further silence until ``failed``; 0 is never. Both together are also the patience before a
    first path is found (RFC 8863), counted anew when the peer shows something new, and how long an agent asks for
    consent again that has expired, if that is longer than the 30 s in which it expires.
    ``keepalive_interval``: between checks on the selected pair, which ask for consent too (RFC 7675), so it is
    at most 5 s, and 0 means 5 s.
    ``check_interval``: Ta, between new ordinary checks (RFC 8445 section 14.2).
    ``max_binding_requests``: how often a check is sent before it has failed (Rc, RFC 8489 section 6.2.1).
    ``*_acceptance_min_wait``: how long the controlling agent leaves better types their chance before it nominates
    a pair with a candidate of this type; over TCP it is at least the time of server-reflexive ones,
    unless the agent has no UDP.
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
            _check_duration(name, getattr(self, name))
        if self.check_interval < MIN_CHECK_INTERVAL:
            raise InvalidAccessError(f"check_interval is {self.check_interval!r}; it must be at least 0.005 s")
        if not isinstance(self.max_binding_requests, int) or not 1 <= self.max_binding_requests <= 20:
            raise InvalidAccessError(f"max_binding_requests is {self.max_binding_requests!r}; it must be 1 to 20")

    @classmethod
    def conferencing(cls) -> AgentTimings:
        """People who talk: the defaults. A dead path shows before they ask each other whether they are still there."""
        return cls()

    @classmethod
    def gaming(cls) -> AgentTimings:
        """A path that is dead for a second is a lost game: found soon, asked often, given up early.

        Better types get little time, since a better pair can still be taken later by renomination.
        """
        return cls(
            disconnected_timeout=1.5,
            failed_timeout=8.5,
            keepalive_interval=0.5,
            check_interval=0.02,
            srflx_acceptance_min_wait=0.2,
            prflx_acceptance_min_wait=0.3,
            relay_acceptance_min_wait=0.6,
        )

    @classmethod
    def transfer(cls) -> AgentTimings:
        """Much data and nobody who watches: a direct path is worth waiting for, and an outage of two minutes too.

        Consent is asked for in RFC 7675's own period.
        """
        return cls(
            disconnected_timeout=15.0,
            failed_timeout=105.0,
            keepalive_interval=5.0,
            srflx_acceptance_min_wait=1.0,
            prflx_acceptance_min_wait=2.0,
            relay_acceptance_min_wait=5.0,
        )

    @classmethod
    def mobile(cls) -> AgentTimings:
        """Radio and battery: tunnels and handovers are outlasted, and each keepalive wakes a modem.

        In longer outages nothing is sent, since consent has expired, but the agent goes on asking for it. Continual
        gathering and renomination go well with it.
        """
        return cls(
            disconnected_timeout=8.0,
            failed_timeout=112.0,
            keepalive_interval=3.0,
            max_binding_requests=9,
            relay_acceptance_min_wait=1.0,
        )

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

    def for_tcp_only(self) -> AgentTimings:
        """The times for an agent that has no UDP: what comes directly over TCP is the best there will be.

        That the active end of a connection shows up as peer-reflexive makes it no detour.
        """
        return replace(self, srflx_acceptance_min_wait=0.0, prflx_acceptance_min_wait=0.0)

    def for_lite(self) -> AgentTimings:
        """The times for a lite agent, where nothing else was asked for.

        It hears of its peer only what that sends by itself, every 5 s at worst, so silence tells it less.
        """
        return replace(self, disconnected_timeout=10.0) if self == AgentTimings() else self


@dataclass(frozen=True, slots=True)
class RenominationOptions:
    """draft-thatcher-ice-renomination: the controlling agent may change its mind. InvalidAccessError for nonsense.

    ``automatic``: change to a pair that has proved to be better; without it only ``renominate`` does.
    ``interval``: seconds from one change of the selected pair to the next of these, at least.
    ``attribute``: the STUN attribute that carries the value. libwebrtc's number, which is the default, and the
    0x0030 of later drafts are understood in any case.
    ``rtt_improvement`` and ``rtt_ratio``: how many seconds the round trip must be shorter, and of what it is now
    it may have this part at most. A relay, or TCP, counts as a longer round trip, so a direct path is preferred.
    """

    automatic: bool = True
    interval: float = 3.0
    attribute: int = NOMINATION
    rtt_improvement: float = 0.010
    rtt_ratio: float = 0.8

    def __post_init__(self) -> None:
        if not isinstance(self.automatic, bool):
            raise ArgumentTypeError(f"automatic is {self.automatic!r}; it must be True or False")
        _check_duration("interval", self.interval)
        _check_duration("rtt_improvement", self.rtt_improvement)
        if not isinstance(self.rtt_ratio, int | float) or not 0 < self.rtt_ratio <= 1:
            raise InvalidAccessError(f"rtt_ratio is {self.rtt_ratio!r}; it must be more than 0 and at most 1")
        if not isinstance(self.attribute, int) or not 0 < self.attribute < 0x10000:
            raise InvalidAccessError(f"attribute is {self.attribute!r}; it must be a number of 16 bits, and not 0")
        if is_known_attribute(self.attribute) and self.attribute not in NOMINATIONS:
            raise InvalidAccessError(f"attribute is {self.attribute:#06x}, which means something else in STUN")


def _check_duration(name: str, value: object) -> None:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InvalidAccessError(f"{name} is {value!r}; it must be a finite number and not negative")
