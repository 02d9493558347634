"""Network address translation as RFC 4787 sorts it: how mappings are made, and what they let in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from webrtc_py.runtime.network import Address

if TYPE_CHECKING:
    from .virtual_network import Segment, VirtualHost, VirtualNetwork


class Behaviour(StrEnum):
    """What a mapping, or a filter, depends on (RFC 4787 sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"

    def key(self, remote: Address) -> tuple[str, int]:
        if self is Behaviour.ENDPOINT_INDEPENDENT:
            return ("", 0)
        if self is Behaviour.ADDRESS_DEPENDENT:
            return (remote[0], 0)
        return remote


class NATKind(StrEnum):
    """The four that people speak of (RFC 3489 section 5)."""

    FULL_CONE = "full cone"
    RESTRICTED = "restricted"
    PORT_RESTRICTED = "port restricted"
    SYMMETRIC = "symmetric"

    @property
    def mapping(self) -> Behaviour:
        return Behaviour.ADDRESS_AND_PORT_DEPENDENT if self is NATKind.SYMMETRIC else Behaviour.ENDPOINT_INDEPENDENT

    @property
    def filtering(self) -> Behaviour:
        return {
            NATKind.FULL_CONE: Behaviour.ENDPOINT_INDEPENDENT,
            NATKind.RESTRICTED: Behaviour.ADDRESS_DEPENDENT,
            NATKind.PORT_RESTRICTED: Behaviour.ADDRESS_AND_PORT_DEPENDENT,
            NATKind.SYMMETRIC: Behaviour.ADDRESS_AND_PORT_DEPENDENT,
        }[self]


@dataclass
class Mapping:
    inside: Address
    outside: Address
    expires: float
    permitted: set[tuple[str, int]] = field(default_factory=set)


class NAT:
    """A network behind one router: ``inside`` is its own segment, its addresses stand in the segment ``outside``."""

    def __init__(
        self,
        network: VirtualNetwork,
        name: str,
        outside: Segment,
        inside: Segment,
        addresses: tuple[str, ...],
        *,
        mapping: Behaviour,
        filtering: Behaviour,
        hairpin: bool,
        timeout: float,
    ) -> None:
        self.network = network
        self.name = name
        self.outside = outside
        self.inside = inside
        self.addresses = addresses
        self.mapping = mapping
        self.filtering = filtering
        self.hairpin = hairpin
        self.timeout = timeout
        self._by_inside: dict[tuple[str, Address, tuple[str, int]], Mapping] = {}
        self._by_outside: dict[tuple[str, Address], Mapping] = {}
        self._next_port = 20000

    def host(self, name: str, *addresses: str) -> VirtualHost:
        """A host behind this router."""
        return self.network.host(name, *addresses, segment=self.inside)

    def nat(self, name: str, *addresses: str, kind: NATKind | str = NATKind.PORT_RESTRICTED) -> NAT:
        """A router behind this router."""
        return self.network.nat(name, *addresses, kind=kind, outside=self.inside)

    def forget(self) -> None:
        """Lose all mappings, as a router does that restarts."""
        self._by_inside.clear()
        self._by_outside.clear()

    def translate_out(self, protocol: str, source: Address, destination: Address, now: float) -> Address | None:
        """The source that the outside sees, or None when this router has no address of that family."""
        key = (protocol, source, self.mapping.key(destination))
        mapping = self._by_inside.get(key)
        if mapping is None or mapping.expires <= now:
            family = ":" in source[0]
            address = next((a for a in self.addresses if (":" in a) == family), None)
            if address is None:
                return None
            mapping = Mapping(source, (address, self._next_port), now)
            self._next_port += 1
            self._by_inside[key] = self._by_outside[protocol, mapping.outside] = mapping
        mapping.expires = now + self.timeout
        mapping.permitted.add(self.filtering.key(destination))
        return mapping.outside

    def translate_in(self, protocol: str, source: Address, destination: Address, now: float) -> Address | None:
        """Where inside a packet for ``destination`` goes, or None when there is no mapping, or its filter says no."""
        mapping = self._by_outside.get((protocol, destination))
        if mapping is None or mapping.expires <= now or self.filtering.key(source) not in mapping.permitted:
            return None
        return mapping.inside

    def inside_of(self, protocol: str, destination: Address) -> Address | None:
        """Who stands behind ``destination``, whatever the filter says."""
        mapping = self._by_outside.get((protocol, destination))
        return None if mapping is None else mapping.inside
