"""Serial number arithmetic (RFC 1982), as SCTP's TSN, SSN and RTP's sequence numbers count."""

from __future__ import annotations

_HALF_16 = 1 << 15
_HALF_32 = 1 << 31


def add16(a: int, n: int) -> int:
    """``a + n`` in 16 bits."""
    return (a + n) & 0xFFFF


def gt16(a: int, b: int) -> bool:
    """Whether ``a`` comes after ``b`` in 16 bits."""
    return 0 < ((a - b) & 0xFFFF) < _HALF_16


def add32(a: int, n: int) -> int:
    """``a + n`` in 32 bits."""
    return (a + n) & 0xFFFFFFFF


def gt32(a: int, b: int) -> bool:
    """Whether ``a`` comes after ``b`` in 32 bits."""
    return 0 < ((a - b) & 0xFFFFFFFF) < _HALF_32


def gte32(a: int, b: int) -> bool:
    """Whether ``a`` equals ``b`` or comes after it in 32 bits."""
    return ((a - b) & 0xFFFFFFFF) < _HALF_32


def diff32(a: int, b: int) -> int:
    """How far ``a`` is ahead of ``b`` in 32 bits: negative when it is behind."""
    return ((a - b + _HALF_32) & 0xFFFFFFFF) - _HALF_32
