"""The ICE agent without sockets, clock or chance (RFC 8445, 8838, 8863, 7675).

One ``Core`` is one generation: one pair of credentials on each side. A restart makes another core beside it, on the
same bases and with the same role, and the old one carries data until the new one has selected a pair. Lite agents and
renomination would find their place in ``selection``, TCP candidates in ``pairing``, and continual gathering is
``add_local_candidate`` at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import InvalidAccessError, InvalidStateError, ParseError
from ..states import CandidatePairState, CandidateType, ICERole, ICETransportState
from . import stun
from .candidate import Candidate, without_zone
from .checklist import CheckList, best
from .checks import Checks, check_local_credentials, check_remote_credentials
from .dropped import Dropped
from .early import EarlyChecks, IncomingCheck
from .events import Happening, Outgoing, RoleChanged, SelectedPairChanged, StateChanged
from .explain import why_no_path
from .liveness import liveness
from .options import CONSENT_TIMEOUT, AgentTimings
from .pair import Address, CandidatePair
from .pairing import LocalCandidate, Pairing
from .selection import Nomination, accepts_nomination
from .trace import Trace
from .transaction import (
    CONSENT_DELAYS,
    MIN_RTO,
    Chance,
    Purpose,
    Transaction,
    check_delays,
    nomination_delays,
    triggered_check_delays,
)

_WAITING = CandidatePairState.WAITING
_IN_PROGRESS = CandidatePairState.IN_PROGRESS
_SUCCEEDED = CandidatePairState.SUCCEEDED

DEFAULT_MAX_PAIRS = 100
"""RFC 8445 section 6.1.2.5."""


class Core:
    """Finds a path, and keeps it.

    ``tie_breaker`` is a random number of 64 bits, ``seed`` at least 16 random octets, from which transaction ids and
    spread times are drawn. ``remote_ip_filter(host)`` tells which addresses of the peer's may be used. Local
    candidates are added under the ``base_id`` of the socket or relay they send from, any number that the caller likes.

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
        trace: Trace | None = None,
    ) -> None:
        check_local_credentials(local_ufrag, local_pwd)
        if not 0 <= tie_breaker < 2**64:
            raise InvalidAccessError(f"tie_breaker is {tie_breaker!r}; it must be a number of 64 bits")
        if len(seed) < 16:
            raise InvalidAccessError(f"seed has {len(seed)} octets; it must have at least 16")
        if max_pairs < 1:
            raise InvalidAccessError(f"max_pairs is {max_pairs!r}; it must be at least 1")
        self.local_ufrag = local_ufrag
        self.local_pwd = local_pwd
        self.tie_breaker = tie_breaker
        self.timings = timings or AgentTimings()
        self.state = ICETransportState.NEW
        self.controlling = False
        self.selected: CandidatePair | None = None
        self.path: CandidatePair | None = None
        self.dropped = Dropped()
        self.trace = trace or Trace(local_ufrag)
        self._events: list[Happening] = []
        self._chance = Chance(seed)
        self._checks = Checks(local_ufrag, local_pwd, self._chance, self.dropped)
        self._checklist = CheckList(self.controlling, max_pairs)
        self._pairing = Pairing(self._checklist, remote_ip_filter, self.dropped, self._events)
        self._nomination = Nomination(self.timings)
        self._early = EarlyChecks()
        self._remote_lite = False
        self._local_done = False
        self._next_ordinary = 0.0
        self._next_keepalive = 0.0
        self._patient_until = 0.0
        self._liveness_until = 0.0

    # Commands

    def set_remote_credentials(self, ufrag: str, pwd: str, now: float) -> None:
        """The peer's user fragment and password, once. InvalidAccessError for what RFC 8839 section 5.4 forbids."""
        check_remote_credentials(ufrag, pwd)
        if self._checks.is_for(ufrag, pwd):
            return
        if self._checks.remote_ufrag is not None:
            raise InvalidStateError("the remote credentials are set; others belong to another generation")
        self._checks.set_remote_credentials(ufrag, pwd)
        for candidate, address in self._pairing.take_held():
            self._accept_remote(candidate, address, now)
        self._begin(now)

    def set_remote_lite(self, lite: bool) -> None:
        """The peer is a lite agent: it sends no checks, and we control (RFC 8445 section 6.1.1). Before ``start``."""
        self._remote_lite = lite

    def start(self, controlling: bool, now: float) -> None:
        """Begin to check, as soon as the peer's credentials are there. The offering side is the controlling one."""
        if self.state is not ICETransportState.NEW:
            raise InvalidStateError(f"the ICE core is {self.state}; it is started once")
        self._set_role(controlling or self._remote_lite, now)
        self._patient_until = now + self.timings.patience
        self.trace(now, "starts as the %s agent; the peer is %s", self.role, self.remote_ufrag or "not known yet")
        self._set_state(ICETransportState.CHECKING, f"started as the {self.role} agent")
        self._begin(now)

    def add_local_candidate(self, candidate: Candidate, base_id: int, now: float, address: str | None = None) -> bool:
        """Pair a local candidate; whether it was new. ``address`` is the numeric one behind a name that is published.

        False for a redundant one (RFC 8445 section 5.1.3), which need not be told to the peer.
        """
        named = self.selected and self.selected.local
        added = self._pairing.add_local(candidate, base_id, address, pair=self.selected is None)
        if added:
            self.trace(now, "finds %s", candidate)
        if self.selected is not None and self.selected.local is not named:
            self._events.append(SelectedPairChanged(self.selected))
        self._settle(now)
        return added

    def local_gathering_done(self, now: float) -> None:
        """No further local candidates will be added."""
        self._local_done = True
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float, address: str | None = None) -> None:
        """Pair a candidate of the peer's. ``address`` is what its ``.local`` name was resolved to.

        One that cannot be used, or is one too many, is counted and ignored.
        """
        if self._over:
            return
        if self._pairing.remote_ended:
            # RFC 8838 section 14: none comes behind the end of its generation.
            self.dropped.ignored["it came behind the end of candidates"] += 1
        elif self._checks.remote_ufrag is None:
            self._pairing.hold_remote(candidate, address)
        else:
            self._accept_remote(candidate, address, now)
            self._settle(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer will name no more (RFC 8838 section 14)."""
        self._pairing.remote_ended = True
        self._settle(now)

    def base_lost(self, base_id: int, now: float, *, host: str | None = None, reason: str = "the base is gone") -> None:
        """A socket or relay is gone, or a relay refuses to send to one ``host``: the pairs concerned have failed."""
        if host is None:
            self._pairing.lose_base(base_id)
        for pair in self.pairs:
            if pair.base_id == base_id and host in (None, without_zone(pair.destination[0])):
                self._lose(pair, reason)
        self._settle(now)

    def path_lost(self, base_id: int, address: Address, now: float, reason: str) -> None:
        """The way from a base to one address of the peer's has ended, as when its TCP connection has."""
        pair = self._checklist.paths.get((base_id, address))
        if pair is not None:
            self._lose(pair, reason)
            self._settle(now)

    def _lose(self, pair: CandidatePair, reason: str) -> None:
        self._checks.forget(pair)
        if pair is self._nomination.nominee:
            self._nomination.nominee = None
        self._checklist.failed(pair, reason)

    def data_received(self, base_id: int, source: Address, size: int, packets: int, now: float) -> bool:
        """Whether datagrams of the application's may be taken from there: only from where the peer has been proved.

        Counts them, and breaks the silence. In the disconnected state, flush the core afterwards: it may recover.
        """
        pair = self._checklist.paths.get((base_id, source))
        if pair is None or not pair.peer_is_there:
            return False
        pair.packets_received += packets
        pair.bytes_received += size
        pair.last_packet_received = pair.last_received = now
        if self.state is ICETransportState.DISCONNECTED:
            self._settle(now)
        return True

    def data_sent(self, size: int, packets: int, now: float) -> None:
        """Count what was sent on ``path``."""
        pair = self.path
        if pair is not None:
            pair.packets_sent += packets
            pair.bytes_sent += size
            pair.last_packet_sent = now

    def close(self) -> None:
        """Stop for good, without a word to the peer."""
        if self.state is not ICETransportState.CLOSED:
            self._stop(ICETransportState.CLOSED, "closed by the application")

    # What is known

    def expects(self, transaction_id: bytes) -> bool:
        """Whether a request of ours with this id waits for its answer."""
        return self._checks.expects(transaction_id)

    @property
    def role(self) -> ICERole:
        return ICERole.CONTROLLING if self.controlling else ICERole.CONTROLLED

    @property
    def remote_ufrag(self) -> str | None:
        """The peer's user fragment, once it is known."""
        return self._checks.remote_ufrag

    @property
    def pairs(self) -> list[CandidatePair]:
        """All pairs, with their statistics."""
        return list(self._checklist.paths.values())

    @property
    def locals(self) -> list[LocalCandidate]:
        """Our candidates with the addresses behind their names."""
        return list(self._pairing.locals)

    @property
    def local_candidates(self) -> list[Candidate]:
        return [local.candidate for local in self._pairing.locals]

    @property
    def remote_candidates(self) -> list[Candidate]:
        """What the peer signalled, and what its checks told of."""
        found = [pair.remote for pair in self.pairs if pair.remote.type is CandidateType.PRFLX]
        return list(dict.fromkeys([*self._pairing.remotes.values(), *found]))

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
        if self._over:
            return
        if message.message_method is not stun.Method.BINDING:
            self.dropped.malformed += 1
        elif message.message_class is stun.Class.REQUEST:
            self._receive_request(message, base_id, source, now)
        elif message.message_class is not stun.Class.INDICATION:
            # An indication keeps a NAT's mapping alive, and as it is not authenticated, that is all it does.
            self._receive_response(message, base_id, source, now)

    def handle_timeout(self, now: float) -> None:
        """Do what was due at or before ``now``."""
        for transaction in self._checks.take_expired(now):
            self._expired(transaction, now)
        if self.selected is not None and self.selected.succeeded and now >= self._next_keepalive:
            self._ask_consent(self.selected, now)
        self._settle(now)

    def next_timeout(self) -> float | None:
        """When to come back, or None."""
        if self.state is ICETransportState.NEW or self._over:
            return None
        due = [self._checks.next_timeout()]
        interval = self.timings.check_interval
        due.extend((pair.last_request_sent or 0.0) + interval for pair in self._checklist.triggered)
        if self.path is not None:
            due.append(self.path.consent_expires)
        if self.selected is not None:
            due.append(self._liveness_until)
            if self.selected.succeeded:
                due.append(self._next_keepalive)
        else:
            due.append(self._patient_until)
            if self._running and self._checklist.has_ordinary():
                due.append(self._next_ordinary)
            if self._running and self.controlling:
                due.append(self._nomination.next_timeout(self._checklist, self._complete))
        soonest = min(due)
        return soonest if soonest < math.inf else None

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        """What is to be sent now, in order."""
        return self._checks.take_outgoing()

    def events(self) -> list[Happening]:
        """What happened since the last call, in order."""
        events = self._events.copy()
        self._events.clear()
        return events

    # Checks that come in (RFC 8445 section 7.3)

    def _receive_request(self, request: stun.Message, base_id: int, source: Address, now: float) -> None:
        if not self._checks.authenticates(request):
            return
        if base_id not in self._pairing.bases or not self._pairing.allows(source[0]):
            self.dropped.refused += 1
            return
        attributes = request.attributes
        known = (base_id, source) in self._checklist.paths
        if request.unknown_required:
            self._checks.refuse(request, base_id, source, stun.UNKNOWN_ATTRIBUTE)
        elif "PRIORITY" not in attributes and not known:
            self._checks.refuse(request, base_id, source, stun.BAD_REQUEST)
        elif self.state is not ICETransportState.NEW and not self._resolves_roles(attributes, now):
            self._checks.refuse(request, base_id, source, stun.ROLE_CONFLICT)
        else:
            self._checks.answer(request, base_id, source)
            ufrag = attributes["USERNAME"].partition(":")[2]
            priority, use_candidate = attributes.get("PRIORITY", 1), "USE-CANDIDATE" in attributes
            check = IncomingCheck(base_id, source, ufrag, priority, use_candidate)
            if self._running:
                self._take_check(check, now)
                self._settle(now)
            elif not self._early.remember(check):
                self.dropped.refused += 1

    def _resolves_roles(self, attributes: dict[str, object], now: float) -> bool:
        """RFC 8445 section 7.3.1.1: False when it is the peer that must change its role."""
        theirs = attributes.get("ICE-CONTROLLING" if self.controlling else "ICE-CONTROLLED")
        if not isinstance(theirs, int):
            return True
        # The larger tie-breaker controls, whichever role both ends have claimed.
        if (self.tie_breaker >= theirs) == self.controlling:
            return False
        self._set_role(not self.controlling, now)
        self._events.append(RoleChanged(self.role))
        return True

    def _take_check(self, check: IncomingCheck, now: float) -> None:
        """RFC 8445 sections 7.3.1.3 to 7.3.1.5, for a check that has been answered."""
        pair = self._checklist.paths.get((check.base_id, check.source))
        if pair is None:
            pair = self._pairing.learn_remote(check.priority, check.base_id, check.source)
            if pair is None:
                self.dropped.refused += 1
                return
            self._patient_until = now + self.timings.patience
        pair.requests_received += 1
        pair.responses_sent += 1
        pair.last_request_received = pair.last_received = now
        # Whoever captured a check may send it from anywhere, but not from an address that the peer has signalled.
        if not pair.is_unproven_stranger:
            self._pairing.prove(pair)
        if not pair.succeeded:
            self._checks.cancel(pair)
            self._checklist.trigger(pair)
        if check.use_candidate:
            pair.nominate_on_success = True
            if pair.succeeded and not self.controlling:
                self._nominated_by_peer(pair, now)

    def _nominated_by_peer(self, pair: CandidatePair, now: float) -> None:
        pair.nominated = True
        if pair is not self.selected and accepts_nomination(
            pair, self.selected, self.timings.disconnected_timeout, now
        ):
            self._select(pair, now)

    # Answers to our checks (RFC 8445 section 7.2.5)

    def _receive_response(self, response: stun.Message, base_id: int, source: Address, now: float) -> None:
        transaction = self._checks.match(response, base_id, source)
        if transaction is None or transaction.pair not in self._checklist:
            return
        pair = transaction.pair
        mapped = response.attributes.get("XOR-MAPPED-ADDRESS")
        pair.last_received = now
        if response.message_class is stun.Class.ERROR:
            if response.error_code == stun.ROLE_CONFLICT:
                self._role_refused(transaction, now)
            else:
                self._failed(transaction, f"refused with {response.error_code}", now)
        elif response.unknown_required or mapped is None:
            self._failed(transaction, "answered with what cannot be understood", now)
        else:
            self._succeeded(transaction, mapped, now)
        self._settle(now)

    def _role_refused(self, transaction: Transaction, now: float) -> None:
        """RFC 8445 section 7.2.5.1. A refusal of a role that we have given up already changes no role."""
        if transaction.controlling == self.controlling:
            self._set_role(not self.controlling, now)
            self.tie_breaker = self._chance.tie_breaker()
            self._events.append(RoleChanged(self.role))
        if transaction.pair is not self.selected:
            self._checklist.trigger(transaction.pair)

    def _succeeded(self, transaction: Transaction, mapped: Address, now: float) -> None:
        pair = transaction.pair
        pair.responses_received += 1
        pair.last_response_received = now
        self._pairing.prove(pair, has_answered=True)
        pair.consent_expires = now + CONSENT_TIMEOUT
        round_trip_time = transaction.round_trip_time(now)
        if round_trip_time is not None:
            pair.current_round_trip_time = round_trip_time
            pair.total_round_trip_time += round_trip_time
        if transaction.purpose is Purpose.CONSENT:
            self._rest(transaction.first_sent)
        if not pair.succeeded:
            self._checks.forget(pair)
            self._checklist.succeeded(pair)
            self._pairing.learn_local(pair, mapped)
            self.trace(now, "works%s: %s", _took(round_trip_time), pair)
        if transaction.purpose is Purpose.NOMINATION and self.controlling:
            if self.selected is None:
                self._select(pair, now)
        elif pair.nominate_on_success and not self.controlling:
            self._nominated_by_peer(pair, now)

    def _expired(self, transaction: Transaction, now: float) -> None:
        pair = transaction.pair
        if transaction.purpose is Purpose.CONSENT or pair not in self._checklist:
            return
        if transaction.cancelled:
            if pair.state is _IN_PROGRESS:
                self._checklist.failed(pair, "no answer")
        elif transaction.purpose is Purpose.NOMINATION and self._checklist.in_state(_SUCCEEDED) == [pair]:
            # There is nothing else that works, so it is nominated again.
            self._nomination.nominee = None
        else:
            self._failed(transaction, "no answer", now)

    def _failed(self, transaction: Transaction, why: str, now: float) -> None:
        """RFC 8445 section 7.2.5.2. A nomination that fails does not end the search."""
        pair = transaction.pair
        if transaction.purpose is Purpose.NOMINATION:
            self._nomination.nominee = None
        if transaction.purpose is not Purpose.CONSENT and not transaction.cancelled and pair is not self.selected:
            self.trace(now, "failed: %s: %s", pair, why)
            self._checklist.failed(pair, why)

    # What follows from it

    @property
    def _running(self) -> bool:
        """Whether checks can be made."""
        return self._checks.remote_ufrag is not None and self.state is not ICETransportState.NEW and not self._over

    @property
    def _over(self) -> bool:
        """Whether this generation has come to its end: only another one can connect."""
        return self.state in (ICETransportState.FAILED, ICETransportState.CLOSED)

    @property
    def _complete(self) -> bool:
        """Whether neither end will name more candidates."""
        return self._local_done and self._pairing.remote_ended

    def _begin(self, now: float) -> None:
        if not self._running:
            return
        for check in self._early.take(self._checks.remote_ufrag or ""):
            if check.base_id in self._pairing.bases:
                self._take_check(check, now)
        self._settle(now)

    def _accept_remote(self, candidate: Candidate, address: str | None, now: float) -> None:
        ufrag = self._checks.remote_ufrag or ""
        before = self.selected.remote if self.selected is not None else None
        why_not = self._pairing.add_remote(candidate, address, ufrag, pair=self.selected is None)
        if why_not:
            self.trace(now, "ignores %s: %s", candidate, why_not)
        else:
            self.trace(now, "hears of %s", candidate)
            self._patient_until = now + self.timings.patience
        if self.selected is not None and self.selected.remote is not before:
            self._events.append(SelectedPairChanged(self.selected))

    def _settle(self, now: float) -> None:
        """Send what may be sent, nominate what may be nominated, and see what state that makes."""
        if self._running:
            self._send_checks(now)
            if self.controlling and self.selected is None:
                pair = self._nomination.choose(self._checklist, self._complete, now)
                if pair is not None:
                    self._nominate(pair, now)
        self._update_state(now)

    def _send_checks(self, now: float) -> None:
        """RFC 8445 section 6.1.4.2. Triggered checks do not wait for Ta: they go to an address that has just spoken."""
        interval = self.timings.check_interval
        while (pair := self._checklist.next_triggered(now, interval)) is not None:
            self._check(pair, now)
        if self.selected is None and now >= self._next_ordinary:
            pair = self._checklist.next_ordinary()
            if pair is not None:
                self._next_ordinary = now + interval
                self._check(pair, now)

    def _check(self, pair: CandidatePair, now: float) -> None:
        self._nomination.begin(now)
        if pair.first_request_sent is None:
            self.trace(now, "checks %s", pair)
        pair.state = _IN_PROGRESS
        busy = len(self._checklist.in_state(_WAITING, _IN_PROGRESS))
        # RFC 8445 section 14.3; it bounds how fast all checks together are sent again.
        rto = max(MIN_RTO, self.timings.check_interval * busy)
        delays = triggered_check_delays if pair.requests_received else check_delays
        self._send(pair, Purpose.CHECK, delays(rto, self.timings.max_binding_requests), now)

    def _nominate(self, pair: CandidatePair, now: float) -> None:
        self.trace(now, "nominates %s", pair)
        self._nomination.nominee = pair
        self._send(pair, Purpose.NOMINATION, nomination_delays(pair.current_round_trip_time), now)

    def _send(self, pair: CandidatePair, purpose: Purpose, delays: tuple[float, ...], now: float) -> None:
        self._checks.send(pair, purpose, delays, controlling=self.controlling, tie_breaker=self.tie_breaker, now=now)

    def _set_role(self, controlling: bool, now: float) -> None:
        """What was nominated in the old role counts no more, though data may use it until the new one has decided."""
        self.controlling = controlling
        for pair in self._checklist.paths.values():
            pair.nominated = False
        self._checklist.set_controlling(controlling)
        self._nomination = Nomination(self.timings)
        self._checks.cancel_nominations()
        if self._running and self._checklist.paths:
            self._nomination.begin(now)

    def _rest(self, now: float) -> None:
        """Until the next consent check; spread, so that many agents do not fall into step (RFC 7675 section 5.1)."""
        self._next_keepalive = now + self.timings.consent_interval * self._chance.spread()

    def _ask_consent(self, pair: CandidatePair, now: float) -> None:
        """A check on the selected pair, and soon the next unless it is answered: a loss or two is no disconnection.

        RFC 7675 wants 4 s between two at least. Pion's 5 s to ``disconnected`` leave no room for that.
        """
        pair.consent_requests_sent += 1
        self._send(pair, Purpose.CONSENT, CONSENT_DELAYS, now)
        self._rest(now)
        if self.state is not ICETransportState.DISCONNECTED:
            soon = now + max(MIN_RTO, 1.5 * (pair.current_round_trip_time or 0.0))
            self._next_keepalive = min(self._next_keepalive, soon)

    def _select(self, pair: CandidatePair, now: float) -> None:
        first = self.selected is None
        self.trace(now, "selects %s", pair)
        self.selected = pair
        pair.nominated = True
        if first:
            self._checklist.conclude()
            self._checks.cancel_checks()
            self._rest(now)
        self._events.append(SelectedPairChanged(pair))

    def _update_state(self, now: float) -> None:
        if self.state is ICETransportState.NEW or self._over:
            return
        if self.selected is None:
            self.path = best(pair for pair in self._checklist.paths.values() if pair.has_consent(now))
            if now >= self._patient_until:
                pairs, remotes = self.pairs, self.remote_candidates
                self._stop(
                    ICETransportState.FAILED,
                    why_no_path(self.local_candidates, remotes, pairs, self.dropped, self.controlling),
                )
            return
        health = liveness(self.selected, self.timings, now)
        if health.state is not ICETransportState.CONNECTED and self._move(now):
            health = liveness(self.selected, self.timings, now)
        self._liveness_until = health.until
        self.path = self.selected if self.selected.has_consent(now) else None
        if health.state is ICETransportState.FAILED:
            self._stop(ICETransportState.FAILED, f"{self.selected}: {health.reason}")
        elif health.state is ICETransportState.DISCONNECTED:
            self._set_state(ICETransportState.DISCONNECTED, f"{self.selected}: {health.reason}")
        else:
            self._set_connected()

    def _set_connected(self) -> None:
        """W3C's ``completed``: connected, both ends have named all their candidates, and nothing is left to check."""
        if self.state is ICETransportState.COMPLETED:
            return
        if self.state is ICETransportState.DISCONNECTED:
            self._set_state(ICETransportState.CONNECTED, f"{self.selected}: the peer is heard again")
        else:
            self._set_state(ICETransportState.CONNECTED, str(self.selected))
        if self._complete and not self._checks.are_pending and not self._checklist.triggered:
            self._set_state(ICETransportState.COMPLETED, f"{self.selected}, and nothing is left to check")

    def _move(self, now: float) -> bool:
        """The selected pair is silent: go on with another that works and is not, as after a NAT's change of mind.

        The peer's checks then come from an address that is new to us, and on what the peer takes for the same pair.
        """
        live = best(
            pair
            for pair in self._checklist.paths.values()
            if pair is not self.selected and liveness(pair, self.timings, now).state is ICETransportState.CONNECTED
        )
        if live is None:
            return False
        self._select(live, now)
        if self.controlling:
            self._nominate(live, now)
        else:
            self._ask_consent(live, now)
        return True

    def _set_state(self, state: ICETransportState, reason: str) -> None:
        if state is not self.state:
            self.state = state
            self._events.append(StateChanged(state, reason))

    def _stop(self, state: ICETransportState, reason: str) -> None:
        self._checks.forget_all()
        self._early = EarlyChecks()
        self.path = None
        self._set_state(state, reason)


def _took(round_trip_time: float | None) -> str:
    return "" if round_trip_time is None else f", {round_trip_time * 1000:.0f} ms"
