"""Whether the selected pair still works: silence (Pion's states) and consent (RFC 7675)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..states import ICETransportState
from .options import CONSENT_TIMEOUT, AgentTimings
from .pair import CandidatePair

# How long the selected pair may leave checks unanswered before the peer is believed to have moved, when there is a
# sign of that; where round trips are long, how many of them.
_DOUBT = 1.0
_DOUBT_ROUND_TRIPS = 3


@dataclass(frozen=True, slots=True)
class Liveness:
    """``state`` is connected, disconnected or failed, and holds until ``until`` if nothing comes in before."""

    state: ICETransportState
    reason: str
    until: float


def liveness(pair: CandidatePair, timings: AgentTimings, now: float) -> Liveness:
    """Anything of the peer's on this pair breaks the silence; consent is renewed by answers to our checks alone.

    Consent that has expired stops the data, and the agent fails with it: RFC 7675 section 5.1 wants other credentials
    then. But an application that has set more than 30 s until ``failed``, or no end, has asked for an agent that
    outlasts longer outages. It is disconnected for so long, its checks go on as checks, and only an answer to one of
    those, made after the expiry, lets it send again.
    """
    silent_at, refused_at = _silent_at(pair, timings), _refused_at(pair, timings)
    failed_at = min(silent_at, refused_at)
    if now >= silent_at:
        return Liveness(ICETransportState.FAILED, f"nothing was heard for {timings.patience:g} s", math.inf)
    if now >= refused_at:
        return Liveness(ICETransportState.FAILED, _unanswered(pair), math.inf)
    if not pair.succeeded:
        return Liveness(ICETransportState.DISCONNECTED, pair.failure, failed_at)
    if now >= pair.consent_expires:
        return Liveness(ICETransportState.DISCONNECTED, _unanswered(pair), failed_at)
    disconnected_at = _heard(pair) + timings.disconnected_timeout if timings.disconnected_timeout else math.inf
    if now >= disconnected_at:
        reason = f"nothing was heard for {timings.disconnected_timeout:g} s"
        return Liveness(ICETransportState.DISCONNECTED, reason, min(failed_at, pair.consent_expires))
    return Liveness(ICETransportState.CONNECTED, "", min(disconnected_at, failed_at, pair.consent_expires))


def given_up_at(pair: CandidatePair, timings: AgentTimings) -> float:
    """When the agent fails with the selected pair, if nothing more comes in on it."""
    return min(_silent_at(pair, timings), _refused_at(pair, timings))


def _heard(pair: CandidatePair) -> float:
    return pair.last_received if pair.last_received is not None else -math.inf


def _silent_at(pair: CandidatePair, timings: AgentTimings) -> float:
    return _heard(pair) + timings.patience


def _refused_at(pair: CandidatePair, timings: AgentTimings) -> float:
    return pair.consent_expires - CONSENT_TIMEOUT + max(timings.patience, CONSENT_TIMEOUT)


def _unanswered(pair: CandidatePair) -> str:
    refusal = "not answered a check" if pair.requests_sent else "made no check"
    return f"the peer has {refusal} for {CONSENT_TIMEOUT:g} s, so consent has expired"


def in_doubt_from(pair: CandidatePair, at_least_since: float = -math.inf) -> float:
    """When a pair that has been asked, and says nothing, is not to be relied upon; infinity when it was not asked.

    From ``at_least_since`` on it has its time in any case, in which it may be asked often.
    """
    if pair.asked_since is None:
        return math.inf
    patience = max(_DOUBT, _DOUBT_ROUND_TRIPS * (pair.smoothed_round_trip_time or 0.0))
    return max(pair.asked_since, at_least_since) + patience


def goes_one_way_from(pair: CandidatePair, patience: float) -> float:
    """When checks on it have gone unanswered for so long, though packets may come in, that ours seem to be lost.

    Infinity when none is, and over TCP, which has both directions or none.
    """
    if pair.unanswered_since is None or pair.is_stream:
        return math.inf
    return pair.unanswered_since + max(patience, _DOUBT_ROUND_TRIPS * (pair.smoothed_round_trip_time or 0.0))


def is_silent(pair: CandidatePair, now: float) -> bool:
    """Whether checks on it have gone unanswered for so long that what was sent with them is as good as lost.

    Over TCP it is only late.
    """
    return not pair.is_stream and in_doubt_from(pair) <= now
