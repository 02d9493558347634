"""The TURN client (RFC 8656) as an engine: allocation, permissions, channels. :mod:`.relay` gives it a socket.

Data to a peer goes in Send indications until a channel is bound, and waits, a few datagrams at most, until the server
has confirmed the permission: what reaches the server earlier it drops without a word.

Left out: TCP allocations (RFC 6062), reserved and even ports, and mobility, which ICE has no use for.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..errors import ParseError
from . import stun
from .credentials import STALE_NONCE, UNAUTHENTICATED, LongTermCredential
from .retransmission import TRANSACTION_TIMEOUT, Retransmission

logger = logging.getLogger(__name__)

Address = tuple[str, int]

CHANNEL_HEADER = struct.Struct("!HH")
"""Channel number and length of the data (RFC 8656 section 12.4)."""

_UDP = 17 << 24  # REQUESTED-TRANSPORT: the protocol number, then three reserved octets
_IPV6 = 2  # REQUESTED-ADDRESS-FAMILY
_LIFETIME = 600
# The allocation is refreshed a minute before it ends (RFC 8656 section 8), or at half of a lifetime below two minutes.
_REFRESH_MARGIN = 60.0
# Permissions end after 5 minutes and channels after 10 (RFC 8656 sections 9 and 12); a ChannelBind renews both.
_PEER_REFRESH_INTERVAL = 240.0
_RETRY_INTERVAL = 10.0
_CHANNEL_NUMBERS = range(0x4000, 0x5000)
# A server that keeps answering 401 or 438 is not worth more requests than this.
_MAX_ATTEMPTS = 4
# An ICE session has at most 100 pairs; more peers than that are not ours.
_MAX_PEERS = 128
_MAX_HELD = 8
_CLOSE_TIMEOUT = 1.0

ALLOCATION_MISMATCH = 437
TRY_ALTERNATE = 300
UNREACHABLE = 701
"""webrtc-pc's code for a server that does not answer."""


@dataclass(frozen=True, slots=True)
class Allocated:
    """The server has given an address; ``mapped`` is ours as the server sees it."""

    relayed: Address
    mapped: Address


@dataclass(frozen=True, slots=True)
class AllocationFailed:
    """There is no allocation, or none any more. ``alternate`` is where a 300 (Try Alternate) sends us."""

    error_code: int
    reason: str
    alternate: Address | None = None


@dataclass(frozen=True, slots=True)
class PermissionRefused:
    """The server lets nothing through from and to this host."""

    host: str
    error_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The server has confirmed that the allocation is gone, or has not answered in time."""


TurnEvent = Allocated | AllocationFailed | PermissionRefused | Closed


class _State(Enum):
    NEW = "new"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(slots=True)
class _Request:
    """A request that waits for its response, through all its attempts to authenticate."""

    method: stun.Method
    attributes: dict[str, Any]
    on_success: Callable[[stun.Message, float], None]
    on_error: Callable[[_Refusal, float], None]
    timeout: float
    data: bytes = b""
    schedule: Retransmission = field(default_factory=lambda: Retransmission(0.0))
    key: bytes | None = None
    realm: str | None = None
    attempts: int = 0
    unauthentic: _Refusal | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    error_code: int
    reason: str
    alternate: Address | None = None


@dataclass(slots=True)
class _Permission:
    """What we may send to one host."""

    is_installed: bool = False
    is_refused: bool = False
    is_pending: bool = False
    refresh_at: float = 0.0
    held: list[tuple[bytes, Address]] = field(default_factory=list)


@dataclass(slots=True)
class _Channel:
    number: int
    peer: Address
    is_bound: bool = False
    is_pending: bool = False
    refresh_at: float = 0.0


class TurnClient:
    """One allocation. The five verbs of an engine, and :meth:`allocate`, :meth:`permit`, :meth:`bind`, :meth:`close`.

    ``family`` is the relayed address's, 4 or 6. ``reliable`` says that TCP or TLS carries it: nothing is sent again.
    ``make_transaction_id`` gives twelve random octets at each call.
    """

    def __init__(
        self,
        *,
        username: str,
        password: str,
        family: int,
        reliable: bool,
        make_transaction_id: Callable[[], bytes],
    ) -> None:
        self._credential = LongTermCredential(username, password)
        self._family = family
        self._reliable = reliable
        self._make_transaction_id = make_transaction_id
        self._state = _State.NEW
        self._requests: dict[bytes, _Request] = {}
        self._refresh_at: float | None = None
        self._expires_at = 0.0
        self._permissions: dict[str, _Permission] = {}
        self._channels: dict[Address, _Channel] = {}
        self._peers: dict[int, Address] = {}
        self._output: list[bytes] = []
        self._events: list[TurnEvent] = []
        self.dropped = 0
        """Datagrams that nobody could use: malformed, forged, for unknown channels, to hosts without permission."""

    # Commands

    def allocate(self, now: float, timeout: float = TRANSACTION_TIMEOUT) -> None:
        """Ask for a relayed address; :class:`Allocated` or :class:`AllocationFailed` follows."""
        attributes: dict[str, Any] = {"LIFETIME": _LIFETIME, "REQUESTED-TRANSPORT": _UDP}
        if self._family == 6:  # IPv4 is the default (RFC 8656 section 7.2), also for servers that know nothing else
            attributes["REQUESTED-ADDRESS-FAMILY"] = _IPV6
        self._state = _State.ALLOCATING
        self._request(stun.Method.ALLOCATE, attributes, self._on_allocated, self._on_not_allocated, now, timeout)

    def permit(self, host: str, now: float) -> None:
        """Let this host's datagrams through (RFC 8656 section 9), and keep it so."""
        if self._state is not _State.ALLOCATED or host in self._permissions:
            return
        if len(self._permissions) >= _MAX_PEERS:
            self.dropped += 1
            return
        self._permissions[host] = _Permission()
        self._create_permission(host, now)

    def bind(self, peer: Address, now: float) -> None:
        """Bind a channel to this peer in the background, which saves 32 octets and more for each datagram."""
        if self._state is not _State.ALLOCATED or peer in self._channels:
            return
        if len(self._peers) >= len(_CHANNEL_NUMBERS):
            return  # Send indications go on; a number is never given to a second peer
        channel = _Channel(_CHANNEL_NUMBERS[len(self._peers)], peer)
        self._channels[peer] = channel
        self._peers[channel.number] = peer
        self._bind_channel(channel, now)

    def close(self, now: float) -> None:
        """Delete the allocation. :class:`Closed` follows within a second."""
        if self._state in (_State.CLOSING, _State.CLOSED):
            return
        allocate = next(iter(self._requests.values()), None) if self._state is _State.ALLOCATING else None
        has_allocation = self._state is _State.ALLOCATED
        self._drop_everything()
        self._state = _State.CLOSING
        if has_allocation:
            self._delete_allocation(now)
        elif allocate is not None and allocate.key is not None:
            # It may yet succeed, and some servers answer a Refresh that follows it first: with 437, and are then left
            # with the allocation.
            allocate.attempts = _MAX_ATTEMPTS
            allocate.on_success = lambda response, now: self._delete_allocation(now)
            allocate.on_error = lambda refusal, now: self._on_closed()
            self._requests[allocate.data[8:20]] = allocate
        else:
            self._on_closed()

    def _delete_allocation(self, now: float) -> None:
        self._request(
            stun.Method.REFRESH,
            {"LIFETIME": 0},
            lambda response, now: self._on_closed(),
            lambda refusal, now: self._on_closed(),
            now,
            _CLOSE_TIMEOUT,
        )

    # Data

    def channel_number(self, peer: Address) -> int | None:
        """The channel to this peer, when the server has confirmed it."""
        channel = self._channels.get(peer)
        return channel.number if channel is not None and channel.is_bound else None

    def peer_of_channel(self, number: int) -> Address | None:
        return self._peers.get(number)

    def send(self, data: bytes | memoryview, peer: Address, now: float) -> bytes | None:
        """The message that carries a datagram to a peer; None when it waits for a permission, or is dropped."""
        if self._state is not _State.ALLOCATED:
            self.dropped += 1
            return None
        number = self.channel_number(peer)
        if number is not None:
            return CHANNEL_HEADER.pack(number, len(data)) + data
        host = peer[0]
        self.permit(host, now)
        permission = self._permissions.get(host)
        if permission is None or permission.is_refused:
            self.dropped += 1
            return None
        if permission.is_installed:
            return self._send_indication(bytes(data), peer)
        if len(permission.held) < _MAX_HELD:
            permission.held.append((bytes(data), peer))
        else:
            self.dropped += 1
        return None

    def receive(self, data: bytes | memoryview, now: float) -> tuple[bytes | memoryview, Address] | None:
        """Take one message from the server. What a peer sent is returned, with the peer's address."""
        if data[0] & 0xC0 == 0x40:
            return self._receive_channel_data(data)
        try:
            message = stun.parse_message(bytes(data))
        except ParseError:
            self.dropped += 1
            return None
        if message.message_class in (stun.Class.RESPONSE, stun.Class.ERROR):
            self._receive_response(message, now)
            return None
        payload = message.attributes.get("DATA")
        peer = message.attributes.get("XOR-PEER-ADDRESS")
        if message.message_method != stun.Method.DATA or not payload or peer is None:
            self.dropped += 1
            return None
        if peer[0] not in self._permissions:  # RFC 8656 section 11.4
            self.dropped += 1
            return None
        return payload, peer

    # The engine's other verbs

    def handle_timeout(self, now: float) -> None:
        for transaction_id, request in list(self._requests.items()):
            if transaction_id not in self._requests:
                continue  # another's failure ended the allocation
            if request.schedule.is_over(now):
                del self._requests[transaction_id]
                request.on_error(request.unauthentic or _Refusal(UNREACHABLE, "the server does not answer"), now)
            elif request.schedule.is_due(now):
                self._output.append(request.data)
        if self._state is not _State.ALLOCATED:
            return
        if now >= self._expires_at:
            self._lose(_Refusal(UNREACHABLE, "the allocation could not be refreshed in time"))
            return
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh(now)
        for host, permission in self._permissions.items():
            if permission.is_installed and not permission.is_pending and now >= permission.refresh_at:
                self._create_permission(host, now)
        for channel in self._channels.values():
            if not channel.is_pending and now >= channel.refresh_at:
                self._bind_channel(channel, now)

    def next_timeout(self) -> float | None:
        due = [request.schedule.due for request in self._requests.values()]
        if self._state is _State.ALLOCATED:
            due.append(self._expires_at)
            if self._refresh_at is not None:
                due.append(self._refresh_at)
            due += [p.refresh_at for p in self._permissions.values() if p.is_installed and not p.is_pending]
            due += [c.refresh_at for c in self._channels.values() if not c.is_pending]
        return min(due, default=None)

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Messages to the server."""
        output, self._output = self._output, []
        return output

    def events(self) -> list[TurnEvent]:
        events, self._events = self._events, []
        return events

    # Requests and their responses

    def _request(
        self,
        method: stun.Method,
        attributes: dict[str, Any],
        on_success: Callable[[stun.Message, float], None],
        on_error: Callable[[_Refusal, float], None],
        now: float,
        timeout: float = TRANSACTION_TIMEOUT,
    ) -> None:
        self._transmit(_Request(method, attributes, on_success, on_error, timeout), now)

    def _transmit(self, request: _Request, now: float) -> None:
        transaction_id = self._make_transaction_id()
        message = stun.Message(request.method, stun.Class.REQUEST, transaction_id, dict(request.attributes))
        request.data = self._credential.sign(message)
        request.key = self._credential.key
        request.realm = self._credential.realm
        request.attempts += 1
        timeout = request.timeout if request.attempts == 1 else request.schedule.deadline - now
        request.schedule = Retransmission(now, reliable=self._reliable, timeout=timeout)
        self._requests[transaction_id] = request
        self._output.append(request.data)

    def _forget(self, request: _Request) -> None:
        del self._requests[request.data[8:20]]

    def _receive_response(self, message: stun.Message, now: float) -> None:
        request = self._requests.get(message.transaction_id)
        if request is None or message.message_method != request.method:
            self.dropped += 1
            return
        refusal = None if message.message_class == stun.Class.RESPONSE else _refusal_of(message)
        is_challenge = refusal is not None and refusal.error_code in (UNAUTHENTICATED, STALE_NONCE)
        if request.key is not None and not is_challenge and not message.check_message_integrity(request.key):
            self._receive_unauthentic(request, refusal, now)
            return
        self._forget(request)
        if refusal is None:
            self._credential.take_nonce(message)
            request.on_success(message, now)
        elif (
            is_challenge
            and request.attempts < _MAX_ATTEMPTS
            and self._credential.take_challenge(message, request.realm)
        ):
            self._transmit(request, now)
        else:
            request.on_error(refusal, now)

    def _receive_unauthentic(self, request: _Request, refusal: _Refusal | None, now: float) -> None:
        """Over UDP it is as if it had never come (RFC 8489 section 9.2.5); when nothing better comes, it says why."""
        self.dropped += 1
        request.unauthentic = refusal or _Refusal(UNREACHABLE, "the server's response has no valid MESSAGE-INTEGRITY")
        if self._reliable:
            self._forget(request)
            request.on_error(request.unauthentic, now)

    # The allocation

    def _on_allocated(self, response: stun.Message, now: float) -> None:
        lifetime = response.attributes.get("LIFETIME", 0)
        relayed = response.attributes.get("XOR-RELAYED-ADDRESS")
        mapped = response.attributes.get("XOR-MAPPED-ADDRESS")
        if relayed is None or mapped is None or not lifetime:
            self._lose(_Refusal(UNREACHABLE, "the server's Allocate response lacks an address or a lifetime"))
            return
        if (":" in relayed[0]) != (self._family == 6):
            self._lose(_Refusal(UNREACHABLE, f"the server allocated {relayed[0]}, which is not IPv{self._family}"))
            return
        self._state = _State.ALLOCATED
        self._set_lifetime(lifetime, now)
        self._events.append(Allocated(relayed, mapped))

    def _on_not_allocated(self, refusal: _Refusal, now: float) -> None:
        self._lose(refusal)

    def _set_lifetime(self, lifetime: int, now: float) -> None:
        self._expires_at = now + lifetime
        self._refresh_at = now + max(lifetime - _REFRESH_MARGIN, lifetime / 2)

    def _refresh(self, now: float) -> None:
        self._refresh_at = None
        self._request(stun.Method.REFRESH, {"LIFETIME": _LIFETIME}, self._on_refreshed, self._on_not_refreshed, now)

    def _on_refreshed(self, response: stun.Message, now: float) -> None:
        lifetime = response.attributes.get("LIFETIME", 0)
        if not lifetime:
            self._lose(_Refusal(UNREACHABLE, "the server ended the allocation"))
            return
        self._set_lifetime(lifetime, now)

    def _on_not_refreshed(self, refusal: _Refusal, now: float) -> None:
        if refusal.error_code == UNREACHABLE:
            self._refresh_at = now  # another try, for as long as the allocation lives
        else:
            self._lose(refusal)

    def _lose(self, refusal: _Refusal) -> None:
        self._drop_everything()
        self._state = _State.CLOSED
        self._events.append(AllocationFailed(refusal.error_code, refusal.reason, refusal.alternate))

    def _on_closed(self) -> None:
        self._drop_everything()
        self._state = _State.CLOSED
        self._events.append(Closed())

    def _drop_everything(self) -> None:
        self._requests.clear()
        self._permissions.clear()
        self._channels.clear()
        self._peers.clear()

    # Permissions and channels

    def _create_permission(self, host: str, now: float) -> None:
        permission = self._permissions[host]
        permission.is_pending = True

        def on_success(response: stun.Message, now: float) -> None:
            permission.is_pending = False
            permission.is_installed = True
            permission.refresh_at = now + _PEER_REFRESH_INTERVAL
            held, permission.held = permission.held, []
            self._output += [self._send_indication(data, peer) for data, peer in held]

        def on_error(refusal: _Refusal, now: float) -> None:
            permission.is_pending = False
            if refusal.error_code == ALLOCATION_MISMATCH:
                self._lose(refusal)  # RFC 8656 section 5: the server knows of no allocation
            elif permission.is_installed and refusal.error_code == UNREACHABLE:
                permission.refresh_at = now + _RETRY_INTERVAL
            else:
                permission.is_installed = False
                permission.is_refused = True
                permission.held.clear()
                self._events.append(PermissionRefused(host, refusal.error_code, refusal.reason))

        attributes = {"XOR-PEER-ADDRESS": (host, 0)}
        self._request(stun.Method.CREATE_PERMISSION, attributes, on_success, on_error, now)

    def _bind_channel(self, channel: _Channel, now: float) -> None:
        channel.is_pending = True

        def on_success(response: stun.Message, now: float) -> None:
            channel.is_pending = False
            channel.is_bound = True
            channel.refresh_at = now + _PEER_REFRESH_INTERVAL

        def on_error(refusal: _Refusal, now: float) -> None:
            channel.is_pending = False
            channel.is_bound = False  # Send indications carry the data meanwhile
            if refusal.error_code == ALLOCATION_MISMATCH:
                self._lose(refusal)
                return
            # The same number for the same peer is always allowed (RFC 8656 section 12.1).
            channel.refresh_at = now + _RETRY_INTERVAL
            logger.debug("channel 0x%04x: %d %s", channel.number, refusal.error_code, refusal.reason)

        attributes = {"CHANNEL-NUMBER": channel.number, "XOR-PEER-ADDRESS": channel.peer}
        self._request(stun.Method.CHANNEL_BIND, attributes, on_success, on_error, now)

    def _send_indication(self, data: bytes, peer: Address) -> bytes:
        attributes = {"XOR-PEER-ADDRESS": peer, "DATA": data}
        return bytes(stun.Message(stun.Method.SEND, stun.Class.INDICATION, self._make_transaction_id(), attributes))

    def _receive_channel_data(self, data: bytes | memoryview) -> tuple[bytes | memoryview, Address] | None:
        if len(data) >= CHANNEL_HEADER.size:
            number, length = CHANNEL_HEADER.unpack_from(data)
            peer = self._peers.get(number)
            if peer is not None and 0 < length <= len(data) - CHANNEL_HEADER.size:
                return data[CHANNEL_HEADER.size : CHANNEL_HEADER.size + length], peer
        self.dropped += 1
        return None


def _refusal_of(message: stun.Message) -> _Refusal:
    code, reason = message.attributes.get("ERROR-CODE", (UNREACHABLE, "an error response without an error code"))
    return _Refusal(code, reason, message.attributes.get("ALTERNATE-SERVER") if code == TRY_ALTERNATE else None)
