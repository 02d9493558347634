"""STUN messages (RFC 8489): a guard round aioice's codec that lets nothing but ``ParseError`` out.

aioice gives the message object and the packing of each attribute. What it is too trusting about is done here: lengths,
padding, repeated and unknown attributes, the place of FINGERPRINT. Nothing else of the package touches the codec; the
TURN client builds and parses with the same functions.
"""

from __future__ import annotations

import hmac
import struct
import unicodedata
from binascii import crc32
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

from aioice import stun as _codec
from aioice.stun import Class, Method

from ..errors import InvalidAccessError, ParseError

__all__ = [
    "BAD_REQUEST",
    "FORBIDDEN",
    "MAX_USERNAME",
    "NOMINATION",
    "NOMINATIONS",
    "ROLE_CONFLICT",
    "UNKNOWN_ATTRIBUTE",
    "Class",
    "Message",
    "Method",
    "binding_error",
    "binding_indication",
    "binding_request",
    "binding_success",
    "is_known_attribute",
    "is_stun",
    "opaque_string",
    "parse_message",
    "peek_transaction",
    "serialize",
]

Address = tuple[str, int]

BAD_REQUEST = 400
FORBIDDEN = 403
UNKNOWN_ATTRIBUTE = 420
ROLE_CONFLICT = 487
# Short, so that no refusal is longer than what it refuses.
_REASONS = {BAD_REQUEST: "Bad Request", UNKNOWN_ATTRIBUTE: "Unknown", ROLE_CONFLICT: "Role Conflict"}

NOMINATION: Final = 0xC001
"""The nomination value of libwebrtc's peers (draft-thatcher-ice-renomination left the number open)."""
NOMINATIONS: Final = (NOMINATION, 0x0030)
"""The numbers that are in use for it."""

_COOKIE: Final = b"\x21\x12\xa4\x42"
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_LENGTH = struct.Struct("!H")
_NUMBER = struct.Struct("!HHI")
_CHECK = struct.Struct("!HHIHHQ")
_IPV4 = struct.Struct("!xBHI")
_COOKIE_NUMBER: Final = 0x2112A442
_FINGERPRINT_LENGTH: Final = 8
_FINGERPRINT_XOR: Final = 0x5354554E

_FAMILY_IPV4: Final = 1

_REQUEST: Final = Method.BINDING | Class.REQUEST
_SUCCESS: Final = Method.BINDING | Class.RESPONSE
_INDICATION: Final = Method.BINDING | Class.INDICATION

_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_MESSAGE_INTEGRITY_SHA256: Final = 0x001C
_XOR_RELAYED_ADDRESS: Final = 0x0016
_XOR_MAPPED_ADDRESS: Final = 0x0020
_PRIORITY: Final = 0x0024
_USE_CANDIDATE: Final = 0x0025
_FINGERPRINT: Final = 0x8028
_MAX_PHRASE: Final = 127
_CONTROLLED: Final = 0x8029
_CONTROLLING: Final = 0x802A
# The largest message of ICE or TURN has a dozen; a datagram stuffed with empty ones would cost milliseconds.
_MAX_ATTRIBUTES: Final = 64
# RFC 8489 section 14.3: what is sent has fewer than 509 octets, and RFC 5389's 763 are understood.
MAX_USERNAME: Final = 508
_MAX_PEERS_USERNAME: Final = 763
_SHA256_LENGTHS: Final = (16, 20, 24, 28, 32)

# Each known message type.
_TYPES: Final = {method | kind: (method, kind) for method in Method for kind in Class}

# RFC 8264 sections 8 and 9: what is no text, but the two joiners, and what is not to be seen.
_NO_TEXT: Final = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))
_JOINERS: Final = "\u200c\u200d"
_INVISIBLE: Final = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x3164, 0xFFA0))
)


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
    # A server's words end up in logs and on terminals: one line, of the length that the RFC allows.
    phrase = data[4:].decode("utf8", "replace")[:_MAX_PHRASE]
    return hundreds * 100 + number, "".join(one if one.isprintable() else "?" for one in phrase)


def _pack_address_error(error: tuple[int, int, str]) -> bytes:
    family, code, reason = error
    return struct.pack("!BxBB", family, code // 100, code % 100) + reason.encode()


def _unpack_address_error(data: bytes) -> tuple[int, int, str]:
    # RFC 8656 section 18.10: a family, and the rest as in ERROR-CODE.
    return data[0] if data else 0, *_unpack_error_code(data)


def _unpack_text(data: bytes) -> str:
    return data.decode("utf8", "replace")


def _pack_username(name: str) -> bytes:
    data = name.encode()
    if len(data) > MAX_USERNAME:
        raise InvalidAccessError(f"the user name has {len(data)} octets; STUN has room for {MAX_USERNAME}")
    return data


def _unpack_username(data: bytes) -> str:
    if len(data) > _MAX_PEERS_USERNAME:
        raise ValueError("too long")
    return data.decode()


def _unpack_sha256(data: bytes) -> bytes:
    if len(data) not in _SHA256_LENGTHS:
        raise ValueError("the length must be 16 to 32 and a multiple of 4")
    return data


def _unpack_nomination(data: bytes) -> int:
    """The low 24 bits: the upper ones are reserved."""
    return struct.unpack("!I", data)[0] & 0xFFFFFF  # type: ignore[no-any-return]


Entry = tuple[int, str, Callable[..., bytes], Callable[..., Any]]
# What aioice lacks or reads too strictly. XOR addresses must be packed by its own functions, which it compares by.
_MORE_ATTRIBUTES: Final[tuple[Entry, ...]] = (
    (0x0006, "USERNAME", _pack_username, _unpack_username),
    (0x0009, "ERROR-CODE", _codec.pack_error_code, _unpack_error_code),
    (0x000A, "UNKNOWN-ATTRIBUTES", _pack_types, _unpack_types),
    (0x0017, "REQUESTED-ADDRESS-FAMILY", _pack_family, _unpack_family),
    (0x0018, "EVEN-PORT", _pack_even_port, _unpack_even_port),
    (0x001A, "DONT-FRAGMENT", _codec.pack_none, _codec.unpack_none),
    (0x001C, "MESSAGE-INTEGRITY-SHA256", _codec.pack_bytes, _unpack_sha256),
    (0x001D, "PASSWORD-ALGORITHM", _codec.pack_bytes, _codec.unpack_bytes),
    (0x001E, "USERHASH", _codec.pack_bytes, _codec.unpack_bytes),
    (0x0022, "RESERVATION-TOKEN", _codec.pack_bytes, _codec.unpack_bytes),
    (0x0030, "NOMINATION", _codec.pack_unsigned, _unpack_nomination),
    (0x8000, "ADDITIONAL-ADDRESS-FAMILY", _pack_family, _unpack_family),
    (0x8001, "ADDRESS-ERROR-CODE", _pack_address_error, _unpack_address_error),
    (0x8002, "PASSWORD-ALGORITHMS", _codec.pack_bytes, _codec.unpack_bytes),
    (0x8003, "ALTERNATE-DOMAIN", _codec.pack_string, _unpack_text),
    # The numbers that both had as drafts, and still have in coturn.
    (0x8032, "ADDITIONAL-ADDRESS-FAMILY-DRAFT", _pack_family, _unpack_family),
    (0x8033, "ADDRESS-ERROR-CODE-DRAFT", _pack_address_error, _unpack_address_error),
    (0x8004, "ICMP", _codec.pack_bytes, _codec.unpack_bytes),
    (0x8022, "SOFTWARE", _codec.pack_string, _unpack_text),
    (0x8023, "ALTERNATE-SERVER", _codec.pack_address, _codec.unpack_address),
    (NOMINATION, "GOOG-NOMINATION", _codec.pack_unsigned, _unpack_nomination),
)
for _entry in _MORE_ATTRIBUTES:
    _codec.ATTRIBUTES_BY_TYPE[_entry[0]] = _entry
    _codec.ATTRIBUTES_BY_NAME[_entry[1]] = _entry


class Message(_codec.Message):
    """aioice's message, with what else the standards want to know of one.

    ``attributes`` maps the standards' names to values: an address is ``(host, port)``, an error ``(code, reason)``.
    ``unknown_required`` are the types that must be understood and are not (RFC 8489 section 6.3), ``unknown`` the
    first value of each type that is not known.
    """

    unknown_required: tuple[int, ...] = ()
    unknown: Mapping[int, bytes] = MappingProxyType({})
    second_relayed: Address | None = None
    """The one attribute of which a second matters: an allocation's XOR-RELAYED-ADDRESS (RFC 8656 section 7.2)."""
    # What the SHA-256 variant covers, where there is one.
    _sha256_data: bytes | None = None

    def check_message_integrity(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and right (RFC 8489 section 14.5), in constant time."""
        data = self._integrity_data
        return data is not None and hmac.compare_digest(
            self.attributes["MESSAGE-INTEGRITY"], _integrity(data, key, "sha1", 20)
        )

    def check_message_integrity_sha256(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY-SHA256 is there and right, as long as its sender has made it (section 14.6)."""
        data = self._sha256_data
        if data is None:
            return False
        value: bytes = self.attributes["MESSAGE-INTEGRITY-SHA256"]
        return hmac.compare_digest(value, _integrity(data, key, "sha256", len(value))[: len(value)])

    def nomination(self, attribute: int = NOMINATION) -> int | None:
        """The nomination value that a check carries, under ``attribute`` or one of the two numbers in use."""
        values = self.attributes
        value = values.get("GOOG-NOMINATION", values.get("NOMINATION"))
        if value is None and len(own := self.unknown.get(attribute, b"")) == 4:
            value = _unpack_nomination(own)
        return value


def _integrity(data: bytes | bytearray, key: bytes, digest: Literal["sha1", "sha256"], length: int) -> bytes:
    """The HMAC of what stands before an integrity attribute of ``length`` octets.

    The message's length that is hashed counts that attribute, and nothing behind it (RFC 8489 sections 14.5, 14.6).
    """
    covered = bytearray(data)
    _LENGTH.pack_into(covered, 2, len(data) - 20 + 4 + length)
    return hmac.digest(key, covered, digest)


def is_stun(data: bytes | bytearray | memoryview) -> bool:
    """Whether a datagram looks like STUN: two zero bits in front and the magic cookie (RFC 8489 section 5)."""
    return len(data) >= 20 and data[0] < 4 and data[4:8] == _COOKIE


def is_known_attribute(kind: int) -> bool:
    """Whether an attribute's type means something here."""
    return kind in _codec.ATTRIBUTES_BY_TYPE


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
    if message_type not in _TYPES:
        raise ParseError(f"STUN message type {message_type:#06x} has an unknown method")
    message = Message(*_TYPES[message_type], transaction_id)
    _parse_attributes(data, message)
    return message


def _parse_attributes(data: bytes, message: Message) -> None:
    attributes = message.attributes
    unknown: dict[int, bytes] = {}
    position, end = 20, len(data)
    count = 0
    integrity_seen = sha256_seen = False
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
        elif sha256_seen or (integrity_seen and kind != _MESSAGE_INTEGRITY_SHA256):
            # RFC 8489 sections 14.5 and 14.6: what stands behind them is not protected by them, and ignored.
            pass
        elif kind in _codec.ATTRIBUTES_BY_TYPE:
            if kind == _MESSAGE_INTEGRITY:
                if length != 20:
                    raise ParseError(f"MESSAGE-INTEGRITY of {length} bytes")
                integrity_seen = True
                message._integrity_data = data[:position]
            elif kind == _MESSAGE_INTEGRITY_SHA256:
                sha256_seen = True
                message._sha256_data = data[:position]
            _parse_value(kind, data[value_start:value_end], message)
        else:
            unknown.setdefault(kind, data[value_start:value_end])
        position = (value_end + 3) & ~3
    if unknown:
        message.unknown = unknown
        message.unknown_required = tuple(kind for kind in unknown if kind < 0x8000)


def _parse_value(kind: int, value: bytes, message: Message) -> None:
    _, name, _, unpack = _codec.ATTRIBUTES_BY_TYPE[kind]
    is_second_relayed = kind == _XOR_RELAYED_ADDRESS and name in message.attributes
    if name in message.attributes and not is_second_relayed:
        # RFC 8489 section 14: only the first of several is looked at.
        return
    try:
        if is_second_relayed:
            message.second_relayed = message.second_relayed or unpack(value, message.transaction_id)
        elif unpack is _codec.unpack_xor_address:
            message.attributes[name] = _unpack_xor_address(value, message.transaction_id)
        else:
            message.attributes[name] = unpack(value)
    except (ValueError, struct.error) as error:
        raise ParseError(f"STUN attribute {name} of {len(value)} bytes: {error}") from None


# Each check's answer has an address, nearly always of IPv4, and the codec's loop over octets costs more than the rest.


def _pack_xor_address(address: Address, transaction_id: bytes) -> bytes:
    host, port = address
    if ":" in host:
        return _codec.pack_xor_address(address, transaction_id)
    number = int.from_bytes(map(int, host.split(".")), "big")
    return _IPV4.pack(_FAMILY_IPV4, port ^ (_COOKIE_NUMBER >> 16), number ^ _COOKIE_NUMBER)


def _unpack_xor_address(value: bytes, transaction_id: bytes) -> Address:
    if len(value) != _IPV4.size or value[1] != _FAMILY_IPV4:
        return _codec.unpack_xor_address(value, transaction_id)
    _, port, number = _IPV4.unpack(value)
    number ^= _COOKIE_NUMBER
    host = f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return host, port ^ (_COOKIE_NUMBER >> 16)


def _check_fingerprint(data: bytes, position: int, length: int) -> None:
    """RFC 8489 section 14.7: the last attribute, and the checksum of all before it."""
    if length != 4 or position + _FINGERPRINT_LENGTH != len(data):
        raise ParseError("STUN FINGERPRINT is not the last attribute")
    if int.from_bytes(data[-4:], "big") != crc32(data[:position]) ^ _FINGERPRINT_XOR:
        raise ParseError("STUN FINGERPRINT does not match")


def serialize(
    message: _codec.Message, key: bytes | None = None, *, digest: Literal["sha1", "sha256"] = "sha1"
) -> bytes:
    """The message's bytes, and FINGERPRINT at the end.

    Where a key is given, MESSAGE-INTEGRITY under it, or with ``digest="sha256"`` MESSAGE-INTEGRITY-SHA256.
    """
    return _finish(bytearray(bytes(message)), key, digest)


def _finish(data: bytearray, key: bytes | None, digest: Literal["sha1", "sha256"] = "sha1") -> bytes:
    """Add integrity and fingerprint to a message, and set its length."""
    if key is not None:
        kind, length = (_MESSAGE_INTEGRITY, 20) if digest == "sha1" else (_MESSAGE_INTEGRITY_SHA256, 32)
        _LENGTH.pack_into(data, 2, len(data) - 20 + 4 + length)
        value = hmac.digest(key, data, digest)
        data += _ATTRIBUTE.pack(kind, length) + value
    _LENGTH.pack_into(data, 2, len(data) - 20 + _FINGERPRINT_LENGTH)
    data += _NUMBER.pack(_FINGERPRINT, 4, crc32(data) ^ _FINGERPRINT_XOR)
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
    nomination: tuple[int, int] | None = None,
) -> bytes:
    """A connectivity check (RFC 8445 section 7.1 and 7.2.2).

    ``nomination`` is the attribute's type and the value of a renomination, which goes beside USE-CANDIDATE.
    """
    # Made of its pieces, since an agent makes more of these than of all other messages together.
    name = username.encode()
    data = bytearray(_HEADER.pack(_REQUEST, 0, _COOKIE_NUMBER, transaction_id))
    data += _ATTRIBUTE.pack(_USERNAME, len(name)) + name + bytes(-len(name) % 4)
    data += _CHECK.pack(_PRIORITY, 4, priority, _CONTROLLING if controlling else _CONTROLLED, 8, tie_breaker)
    if use_candidate:
        data += _ATTRIBUTE.pack(_USE_CANDIDATE, 0)
    if nomination is not None:
        kind, value = nomination
        data += _NUMBER.pack(kind, 4, value)
    return _finish(data, key)


def binding_success(transaction_id: bytes, *, mapped_address: Address, key: bytes) -> bytes:
    """The answer to a check (RFC 8445 section 7.3.1.2)."""
    value = _pack_xor_address(mapped_address, transaction_id)
    data = bytearray(_HEADER.pack(_SUCCESS, 0, _COOKIE_NUMBER, transaction_id))
    data += _ATTRIBUTE.pack(_XOR_MAPPED_ADDRESS, len(value)) + value
    return _finish(data, key)


def binding_indication(transaction_id: bytes) -> bytes:
    """A keepalive that asks for no answer (RFC 8445 section 11)."""
    return _finish(bytearray(_HEADER.pack(_INDICATION, 0, _COOKIE_NUMBER, transaction_id)), None)


def binding_error(transaction_id: bytes, *, code: int, key: bytes, unknown: Sequence[int] = ()) -> bytes:
    """A refusal of an authenticated check. ``unknown`` are the attribute types that a 420 lists."""
    attributes: dict[str, Any] = {"ERROR-CODE": (code, _REASONS[code])}
    if unknown:
        attributes["UNKNOWN-ATTRIBUTES"] = unknown
    return serialize(Message(Method.BINDING, Class.ERROR, transaction_id, attributes), key)


def opaque_string(text: str) -> str:
    """A user name or password as both ends must see it: RFC 8265's OpaqueString (RFC 8489 sections 14.3 and 9.2.2).

    InvalidAccessError, without the text, for one that is empty or has characters that nobody can type: controls,
    unassigned ones, those that are not to be seen.
    """
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
    prepared = unicodedata.normalize("NFC", spaced)
    if not prepared:
        raise InvalidAccessError("a user name or password is empty")
    for place, character in enumerate(prepared):
        no_text = unicodedata.category(character) in _NO_TEXT and character not in _JOINERS
        if no_text or character in _INVISIBLE:
            raise InvalidAccessError(
                f"character {place + 1} of a user name or password is U+{ord(character):04X}, which RFC 8265 forbids"
            )
    return prepared
