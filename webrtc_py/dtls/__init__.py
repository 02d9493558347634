"""DTLS: the handshake, the check of the peer's certificate, and the records that carry SCTP.

What stands here: DTLS 1.2 (RFC 6347) on OpenSSL, as an engine that knows no socket and no clock; fingerprints (RFC
8122); the rules WebRTC adds (RFC 8827 section 6.5: certificates on both sides, forward secrecy, no renegotiation;
RFC 8842 for the roles); extended master secret (RFC 7627); use_srtp and its keys (RFC 5764, RFC 7714); and clients of
TURN servers, which are known by their names (RFC 7350).

What is left out: DTLS 1.3 (RFC 9147), which OpenSSL does not speak: a peer that offers both gets 1.2; resumption, as
each WebRTC connection has new keys; the cookie exchange as a server, because ICE has proved the peer's address; cipher
suites without forward secrecy or authenticated encryption.

``connection`` is the engine, ``check`` says whether the peer's certificate is the right one, ``session`` holds the
calls into OpenSSL, ``context`` what all connections share, ``record`` what may be read of a datagram before anything of
it is authenticated, ``flight`` the retransmission.
"""

from .check import Trust
from .connection import Closed, Connection, ConnectionEvent, Failed, HandshakeCompleted, ServerConnection
from .context import Identity
from .fingerprint import Fingerprint
from .parameters import DTLSParameters
from .srtp import SRTPKeys, SRTPProfile

__all__ = [
    "Closed",
    "Connection",
    "ConnectionEvent",
    "DTLSParameters",
    "Failed",
    "Fingerprint",
    "HandshakeCompleted",
    "Identity",
    "SRTPKeys",
    "SRTPProfile",
    "ServerConnection",
    "Trust",
]
