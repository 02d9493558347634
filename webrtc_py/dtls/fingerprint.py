"""Certificate fingerprints, ``a=fingerprint`` (RFC 8122 section 5)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import SDPSyntaxError

HASH_FUNCTIONS = ("sha-512", "sha-384", "sha-256")
"""The hash functions we calculate and verify with, strongest first. RFC 8122 section 5 forbids MD5 and MD2; SHA-1 is
broken; SHA-224 is used by nobody. A fingerprint of another function is understood and ignored."""

_DIGEST_SIZES = {"md2": 16, "md5": 16, "sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")  # RFC 4566 section 9
_HEX = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a certificate: ``algorithm`` such as "sha-256", ``value`` such as "AB:12:...".

    The name is kept in lower case and the value in upper case, however they were written, so that two fingerprints are
    equal when they mean the same. SDPSyntaxError (a ValueError) when either is not what RFC 8122's grammar allows.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.algorithm):
            raise SDPSyntaxError(f"{self.algorithm!r} is not the name of a hash function, such as 'sha-256'")
        if not _HEX.fullmatch(self.value):
            raise SDPSyntaxError(f"fingerprint {self.value!r} is not pairs of hexadecimal digits joined by colons")
        object.__setattr__(self, "algorithm", self.algorithm.lower())
        object.__setattr__(self, "value", self.value.upper())
        size, right = (len(self.value) + 1) // 3, _DIGEST_SIZES.get(self.algorithm)
        if right is not None and size != right:
            raise SDPSyntaxError(f"a {self.algorithm} fingerprint has {right} bytes, not {size}")

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """The value of an ``a=fingerprint`` attribute: ``sha-256 AB:12:...``."""
        algorithm, space, value = text.strip().partition(" ")
        if not space:
            raise SDPSyntaxError(f"fingerprint {text!r} is not a hash function, a space and a value")
        return cls(algorithm, value.lstrip(" "))

    @classmethod
    def of(cls, certificate_der: bytes, algorithm: str = "sha-256") -> Fingerprint:
        """The fingerprint of a certificate. ValueError when the hash function is not one of HASH_FUNCTIONS."""
        if algorithm not in HASH_FUNCTIONS:
            raise ValueError(f"cannot hash with {algorithm!r}; it is one of {', '.join(HASH_FUNCTIONS)}")
        digest = hashlib.new(algorithm.replace("-", ""), certificate_der).digest()
        return cls(algorithm, digest.hex(":"))

    @property
    def usable(self) -> bool:
        """Whether a certificate can be verified with it."""
        return self.algorithm in HASH_FUNCTIONS

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"


def strongest(fingerprints: Iterable[Fingerprint]) -> list[Fingerprint]:
    """Those of the strongest usable hash function that is present (RFC 8122 section 5.1); empty when none is usable."""
    fingerprints = list(fingerprints)
    for algorithm in HASH_FUNCTIONS:
        chosen = [fingerprint for fingerprint in fingerprints if fingerprint.algorithm == algorithm]
        if chosen:
            return chosen
    return []


def matches(certificate_der: bytes, fingerprints: Sequence[Fingerprint]) -> bool:
    """Whether the certificate matches one fingerprint of the strongest usable set (RFC 8122 section 5.1)."""
    chosen = strongest(fingerprints)
    return bool(chosen) and Fingerprint.of(certificate_der, chosen[0].algorithm) in chosen
