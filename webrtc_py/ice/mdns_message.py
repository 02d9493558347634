"""Multicast DNS messages, as far as addresses of names in .local need them (RFC 1035 section 4, RFC 6762 section 18).

Our parser reads questions and address records and steps over everything else; the network is full of other mDNS.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import ParseError

A = 1
AAAA = 28
ANY = 255
NSEC = 47
_IN = 1
# The top bit of a class: in a record, that it is all there is of its kind (RFC 6762 section 10.2); in a question, that
# an answer by unicast would do (section 5.4).
_TOP_BIT = 0x8000
_RESPONSE = 0x8400
_TTL = 120

MAX_MESSAGE_SIZE = 9000
"""RFC 6762 section 17."""
# Of our own kind of message none has more than a few; it bounds what a hostile one makes us read.
_MAX_RECORDS = 64
_MAX_NAME_LENGTH = 255

_HEADER = struct.Struct("!HHHHHH")
_TYPE_AND_CLASS = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")


@dataclass(frozen=True, slots=True)
class Question:
    """``type`` is A, AAAA or ANY, or another number that does not concern us."""

    name: str
    type: int


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """A name's address; a ``ttl`` of 0 says that it has it no more."""

    name: str
    address: str
    ttl: int = _TTL


@dataclass(frozen=True, slots=True)
class Message:
    """Names are in lower case. ``answers`` has the address records of all sections."""

    is_response: bool
    questions: tuple[Question, ...] = ()
    answers: tuple[AddressRecord, ...] = ()


def parse(data: bytes | memoryview) -> Message:
    """ParseError for what is not a DNS message, or is larger than any of ours."""
    data = bytes(data)
    if not _HEADER.size <= len(data) <= MAX_MESSAGE_SIZE:
        raise ParseError(f"an mDNS message of {len(data)} octets")
    _, flags, *counts = _HEADER.unpack_from(data)
    if flags & 0x7800:
        raise ParseError("an mDNS message that is no standard query")
    if sum(counts) > _MAX_RECORDS:
        raise ParseError(f"an mDNS message of {sum(counts)} records")
    position = _HEADER.size
    questions = []
    answers = []
    try:
        for _ in range(counts[0]):
            name, position = _parse_name(data, position)
            kind, _ = _TYPE_AND_CLASS.unpack_from(data, position)
            position += _TYPE_AND_CLASS.size
            questions.append(Question(name, kind))
        for _ in range(sum(counts[1:])):
            name, position = _parse_name(data, position)
            kind, record_class, ttl, length = _RECORD.unpack_from(data, position)
            position += _RECORD.size
            value = data[position : position + length]
            if len(value) != length:
                raise ParseError("an mDNS record is cut short")
            position += length
            if record_class & ~_TOP_BIT == _IN and (kind, length) in ((A, 4), (AAAA, 16)):
                answers.append(AddressRecord(name, str(ipaddress.ip_address(value)), ttl))
    except struct.error:
        raise ParseError("an mDNS message is cut short") from None
    return Message(bool(flags & 0x8000), tuple(questions), tuple(answers))


def _parse_name(data: bytes, position: int) -> tuple[str, int]:
    """A name, and where the next field begins. A pointer leads only back, so there is no loop (RFC 1035, 4.1.4)."""
    labels: list[bytes] = []
    length = 0
    behind: int | None = None
    earliest = position
    while True:
        if position >= len(data):
            raise ParseError("an mDNS name is cut short")
        size = data[position]
        if size >= 0xC0:
            if position + 1 >= len(data):
                raise ParseError("an mDNS name is cut short")
            if behind is None:
                behind = position + 2
            position = (size & 0x3F) << 8 | data[position + 1]
            if position >= earliest:
                raise ParseError("an mDNS name points forward")
            earliest = position
            continue
        if size >= 0x40:
            raise ParseError(f"an mDNS label of kind {size >> 6}")
        position += 1
        if size == 0:
            break
        label = data[position : position + size]
        length += size + 1
        if len(label) != size or length > _MAX_NAME_LENGTH:
            raise ParseError("an mDNS name is cut short or too long")
        labels.append(label)
        position += size
    # Labels are any octets; a name of ours has nothing but letters, digits and hyphens.
    name = b".".join(labels).decode("latin-1").lower()
    return name, position if behind is None else behind


def serialize_query(name: str, types: Sequence[int] = (A, AAAA)) -> bytes:
    """Ask for a name's addresses.

    Not for an answer by unicast: where several programs share the port, that may reach any of them (RFC 6762
    section 15.1).
    """
    message = bytearray(_HEADER.pack(0, 0, len(types), 0, 0, 0))
    for kind in types:
        message += _serialize_name(name) + _TYPE_AND_CLASS.pack(kind, _IN)
    return bytes(message)


def serialize_response(records: Iterable[AddressRecord]) -> bytes:
    """Addresses, each with the word that its name has none of the other family (RFC 6762 section 6.1).

    Without it a resolver that asks for both would wait for the other until its time is up.
    """
    records = list(records)
    answers = bytearray()
    additional = bytearray()
    for record in records:
        name = _serialize_name(record.name)
        value = ipaddress.ip_address(record.address).packed
        kind = A if len(value) == 4 else AAAA
        answers += name + _RECORD.pack(kind, _IN | _TOP_BIT, record.ttl, len(value)) + value
        bitmap = _bitmap(kind)
        additional += name + _RECORD.pack(NSEC, _IN | _TOP_BIT, record.ttl, len(name) + len(bitmap)) + name + bitmap
    return _HEADER.pack(0, _RESPONSE, 0, len(records), 0, len(records)) + answers + additional


def _bitmap(kind: int) -> bytes:
    """The types that a name has: a window's number, its length in octets, and a bit each (RFC 4034 section 4.1.2)."""
    octets = bytearray(kind // 8 + 1)
    octets[kind // 8] = 0x80 >> kind % 8
    return bytes([0, len(octets)]) + octets


def _serialize_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"
