"""Which pair is nominated, and whose nomination is followed (RFC 8445 section 8.1).

The controlling agent nominates one pair, when its criterion is met, and the next one if that dies before its nomination
is answered. The controlled agent takes what is nominated, and of several (RFC 5245's aggressive nomination) the best.
Both change where draft-thatcher-ice-renomination is spoken: each nomination has a value then, and the last one counts.
"""

from __future__ import annotations

import math

from ..states import CandidatePairState, CandidateType
from .checklist import CheckList, best
from .options import AgentTimings
from .pair import CandidatePair

_UNDECIDED = frozenset((CandidatePairState.FROZEN, CandidatePairState.WAITING, CandidatePairState.IN_PROGRESS))


class Nomination:
    """The controlling agent's choice."""

    def __init__(self, timings: AgentTimings) -> None:
        self._timings = timings
        # When the first check could be made: the waits for better candidates count from there.
        self._began: float | None = None

    def begin(self, now: float) -> None:
        """There is a pair to check, and the peer's credentials are known."""
        if self._began is None:
            self._began = now

    def choose(self, checklist: CheckList, complete: bool, now: float) -> CandidatePair | None:
        """The pair to nominate now, if any: the best that works, when its types have waited long enough.

        ``complete`` says that neither end will name more candidates.
        """
        pair = best(checklist.in_state(CandidatePairState.SUCCEEDED))
        return pair if pair is not None and now >= self._acceptable_from(pair, checklist, complete) else None

    def next_timeout(self, checklist: CheckList, complete: bool) -> float:
        """When :meth:`choose` may have another answer by the passing of time alone."""
        pair = best(checklist.in_state(CandidatePairState.SUCCEEDED))
        return self._acceptable_from(pair, checklist, complete) if pair is not None else math.inf

    def _acceptable_from(self, pair: CandidatePair, checklist: CheckList, complete: bool) -> float:
        began = self._began if self._began is not None else -math.inf
        if complete and not any(
            other.state in _UNDECIDED and other.priority > pair.priority for other in checklist.paths.values()
        ):
            # Nothing better can come, so there is nothing to wait for.
            return began
        wait = self._timings.acceptance_min_wait
        # What the path needs of ours is the base: that a NAT maps its port makes it no detour.
        types = [pair.base.type, pair.remote.type]
        if pair.is_stream:
            # UDP is better (RFC 6544 section 4.2), and may need a server's word before it works.
            types.append(CandidateType.SRFLX)
        return began + max(map(wait, types))


class PeersNominations:
    """The controlled agent's view of what it is told."""

    def __init__(self) -> None:
        self._last_value = 0

    @property
    def has_values(self) -> bool:
        """Whether the peer tells by values which of its nominations is the last."""
        return self._last_value > 0

    def take(self, pair: CandidatePair, use_candidate: bool, value: int | None) -> bool:
        """Whether a check nominates its pair, which is then to be followed as soon as the pair works.

        A value counts if it is greater than the last one, or the same one said again.
        """
        if value is None:
            # Once a peer has begun to give values, a check without one is none of its nominations.
            return use_candidate and not self._last_value
        if value < self._last_value or (value == self._last_value and pair.nomination != value):
            return False
        self._last_value = pair.nomination = value
        return value > 0

    def follows(self, pair: CandidatePair, selected: CandidatePair | None) -> bool:
        """Whether a nominated pair that works is selected: the first, then only better ones, or the last by value.

        What we selected ourselves, before a role conflict made us the controlled one, counts for nothing, and neither
        does a pair that is known to be lost.
        """
        if self._last_value:
            return pair.nomination == self._last_value
        if selected is None or not selected.nominated or not selected.succeeded:
            return True
        return pair.priority > selected.priority
