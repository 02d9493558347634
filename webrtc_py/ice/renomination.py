"""When the controlling agent changes its mind (draft-thatcher-ice-renomination).

A pair is worth its smoothed round-trip time, longer by what a relay or TCP costs. Another one takes the selected pair's
place when it is better by a margin, and has been at several answers in a row: round-trip times jitter, and each change
costs packets that arrive out of order. As the margin must be overcome in both directions, two pairs that are alike do
not take turns.
"""

from __future__ import annotations

from ..states import CandidateType
from .options import RenominationOptions
from .pair import CandidatePair

# A detour is worth as much as a round trip that is half as long again, and 50 ms more: a relay next door is not
# preferred to the peer itself, and one that shortens a bad route by more than that is.
_DETOUR_FACTOR = 1.5
_DETOUR = 0.05
# How many answers in a row must show that a pair is better.
_WINS = 3


def cost(pair: CandidatePair) -> float | None:
    """Seconds; None when the round trip was never measured."""
    if pair.smoothed_round_trip_time is None:
        return None
    detours = [CandidateType.RELAY in (pair.base.type, pair.remote.type), pair.is_stream].count(True)
    return pair.smoothed_round_trip_time * _DETOUR_FACTOR**detours + _DETOUR * detours


class Renomination:
    """The controlling agent's counter, and its judgement of the other pairs."""

    def __init__(self, options: RenominationOptions) -> None:
        self._options = options
        self._value = 0
        self._wins: dict[CandidatePair, int] = {}
        self._not_before = 0.0

    def next_value(self) -> tuple[int, int]:
        """The attribute and the value of the next nomination."""
        self._value += 1
        return self._options.attribute, self._value

    def selected(self, now: float) -> None:
        """Another pair is in use: what was found out counts no more, and it has some time to show itself."""
        self._wins.clear()
        self._not_before = now + self._options.interval

    def judge(self, pair: CandidatePair, selected: CandidatePair, now: float) -> bool:
        """Whether a pair, which has just answered, is to take the selected pair's place."""
        if not self._options.automatic or not self._is_better(pair, selected):
            self._wins.pop(pair, None)
            return False
        # Pairs come and go in a long session, and one that has stopped working begins anew.
        self._wins = {known: wins for known, wins in self._wins.items() if known.succeeded}
        self._wins[pair] = self._wins.get(pair, 0) + 1
        if self._wins[pair] < _WINS or now < self._not_before:
            return False
        # Another one may be better still, and its next answer will show that, unless it works no more.
        return not any(
            other.succeeded and other.asked_since is None and self._is_better(other, pair) for other in self._wins
        )

    def _is_better(self, pair: CandidatePair, selected: CandidatePair) -> bool:
        new, old = cost(pair), cost(selected)
        if new is None or old is None:
            return False
        round_trip = selected.smoothed_round_trip_time or 0.0
        margin = max(self._options.rtt_improvement, (1 - self._options.rtt_ratio) * round_trip)
        return old - new > margin
