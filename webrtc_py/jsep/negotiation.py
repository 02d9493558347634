"""The negotiation: descriptions are created and set, and what is set becomes a plan for the transports.

Each command makes the next state and its plan from the whole description first, and only then takes the step: a
description is applied whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import (
    InvalidAccessError,
    InvalidModificationError,
    InvalidStateError,
    NotSupportedError,
    OperationError,
)
from ..sdp import SCTP_PORT, Media, Session, Setup, TransportDescription, parse
from ..states import BundlePolicy, DTLSRole, ICERole, SDPType, SignalingState
from .answer import answering_role, build_answer
from .candidates import TrickledCandidate, is_ambiguous_end, of_generation, sections_for, with_candidate, with_early
from .description import MAX_REMOTE_CANDIDATES, LocalDescription, LocalTransport, RemoteDescription
from .offer import Author, KnownSection, build_offer
from .plan import (
    AddRemoteCandidates,
    BeginRestart,
    CancelRestart,
    CompleteRestart,
    EndRemoteCandidates,
    Plan,
    RemoteICE,
    StartData,
    StartGathering,
    StartTransport,
    Step,
    StopTransport,
)
from .remote import Agreement, DataSection, read_answer, read_offer
from .signaling import Side, needs_rollback, next_state
from .state import State

_OFFERER_STATES = (SignalingState.STABLE, SignalingState.HAVE_LOCAL_OFFER)
_ANSWERER_STATES = (SignalingState.HAVE_REMOTE_OFFER, SignalingState.HAVE_LOCAL_PRANSWER)


@dataclass(frozen=True, slots=True)
class _Created:
    """What was last created of a kind: only this may be set (RFC 8829 section 5.4)."""

    text: str
    session: Session
    restart: BeginRestart | None
    """What setting it begins, when its credentials are new ones."""


class Negotiation:
    """One end's. Texts go in and come out; the methods that set something return the plan to execute.

    ``check_candidate`` raises SDPSyntaxError for a candidate that is none, and lets pass what is only unknown.
    """

    def __init__(
        self,
        author: Author,
        check_candidate: Callable[[str], object],
        *,
        bundle_policy: BundlePolicy = BundlePolicy.BALANCED,
        answering_dtls_role: DTLSRole | None = None,
    ) -> None:
        self.state = State()
        self._author = author
        self._check_candidate = check_candidate
        self._bundle_policy = bundle_policy
        self._answering_role = answering_dtls_role
        self._version = 1
        self._last_text: str | None = None
        self._offer: _Created | None = None
        self._answer: _Created | None = None
        self._credentials_to_replace: frozenset[tuple[str, str]] = frozenset()
        self._restart_needs_offer = False

    # Creating

    def create_offer(self, transport: LocalTransport, *, data: bool, ice_restart: bool = False) -> str:
        """An offer for the session as it stands; with ``data``, one with a data section.

        The same offer again as long as nothing changes (RFC 8829 section 4.1.8). With ``ice_restart``, or when
        `replace_credentials` has asked for it, the offer has the transport's next credentials; before ICE has started
        there is nothing to restart. InvalidStateError while an exchange that the peer began is going on.
        """
        self._check_creating("offer", _OFFERER_STATES)
        wanted = ice_restart or transport.credentials in self._credentials_to_replace
        restarts = wanted and self.state.agreement is not None
        session = build_offer(
            self._author,
            self._known_sections(),
            transport.restarted() if restarts else transport,
            data=data,
            used_mids=self._used_mids(),
        )
        self._offer = self._finish(session, BeginRestart(*transport.next_credentials) if restarts else None)
        return self._offer.text

    def create_answer(self, transport: LocalTransport) -> str:
        """An answer to the pending remote offer, a restart if that is one. InvalidStateError when there is none."""
        self._check_creating("answer", _ANSWERER_STATES)
        state = self.state
        if state.pending_remote is None:
            raise AssertionError("these states have a pending remote offer")
        restarts = (
            state.agreement is not None and state.offered is not None and state.agreement.is_restarted_by(state.offered)
        )
        session = build_answer(
            self._author,
            state.pending_remote.session,
            state.offered,
            transport.restarted() if restarts else transport,
            self._role_in_answer(),
        )
        self._answer = self._finish(session, BeginRestart(*transport.next_credentials) if restarts else None)
        return self._answer.text

    def needs_offer(self, *, data: bool) -> bool:
        """W3C's "check if negotiation is needed", for the stable state: data without a section, or an ICE restart."""
        return (data and self.state.agreement is None) or self._restart_needs_offer

    def replace_credentials(self, *, needs_offer: bool) -> None:
        """Let offers restart ICE until the credentials of the local descriptions are replaced.

        This is what W3C's ``restartIce`` does, which needs an offer, and what a change of servers or of the transport
        policy does, which waits for one (RFC 8829 section 4.1.18).
        """
        local = [one for one in (self.state.current_local, self.state.pending_local) if one is not None]
        self._credentials_to_replace = frozenset().union(*(description.credentials for description in local))
        self._restart_needs_offer |= needs_offer and bool(self._credentials_to_replace)

    # Setting

    def set_local(self, kind: SDPType, text: str) -> Plan:
        """Apply what was created last. InvalidStateError, or InvalidModificationError for any other text."""
        signaling = next_state(self.state.signaling, Side.LOCAL, kind)
        if kind is SDPType.ROLLBACK:
            return self._roll_back()
        created = self._offer if kind is SDPType.OFFER else self._answer
        if created is None or created.text != text:
            made = "create_offer()" if kind is SDPType.OFFER else "create_answer()"
            raise InvalidModificationError(
                f"the {kind} is not what {made} gave last; descriptions are set as they were created, without a change"
            )
        description = LocalDescription(kind, created.text, created.session)
        state = replace(self.state, signaling=signaling, pending_local=description)
        gather: Plan = (StartGathering(),) if _asks_for_transport(description) else ()
        if created.restart is not None:
            gather = (*_cancel(state), created.restart)
            state = replace(state, is_restarting=True)
        if kind is SDPType.OFFER:
            self.state = state
            return gather
        state, plan = self._settle(state, state.offered, ICERole.CONTROLLED)
        self._enter(state)
        return gather + plan

    def set_remote(self, kind: SDPType, text: str) -> Plan:
        """Apply the peer's description; a remote offer while ours is out first takes ours back (glare).

        Raises InvalidStateError, SDPSyntaxError, InvalidAccessError, or NotSupportedError for what asks for a new DTLS
        or SCTP association.
        """
        before = self.state
        plan: Plan = ()
        if needs_rollback(before.signaling, Side.REMOTE, kind):
            before, plan = before.rolled_back(), _cancel(before)
        signaling = next_state(before.signaling, Side.REMOTE, kind)
        if kind is SDPType.ROLLBACK:
            return self._roll_back()
        session = parse(text)
        description = with_early(RemoteDescription(kind, text, session), before.early)
        state = replace(before, signaling=signaling, pending_remote=description, early=())
        if kind is SDPType.OFFER:
            offered = read_offer(session, self._check_candidate, self._bundle_policy, state.agreement)
            self._enter(replace(state, offered=offered))
            self._answer = None
            agreed = state.agreement
            if offered is not None and agreed is not None and not agreed.is_restarted_by(offered):
                # A later offer's candidates are for the transport in use, whatever becomes of the offer.
                plan += _hand_over(description, offered)
            return plan
        if state.pending_local is None:
            raise AssertionError("an answer is only taken while an offer of ours is out")
        accepted = read_answer(session, self._check_candidate, state.pending_local.session, state.agreement)
        if accepted is not None and state.agreement is not None and state.agreement.is_restarted_by(accepted):
            _check_restart_was_offered(before)
        state, plan = self._settle(state, accepted, ICERole.CONTROLLING)
        self._enter(state)
        return plan

    def add_candidate(self, candidate: TrickledCandidate) -> Plan:
        """Take a candidate of the peer, or the end of them. OperationError when it fits no description."""
        if candidate.line:
            self._check_candidate(candidate.line)
        state = self.state
        if state.remote is None:
            if len(state.early) >= MAX_REMOTE_CANDIDATES:
                raise OperationError(f"{MAX_REMOTE_CANDIDATES} candidates came before any description of the peer")
            self.state = replace(state, early=(*state.early, candidate))
            return ()
        if state.has_generations and is_ambiguous_end(state.remote, candidate):
            return ()
        candidate = of_generation(state.remote, candidate)
        changed: dict[str, Any] = {}
        sections: frozenset[int] = frozenset()
        misfit: OperationError | None = None
        for name, description in (("current_remote", state.current_remote), ("pending_remote", state.pending_remote)):
            if description is None:
                continue
            try:
                sections |= (own := sections_for(description, candidate))
            except OperationError as error:
                misfit = error
                continue
            changed[name] = with_candidate(description, candidate, own)
        if misfit is not None and not changed:
            raise misfit
        self.state = replace(state, **changed)
        return _trickle(self.state, candidate, sections)

    # Reading

    @property
    def transport_section(self) -> tuple[str | None, int] | None:
        """Mid and index of the section of our description that has the transport; None when there is none."""
        state = self.state
        local = state.pending_local or (state.current_local if state.agreement is not None else None)
        sections = () if local is None else enumerate(local.session.media)
        return next(((media.mid, index) for index, media in sections if _carries_transport(media)), None)

    # Below: the parts.

    def _check_creating(self, what: str, allowed: tuple[SignalingState, ...]) -> None:
        if self.state.signaling not in allowed:
            right = " or ".join(repr(state.value) for state in allowed)
            raise InvalidStateError(f"an {what} is created in {right}, not in {self.state.signaling.value!r}")

    def _finish(self, session: Session, restart: BeginRestart | None) -> _Created:
        """Give the description its version: the last one's if it says the same, else one more (RFC 3264 section 5)."""
        session.origin = session.origin._replace(session_version=self._version)
        text = session.serialize()
        if self._last_text is not None and text != self._last_text:
            self._version += 1
            session.origin = session.origin._replace(session_version=self._version)
            text = session.serialize()
        self._last_text = text
        return _Created(text, session, restart)

    def _known_sections(self) -> list[KnownSection]:
        state = self.state
        if state.pending_local is not None:
            return [KnownSection(media, not media.rejected) for media in state.pending_local.session.media]
        if state.current_local is None:
            return []
        live = None if state.agreement is None else state.agreement.remote.index
        return [KnownSection(media, index == live) for index, media in enumerate(state.current_local.session.media)]

    def _used_mids(self) -> set[str]:
        state = self.state
        descriptions = (state.current_local, state.current_remote, state.pending_remote)
        sections = [media for description in descriptions if description for media in description.session.media]
        return {media.mid for media in sections if media.mid is not None}

    def _role_in_answer(self) -> DTLSRole:
        state = self.state
        if state.offered is None:
            return DTLSRole.CLIENT
        return answering_role(
            state.offered, self._answering_role, None if state.agreement is None else state.agreement.dtls_role
        )

    def _enter(self, state: State) -> None:
        if state.signaling is SignalingState.STABLE:
            self._offer = self._answer = None
            if state.current_local is None or not state.current_local.credentials & self._credentials_to_replace:
                self._credentials_to_replace = frozenset()
                self._restart_needs_offer = False
        self.state = state

    def _roll_back(self) -> Plan:
        plan = _cancel(self.state)
        self._enter(self.state.rolled_back())
        return plan

    def _settle(self, state: State, accepted: DataSection | None, ice_role: ICERole) -> tuple[State, Plan]:
        """What an answer, ours or the peer's, makes of the exchange (RFC 8829 section 5.11)."""
        old, remote = state.agreement, state.remote
        agreement = self._agree(state, accepted, ice_role)
        if agreement is not None and remote is not None:
            plan: Plan = ()
            if old is None:
                plan = (_start(agreement),)
            elif old.is_restarted_by(agreement.remote):
                plan = (CompleteRestart(agreement.ice_role, _remote_ice(agreement.remote.transport)),)
                state = replace(state, is_restarting=False)
            elif state.signaling is SignalingState.STABLE:
                # The peer answers with the credentials that it had: it takes no part in the restart.
                plan = _cancel(state)
            plan += _hand_over(remote, agreement.remote)
            plan += (StartData(SCTP_PORT, agreement.remote.sctp_port, agreement.remote.max_message_size),)
            return state.settled(agreement), plan
        if state.signaling is not SignalingState.STABLE:
            # A provisional refusal frees nothing: the answer may still accept.
            return state.settled(old), ()
        # Our offer asked for a transport, so its refusal closes the channels that wait for one.
        offered = ice_role is ICERole.CONTROLLING and _asks_for_transport(state.pending_local)
        return state.settled(None), (StopTransport(),) if old is not None or offered else ()

    def _agree(self, state: State, accepted: DataSection | None, ice_role: ICERole) -> Agreement | None:
        if accepted is None:
            return None
        if state.agreement is not None:
            is_restarted = state.agreement.is_restarted or state.agreement.is_restarted_by(accepted)
            return replace(state.agreement, remote=accepted, is_restarted=is_restarted)
        if ice_role is ICERole.CONTROLLED:
            dtls_role = self._role_in_answer()
        else:
            dtls_role = DTLSRole.CLIENT if accepted.transport.setup is Setup.PASSIVE else DTLSRole.SERVER
        peer_is_lite = accepted.transport.ice_lite
        if peer_is_lite != self._author.ice_lite:
            # RFC 8445 section 6.1.1: a lite agent never controls a full one, whoever made the offer.
            ice_role = ICERole.CONTROLLING if peer_is_lite else ICERole.CONTROLLED
        return Agreement(ice_role, dtls_role, accepted)


def _carries_transport(media: Media) -> bool:
    return media.ice_ufrag is not None


def _asks_for_transport(description: LocalDescription | None) -> bool:
    return description is not None and any(map(_carries_transport, description.session.media))


def _trickle(state: State, candidate: TrickledCandidate, sections: frozenset[int]) -> Plan:
    """To the transport at once where there is one; what comes before the answer waits in the description."""
    agreed = state.agreement
    if agreed is None:
        return ()
    ufrag, _ = agreed.remote.credentials
    of_transport = agreed.remote.same_transport
    if state.offered is not None and not agreed.is_restarted_by(state.offered):
        of_transport |= state.offered.same_transport
    if not sections & of_transport or candidate.ufrag not in (None, ufrag):
        return ()
    if candidate.line:
        return (AddRemoteCandidates((candidate.line,), ufrag),)
    # While we restart, the end of what came before is no news: the newest generation is the one that would end.
    return () if state.is_restarting else (EndRemoteCandidates(),)


def _check_restart_was_offered(state: State) -> None:
    """New credentials in an answer need an offer that has them too (RFC 8829 section 5.10). ``state`` is before it."""
    if state.is_restarting:
        return
    if state.signaling is SignalingState.HAVE_REMOTE_PRANSWER:
        raise NotSupportedError("the answer has other ICE credentials than the provisional answer before it")
    raise InvalidAccessError("the answer has new ICE credentials, and the offer did not restart ICE")


def _cancel(state: State) -> Plan:
    return (CancelRestart(),) if state.is_restarting else ()


def _start(agreement: Agreement) -> StartTransport:
    return StartTransport(
        ice_role=agreement.ice_role,
        ice=_remote_ice(agreement.remote.transport),
        dtls_role=agreement.dtls_role,
        fingerprints=agreement.remote.fingerprints,
    )


def _remote_ice(transport: TransportDescription) -> RemoteICE:
    return RemoteICE(
        transport.ice_ufrag or "",
        transport.ice_pwd or "",
        lite=transport.ice_lite,
        renomination="renomination" in transport.ice_options,
    )


def _hand_over(description: RemoteDescription, section: DataSection) -> Plan:
    """All that the description and its trickled candidates say of the transport; what is known already does no harm."""
    plan: tuple[Step, ...] = ()
    if candidates := description.candidates_of(section.same_transport):
        plan += (AddRemoteCandidates(candidates, section.credentials[0]),)
    if section.transport.end_of_candidates or section.same_transport & description.ended:
        plan += (EndRemoteCandidates(),)
    return plan
