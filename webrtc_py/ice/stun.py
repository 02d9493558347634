"""STUN messages (RFC 8489): a guard round aioice's codec that lets nothing but ``ParseError`` out.

aioice gives the message object and the packing of each attribute. What it is too trusting about is done here: lengths,
padding, repeated and unknown attributes, the place of FINGERPRINT. Nothing else of the package touches the codec; the
TURN client builds and parses with the same functions.
"""

from __future__ import annotations

import hmac
import struct
from binascii import crc32
from collections.abc import Callable, Sequence
from typing import Any, Final

from aioice import stun as _codec
from aioice.stun import Class, Method

from ..errors import ParseError

__all__ = [
    "BAD_REQUEST",
    "ROLE_CONFLICT",
    "UNKNOWN_ATTRIBUTE",
    "Class",
    "Message",
    "Method",
    "binding_error",
    "binding_request",
    "binding_success",
    "is_stun",
    "parse_message",
    "peek_transaction",
    "serialize",
]

Address = tuple[str, int]

BAD_REQUEST = 400
UNKNOWN_ATTRIBUTE = 420
ROLE_CONFLICT = 487
# Short, so that no refusal is longer than what it refuses.
_REASONS = {BAD_REQUEST: "Bad Request", UNKNOWN_ATTRIBUTE: "Unknown", ROLE_CONFLICT: "Role Conflict"}

_COOKIE: Final = b"\x21\x12\xa4\x42"
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_LENGTH = struct.Struct("!H")
_INTEGRITY_LENGTH: Final = 24
_FINGERPRINT_LENGTH: Final = 8
_FINGERPRINT_XOR: Final = 0x5354554E

_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_MESSAGE_INTEGRITY_SHA256: Final = 0x001C
_FINGERPRINT: Final = 0x8028
# The largest message of ICE or TURN has a dozen; a datagram stuffed with empty ones would cost milliseconds.
_MAX_ATTRIBUTES: Final = 64


def _pack_types(types: Sequence[int]) -> bytes:
    return struct.pack(f"!{len(types)}H", *types)


def _unpack_types(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{len(data) // 2}H", data)


def _pack_family(family: int) -> bytes:
    return bytes((family, 0, 0, 0))


def _unpack_family(data: bytes) -> int:
    return struct.unpack("!B3x", data)[0]  # type: ignore[no-any-return]


def _pack_even_port(reserve_next: bool) -> bytes:
    return b"\x80" if reserve_next else b"\x00"


def _unpack_even_port(data: bytes) -> bool:
    return bool(data[:1] >= b"\x80")


def _unpack_error_code(data: bytes) -> tuple[int, str]:
    # RFC 8489 section 14.8: 21 reserved bits, a class of 3 bits, a number of 8, and a phrase that only people read.
    hundreds, number = struct.unpack_from("!2xBB", data)
    hundreds &= 7
    if not (3 <= hundreds <= 6 and number <= 99):
        raise ValueError(f"STUN error code {hundreds}.{number} is out of range")
    return hundreds * 100 + number, data[4:].decode("utf8", "replace")


def _unpack_text(data: bytes) -> str:
    return data.decode("utf8", "replace")


Entry = tuple[int, str, Callable[..., bytes], Callable[..., Any]]
# What aioice lacks or reads too strictly. XOR addresses must be packed by its own functions, which it compares by.
_MORE_ATTRIBUTES: Final[tuple[Entry, ...]] = (
    (0x0009, "ERROR-CODE", _codec.pack_error_code, _unpack_error_code),
    (0x000A, "UNKNOWN-ATTRIBUTES", _pack_types, _unpack_types),
    (0x0017, "REQUESTED-ADDRESS-FAMILY", _pack_family, _unpack_family),
    (0x0018, "EVEN-PORT", _pack_even_port, _unpack_even_port),
    (0x001A, "DONT-FRAGMENT", _codec.pack_none, _codec.unpack_none),
    (0x001C, "MESSAGE-INTEGRITY-SHA256", _codec.pack_bytes, _codec.unpack_bytes),
    (0x001D, "PASSWORD-ALGORITHM", _codec.pack_bytes, _codec.unpack_bytes),
    (0x001E, "USERHASH", _codec.pack_bytes, _codec.unpack_bytes),
    (0x0022, "RESERVATION-TOKEN", _codec.pack_bytes, _codec.unpack_bytes),
    (0x8000, "ADDITIONAL-ADDRESS-FAMILY", _pack_family, _unpack_family),
    (0x8001, "ADDRESS-ERROR-CODE", _codec.pack_bytes, _codec.unpack_bytes),
    (0x8002, "PASSWORD-ALGORITHMS", _codec.pack_bytes, _codec.unpack_bytes),
    (0x8003, "ALTERNATE-DOMAIN", _codec.pack_string, _unpack_text),
    (0x8004, "ICMP", _codec.pack_bytes, _codec.unpack_bytes),
    (0x8022, "SOFTWARE", _codec.pack_string, _unpack_text),
    (0x8023, "ALTERNATE-SERVER", _codec.pack_address, _codec.unpack_address),
)
for _entry in _MORE_ATTRIBUTES:
    _codec.ATTRIBUTES_BY_TYPE[_entry[0]] = _entry
    _codec.ATTRIBUTES_BY_NAME[_entry[1]] = _entry


class Message(_codec.Message):
    """aioice's message, with the types of the attributes that must be understood and are not (RFC 8489 section 6.3).

    ``attributes`` maps the standards' names to values: an address is ``(host, port)``, an error ``(code, reason)``.
    ``check_message_integrity(key)`` compares in constant time.
    """

    unknown_required: tuple[int, ...] = ()


def is_stun(data: bytes | bytearray | memoryview) -> bool:
    """Whether a datagram looks like STUN: two zero bits in front and the magic cookie (RFC 8489 section 5)."""
    return len(data) >= 20 and data[0] < 4 and data[4:8] == _COOKIE


def peek_transaction(data: memoryview) -> tuple[bytes, str | None]:
    """The transaction id of what :func:`is_stun` lets through, and the user fragment that a request is addressed to.

    That is the first half of USERNAME (RFC 8445 section 7.2.2), empty without one; None for all but requests.
    """
    transaction_id = bytes(data[8:20])
    if data[0] & 1 or data[1] & 0x10:  # a response, or an indication
        return transaction_id, None
    position = 20
    for _ in range(_MAX_ATTRIBUTES):
        if position + 4 > len(data):
            break
        kind, length = _ATTRIBUTE.unpack_from(data, position)
        if kind == _USERNAME:
            name = bytes(data[position + 4 : position + 4 + length])
            return transaction_id, name.partition(b":")[0].decode("ascii", "replace")
        position += 4 + length + -length % 4
    return transaction_id, ""


def parse_message(data: bytes | bytearray | memoryview) -> Message:
    """The message in one datagram. ParseError for anything that RFC 8489 does not allow, and for unknown methods.

    A FINGERPRINT, when there is one, is checked; MESSAGE-INTEGRITY is not, since the key depends on the message.
    """
    if not is_stun(data):
        raise ParseError("not a STUN message")
    data = bytes(data)
    message_type, length, _, transaction_id = _HEADER.unpack_from(data)
    if length % 4 or length + 20 != len(data):
        raise ParseError(f"STUN length {length} in a datagram of {len(data)} bytes")
    try:
        method = Method(message_type & 0x3EEF)
    except ValueError:
        raise ParseError(f"STUN message type {message_type:#06x} has an unknown method") from None
    message = Message(method, Class(message_type & 0x0110), transaction_id)
    _parse_attributes(data, message)
    return message


def _parse_attributes(data: bytes, message: Message) -> None:
    attributes = message.attributes
    unknown: list[int] = []
    position, end = 20, len(data)
    count = 0
    integrity_seen = False
    while position < end:
        kind, length = _ATTRIBUTE.unpack_from(data, position)
        value_start, value_end = position + 4, position + 4 + length
        count += 1
        # The message's length is a multiple of 4, so an attribute within it has its padding within it too.
        if value_end > end or count > _MAX_ATTRIBUTES:
            raise ParseError(f"STUN attribute {kind:#06x} of {length} bytes runs past the end, or is one too many")
        if kind == _FINGERPRINT:
            _check_fingerprint(data, position, length)
            attributes["FINGERPRINT"] = int.from_bytes(data[value_start:value_end], "big")
        elif integrity_seen and kind != _MESSAGE_INTEGRITY_SHA256:
            # RFC 8489 section 14.5: what stands behind MESSAGE-INTEGRITY is not protected by it, and ignored.
            pass
        elif kind in _codec.ATTRIBUTES_BY_TYPE:
            if kind == _MESSAGE_INTEGRITY:
                if length != 20:
                    raise ParseError(f"MESSAGE-INTEGRITY of {length} bytes")
                integrity_seen = True
                message._integrity_data = data[:position]
            _parse_value(kind, data[value_start:value_end], message)
        elif kind < 0x8000:
            unknown.append(kind)
        position = (value_end + 3) & ~3
    message.unknown_required = tuple(unknown)


def _parse_value(kind: int, value: bytes, message: Message) -> None:
    _, name, _, unpack = _codec.ATTRIBUTES_BY_TYPE[kind]
    if name in message.attributes:
        # RFC 8489 section 14: only the first of several is looked at.
        return
    try:
        if unpack is _codec.unpack_xor_address:
            message.attributes[name] = unpack(value, message.transaction_id)
        else:
            message.attributes[name] = unpack(value)
    except (ValueError, struct.error) as error:
        raise ParseError(f"STUN attribute {name} of {len(value)} bytes: {error}") from None


def _check_fingerprint(data: bytes, position: int, length: int) -> None:
    """RFC 8489 section 14.7: the last attribute, and the checksum of all before it."""
    if length != 4 or position + _FINGERPRINT_LENGTH != len(data):
        raise ParseError("STUN FINGERPRINT is not the last attribute")
    if int.from_bytes(data[-4:], "big") != crc32(data[:position]) ^ _FINGERPRINT_XOR:
        raise ParseError("STUN FINGERPRINT does not match")


def serialize(message: _codec.Message, key: bytes | None = None) -> bytes:
    """The message's bytes, with MESSAGE-INTEGRITY under ``key`` where one is given, and FINGERPRINT at the end."""
    data = bytearray(bytes(message))
    if key is not None:
        # RFC 8489 section 14.5: the length that is hashed counts MESSAGE-INTEGRITY, and nothing behind it.
        _LENGTH.pack_into(data, 2, len(data) - 20 + _INTEGRITY_LENGTH)
        data += _ATTRIBUTE.pack(_MESSAGE_INTEGRITY, 20) + hmac.digest(key, data, "sha1")
    _LENGTH.pack_into(data, 2, len(data) - 20 + _FINGERPRINT_LENGTH)
    data += struct.pack("!HHI", _FINGERPRINT, 4, crc32(data) ^ _FINGERPRINT_XOR)
    return bytes(data)


def binding_request(
    transaction_id: bytes,
    *,
    username: str,
    key: bytes,
    priority: int,
    controlling: bool,
    tie_breaker: int,
    use_candidate: bool = False,
) -> bytes:
    """A connectivity check (RFC 8445 section 7.1 and 7.2.2)."""
    attributes: dict[str, Any] = {"USERNAME": username, "PRIORITY": priority}
    attributes["ICE-CONTROLLING" if controlling else "ICE-CONTROLLED"] = tie_breaker
    if use_candidate:
        attributes["USE-CANDIDATE"] = None
    return serialize(Message(Method.BINDING, Class.REQUEST, transaction_id, attributes), key)


def binding_success(transaction_id: bytes, *, mapped_address: Address, key: bytes) -> bytes:
    """The answer to a check (RFC 8445 section 7.3.1.2)."""
    attributes = {"XOR-MAPPED-ADDRESS": mapped_address}
    return serialize(Message(Method.BINDING, Class.RESPONSE, transaction_id, attributes), key)


def binding_error(transaction_id: bytes, *, code: int, key: bytes, unknown: Sequence[int] = ()) -> bytes:
    """A refusal of an authenticated check. ``unknown`` are the attribute types that a 420 lists."""
    attributes: dict[str, Any] = {"ERROR-CODE": (code, _REASONS[code])}
    if unknown:
        attributes["UNKNOWN-ATTRIBUTES"] = unknown
    return serialize(Message(Method.BINDING, Class.ERROR, transaction_id, attributes), key)
