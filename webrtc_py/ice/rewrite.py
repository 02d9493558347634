"""Address rewrite rules: what the peer is told instead of, or beside, an address of ours.

They are for a host whose outer address is known beforehand: behind a 1:1 NAT, or in a container whose ports are
published. The socket stays where it is; only the candidate's address changes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..arguments import listed
from ..errors import ArgumentTypeError, InvalidAccessError
from ..states import AddressRewriteMode, CandidateType, NetworkType
from .candidate import without_zone

Address = tuple[str, int]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Port = int | range


@dataclass(frozen=True)
class AddressRewriteRule:
    """``external`` are the addresses to tell; those of the local address's family count.

    A rule is for the ``local`` address it names, or for all on the interface ``iface`` and in the network ``cidr``,
    or for every one. ``networks`` restricts it to some of udp4, udp6, tcp4 and tcp6. ``as_candidate_type`` is what the
    external address is told as:

    - ``host``: the host candidates get the external addresses;
    - ``srflx``: the sockets get server-reflexive candidates with them, as if a STUN server had told;
    - ``relay``: the addresses that a TURN server gives get them, as when the server itself is behind a NAT.

    ``mode`` is ``replace`` (the default for ``host``) or ``append`` (the default otherwise): instead of the own address
    or beside it. ``replace`` for ``srflx`` asks no STUN server, and with nothing ``external`` it takes candidates away.

    ``ports`` tells the outer port of a local one; a range is mapped from its first on. Other ports stay as they are::

        AddressRewriteRule(["203.0.113.7"], ports={range(50000, 50100): 40000})

    InvalidAccessError or ValueError for what makes no sense, ArgumentTypeError for what is of another type.
    """

    external: Sequence[str]
    local: str = ""
    iface: str = ""
    cidr: str = ""
    as_candidate_type: CandidateType | str = CandidateType.HOST
    mode: AddressRewriteMode | str | None = None
    networks: Sequence[NetworkType | str] = ()
    ports: Mapping[_Port, int] | None = None

    def __post_init__(self) -> None:
        for name in ("local", "iface", "cidr"):
            if not isinstance(value := getattr(self, name), str):
                raise ArgumentTypeError(f"{name} is {value!r}; it must be a string")
        if not isinstance(self.ports, Mapping | None):
            raise ArgumentTypeError(f"ports is {self.ports!r}; it must be a dictionary of local ports to outer ones")
        kind = CandidateType(self.as_candidate_type)
        if kind is CandidateType.PRFLX:
            raise InvalidAccessError("peer-reflexive candidates are found by checks, and cannot be rewritten")
        default = AddressRewriteMode.REPLACE if kind is CandidateType.HOST else AddressRewriteMode.APPEND
        self._set("as_candidate_type", kind)
        self._set("mode", default if self.mode is None else AddressRewriteMode(self.mode))
        self._set(
            "external", tuple(dict.fromkeys(_numeric("external", host) for host in listed("external", self.external)))
        )
        self._set("networks", tuple(NetworkType(one) for one in listed("networks", self.networks)))
        self._set("ports", dict(self.ports or {}))
        if not self.external and self.mode is AddressRewriteMode.APPEND:
            raise InvalidAccessError("a rule that appends must name an external address")
        if self.local:
            self._set("local", _numeric("local", self.local))
            if any((":" in host) != (":" in self.local) for host in self.external):
                raise InvalidAccessError(f"{self.local} and {', '.join(self.external)} are of different families")
        if self.cidr:
            try:
                self._set("cidr", str(ipaddress.ip_network(self.cidr, strict=False)))
            except ValueError:
                raise InvalidAccessError(f"cidr is {self.cidr!r}; it must be a network as 10.0.0.0/8") from None
        for port, outer in (self.ports or {}).items():
            _check_ports(port, outer)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def replaces(self) -> bool:
        return self.mode is AddressRewriteMode.REPLACE

    def specificity(self, host: str, iface: str, network: NetworkType) -> int:
        """How closely the rule is meant for an address: 0 when it is not for it at all, more the closer."""
        if self.networks and network not in self.networks:
            return 0
        if self.external and not self._externals_for(host):
            return 0
        if (self.local and self.local != host) or (self.iface and self.iface != iface):
            return 0
        if self.cidr and not _is_in(host, self.cidr):
            return 0
        return 1 + (8 if self.local else 0) + (4 if self.iface else 0) + (2 if self.cidr else 0)

    def outer_addresses(self, address: Address) -> list[Address]:
        """The external addresses of the same family, with the outer port."""
        port = self._outer_port(address[1])
        return [(host, port) for host in self._externals_for(address[0])]

    def _externals_for(self, host: str) -> list[str]:
        return [external for external in self.external if (":" in external) == (":" in host)]

    def _outer_port(self, port: int) -> int:
        for inner, outer in (self.ports or {}).items():
            if isinstance(inner, range):
                if port in inner:
                    return outer + inner.index(port)
            elif inner == port:
                return outer
        return port


def find_rule(
    rules: Sequence[AddressRewriteRule], kind: CandidateType, host: str, iface: str, network: NetworkType
) -> AddressRewriteRule | None:
    """The rule for candidates of a kind on an address: the closest, and of equally close ones the first.

    An address beats an interface, which beats a network, which beats nothing at all; both beat one.
    """
    host = without_zone(host)
    found, closest = None, 0
    for rule in rules:
        if rule.as_candidate_type is kind:
            specificity = rule.specificity(host, iface, network)
            if specificity > closest:
                found, closest = rule, specificity
    return found


def told_addresses(
    rules: Sequence[AddressRewriteRule], kind: CandidateType, address: Address, iface: str, network: NetworkType
) -> list[Address]:
    """What the peer is told of an address: itself, others instead, others as well, or nothing."""
    rule = find_rule(rules, kind, address[0], iface, network)
    if rule is None:
        return [address]
    outer = rule.outer_addresses(address)
    return outer if rule.replaces else [address, *outer]


def nat_1to1_rules(
    ips: Iterable[str], candidate_type: CandidateType | str = CandidateType.HOST
) -> list[AddressRewriteRule]:
    """The rules for a list of outer addresses, each for one local address (``"outer/local"``) or for all (``"outer"``).

    At most one of each family is for all: two would be two candidates where there is one. Host candidates are told
    with the outer address instead of their own; server-reflexive ones beside those that STUN servers give.
    InvalidAccessError for anything else.
    """
    kind = CandidateType(candidate_type)
    if kind not in (CandidateType.HOST, CandidateType.SRFLX):
        raise InvalidAccessError(f"a 1:1 NAT's addresses are told as host or srflx candidates, not {kind}")
    for_all: set[bool] = set()
    rules = []
    for entry in listed("ips", ips):
        if not isinstance(entry, str):
            raise InvalidAccessError(f"ips are strings, with {entry!r} among them")
        external, slash, local = entry.partition("/")
        if slash and not local:
            raise InvalidAccessError(f"{entry!r} names no local address; it is 'outer' or 'outer/local'")
        if not slash:
            if (":" in external) in for_all:
                raise InvalidAccessError(f"{entry!r} is the second outer address of its family for all local ones")
            for_all.add(":" in external)
        rules.append(AddressRewriteRule([external], local=local, as_candidate_type=kind))
    return rules


def _numeric(name: str, host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise InvalidAccessError(f"{name} is {host!r}; it must be a numeric address") from None
    if address.is_unspecified or address.is_multicast or "%" in host:
        raise InvalidAccessError(f"{name} is {host!r}; nobody can be reached there")
    return str(address)


def _is_in(host: str, cidr: str) -> bool:
    return ipaddress.ip_address(host) in ipaddress.ip_network(cidr)


def _check_ports(inner: _Port, outer: int) -> None:
    count = len(inner) if isinstance(inner, range) else 1
    low, high = (inner[0], inner[-1]) if isinstance(inner, range) and inner else (inner, inner)
    if isinstance(inner, range) and (inner.step != 1 or not inner):
        raise InvalidAccessError(f"the ports {inner!r} are no range of one step")
    if not (isinstance(low, int) and isinstance(high, int) and 0 < low <= high < 65536):
        raise InvalidAccessError(f"the local port {inner!r} is not of 1 to 65535")
    if not (isinstance(outer, int) and outer > 0 and outer + count - 1 < 65536):
        raise InvalidAccessError(f"the outer port {outer!r} of {inner!r} is not of 1 to 65535")
