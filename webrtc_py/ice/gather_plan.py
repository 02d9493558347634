"""What both halves of gathering share: the plan, and the making of candidates."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..runtime.network import Address, DatagramSocket
from ..states import CandidateType, NetworkType, TCPType
from .addresses import LocalAddress
from .candidate import (
    TCP_PRIORITY_OFFSET,
    Candidate,
    Foundations,
    candidate_priority,
    local_preference,
    tcp_local_preference,
    without_zone,
)
from .mux import TCPMux, UDPMux
from .proxy import Proxy
from .relay import Relay
from .rewrite import AddressRewriteRule, find_rule, told_addresses
from .udp_port import UDPPort
from .url import TURN_PROTOCOLS, ServerURL


@dataclass(frozen=True, slots=True)
class GatheringError:
    """Why a server gave no candidate. ``base`` is the local address it was tried from, where that may show."""

    url: ServerURL
    base: Address | None
    error_code: int
    reason: str


@dataclass(slots=True)
class Base:
    """What candidates send from: an endpoint of a port, or a relay."""

    id: int
    socket: DatagramSocket | Relay
    address: LocalAddress | None
    """The interface's address; None for a relay."""
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def relay(self) -> Relay | None:
        return self.socket if isinstance(self.socket, Relay) else None

    @property
    def is_announced(self) -> bool:
        """Whether the peer is told of its candidates."""
        return self.address is None or self.address.is_announced

    @property
    def local_host(self) -> str | None:
        """The local address that its datagrams leave from, where it is bound to one."""
        return None if self.address is None else self.address.host


class Host(Protocol):
    """The generation that is gathered for, as gathering sees it."""

    def find_port(self, host: str) -> UDPPort | None:
        """The agent's port on a local address, which an earlier generation opened."""

    def add_base(self, socket: DatagramSocket | Relay, address: LocalAddress | None) -> Base:
        """Candidates are going to send from here."""

    def add_candidate(self, candidate: Candidate, base: Base, address: str | None) -> None:
        """Pair it, and tell the peer unless ``base.address`` says that it is not announced.

        ``address`` is what stands behind the candidate's name, where it has one.
        """

    def bases(self) -> Collection[Base]:
        """What there is to send from."""

    def base_gone(self, base: Base, reason: str) -> None:
        """The address that it sends from is not ours any more."""

    async def name_of(self, host: str) -> str:
        """The name that hides a local address. OSError when nobody could resolve it."""

    def forget_name(self, host: str) -> None:
        """The local address is not ours any more."""

    def gathering_failed(self, error: GatheringError) -> None: ...

    def relay_lost(self, relay: Relay, reason: str) -> None: ...

    def path_lost(self, base: Base, address: Address, reason: str) -> None:
        """A connection that was a path by itself has ended (RFC 6544)."""

    def permission_refused(self, relay: Relay, host: str, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class GatherPlan:
    """What to gather. ``candidate_types`` is how the transport policy is put: ``relay`` opens no host socket."""

    addresses: Sequence[LocalAddress]
    urls: Sequence[ServerURL]
    candidate_types: frozenset[CandidateType]
    ufrag: str
    timeout: float
    port_range: tuple[int, int] | None = None
    tls_context: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    """What TCP and TLS connections to TURN servers go through."""
    turn_protocols: frozenset[str] = frozenset(TURN_PROTOCOLS)
    """How TURN servers may be reached."""
    bind_relays: bool = False
    """Bind the sockets to TURN servers to one of ``addresses``, because a filter keeps us from the others."""
    network_types: frozenset[NetworkType] = frozenset(NetworkType)
    udp_mux: UDPMux | None = None
    tcp_mux: TCPMux | None = None
    active_tcp: bool = True
    tcp_priority_offset: int = TCP_PRIORITY_OFFSET
    rules: Sequence[AddressRewriteRule] = ()
    hides_hosts: bool = False
    """Tell names instead of the host's addresses, and those nowhere else either."""

    @property
    def tells_hosts(self) -> bool:
        """Whether the host's own addresses may be told at all."""
        return CandidateType.HOST in self.candidate_types and not self.hides_hosts


class CandidateMaker:
    """Makes candidates of what was found, with their foundations and priorities, and hands them on."""

    def __init__(self, plan: GatherPlan, host: Host) -> None:
        self._plan = plan
        self._host = host
        self._foundations = Foundations()
        self._places: dict[str, int] = {}
        self.names: dict[str, str] = {}
        """The names of the local addresses that are hidden."""

    def place_of(self, host: str) -> int:
        """A number of its own for each local address, the first one's the lowest: what tells priorities apart."""
        if host not in self._places:
            taken = set(self._places.values())
            self._places[host] = next(place for place in itertools.count() if place not in taken)
        return self._places[host]

    def forget(self, host: str) -> None:
        """A local address is gone."""
        self._places.pop(host, None)
        self.names.pop(host, None)

    def is_mapped(self, base: Base) -> bool:
        """Whether the server-reflexive addresses of a base are known, so that no server need be asked."""
        rule = self._reflexive_rule(base)
        return rule is not None and rule.replaces

    def add_mapped(self, base: Base) -> None:
        """Make the server-reflexive candidates of a base that rules tell."""
        rule = self._reflexive_rule(base)
        if rule is not None:
            for index, address in enumerate(rule.outer_addresses(base.socket.local_address), len(self._plan.urls)):
                self._make(CandidateType.SRFLX, address, base, index=index)

    def _reflexive_rule(self, base: Base) -> AddressRewriteRule | None:
        if base.address is None or not base.address.is_announced:
            return None
        host = base.address.host
        return find_rule(self._plan.rules, CandidateType.SRFLX, host, base.address.interface, _network(host, None))

    def add(
        self,
        kind: CandidateType,
        address: Address,
        base: Base,
        url: ServerURL | None = None,
        server: Address | None = None,
        index: int = 0,
        related: Address | None = None,
        tcp_type: TCPType | None = None,
    ) -> None:
        """Make a candidate of what was found, or what rules make of it."""
        if kind is CandidateType.SRFLX or (base.address is not None and not base.address.is_announced):
            self._make(kind, address, base, url, server, index, related, tcp_type)
            return
        interface = base.address.interface if base.address is not None else ""
        told = told_addresses(self._plan.rules, kind, address, interface, _network(address[0], tcp_type))
        for offset, outer in enumerate(told):
            self._make(kind, outer, base, url, server, index + offset, related, tcp_type)

    def _make(
        self,
        kind: CandidateType,
        address: Address,
        base: Base,
        url: ServerURL | None = None,
        server: Address | None = None,
        index: int = 0,
        related: Address | None = None,
        tcp_type: TCPType | None = None,
    ) -> None:
        """Hand it on unless it is redundant (RFC 8445 section 5.1.3)."""
        host, port = address
        if base.is_announced:
            host = without_zone(host)  # which is the socket's own, and means nothing to the peer
        hidden: str | None = None
        if kind is CandidateType.HOST and self._plan.hides_hosts:
            if host not in self.names:
                return
            host, hidden = self.names[host], host
        if any((known.address, known.port) == (host, port) for known in base.candidates):
            return
        protocol = None
        offset = 0
        if kind is CandidateType.RELAY:
            assert url is not None
            assert server is not None
            protocol = url.protocol
            preference = local_preference(_place_of_relay(host, server[0]), index, protocol)
            base_host = host
        else:
            assert base.address is not None
            related = None if kind is CandidateType.HOST else base.socket.local_address
            place = self.place_of(base.address.host)
            if tcp_type is None:
                preference = local_preference(place, index)
            else:
                preference = tcp_local_preference(kind, tcp_type, place, index)
                offset = self._plan.tcp_priority_offset
            base_host = base.address.host
        if related is not None and not self._may_show_related(kind):
            # RFC 8828, and RFC 8839 section 9.1.
            related = ("::" if ":" in host else "0.0.0.0", 9)
        candidate = Candidate(
            foundation=self._foundations.of(
                kind, base_host, server[0] if server else "", protocol or ("tcp" if tcp_type else "udp")
            ),
            component=1,
            transport="tcp" if tcp_type else "udp",
            priority=candidate_priority(kind, preference, type_preference_offset=offset),
            address=host,
            port=port,
            type=kind,
            related_address=related[0] if related else None,
            related_port=related[1] if related else None,
            tcp_type=tcp_type,
            extensions=(("ufrag", self._plan.ufrag),),
            url=str(url) if url else "",
            relay_protocol=protocol or "",
        )
        base.candidates.append(candidate)
        self._host.add_candidate(candidate, base, hidden)

    def _may_show_related(self, kind: CandidateType) -> bool:
        """A related address shows only what a candidate of its own would show as well."""
        if kind is CandidateType.SRFLX:
            return self._plan.tells_hosts
        # Without a NAT it is the host's own.
        return CandidateType.SRFLX in self._plan.candidate_types and not self._plan.hides_hosts


def _network(host: str, tcp_type: TCPType | None) -> NetworkType:
    return NetworkType(("tcp" if tcp_type else "udp") + ("6" if ":" in host else "4"))


def _place_of_relay(host: str, server: str) -> int:
    """Relays that speak the family by which their server is reached come first, others are for peers without it.

    A peer of that family then uses one relay directly, where two relays of the other family would meet else.
    """
    is_ipv4, is_other_family = ":" not in host, (":" in host) != (":" in server)
    return 2 * is_other_family + is_ipv4
