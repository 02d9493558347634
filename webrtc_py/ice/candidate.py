"""Candidates: their grammar (RFC 8839 section 5.1), priority and foundation (RFC 8445 section 5.1)."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import ArgumentTypeError, SDPSyntaxError
from ..states import CandidateType, TCPType

# RFC 8445 section 5.1.2.2: a host's own address is best, a relay is the last resort.
TYPE_PREFERENCE = {
    CandidateType.HOST: 126,
    CandidateType.PRFLX: 110,
    CandidateType.SRFLX: 100,
    CandidateType.RELAY: 0,
}
TCP_PRIORITY_OFFSET = 27
"""How much lower the type preference of TCP candidates is: all of them stand below UDP, relays excepted."""
# RFC 6544 section 4.2: who opens the connection is part of the local preference.
_DIRECTION_PREFERENCE = {TCPType.ACTIVE: 6, TCPType.PASSIVE: 4, TCPType.SIMULTANEOUS_OPEN: 2}
_REFLEXIVE_DIRECTION_PREFERENCE = {TCPType.SIMULTANEOUS_OPEN: 6, TCPType.ACTIVE: 4, TCPType.PASSIVE: 2}
# A relay reached over UDP adds least delay; one behind TCP or TLS adds head-of-line blocking.
_RELAY_PREFERENCE = {"udp": 3, "dtls": 2, "tcp": 1, "tls": 0}

MAX_PRIORITY = 2**31 - 1
# No stack writes nearly so much; it bounds what a peer's extensions can make us keep.
MAX_LINE_LENGTH = 2048

_TYPES = {member.value: member for member in CandidateType}
_TCP_TYPES = {member.value: member for member in TCPType}

# Agents and their peers have few addresses, and each is asked several things.
parse_address = functools.lru_cache(maxsize=256)(ipaddress.ip_address)
"""The object of a numeric address. ValueError for anything else."""

_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}\Z")
_NUMBER = re.compile(r"[0-9]{1,10}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_VISIBLE = re.compile(r"[\x21-\x7e]*\Z")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,252}[A-Za-z0-9_])?\.?\Z")
_DOTTED_NUMBERS = re.compile(r"[0-9.]+\Z")


class UnsupportedCandidateError(SDPSyntaxError):
    """A well-formed candidate of a type, transport or address that we do not know: the line is to be ignored."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transport address that may reach an agent, with what a ``candidate`` attribute says of it.

    ``address`` is a numeric address, or the ``.local`` name that hides one. The address of a local IPv6 link-local
    candidate carries its zone (``fe80::1%eth0``), which is never written into the attribute. ``extensions`` are the
    pairs of name and value behind the grammar's own fields, in their order.

    ``url`` (the server it was learnt from) and ``relay_protocol`` (the transport to a TURN server: ``"udp"``,
    ``"tcp"``, ``"tls"``) are known of local candidates only; they are not written.
    """

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    type: CandidateType
    related_address: str | None = None
    related_port: int | None = None
    tcp_type: TCPType | None = None
    extensions: tuple[tuple[str, str], ...] = ()
    url: str = field(default="", compare=False)
    relay_protocol: str = field(default="", compare=False)

    @property
    def ufrag(self) -> str | None:
        """The user fragment of the generation it belongs to, where the candidate names it (RFC 8838 section 9)."""
        return self.extension("ufrag")

    def extension(self, name: str) -> str | None:
        """The value of an extension, or None."""
        return next((value for key, value in self.extensions if key == name), None)

    @property
    def is_hidden(self) -> bool:
        """Whether the address is a multicast DNS name."""
        return is_local_name(self.address)

    def marshal(self) -> str:
        """The attribute's text, ``candidate:...``, without ``a=``."""
        address = without_zone(self.address)
        parts = [f"candidate:{self.foundation} {self.component} {self.transport} {self.priority} {address}"]
        parts.append(f"{self.port} typ {self.type}")
        if self.type is not CandidateType.HOST:
            if self.related_address is None or self.related_port is None:
                # RFC 8839 section 5.1: the fields must be there; this is what stands for an address not to be told.
                parts.append(f"raddr {'::' if ':' in address else '0.0.0.0'} rport 9")
            else:
                parts.append(f"raddr {without_zone(self.related_address)} rport {self.related_port}")
        if self.tcp_type is not None:
            parts.append(f"tcptype {self.tcp_type}")
        parts.extend(f"{key} {value}" for key, value in self.extensions)
        return " ".join(parts)

    def __str__(self) -> str:
        """For people: type, transport and address."""
        transport = self.transport if self.tcp_type is None else f"{self.transport} {self.tcp_type}"
        return f"{self.type} {transport} {format_address(self.address, self.port)}"


def unmarshal_candidate(text: str) -> Candidate:
    """A candidate from its attribute, with ``a=candidate:``, ``candidate:`` or neither in front.

    SDPSyntaxError when the text is outside the grammar; UnsupportedCandidateError when it is inside, but of a type,
    transport or kind of address that is to be ignored (RFC 8839 section 5.1).
    """
    if not isinstance(text, str):
        raise ArgumentTypeError(f"a candidate's attribute is a string, not {text!r}")
    if len(text) > MAX_LINE_LENGTH:
        raise SDPSyntaxError(f"a candidate of {len(text)} characters; at most {MAX_LINE_LENGTH} are read")
    line = text.lstrip().rstrip("\r\n").removeprefix("a=").removeprefix("candidate:")
    words = line.split(" ")
    if len(words) < 8 or words[6].lower() != "typ":
        raise SDPSyntaxError(
            f"candidate {text!r} is not 'foundation component transport priority address port typ type'"
        )
    foundation, component, transport, priority, address, port, _, kind = words[:8]
    if not _FOUNDATION.match(foundation):
        raise SDPSyntaxError(f"candidate foundation {foundation!r} is not 1 to 32 letters, digits, '+' or '/'")
    if not _TOKEN.match(transport) or not _TOKEN.match(kind):
        raise SDPSyntaxError(f"candidate transport {transport!r} and type {kind!r} must be tokens")
    number = _number("component", component, 1, 256)
    rank = _number("priority", priority, 1, MAX_PRIORITY)
    port_number = _number("port", port, 0, 65535)
    related_address, related_port, pairs = _unmarshal_rest(words[8:])

    transport, kind = transport.lower(), kind.lower()
    address = _address(address)
    tcp_type: TCPType | None = None
    if kind not in _TYPES:
        raise UnsupportedCandidateError(f"candidate type {kind!r} is none of host, srflx, prflx, relay")
    if transport == "tcp":
        tcp_type, pairs = _take_tcp_type(pairs)
    elif transport != "udp":
        raise UnsupportedCandidateError(f"candidate transport {transport!r} is neither udp nor tcp")
    if kind == CandidateType.HOST:
        related_address = related_port = None
    # RFC 8839 section 5.1 wants the related address of all other types. It is for people to read, and stacks that
    # leave it out are understood.
    return Candidate(
        foundation,
        number,
        transport,
        rank,
        address,
        port_number,
        _TYPES[kind],
        related_address,
        related_port,
        tcp_type,
        tuple(pairs),
    )


def _number(name: str, text: str, low: int, high: int) -> int:
    if not _NUMBER.match(text) or not low <= int(text) <= high:
        raise SDPSyntaxError(f"candidate {name} {text!r} is not a number from {low} to {high}")
    return int(text)


def _unmarshal_rest(words: list[str]) -> tuple[str | None, int | None, list[tuple[str, str]]]:
    """``[raddr address] [rport port] *(name value)``"""
    if words and words[-1] == "" and len(words) % 2:
        words = words[:-1]
    if len(words) % 2:
        raise SDPSyntaxError(f"candidate extension {words[-1]!r} has no value")
    pairs = list(zip(words[::2], words[1::2], strict=True))
    related_address: str | None = None
    related_port: int | None = None
    if pairs and pairs[0][0].lower() == "raddr":
        # The related address is for people to read: a name in it harms nobody, nonsense does.
        related_address = pairs.pop(0)[1]
        if _numeric_address(related_address) is None and not _is_name(related_address):
            raise SDPSyntaxError(f"candidate raddr {related_address!r} is not an address")
    if pairs and pairs[0][0].lower() == "rport":
        related_port = _number("rport", pairs.pop(0)[1], 0, 65535)
    for key, value in pairs:
        if not _TOKEN.match(key) or not _VISIBLE.match(value):
            raise SDPSyntaxError(f"candidate extension {key!r} with value {value!r} is not a token and visible ASCII")
    return related_address, related_port, pairs


def _take_tcp_type(pairs: list[tuple[str, str]]) -> tuple[TCPType, list[tuple[str, str]]]:
    """RFC 6544 section 4.5: a TCP candidate says who opens the connection."""
    for index, (key, value) in enumerate(pairs):
        if key.lower() == "tcptype" and value.lower() in _TCP_TYPES:
            return _TCP_TYPES[value.lower()], pairs[:index] + pairs[index + 1 :]
    raise UnsupportedCandidateError("a TCP candidate must have a tcptype of active, passive or so")


def _address(text: str) -> str:
    """The address in its canonical text; a ``.local`` name as it is."""
    numeric = _numeric_address(text)
    if numeric is not None:
        return numeric
    if _numeric_address(without_zone(text)) is not None:
        raise UnsupportedCandidateError(f"candidate address {text!r} has a zone, which means nothing on another host")
    if not _is_name(text):
        raise SDPSyntaxError(f"candidate address {text!r} is neither an IP address nor a name")
    if not is_local_name(text):
        raise UnsupportedCandidateError(f"candidate address {text!r} is a name, and only names in .local are looked up")
    return text


def _numeric_address(text: str) -> str | None:
    """An address's canonical text, or None. A zone means nothing outside its own host, and is refused."""
    try:
        return None if "%" in text else str(parse_address(text))
    except ValueError:
        return None


def _is_name(text: str) -> bool:
    return bool(_NAME.match(text)) and not _DOTTED_NUMBERS.match(text)


def is_local_name(address: str) -> bool:
    """Whether an address is a multicast DNS name (draft-ietf-mmusic-mdns-ice-candidates)."""
    return address.lower().endswith(".local")


def format_address(host: str, port: int) -> str:
    """As URLs write it: ``192.0.2.1:5000``, ``[2001:db8::1]:5000``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_zone(address: str) -> str:
    """An address without the zone that a local IPv6 link-local one carries."""
    return address.partition("%")[0]


def candidate_priority(
    type: CandidateType, local_preference: int, component: int = 1, *, type_preference_offset: int = 0
) -> int:
    """RFC 8445 section 5.1.2.1. ``local_preference`` is 0 to 65535 and unique among the candidates of one type.

    ``type_preference_offset`` is how much less the type is worth, as all types are over TCP (RFC 6544 section 4.2).
    """
    preference = max(TYPE_PREFERENCE[type] - type_preference_offset, 0)
    return (preference << 24) | (local_preference << 8) | (256 - component)


def peer_reflexive_priority(candidate: Candidate) -> int:
    """The priority that a check carries: the candidate's as if it were peer-reflexive (RFC 8445 section 7.1.1).

    Over TCP that is as much lower as the candidate itself is.
    """
    preference = TYPE_PREFERENCE[CandidateType.PRFLX]
    if candidate.transport == "tcp":
        preference = max(preference - max(TYPE_PREFERENCE[candidate.type] - (candidate.priority >> 24), 0), 0)
    return (preference << 24) | (candidate.priority & 0xFFFFFF)


def local_preference(address_index: int, server_index: int = 0, relay_protocol: str | None = None) -> int:
    """A preference of its own for each local address and server (RFC 8445 section 5.1.2.1).

    ``address_index`` counts the local addresses in the order of :func:`interleave_families`, ``server_index`` the
    servers. A relay says by which transport its server is reached: ``"udp"``, ``"dtls"``, ``"tcp"`` or ``"tls"``.
    """
    index = min(server_index, 63) * 256 + min(address_index, 255)
    if relay_protocol is None:
        return 65535 - index
    return (_RELAY_PREFERENCE[relay_protocol] << 14) | (0x3FFF - index)


def tcp_local_preference(type: CandidateType, tcp_type: TCPType, address_index: int, server_index: int = 0) -> int:
    """The local preference of a TCP candidate (RFC 6544 section 4.2), by places as above."""
    reflexive = type in (CandidateType.SRFLX, CandidateType.PRFLX)
    directions = _REFLEXIVE_DIRECTION_PREFERENCE if reflexive else _DIRECTION_PREFERENCE
    return (directions[tcp_type] << 13) | (8191 - min(server_index, 31) * 256 - min(address_index, 255))


def interleave_families(addresses: Iterable[str]) -> list[str]:
    """IPv6 and IPv4 addresses in turn, IPv6 first, each family in its own order.

    The order is the one to give local preferences in, so that a family that is broken on the path delays the checks
    of the other by little (RFC 8421 section 4).
    """
    families: tuple[list[str], list[str]] = ([], [])
    for address in addresses:
        families[":" not in address].append(address)
    # Spread evenly: the i-th of n IPv6 addresses stands at i / n of the way, the i-th of n IPv4 ones at (i + 1) / n.
    # So the first stretch of IPv6 has the length that the RFC proposes. Sorting is stable: IPv6 wins ties.
    places = [
        ((i + ahead) / len(family), address)
        for ahead, family in enumerate(families)
        for i, address in enumerate(family)
    ]
    return [address for _, address in sorted(places, key=lambda place: place[0])]


class Foundations:
    """The foundations of one agent's candidates: equal if and only if the RFC says so (RFC 8445 section 5.1.1.3).

    They are small numbers and not hashes, so that they collide never and tell nothing of an address that is hidden.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[CandidateType, str, str, str], str] = {}

    def of(self, type: CandidateType, base_address: str, server: str = "", transport: str = "udp") -> str:
        """The foundation for a type, a base's IP address, a STUN or TURN server and the transport (to the server)."""
        return self._known.setdefault((type, base_address, server, transport), str(len(self._known) + 1))
