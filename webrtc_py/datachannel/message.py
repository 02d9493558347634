"""User messages and their SCTP payload protocol identifiers, RFC 8831 sections 6.6 and 8."""

from __future__ import annotations

from enum import IntEnum

from ..errors import ParseError


class PPID(IntEnum):
    """SCTP payload protocol identifiers of WebRTC."""

    DCEP = 50
    STRING = 51
    BINARY_PARTIAL = 52
    BINARY = 53
    STRING_PARTIAL = 54
    STRING_EMPTY = 56
    BINARY_EMPTY = 57


# SCTP has no empty user message: one zero octet stands for it.
_EMPTY = b"\0"


def encode(message: bytes | bytearray | memoryview | str) -> tuple[int, bytes]:
    """The identifier and the octets for a message. What is mutable is copied."""
    if type(message) is bytes:
        return (PPID.BINARY, message) if message else (PPID.BINARY_EMPTY, _EMPTY)
    if isinstance(message, str):
        text = _encode_text(message)
        return (PPID.STRING, text) if text else (PPID.STRING_EMPTY, _EMPTY)
    octets = bytes(message)
    return (PPID.BINARY, octets) if octets else (PPID.BINARY_EMPTY, _EMPTY)


def usv_string(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which UTF-8 cannot carry (W3C's USVString)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _encode_text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return usv_string(text).encode()


def decode(ppid: int, data: bytes) -> bytes | str:
    """The message that arrived. Broken UTF-8 becomes U+FFFD, as browsers do. ParseError for other identifiers."""
    if ppid == PPID.BINARY:
        return data
    if ppid == PPID.STRING:
        return data.decode("utf-8", "replace")
    if ppid == PPID.STRING_EMPTY:
        return ""
    if ppid == PPID.BINARY_EMPTY:
        return b""
    raise ParseError(f"payload protocol identifier {ppid} carries no WebRTC message")
