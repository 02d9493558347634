"""SCTP packets: the common header, the checksum, and the chunks one after the other (RFC 9260 sections 3 and 6.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crc32c import crc32c

from ..errors import ParseError

#  0                   1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |      Source Port Number       |    Destination Port Number    |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                       Verification Tag                        |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                           Checksum                            |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
HEADER_SIZE = 12
CHUNK_HEADER_SIZE = 4

ADDRESSING = struct.Struct("!HHL")
# CRC32c goes into its field with the lowest byte first, unlike everything else (RFC 9260 appendix A).
CHECKSUM = struct.Struct("<L")
CHUNK_HEADER = struct.Struct("!BBH")

# The ports and the tag as one number: what a receiver compares in one step. Only equality matters, so the order of
# the bytes is the checksum's.
HEADER_WORDS = struct.Struct("<QL")

_ZERO_CHECKSUM = bytes(4)


class RawChunk(NamedTuple):
    """A chunk that has not been looked into: ``value`` is what follows its four bytes of header, without padding."""

    type: int
    flags: int
    value: memoryview


def padded(size: int) -> int:
    """``size`` rounded up to the next multiple of four, as chunks and parameters are."""
    return (size + 3) & ~3


def checksum_seed(addressing: bytes) -> int:
    """The CRC32c of a header with these ports and tag and a checksum of zero.

    ``crc32c(packet[12:], seed)`` is then the packet's checksum: the same for every packet of an association, this part
    is computed once, and nobody writes zeros into a packet to check it.
    """
    return crc32c(addressing + _ZERO_CHECKSUM)


def build_packet(
    source_port: int, destination_port: int, verification_tag: int, chunks: Iterable[bytes], *, checksum: bool = True
) -> bytes:
    """A packet of these serialized chunks. Without ``checksum`` the field is zero (RFC 9653)."""
    addressing = ADDRESSING.pack(source_port, destination_port, verification_tag)
    body = b"".join(chunks)
    value = crc32c(body, checksum_seed(addressing)) if checksum else 0
    return addressing + CHECKSUM.pack(value) + body


def build_chunk(type_: int, flags: int, value: bytes) -> bytes:
    """A chunk with its header and its padding, which the length does not count (RFC 9260 section 3.2)."""
    length = CHUNK_HEADER_SIZE + len(value)
    return CHUNK_HEADER.pack(type_, flags, length) + value + bytes(-length & 3)


def split_chunks(packet: memoryview, start: int, end: int) -> Iterator[RawChunk]:
    """The chunks between two offsets of ``packet``.

    ParseError for a chunk whose length is below four or reaches beyond the end: what stands before it is still good,
    the rest cannot be told apart (RFC 9260 section 6.10). Missing padding after the last chunk is forgiven.
    """
    while start < end:
        if end - start < CHUNK_HEADER_SIZE:
            raise ParseError(f"{end - start} bytes are left where a chunk should begin")
        type_, flags, length = CHUNK_HEADER.unpack_from(packet, start)
        if length < CHUNK_HEADER_SIZE:
            raise ParseError(f"chunk {type_} has the length {length}")
        if length > end - start:
            raise ParseError(f"chunk {type_} has the length {length}, but only {end - start} bytes are left")
        yield RawChunk(type_, flags, packet[start + CHUNK_HEADER_SIZE : start + length])
        start += padded(length)
