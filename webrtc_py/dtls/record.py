"""What may be read of a datagram before anything of it is authenticated (RFC 6347 sections 4.1 and 4.2.2).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+-------------------------------+---------------+
    | content type  |            version            |     epoch     |
    +---------------+-------------------------------+---------------+
    |     epoch     |               sequence number                 |
    +---------------+-----------------------------------------------+
    |                sequence number                |    length     |
    +-----------------------------------------------+---------------+
    |    length     |  fragment ...
    +---------------+

OpenSSL reads records from a stream of bytes: it does not know where a datagram ends, and some bytes that anybody can
send make it give the handshake up. So each datagram is cut into records here, and only what a peer would send is
handed on; the rest is dropped, as RFC 6347 section 4.1.2.7 wants.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from ..errors import ParseError

RECORD_HEADER_SIZE = 13
_HEADER = struct.Struct("!BHHHIH")
# type, total length, message sequence, fragment offset, fragment length; the three-byte lengths in two parts
_HANDSHAKE_HEADER = struct.Struct("!BBHHBHBH")
HANDSHAKE_HEADER_SIZE = 12

DTLS_1_0 = 0xFEFF  # what a ClientHello may carry, whatever it offers (RFC 6347 section 4.2.1)
DTLS_1_2 = 0xFEFD

# A record's payload: 2^14 bytes and what encryption may add (RFC 6347 section 4.1, RFC 5246 section 6.2.3).
MAX_RECORD_PAYLOAD = 16384 + 2048
# The largest handshake message that is put together. A certificate is some hundred bytes, a large RSA one two
# thousand; OpenSSL keeps room for ten messages ahead of the expected one.
MAX_HANDSHAKE_MESSAGE = 32768


class ContentType(IntEnum):
    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


class HandshakeType(IntEnum):
    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    HELLO_VERIFY_REQUEST = 3
    NEW_SESSION_TICKET = 4
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22


CLIENT_MESSAGES = frozenset(
    {
        HandshakeType.CLIENT_HELLO,
        HandshakeType.CERTIFICATE,
        HandshakeType.CLIENT_KEY_EXCHANGE,
        HandshakeType.CERTIFICATE_VERIFY,
    }
)
"""What a client sends in the clear. Finished is not among them: it is always encrypted."""

SERVER_MESSAGES = frozenset(
    {
        HandshakeType.HELLO_VERIFY_REQUEST,
        HandshakeType.SERVER_HELLO,
        HandshakeType.CERTIFICATE,
        HandshakeType.SERVER_KEY_EXCHANGE,
        HandshakeType.CERTIFICATE_REQUEST,
        HandshakeType.SERVER_HELLO_DONE,
        HandshakeType.NEW_SESSION_TICKET,
        HandshakeType.CERTIFICATE_STATUS,
    }
)
"""What a server sends in the clear."""

_CONTENT_TYPES = frozenset(ContentType)


@dataclass(slots=True)
class Record:
    """One record. ``data`` is the whole of it, header included, and a view of the datagram it came in."""

    content_type: int
    epoch: int
    data: memoryview

    @property
    def payload(self) -> memoryview:
        return self.data[RECORD_HEADER_SIZE:]


def parse_records(datagram: memoryview) -> Iterator[Record]:
    """The records of a datagram, in order. ParseError where it stops being DTLS; what came before stands."""
    start, end = 0, len(datagram)
    while start < end:
        if end - start < RECORD_HEADER_SIZE:
            raise ParseError(f"{end - start} bytes are too few for a DTLS record")
        content_type, version, epoch, _, _, length = _HEADER.unpack_from(datagram, start)
        if content_type not in _CONTENT_TYPES:
            raise ParseError(f"DTLS content type {content_type} is unknown")
        if version not in (DTLS_1_2, DTLS_1_0):
            raise ParseError(f"DTLS record version {version:#06x} is unknown")
        stop = start + RECORD_HEADER_SIZE + length
        if stop > end or length > MAX_RECORD_PAYLOAD:
            raise ParseError(f"a DTLS record of {length} bytes does not fit its datagram")
        yield Record(content_type, epoch, datagram[start:stop])
        start = stop


def check_handshake(payload: memoryview, expected: frozenset[HandshakeType]) -> None:
    """ParseError unless an unencrypted handshake record holds whole, sane fragments of expected messages.

    OpenSSL ends the handshake over any other, and nobody can tell who sent it (RFC 6347 section 4.2.3).
    """
    start, end = 0, len(payload)
    if not end:
        raise ParseError("a handshake record is empty")
    while start < end:
        if end - start < HANDSHAKE_HEADER_SIZE:
            raise ParseError(f"{end - start} bytes are too few for a handshake header")
        kind, total_high, total_low, _, offset_high, offset_low, size_high, size_low = _HANDSHAKE_HEADER.unpack_from(
            payload, start
        )
        total, offset, size = total_high << 16 | total_low, offset_high << 16 | offset_low, size_high << 16 | size_low
        if kind not in expected:
            raise ParseError(f"handshake message {kind} is not one that the peer sends in the clear")
        if total > MAX_HANDSHAKE_MESSAGE or offset + size > total or (total and not size):
            raise ParseError(f"bytes {offset} to {offset + size} of a handshake message of {total} are not a fragment")
        start += HANDSHAKE_HEADER_SIZE + size
        if start > end:
            raise ParseError(f"a handshake fragment of {size} bytes does not fit its record")


def is_one_data_record_each(data: memoryview, size: int) -> bool:
    """Whether each datagram of a train is exactly one record of application data.

    Only then may they be joined: one that is shorter than it says would swallow those behind it. Columns of the
    train are compared, not datagrams: two microseconds for fifty of them.
    """
    count = len(data) // size
    if len(data) != count * size:
        body, rest = data[: count * size], data[count * size :]
        return is_one_data_record_each(rest, len(rest)) and is_one_data_record_each(body, size)
    length = size - RECORD_HEADER_SIZE
    if not 0 < length <= MAX_RECORD_PAYLOAD:
        return False
    if count == 1:
        return data[0] == 0x17 and data[1] == 0xFE and data[2] == 0xFD and data[11] << 8 | data[12] == length
    return (
        bytes(data[::size]) == b"\x17" * count
        and bytes(data[1::size]) == b"\xfe" * count
        and bytes(data[2::size]) == b"\xfd" * count
        and bytes(data[11::size]) == bytes((length >> 8,)) * count
        and bytes(data[12::size]) == bytes((length & 0xFF,)) * count
    )


def cut_flight(records: bytes, limit: int) -> list[bytes]:
    """Cut OpenSSL's output at record boundaries into datagrams of at most ``limit`` bytes, several records in each.

    A record larger than the limit gets a datagram of its own.
    """
    datagrams: list[bytes] = []
    start = position = 0
    while position < len(records):
        end = position + RECORD_HEADER_SIZE + int.from_bytes(records[position + 11 : position + 13], "big")
        if end - start > limit and position > start:
            datagrams.append(records[start:position])
            start = position
        position = end
    if start < len(records):
        datagrams.append(records[start:])
    return datagrams


def renumber(records: bytes, first: int) -> tuple[bytes, int]:
    """Give the records of epoch 0 new sequence numbers, from ``first`` on; also the number after the last.

    Nothing protects the numbers of that epoch, so they are ours to choose. A flight that is sent again needs new ones:
    a peer that has thrown away a record which came too early would drop the same number as a replay, for ever.
    """
    numbered = bytearray(records)
    position = 0
    while position < len(numbered):
        if numbered[position + 3 : position + 5] == b"\x00\x00":
            numbered[position + 5 : position + 11] = first.to_bytes(6, "big")
            first += 1
        position += RECORD_HEADER_SIZE + int.from_bytes(numbered[position + 11 : position + 13], "big")
    return bytes(numbered), first


ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    110: "unsupported_extension",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""Alert descriptions (RFC 5246 section 7.2 and the registry), for people."""


def alert_name(description: int) -> str:
    return f"{ALERTS.get(description, 'unknown')} ({description})"
