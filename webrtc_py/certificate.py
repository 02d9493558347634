"""The certificate that an endpoint shows in DTLS (W3C RTCCertificate)."""

from __future__ import annotations

import datetime
import secrets

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .dtls.context import PrivateKey
from .dtls.fingerprint import Fingerprint
from .errors import NotSupportedError

_VALIDITY = datetime.timedelta(days=30)
# Peers whose clock is behind ours.
_CLOCK_SKEW = datetime.timedelta(days=1)
_RSA_BITS = 2048


class Certificate:
    """A self-signed X.509 certificate and its private key.

    Without one in the configuration each peer connection makes its own (RFC 8827 section 6.5: sessions must not be
    linked by their keys). Sharing one saves time and memory, and lets peers know each other again.
    """

    __slots__ = ("__weakref__", "private_key", "x509")

    def __init__(self, certificate: x509.Certificate, private_key: PrivateKey) -> None:
        if not isinstance(private_key, PrivateKey):
            raise NotSupportedError(f"the key must be ECDSA or RSA, not {type(private_key).__name__}")
        if certificate.public_key() != private_key.public_key():
            raise ValueError("the certificate is not of this private key")
        self.x509 = certificate
        self.private_key = private_key

    @classmethod
    def generate(cls, algorithm: str = "ECDSA") -> Certificate:
        """A new key, "ECDSA" on P-256 or "RSA" of 2048 bits, and a certificate that is valid for 30 days.

        ECDSA takes 0.1 ms; RSA a few hundred times as long, and its handshakes are larger and slower.
        """
        private_key: PrivateKey
        if algorithm == "ECDSA":
            private_key = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "RSA":
            private_key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        else:
            raise NotSupportedError(f"{algorithm!r} is not an algorithm for certificates; it is 'ECDSA' or 'RSA'")
        # Nothing in it may tell one person or host from another.
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(8))])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + _VALIDITY)
            .sign(private_key, hashes.SHA256())
        )
        return cls(certificate, private_key)

    @classmethod
    def from_pem(cls, pem: str | bytes) -> Certificate:
        """A private key and its certificate, in either order, as :attr:`pem` gives them.

        ValueError when one is missing, damaged or encrypted.
        """
        data = pem.encode() if isinstance(pem, str) else bytes(pem)
        try:
            certificate = x509.load_pem_x509_certificate(data)
            private_key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(f"no certificate with its unencrypted private key in this PEM: {error}") from None
        return cls(certificate, private_key)  # type: ignore[arg-type]

    @property
    def pem(self) -> str:
        """The private key (PKCS #8, not encrypted) and the certificate."""
        key = self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (key + self.x509.public_bytes(serialization.Encoding.PEM)).decode()

    @property
    def der(self) -> bytes:
        """The certificate as it is sent."""
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def expires(self) -> datetime.datetime:
        """When it ends to be valid, in UTC."""
        return self.x509.not_valid_after_utc

    def get_fingerprints(self, *algorithms: str) -> list[Fingerprint]:
        """Its fingerprints by "sha-256", "sha-384" or "sha-512"; by SHA-256, which every peer knows, if none is named.

        RFC 8122 section 5.1 asks for SHA-256 and for the hash of the certificate's signature, which is the same here.
        """
        return [Fingerprint.of(self.der, algorithm) for algorithm in algorithms or ("sha-256",)]

    def __repr__(self) -> str:
        return f"Certificate({self.get_fingerprints()[0]})"
