"""What becomes of our own checks: answered, refused, or never answered (RFC 8445 section 7.2.5)."""

from __future__ import annotations

from ..states import CandidatePairState
from . import stun
from .pair import Address
from .search import Search
from .session import Session
from .transaction import Purpose, Transaction
from .upkeep import Upkeep

_IN_PROGRESS = CandidatePairState.IN_PROGRESS
_SUCCEEDED = CandidatePairState.SUCCEEDED


class Outcomes:
    """Takes responses, and the end of the time that there was for them."""

    def __init__(self, session: Session, search: Search, upkeep: Upkeep) -> None:
        self._session = session
        self._search = search
        self._upkeep = upkeep

    def receive(self, response: stun.Message, base_id: int, source: Address, now: float) -> bool:
        """Whether it may have changed anything."""
        session = self._session
        transaction = session.checks.match(response, base_id, source)
        if transaction is None or transaction.pair not in session.checklist:
            return False
        mapped = response.attributes.get("XOR-MAPPED-ADDRESS")
        transaction.pair.heard(now)
        if response.message_class is stun.Class.ERROR:
            if response.error_code == stun.ROLE_CONFLICT:
                self._role_refused(transaction, now)
            elif response.error_code == stun.FORBIDDEN and transaction.pair.succeeded:
                # RFC 7675 section 5.2.
                self._search.lost(transaction.pair, "the peer has taken back its consent")
            else:
                self._failed(transaction, f"refused with {response.error_code}", now)
        elif response.unknown_required or mapped is None:
            self._failed(transaction, "answered with what cannot be understood", now)
        else:
            self._succeeded(transaction, mapped, now)
        return True

    def _role_refused(self, transaction: Transaction, now: float) -> None:
        """RFC 8445 section 7.2.5.1. A refusal of a role that we have given up already changes no role."""
        session = self._session
        if transaction.controlling == session.controlling:
            self._search.switch_role(now)
            session.tie_breaker = session.chance.tie_breaker()
        if transaction.pair is not session.selected or not transaction.pair.succeeded:
            session.checklist.trigger(transaction.pair)

    def _succeeded(self, transaction: Transaction, mapped: Address, now: float) -> None:
        session, pair = self._session, transaction.pair
        had_consent = pair.has_consent(now)
        round_trip_time = transaction.round_trip_time(now)
        pair.response_received(round_trip_time, now)
        session.pairing.prove(pair, has_answered=True)
        if transaction.purpose is Purpose.CONSENT:
            self._upkeep.answered(transaction)
        if not pair.succeeded:
            session.checks.forget(pair, Purpose.CHECK)
            session.checklist.succeeded(pair)
            session.pairing.learn_local(pair, mapped)
            session.trace(now, "works%s: %s", _took(round_trip_time), pair)
        if transaction.purpose is Purpose.NOMINATION and session.controlling:
            self._nomination_accepted(transaction, now)
        elif pair.nominate_on_success and not session.controlling:
            self._upkeep.nominated_by_peer(pair, now)
        if not had_consent:
            self._works_again(transaction, now)
        self._search.consider(pair, now)

    def _nomination_accepted(self, transaction: Transaction, now: float) -> None:
        if transaction.cancelled:
            # Another one has taken its place.
            return
        self._search.nomination_answered(transaction.pair, now)
        if transaction.pair is not self._session.selected:
            self._upkeep.select(transaction.pair, now)

    def _works_again(self, transaction: Transaction, now: float) -> None:
        session, pair = self._session, transaction.pair
        if pair is not session.selected:
            self._upkeep.has_begun_to_work(pair, now)
        elif session.controlling and transaction.purpose is Purpose.CHECK:
            # It is another connection, and to the peer another pair (RFC 6544 section 11.1).
            self._search.nominate(pair, now)

    def expired(self, transaction: Transaction, now: float) -> None:
        """Nothing came."""
        session, pair = self._session, transaction.pair
        if transaction.purpose is Purpose.CONSENT or pair not in session.checklist:
            return
        if transaction.cancelled:
            if pair.state is _IN_PROGRESS and not session.checks.are_pending(pair):
                session.checklist.failed(pair, "no answer")
        elif transaction.purpose is Purpose.CHECK or session.checklist.in_state(_SUCCEEDED) != [pair]:
            # The only pair that works is nominated again.
            self._failed(transaction, "no answer", now)

    def _failed(self, transaction: Transaction, why: str, now: float) -> None:
        """RFC 8445 section 7.2.5.2. A nomination that fails does not end the search, nor the use of what is in use."""
        session, pair = self._session, transaction.pair
        if transaction.purpose is Purpose.CONSENT or transaction.cancelled:
            return
        if pair is not session.selected or not pair.succeeded:
            session.trace(now, "failed: %s: %s", pair, why)
            session.checklist.failed(pair, why)


def _took(round_trip_time: float | None) -> str:
    return "" if round_trip_time is None else f", {round_trip_time * 1000:.0f} ms"
