"""The Data Channel Establishment Protocol, RFC 8832 section 5."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from ..errors import ParseError

_OPEN_HEADER = struct.Struct("!BBHIHH")

PRIORITY_NORMAL = 256
"""RFC 8831 section 6.4."""

LARGEST_TEXT = 65535
"""Octets that a label or a protocol may have in UTF-8: their lengths are 16 bits."""


class MessageType(IntEnum):
    """RFC 8832 section 8.2.1."""

    ACK = 0x02
    OPEN = 0x03


class ChannelType(IntEnum):
    """RFC 8832 section 8.2.2. The high bit means unordered."""

    RELIABLE = 0x00
    PARTIAL_RELIABLE_REXMIT = 0x01
    PARTIAL_RELIABLE_TIMED = 0x02
    RELIABLE_UNORDERED = 0x80
    PARTIAL_RELIABLE_REXMIT_UNORDERED = 0x81
    PARTIAL_RELIABLE_TIMED_UNORDERED = 0x82


_UNORDERED = 0x80


@dataclass(frozen=True, slots=True)
class Open:
    """DATA_CHANNEL_OPEN (RFC 8832 section 5.1).

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
        |  Message Type |  Channel Type |            Priority           |
        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
        |                    Reliability Parameter                      |
        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
        |         Label Length          |       Protocol Length         |
        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
        \\                             Label                             /
        \\                            Protocol                           /
        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

    At most one of ``max_retransmits`` and ``max_packet_life_time`` (milliseconds) is set.
    """

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_packet_life_time: int | None = None
    priority: int = PRIORITY_NORMAL

    def serialize(self) -> bytes:
        reliability = 0
        channel_type: int = ChannelType.RELIABLE
        if self.max_retransmits is not None:
            channel_type, reliability = ChannelType.PARTIAL_RELIABLE_REXMIT, self.max_retransmits
        elif self.max_packet_life_time is not None:
            channel_type, reliability = ChannelType.PARTIAL_RELIABLE_TIMED, self.max_packet_life_time
        if not self.ordered:
            channel_type |= _UNORDERED
        label, protocol = self.label.encode(), self.protocol.encode()
        header = _OPEN_HEADER.pack(
            MessageType.OPEN, channel_type, self.priority, reliability, len(label), len(protocol)
        )
        return header + label + protocol

    @classmethod
    def parse(cls, data: bytes) -> Open:
        if len(data) < _OPEN_HEADER.size:
            raise ParseError(f"DATA_CHANNEL_OPEN of {len(data)} bytes is shorter than its header")
        _, wire_type, priority, reliability, label_length, protocol_length = _OPEN_HEADER.unpack_from(data)
        protocol_start = _OPEN_HEADER.size + label_length
        if len(data) != protocol_start + protocol_length:
            raise ParseError("DATA_CHANNEL_OPEN's lengths do not add up")
        try:
            channel_type = ChannelType(wire_type)
            label = data[_OPEN_HEADER.size : protocol_start].decode()
            protocol = data[protocol_start:].decode()
        except ValueError as error:
            raise ParseError(f"DATA_CHANNEL_OPEN: {error}") from None
        kind = channel_type & ~_UNORDERED
        return cls(
            label=label,
            protocol=protocol,
            ordered=not channel_type & _UNORDERED,
            max_retransmits=reliability if kind == ChannelType.PARTIAL_RELIABLE_REXMIT else None,
            max_packet_life_time=reliability if kind == ChannelType.PARTIAL_RELIABLE_TIMED else None,
            priority=priority,
        )


@dataclass(frozen=True, slots=True)
class Ack:
    """DATA_CHANNEL_ACK (RFC 8832 section 5.2): one octet."""

    def serialize(self) -> bytes:
        return bytes((MessageType.ACK,))


def parse(data: bytes) -> Open | Ack:
    """A DCEP message from an SCTP user message. ParseError for anything that RFC 8832 does not define."""
    if not data:
        raise ParseError("an empty DCEP message")
    if data[0] == MessageType.OPEN:
        return Open.parse(data)
    if data[0] == MessageType.ACK:
        return Ack()
    raise ParseError(f"DCEP message type {data[0]:#04x} is not defined")
