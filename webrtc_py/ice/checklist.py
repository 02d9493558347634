"""The check list: which pairs there are, and which of them is to be checked next (RFC 8445 section 6.1)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from ..states import CandidatePairState
from .candidate import Candidate
from .pair import Address, CandidatePair, pair_priority

FROZEN = CandidatePairState.FROZEN
WAITING = CandidatePairState.WAITING
IN_PROGRESS = CandidatePairState.IN_PROGRESS
SUCCEEDED = CandidatePairState.SUCCEEDED
FAILED = CandidatePairState.FAILED

# Pairs whose remote address nobody but a request's source told of, and that have not answered. A NAT makes one or
# two; a hostile peer would have us check each address that it writes into its datagrams.
MAX_UNPROVEN_STRANGERS = 20

Path = tuple[int, Address]
"""A base's id and an address of the peer's."""


def best(pairs: Iterable[CandidatePair]) -> CandidatePair | None:
    """The pair of highest priority, or None when there is none."""
    return max(pairs, key=lambda pair: pair.priority, default=None)


class CheckList:
    """The pairs of one component, at most ``max_pairs``.

    There is one pair for each path: a server-reflexive candidate is sent from its base, so its pair with a remote
    candidate is the pair of its base, and the one of higher priority stays (RFC 8445 section 6.1.2.4). That holds at
    whatever time a candidate comes (RFC 8838 sections 10 and 11).
    """

    def __init__(self, controlling: bool, max_pairs: int) -> None:
        self.paths: dict[Path, CandidatePair] = {}
        self.controlling = controlling
        self.last_id = 0
        """Of the newest pair: they are numbered in the order of their making."""
        self.in_use: CandidatePair | None = None
        """The selected pair, which stays on the list whatever becomes of it."""
        self._max_pairs = max_pairs
        self._relatives: dict[tuple[str, str], list[CandidatePair]] = {}
        self._triggered: dict[CandidatePair, float] = {}

    def __contains__(self, pair: CandidatePair) -> bool:
        return self.paths.get((pair.base_id, pair.destination)) is pair

    def in_state(self, *states: CandidatePairState) -> list[CandidatePair]:
        return [pair for pair in self.paths.values() if pair.state in states]

    # What is on it

    def add(self, local: Candidate, base_id: int, remote: Candidate, destination: Address) -> CandidatePair | None:
        """A new pair, Waiting or Frozen; None when it is pruned, or one too many and not better than the others."""
        existing = self.paths.get((base_id, destination))
        if existing is not None:
            self._prune(existing, local)
            return None
        pair = CandidatePair(self.last_id + 1, local, base_id, remote, destination, self.controlling)
        if pair.is_unproven_stranger and self._count_unproven_strangers() >= MAX_UNPROVEN_STRANGERS:
            return None
        if not self.make_room(pair.priority):
            return None
        self.last_id += 1
        self._set_first_state(pair)
        self.paths[base_id, destination] = pair
        self._relatives.setdefault(pair.foundation, []).append(pair)
        return pair

    def _prune(self, existing: CandidatePair, local: Candidate) -> None:
        """Two candidates of one base and the same remote candidate: the better one stays."""
        if local.priority > existing.base.priority:
            if existing.local is existing.base:
                existing.local = local
            self.rename(existing, base=local)

    def make_room(self, priority: int) -> bool:
        """Whether a pair of such a priority is taken; if not, none that is worse would be.

        RFC 8445 section 6.1.2.5: the pair of lowest priority goes, but never one that works or is being checked.
        """
        if len(self.paths) < self._max_pairs:
            return True
        worst, lowest = None, priority
        for pair in self.paths.values():
            if pair.state is FAILED and pair is not self.in_use:
                worst = pair
                break
            if pair.priority < lowest and (pair.state is WAITING or pair.state is FROZEN):
                worst, lowest = pair, pair.priority
        if worst is not None:
            self.remove(worst)
        return worst is not None

    def _count_unproven_strangers(self) -> int:
        return sum(1 for pair in self.paths.values() if pair.is_unproven_stranger)

    def _set_first_state(self, pair: CandidatePair) -> None:
        """RFC 8445 section 6.1.2.6 and RFC 8838 section 12: of each foundation the best pair is Waiting."""
        pair.state = WAITING
        relatives = self._relatives.get(pair.foundation, ())
        if any(other.state is SUCCEEDED for other in relatives):
            return
        for other in relatives:
            if other.state is IN_PROGRESS or (other.state is WAITING and other.priority >= pair.priority):
                pair.state = FROZEN
                return
        for other in relatives:
            if other.state is WAITING and other not in self._triggered:
                other.state = FROZEN

    def remove(self, pair: CandidatePair) -> None:
        if self.paths.pop((pair.base_id, pair.destination), None) is not None:
            self._leave_relatives(pair)
        self._triggered.pop(pair, None)

    def rename(self, pair: CandidatePair, *, base: Candidate | None = None, remote: Candidate | None = None) -> None:
        """More is known of the candidates of a pair, which stays the same pair."""
        self._leave_relatives(pair)
        pair.base, pair.remote = base or pair.base, remote or pair.remote
        self._relatives.setdefault(pair.foundation, []).append(pair)
        self.prioritize(pair)

    def _leave_relatives(self, pair: CandidatePair) -> None:
        relatives = self._relatives[pair.foundation]
        relatives.remove(pair)
        if not relatives:
            del self._relatives[pair.foundation]

    def set_controlling(self, controlling: bool) -> None:
        """Pair priorities depend on the role (RFC 8445 section 7.2.5.1)."""
        self.controlling = controlling
        for pair in self.paths.values():
            self.prioritize(pair)

    def prioritize(self, pair: CandidatePair) -> None:
        pair.priority = pair_priority(pair.local, pair.remote, self.controlling)

    # What is next

    def trigger(self, pair: CandidatePair, not_before: float = -math.inf) -> None:
        """Put a pair into the triggered-check queue (RFC 8445 section 7.3.1.4), if it is not there already."""
        pair.state = WAITING
        self._triggered.setdefault(pair, not_before)

    def next_triggered(self, now: float, interval: float) -> CandidatePair | None:
        """Take the first triggered pair whose time has come: its last request was sent ``interval`` ago or longer."""
        for pair in self._triggered:
            if self._due(pair, interval) <= now:
                del self._triggered[pair]
                return pair
        return None

    def triggered_due(self, interval: float) -> float:
        """When :meth:`next_triggered` has a pair, infinity without any."""
        return min((self._due(pair, interval) for pair in self._triggered), default=math.inf)

    def _due(self, pair: CandidatePair, interval: float) -> float:
        not_before = self._triggered[pair]
        return not_before if pair.last_request_sent is None else max(not_before, pair.last_request_sent + interval)

    @property
    def triggered(self) -> Collection[CandidatePair]:
        """The triggered-check queue, in its order."""
        return self._triggered

    def next_ordinary(self) -> CandidatePair | None:
        """The pair for the next ordinary check, which is unfrozen if need be (RFC 8445 section 6.1.4.2)."""
        waiting = best(pair for pair in self.paths.values() if pair.state is WAITING and pair not in self._triggered)
        if waiting is None:
            waiting = best(self._thawable())
            if waiting is not None:
                waiting.state = WAITING
        return waiting

    def has_ordinary(self) -> bool:
        """Whether :meth:`next_ordinary` would find a pair."""
        if any(pair.state is WAITING and pair not in self._triggered for pair in self.paths.values()):
            return True
        return bool(self._thawable())

    def _thawable(self) -> list[CandidatePair]:
        """Frozen pairs whose foundation is not just being tried.

        The standard keeps a pair frozen until the check of its relative has failed, which takes 39.5 s, and trusts
        the peer to tell its foundations apart. We trust that until the relative's first request is overdue.
        """
        frozen = self.in_state(FROZEN)
        if not frozen:
            return []
        busy = {pair.foundation for pair in self.in_state(WAITING)}
        busy |= {pair.foundation for pair in self.in_state(IN_PROGRESS) if not pair.overdue}
        return [pair for pair in frozen if pair.foundation not in busy]

    # What came of it

    def succeeded(self, pair: CandidatePair) -> None:
        """A check's answer came: the pair, and all of its foundation, are worth more (RFC 8445 section 7.2.5.3.3)."""
        self._triggered.pop(pair, None)
        pair.state = SUCCEEDED
        for other in self._relatives.get(pair.foundation, ()):
            if other.state is FROZEN:
                other.state = WAITING

    def failed(self, pair: CandidatePair, why: str) -> None:
        """RFC 8445 section 7.2.5.2: other pairs are not touched. A stranger that has not answered is forgotten."""
        self._triggered.pop(pair, None)
        pair.failure = why
        if pair.is_unproven_stranger and pair is not self.in_use:
            self.remove(pair)
        pair.state = FAILED

    def conclude(self) -> None:
        """A pair is selected: what has not been checked need not be any more (RFC 8445 section 8.1.2)."""
        self._triggered.clear()
        for pair in self.in_state(FROZEN, WAITING):
            self.remove(pair)
