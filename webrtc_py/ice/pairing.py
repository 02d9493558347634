"""The candidates of both sides, and the pairs that they make (RFC 8445 section 6.1.2, RFC 8838 sections 10 and 11)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from ..states import CandidateType
from .candidate import MAX_PRIORITY, Candidate, is_local_name, peer_reflexive_priority, without_zone
from .checklist import CheckList
from .dropped import Dropped
from .events import Happening, PathProved, PermissionNeeded
from .pair import Address, CandidatePair

# A browser with a dozen interfaces stays below it. A hostile peer could have us check so many addresses and no more.
MAX_REMOTE_CANDIDATES = 100

_LINK_LOCAL = ("fe8", "fe9", "fea", "feb")


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """One of ours. ``host`` is its numeric address with the zone, also where the candidate has a name instead."""

    candidate: Candidate
    base_id: int
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
        self.remotes: dict[tuple[str, int], Candidate] = {}
        """What signalling named, by numeric address and port, in the order of arrival."""
        self.remote_ended = False
        self._checklist = checklist
        self._ip_filter = ip_filter
        self._dropped = dropped
        self._events = events
        self._held: list[tuple[Candidate, str | None]] = []
        self._strangers = 0
        self._permissions: set[tuple[int, str]] = set()

    def allows(self, host: str) -> bool:
        """Whether the application's filter lets us use an address of the peer's."""
        return self._ip_filter is None or self._ip_filter(without_zone(host))

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
        if pair:
            for (host, _), remote in self.remotes.items():
                self._pair(local, remote, host)
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
        self.locals = [local for local in self.locals if local.base_id != base_id]
        self.bases.pop(base_id, None)

    def hold_remote(self, candidate: Candidate, address: str | None) -> None:
        """Keep one until it is known which generation is the peer's."""
        if len(self._held) < MAX_REMOTE_CANDIDATES:
            self._held.append((candidate, address))
        else:
            self._dropped.ignored["it is one too many"] += 1

    def take_held(self) -> list[tuple[Candidate, str | None]]:
        held, self._held = self._held, []
        return held

    def add_remote(self, candidate: Candidate, address: str | None, ufrag: str, *, pair: bool) -> str | None:
        """Take a candidate of the peer's, whose user fragment is ``ufrag``; why not, when it is ignored."""
        host = without_zone(address or candidate.address)
        why_not = _unusable(candidate, host, ufrag)
        if why_not is None and not self.allows(host):
            why_not = "its address is filtered out"
        if why_not is None and (host, candidate.port) in self.remotes:
            why_not = "its address is known already"
        if why_not is None and len(self.remotes) >= MAX_REMOTE_CANDIDATES:
            why_not = "it is one too many"
        if why_not is not None:
            self._dropped.ignored[why_not] += 1
            return why_not
        self.remotes[host, candidate.port] = candidate
        self._adopt(candidate, host)
        if pair:
            for local in self.locals:
                self._pair(local, candidate, host)
        return None

    def _adopt(self, candidate: Candidate, host: str) -> None:
        """Signalling names what a check told of: the pair stays as it is, and knows its candidate better."""
        for pair in self._checklist.paths.values():
            if (without_zone(pair.destination[0]), pair.destination[1]) == (host, candidate.port):
                pair.remote = candidate
                if pair.requests_received:
                    self.prove(pair)
                self._checklist.prioritize(pair)

    def _pair(self, local: LocalCandidate, remote: Candidate, host: str) -> None:
        """RFC 8445 section 6.1.2.2, and section 5.1.1.1 for link-local addresses."""
        address = without_zone(local.host)
        link_local = host.lower().startswith(_LINK_LOCAL)
        if (":" in address) != (":" in host) or address.lower().startswith(_LINK_LOCAL) != link_local:
            return
        if local.candidate.type is CandidateType.RELAY and remote.is_hidden:
            # The name hides the address from servers; a permission would tell it to the relay's.
            return
        # A link-local destination is on its base's link, and so are the sources that its answers are seen to come from.
        pair = self._checklist.add(local.candidate, local.base_id, remote, (host, remote.port))
        if pair is not None:
            self._ask_permission(pair)

    def _ask_permission(self, pair: CandidatePair) -> None:
        """RFC 8445 section 7.2.1: the relay must let the peer's answers in."""
        key = (pair.base_id, pair.destination[0])
        if pair.base.type is CandidateType.RELAY and key not in self._permissions:
            self._permissions.add(key)
            self._events.append(PermissionNeeded(pair.base_id, pair.destination))

    def prove(self, pair: CandidatePair, *, has_answered: bool = False) -> None:
        """The peer is there: what comes from this address to this base comes from it."""
        if not pair.peer_is_there or (has_answered and pair.responses_received == 1):
            pair.peer_is_there = True
            self._events.append(PathProved(pair.base_id, pair.destination, has_answered))

    def learn_remote(self, priority: int, base_id: int, source: Address) -> CandidatePair | None:
        """A pair for a check's source, which signalling may not have told of (RFC 8445 section 7.3.1.3).

        None when there is no room for more.
        """
        host = without_zone(source[0])
        remote = self.remotes.get((host, source[1]))
        if remote is None:
            self._strangers += 1
            # The foundation must be nobody else's.
            foundation = f"stranger/{self._strangers}"
            priority = min(max(priority, 1), MAX_PRIORITY)
            remote = Candidate(foundation, 1, "udp", priority, host, source[1], CandidateType.PRFLX)
        pair = self._checklist.add(self.bases[base_id], base_id, remote, source)
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
            foundation = f"mapped/{base.foundation}"[:32]
            pair.local = Candidate(
                foundation,
                1,
                "udp",
                peer_reflexive_priority(base),
                host,
                port,
                CandidateType.PRFLX,
                without_zone(base.address),
                base.port,
            )
        self._checklist.prioritize(pair)


def _unusable(candidate: Candidate, host: str, ufrag: str) -> str | None:
    """Why a candidate of the peer's is not to be checked, or None when it is."""
    if candidate.ufrag not in (None, ufrag):
        return "it belongs to another generation"
    if candidate.component != 1:
        return "all runs over one component"
    if candidate.transport != "udp":
        return f"its transport is {candidate.transport}"
    if is_local_name(host):
        return "its name was not resolved"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "its address is not numeric"
    if candidate.port == 0 or address.is_unspecified or address.is_multicast or host == "255.255.255.255":
        return "nobody can be reached there"
    return None
