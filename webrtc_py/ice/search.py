"""The way to a selected pair, and to a better one: which checks are sent, and what is nominated (RFC 8445 6.1, 8.1)."""

from __future__ import annotations

import math

from ..states import CandidatePairState, ICETransportState
from .checklist import best
from .events import RoleChanged
from .options import RenominationOptions
from .pair import CandidatePair
from .renomination import Renomination
from .selection import Nomination, PeersNominations
from .session import Session
from .transaction import (
    CONSENT_DELAYS,
    MIN_RTO,
    Purpose,
    check_delays,
    nomination_delays,
    stream_check_delays,
    triggered_check_delays,
)

_WAITING = CandidatePairState.WAITING
_IN_PROGRESS = CandidatePairState.IN_PROGRESS
_FAILED = CandidatePairState.FAILED

# How many pairs beside the selected one are kept alive, and tried first when that is lost.
MAX_ALTERNATIVES = 10
# How often at most the peer is told again which pair is in use.
_INSISTENCE_INTERVAL = 5.0
# How often pairs that have failed are tried again, and for how long after a selection if they have worked before.
_REVIVAL_INTERVAL = 10.0
_HOPE = 120.0


class Search:
    """Sends checks as often as Ta allows, and nominates when the criterion is met."""

    def __init__(self, session: Session, renomination: RenominationOptions | None) -> None:
        self._session = session
        self.nomination = Nomination(session.timings)
        self.peers_nominations = PeersNominations()
        self.renomination = Renomination(renomination) if renomination is not None else None
        self.remote_renominates = True
        self.confirmed: CandidatePair | None = None
        """What the peer has been nominated last, and has answered."""
        self._next_insistence = 0.0
        self._next_ordinary = 0.0
        self._next_revival = 0.0

    # The role

    def set_role(self, controlling: bool, now: float) -> None:
        """What was nominated in the old role counts no more, though data may use it until the new one has decided."""
        session = self._session
        session.controlling = controlling
        for pair in session.pairs:
            pair.nominated = False
        session.checklist.set_controlling(controlling)
        self.nomination = Nomination(session.timings)
        self.peers_nominations = PeersNominations()
        self.confirmed = None
        session.checks.cancel_nominations()
        if session.is_running and session.checklist.paths:
            self.nomination.begin(now)

    def switch_role(self, now: float) -> None:
        """A conflict was resolved against us (RFC 8445 section 7.3.1.1)."""
        self.set_role(not self._session.controlling, now)
        self._session.events.append(RoleChanged(self._session.role))

    # Checks

    def step(self, now: float) -> None:
        """Send what may be sent, and nominate what may be nominated."""
        session = self._session
        if not session.is_running or session.lite:
            return
        if session.is_searching and now >= self._next_revival:
            self._revive(now)
        self._send_checks(now)
        if self._is_to_nominate:
            pair = self.nomination.choose(session.checklist, session.is_complete, now)
            if pair is not None:
                self.nominate(pair, now)
        self._insist(now)

    def next_timeout(self) -> float:
        session = self._session
        if not session.is_running or session.lite:
            return math.inf
        due = session.checklist.triggered_due(session.timings.check_interval)
        if self._is_to_insist:
            due = min(due, self._next_insistence)
        if not session.is_searching:
            return due
        due = min(due, self._next_revival)
        if self._next_ordinary < due and session.checklist.has_ordinary():
            due = self._next_ordinary
        if self._is_to_nominate:
            due = min(due, self.nomination.next_timeout(session.checklist, session.is_complete))
        return due

    @property
    def has_more(self) -> bool:
        """Whether there are pairs to check that wait for their turn."""
        session = self._session
        return session.is_searching and not session.lite and session.checklist.has_ordinary()

    def _send_checks(self, now: float) -> None:
        """RFC 8445 section 6.1.4.2. Triggered checks do not wait for Ta: they go to an address that has just spoken."""
        session = self._session
        interval = session.timings.check_interval
        while (pair := session.checklist.next_triggered(now, interval)) is not None:
            self.check(pair, now)
        if session.is_searching and now >= self._next_ordinary:
            pair = session.checklist.next_ordinary()
            if pair is not None:
                self._next_ordinary = now + interval
                self.check(pair, now)

    def check(self, pair: CandidatePair, now: float) -> None:
        session = self._session
        self.nomination.begin(now)
        if pair.first_request_sent is None:
            session.trace(now, "checks %s", pair)
        pair.state = _IN_PROGRESS
        busy = len(session.checklist.in_state(_WAITING, _IN_PROGRESS))
        # RFC 8445 section 14.3; it bounds how fast all checks together are sent again.
        rto = max(MIN_RTO, session.timings.check_interval * busy)
        if pair.is_stream:
            delays = stream_check_delays(rto)
        elif pair.requests_received or session.remote_lite:
            # A lite agent is where everybody can reach it, and never shows by a check of its own that it is there.
            delays = triggered_check_delays(rto, session.timings.max_binding_requests)
        else:
            delays = check_delays(rto, session.timings.max_binding_requests)
        session.send(pair, Purpose.CHECK, delays, now)

    # After the selected pair has gone

    @property
    def alternatives(self) -> list[CandidatePair]:
        """The pairs beside the selected one that have worked when they were last checked, a few of each base."""
        session = self._session
        places: dict[int, int] = {}
        ranked: list[tuple[int, int, CandidatePair]] = []
        for pair in sorted(session.pairs, key=lambda pair: -pair.priority):
            if pair.succeeded and pair is not session.selected:
                place = places[pair.base_id] = places.get(pair.base_id, -1) + 1
                ranked.append((place, -pair.priority, pair))
        return [pair for _, _, pair in sorted(ranked, key=lambda entry: entry[:2])[:MAX_ALTERNATIVES]]

    def resume(self, now: float) -> None:
        """The selected pair works no more: everything that might is tried, first what has worked before.

        An address of the peer's that has never answered is tried once again at most, as in a search from the start.
        """
        session = self._session
        session.pairing.pair_all()
        for pair in self.alternatives:
            session.checklist.trigger(pair)
        for pair in session.checklist.in_state(_IN_PROGRESS):
            if not session.checks.are_pending(pair):
                pair.state = _WAITING  # its check was given up when the pair was selected that is lost now
        self._revive(now)

    def _revive(self, now: float) -> None:
        """Give pairs that have failed another chance.

        Before a first one is selected it is each of them, and then a few of those that worked not long ago.
        """
        self._next_revival = now + _REVIVAL_INTERVAL
        session = self._session
        failed = [p for p in session.checklist.in_state(_FAILED) if p.base_id in session.pairing.bases]
        if session.selected is not None:
            worked = {p: p.last_response_received or -math.inf for p in failed if p is not session.selected}
            hoped_for = [pair for pair, last in worked.items() if now - last < _HOPE]
            failed = sorted(hoped_for, key=lambda pair: -worked[pair])[:MAX_ALTERNATIVES]
        for pair in failed:
            pair.state = _WAITING

    # Nomination

    @property
    def _is_to_nominate(self) -> bool:
        """Whether it is our turn to choose, and nothing that was chosen is waited for."""
        session = self._session
        if session.waits_for_peer and not session.peer_has_checked:
            return False
        return session.controlling and session.selected is None and session.checks.nominee is None

    @property
    def renominates(self) -> bool:
        """Whether we may change our mind, as the controlling agent of a peer that understands it."""
        return self.renomination is not None and self.remote_renominates and self._session.controlling

    def nominate(self, pair: CandidatePair, now: float) -> None:
        """Ask the peer to use a pair. What was nominated before, and has not been answered, is so no more."""
        session = self._session
        session.trace(now, "nominates %s", pair)
        session.checks.cancel_nominations()
        self.confirmed = None
        delays = nomination_delays(pair.current_round_trip_time)
        if pair.is_stream:
            delays = (sum(delays),)
        session.send(pair, Purpose.NOMINATION, delays, now, self._next_value(), use_candidate=True)

    def ask_consent(self, pair: CandidatePair, now: float) -> None:
        """A lite peer that we control is told each time that the selected pair is what it is to use.

        It makes no checks, so it would never find out where ours come from after a NAT's change of mind.
        """
        session = self._session
        is_told = session.controlling and session.remote_lite and pair is session.selected
        if is_told and session.checks.nominee is None:
            session.send(pair, Purpose.CONSENT, CONSENT_DELAYS, now, self._next_value(), use_candidate=True)
        else:
            session.send(pair, Purpose.CONSENT, CONSENT_DELAYS, now)

    def _next_value(self) -> tuple[int, int] | None:
        """The attribute and the value of a nomination, where both ends know renomination.

        Counted even where it is not sent: to libwebrtc a nomination without a value has the value 1.
        """
        counted = None if self.renomination is None else self.renomination.next_value()
        return counted if self.remote_renominates else None

    def nomination_answered(self, pair: CandidatePair, now: float) -> None:
        """Whether the peer follows shows soon, in a check of its own."""
        self.confirmed = pair
        self._next_insistence = max(self._next_insistence, now + MIN_RTO)

    @property
    def _is_to_insist(self) -> bool:
        """Whether there is reason to doubt that the peer uses the selected pair.

        The last nomination was of another pair and its answer never came, though the peer may have followed it; or it
        was the peer who nominated, before a role conflict was resolved. Or it has answered the nomination and not
        taken it, as werift may right after a restart: a full agent checks a pair before it uses it (RFC 8445
        section 7.3.1.5).
        """
        session, selected = self._session, self._session.selected
        if not session.controlling or selected is None or not selected.succeeded or session.checks.nominee is not None:
            return False
        is_used = session.remote_lite or selected.requests_received or selected.packets_received
        return selected is not self.confirmed or not is_used

    def _insist(self, now: float) -> None:
        """Tell the peer again which pair is in use."""
        selected = self._session.selected
        if selected is not None and now >= self._next_insistence and self._is_to_insist:
            self._next_insistence = now + _INSISTENCE_INTERVAL
            if selected.has_consent(now):
                self.nominate(selected, now)

    def consider(self, pair: CandidatePair, now: float) -> None:
        """A pair has answered: perhaps it is better than the selected one."""
        session = self._session
        selected = session.selected
        if selected is None or self.renomination is None or not self.renominates:
            return
        is_steady = session.state is not ICETransportState.DISCONNECTED and session.checks.nominee is None
        if is_steady and pair is not selected and self.renomination.judge(pair, selected, now):
            self.nominate(pair, now)

    def lost(self, pair: CandidatePair, reason: str) -> None:
        """There is no way any more."""
        session = self._session
        session.checks.forget(pair)
        session.checklist.failed(pair, reason)

    def best_with_consent(self, now: float) -> CandidatePair | None:
        """What data may use before a pair is selected (RFC 8445 section 12.1)."""
        return best(pair for pair in self._session.checklist.paths.values() if pair.has_consent(now))
