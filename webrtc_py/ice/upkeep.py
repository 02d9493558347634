"""Keeping what was found: consent, silence, another pair in the selected one's place, and the states that they make.

RFC 7675 for consent, RFC 8863 for the patience before anything was found, W3C for the names of the states.
"""

from __future__ import annotations

import math

from ..states import CandidatePairState, CandidateType, ICETransportState
from .candidate import Candidate
from .checklist import best
from .events import PathResumed, SelectedPairChanged
from .explain import why_no_path
from .liveness import Liveness, goes_one_way_from, in_doubt_from, is_silent, liveness
from .pair import CandidatePair
from .search import Search
from .session import LIVE, Session
from .transaction import MIN_RTO, Transaction

_FAILED = CandidatePairState.FAILED
# Asked for with each train; an enumeration's members take their time to be looked up.
_DISCONNECTED = ICETransportState.DISCONNECTED

# RFC 7675 section 5.1: no two consent checks within 4 s. Whoever has set a shorter interval, as Pion's default is, is
# not held to it.
_MIN_CONSENT_INTERVAL = 4.0
# RFC 8445 section 11: Tr, between keepalives of agents that do not check.
_INDICATION_INTERVAL = 15.0
# How long nothing has come in on the selected pair when it is worth asking why the peer speaks elsewhere.
_SILENCE = 1.0
# How long after a move the peer may not have followed yet.
_MOVING = 3.0
# How long checks on the selected pair may go unanswered while packets come in and another pair answers: a few losses
# are no reason to leave it, but they are soon enough after a move, to a pair that has yet to prove itself.
_ONE_WAY = 5.0
_ONE_WAY_AFTER_MOVE = 1.0
# Between questions to a selected pair that is to prove at once that it works.
_URGENT_INTERVAL = 0.1


class Upkeep:
    """Has the last word on the selected pair, the path and the state."""

    def __init__(self, session: Session, search: Search) -> None:
        self._session = session
        self._search = search
        self._patient_until = 0.0
        self._liveness_until = 0.0
        self._next_keepalive = 0.0
        self._next_alternative = 0.0
        # A pair that there is reason to believe the peer has moved to, and when to follow it.
        self._challenger: CandidatePair | None = None
        self._decide_at = 0.0
        self._newest_when_selected = 0
        self._was_silent = False
        self._moved_at = -math.inf
        # As the controlled agent we have left what the peer had nominated, since it was lost to us.
        self._strayed = False

    def be_patient(self, now: float) -> None:
        """Something new has come to light: the search has its time again (RFC 8863)."""
        timings = self._session.timings
        self._patient_until = now + timings.patience
        self._next_alternative = self._next_alternative or now + timings.consent_interval

    # Selection

    def select(self, pair: CandidatePair, now: float) -> None:
        session, before = self._session, self._session.selected
        session.trace(now, "selects %s", pair)
        session.selected = session.checklist.in_use = pair
        pair.nominated = True
        self._strayed = False
        self._challenger = None
        self._was_silent = False
        self._newest_when_selected = session.checklist.last_id
        if self._search.renomination is not None:
            self._search.renomination.selected(now)
        if before is None:
            if not session.keep_alternatives and not session.lite:
                session.checklist.conclude()
                session.checks.cancel_checks()
            self._next_alternative = now + session.timings.consent_interval
        self._rest(now)
        lost = before is not None and (not before.succeeded or is_silent(before, now))
        session.events.append(SelectedPairChanged(pair, lost))

    def prefer(self, pair: CandidatePair, now: float) -> None:
        """The application wants this pair: it is selected if it works."""
        if pair.has_consent(now):
            self._take_over(pair, now)

    def nominated_by_peer(self, pair: CandidatePair, now: float) -> None:
        """The controlling peer has nominated a pair, and it works."""
        session, peers = self._session, self._search.peers_nominations
        pair.nominated, pair.nominate_on_success = True, False
        if pair is session.selected:
            self._strayed = False
            return
        if peers.follows(pair, session.selected):
            self.select(pair, now)
        elif not peers.has_values:
            self.challenge(pair, now, nominated=True)

    def has_begun_to_work(self, pair: CandidatePair, now: float) -> None:
        """A pair that is not the selected one has answered, and had not before, or not for long.

        When it is one that was made after the selection, the peer has perhaps moved.
        """
        if self._session.selected is not None and pair.id > self._newest_when_selected:
            self.challenge(pair, now)
        else:
            self.heard_elsewhere(pair, now)

    def heard_elsewhere(self, pair: CandidatePair, now: float) -> None:
        """The peer speaks on a pair that is not the selected one, perhaps because it has lost that."""
        selected = self._session.selected
        if selected is None or self._session.lite or not pair.has_consent(now):
            return
        if not selected.succeeded or (selected.last_received or 0.0) + _SILENCE <= now:
            self.challenge(pair, now)

    def data_elsewhere(self, pair: CandidatePair, now: float) -> None:
        """The peer's data come on a pair that is not the selected one.

        Where the controlling agent sends is what it has selected. The controlled one, which has left that, or was
        nominated a worse pair and stayed, goes there too. Packets that are late on a path just left are no sign of it.
        """
        session, selected = self._session, self._session.selected
        if selected is None or session.lite or not pair.has_consent(now):
            return
        was_nominated = pair.nominated and not self._search.peers_nominations.has_values
        last = max(self._moved_at, selected.last_packet_received or -math.inf)
        if not session.controlling and (self._strayed or was_nominated) and last + _SILENCE <= now:
            self._take_over(pair, now)
        else:
            self.heard_elsewhere(pair, now)

    def challenge(self, pair: CandidatePair, now: float, *, nominated: bool = False) -> None:
        """Ask the selected pair whether it still works; if it does not say so soon, this one takes its place.

        A nomination is followed sooner, when the selected pair has been silent before it came.
        """
        selected = self._session.selected
        if selected is None or pair is selected:
            return
        known = self._challenger
        if known is not None and not nominated and (known.nominated or known.priority >= pair.priority):
            return
        self._challenger = pair
        if selected.succeeded and (selected.last_request_sent or 0.0) + MIN_RTO <= now:
            self._ask(selected, now)
        self._decide_at = in_doubt_from(selected) if nominated else in_doubt_from(selected, now)

    def _decide(self, now: float) -> None:
        """The selected pair has had its time to answer."""
        challenger, selected = self._challenger, self._session.selected
        if challenger is None or selected is None:
            return
        is_lost = not selected.succeeded
        if not challenger.has_consent(now) or (selected.asked_since is None and not is_lost):
            self._challenger = None
        elif is_lost or now >= self._decide_at:
            self._take_over(challenger, now)

    def _move(self, now: float) -> bool:
        """The selected pair is silent: go on with another that works and is not, as after a NAT's change of mind.

        The peer's checks then come from an address that is new to us, and on what the peer takes for the same pair.
        """
        session, selected = self._session, self._session.selected
        if selected is None or session.lite:
            return False
        if session.state is _DISCONNECTED and selected.succeeded:
            # What begins to work after that has to challenge it, so that the better pair keeps its place.
            return False
        live = best(pair for pair in session.pairs if pair is not selected and self._is_live(pair, now))
        if live is None:
            return False
        self._take_over(live, now)
        return True

    def _leave_one_way(self, now: float) -> None:
        """The peer's packets come in on the selected pair, but its answers do not: ours go nowhere.

        That is how a route looks that has gone with an interface. Another pair, one that has answered since, is better.
        The controlled agent only looks on where its own move has brought it; else it follows, so that both ends agree.
        """
        session, selected = self._session, self._session.selected
        has_moved = now < self._moved_at + _MOVING
        if selected is None or session.lite or not (session.controlling or has_moved):
            return
        since = selected.unanswered_since
        if since is None or now < goes_one_way_from(selected, _ONE_WAY_AFTER_MOVE if has_moved else _ONE_WAY):
            return
        others = (pair for pair in session.pairs if pair is not selected and pair.has_consent(now))
        answering = best(pair for pair in others if (pair.last_response_received or -math.inf) > since)
        if answering is not None:
            self._take_over(answering, now)

    def _is_live(self, pair: CandidatePair, now: float) -> bool:
        return liveness(pair, self._session.timings, now).state is ICETransportState.CONNECTED

    def _take_over(self, pair: CandidatePair, now: float) -> None:
        self._moved_at = now
        self.select(pair, now)
        if self._session.controlling:
            self._search.nominate(pair, now)
        else:
            self._strayed = True
            self._ask(pair, now)

    # Consent

    def answered(self, transaction: Transaction) -> None:
        """The last consent check was answered, so the next one has time.

        Where round trips are long, those before it are answered later, and each answer would make another question.
        """
        pair = transaction.pair
        if pair is self._session.selected and transaction.first_sent == pair.last_request_sent:
            self._rest(transaction.first_sent)

    def _rest(self, now: float) -> None:
        """Until the next consent check; spread, so that many agents do not fall into step (RFC 7675 section 5.1).

        After a move it is short: the peer, who may not know of it, finds its own pair silent by then and understands.
        """
        interval = self._session.timings.consent_interval * self._session.chance.spread()
        if now < self._moved_at + _MOVING:
            interval = min(interval, _SILENCE)
        self._next_keepalive = now + interval

    def ask_soon(self, pair: CandidatePair, now: float) -> None:
        """It need not wait for its turn: the peer is there without having consented, or its connection has ended."""
        soon = max(now, (pair.last_request_sent or 0.0) + MIN_RTO)
        self._next_keepalive = min(self._next_keepalive, soon)

    def _ask(self, pair: CandidatePair, now: float) -> None:
        """A check on the selected pair, and soon the next unless it is answered: a loss or two is no disconnection.

        RFC 7675 wants 4 s between two at least, which it gets when that is the interval. Pion's 5 s to
        ``disconnected`` leave no room for it. While another pair challenges the selected one, it is asked so often that
        losses alone do not lose it its place. Over TCP, nothing is lost.
        """
        session = self._session
        pair.consent_requests_sent += 1
        self._search.ask_consent(pair, now)
        if pair is not session.selected:
            return
        self._rest(now)
        round_trip_time = pair.smoothed_round_trip_time or 0.0
        if pair.is_stream:
            return
        if self._challenger is not None:
            self._next_keepalive = now + max(_URGENT_INTERVAL, round_trip_time / 4)
        elif session.state is not _DISCONNECTED and session.timings.consent_interval < _MIN_CONSENT_INTERVAL:
            soon = now + max(MIN_RTO, 1.5 * round_trip_time)
            self._next_keepalive = min(self._next_keepalive, soon)

    def handle_timeout(self, now: float) -> None:
        session, selected = self._session, self._session.selected
        if self._keeps_alternatives and now >= self._next_alternative:
            self._ask_alternative(now)
        if selected is not None and now >= self._next_keepalive:
            if session.lite and session.remote_lite:
                self._indicate(selected, now)
            elif session.lite:
                pass
            elif selected.succeeded:
                self._ask(selected, now)
            elif self._can_reopen(selected):
                # RFC 6544 section 11.1: whoever has opened the connection opens it again.
                self._rest(now)
                self._search.check(selected, now)

    def _indicate(self, pair: CandidatePair, now: float) -> None:
        """RFC 8445 section 11: where neither end checks, NATs and firewalls still want to see something."""
        self._session.checks.indicate(pair)
        self._next_keepalive = now + _INDICATION_INTERVAL

    def _can_reopen(self, pair: CandidatePair) -> bool:
        return pair.state is _FAILED and pair.is_ours_to_open and pair.base_id in self._session.pairing.bases

    @property
    def _keeps_alternatives(self) -> bool:
        """Before one is selected, all pairs that work are: the nomination may take longer than a NAT remembers them."""
        session = self._session
        return session.keep_alternatives or (session.selected is None and not session.lite)

    def _ask_alternative(self, now: float) -> None:
        """One alternative after the other, each of them as often as the selected pair."""
        alternatives = self._search.alternatives
        self._next_alternative = now + self._session.timings.consent_interval / max(len(alternatives), 1)
        pair = min(alternatives, key=lambda pair: pair.last_request_sent or 0.0, default=None)
        if pair is None:
            return
        if pair.has_consent(now) or self._session.selected is None:
            self._ask(pair, now)
        else:
            self._search.lost(pair, "its checks are answered no more")

    # The state

    @property
    def is_silent(self) -> bool:
        """Whether whatever comes in on the selected pair is news."""
        return self._was_silent or self._session.state is _DISCONNECTED

    def update(self, now: float) -> None:
        """Which state all that has happened makes."""
        session = self._session
        if session.state not in LIVE:
            return
        if session.selected is None:
            session.path = self._search.best_with_consent(now)
            if now >= self._patient_until:
                session.stop(ICETransportState.FAILED, self._why_no_path())
            return
        self._decide(now)
        self._leave_one_way(now)
        health = self._health(session.selected, now)
        if health.state is not ICETransportState.CONNECTED and self._move(now):
            health = self._health(session.selected, now)
        self._liveness_until = health.until
        self._listen(session.selected, now)
        self._update_path(now)
        if health.state is ICETransportState.FAILED:
            session.stop(ICETransportState.FAILED, f"{session.selected}: {health.reason}")
        elif health.state is _DISCONNECTED:
            self._set_disconnected(f"{session.selected}: {health.reason}", now)
        else:
            self._set_connected()

    def _listen(self, selected: CandidatePair, now: float) -> None:
        """An outage may be too short for ``disconnected``, and yet long enough for all that was sent to be lost."""
        if is_silent(selected, now):
            self._was_silent = True
        elif self._was_silent and selected.asked_since is None:
            self._was_silent = False
            self._session.events.append(PathResumed())

    def _health(self, selected: CandidatePair, now: float) -> Liveness:
        session = self._session
        if session.lite and session.remote_lite:
            # Neither end checks, so silence means nothing.
            state = ICETransportState.CONNECTED if selected.succeeded else _DISCONNECTED
            return Liveness(state, selected.failure, math.inf)
        return liveness(selected, session.timings, now)

    def _update_path(self, now: float) -> None:
        session, selected = self._session, self._session.selected
        before = session.path
        session.path = selected if selected is not None and selected.has_consent(now) else None
        if before is not None and before is selected and session.path is None:
            # RFC 7675 section 5.1: what was asked before the expiry regains no consent after it.
            session.checks.forget(before)

    def _set_disconnected(self, reason: str, now: float) -> None:
        session = self._session
        if session.state is not _DISCONNECTED:
            session.set_state(_DISCONNECTED, reason)
            if not session.lite:
                self._search.resume(now)

    def _set_connected(self) -> None:
        """W3C's ``completed``: connected, both ends have named all their candidates, and nothing is left to check."""
        session = self._session
        if session.state is ICETransportState.COMPLETED:
            return
        if session.state is _DISCONNECTED:
            session.set_state(ICETransportState.CONNECTED, f"{session.selected}: the peer is heard again")
        elif session.state is not ICETransportState.CONNECTED:
            session.set_state(ICETransportState.CONNECTED, str(session.selected))
        is_checking = session.checks.are_pending() or session.checklist.triggered or self._search.has_more
        if session.is_complete and not is_checking:
            session.set_state(ICETransportState.COMPLETED, f"{session.selected}, and nothing is left to check")

    def _why_no_path(self) -> str:
        session = self._session
        local = [local.candidate for local in session.pairing.locals]
        return why_no_path(
            local, remote_candidates(session), session.pairs, session.dropped, session.controlling, lite=session.lite
        )

    def next_timeout(self) -> float:
        session = self._session
        due = session.path.consent_expires if session.path is not None else math.inf
        selected = session.selected
        if self._keeps_alternatives:
            due = min(due, self._next_alternative)
        if selected is None:
            return min(due, self._patient_until)
        due = min(due, self._liveness_until)
        if session.remote_lite if session.lite else selected.succeeded or self._can_reopen(selected):
            due = min(due, self._next_keepalive)
        if self._challenger is not None:
            due = min(due, self._decide_at)
        return due


def remote_candidates(session: Session) -> list[Candidate]:
    """What the peer signalled, and what its checks told of."""
    found = [pair.remote for pair in session.pairs if pair.remote.type is CandidateType.PRFLX]
    return list(dict.fromkeys([*session.pairing.remotes, *found]))
