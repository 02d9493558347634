"""Checks that come in (RFC 8445 section 7.3): whether they are the peer's, what they are answered, what they change."""

from __future__ import annotations

from typing import Any

from ..states import CandidatePairState, CandidateType, ICETransportState
from . import stun
from .early import EarlyChecks, IncomingCheck
from .events import BindingRequest, BindingRequestHandler
from .lite import Lite
from .options import RenominationOptions
from .pair import Address, CandidatePair
from .search import Search
from .session import Session
from .upkeep import Upkeep

# Where both ends have sent a check, the peer's answer to ours is often right behind its own check. In a busy process it
# has arrived already, and is read before this time is over; ours is then not sent once more for nothing.
_ANSWER_BEHIND = 0.001


class Incoming:
    """Takes requests. What is not authenticated changes nothing, and is not answered."""

    def __init__(
        self,
        session: Session,
        search: Search,
        upkeep: Upkeep,
        lite: Lite | None,
        options: RenominationOptions | None,
        handler: BindingRequestHandler | None,
    ) -> None:
        self._session = session
        self._search = search
        self._upkeep = upkeep
        self._lite = lite
        self._nomination = stun.NOMINATION if options is None else options.attribute
        self._handler = handler
        self._early = EarlyChecks()

    def receive(self, request: stun.Message, base_id: int, source: Address, now: float) -> bool:
        """Whether it may have changed anything."""
        session = self._session
        if not session.checks.authenticates(request):
            return False
        if base_id not in session.pairing.bases or not session.pairing.allows(source[0]):
            session.dropped.refused += 1
            return False
        refusal = self._why_not(request, base_id, source, now)
        if refusal is not None:
            session.checks.refuse(request, base_id, source, refusal)
            return False
        session.checks.answer(request, base_id, source)
        check = self._read(request, base_id, source)
        if not session.is_running:
            session.dropped.refused += not self._early.remember(check)
            return False
        self._take(check, now)
        return True

    def _why_not(self, request: stun.Message, base_id: int, source: Address, now: float) -> int | None:
        """The error code for an authenticated request that cannot be accepted."""
        session = self._session
        if any(kind != self._nomination for kind in request.unknown_required):
            return stun.UNKNOWN_ATTRIBUTE
        if "PRIORITY" not in request.attributes and (base_id, source) not in session.checklist.paths:
            return stun.BAD_REQUEST
        if session.state is not ICETransportState.NEW and not self._resolves_roles(request.attributes, now):
            return stun.ROLE_CONFLICT
        return None

    def _read(self, request: stun.Message, base_id: int, source: Address) -> IncomingCheck:
        attributes = request.attributes
        return IncomingCheck(
            request.transaction_id,
            base_id,
            source,
            attributes["USERNAME"].partition(":")[2],
            attributes.get("PRIORITY", 1),
            "USE-CANDIDATE" in attributes,
            request.nomination(self._nomination),
        )

    def _resolves_roles(self, attributes: dict[str, Any], now: float) -> bool:
        """RFC 8445 section 7.3.1.1: False when it is the peer that must change its role."""
        session = self._session
        theirs = attributes.get("ICE-CONTROLLING" if session.controlling else "ICE-CONTROLLED")
        if not isinstance(theirs, int):
            return True
        # The larger tie-breaker controls, whichever role both ends have claimed; but a lite agent never a full one.
        is_bound = session.lite and not session.remote_lite
        if is_bound or (session.tie_breaker >= theirs) == session.controlling:
            return False
        self._search.switch_role(now)
        return True

    def take_early(self, now: float) -> None:
        """The peer is known now: what it asked before counts."""
        for check in self._early.take(self._session.checks.remote_ufrag or ""):
            if check.base_id in self._session.pairing.bases:
                self._take(check, now)

    def _take(self, check: IncomingCheck, now: float) -> None:
        """RFC 8445 sections 7.3.1.3 to 7.3.1.5, for a check that has been answered."""
        session = self._session
        if self._lite is not None and self._lite.is_replayed(check):
            session.dropped.refused += 1
            return
        pair = session.checklist.paths.get((check.base_id, check.source))
        if pair is None:
            if self._lite is not None:
                self._lite.forget_silent(now)
            pair = session.pairing.learn_remote(check.priority, check.base_id, check.source)
            if pair is None:
                session.dropped.refused += 1
                return
            self._upkeep.be_patient(now)
        session.peer_has_checked = True
        pair.request_received(check.transaction_id, now)
        if self._lite is not None:
            self._lite.take(pair, check, now)
        else:
            self._take_as_full(pair, check, now)
        if self._handler is not None and self._is_wanted(pair, check):
            self._upkeep.prefer(pair, now)

    def _is_wanted(self, pair: CandidatePair, check: IncomingCheck) -> bool:
        assert self._handler is not None
        selected = pair is self._session.selected
        request = BindingRequest(
            pair.local, pair.remote, check.priority, check.use_candidate, check.nomination, selected
        )
        return self._handler(request) and not selected

    def _take_as_full(self, pair: CandidatePair, check: IncomingCheck, now: float) -> None:
        session = self._session
        # Whoever captured a check may send it from anywhere, but not from an address that the peer has signalled.
        if pair.remote.type is not CandidateType.PRFLX:
            session.pairing.prove(pair)
        self._trigger(pair, now)
        if pair is not session.selected:
            self._upkeep.heard_elsewhere(pair, now)
        if self._search.peers_nominations.take(pair, check.use_candidate, check.nomination):
            # RFC 8445 section 7.3.1.5. In the controlling role it only counts if that turns out to be wrong.
            pair.nominate_on_success = True
            if pair.has_consent(now) and not session.controlling:
                self._upkeep.nominated_by_peer(pair, now)

    def _trigger(self, pair: CandidatePair, now: float) -> None:
        """RFC 8445 section 7.3.1.4. A pair that works needs no check, unless we may not send on it any more."""
        session = self._session
        if pair.has_consent(now):
            return
        if pair is session.selected and pair.succeeded:
            self._upkeep.ask_soon(pair, now)
        elif not (pair.is_stream and pair.state is CandidatePairState.IN_PROGRESS):
            # What TCP carries already need not be asked again.
            session.checks.cancel(pair)
            is_under_way = pair.state is CandidatePairState.IN_PROGRESS
            session.checklist.trigger(pair, now + _ANSWER_BEHIND if is_under_way else now)
