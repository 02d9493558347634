"""The TURN client (RFC 8656) as an engine: allocation, permissions, channels. :mod:`.relay` gives it a way to a server.

One allocation has a relayed address of one family, or one of each. :mod:`.turn_peers` has its permissions and channels,
:mod:`.turn_transactions` the requests for all that.

Left out: TCP allocations (RFC 6062), whose relayed addresses only peers without UDP could use, and those meet us by
UDP from their own relay; reserved and even ports, mobility and DONT-FRAGMENT, which ICE has no use for.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..errors import ParseError
from . import stun
from .credentials import LongTermCredential
from .retransmission import TRANSACTION_TIMEOUT
from .server_codes import ADDRESS_FAMILY_NOT_SUPPORTED, BAD_REQUEST, PASSING, UNREACHABLE
from .turn_peers import Peers, PermissionRefused
from .turn_transactions import Refusal, Request, Transactions

__all__ = [
    "Allocated",
    "AllocationFailed",
    "Closed",
    "Refreshed",
    "TurnClient",
    "TurnEvent",
    "is_unicast",
]

logger = logging.getLogger(__name__)

Address = tuple[str, int]

_UDP = 17 << 24  # REQUESTED-TRANSPORT: the protocol number, then three reserved octets
_IPV6 = 2  # REQUESTED-ADDRESS-FAMILY, ADDITIONAL-ADDRESS-FAMILY
_LIFETIME = 600
# A server may grant an allocation for longer, but how long it is to live is then no longer for us to know.
_MAX_LIFETIME = 3600
# The allocation is refreshed a minute before it ends (RFC 8656 section 8), or at half of a lifetime below two minutes.
_REFRESH_MARGIN = 60.0
_MIN_REFRESH_INTERVAL = 1.0
_RETRY_INTERVAL = 10.0
# A NAT that forgets our socket's mapping loses the allocation with it; many do after half a minute of silence.
_KEEPALIVE_INTERVAL = 20.0
_CLOSE_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Allocated:
    """The server has given an address of each family that ``relayed`` has; ``mapped`` is ours as the server sees it.

    ``mapped`` is None when what the server says cannot be anybody's. ``missing`` is why a second family was not given.
    """

    relayed: tuple[Address, ...]
    mapped: Address | None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class AllocationFailed:
    """There is no allocation, or none any more. ``alternate`` is where a 300 (Try Alternate) sends us."""

    error_code: int
    reason: str
    alternate: Address | None = None


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The server has confirmed that it still has the allocation."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The server has confirmed that the allocation is gone, or has not answered in time."""


TurnEvent = Allocated | AllocationFailed | Refreshed | PermissionRefused | Closed


class _State(Enum):
    NEW = "new"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    CLOSING = "closing"
    CLOSED = "closed"


class TurnClient:
    """One allocation. The five verbs of an engine, and :meth:`allocate`, :meth:`permit`, :meth:`bind`, :meth:`close`.

    ``families`` are the relayed addresses', 4 or 6 or both; a server may give only one of two. ``reliable`` says that
    TCP or TLS carries it: nothing is sent again. ``is_local`` says that the server may relay from the loopback address,
    being on this host itself. ``make_transaction_id`` gives twelve random octets at each call.
    """

    def __init__(
        self,
        *,
        username: str,
        password: str,
        families: tuple[int, ...],
        reliable: bool,
        make_transaction_id: Callable[[], bytes],
        is_local: bool = False,
    ) -> None:
        self._families = families
        self._reliable = reliable
        self._is_local = is_local
        self._make_transaction_id = make_transaction_id
        self._transactions = Transactions(
            LongTermCredential(username, password), reliable=reliable, make_transaction_id=make_transaction_id
        )
        self._state = _State.NEW
        self._allocate_request: Request | None = None
        self._peers = Peers(self._transactions, make_transaction_id, self._on_permission_refused, self._lose)
        self._relayed: tuple[Address, ...] = ()
        self._refresh_at: float | None = None
        self._expires_at = 0.0
        self._keepalive_at = 0.0
        self._output: list[bytes] = []
        self._events: list[TurnEvent] = []
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Datagrams that nobody could use: malformed, forged, for unknown channels, to hosts without permission."""
        return self._dropped + self._transactions.dropped + self._peers.dropped

    # Commands

    def allocate(self, now: float, timeout: float = TRANSACTION_TIMEOUT) -> None:
        """Ask for a relayed address; :class:`Allocated` or :class:`AllocationFailed` follows."""
        attributes: dict[str, Any] = {"LIFETIME": _LIFETIME, "REQUESTED-TRANSPORT": _UDP}
        # IPv4 is the default (RFC 8656 section 7.2), also for servers that know nothing else.
        if self._families == (6,):
            attributes["REQUESTED-ADDRESS-FAMILY"] = _IPV6
        elif 6 in self._families:
            attributes["ADDITIONAL-ADDRESS-FAMILY"] = attributes["ADDITIONAL-ADDRESS-FAMILY-DRAFT"] = _IPV6
        self._state = _State.ALLOCATING
        self._allocate_request = self._transactions.request(
            stun.Method.ALLOCATE, attributes, self._on_allocated, self._on_not_allocated, now, timeout
        )

    def refresh(self, now: float) -> None:
        """Ask at once whether the server still knows the allocation, as when our own address may have changed."""
        if self._state is _State.ALLOCATED and self._refresh_at is not None:
            self._refresh(now)

    def permit(self, host: str, now: float) -> None:
        """Let this host's datagrams through (RFC 8656 section 9), and keep it so."""
        if self._state is _State.ALLOCATED:
            self._peers.permit(host, now)

    def bind(self, peer: Address, now: float) -> None:
        """Bind a channel to this peer in the background, which saves 32 octets and more for each datagram."""
        if self._state is _State.ALLOCATED:
            self._peers.bind(peer, now)

    def close(self, now: float) -> None:
        """Delete the allocation. :class:`Closed` follows within a second."""
        if self._state in (_State.CLOSING, _State.CLOSED):
            return
        allocate = self._allocate_request if self._state is _State.ALLOCATING else None
        has_allocation = self._state is _State.ALLOCATED
        self._drop_everything()
        self._state = _State.CLOSING
        if has_allocation:
            self._delete_allocation(now)
        elif allocate is not None and allocate.is_signed:
            # It may yet succeed, and some servers answer a Refresh that follows it first: with 437, and are then left
            # with the allocation.
            self._transactions.finish(
                allocate,
                lambda response, now: self._delete_allocation(now),
                lambda refusal, now: self._on_closed(),
            )
        else:
            self._on_closed()

    def _delete_allocation(self, now: float) -> None:
        self._transactions.request(
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
        return self._peers.channel_number(peer)

    def peer_of_channel(self, number: int) -> Address | None:
        return self._peers.of_channel(number)

    def send(self, data: bytes | memoryview, peer: Address, now: float) -> bytes | None:
        """The message that carries a datagram to a peer; None when it waits for a permission, or is dropped."""
        if self._state is _State.ALLOCATED:
            return self._peers.send(data, peer, now)
        self._dropped += 1
        return None

    def receive(self, data: bytes | memoryview, now: float) -> tuple[bytes | memoryview, Address] | None:
        """Take one message from the server. What a peer sent is returned, with the peer's address."""
        if data[0] & 0xC0 == 0x40:
            return self._peers.receive_channel_data(data)
        try:
            message = stun.parse_message(bytes(data))
        except ParseError:
            self._dropped += 1
            return None
        if message.message_class in (stun.Class.RESPONSE, stun.Class.ERROR):
            self._transactions.receive(message, now)
            return None
        payload = message.attributes.get("DATA")
        peer = message.attributes.get("XOR-PEER-ADDRESS")
        if message.message_method != stun.Method.DATA or not payload or peer is None:
            self._dropped += 1
            return None
        if not self._peers.is_permitted(peer[0]):
            self._dropped += 1
            return None
        return payload, peer

    # The engine's other verbs

    def handle_timeout(self, now: float) -> None:
        self._transactions.handle_timeout(now)
        if self._state is not _State.ALLOCATED:
            return
        if now >= self._expires_at:
            self._lose(Refusal(UNREACHABLE, "the allocation could not be refreshed in time"))
            return
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh(now)
        if not self._reliable and now >= self._keepalive_at:
            self._keepalive_at = now + _KEEPALIVE_INTERVAL
            self._output.append(stun.binding_indication(self._make_transaction_id()))
        self._peers.handle_timeout(now)

    def next_timeout(self) -> float | None:
        due = self._transactions.next_timeout()
        if self._state is not _State.ALLOCATED:
            return due
        deadlines = [self._expires_at]
        if due is not None:
            deadlines.append(due)
        if self._refresh_at is not None:
            deadlines.append(self._refresh_at)
        if not self._reliable:
            deadlines.append(self._keepalive_at)
        deadlines += self._peers.deadlines()
        return min(deadlines)

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Messages to the server."""
        output = self._transactions.output + self._peers.output + self._output
        for taken in (self._transactions.output, self._peers.output, self._output):
            taken.clear()
        return output

    def events(self) -> list[TurnEvent]:
        events, self._events = self._events, []
        return events

    # The allocation

    def _on_allocated(self, response: stun.Message, now: float) -> None:
        attributes = response.attributes
        lifetime = attributes.get("LIFETIME", 0)
        relayed = [one for one in (attributes.get("XOR-RELAYED-ADDRESS"), response.second_relayed) if one is not None]
        if not relayed or "XOR-MAPPED-ADDRESS" not in attributes or not lifetime:
            self._lose(Refusal(UNREACHABLE, "the server's Allocate response lacks an address or a lifetime"))
            return
        usable = {_family(host): (host, port) for host, port in reversed(relayed) if self._is_usable(host, port)}
        self._relayed = tuple(usable[family] for family in self._families if family in usable)
        if not self._relayed:
            # RFC 8656 section 7.3: such an allocation must be deleted. One request is what a server like this is worth.
            self._delete_allocation(now)
            wanted = " or ".join(f"IPv{family}" for family in self._families)
            hosts = ", ".join(f"{host} port {port}" for host, port in relayed)
            self._lose(Refusal(UNREACHABLE, f"the server allocated {hosts}, which is no {wanted} to relay from"))
            return
        self._state = _State.ALLOCATED
        self._peers.families = frozenset(":" in one[0] for one in self._relayed)
        self._set_lifetime(lifetime, now)
        self._keepalive_at = now + _KEEPALIVE_INTERVAL
        host, port = attributes["XOR-MAPPED-ADDRESS"]
        mapped = (host, port) if port and is_unicast(host) else None
        error = attributes.get("ADDRESS-ERROR-CODE", attributes.get("ADDRESS-ERROR-CODE-DRAFT"))
        self._events.append(Allocated(self._relayed, mapped, self._missing(error)))

    def _missing(self, error: tuple[int, int, str] | None) -> str:
        """Why there is no address of the second family (RFC 8656 section 7.3); nothing when it was not asked for."""
        if len(self._relayed) == len(self._families):
            return ""
        return f"{error[1]} {error[2]}" if error is not None else "the server gave an address of one family only"

    def _is_usable(self, host: str, port: int) -> bool:
        """Whether peers could send to a relayed address, and are of a kind that we asked for."""
        is_loopback = ipaddress.ip_address(host).is_loopback
        return (
            bool(port) and _family(host) in self._families and is_unicast(host) and (self._is_local or not is_loopback)
        )

    def _on_not_allocated(self, refusal: Refusal, now: float) -> None:
        refused = self._allocate_request
        is_for_both = refusal.error_code in (BAD_REQUEST, ADDRESS_FAMILY_NOT_SUPPORTED) and len(self._families) > 1
        if is_for_both and refused is not None:
            # RFC 8656 section 7.2 wants a success without the second address; some refuse the whole.
            self._families = self._families[:1]
            self.allocate(now, refused.schedule.deadline - now)
        else:
            self._lose(refusal)

    def _set_lifetime(self, lifetime: int, now: float) -> None:
        lifetime = min(lifetime, _MAX_LIFETIME)
        self._expires_at = now + lifetime
        self._refresh_at = now + max(lifetime - _REFRESH_MARGIN, lifetime / 2, _MIN_REFRESH_INTERVAL)

    def _refresh(self, now: float) -> None:
        self._refresh_at = None
        attributes = {"LIFETIME": _LIFETIME}  # without a family it is for both addresses (RFC 8656 section 8.1)
        self._transactions.request(stun.Method.REFRESH, attributes, self._on_refreshed, self._on_not_refreshed, now)

    def _on_refreshed(self, response: stun.Message, now: float) -> None:
        lifetime = response.attributes.get("LIFETIME", 0)
        if not lifetime:
            self._lose(Refusal(UNREACHABLE, "the server ended the allocation"))
            return
        self._set_lifetime(lifetime, now)
        self._events.append(Refreshed())

    def _on_not_refreshed(self, refusal: Refusal, now: float) -> None:
        if refusal.error_code in PASSING:
            self._refresh_at = now + _RETRY_INTERVAL  # another try, for as long as the allocation lives
            logger.debug("TURN: the allocation was not refreshed: %s; it is tried again", refusal.reason)
        else:
            self._lose(refusal)

    def _lose(self, refusal: Refusal) -> None:
        self._drop_everything()
        self._state = _State.CLOSED
        self._events.append(AllocationFailed(refusal.error_code, refusal.reason, refusal.alternate))

    def _on_permission_refused(self, refused: PermissionRefused) -> None:
        self._events.append(refused)

    def _on_closed(self) -> None:
        self._drop_everything()
        self._state = _State.CLOSED
        self._events.append(Closed())

    def _drop_everything(self) -> None:
        self._transactions.give_up_all()
        self._peers.clear()


def _family(host: str) -> int:
    return 6 if ":" in host else 4


def is_unicast(host: str) -> bool:
    """Whether an address can be a single host's."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    return not (address.is_unspecified or address.is_multicast or host == "255.255.255.255")
