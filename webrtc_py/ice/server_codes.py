"""The error codes of STUN and TURN servers (RFC 8489 section 14.8, RFC 8656 section 19), and what they mean."""

from __future__ import annotations

TRY_ALTERNATE = 300
BAD_REQUEST = 400
UNAUTHENTICATED = 401
ALLOCATION_MISMATCH = 437
STALE_NONCE = 438
ADDRESS_FAMILY_NOT_SUPPORTED = 440
PEER_ADDRESS_FAMILY_MISMATCH = 443
SERVER_ERROR = 500
UNREACHABLE = 701
"""webrtc-pc's code for a server that does not answer."""

PASSING = frozenset((SERVER_ERROR, UNREACHABLE))
"""What another try may get over (RFC 8489 section 14.8), for who has something to lose."""

_MEANINGS = {
    300: "the server sends its clients elsewhere",
    400: "the server does not understand the request: perhaps it is no TURN server",
    401: "the server refuses the user name or the password; a time-limited one may be over",
    403: "the server forbids it",
    420: "the server knows less than was asked for",
    437: "the server has another allocation, or none, for this socket",
    438: "the server found each nonce stale that it gave",
    440: "the server has no relay of this address family",
    441: "the allocation belongs to another user",
    442: "the server does not relay UDP",
    443: "the peer is of another address family than the relay",
    486: "the user holds as many allocations as the server allows",
    500: "the server has an error of its own",
    508: "the server has no address or port left to relay from",
}


def meaning_of(error_code: int, reason: str) -> str:
    """The code with its meaning; ``reason``, the server's own phrase, where that is all there is.

    701, webrtc-pc's code for a server that cannot be reached, has its whole meaning in the reason.
    """
    if error_code in _MEANINGS:
        return f"{_MEANINGS[error_code]} ({error_code})"
    return reason if error_code == UNREACHABLE else f"{reason} ({error_code})"
