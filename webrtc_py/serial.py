"""Serial number arithmetic (RFC 1982), as SCTP's TSNs and SSNs count."""

from __future__ import annotations

_HALF_16 = 1 << 15
_HALF_32 = 1 << 31


def gt16(a: int, b: int) -> bool:
    """Whether ``a`` comes after ``b`` in 16 bits."""
    return 0 < ((a - b) & 0xFFFF) < _HALF_16


def diff32(a: int, b: int) -> int:
    """How far ``a`` is ahead of ``b`` in 32 bits: negative when it is behind."""
    return ((a - b + _HALF_32) & 0xFFFFFFFF) - _HALF_32
