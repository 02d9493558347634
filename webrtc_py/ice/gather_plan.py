"""What both halves of gathering share: the plan, and the making of candidates."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
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
)
from .mux import TCPMux, UDPMux
from .relay import Relay
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

    @property
    def relay(self) -> Relay | None:
        return self.socket if isinstance(self.socket, Relay) else None


class Host(Protocol):
    """The generation that is gathered for, as gathering sees it."""

    def find_port(self, host: str) -> UDPPort | None:
        """The agent's port on a local address, which an earlier generation opened."""

    def add_base(self, socket: DatagramSocket | Relay, address: LocalAddress | None) -> Base:
        """Candidates are going to send from here."""

    def add_candidate(self, candidate: Candidate, base: Base) -> None:
        """Pair it, and tell the peer unless ``base.address`` says that it is not announced."""

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
    bind_relays: bool = False
    """Bind the sockets to TURN servers to one of ``addresses``, because a filter keeps us from the others."""
    network_types: frozenset[NetworkType] = frozenset(NetworkType)
    udp_mux: UDPMux | None = None
    tcp_mux: TCPMux | None = None
    active_tcp: bool = True
    tcp_priority_offset: int = TCP_PRIORITY_OFFSET


class CandidateMaker:
    """Makes candidates of what was found, with their foundations and priorities, and hands them on."""

    def __init__(self, plan: GatherPlan, host: Host) -> None:
        self._plan = plan
        self._host = host
        self._foundations = Foundations()
        self._known: set[tuple[str, int, int]] = set()

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
        """Make a candidate, and hand it on unless it is redundant (RFC 8445 section 5.1.3)."""
        host, port = address
        if (host, port, base.id) in self._known:
            return
        self._known.add((host, port, base.id))
        protocol = None
        offset = 0
        if kind is CandidateType.RELAY:
            assert url is not None
            protocol = "tls" if url.is_secure else url.transport
            preference = local_preference(":" not in host, index, protocol)
            base_host = host
        else:
            assert base.address is not None
            related = None if kind is CandidateType.HOST else base.socket.local_address
            place = self._plan.addresses.index(base.address)
            if tcp_type is None:
                preference = local_preference(place, index)
            else:
                preference = tcp_local_preference(kind, tcp_type, place)
                offset = self._plan.tcp_priority_offset
            base_host = base.address.host
        if related is not None and not self._may_show_related(kind):
            # RFC 8828 and RFC 8839 section 5.1; as libwebrtc writes it.
            related = ("::" if ":" in host else "0.0.0.0", 0)
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
        self._host.add_candidate(candidate, base)

    def _may_show_related(self, kind: CandidateType) -> bool:
        """A related address shows only what a candidate of its own would show as well."""
        shown = CandidateType.HOST if kind is CandidateType.SRFLX else CandidateType.SRFLX
        return shown in self._plan.candidate_types
