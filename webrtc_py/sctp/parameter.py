"""Parameters of SCTP chunks: type, length, value (RFC 9260 section 3.2.1, RFC 6525 section 4)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ..errors import ParseError
from .packet import padded

#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |        Parameter Type         |       Parameter Length        |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# \                        Parameter Value                        \
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_HEADER = struct.Struct("!HH")

HEARTBEAT_INFO = 1
IPV4_ADDRESS = 5
IPV6_ADDRESS = 6
STATE_COOKIE = 7
UNRECOGNIZED_PARAMETER = 8
COOKIE_PRESERVATIVE = 9
HOST_NAME_ADDRESS = 11
SUPPORTED_ADDRESS_TYPES = 12
ECN_CAPABLE = 0x8000
ZERO_CHECKSUM_ACCEPTABLE = 0x8001
PADDING = 0x8005
SUPPORTED_EXTENSIONS = 0x8008
FORWARD_TSN_SUPPORTED = 0xC000

# The lower layer's error detection that stands in for the checksum: DTLS (RFC 9653 section 8).
ZERO_CHECKSUM_METHOD_DTLS = 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of any type, its value not looked into."""

    type: int
    value: bytes = b""

    def serialize(self) -> bytes:
        length = _HEADER.size + len(self.value)
        return _HEADER.pack(self.type, length) + self.value + bytes(-length & 3)

    @property
    def stops_processing(self) -> bool:
        """Whether who does not know the type ignores the parameters after it too: highest bit 0."""
        return not self.type & 0x8000

    @property
    def is_reported(self) -> bool:
        """Whether who does not know the type reports it: second highest bit 1."""
        return bool(self.type & 0x4000)


def parse_parameters(data: memoryview) -> tuple[Parameter, ...]:
    """All parameters in ``data``. ParseError when a length does not fit; missing final padding is forgiven."""
    parameters = []
    start, end = 0, len(data)
    while start < end:
        if end - start < _HEADER.size:
            raise ParseError(f"{end - start} bytes are left where a parameter should begin")
        type_, length = _HEADER.unpack_from(data, start)
        if not _HEADER.size <= length <= end - start:
            raise ParseError(f"parameter {type_} has the length {length}, {end - start} bytes are left")
        parameters.append(Parameter(type_, bytes(data[start + _HEADER.size : start + length])))
        start += padded(length)
    return tuple(parameters)


def serialize_parameters(parameters: Iterable[Parameter]) -> bytes:
    """Parameters one after the other. The last one's padding is the chunk's (RFC 9260 section 3.2)."""
    data, tail = b"", 0
    for parameter in parameters:
        data += parameter.serialize()
        tail = -len(parameter.value) & 3
    return data[: len(data) - tail] if tail else data


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |     Parameter Type = 13       | Parameter Length = 16 + 2 * N |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |           Re-configuration Request Sequence Number            |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |           Re-configuration Response Sequence Number           |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                Sender's Last Assigned TSN                     |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |  Stream Number 1 (optional)   |    Stream Number 2 (optional) |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_OUTGOING = struct.Struct("!LLL")
_INCOMING = struct.Struct("!L")


def _parse_streams(value: bytes) -> tuple[int, ...]:
    if len(value) % 2:
        raise ParseError("half a stream number at the end of a reset request")
    return struct.unpack(f"!{len(value) // 2}H", value)


def _check_length(value: bytes, shortest: int, what: str) -> None:
    if len(value) < shortest:
        raise ParseError(f"{what} has {len(value)} bytes, {shortest} at least are needed")


@dataclass(frozen=True, slots=True)
class OutgoingResetRequest:
    """Outgoing SSN Reset Request (RFC 6525 section 4.1). No stream numbers mean all streams."""

    type: ClassVar[int] = 13
    request_sequence: int
    response_sequence: int
    last_assigned_tsn: int
    stream_ids: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: bytes) -> OutgoingResetRequest:
        _check_length(value, _OUTGOING.size, "an outgoing reset request")
        sequence, response_sequence, last_tsn = _OUTGOING.unpack_from(value)
        return cls(sequence, response_sequence, last_tsn, _parse_streams(value[_OUTGOING.size :]))

    def serialize(self) -> Parameter:
        fixed = _OUTGOING.pack(self.request_sequence, self.response_sequence, self.last_assigned_tsn)
        return Parameter(self.type, fixed + struct.pack(f"!{len(self.stream_ids)}H", *self.stream_ids))


@dataclass(frozen=True, slots=True)
class IncomingResetRequest:
    """Incoming SSN Reset Request: sequence number and stream numbers (RFC 6525 section 4.2)."""

    type: ClassVar[int] = 14
    request_sequence: int
    stream_ids: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: bytes) -> IncomingResetRequest:
        _check_length(value, _INCOMING.size, "an incoming reset request")
        (sequence,) = _INCOMING.unpack_from(value)
        return cls(sequence, _parse_streams(value[_INCOMING.size :]))

    def serialize(self) -> Parameter:
        streams = struct.pack(f"!{len(self.stream_ids)}H", *self.stream_ids)
        return Parameter(self.type, _INCOMING.pack(self.request_sequence) + streams)


@dataclass(frozen=True, slots=True)
class TsnResetRequest:
    """SSN/TSN Reset Request (RFC 6525 section 4.3)."""

    type: ClassVar[int] = 15
    request_sequence: int

    @classmethod
    def parse(cls, value: bytes) -> TsnResetRequest:
        _check_length(value, _INCOMING.size, "a TSN reset request")
        return cls(*_INCOMING.unpack_from(value))

    def serialize(self) -> Parameter:
        return Parameter(self.type, _INCOMING.pack(self.request_sequence))


class ReconfigResult:
    """What became of a request (RFC 6525 section 4.4, table 3)."""

    NOTHING_TO_DO = 0
    PERFORMED = 1
    DENIED = 2
    WRONG_SSN = 3
    REQUEST_IN_PROGRESS = 4
    BAD_SEQUENCE_NUMBER = 5
    IN_PROGRESS = 6


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |     Parameter Type = 16       |      Parameter Length         |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |         Re-configuration Response Sequence Number             |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                            Result                             |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_RESPONSE = struct.Struct("!LL")


@dataclass(frozen=True, slots=True)
class ReconfigResponse:
    """Re-configuration Response. The two optional TSNs belong to TSN resets, which we deny, and are not read."""

    type: ClassVar[int] = 16
    response_sequence: int
    result: int

    @classmethod
    def parse(cls, value: bytes) -> ReconfigResponse:
        _check_length(value, _RESPONSE.size, "a re-configuration response")
        return cls(*_RESPONSE.unpack_from(value))

    def serialize(self) -> Parameter:
        return Parameter(self.type, _RESPONSE.pack(self.response_sequence, self.result))


#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |   Parameter Type = 17 or 18   |      Parameter Length = 12    |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |          Re-configuration Request Sequence Number             |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |      Number of new streams    |         Reserved              |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_ADD_STREAMS = struct.Struct("!LHxx")


@dataclass(frozen=True, slots=True)
class AddOutgoingStreamsRequest:
    """The peer wants to send on more streams (RFC 6525 section 4.5)."""

    type: ClassVar[int] = 17
    request_sequence: int
    new_streams: int

    @classmethod
    def parse(cls, value: bytes) -> AddOutgoingStreamsRequest:
        _check_length(value, _ADD_STREAMS.size, "a request for more streams")
        return cls(*_ADD_STREAMS.unpack_from(value))

    def serialize(self) -> Parameter:
        return Parameter(self.type, _ADD_STREAMS.pack(self.request_sequence, self.new_streams))


@dataclass(frozen=True, slots=True)
class AddIncomingStreamsRequest:
    """The peer wants us to have more streams to send on (RFC 6525 section 4.6)."""

    type: ClassVar[int] = 18
    request_sequence: int
    new_streams: int

    @classmethod
    def parse(cls, value: bytes) -> AddIncomingStreamsRequest:
        _check_length(value, _ADD_STREAMS.size, "a request for more streams")
        return cls(*_ADD_STREAMS.unpack_from(value))

    def serialize(self) -> Parameter:
        return Parameter(self.type, _ADD_STREAMS.pack(self.request_sequence, self.new_streams))


ReconfigRequest: TypeAlias = (
    OutgoingResetRequest
    | IncomingResetRequest
    | TsnResetRequest
    | AddOutgoingStreamsRequest
    | AddIncomingStreamsRequest
)

_RECONFIG_TYPES: dict[int, type[ReconfigRequest | ReconfigResponse]] = {
    kind.type: kind
    for kind in (
        OutgoingResetRequest,
        IncomingResetRequest,
        TsnResetRequest,
        ReconfigResponse,
        AddOutgoingStreamsRequest,
        AddIncomingStreamsRequest,
    )
}


def parse_reconfig(parameter: Parameter) -> ReconfigRequest | ReconfigResponse | None:
    """What a parameter of a RE-CONFIG chunk says; None for a type that does not belong there."""
    kind = _RECONFIG_TYPES.get(parameter.type)
    return None if kind is None else kind.parse(parameter.value)
