"""The long-term credential mechanism (RFC 8489 section 9.2), as TURN servers ask for it.

Left out: the SHA-256 password algorithms and user hashes that RFC 8489 added to RFC 5389. No TURN server at hand
offers them, and one that does must take the older form too (section 9.2.4).
"""

from __future__ import annotations

import hashlib

from . import stun

UNAUTHENTICATED = 401
STALE_NONCE = 438


class LongTermCredential:
    """A user name and a password, and the realm and nonce that a server's challenges bring."""

    __slots__ = ("_nonce", "_password", "_username", "key", "realm")

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._nonce = b""
        self.realm: str | None = None
        self.key: bytes | None = None
        """What messages are signed with; None until a server has named its realm."""

    def sign(self, request: stun.Message) -> bytes:
        """The request's octets, signed once there is a key."""
        if self.key is not None:
            request.attributes["USERNAME"] = self._username
            request.attributes["REALM"] = self.realm
            request.attributes["NONCE"] = self._nonce
        return stun.serialize(request, self.key)

    def take_challenge(self, response: stun.Message, signed_for: str | None) -> bool:
        """Adopt the realm and nonce of a 401 or 438; whether another attempt makes sense (RFC 8489 section 9.2.5).

        ``signed_for`` is the realm that the refused request was signed for, None when it was not signed.
        """
        nonce = response.attributes.get("NONCE")
        realm = response.attributes.get("REALM", self.realm)
        if nonce is None or realm is None:
            return False
        if response.error_code == UNAUTHENTICATED and realm == signed_for:
            return False  # the credentials are wrong, and asking again would not make them right
        self._nonce = nonce
        if realm != self.realm:
            self.realm = realm
            # RFC 8489 section 9.2.2. MD5 is the protocol's choice.
            text = f"{self._username}:{realm}:{self._password}".encode()
            self.key = hashlib.md5(text, usedforsecurity=False).digest()
        return True

    def take_nonce(self, response: stun.Message) -> None:
        """Adopt the nonce of an authenticated response, where it brings a new one."""
        self._nonce = response.attributes.get("NONCE", self._nonce)
