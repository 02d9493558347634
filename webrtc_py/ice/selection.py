"""Which pair is nominated, and which is selected (RFC 8445 section 8.1).

The controlling agent nominates one pair, when its criterion is met, and the next one if that dies before its nomination
is answered. The controlled agent takes what is nominated, and of several (RFC 5245's aggressive nomination) the best.
Lite agents would select here by what they are told alone, and renomination by its counter.
"""

from __future__ import annotations

import math

from ..states import CandidatePairState
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
        self.nominee: CandidatePair | None = None

    def begin(self, now: float) -> None:
        """There is a pair to check, and the peer's credentials are known."""
        if self._began is None:
            self._began = now

    def choose(self, checklist: CheckList, complete: bool, now: float) -> CandidatePair | None:
        """The pair to nominate now, if any: the best that works, when its types have waited long enough.

        ``complete`` says that neither end will name more candidates.
        """
        if self.nominee is not None:
            return None
        pair = best(checklist.in_state(CandidatePairState.SUCCEEDED))
        return pair if pair is not None and now >= self._acceptable_from(pair, checklist, complete) else None

    def next_timeout(self, checklist: CheckList, complete: bool) -> float:
        """When :meth:`choose` may have another answer by the passing of time alone."""
        if self.nominee is not None:
            return math.inf
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
        return began + max(wait(pair.base.type), wait(pair.remote.type))


def accepts_nomination(pair: CandidatePair, selected: CandidatePair | None, silence: float, now: float) -> bool:
    """Whether the controlled agent selects a nominated pair that works: the first, then only better ones.

    What it selected itself, before a role conflict made it the controlled one, counts for nothing. A nomination of a
    worse pair is followed as well when the selected one has been silent for ``silence`` seconds: the peer has moved.
    """
    if selected is None or not selected.nominated or pair.priority > selected.priority:
        return True
    return pair is not selected and silence > 0 and selected.silent_for(now) >= silence
