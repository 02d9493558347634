"""What all of gathering shares: the plan, and the making of candidates (RFC 8445 section 5.1)."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..runtime.network import Address, DatagramSocket
from ..states import CandidateType, NetworkType, TCPType
from .addresses import LocalAddress
from .agent_options import AgentOptions
from .candidate import (
    Candidate,
    Foundations,
    candidate_priority,
    local_preference,
    tcp_local_preference,
    without_zone,
)
from .mux import TCPMux, UDPMux
from .proxy import Proxy, parse_proxy
from .relay import Relay
from .rewrite import AddressRewriteRule, find_rule, told_addresses
from .tcp import DISCARD_PORT, TCPEndpoint
from .udp_port import UDPPort
from .url import ServerURL


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
    has_room: Callable[[Address], bool] | None = field(init=False)
    """Whether data to an address would be taken now; None where it always is, as by a UDP socket."""

    def __post_init__(self) -> None:
        self.has_room = self.socket.has_room if isinstance(self.socket, TCPEndpoint | Relay) else None

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

    def system_refused(self, what: str) -> None:
        """The system does not give what gathering takes, as when there is no descriptor left."""

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
    port_range: tuple[int, int] | None
    tls_context: ssl.SSLContext | None
    proxy: Proxy | None
    """What TCP and TLS connections to TURN servers go through."""
    turn_protocols: frozenset[str]
    """How TURN servers may be reached."""
    bind_relays: bool
    """Bind the sockets to TURN servers to one of ``addresses``, because a filter keeps us from the others."""
    network_types: frozenset[NetworkType]
    udp_mux: UDPMux | None
    tcp_mux: TCPMux | None
    active_tcp: bool
    tcp_priority_offset: int
    rules: Sequence[AddressRewriteRule]
    hides_hosts: bool
    """Tell names instead of the host's addresses, and those nowhere else either."""

    @classmethod
    def of(cls, options: AgentOptions, addresses: Sequence[LocalAddress], ufrag: str) -> GatherPlan:
        """What the options say, for the addresses that there are."""
        return cls(
            addresses=addresses,
            urls=list(dict.fromkeys(options.server_urls)),
            candidate_types=frozenset(CandidateType(one) for one in options.candidate_types),
            ufrag=ufrag,
            timeout=options.stun_gather_timeout,
            port_range=options.port_range,
            tls_context=options.tls_context,
            proxy=parse_proxy(options.proxy) if options.proxy else None,
            turn_protocols=frozenset(options.turn_transport_protocols),
            bind_relays=options.interface_filter is not None or options.ip_filter is not None,
            network_types=frozenset(NetworkType(one) for one in options.network_types),
            udp_mux=options.udp_mux,
            tcp_mux=options.tcp_mux,
            active_tcp=options.active_tcp and not options.lite,
            tcp_priority_offset=options.tcp_priority_offset,
            rules=options.address_rewrite_rules,
            hides_hosts=options.hides_hosts,
        )

    @property
    def tells_hosts(self) -> bool:
        """Whether the host's own addresses may be told at all."""
        return CandidateType.HOST in self.candidate_types and not self.hides_hosts


@dataclass(frozen=True, slots=True)
class Found:
    """An address at which a base may be reached, and how it was found: what a candidate is made of."""

    kind: CandidateType
    address: Address
    base: Base
    url: ServerURL | None = None
    server: Address | None = None
    """The address of the URL's server that told it or relays from it."""
    index: int = 0
    """Its place among those of its kind and base, the best first: a server's among the URLs, mostly."""
    related: Address | None = None
    """A relay's: ours as the server sees it. Others' is their base."""
    tcp_type: TCPType | None = None


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
                self._make(Found(CandidateType.SRFLX, address, base, index=index))

    def _reflexive_rule(self, base: Base) -> AddressRewriteRule | None:
        if not self._plan.rules or base.address is None or not base.address.is_announced:
            return None
        host = base.address.host
        return find_rule(self._plan.rules, CandidateType.SRFLX, host, base.address.interface, _network(host, None))

    def add(self, found: Found) -> None:
        """Make a candidate of what was found, or what rules make of it."""
        kind, address, local = found.kind, found.address, found.base.address
        if not self._plan.rules or kind is CandidateType.SRFLX or (local is not None and not local.is_announced):
            self._make(found)
            return
        interface = local.interface if local is not None else ""
        told = told_addresses(self._plan.rules, kind, address, interface, _network(address[0], found.tcp_type))
        for offset, outer in enumerate(told):
            self._make(replace(found, address=outer, index=found.index + offset))

    def _make(self, found: Found) -> None:
        """Hand it on unless it is redundant (RFC 8445 section 5.1.3)."""
        kind, base = found.kind, found.base
        host, port = found.address
        if base.is_announced:
            host = without_zone(host)  # which is the socket's own, and means nothing to the peer
        hidden: str | None = None
        if kind is CandidateType.HOST and self._plan.hides_hosts:
            if host not in self.names:
                return
            host, hidden = self.names[host], host
        if any((known.address, known.port) == (host, port) for known in base.candidates):
            return
        transport = "tcp" if found.tcp_type else "udp"
        relay_protocol = found.url.protocol if kind is CandidateType.RELAY and found.url is not None else ""
        base_host = host if base.address is None else base.address.host
        server_host = found.server[0] if found.server else ""
        related = self._related(found, host)
        candidate = Candidate(
            foundation=self._foundations.of(kind, base_host, server_host, relay_protocol or transport),
            component=1,
            transport=transport,
            priority=self._priority(found, host),
            address=host,
            port=port,
            type=kind,
            related_address=related[0] if related else None,
            related_port=related[1] if related else None,
            tcp_type=found.tcp_type,
            extensions=(("ufrag", self._plan.ufrag),),
            url=str(found.url) if found.url else "",
            relay_protocol=relay_protocol,
        )
        base.candidates.append(candidate)
        self._host.add_candidate(candidate, base, hidden)

    def _priority(self, found: Found, host: str) -> int:
        """RFC 8445 section 5.1.2.1, and of TCP candidates RFC 6544 section 4.2."""
        kind, index = found.kind, found.index
        if kind is CandidateType.RELAY:
            assert found.url is not None
            assert found.server is not None
            place = _place_of_relay(host, found.server[0])
            return candidate_priority(kind, local_preference(place, index, found.url.protocol))
        assert found.base.address is not None
        place = self.place_of(found.base.address.host)
        if found.tcp_type is None:
            return candidate_priority(kind, local_preference(place, index))
        preference = tcp_local_preference(kind, found.tcp_type, place, index)
        return candidate_priority(kind, preference, type_preference_offset=self._plan.tcp_priority_offset)

    def _related(self, found: Found, host: str) -> Address | None:
        """The related address (RFC 8839 section 5.1), or nowhere in its place: RFC 8828, RFC 8839 section 9.1."""
        if found.kind is CandidateType.HOST:
            return None
        related = found.related if found.kind is CandidateType.RELAY else found.base.socket.local_address
        return related if related is not None and self._may_show_related(found.kind) else _nowhere(host)

    def _may_show_related(self, kind: CandidateType) -> bool:
        """A related address shows only what a candidate of its own would show as well."""
        if kind is CandidateType.SRFLX:
            return self._plan.tells_hosts
        # Without a NAT it is the host's own.
        return CandidateType.SRFLX in self._plan.candidate_types and not self._plan.hides_hosts


def _nowhere(host: str) -> Address:
    """What stands where no address is told, of the family of ``host`` (RFC 8839 section 9.1)."""
    return "::" if ":" in host else "0.0.0.0", DISCARD_PORT


def _network(host: str, tcp_type: TCPType | None) -> NetworkType:
    return NetworkType(("tcp" if tcp_type else "udp") + ("6" if ":" in host else "4"))


def _place_of_relay(host: str, server: str) -> int:
    """Relays that speak the family by which their server is reached come first, others are for peers without it.

    A peer of that family then uses one relay directly, where two relays of the other family would meet else.
    """
    is_ipv4, is_other_family = ":" not in host, (":" in host) != (":" in server)
    return 2 * is_other_family + is_ipv4
