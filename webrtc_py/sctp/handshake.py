"""How an association comes up: what INIT and INIT ACK say, and the state cookie (RFC 9260 section 5).

The listening side keeps nothing until a COOKIE ECHO brings back what the cookie remembers for it, under a MAC that only
it can make. In WebRTC both ends send an INIT at about the same time, and the table of section 5.2.4 makes one
association of the two.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from enum import Enum

from ..errors import ParseError
from . import parameter as kind
from .chunk import FORWARD_TSN, PAD, RE_CONFIG, CauseCode, InitChunk
from .parameter import Parameter

# Valid.Cookie.Life (RFC 9260 section 16), in seconds.
COOKIE_LIFE = 60.0

# RFC 9260 section 3.3.2: no endpoint may offer a smaller receive window.
_SMALLEST_WINDOW = 1500

_COOKIE = struct.Struct("!dLLLLLHHBLL")
_MAC_SIZE = 16
_ZERO_CHECKSUM_DTLS = kind.ZERO_CHECKSUM_METHOD_DTLS.to_bytes(4, "big")

# What we know and need nothing of: one path without addresses is all that DTLS gives (RFC 8261 section 6.1).
_IGNORED_PARAMETERS = frozenset(
    {
        kind.IPV4_ADDRESS,
        kind.IPV6_ADDRESS,
        kind.STATE_COOKIE,
        kind.UNRECOGNIZED_PARAMETER,
        kind.COOKIE_PRESERVATIVE,
        kind.SUPPORTED_ADDRESS_TYPES,
        kind.ECN_CAPABLE,
        kind.PADDING,
    }
)


class InitRefusedError(Exception):
    """The INIT or INIT ACK cannot be accepted; ``cause`` goes into the ABORT that answers it."""

    def __init__(self, reason: str, cause: Parameter) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Peer:
    """What the peer's INIT or INIT ACK tells of it."""

    tag: int
    a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    forward_tsn: bool = False
    reconfig: bool = False
    zero_checksum: bool = False
    padding: bool = False
    """It lists PAD, and with that says that it answers probes and reads records of any size (see ``path_mtu``)."""


@dataclass(frozen=True, slots=True)
class InitContents:
    peer: Peer
    cookie: bytes | None
    unrecognized: tuple[Parameter, ...]
    """The parameters that their types want to be reported (RFC 9260 section 3.2.2)."""


def init_parameters(*, zero_checksum: bool) -> tuple[Parameter, ...]:
    """What our INIT and INIT ACK say: nothing that anybody could stumble over unless it was asked for."""
    parameters = [
        Parameter(kind.FORWARD_TSN_SUPPORTED),
        Parameter(kind.SUPPORTED_EXTENSIONS, bytes((RE_CONFIG, FORWARD_TSN, PAD))),
    ]
    if zero_checksum:
        parameters.append(Parameter(kind.ZERO_CHECKSUM_ACCEPTABLE, _ZERO_CHECKSUM_DTLS))
    return tuple(parameters)


def read_init(chunk: InitChunk) -> InitContents:
    """What an INIT or INIT ACK says (RFC 9260 sections 3.3.2, 3.3.3 and 5.1.2).

    ParseError when it is to be dropped, InitRefusedError when an ABORT is the answer.
    """
    if chunk.initiate_tag == 0:
        raise ParseError("the initiate tag is 0")
    if not chunk.outbound_streams or not chunk.inbound_streams:
        raise _invalid("no streams in one direction")
    if chunk.a_rwnd < _SMALLEST_WINDOW:
        raise _invalid(f"a receive window of {chunk.a_rwnd} bytes")
    forward_tsn = reconfig = zero_checksum = padding = False
    cookie = None
    unrecognized = []
    for parameter in chunk.parameters:
        if parameter.type == kind.FORWARD_TSN_SUPPORTED:
            forward_tsn = True
        elif parameter.type == kind.SUPPORTED_EXTENSIONS:
            reconfig = RE_CONFIG in parameter.value
            padding = PAD in parameter.value
        elif parameter.type == kind.ZERO_CHECKSUM_ACCEPTABLE:
            zero_checksum = parameter.value == _ZERO_CHECKSUM_DTLS
        elif parameter.type == kind.HOST_NAME_ADDRESS:
            cause = Parameter(CauseCode.UNRESOLVABLE_ADDRESS, parameter.serialize())
            raise InitRefusedError("a host name as address", cause)
        elif parameter.type == kind.STATE_COOKIE and chunk.is_ack:
            cookie = parameter.value
        elif parameter.type not in _IGNORED_PARAMETERS:
            if parameter.is_reported:
                unrecognized.append(parameter)
            if parameter.stops_processing:
                break
    if chunk.is_ack and cookie is None:
        missing = struct.pack("!LH", 1, kind.STATE_COOKIE)
        raise InitRefusedError("no state cookie", Parameter(CauseCode.MISSING_MANDATORY_PARAMETER, missing))
    peer = Peer(
        chunk.initiate_tag,
        chunk.a_rwnd,
        chunk.outbound_streams,
        chunk.inbound_streams,
        chunk.initial_tsn,
        forward_tsn,
        reconfig,
        zero_checksum,
        padding,
    )
    return InitContents(peer, cookie, tuple(unrecognized))


def _invalid(reason: str) -> InitRefusedError:
    return InitRefusedError(reason, Parameter(CauseCode.INVALID_MANDATORY_PARAMETER))


@dataclass(frozen=True, slots=True)
class StateCookie:
    """What the cookie carries for us: all that is needed to set up the association (RFC 9260 section 5.1.3).

    The tie tags are those of the association that existed when the cookie was made, zero without one.
    """

    created: float
    local_tag: int
    local_initial_tsn: int
    peer: Peer
    local_tie_tag: int = 0
    peer_tie_tag: int = 0

    def serialize(self, key: bytes) -> bytes:
        peer = self.peer
        flags = peer.forward_tsn | peer.reconfig << 1 | peer.zero_checksum << 2 | peer.padding << 3
        data = _COOKIE.pack(
            self.created,
            self.local_tag,
            self.local_initial_tsn,
            peer.tag,
            peer.initial_tsn,
            peer.a_rwnd,
            peer.outbound_streams,
            peer.inbound_streams,
            flags,
            self.local_tie_tag,
            self.peer_tie_tag,
        )
        return data + _mac(key, data)

    @classmethod
    def parse(cls, cookie: bytes, key: bytes) -> StateCookie:
        """ParseError when we did not make it (RFC 9260 section 5.1.5)."""
        data, mac = cookie[:-_MAC_SIZE], cookie[-_MAC_SIZE:]
        if len(data) != _COOKIE.size or not hmac.compare_digest(mac, _mac(key, data)):
            raise ParseError("the state cookie is not one of ours")
        created, tag, tsn, peer_tag, peer_tsn, a_rwnd, outbound, inbound, flags, tie, peer_tie = _COOKIE.unpack(data)
        peer = Peer(peer_tag, a_rwnd, outbound, inbound, peer_tsn, *(bool(flags & 1 << bit) for bit in range(4)))
        return cls(created, tag, tsn, peer, tie, peer_tie)

    def age(self, now: float) -> float:
        return now - self.created


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")[:_MAC_SIZE]


def derive_tag(key: bytes, context: bytes) -> int:
    """A tag that nobody without ``key`` can foresee, another one for each ``context``; never 0."""
    return int.from_bytes(hmac.digest(key, b"tag" + context, "sha256")[:4], "big") or 1


class CookieAction(Enum):
    """What a COOKIE ECHO means for an association that exists (RFC 9260 section 5.2.4, table 12)."""

    RESTART = "A"
    ADOPT = "B"
    LATE = "C"
    DUPLICATE = "D"
    DISCARD = "discard"


def cookie_action(cookie: StateCookie, local_tag: int, peer_tag: int) -> CookieAction:
    """Table 12's row. ``peer_tag`` is 0 while the peer's INIT ACK has not come."""
    if cookie.local_tag == local_tag:
        return CookieAction.DUPLICATE if cookie.peer.tag == peer_tag else CookieAction.ADOPT
    if cookie.peer.tag == peer_tag:
        no_tie_tags = cookie.local_tie_tag == 0 and cookie.peer_tie_tag == 0
        return CookieAction.LATE if no_tie_tags else CookieAction.DISCARD
    if cookie.local_tie_tag == local_tag and cookie.peer_tie_tag == peer_tag:
        return CookieAction.RESTART
    return CookieAction.DISCARD


def unrecognized_parameters(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """The parameters of an INIT ACK that report these of the INIT (RFC 9260 section 3.2.2)."""
    return tuple(Parameter(kind.UNRECOGNIZED_PARAMETER, item.serialize()) for item in parameters)


def stale_cookie_cause(age: float) -> Parameter:
    """How many microseconds too late the cookie came (RFC 9260 section 3.3.10.3)."""
    staleness = min(max(int((age - COOKIE_LIFE) * 1_000_000), 0), 0xFFFFFFFF)
    return Parameter(CauseCode.STALE_COOKIE, staleness.to_bytes(4, "big"))
