"""What all connections share, whatever their certificate and role: OpenSSL's context."""

from __future__ import annotations

import functools
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import Certificate as X509Certificate
from OpenSSL import SSL, crypto

from .check import PeerCheck, Trust
from .srtp import DEFAULT_SRTP_PROFILES

# SSL_OP_NO_RENEGOTIATION, for which pyOpenSSL has no public name.
_OP_NO_RENEGOTIATION = 1 << 30

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey

CIPHER_SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
}
"""OpenSSL's names and the registry's, in order of preference: forward secrecy and authenticated encryption only (RFC
8827 section 6.5). Both kinds of certificate are served in both roles: the suite goes by the server's certificate, and
peers with self-signed RSA certificates are still met."""


class Identity(Protocol):
    """A certificate with its private key, as ``Certificate`` is."""

    @property
    def x509(self) -> X509Certificate: ...

    @property
    def private_key(self) -> PrivateKey: ...


@functools.cache
def shared_context() -> SSL.Context:
    """The one context. Each connection brings its own certificate to it.

    One is enough for a process: a context of its own would cost each connection 10 KiB and a millisecond.
    """
    context = _new_context()
    # Both ends show a certificate (RFC 8827 section 6.5).
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    context.set_tlsext_use_srtp(":".join(profile.name for profile in DEFAULT_SRTP_PROFILES).encode())
    return context


@functools.lru_cache(maxsize=8)
def client_context(trust: Trust) -> SSL.Context:
    """For a client that shows no certificate, and its servers'. The authorities are read once, which takes a while."""
    context = _new_context()
    context.set_verify(SSL.VERIFY_PEER, _verify)
    if trust.authorities is None:
        context.set_default_verify_paths()
        return context
    store = context.get_cert_store()
    assert store is not None
    for authority in trust.authorities:
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, authority))
    return context


def _new_context() -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    # DTLS 1.0 is forbidden (RFC 8996), and what the flights and the records here do is 1.2's.
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(":".join(CIPHER_SUITES).encode())
    # NO_QUERY_MTU: the size of a datagram is ours to say. RELEASE_BUFFERS: 33 KiB less while nothing is under way.
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | _OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def certificate_der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Called in the middle of a handshake: a wrong certificate ends it here, before anything is encrypted for it."""
    check: PeerCheck = connection.get_app_data()
    try:
        if not check.accepts_chain(0 if ok else error):
            return False
        return depth > 0 or check.accepts(certificate_der(certificate))
    except crypto.Error:
        return False
