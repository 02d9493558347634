"""The peers of a TURN allocation: who may send through it, and how data goes to them (RFC 8656 sections 9 to 12).

Data goes in Send indications until a channel is bound, and waits, a few datagrams at most, until the server has
confirmed the permission: what reaches the server earlier it drops without a word.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from . import stun
from .server_codes import ALLOCATION_MISMATCH, PASSING, PEER_ADDRESS_FAMILY_MISMATCH
from .turn_transactions import Refusal, Transactions

logger = logging.getLogger(__name__)

Address = tuple[str, int]

CHANNEL_HEADER = struct.Struct("!HH")
"""Channel number and length of the data (RFC 8656 section 12.4)."""
_MAX_MESSAGE = 1500 - 40 - 8
# No packet becomes fragments on its way, to the server in a message or from it to the peer (RFC 8656 section 3.7): this
# is what an Ethernet frame has room for below IPv6 and UDP.
MAX_PAYLOAD = _MAX_MESSAGE - CHANNEL_HEADER.size
"""The longest datagram that is relayed."""

# Permissions end after 5 minutes and channels after 10 (RFC 8656 sections 9 and 12); a ChannelBind renews both.
_REFRESH_INTERVAL = 240.0
_RETRY_INTERVAL = 10.0
# Up to 0x4FFF (RFC 8656 section 12); a number is never given to a second peer.
_FIRST_CHANNEL = 0x4000
# An ICE session has at most 100 pairs unless it is told otherwise; more peers than that are not ours.
_MAX_PEERS = 128
# A peer on the move has more addresses in a long session than at any one time. ICE asks those that work every few
# seconds, so what was not used for this long may give its place to another.
_IDLE = 60.0
_MAX_HELD = 8


@dataclass(frozen=True, slots=True)
class PermissionRefused:
    """The server lets nothing through from and to this host."""

    host: str
    error_code: int
    reason: str


@dataclass(slots=True)
class _Permission:
    """What we may send to one host."""

    is_installed: bool = False
    is_refused: bool = False
    is_pending: bool = False
    refresh_at: float = 0.0
    used_at: float = 0.0
    held: list[tuple[bytes, Address]] = field(default_factory=list)


@dataclass(slots=True)
class _Channel:
    number: int
    peer: Address
    is_bound: bool = False
    is_pending: bool = False
    refresh_at: float = 0.0


class Peers:
    """Permissions and channels of one allocation, kept alive until :meth:`clear`.

    ``refused`` is told of hosts that cannot be reached, ``lose`` that the server knows of no allocation.
    """

    def __init__(
        self,
        transactions: Transactions,
        make_transaction_id: Callable[[], bytes],
        refused: Callable[[PermissionRefused], None],
        lose: Callable[[Refusal], None],
    ) -> None:
        self._transactions = transactions
        self._make_transaction_id = make_transaction_id
        self._refused = refused
        self._lose = lose
        self.families: frozenset[bool] = frozenset()
        """Those of the relayed addresses: whether IPv6."""
        self._permissions: dict[str, _Permission] = {}
        self._channels: dict[Address, _Channel] = {}
        self._by_number: dict[int, Address] = {}
        self.output: list[bytes] = []
        """Messages that waited for a permission."""
        self.dropped = 0

    def clear(self) -> None:
        """The allocation is gone."""
        self._permissions.clear()
        self._channels.clear()
        self._by_number.clear()

    def permit(self, host: str, now: float) -> None:
        """Let this host's datagrams through, and keep it so."""
        if host in self._permissions:
            return
        if len(self._permissions) >= _MAX_PEERS and not self._forget_idle(now):
            self.dropped += 1
            return
        permission = self._permissions[host] = _Permission(used_at=now)
        if self._can_reach(host):
            self._create_permission(host, now)
        else:
            permission.is_refused = True
            self._refused(PermissionRefused(host, PEER_ADDRESS_FAMILY_MISMATCH, "the relay has no address of its kind"))

    def is_permitted(self, host: str) -> bool:
        """Whether what comes from this host was asked for (RFC 8656 section 11.4)."""
        permission = self._permissions.get(host)
        return permission is not None and not permission.is_refused

    def bind(self, peer: Address, now: float) -> None:
        """Bind a channel to this peer, unless there are too many: then indications go on."""
        if peer in self._channels or len(self._channels) >= _MAX_PEERS or not self._can_reach(peer[0]):
            return
        channel = self._channels[peer] = _Channel(_FIRST_CHANNEL + len(self._channels), peer)
        self._by_number[channel.number] = peer
        self._bind_channel(channel, now)

    def channel_number(self, peer: Address) -> int | None:
        """The channel to this peer, when the server has confirmed it."""
        channel = self._channels.get(peer)
        return channel.number if channel is not None and channel.is_bound else None

    def of_channel(self, number: int) -> Address | None:
        return self._by_number.get(number)

    def send(self, data: bytes | memoryview, peer: Address, now: float) -> bytes | None:
        """The message that carries a datagram; None when it waits for a permission, or is dropped."""
        if len(data) > MAX_PAYLOAD:
            self.dropped += 1
            return None
        number = self.channel_number(peer)
        if number is not None:
            return CHANNEL_HEADER.pack(number, len(data)) + data
        host = peer[0]
        self.permit(host, now)
        permission = self._permissions.get(host)
        if permission is not None:
            permission.used_at = now
        if permission is not None and permission.is_installed:
            return self._send_indication(bytes(data), peer)
        if permission is None or permission.is_refused or len(permission.held) >= _MAX_HELD:
            self.dropped += 1
        else:
            permission.held.append((bytes(data), peer))
        return None

    def receive_channel_data(self, data: bytes | memoryview) -> tuple[bytes | memoryview, Address] | None:
        if len(data) >= CHANNEL_HEADER.size:
            number, length = CHANNEL_HEADER.unpack_from(data)
            peer = self._by_number.get(number)
            if peer is not None and 0 < length <= len(data) - CHANNEL_HEADER.size:
                return data[CHANNEL_HEADER.size : CHANNEL_HEADER.size + length], peer
        self.dropped += 1
        return None

    def handle_timeout(self, now: float) -> None:
        for host, permission in self._permissions.items():
            if permission.is_installed and not permission.is_pending and now >= permission.refresh_at:
                self._create_permission(host, now)
        for channel in self._channels.values():
            if not channel.is_pending and now >= channel.refresh_at:
                self._bind_channel(channel, now)

    def deadlines(self) -> Iterator[float]:
        """When something is to be renewed."""
        yield from (one.refresh_at for one in self._permissions.values() if one.is_installed and not one.is_pending)
        yield from (one.refresh_at for one in self._channels.values() if not one.is_pending)

    def _can_reach(self, host: str) -> bool:
        """Whether a peer is of a family that the relay has, and not on some link of our own."""
        return "%" not in host and (":" in host) in self.families

    def _forget_idle(self, now: float) -> bool:
        """Let go of the permission that was of no use for the longest; False when all are in use."""
        bound = {host for host, _ in self._channels}
        used_at, host = min(
            ((one.used_at, host) for host, one in self._permissions.items() if host not in bound), default=(now, "")
        )
        if now - used_at < _IDLE:
            return False
        del self._permissions[host]
        return True

    def _create_permission(self, host: str, now: float) -> None:
        permission = self._permissions[host]
        permission.is_pending = True

        def on_success(response: stun.Message, now: float) -> None:
            permission.is_pending = False
            permission.is_installed = True
            permission.refresh_at = now + _REFRESH_INTERVAL
            held, permission.held = permission.held, []
            messages = (self._send_indication(data, peer) for data, peer in held)
            self.output += [message for message in messages if message is not None]

        def on_error(refusal: Refusal, now: float) -> None:
            permission.is_pending = False
            if refusal.error_code == ALLOCATION_MISMATCH:
                self._lose(refusal)  # RFC 8656 section 5: the server knows of no allocation
            elif permission.is_installed and refusal.error_code in PASSING:
                permission.refresh_at = now + _RETRY_INTERVAL
            else:
                permission.is_installed = False
                permission.is_refused = True
                permission.held.clear()
                self._refused(PermissionRefused(host, refusal.error_code, refusal.reason))

        attributes = {"XOR-PEER-ADDRESS": (host, 0)}
        self._transactions.request(stun.Method.CREATE_PERMISSION, attributes, on_success, on_error, now)

    def _bind_channel(self, channel: _Channel, now: float) -> None:
        channel.is_pending = True

        def on_success(response: stun.Message, now: float) -> None:
            channel.is_pending = False
            channel.is_bound = True
            channel.refresh_at = now + _REFRESH_INTERVAL

        def on_error(refusal: Refusal, now: float) -> None:
            channel.is_pending = False
            channel.is_bound = False  # Send indications carry the data meanwhile
            if refusal.error_code == ALLOCATION_MISMATCH:
                self._lose(refusal)
                return
            # The same number for the same peer is always allowed (RFC 8656 section 12.1).
            channel.refresh_at = now + _RETRY_INTERVAL
            logger.debug("channel 0x%04x: %d %s", channel.number, refusal.error_code, refusal.reason)

        attributes = {"CHANNEL-NUMBER": channel.number, "XOR-PEER-ADDRESS": channel.peer}
        self._transactions.request(stun.Method.CHANNEL_BIND, attributes, on_success, on_error, now)

    def _send_indication(self, data: bytes, peer: Address) -> bytes | None:
        """None when it would need a larger packet than all links carry."""
        attributes = {"XOR-PEER-ADDRESS": peer, "DATA": data}
        indication = stun.Message(stun.Method.SEND, stun.Class.INDICATION, self._make_transaction_id(), attributes)
        message = bytes(indication)
        if len(message) > _MAX_MESSAGE:
            self.dropped += 1
            return None
        return message
