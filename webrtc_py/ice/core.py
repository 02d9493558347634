"""The ICE agent without sockets, clock or chance (RFC 8445, 8838, 8863, 7675, 6544; lite agents and renomination too).

One ``Core`` is one generation: one pair of credentials on each side. A restart makes another core beside it, on the
same bases and with the same role, and the old one carries data until the new one has selected a pair.

What it is made of, each using what stands before it: ``candidate``, ``pair``, ``checklist``, ``pairing`` (candidates
become pairs), ``checks`` (their STUN), ``session`` (what all parts know), ``search`` (what is checked and nominated),
``upkeep`` (consent, silence, states), ``lite``, ``incoming`` (the peer's checks), ``outcomes`` (of our own).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import InvalidAccessError, InvalidStateError, ParseError
from ..states import CandidateType, ICERole, ICETransportState
from . import stun
from .candidate import Candidate, without_zone
from .checks import check_remote_credentials
from .dropped import Dropped
from .events import BindingRequestHandler, Happening, Outgoing, SelectedPairChanged
from .incoming import Incoming
from .lite import Lite
from .options import AgentTimings, RenominationOptions
from .outcomes import Outcomes
from .pair import Address, CandidatePair
from .pairing import LocalCandidate
from .search import Search
from .session import LIVE, Session
from .trace import Trace
from .upkeep import Upkeep, remote_candidates

DEFAULT_MAX_PAIRS = 100
"""RFC 8445 section 6.1.2.5."""


class Core:
    """Finds a path, and keeps it.

    ``tie_breaker`` is a random number of 64 bits, ``seed`` at least 16 random octets, from which transaction ids and
    spread times are drawn. ``remote_ip_filter(host)`` tells which addresses of the peer's may be used. Local
    candidates are added under the ``base_id`` of the socket or relay they send from, any number that the caller likes.

    ``lite`` makes it a lite agent. With ``renomination`` the controlling agent may change the selected pair.
    ``keep_alternatives`` goes on checking, and keeps alive what works, so that there is something to move to: for
    continual gathering; renomination implies it.

    ``use_candidate_check_priority`` keeps a lite agent from moving to a pair of lower priority when its peer nominates
    one. ``on_binding_request`` is asked about each check of the peer's; True selects its pair, if that works.

    The engine's verbs are ``receive``, ``handle_timeout``, ``next_timeout``, ``datagrams_to_send`` and ``events``.
    ``path`` is the pair that application data may be sent on now, or None: the selected one, before that the best
    that works (RFC 8445 section 12.1), and none when consent has expired.

    Whatever is not authenticated is dropped in silence. RFC 8445 section 7.3 asks for error responses, but those tell
    a stranger that an agent lives here, and a peer without our password could not make use of them.
    """

    def __init__(
        self,
        *,
        tie_breaker: int,
        local_ufrag: str,
        local_pwd: str,
        seed: bytes,
        timings: AgentTimings | None = None,
        max_pairs: int = DEFAULT_MAX_PAIRS,
        remote_ip_filter: Callable[[str], bool] | None = None,
        lite: bool = False,
        renomination: RenominationOptions | None = None,
        keep_alternatives: bool = False,
        use_candidate_check_priority: bool = False,
        on_binding_request: BindingRequestHandler | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.local_ufrag = local_ufrag
        self.local_pwd = local_pwd
        self._session = session = Session(
            tie_breaker=tie_breaker,
            local_ufrag=local_ufrag,
            local_pwd=local_pwd,
            seed=seed,
            timings=timings or (AgentTimings().for_lite() if lite else AgentTimings()),
            max_pairs=max_pairs,
            remote_ip_filter=remote_ip_filter,
            lite=lite,
            keep_alternatives=keep_alternatives or renomination is not None,
            trace=trace or Trace(local_ufrag),
        )
        self._search = Search(session, renomination)
        self._upkeep = Upkeep(session, self._search)
        self._lite = (
            Lite(session, self._search, self._upkeep, by_priority=use_candidate_check_priority) if lite else None
        )
        self._incoming = Incoming(session, self._search, self._upkeep, self._lite, renomination, on_binding_request)
        self._outcomes = Outcomes(session, self._search, self._upkeep)

    # Commands

    def set_remote_credentials(self, ufrag: str, pwd: str, now: float) -> None:
        """The peer's user fragment and password, once. InvalidAccessError for what RFC 8839 section 5.4 forbids."""
        check_remote_credentials(ufrag, pwd)
        checks = self._session.checks
        if checks.is_for(ufrag, pwd):
            return
        if checks.remote_ufrag is not None:
            raise InvalidStateError("the remote credentials are set; others belong to another generation")
        checks.set_remote_credentials(ufrag, pwd)
        for candidate, address in self._session.pairing.take_held():
            self._accept_remote(candidate, address, now)
        self._begin(now)

    def set_remote_lite(self, lite: bool) -> None:
        """The peer is a lite agent: it sends no checks, and does not control us (RFC 8445 section 6.1.1).

        InvalidStateError after ``start``.
        """
        self._check_new()
        self._session.remote_lite = lite

    def set_remote_renomination(self, understood: bool) -> None:
        """Whether the peer understands renomination, as descriptions tell; unless told otherwise it does."""
        self._search.remote_renominates = understood

    def wait_for_peer(self, wait: bool, now: float) -> None:
        """Whether to nominate nothing before the peer has made a check; unless told so, what works is nominated.

        A restart that the old path leaves time for is one that the peer can still give up, or may never hear the
        answer to: until it shows that it knows of the new generation, there the data would be lost.
        """
        self._session.waits_for_peer = wait
        self._settle(now)

    def start(self, controlling: bool, now: float) -> None:
        """Begin to check, as soon as the peer's credentials are there. The offering side is the controlling one.

        But a full agent controls a lite one, whoever has offered.
        """
        self._check_new()
        session = self._session
        if session.lite != session.remote_lite:
            controlling = session.remote_lite
        self._search.set_role(controlling, now)
        self._upkeep.be_patient(now)
        session.trace(now, "starts as the %s agent; the peer is %s", self.role, self.remote_ufrag or "not known yet")
        session.set_state(ICETransportState.CHECKING, f"started as the {self.role} agent")
        self._begin(now)

    def _check_new(self) -> None:
        if self.state is not ICETransportState.NEW:
            raise InvalidStateError(f"the ICE core is {self.state}; it is started once")

    def _begin(self, now: float) -> None:
        if self._session.is_running:
            self._incoming.take_early(now)
            self._settle(now)

    def add_local_candidate(self, candidate: Candidate, base_id: int, now: float, address: str | None = None) -> bool:
        """Pair a local candidate; whether it was new. ``address`` is the numeric one behind a name that is published.

        False for a redundant one (RFC 8445 section 5.1.3), which need not be told to the peer.
        """
        session = self._session
        if session.lite and candidate.type is not CandidateType.HOST:
            raise InvalidAccessError(f"a lite agent has host candidates only (RFC 8445 section 5.2), not {candidate}")
        named = self.selected and self.selected.local
        added = session.pairing.add_local(candidate, base_id, address, pair=session.is_searching)
        if added:
            session.trace(now, "finds %s", candidate)
        if self.selected is not None and self.selected.local is not named:
            session.events.append(SelectedPairChanged(self.selected))
        self._settle(now)
        return added

    def local_gathering_done(self, now: float) -> None:
        """No further local candidates will be added."""
        self._session.local_done = True
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float, address: str | None = None) -> None:
        """Pair a candidate of the peer's. ``address`` is what its ``.local`` name was resolved to.

        One that cannot be used, or is one too many, is counted and ignored.
        """
        session = self._session
        if session.is_over:
            return
        if session.pairing.remote_ended:
            # RFC 8838 section 14: none comes behind the end of its generation.
            session.dropped.ignore("it came behind the end of candidates")
        elif session.checks.remote_ufrag is None:
            session.pairing.hold_remote(candidate, address)
        else:
            self._accept_remote(candidate, address, now)
            self._settle(now)

    def _accept_remote(self, candidate: Candidate, address: str | None, now: float) -> None:
        session = self._session
        ufrag = session.checks.remote_ufrag or ""
        before = self.selected.remote if self.selected is not None else None
        why_not = session.pairing.add_remote(
            candidate, address, ufrag, pair=session.is_searching, replace=self.selected is not None
        )
        if why_not is None:
            session.trace(now, "hears of %s", candidate)
            self._upkeep.be_patient(now)
        else:
            session.trace(now, "ignores %s: %s", candidate, why_not)
        if self.selected is not None and self.selected.remote is not before:
            session.events.append(SelectedPairChanged(self.selected))

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer will name no more (RFC 8838 section 14)."""
        self._session.pairing.remote_ended = True
        self._settle(now)

    def base_lost(self, base_id: int, now: float, *, host: str | None = None, reason: str = "the base is gone") -> None:
        """A socket or relay is gone, or a relay refuses to send to one ``host``: the pairs concerned have failed.

        When the selected one is among them, another pair that works takes its place at once, and otherwise the first
        that does.
        """
        if host is None:
            self._session.pairing.lose_base(base_id)
        for pair in self.pairs:
            if pair.base_id == base_id and host in (None, without_zone(pair.destination[0])):
                self._search.lost(pair, reason)
        self._settle(now)

    def path_lost(self, base_id: int, address: Address, now: float, reason: str) -> None:
        """The way from a base to one address of the peer's has ended, as when its TCP connection has."""
        pair = self._session.checklist.paths.get((base_id, address))
        if pair is not None:
            # Who comes to be at the other end of another connection has to prove it.
            pair.peer_is_there = False
            self._search.lost(pair, reason)
            if pair is self.selected:
                self._upkeep.ask_soon(pair, now)
            self._settle(now)

    def renominate(self, local: Candidate, remote: Candidate, now: float) -> None:
        """Change to the pair of these candidates, which takes effect when the peer confirms it.

        InvalidAccessError when there is no such pair; InvalidStateError when it does not work now, and when this agent
        may not renominate: it does not control, was not made with renomination, or the peer does not understand it.
        With ``automatic`` renomination a clearly better pair may take its place again.
        """
        search = self._search
        if not search.renominates:
            why = (
                "the agent is made without renomination"
                if search.renomination is None
                else "the peer does not understand renomination"
                if self.controlling
                else "it is the controlling agent that nominates, and this one is controlled"
            )
            raise InvalidStateError(f"{local} -> {remote} cannot be nominated: {why}")
        for pair in self.pairs:
            if local in (pair.local, pair.base) and pair.remote == remote:
                break
        else:
            raise InvalidAccessError(f"there is no candidate pair {local} -> {remote}")
        if self._session.is_over:
            raise InvalidStateError(f"{pair} cannot be nominated: the agent is {self.state}")
        if not pair.has_consent(now):
            raise InvalidStateError(f"{pair} cannot be nominated: it is {pair.state}, and its checks are not answered")
        if pair is not self.selected or self._session.checks.nominee not in (None, pair):
            search.nominate(pair, now)
            self._settle(now)

    def data_received(self, base_id: int, source: Address, size: int, packets: int, now: float) -> bool:
        """Whether datagrams of the application's may be taken from there: only from where the peer has been proved.

        Counts them, and breaks the silence. When it `is_silent`, and when they did not come on ``path``, flush the core
        afterwards: it may recover, or have to find out whether the peer has moved.
        """
        session = self._session
        pair, selected = session.checklist.paths.get((base_id, source)), session.selected
        if pair is None or not pair.peer_is_there:
            return False
        pair.packets_received += packets
        pair.bytes_received += size
        pair.last_packet_received = now
        pair.heard(now)
        if pair is not selected and not session.is_over:
            self._upkeep.data_elsewhere(pair, now)
        if self._upkeep.is_silent or session.selected is not selected:
            self._settle(now)
        return True

    def data_sent(self, size: int, packets: int, now: float) -> None:
        """Count what was sent on ``path``."""
        pair = self._session.path
        if pair is not None:
            pair.packets_sent += packets
            pair.bytes_sent += size
            pair.last_packet_sent = now

    def data_discarded(self, size: int, packets: int) -> None:
        """Count what could not be sent: against the path that had no room, or the selected pair that is none now."""
        pair = self._session.path or self._session.selected
        if pair is not None:
            pair.packets_discarded_on_send += packets
            pair.bytes_discarded_on_send += size

    def close(self) -> None:
        """Stop for good, without a word to the peer."""
        if self.state is not ICETransportState.CLOSED:
            self._session.stop(ICETransportState.CLOSED, "closed by the application")

    # What is known

    @property
    def state(self) -> ICETransportState:
        return self._session.state

    @property
    def selected(self) -> CandidatePair | None:
        return self._session.selected

    @property
    def path(self) -> CandidatePair | None:
        return self._session.path

    @property
    def is_silent(self) -> bool:
        """Whether the selected pair leaves checks unanswered, so that whatever comes in is news."""
        return self._upkeep.is_silent

    @property
    def peer_has_checked(self) -> bool:
        """Whether the peer makes checks in this generation; a lite one makes none."""
        return self._session.peer_has_checked

    @property
    def controlling(self) -> bool:
        return self._session.controlling

    @property
    def role(self) -> ICERole:
        return self._session.role

    @property
    def tie_breaker(self) -> int:
        """Another one after a role conflict that was lost (RFC 8445 section 7.2.5.1)."""
        return self._session.tie_breaker

    @property
    def timings(self) -> AgentTimings:
        """May be set until the core is started."""
        return self._session.timings

    @timings.setter
    def timings(self, timings: AgentTimings) -> None:
        self._session.timings = timings

    @property
    def trace(self) -> Trace:
        return self._session.trace

    @property
    def dropped(self) -> Dropped:
        return self._session.dropped

    @property
    def remote_ufrag(self) -> str | None:
        """The peer's user fragment, once it is known."""
        return self._session.checks.remote_ufrag

    @property
    def remote_credentials(self) -> tuple[str, str] | None:
        """The same with the password."""
        return self._session.checks.remote_credentials

    @property
    def pairs(self) -> list[CandidatePair]:
        """All pairs, with their statistics."""
        return self._session.pairs

    @property
    def locals(self) -> list[LocalCandidate]:
        """Our candidates with the addresses behind their names."""
        return list(self._session.pairing.locals)

    @property
    def local_candidates(self) -> list[Candidate]:
        return [local.candidate for local in self._session.pairing.locals]

    @property
    def remote_candidates(self) -> list[Candidate]:
        """What the peer signalled, and what its checks told of."""
        return remote_candidates(self._session)

    # The engine's verbs

    def receive(self, data: bytes | bytearray | memoryview, base_id: int, source: Address, now: float) -> None:
        """One STUN datagram that came in on a base."""
        try:
            message = stun.parse_message(data)
        except ParseError:
            self.dropped.malformed += 1
        else:
            self.receive_message(message, base_id, source, now)

    def receive_message(self, message: stun.Message, base_id: int, source: Address, now: float) -> None:
        """The same, for one that has been parsed already."""
        if self._session.is_over:
            return
        if message.message_method is not stun.Method.BINDING:
            self.dropped.malformed += 1
            return
        if message.message_class is stun.Class.INDICATION:
            # It keeps a NAT's mapping alive, and as it is not authenticated, that is all it does.
            return
        takes = self._incoming if message.message_class is stun.Class.REQUEST else self._outcomes
        if takes.receive(message, base_id, source, now):
            self._settle(now)

    def handle_timeout(self, now: float) -> None:
        """Do what was due at or before ``now``."""
        if self._session.is_over:
            return
        for transaction in self._session.checks.take_expired(now):
            self._outcomes.expired(transaction, now)
        self._upkeep.handle_timeout(now)
        self._settle(now)

    def next_timeout(self) -> float | None:
        """When to come back, or None."""
        if self._session.state not in LIVE:
            return None
        soonest = min(self._session.checks.next_timeout(), self._search.next_timeout(), self._upkeep.next_timeout())
        return soonest if soonest < math.inf else None

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        """What is to be sent now, in order."""
        return self._session.checks.take_outgoing()

    def events(self) -> list[Happening]:
        """What happened since the last call, in order."""
        events = self._session.events.copy()
        self._session.events.clear()
        return events

    def _settle(self, now: float) -> None:
        """Each step ends here: send what may be sent, nominate what may be nominated, see what state that makes."""
        self._search.step(now)
        if self._lite is not None:
            self._lite.step(now)
        self._upkeep.update(now)
