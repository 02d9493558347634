"""A TURN server without a socket: bytes in, bytes out, for tests of the client. It can be made to misbehave.

Peers are what the test plays: :meth:`FakeTurnServer.from_peer` gives what the server sends to its client.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from webrtc_py.ice import stun
from webrtc_py.runtime.network import Address

Answer = Callable[[stun.Message], "stun.Message | None"]


class FakeTurnServer:
    """One client's view of a server. ``answers`` replaces what a method does: it takes the request."""

    def __init__(
        self,
        *,
        username: str = "user",
        password: str = "secret",
        realm: str = "example.org",
        relayed: Address = ("203.0.113.9", 50000),
        mapped: Address = ("198.51.100.7", 40000),
        lifetime: int = 600,
    ) -> None:
        self.username = username
        self.realm = realm
        self.nonce = b"nonce-1"
        self.key = hashlib.md5(f"{username}:{realm}:{password}".encode()).digest()
        self.relayed = relayed
        self.mapped = mapped
        self.lifetime = lifetime
        self.allocated = False
        self.permissions: set[str] = set()
        self.channels: dict[int, Address] = {}
        self.requests: Counter[str] = Counter()
        self.log: list[stun.Message] = []
        self.to_peers: list[tuple[bytes, Address]] = []
        self.answers: dict[stun.Method, Answer] = {}

    def receive(self, data: bytes) -> list[bytes]:
        """What the server answers to one message of its client's."""
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
        answer = self.answers.get(message.message_method, self._answer)(message)
        return [] if answer is None else [bytes(answer)]

    def from_peer(self, data: bytes, peer: Address) -> bytes | None:
        """A peer's datagram as the client gets it; None without a permission."""
        if peer[0] not in self.permissions:
            return None
        for number, address in self.channels.items():
            if address == peer:
                return struct.pack("!HH", number, len(data)) + data
        attributes = {"XOR-PEER-ADDRESS": peer, "DATA": data}
        return bytes(stun.Message(stun.Method.DATA, stun.Class.INDICATION, bytes(12), attributes))

    def success(self, request: stun.Message, attributes: dict[str, Any], *, signed: bool = True) -> stun.Message:
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id, attributes)
        if signed:
            answer.add_message_integrity(self.key)
        return answer

    def error(
        self, request: stun.Message, code: int, attributes: dict[str, Any] | None = None, *, signed: bool = False
    ) -> stun.Message:
        everything = {"ERROR-CODE": (code, f"reason {code}"), **(attributes or {})}
        answer = stun.Message(request.message_method, stun.Class.ERROR, request.transaction_id, everything)
        if signed:
            answer.add_message_integrity(self.key)
        return answer

    def challenge(self, request: stun.Message, code: int = 401) -> stun.Message:
        return self.error(request, code, {"REALM": self.realm, "NONCE": self.nonce})

    def _answer(self, request: stun.Message) -> stun.Message:
        if request.message_method == stun.Method.BINDING:
            return self.success(request, {"XOR-MAPPED-ADDRESS": self.mapped}, signed=False)
        if not request.check_message_integrity(self.key):
            return self.challenge(request)
        if request.attributes["NONCE"] != self.nonce:
            return self.challenge(request, 438)
        method = request.message_method
        if method == stun.Method.ALLOCATE:
            self.allocated = True
            return self.success(
                request,
                {
                    "XOR-RELAYED-ADDRESS": self.relayed,
                    "XOR-MAPPED-ADDRESS": self.mapped,
                    "LIFETIME": self.lifetime,
                },
            )
        if not self.allocated:
            return self.error(request, 437, signed=True)
        if method == stun.Method.REFRESH:
            lifetime = min(self.lifetime, request.attributes["LIFETIME"])
            self.allocated = lifetime > 0
            return self.success(request, {"LIFETIME": lifetime})
        peer = request.attributes["XOR-PEER-ADDRESS"]
        self.permissions.add(peer[0])
        if method == stun.Method.CHANNEL_BIND:
            self.channels[request.attributes["CHANNEL-NUMBER"]] = peer
        return self.success(request, {})
