"""A lite agent (RFC 8445 sections 6.2, 7.3.2 and 8.2): it answers checks and makes none, and uses what it is told to.

It is for hosts that everybody can reach. Since it asks nothing, it cannot know that the peer is where a check came
from, and believes each check that is authenticated; only one that was captured and sent again is told by its
transaction id. For the same reason it has no consent of its own (RFC 7675 section 5.1 speaks of full agents): the
peer's checks, which ask for ours, stand in for it.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from ..states import CandidatePairState, ICETransportState
from .checklist import best
from .early import IncomingCheck
from .options import CONSENT_TIMEOUT
from .pair import Address, CandidatePair
from .search import Search
from .session import Session
from .upkeep import Upkeep

# What a peer asks in minutes; a flood pushes out what it has asked before, which is then as if it were new.
_MAX_REMEMBERED = 1000


class Lite:
    """Acts on the peer's checks, or on what both ends know when neither makes any."""

    def __init__(self, session: Session, search: Search, upkeep: Upkeep, *, by_priority: bool) -> None:
        """``by_priority`` lets no nomination move it to a pair of lower priority."""
        self._session = session
        self._by_priority = by_priority
        self._search = search
        self._upkeep = upkeep
        self._seen: OrderedDict[bytes, tuple[int, Address]] = OrderedDict()

    def is_replayed(self, check: IncomingCheck) -> bool:
        """Whether it came by another path before: then somebody has captured it."""
        path = check.base_id, check.source
        return self._seen.get(check.transaction_id, path) != path

    def forget_silent(self, now: float) -> None:
        """From where no check has come for so long the peer has gone, and what is new takes the place of that.

        A full agent finds out by itself which addresses work, and which fail.
        """
        session = self._session
        if session.remote_lite:
            return
        for pair in session.pairs:
            if pair is not session.selected and pair.consent_expires <= now:
                session.checklist.remove(pair)

    def take(self, pair: CandidatePair, check: IncomingCheck, now: float) -> None:
        """A check has been answered. What it says counts once: sent again, perhaps by others, it renews nothing."""
        if check.transaction_id in self._seen:
            return
        self._seen[check.transaction_id] = check.base_id, check.source
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        session = self._session
        session.pairing.prove(pair)
        pair.consent_expires = now + CONSENT_TIMEOUT
        if not self._search.peers_nominations.take(pair, check.use_candidate, check.nomination):
            return
        selected = session.selected
        holds = self._by_priority and check.nomination is None and session.state is not ICETransportState.DISCONNECTED
        if holds and selected is not None and pair.priority < selected.priority:
            return
        if pair is not selected:
            # The last nomination counts: full agents have one of each, unless they have moved.
            pair.state = CandidatePairState.SUCCEEDED
            self._upkeep.select(pair, now)

    def step(self, now: float) -> None:
        """With another lite agent: both have the same pairs with the same priorities, and so take the same."""
        session = self._session
        if not session.is_running or not session.remote_lite:
            return
        pair = best(pair for pair in session.pairs if pair.base_id in session.pairing.bases)
        if pair is not None and pair is not session.selected:
            pair.state = CandidatePairState.SUCCEEDED
            pair.consent_expires = math.inf
            session.pairing.prove(pair)
            self._upkeep.select(pair, now)
