"""Which protocol a datagram belongs to, by its first byte (RFC 7983 section 7, RFC 5761 section 4)."""

from __future__ import annotations

from enum import IntEnum


class Protocol(IntEnum):
    """What shares one WebRTC port."""

    UNKNOWN = 0
    STUN = 1
    ZRTP = 2
    DTLS = 3
    TURN_CHANNEL = 4
    RTP = 5
    """RTP or RTCP: :func:`is_rtcp` tells them apart."""


def _protocol(first_byte: int) -> Protocol:
    if first_byte <= 3:
        return Protocol.STUN
    if 16 <= first_byte <= 19:
        return Protocol.ZRTP
    if 20 <= first_byte <= 63:
        return Protocol.DTLS
    if 64 <= first_byte <= 79:
        return Protocol.TURN_CHANNEL
    if 128 <= first_byte <= 191:
        return Protocol.RTP
    return Protocol.UNKNOWN


PROTOCOL_OF_FIRST_BYTE: tuple[Protocol, ...] = tuple(_protocol(byte) for byte in range(256))
"""The protocol for each of the 256 first bytes. QUIC's ranges (RFC 9443) are unknown here: we do not speak it."""


def is_rtcp(second_byte: int) -> bool:
    """Whether a datagram in RTP's range is RTCP: packet types 192 to 223 (RFC 5761 section 4)."""
    return 192 <= second_byte <= 223
