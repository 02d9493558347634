"""Chunks, one dataclass each (RFC 9260 section 3.3, RFC 3758 section 3.2, RFC 6525 section 3.1, RFC 4820 section 3).

DATA and SACK stand here in their general form; the paths that carry most of the packets build and read them in place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ..errors import ParseError
from .packet import RawChunk, build_chunk
from .parameter import Parameter, parse_parameters, serialize_parameters

DATA = 0
INIT = 1
INIT_ACK = 2
SACK = 3
HEARTBEAT = 4
HEARTBEAT_ACK = 5
ABORT = 6
SHUTDOWN = 7
SHUTDOWN_ACK = 8
ERROR = 9
COOKIE_ECHO = 10
COOKIE_ACK = 11
SHUTDOWN_COMPLETE = 14
RE_CONFIG = 130
PAD = 132
FORWARD_TSN = 192

# DATA's flags: end and beginning of a message, unordered, and "acknowledge at once" (RFC 9260 section 3.3.1).
END = 0x01
BEGINNING = 0x02
UNORDERED = 0x04
IMMEDIATE = 0x08

# ABORT's and SHUTDOWN COMPLETE's flag: the tag is the sender's of the packet that is answered (section 8.5.1).
TAG_REFLECTED = 0x01


def _need(value: memoryview, size: int, what: str) -> None:
    if len(value) < size:
        raise ParseError(f"{what} has a value of {len(value)} bytes, {size} at least are needed")


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |   Type = 0    |  Res  |I|U|B|E|            Length             |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                              TSN                              |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |      Stream Identifier S      |   Stream Sequence Number n    |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                  Payload Protocol Identifier                  |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# \                 User Data (seq n of Stream S)                 \
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
DATA_HEADER = struct.Struct("!BBHLHHL")
"""The chunk header with DATA's fixed part: type, flags, length, TSN, stream id, SSN, PPID. SACK's is as long."""
DATA_HEADER_SIZE = DATA_HEADER.size
_DATA_VALUE = struct.Struct("!LHHL")


@dataclass(frozen=True, slots=True)
class DataChunk:
    type: ClassVar[int] = DATA
    flags: int
    tsn: int
    stream_id: int
    ssn: int
    ppid: int
    data: bytes

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> DataChunk:
        _need(value, _DATA_VALUE.size, "DATA")
        tsn, stream_id, ssn, ppid = _DATA_VALUE.unpack_from(value)
        return cls(flags & 0x0F, tsn, stream_id, ssn, ppid, bytes(value[_DATA_VALUE.size :]))

    def serialize(self) -> bytes:
        fixed = _DATA_VALUE.pack(self.tsn, self.stream_id, self.ssn, self.ppid)
        return build_chunk(self.type, self.flags, fixed + self.data)


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |   Type = 1    |  Chunk Flags  |         Chunk Length          |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                         Initiate Tag                          |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |          Advertised Receiver Window Credit (a_rwnd)           |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |  Number of Outbound Streams   |   Number of Inbound Streams   |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                          Initial TSN                          |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# \              Optional/Variable-Length Parameters              \
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_INIT = struct.Struct("!LLHHL")


@dataclass(frozen=True, slots=True)
class InitChunk:
    """INIT, or with ``is_ack`` INIT ACK: the same fields, and the state cookie among the latter's parameters."""

    initiate_tag: int
    a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    parameters: tuple[Parameter, ...] = ()
    is_ack: bool = False

    @property
    def type(self) -> int:
        return INIT_ACK if self.is_ack else INIT

    @classmethod
    def parse(cls, flags: int, value: memoryview, is_ack: bool = False) -> InitChunk:
        _need(value, _INIT.size, "INIT")
        tag, a_rwnd, outbound, inbound, initial_tsn = _INIT.unpack_from(value)
        return cls(tag, a_rwnd, outbound, inbound, initial_tsn, parse_parameters(value[_INIT.size :]), is_ack)

    @classmethod
    def parse_ack(cls, flags: int, value: memoryview) -> InitChunk:
        return cls.parse(flags, value, True)

    def serialize(self) -> bytes:
        fixed = _INIT.pack(
            self.initiate_tag, self.a_rwnd, self.outbound_streams, self.inbound_streams, self.initial_tsn
        )
        return build_chunk(self.type, 0, fixed + serialize_parameters(self.parameters))


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |   Type = 3    |  Chunk Flags  |         Chunk Length          |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                      Cumulative TSN Ack                       |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |          Advertised Receiver Window Credit (a_rwnd)           |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# | Number of Gap Ack Blocks = N  |  Number of Duplicate TSNs = M |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |    Gap Ack Block #1 Start     |     Gap Ack Block #1 End      |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# \                              ...                              \
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                       Duplicate TSN 1..M                      |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_SACK = struct.Struct("!LLHH")
SACK_FIXED_SIZE = 4 + _SACK.size


@dataclass(frozen=True, slots=True)
class SackChunk:
    """Gap blocks are (start, end) offsets from the cumulative TSN, both included."""

    type: ClassVar[int] = SACK
    cumulative_tsn_ack: int
    a_rwnd: int
    gap_ack_blocks: tuple[tuple[int, int], ...] = ()
    duplicate_tsns: tuple[int, ...] = ()

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> SackChunk:
        _need(value, _SACK.size, "SACK")
        cumulative, a_rwnd, gaps, duplicates = _SACK.unpack_from(value)
        _need(value, _SACK.size + 4 * (gaps + duplicates), "SACK")
        edges = struct.unpack_from(f"!{2 * gaps}H", value, _SACK.size)
        tsns = struct.unpack_from(f"!{duplicates}L", value, _SACK.size + 4 * gaps)
        return cls(cumulative, a_rwnd, tuple(zip(edges[::2], edges[1::2], strict=True)), tsns)

    def serialize(self) -> bytes:
        gaps, duplicates = self.gap_ack_blocks, self.duplicate_tsns
        value = _SACK.pack(self.cumulative_tsn_ack, self.a_rwnd, len(gaps), len(duplicates))
        value += b"".join(struct.pack("!HH", *block) for block in gaps)
        return build_chunk(self.type, 0, value + struct.pack(f"!{len(duplicates)}L", *duplicates))


# HEARTBEAT (4) and HEARTBEAT ACK (5): one parameter of type 1, opaque to the receiver, which returns it unchanged
# (RFC 9260 section 3.3.5).
@dataclass(frozen=True, slots=True)
class HeartbeatChunk:
    type: ClassVar[int] = HEARTBEAT
    value: bytes

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> HeartbeatChunk:
        return cls(bytes(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, self.value)


@dataclass(frozen=True, slots=True)
class HeartbeatAckChunk:
    type: ClassVar[int] = HEARTBEAT_ACK
    value: bytes

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> HeartbeatAckChunk:
        return cls(bytes(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, self.value)


class CauseCode:
    """Error causes (RFC 9260 section 3.3.10)."""

    INVALID_STREAM_IDENTIFIER = 1
    MISSING_MANDATORY_PARAMETER = 2
    STALE_COOKIE = 3
    OUT_OF_RESOURCE = 4
    UNRESOLVABLE_ADDRESS = 5
    UNRECOGNIZED_CHUNK_TYPE = 6
    INVALID_MANDATORY_PARAMETER = 7
    UNRECOGNIZED_PARAMETERS = 8
    NO_USER_DATA = 9
    COOKIE_WHILE_SHUTTING_DOWN = 10
    RESTART_WITH_NEW_ADDRESSES = 11
    USER_INITIATED_ABORT = 12
    PROTOCOL_VIOLATION = 13


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# | Type = 6 or 9 |  Reserved   |T|            Length             |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |          Cause Code           |         Cause Length          |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# \                  Cause-Specific Information                   \
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# A cause is laid out as a parameter is, and is kept as one: its type is the cause code.


@dataclass(frozen=True, slots=True)
class AbortChunk:
    type: ClassVar[int] = ABORT
    flags: int = 0
    causes: tuple[Parameter, ...] = ()

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> AbortChunk:
        return cls(flags & TAG_REFLECTED, parse_parameters(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, self.flags, serialize_parameters(self.causes))


@dataclass(frozen=True, slots=True)
class ErrorChunk:
    type: ClassVar[int] = ERROR
    causes: tuple[Parameter, ...] = ()

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> ErrorChunk:
        return cls(parse_parameters(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, serialize_parameters(self.causes))


_TSN = struct.Struct("!L")


@dataclass(frozen=True, slots=True)
class ShutdownChunk:
    """SHUTDOWN: the cumulative TSN that its sender has received (RFC 9260 section 3.3.8)."""

    type: ClassVar[int] = SHUTDOWN
    cumulative_tsn_ack: int

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> ShutdownChunk:
        _need(value, _TSN.size, "SHUTDOWN")
        return cls(*_TSN.unpack_from(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, _TSN.pack(self.cumulative_tsn_ack))


@dataclass(frozen=True, slots=True)
class ShutdownAckChunk:
    type: ClassVar[int] = SHUTDOWN_ACK

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> ShutdownAckChunk:
        return cls()

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, b"")


@dataclass(frozen=True, slots=True)
class ShutdownCompleteChunk:
    type: ClassVar[int] = SHUTDOWN_COMPLETE
    flags: int = 0

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> ShutdownCompleteChunk:
        return cls(flags & TAG_REFLECTED)

    def serialize(self) -> bytes:
        return build_chunk(self.type, self.flags, b"")


@dataclass(frozen=True, slots=True)
class CookieEchoChunk:
    type: ClassVar[int] = COOKIE_ECHO
    cookie: bytes

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> CookieEchoChunk:
        return cls(bytes(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, self.cookie)


@dataclass(frozen=True, slots=True)
class CookieAckChunk:
    type: ClassVar[int] = COOKIE_ACK

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> CookieAckChunk:
        return cls()

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, b"")


# RE-CONFIG (130): one or two parameters (RFC 6525 section 3.1).
@dataclass(frozen=True, slots=True)
class ReconfigChunk:
    type: ClassVar[int] = RE_CONFIG
    parameters: tuple[Parameter, ...]

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> ReconfigChunk:
        return cls(parse_parameters(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, serialize_parameters(self.parameters))


# PAD (132): bytes that mean nothing (RFC 4820 section 3). ``size`` counts those after the chunk header.
@dataclass(frozen=True, slots=True)
class PadChunk:
    type: ClassVar[int] = PAD
    size: int

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> PadChunk:
        return cls(len(value))

    def serialize(self) -> bytes:
        return build_chunk(self.type, 0, bytes(self.size))


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |   Type = 192  |  Flags = 0x00 |        Length = Variable      |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                      New Cumulative TSN                       |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |         Stream-1              |       Stream Sequence-1       |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# \                              ...                              \
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
@dataclass(frozen=True, slots=True)
class ForwardTsnChunk:
    """``streams`` are (stream id, largest SSN that is skipped) pairs."""

    type: ClassVar[int] = FORWARD_TSN
    new_cumulative_tsn: int
    streams: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, flags: int, value: memoryview) -> ForwardTsnChunk:
        _need(value, _TSN.size, "FORWARD TSN")
        if len(value) % 4:
            raise ParseError("half a stream at the end of FORWARD TSN")
        numbers = struct.unpack(f"!{(len(value) - _TSN.size) // 2}H", value[_TSN.size :])
        (tsn,) = _TSN.unpack_from(value)
        return cls(tsn, tuple(zip(numbers[::2], numbers[1::2], strict=True)))

    def serialize(self) -> bytes:
        streams = b"".join(struct.pack("!HH", *stream) for stream in self.streams)
        return build_chunk(self.type, 0, _TSN.pack(self.new_cumulative_tsn) + streams)


@dataclass(frozen=True, slots=True)
class UnknownChunk:
    """A chunk of a type that we do not know; what to do with it stands in the type's two highest bits (section 3.2)."""

    type: int
    flags: int
    value: bytes

    @property
    def stops_processing(self) -> bool:
        """Whether the rest of the packet is ignored: highest bit 0."""
        return not self.type & 0x80

    @property
    def is_reported(self) -> bool:
        """Whether the peer is told: second highest bit 1."""
        return bool(self.type & 0x40)

    def serialize(self) -> bytes:
        return build_chunk(self.type, self.flags, self.value)


Chunk: TypeAlias = (
    DataChunk
    | InitChunk
    | SackChunk
    | HeartbeatChunk
    | HeartbeatAckChunk
    | AbortChunk
    | ShutdownChunk
    | ShutdownAckChunk
    | ErrorChunk
    | CookieEchoChunk
    | CookieAckChunk
    | ShutdownCompleteChunk
    | ReconfigChunk
    | PadChunk
    | ForwardTsnChunk
    | UnknownChunk
)

_PARSERS: dict[int, Callable[[int, memoryview], Chunk]] = {
    DATA: DataChunk.parse,
    INIT: InitChunk.parse,
    INIT_ACK: InitChunk.parse_ack,
    SACK: SackChunk.parse,
    HEARTBEAT: HeartbeatChunk.parse,
    HEARTBEAT_ACK: HeartbeatAckChunk.parse,
    ABORT: AbortChunk.parse,
    SHUTDOWN: ShutdownChunk.parse,
    SHUTDOWN_ACK: ShutdownAckChunk.parse,
    ERROR: ErrorChunk.parse,
    COOKIE_ECHO: CookieEchoChunk.parse,
    COOKIE_ACK: CookieAckChunk.parse,
    SHUTDOWN_COMPLETE: ShutdownCompleteChunk.parse,
    RE_CONFIG: ReconfigChunk.parse,
    PAD: PadChunk.parse,
    FORWARD_TSN: ForwardTsnChunk.parse,
}


def parse_chunk(raw: RawChunk) -> Chunk:
    """A chunk's object. ParseError when its value is not what its type demands."""
    parser = _PARSERS.get(raw.type)
    if parser is None:
        return UnknownChunk(raw.type, raw.flags, bytes(raw.value))
    return parser(raw.flags, raw.value)
