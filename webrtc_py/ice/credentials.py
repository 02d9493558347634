"""The long-term credential mechanism (RFC 8489 section 9.2), as TURN servers ask for it.

A server of RFC 8489 says in its nonce what it can do, which a stranger in between cannot take back unnoticed: password
algorithms, of which SHA-256 is one, with MESSAGE-INTEGRITY-SHA256; and user names that only their owner can read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field, replace

from ..errors import InvalidAccessError
from . import stun
from .server_codes import UNAUTHENTICATED

_COOKIE = b"obMatJos2"
_COOKIE_LENGTH = len(_COOKIE) + 4
# RFC 8489 section 18.1: bit 0 is the first of three octets.
_PASSWORD_ALGORITHMS_BIT = 1 << 23
_USERNAME_ANONYMITY_BIT = 1 << 22
# RFC 8489 section 18.5: a number, and the length of parameters that these two do not have.
_MD5, _SHA256 = b"\x00\x01\x00\x00", b"\x00\x02\x00\x00"


@dataclass(frozen=True, slots=True)
class Login:
    """What requests to one server are signed with: its realm and nonce, and the key that they give."""

    realm: str
    nonce: bytes = field(repr=False)
    key: bytes = field(repr=False)
    algorithms: bytes | None = None
    """The server's PASSWORD-ALGORITHMS, which requests echo; None for a server of RFC 5389."""
    algorithm: bytes = _MD5
    user_hash: bytes | None = field(default=None, repr=False)
    """Instead of the user name, for a server that can do without."""

    def accepts(self, response: stun.Message) -> bool:
        """Whether a response is from somebody who knows the password, and as safe as was agreed."""
        if self.algorithms is not None:
            return response.check_message_integrity_sha256(self.key)
        return response.check_message_integrity(self.key)

    def is_same_attempt(self, other: Login) -> bool:
        """Whether only the nonce differs: what is refused for one is refused for the other."""
        mine = (self.realm, self.algorithm, self.algorithms is None, self.user_hash is None)
        return mine == (other.realm, other.algorithm, other.algorithms is None, other.user_hash is None)


class LongTermCredential:
    """A user name and a password, and what a server's challenges make of them.

    InvalidAccessError, which does not quote them, for text that RFC 8265 forbids and for a name that is too long.
    """

    __slots__ = ("_password", "_username", "login")

    def __init__(self, username: str, password: str) -> None:
        self._username = stun.opaque_string(username)
        self._password = stun.opaque_string(password)
        if len(self._username.encode()) > stun.MAX_USERNAME:
            raise InvalidAccessError(f"a TURN user name has at most {stun.MAX_USERNAME} octets")
        self.login: Login | None = None
        """None until a server has named its realm."""

    def sign(self, request: stun.Message) -> bytes:
        """The request's octets, signed once there is a login."""
        login = self.login
        if login is None:
            return stun.serialize(request)
        if login.user_hash is None:
            request.attributes["USERNAME"] = self._username
        else:
            request.attributes["USERHASH"] = login.user_hash
        request.attributes["REALM"] = login.realm
        request.attributes["NONCE"] = login.nonce
        if login.algorithms is None:
            return stun.serialize(request, login.key)
        request.attributes["PASSWORD-ALGORITHMS"] = login.algorithms
        request.attributes["PASSWORD-ALGORITHM"] = login.algorithm
        return stun.serialize(request, login.key, digest="sha256")

    def take_challenge(self, response: stun.Message, refused: Login | None) -> bool:
        """Adopt what a 401 or 438 brings; whether another attempt makes sense (RFC 8489 section 9.2.5).

        ``refused`` is what the request was signed with, None when it was not signed.
        """
        known = self.login
        nonce = response.attributes.get("NONCE")
        realm = response.attributes.get("REALM", known.realm if known else None)
        if nonce is None or realm is None:
            return False
        algorithms = response.attributes.get("PASSWORD-ALGORITHMS")
        features = _features_of(nonce)
        if algorithms is None and features & _PASSWORD_ALGORITHMS_BIT:
            return False  # somebody in between has taken them out
        if algorithms is None and known is not None and known.realm == realm:
            algorithms = known.algorithms
        algorithm = _MD5 if algorithms is None else _first_known(algorithms)
        if algorithm is None:
            return False
        login = self._log_in(realm, nonce, algorithms, algorithm, anonymous=bool(features & _USERNAME_ANONYMITY_BIT))
        if response.error_code == UNAUTHENTICATED and refused is not None and login.is_same_attempt(refused):
            return False  # the credentials are wrong, and asking again would not make them right
        self.login = login
        return True

    def take_nonce(self, response: stun.Message) -> None:
        """Adopt the nonce of an authenticated response, where it brings a new one."""
        nonce, login = response.attributes.get("NONCE"), self.login
        if nonce is not None and login is not None:
            self.login = replace(login, nonce=nonce)

    def _log_in(
        self, realm: str, nonce: bytes, algorithms: bytes | None, algorithm: bytes, *, anonymous: bool
    ) -> Login:
        prepared = _prepare_realm(realm)
        # RFC 8489 section 9.2.2. MD5 is the older protocol's choice.
        text = f"{self._username}:{prepared}:{self._password}".encode()
        digest = hashlib.sha256(text) if algorithm == _SHA256 else hashlib.md5(text, usedforsecurity=False)
        user_hash = hashlib.sha256(f"{self._username}:{prepared}".encode()).digest() if anonymous else None
        return Login(realm, nonce, digest.digest(), algorithms, algorithm, user_hash)


def _features_of(nonce: bytes) -> int:
    """The 24 bits of security features that a server of RFC 8489 begins its nonces with; 0 from an older one."""
    if not nonce.startswith(_COOKIE) or len(nonce) < _COOKIE_LENGTH:
        return 0
    try:
        return int.from_bytes(base64.b64decode(nonce[len(_COOKIE) : _COOKIE_LENGTH], validate=True), "big")
    except binascii.Error:
        return 0


def _first_known(algorithms: bytes) -> bytes | None:
    """The first of a server's password algorithms that we know, which is the one it likes best."""
    position = 0
    while position + 4 <= len(algorithms):
        length = int.from_bytes(algorithms[position + 2 : position + 4], "big")
        entry = algorithms[position : position + 4 + length]
        if entry in (_MD5, _SHA256):
            return entry
        position += 4 + length + -length % 4
    return None


def _prepare_realm(realm: str) -> str:
    """Without quotes, and as RFC 8265 prepares it; a server whose realm is no text is taken at its word."""
    realm = realm.strip('"').rstrip("\0")
    try:
        return stun.opaque_string(realm)
    except InvalidAccessError:
        return realm
