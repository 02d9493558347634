"""What must come of two ends, their NATs and firewalls, their servers and their policy: from the RFCs, not the code.

There are four paths at most, since each end sends from a socket of its own or from its relay. A path works when each
end's checks reach the other; the types of its candidates follow from what each end was told, and what it saw. Of those
that work the one of highest priority is nominated (RFC 8445 sections 6.1.2.3 and 8.1.1), when its types have waited.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum

from webrtc_py.states import CandidateType

HOST, SRFLX, PRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.PRFLX, CandidateType.RELAY


class End(StrEnum):
    """Where an agent is."""

    OPEN = "open"
    FULL_CONE = "full cone"
    RESTRICTED = "restricted"
    PORT_RESTRICTED = "port-restr."
    SYMMETRIC = "symmetric"
    NO_UDP = "no UDP"
    ONLY_TCP_443 = "TCP 443"

    @property
    def has_udp(self) -> bool:
        return self not in (End.NO_UDP, End.ONLY_TCP_443)


class Servers(StrEnum):
    """What both ends are given."""

    NONE = "no server"
    STUN = "STUN"
    TURN_UDP = "TURN over UDP"
    TURN_TCP = "TURN over TCP"
    TURN_TLS = "TURN over TLS on 443"
    ALL = "all of them"


class Policy(StrEnum):
    ALL = "all"
    RELAY = "relay"


@dataclass(frozen=True)
class Cell:
    """``left`` controls."""

    left: End
    right: End
    policy: Policy
    servers: Servers

    def __str__(self) -> str:
        return f"{self.left} - {self.right}, policy {self.policy}, {self.servers}"


@dataclass(frozen=True)
class Expected:
    """``types`` of the left end's and the right end's candidate in use, None for no path; both ends see the same."""

    types: tuple[CandidateType, CandidateType] | None
    wait: float
    """The seconds that the controlling end leaves better types their chance."""


# Pion's and ours.
ACCEPTANCE_WAIT = {HOST: 0.0, SRFLX: 0.5, PRFLX: 1.0, RELAY: 2.0}
# RFC 8445 section 5.1.2.2.
TYPE_PREFERENCE = {HOST: 126, PRFLX: 110, SRFLX: 100, RELAY: 0}
NOTHING = Expected(None, 0.0)


def expect(cell: Cell) -> Expected:
    left, right = _Agent(cell.left, cell), _Agent(cell.right, cell)
    paths = [
        (left.type_from(left_relays), right.type_from(right_relays))
        for left_relays, right_relays in itertools.product((False, True), repeat=2)
        if _works(left, left_relays, right, right_relays)
    ]
    if not paths:
        return NOTHING
    best = max(paths, key=lambda path: _priority(left.priority(path[0]), right.priority(path[1])))
    if cell.policy is Policy.RELAY:
        return Expected(best, 0.0)
    # The left end's base is its host candidate unless it relays.
    base = RELAY if best[0] is RELAY else HOST
    return Expected(best, max(ACCEPTANCE_WAIT[base], ACCEPTANCE_WAIT[best[1]]))


class _Agent:
    """One end, and what it has gathered."""

    def __init__(self, end: End, cell: Cell) -> None:
        self.end = end
        self.has_host = cell.policy is Policy.ALL
        asks_over_udp = cell.servers in (Servers.STUN, Servers.TURN_UDP, Servers.ALL)
        # Behind no NAT the server sees the host candidate, which is then no second one.
        self.has_srflx = self.has_host and asks_over_udp and end.has_udp and end is not End.OPEN
        # The way to the relay, best first (RFC 8656 leaves the order to us: the least delay).
        ways = {
            Servers.TURN_UDP: ("udp",),
            Servers.TURN_TCP: ("tcp",),
            Servers.TURN_TLS: ("tls",),
            Servers.ALL: ("udp", "tcp", "tls"),
        }.get(cell.servers, ())
        passes = {End.NO_UDP: ("tcp", "tls"), End.ONLY_TCP_443: ("tls",)}.get(end, ("udp", "tcp", "tls"))
        self.relay_way = next((way for way in ways if way in passes), None)

    @property
    def tells_public_address(self) -> bool:
        """Whether the peer's relay knows whom to let in."""
        return self.has_srflx or self.end is End.OPEN

    def type_from(self, relays: bool) -> CandidateType:
        """What the address is that the peer sees this end send from, and sends to."""
        if relays:
            return RELAY
        if self.end is End.OPEN:
            return HOST
        # A symmetric NAT shows the peer another port than it showed the server.
        return SRFLX if self.has_srflx and self.end is not End.SYMMETRIC else PRFLX

    def priority(self, type: CandidateType) -> tuple[int, int]:
        """Relays are preferred by the way to their server; the rest of the preference is the same everywhere."""
        way = {"udp": 3, "tcp": 1, "tls": 0}[self.relay_way] if type is RELAY and self.relay_way else 0
        return TYPE_PREFERENCE[type], way


def _priority(g: tuple[int, int], d: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int], bool]:
    """RFC 8445 section 6.1.2.3: ``g`` is the controlling end's."""
    return min(g, d), max(g, d), g > d


def _works(left: _Agent, left_relays: bool, right: _Agent, right_relays: bool) -> bool:
    if left_relays and right_relays:
        # Relays have public addresses, and each is told of the other's.
        return left.relay_way is not None and right.relay_way is not None
    if left_relays or right_relays:
        relaying, direct = (left, right) if left_relays else (right, left)
        # The direct end's NAT lets in what comes from where it sends to; the relay, who is named to it.
        return relaying.relay_way is not None and direct.has_host and direct.end.has_udp and direct.tells_public_address
    return left.has_host and right.has_host and _punches(left, right)


def _punches(one: _Agent, other: _Agent) -> bool:
    """Whether checks between the ends' own sockets get through."""
    if not (one.end.has_udp and other.end.has_udp):
        return False
    if End.OPEN in (one.end, other.end):
        # Everybody reaches the open end, and is answered.
        return True
    if not (one.has_srflx and other.has_srflx):
        return False
    # Both know an outside address. One whose mapping differs for the peer must be let in from a port unknown to it.
    for symmetric, peer in ((one.end, other.end), (other.end, one.end)):
        if symmetric is End.SYMMETRIC and peer in (End.PORT_RESTRICTED, End.SYMMETRIC):
            return False
    return True
