"""The candidates of both sides, and the pairs that they make (RFC 8445 section 6.1.2, RFC 8838 sections 10 and 11)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..states import CandidatePairState, CandidateType, TCPType
from .candidate import MAX_PRIORITY, Candidate, is_local_name, parse_address, peer_reflexive_priority, without_zone
from .checklist import CheckList
from .dropped import Dropped
from .events import Happening, PathProved, PermissionNeeded
from .pair import Address, CandidatePair, pair_priority

# A browser with a dozen interfaces stays below it. A hostile peer could have us check so many addresses and no more.
MAX_REMOTE_CANDIDATES = 100
# To ask for one again that was asked for does no harm; in a session of days the peer has had many addresses.
MAX_REMEMBERED_PERMISSIONS = 1000

_LINK_LOCAL = ("fe8", "fe9", "fea", "feb")

Kind = tuple[str, bool, bool]
"""What candidates that may be paired have in common: transport and, over TCP, role; IPv6; link-local."""

# What the peer's end of a TCP candidate is. A passive one of ours makes no pairs by itself: connections come in to it
# (RFC 6544 section 6.2).
_OTHER_END = {
    TCPType.ACTIVE: TCPType.PASSIVE,
    TCPType.PASSIVE: TCPType.ACTIVE,
    TCPType.SIMULTANEOUS_OPEN: TCPType.SIMULTANEOUS_OPEN,
}


def _kind(transport: str, host: str) -> Kind:
    return transport, ":" in host, host.lower().startswith(_LINK_LOCAL)


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """One of ours. ``host`` is its numeric address with the zone, also where the candidate has a name instead."""

    candidate: Candidate
    base_id: int
    host: str


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """One of the peer's. ``host`` is its numeric address, also where the candidate has a name instead."""

    candidate: Candidate
    host: str


class Pairing:
    """Feeds the check list. ``events`` is where it tells of permissions that relays need, and of where the peer is."""

    def __init__(
        self,
        checklist: CheckList,
        ip_filter: Callable[[str], bool] | None,
        dropped: Dropped,
        events: list[Happening],
    ) -> None:
        self.bases: dict[int, Candidate] = {}
        """For each base the candidate that requests to it arrive at."""
        self.locals: list[LocalCandidate] = []
        self.remote_ended = False
        self._remotes: dict[tuple[str, str, int], RemoteCandidate] = {}
        # By the kind that they pair with, and by their own; the best first.
        self._locals_for: dict[Kind, list[LocalCandidate]] = {}
        self._remotes_of: dict[Kind, list[RemoteCandidate]] = {}
        self._checklist = checklist
        self._ip_filter = ip_filter
        self._dropped = dropped
        self._events = events
        self._held: tuple[tuple[Candidate, str | None], ...] = ()
        self._strangers = 0
        # An empty dictionary takes 64 bytes, an empty set 216, and most agents have no relay.
        self._permissions: dict[tuple[int, str], None] = {}

    @property
    def remotes(self) -> list[Candidate]:
        """What signalling named, in the order of arrival."""
        return [remote.candidate for remote in self._remotes.values()]

    def allows(self, host: str) -> bool:
        """Whether the application's filter lets us use an address of the peer's."""
        return self._ip_filter is None or self._ip_filter(without_zone(host))

    # Ours

    def add_local(self, candidate: Candidate, base_id: int, address: str | None, *, pair: bool) -> bool:
        """False for one with the address and the base of another (RFC 8445 section 5.1.3).

        ``address`` is what stands behind the candidate's name. A name differs from all addresses, its own as well.
        """
        told = (without_zone(candidate.address), candidate.port)
        for known in self.locals:
            if known.base_id == base_id and (without_zone(known.candidate.address), known.candidate.port) == told:
                return False
        local = LocalCandidate(candidate, base_id, address or candidate.address)
        self.locals.append(local)
        base = self.bases.get(base_id)
        if base is None or base.priority < candidate.priority:
            self.bases[base_id] = candidate
        self._name_mapped(local)
        if candidate.tcp_type is not TCPType.PASSIVE:
            transport = candidate.transport if candidate.tcp_type is None else _OTHER_END[candidate.tcp_type]
            kind = _kind(transport, local.host)
            insort(self._locals_for.setdefault(kind, []), local, key=lambda one: -one.candidate.priority)
            if pair:
                self._pair_all_of([local], self._remotes_of.get(kind, ()))
        return True

    def _name_mapped(self, local: LocalCandidate) -> None:
        """A server tells of what a check brought to light before: the peer, which is told too, ranks the pair by it."""
        address = without_zone(local.host), local.candidate.port
        for pair in self._checklist.paths.values():
            known = pair.local
            is_learnt = known.type is CandidateType.PRFLX and pair.base_id == local.base_id
            if is_learnt and (without_zone(known.address), known.port) == address:
                pair.local = local.candidate
                self._checklist.prioritize(pair)

    def lose_base(self, base_id: int) -> None:
        self.bases.pop(base_id, None)
        for locals in (self.locals, *self._locals_for.values()):
            locals[:] = [local for local in locals if local.base_id != base_id]

    # The peer's

    def hold_remote(self, candidate: Candidate, address: str | None) -> None:
        """Keep one until it is known which generation is the peer's."""
        if len(self._held) < MAX_REMOTE_CANDIDATES:
            self._held += ((candidate, address),)
        else:
            self._dropped.ignore("it is one too many")

    def take_held(self) -> tuple[tuple[Candidate, str | None], ...]:
        held, self._held = self._held, ()
        return held

    def add_remote(
        self, candidate: Candidate, address: str | None, ufrag: str, *, pair: bool, replace: bool = False
    ) -> str | None:
        """Take a candidate of the peer's, whose user fragment is ``ufrag``; why not, when it is ignored.

        With ``replace``, one whose pairs have all failed gives it its place when there are too many: in a long session
        a peer on the move may have more addresses than anybody has at one time.
        """
        host = without_zone(address or candidate.address)
        key = (candidate.tcp_type or candidate.transport, host, candidate.port)
        why_not = _unusable(candidate, host, ufrag)
        if why_not is None and not self.allows(host):
            why_not = "its address is filtered out"
        if why_not is None and key in self._remotes:
            why_not = "its address is known already"
        if why_not is None and len(self._remotes) >= MAX_REMOTE_CANDIDATES and not (replace and self._forget_one()):
            why_not = "it is one too many"
        if why_not is not None:
            self._dropped.ignore(why_not)
            return why_not
        remote = self._remotes[key] = RemoteCandidate(candidate, host)
        kind = _kind(key[0], host)
        insort(self._remotes_of.setdefault(kind, []), remote, key=lambda one: -one.candidate.priority)
        self._adopt(remote)
        if pair:
            self._pair_all_of(self._locals_for.get(kind, ()), [remote])
        return None

    def _forget_one(self) -> bool:
        """Drop the oldest of the peer's candidates that is of no use, if there is one."""
        in_use = {pair.remote for pair in self._checklist.paths.values() if pair.state is not CandidatePairState.FAILED}
        for key, remote in self._remotes.items():
            if remote.candidate not in in_use:
                del self._remotes[key]
                self._remotes_of[_kind(key[0], remote.host)].remove(remote)
                return True
        return False

    def _adopt(self, remote: RemoteCandidate) -> None:
        """Signalling names what a check told of: the pair stays as it is, and knows its candidate better."""
        named = remote.candidate
        for pair in self._checklist.paths.values():
            known = pair.remote
            is_learnt = known.type is CandidateType.PRFLX and known.tcp_type is named.tcp_type
            if is_learnt and (without_zone(pair.destination[0]), pair.destination[1]) == (remote.host, named.port):
                self._checklist.rename(pair, remote=named)
                if pair.requests_received:
                    self.prove(pair)

    # Pairs

    def pair_all(self) -> None:
        """Pair what came while nothing was paired."""
        for kind, locals in self._locals_for.items():
            for remote in self._remotes_of.get(kind, ()):
                self._pair_all_of(locals, [remote])

    def _pair_all_of(self, locals: Iterable[LocalCandidate], remotes: Iterable[RemoteCandidate]) -> None:
        """RFC 8445 section 6.1.2.2. One of both is a single candidate, the others come in the order of priority."""
        for local in locals:
            for remote in remotes:
                if not self._pair(local, remote):
                    return

    def _pair(self, local: LocalCandidate, remote: RemoteCandidate) -> bool:
        """False when there is no room for this pair, nor for any worse one."""
        ours, theirs = local.candidate, remote.candidate
        if ours.type is CandidateType.RELAY and theirs.is_hidden:
            # The name hides the address from servers; a permission would tell it to the relay's.
            return True
        # A link-local destination is on its base's link, and so are the sources that its answers are seen to come from.
        path = local.base_id, (remote.host, theirs.port)
        checklist = self._checklist
        if path not in checklist.paths and not checklist.make_room(pair_priority(ours, theirs, checklist.controlling)):
            return False
        pair = checklist.add(ours, local.base_id, theirs, path[1])
        if pair is not None:
            self._ask_permission(pair)
        return True

    def _ask_permission(self, pair: CandidatePair) -> None:
        """RFC 8445 section 7.2.1: the relay must let the peer's answers in."""
        key = (pair.base_id, pair.destination[0])
        if pair.base.type is CandidateType.RELAY and key not in self._permissions:
            if len(self._permissions) >= MAX_REMEMBERED_PERMISSIONS:
                paths = self._checklist.paths.values()
                self._permissions = dict.fromkeys((one.base_id, one.destination[0]) for one in paths)
            self._permissions[key] = None
            self._events.append(PermissionNeeded(pair.base_id, pair.destination))

    # What checks bring to light

    def prove(self, pair: CandidatePair, *, has_answered: bool = False) -> None:
        """The peer is there: what comes from this address to this base comes from it.

        Over TCP each answer tells, since it may be another connection than the one before.
        """
        if not pair.peer_is_there or (has_answered and (pair.responses_received == 1 or pair.is_stream)):
            pair.peer_is_there = True
            self._events.append(PathProved(pair.base_id, pair.destination, has_answered))

    def learn_remote(self, priority: int, base_id: int, source: Address) -> CandidatePair | None:
        """A pair for a check's source, which signalling may not have told of (RFC 8445 section 7.3.1.3).

        None when there is no room for more.
        """
        base = self.bases[base_id]
        tcp_type = None if base.tcp_type is None else _OTHER_END[base.tcp_type]
        host = without_zone(source[0])
        known = self._remotes.get((tcp_type or base.transport, host, source[1]))
        if known is not None:
            remote = known.candidate
        else:
            self._strangers += 1
            # The foundation must be nobody else's.
            foundation = f"stranger/{self._strangers}"
            priority = min(max(priority, 1), MAX_PRIORITY)
            kind = CandidateType.PRFLX
            remote = Candidate(foundation, 1, base.transport, priority, host, source[1], kind, tcp_type=tcp_type)
        pair = self._checklist.add(base, base_id, remote, source)
        if pair is not None:
            self._ask_permission(pair)
        return pair

    def learn_local(self, pair: CandidatePair, mapped: Address) -> None:
        """The local candidate is the address that the peer saw (RFC 8445 sections 7.2.5.3.1 and 7.2.5.3.2)."""
        for local in self.locals:
            if local.base_id == pair.base_id and (without_zone(local.host), local.candidate.port) == mapped:
                pair.local = local.candidate
                break
        else:
            base, (host, port) = pair.base, mapped
            pair.local = Candidate(
                f"mapped/{base.foundation}"[:32],
                1,
                base.transport,
                peer_reflexive_priority(base),
                host,
                port,
                CandidateType.PRFLX,
                without_zone(base.address),
                base.port,
                base.tcp_type,
            )
        self._checklist.prioritize(pair)


def _unusable(candidate: Candidate, host: str, ufrag: str) -> str | None:
    """Why a candidate of the peer's is not to be checked, or None when it is."""
    if candidate.ufrag not in (None, ufrag):
        return "it belongs to another generation"
    if candidate.component != 1:
        return "all runs over one component"
    if candidate.transport != "udp" and candidate.tcp_type is None:
        return f"its transport is {candidate.transport}"
    if is_local_name(host):
        return "its name was not resolved"
    try:
        address = parse_address(host)
    except ValueError:
        return "its address is not numeric"
    if candidate.port == 0 or address.is_unspecified or address.is_multicast or host == "255.255.255.255":
        return "nobody can be reached there"
    return None
