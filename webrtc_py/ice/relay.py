"""A TURN allocation with its way to the server: behaves like a datagram socket on each relayed address."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

from ..runtime.driver import Driver
from ..runtime.network import Address, Receiver
from ..runtime.shared import Shared
from ..train import Train
from .links import Link
from .server_codes import UNREACHABLE
from .turn import Allocated, AllocationFailed, Closed, Refreshed, TurnClient, TurnEvent
from .turn_peers import CHANNEL_HEADER, MAX_PAYLOAD, PermissionRefused

logger = logging.getLogger(__name__)

# How long close() waits for the server's word that the allocation is gone.
_CLOSE_TIMEOUT = 1.5


class AllocationError(Exception):
    """The server gave no allocation. ``alternate`` is where it sends us instead, with a 300."""

    def __init__(self, failed: AllocationFailed) -> None:
        super().__init__(failed.reason)
        self.error_code = failed.error_code
        self.reason = failed.reason
        self.alternate = failed.alternate


class Relay:
    """One relayed address of an allocation: it sends from there, and receives what comes there."""

    def __init__(self, allocation: Allocation, address: Address) -> None:
        self._allocation = allocation
        self._address = address
        self.receiver: Receiver | None = None

    @property
    def local_address(self) -> Address:
        """The relayed address."""
        return self._address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self.receiver = receiver

    def permit(self, host: str, now: float) -> None:
        """Ask the server to let this host's datagrams through."""
        self._allocation.permit(host, now)

    def bind_channel(self, peer: Address, now: float) -> None:
        """The peer has been selected: give it a channel."""
        self._allocation.bind_channel(peer, now)

    def has_room(self, address: Address) -> bool:
        """Whether the way to the server takes data now."""
        return self._allocation.has_room

    def send(self, train: Train, address: Address) -> None:
        self._allocation.send(train, address)

    async def close(self) -> None:
        """Give the address back; the last of an allocation's deletes it, for which the server gets a second."""
        self.receiver = None
        await self._allocation.give_back(self)

    def abort(self) -> None:
        """Give the address back without waiting; the server frees the allocation when its lifetime is over."""
        self.receiver = None
        self._allocation.drop(self)


class Allocation:
    """An allocation on the server at the other end of ``link``, with a :class:`Relay` for each relayed address."""

    def __init__(
        self,
        link: Link,
        *,
        username: str,
        password: str,
        families: tuple[int, ...],
        shared: Shared,
        on_lost: Callable[[Relay, str], None],
        on_refused: Callable[[Relay, str, str], None],
        is_local: bool = False,
    ) -> None:
        """``families`` and ``is_local`` are :class:`TurnClient`'s. ``on_lost`` is told for each relay why the
        allocation ended, ``on_refused`` which host cannot be reached from a relay, and why.
        """
        self._client = TurnClient(
            username=username,
            password=password,
            families=families,
            reliable=link.reliable,
            make_transaction_id=lambda: secrets.token_bytes(12),
            is_local=is_local,
        )
        self._shared = shared
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._link: Link | None = link
        self._driver: Driver[bytes, TurnEvent] = Driver(self._client, self._send_message, self._on_event, shared)
        self._allocated: asyncio.Future[Allocated] = shared.loop.create_future()
        self._closed: asyncio.Future[None] = shared.loop.create_future()
        self._confirmed: asyncio.Future[None] | None = None
        self._relays: dict[bool, Relay] = {}
        self.relays: tuple[Relay, ...] = ()
        """One for each family that the server gave an address of."""
        self.dropped = 0
        """Datagrams that were too long to be relayed."""
        link.set_receiver(self._receive, self.lose)

    @property
    def is_alive(self) -> bool:
        """Whether the server has given it, and nothing has ended it yet."""
        return bool(self._relays) and not self._closed.done()

    @property
    def local_host(self) -> str | None:
        """Our own address on the way to the server, where the system does not choose it anew for each packet."""
        host = "" if self._link is None else self._link.local_address[0]
        return None if host in ("", "0.0.0.0", "::") else host

    async def allocate(self, timeout: float) -> Allocated:
        """Ask the server for addresses. Raises :class:`AllocationError`."""
        now = self._shared.loop.time()
        self._client.allocate(now, timeout)
        self._driver.flush(now)
        return await self._allocated

    async def confirm(self, timeout: float) -> bool:
        """Ask the server whether it still knows us, as after a change of our own addresses; whether it may be so."""
        now = self._shared.loop.time()
        confirmed = self._confirmed = self._confirmed or self._shared.loop.create_future()
        self._client.refresh(now)
        self._driver.flush(now)
        await asyncio.wait([confirmed, self._closed], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return self.is_alive

    async def close(self) -> None:
        """Delete the allocation and close the way to the server, which is waited for a second."""
        if self._link is None:
            return
        try:
            now = self._shared.loop.time()
            self._client.close(now)
            self._driver.flush(now)
            await asyncio.wait([self._closed], timeout=_CLOSE_TIMEOUT)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the way to the server at once."""
        self._driver.close()
        self._relays.clear()
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._allocated.cancel():
            return
        if not self._allocated.cancelled():
            self._allocated.exception()  # taken, in case nobody waited for it

    # For its relays

    async def give_back(self, relay: Relay) -> None:
        if self._forget(relay):
            await self.close()

    def drop(self, relay: Relay) -> None:
        if self._forget(relay):
            self.abort()

    def _forget(self, relay: Relay) -> bool:
        """Whether it was the last."""
        family = ":" in relay.local_address[0]
        if self._relays.get(family) is relay:
            del self._relays[family]
        return not self._relays

    def permit(self, host: str, now: float) -> None:
        self._client.permit(host, now)
        self._driver.flush(now)

    def bind_channel(self, peer: Address, now: float) -> None:
        self._client.bind(peer, now)
        self._driver.flush(now)

    @property
    def has_room(self) -> bool:
        return self._link is not None and self._link.has_room

    def send(self, train: Train, address: Address) -> None:
        link = self._link
        if link is None:
            return
        number = self._client.channel_number(address)
        if number is not None:
            if train.segment_size <= MAX_PAYLOAD or len(train.data) <= MAX_PAYLOAD:
                link.send_channel_data(number, train)
            else:
                self.dropped += len(train)
            return
        now = self._shared.loop.time()
        for datagram in train:
            message = self._client.send(datagram, address, now)
            if message is not None:
                link.send_message(message)
        self._driver.flush(now)

    def _send_message(self, message: bytes) -> None:
        if self._link is not None:
            self._link.send_message(message)

    def _receive(self, train: Train, now: float) -> None:
        payloads = self._strip_channel_headers(train) if len(train.data) > train.segment_size else None
        if payloads is not None:
            self._deliver(*payloads, now)
            return
        is_all_data = True
        for message in train:
            received = self._client.receive(message, now)
            if received is None:
                is_all_data = False
            else:
                payload, peer = received
                self._deliver(Train.of(payload), peer, now)
        if not is_all_data:  # a peer's data changes nothing in the engine
            self._driver.flush(now)

    def _deliver(self, train: Train, peer: Address, now: float) -> None:
        relay = self._relays.get(":" in peer[0])
        if relay is not None and relay.receiver is not None:
            relay.receiver(train, peer, now)

    def _strip_channel_headers(self, train: Train) -> tuple[Train, Address] | None:
        """A train of one channel's data as the peer's train; None when it is something else."""
        data, size = train.data, train.segment_size
        length = size - CHANNEL_HEADER.size
        last_length = (len(data) - 1) % size + 1 - CHANNEL_HEADER.size
        if length <= 0 or last_length <= 0:
            return None
        number, _ = CHANNEL_HEADER.unpack_from(data)
        peer = self._client.peer_of_channel(number)
        if peer is None:
            return None
        header, last_header = CHANNEL_HEADER.pack(number, length), CHANNEL_HEADER.pack(number, last_length)
        last = len(data) - last_length
        parts = []
        for start in range(CHANNEL_HEADER.size, len(data), size):
            expected = header if start != last else last_header
            if data[start - CHANNEL_HEADER.size : start] != expected:
                return None
            parts.append(data[start : start + length])
        return Train(memoryview(b"".join(parts)), length), peer

    def _on_event(self, event: TurnEvent) -> None:
        if isinstance(event, Allocated):
            if not self._allocated.done():
                self.relays = tuple(Relay(self, address) for address in event.relayed)
                self._relays = {":" in relay.local_address[0]: relay for relay in self.relays}
                self._allocated.set_result(event)
        elif isinstance(event, AllocationFailed):
            self._fail(event)
        elif isinstance(event, Refreshed):
            if self._confirmed is not None:
                self._confirmed.set_result(None)
                self._confirmed = None
        elif isinstance(event, PermissionRefused):
            logger.debug("TURN: no permission for %s: %d %s", event.host, event.error_code, event.reason)
            relay = self._relays.get(":" in event.host)
            if relay is not None:
                self._on_refused(relay, event.host, f"{event.error_code} {event.reason}")
        elif isinstance(event, Closed) and not self._closed.done():
            self._closed.set_result(None)

    def lose(self, reason: str) -> None:
        """The way to the server is known to be gone."""
        self._fail(AllocationFailed(UNREACHABLE, reason))

    def _fail(self, failed: AllocationFailed) -> None:
        if self._closed.done():
            return
        self._closed.set_result(None)
        if not self._allocated.done():
            self._allocated.set_exception(AllocationError(failed))
        elif self._link is not None and not self._allocated.cancelled() and self._allocated.exception() is None:
            self._driver.close()
            for relay in list(self._relays.values()):
                self._on_lost(relay, failed.reason)
