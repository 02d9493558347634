"""The keys that a DTLS handshake gives to SRTP (RFC 5764 section 4, RFC 7714 section 14)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ..states import DTLSRole

EXPORTER_LABEL = "EXTRACTOR-dtls_srtp"


class SRTPProfile(IntEnum):
    """The protection profiles we negotiate, with their numbers on the wire and OpenSSL's names for them.

    There is no profile without encryption, and no 32-bit tag: RFC 8827 section 6.5 wants neither.
    """

    SRTP_AEAD_AES_128_GCM = 0x0007
    SRTP_AEAD_AES_256_GCM = 0x0008
    SRTP_AES128_CM_SHA1_80 = 0x0001

    @property
    def key_length(self) -> int:
        """Bytes of the master key."""
        return 32 if self is SRTPProfile.SRTP_AEAD_AES_256_GCM else 16

    @property
    def salt_length(self) -> int:
        """Bytes of the master salt."""
        return 14 if self is SRTPProfile.SRTP_AES128_CM_SHA1_80 else 12

    @property
    def keying_material_length(self) -> int:
        """Bytes to ask of the exporter: a key and a salt for each side."""
        return 2 * (self.key_length + self.salt_length)


DEFAULT_SRTP_PROFILES = tuple(SRTPProfile)
"""In order of preference: authenticated encryption first (RFC 8827 section 6.5), which is also three times as fast."""


@dataclass(frozen=True, slots=True)
class SRTPKeys:
    """The master keys and salts: ``local`` protects what we send, ``remote`` what the peer sends."""

    profile: SRTPProfile
    local_key: bytes
    local_salt: bytes
    remote_key: bytes
    remote_salt: bytes

    def __repr__(self) -> str:
        return f"SRTPKeys({self.profile.name})"  # keys are never printed

    @classmethod
    def split(cls, profile: SRTPProfile, material: bytes, role: DTLSRole) -> SRTPKeys:
        """Cut the exporter's output: client key, server key, client salt, server salt (RFC 5764 section 4.2)."""
        key, salt = profile.key_length, profile.salt_length
        client_key, server_key = material[:key], material[key : 2 * key]
        client_salt, server_salt = material[2 * key : 2 * key + salt], material[2 * key + salt : 2 * (key + salt)]
        if role is DTLSRole.CLIENT:
            return cls(profile, client_key, client_salt, server_key, server_salt)
        return cls(profile, server_key, server_salt, client_key, client_salt)
