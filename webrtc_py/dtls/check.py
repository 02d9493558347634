"""Whether the peer's certificate is the right one. OpenSSL asks in mid-handshake, before anything is encrypted for it.

A WebRTC peer shows the certificate whose fingerprint its description promised. A server shows one that an authority
vouches for, for the server's name (RFC 9325 section 5): that is how TURN servers are met over DTLS.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from .fingerprint import Fingerprint, matches

# OpenSSL's numbers for why a chain of certificates is not good (X509_V_ERR_*), in words.
_CHAIN_ERRORS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "it is signed by an authority of its own",
    20: "no authority that is trusted vouches for it",
    21: "no authority that is trusted vouches for it",
    23: "it is revoked",
    26: "it is not for servers",
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Which servers' certificates are good.

    ``authorities`` are the certificates, in DER, of those who may vouch for a server; None takes the system's. Without
    ``verify`` any certificate is good, and without ``check_name`` one for any name.
    """

    authorities: tuple[bytes, ...] | None = None
    verify: bool = True
    check_name: bool = True


class PeerCheck(Protocol):
    """What a connection asks about its peer's certificate."""

    refused: bool
    """Whether it has said no."""
    reason: str
    """What is wrong then, for people."""
    error_detail: str
    """W3C's word for the failure (RTCErrorDetailType)."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be said by now."""

    def accepts(self, certificate: bytes) -> bool:
        """Whether this certificate, in DER, is the peer's. Asked again when the handshake is complete."""

    def accepts_chain(self, error: int) -> bool:
        """Whether the signatures on it are good enough: OpenSSL's number for what is wrong with them, or 0."""


class FingerprintCheck:
    """A peer of WebRTC: any certificate is good whose fingerprint is; who signed it, for which name and until when says
    nothing here (RFC 8122 section 6.1). ``fingerprints`` is None until they are known.
    """

    __slots__ = ("error_detail", "fingerprints", "reason", "refused")

    def __init__(self, fingerprints: Sequence[Fingerprint] | None) -> None:
        self.fingerprints = fingerprints
        self.refused = False
        self.reason = "the peer's certificate does not match its fingerprint"
        self.error_detail = "fingerprint-failure"

    @property
    def is_ready(self) -> bool:
        return self.fingerprints is not None

    def accepts(self, certificate: bytes) -> bool:
        if self.fingerprints is None or matches(certificate, self.fingerprints):
            return True
        self.refused = True
        return False

    def accepts_chain(self, error: int) -> bool:
        return True


class ServerCheck:
    """A server: OpenSSL follows the signatures to an authority, and the name is looked for here."""

    __slots__ = ("_host", "_trust", "error_detail", "reason", "refused")

    def __init__(self, trust: Trust, host: str) -> None:
        self._trust = trust
        self._host = host
        self.refused = False
        self.reason = ""
        self.error_detail = "dtls-failure"

    @property
    def is_ready(self) -> bool:
        return True

    def accepts(self, certificate: bytes) -> bool:
        if not self._trust.verify or not self._trust.check_name:
            return True
        try:
            is_for_host = names_host(certificate, self._host)
        except ValueError:
            is_for_host = False
        return is_for_host or self._refuse(f"it is not for {self._host}")

    def accepts_chain(self, error: int) -> bool:
        if not error or not self._trust.verify:
            return True
        return self._refuse(_CHAIN_ERRORS.get(error, f"OpenSSL's verification error {error}"))

    def _refuse(self, why: str) -> bool:
        self.refused = True
        self.reason = f"its certificate is not trusted: {why}"
        return False


def names_host(certificate: bytes, host: str) -> bool:
    """Whether a certificate in DER is for this host name or numeric address (RFC 9525 section 6).

    A wildcard stands for one whole label, the first. Raises ValueError when the certificate cannot be read.
    """
    try:
        extension = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        )
    except x509.ExtensionNotFound:
        return False
    names = extension.value
    assert isinstance(names, x509.SubjectAlternativeName)
    if is_numeric(host):
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    wanted = host.rstrip(".").lower()
    _, _, parent = wanted.partition(".")
    offered = {name.rstrip(".").lower() for name in names.get_values_for_type(x509.DNSName)}
    return wanted in offered or bool(parent and f"*.{parent}" in offered)


def is_numeric(host: str) -> bool:
    """Whether it is an address, and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
