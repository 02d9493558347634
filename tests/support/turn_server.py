"""A TURN server without a socket: bytes in, bytes out, for tests of the client. It can be made to misbehave.

Peers are what the test plays: :meth:`FakeTurnServer.from_peer` gives what the server sends to its client. With a clock
in ``now`` it is strict: allocations, permissions and channels end when the standard ends them.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from aioice.stun import pack_xor_address

from webrtc_py.ice import stun
from webrtc_py.runtime.network import Address

Answer = Callable[[stun.Message], "stun.Message | bytes | None"]

_PERMISSION_LIFETIME = 300
_CHANNEL_LIFETIME = 600
_MD5, _SHA256 = b"\0\1\0\0", b"\0\2\0\0"
_XOR_RELAYED_ADDRESS = 0x0016


class FakeTurnServer:
    """One client's view of a server. ``answers`` replaces what a method does: it takes the request.

    ``also_relayed`` is the address of the other family, for clients that ask for both. ``algorithms`` makes it a server
    of RFC 8489, which takes nothing but these; ``anonymous`` one that wants no user names.
    """

    def __init__(
        self,
        *,
        username: str = "user",
        password: str = "secret",
        realm: str = "example.org",
        relayed: Address = ("203.0.113.9", 50000),
        also_relayed: Address | None = None,
        mapped: Address = ("198.51.100.7", 40000),
        lifetime: int = 600,
        algorithms: bytes = b"",
        anonymous: bool = False,
    ) -> None:
        self.username = username
        self.realm = realm
        self.algorithms = algorithms
        self.anonymous = anonymous
        self.nonce = b"nonce-1"
        text = f"{username}:{realm}:{password}".encode()
        is_sha256 = algorithms.startswith(_SHA256)
        self.key = hashlib.sha256(text).digest() if is_sha256 else hashlib.md5(text).digest()
        self.relayed = relayed
        self.also_relayed = also_relayed
        self.mapped = mapped
        self.lifetime = lifetime
        self.allocated = False
        self.now: float | None = None
        self.expires_at = 0.0
        self.permissions: dict[str, float] = {}
        self.channels: dict[int, Address] = {}
        self.channels_until: dict[int, float] = {}
        self.requests: Counter[str] = Counter()
        self.log: list[stun.Message] = []
        self.to_peers: list[tuple[bytes, Address]] = []
        self.answers: dict[stun.Method, Answer] = {}

    def renew_nonce(self, text: str) -> None:
        """Make the nonces that were given stale."""
        self.nonce = text.encode()

    def receive(self, data: bytes) -> list[bytes]:
        """What the server answers to one message of its client's."""
        self._expire()
        if data[0] & 0xC0 == 0x40:
            number, length = struct.unpack("!HH", data[:4])
            if number in self.channels:
                self.to_peers.append((data[4 : 4 + length], self.channels[number]))
            return []
        message = stun.parse_message(data)
        self.log.append(message)
        if message.message_class == stun.Class.INDICATION:
            if message.message_method == stun.Method.BINDING:
                return []  # it keeps NATs from forgetting the client
            peer = message.attributes["XOR-PEER-ADDRESS"]
            if peer[0] in self.permissions:
                self.to_peers.append((message.attributes["DATA"], peer))
            return []
        self.requests[message.message_method.name] += 1
        answer = self.answers.get(message.message_method, self.respond)(message)
        return [] if answer is None else [bytes(answer)]

    def from_peer(self, data: bytes, peer: Address) -> bytes | None:
        """A peer's datagram as the client gets it; None without a permission."""
        self._expire()
        if peer[0] not in self.permissions:
            return None
        for number, address in self.channels.items():
            if address == peer:
                return struct.pack("!HH", number, len(data)) + data
        attributes = {"XOR-PEER-ADDRESS": peer, "DATA": data}
        return bytes(stun.Message(stun.Method.DATA, stun.Class.INDICATION, bytes(12), attributes))

    def success(
        self, request: stun.Message, attributes: dict[str, Any], *, signed: bool = True, more: bytes = b""
    ) -> bytes:
        """``more`` is attributes as they are on the wire."""
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id, attributes)
        return self._finish(answer, signed, more)

    def error(
        self, request: stun.Message, code: int, attributes: dict[str, Any] | None = None, *, signed: bool = False
    ) -> bytes:
        everything = {"ERROR-CODE": (code, f"reason {code}"), **(attributes or {})}
        answer = stun.Message(request.message_method, stun.Class.ERROR, request.transaction_id, everything)
        return self._finish(answer, signed)

    def challenge(self, request: stun.Message, code: int = 401) -> bytes:
        attributes: dict[str, Any] = {"REALM": self.realm, "NONCE": self.full_nonce}
        if self.algorithms:
            attributes["PASSWORD-ALGORITHMS"] = self.algorithms
        return self.error(request, code, attributes)

    @property
    def full_nonce(self) -> bytes:
        """With the cookie of RFC 8489 section 9.2, where it has something to say."""
        features = bool(self.algorithms) << 23 | self.anonymous << 22
        cookie = b"obMatJos2" + base64.b64encode(features.to_bytes(3, "big")) if features else b""
        return cookie + self.nonce

    def _finish(self, message: stun.Message, signed: bool, more: bytes = b"") -> bytes:
        data = bytearray(bytes(message)) + more
        return stun._finish(data, self.key if signed else None, "sha256" if self.algorithms else "sha1")

    def _expire(self) -> None:
        if self.now is None:
            return
        if self.allocated and self.now >= self.expires_at:
            self._delete()
        self.permissions = {host: until for host, until in self.permissions.items() if until > self.now}
        for number in [number for number, until in self.channels_until.items() if until <= self.now]:
            del self.channels[number], self.channels_until[number]

    def _delete(self) -> None:
        self.allocated = False
        self.permissions.clear()
        self.channels.clear()
        self.channels_until.clear()

    def is_signed(self, request: stun.Message) -> bool:
        if not self.algorithms:
            return request.check_message_integrity(self.key) and request.attributes.get("USERNAME") == self.username
        attributes = request.attributes
        if attributes.get("PASSWORD-ALGORITHMS") != self.algorithms or "MESSAGE-INTEGRITY" in attributes:
            return False
        if attributes.get("PASSWORD-ALGORITHM") != self.algorithms[:4]:
            return False
        user_hash = hashlib.sha256(f"{self.username}:{self.realm}".encode()).digest()
        knows_user = (
            attributes.get("USERHASH") == user_hash and "USERNAME" not in attributes
            if self.anonymous
            else attributes.get("USERNAME") == self.username
        )
        return knows_user and request.check_message_integrity_sha256(self.key)

    def respond(self, request: stun.Message) -> bytes:
        method = request.message_method
        if method == stun.Method.BINDING:
            return self.success(request, {"XOR-MAPPED-ADDRESS": self.mapped}, signed=False)
        if not self.is_signed(request):
            return self.challenge(request)
        if request.attributes["NONCE"] != self.full_nonce:
            return self.challenge(request, 438)
        if method == stun.Method.ALLOCATE:
            return self._allocate(request)
        if not self.allocated:
            return self.error(request, 437, signed=True)
        now = self.now or 0.0
        if method == stun.Method.REFRESH:
            lifetime = min(self.lifetime, request.attributes["LIFETIME"])
            self.expires_at = now + lifetime
            if not lifetime:
                self._delete()
            return self.success(request, {"LIFETIME": lifetime})
        peer = request.attributes["XOR-PEER-ADDRESS"]
        if all((":" in peer[0]) != (":" in one[0]) for one in (self.relayed, self.also_relayed) if one):
            return self.error(request, 443, signed=True)
        self.permissions[peer[0]] = now + _PERMISSION_LIFETIME
        if method == stun.Method.CHANNEL_BIND:
            number = request.attributes["CHANNEL-NUMBER"]
            if self.channels.get(number, peer) != peer:
                return self.error(request, 400, signed=True)
            self.channels[number] = peer
            self.channels_until[number] = now + _CHANNEL_LIFETIME
        return self.success(request, {})

    def _allocate(self, request: stun.Message) -> bytes:
        if self.allocated:
            return self.error(request, 437, signed=True)
        requested = request.attributes.get("REQUESTED-ADDRESS-FAMILY", 1)
        additional = request.attributes.get("ADDITIONAL-ADDRESS-FAMILY")
        known = {2 if ":" in one[0] else 1: one for one in (self.relayed, self.also_relayed) if one}
        first = known.get(requested)
        if first is None and additional is None:
            return self.error(request, 440, signed=True)
        attributes: dict[str, Any] = {"LIFETIME": self.lifetime, "XOR-MAPPED-ADDRESS": self.mapped}
        more = b""
        if additional is not None:
            second = known.get(additional)
            if first is None:
                first, second = second, None
                attributes["ADDRESS-ERROR-CODE"] = (requested, 440, "no such family")
            elif second is None:
                attributes["ADDRESS-ERROR-CODE"] = (additional, 440, "no such family")
            else:
                value = pack_xor_address(second, request.transaction_id)
                more = struct.pack("!HH", _XOR_RELAYED_ADDRESS, len(value)) + value
        self.allocated = True
        self.expires_at = (self.now or 0.0) + self.lifetime
        return self.success(request, {"XOR-RELAYED-ADDRESS": first, **attributes}, more=more)
