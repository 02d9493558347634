"""Whether the selected pair still works: silence (Pion's states) and consent (RFC 7675)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..states import ICETransportState
from .options import CONSENT_TIMEOUT, AgentTimings
from .pair import CandidatePair


@dataclass(frozen=True, slots=True)
class Liveness:
    """``state`` is connected, disconnected or failed, and holds until ``until`` if nothing comes in before."""

    state: ICETransportState
    reason: str
    until: float


def liveness(pair: CandidatePair, timings: AgentTimings, now: float) -> Liveness:
    """Anything of the peer's on this pair breaks the silence; consent is renewed by answers to our checks alone."""
    heard = pair.last_received if pair.last_received is not None else -math.inf
    disconnected_at = heard + timings.disconnected_timeout if timings.disconnected_timeout else math.inf
    failed_at = heard + timings.patience
    if now >= failed_at:
        return Liveness(ICETransportState.FAILED, f"nothing was heard for {timings.patience:g} s", math.inf)
    if now >= pair.consent_expires:
        reason = f"the peer has not answered a check for {CONSENT_TIMEOUT:g} s, so consent has expired"
        return Liveness(ICETransportState.FAILED, reason, math.inf)
    if not pair.succeeded:
        return Liveness(ICETransportState.DISCONNECTED, pair.failure, min(failed_at, pair.consent_expires))
    if now >= disconnected_at:
        reason = f"nothing was heard for {timings.disconnected_timeout:g} s"
        return Liveness(ICETransportState.DISCONNECTED, reason, min(failed_at, pair.consent_expires))
    return Liveness(ICETransportState.CONNECTED, "", min(disconnected_at, failed_at, pair.consent_expires))
