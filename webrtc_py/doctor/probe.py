"""Asks STUN servers: from a socket of its own, which takes answers from anywhere, or over a link."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ParseError
from ..ice import stun
from ..ice.links import Link
from ..ice.retransmission import Retransmission
from ..runtime.network import Address, DatagramSocket, Network
from ..runtime.shared import Shared
from ..train import Train

# The two flags of CHANGE-REQUEST (RFC 5780 section 7.2).
_CHANGE_IP = 0x04
_CHANGE_PORT = 0x02

_Arrival = tuple[stun.Message, Address | None, float]
"""A response, where it came from and when."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says. ``mapped`` is None when it refused; ``problem`` then says how."""

    source: Address | None
    """Where the answer came from; None over a link, which lets in nobody else's."""
    mapped: Address | None
    other: Address | None
    """OTHER-ADDRESS: where the server listens too, with another address and another port (RFC 5780 section 7.4)."""
    took: float
    """Seconds from the first request, so that loss on the way counts too."""
    problem: str = ""


class Prober:
    """A UDP socket that takes answers from wherever they come, as RFC 5780 needs it."""

    def __init__(self, socket: DatagramSocket, shared: Shared) -> None:
        self._socket = socket
        self._shared = shared
        self._responses: dict[bytes, asyncio.Future[_Arrival]] = {}
        self._requests: dict[bytes, asyncio.Future[None]] = {}
        socket.set_receiver(self._receive)

    @classmethod
    async def open(cls, network: Network, host: str, shared: Shared) -> Prober:
        """Bind to ``host``, a numeric address or the wildcard. OSError when the system refuses."""
        return cls(await network.open_udp(host), shared)

    @property
    def local_address(self) -> Address:
        return self._socket.local_address

    def close(self) -> None:
        self._socket.close()

    async def ask(
        self, server: Address, timeout: float, *, change_ip: bool = False, change_port: bool = False
    ) -> Answer | None:
        """A Binding request, answered from another address and port of the server's if so wished. None: no answer."""
        transaction_id, request = _binding_request(change_ip, change_port)
        started = self._shared.loop.time()
        waiter: asyncio.Future[_Arrival] = self._shared.loop.create_future()
        self._responses[transaction_id] = waiter
        try:
            if not await self._send_until(waiter, request, server, timeout):
                return None
        finally:
            del self._responses[transaction_id]
        return _answer(waiter.result(), started)

    async def reach(self, other: Prober, address: Address, timeout: float) -> bool:
        """Whether a request that we send to ``address`` arrives at ``other``."""
        transaction_id, request = _binding_request(False, False)
        waiter: asyncio.Future[None] = self._shared.loop.create_future()
        other._requests[transaction_id] = waiter
        try:
            return await self._send_until(waiter, request, address, timeout)
        finally:
            del other._requests[transaction_id]

    async def _send_until(self, waiter: asyncio.Future[Any], request: bytes, to: Address, timeout: float) -> bool:
        return await _send_until(waiter, lambda: self._socket.send(Train.of(request), to), timeout, self._shared)

    def _receive(self, train: Train, source: Address, now: float) -> None:
        for datagram in train:
            try:
                message = stun.parse_message(datagram)
            except ParseError:
                continue
            if message.message_class is stun.Class.REQUEST:
                request = self._requests.get(message.transaction_id)
                if request is not None and not request.done():
                    request.set_result(None)
            else:
                response = self._responses.get(message.transaction_id)
                if response is not None and not response.done():
                    response.set_result((message, source, now))


async def ask_over(link: Link, timeout: float, shared: Shared) -> Answer | None:
    """A Binding request over a way to a server. None: no answer. OSError when the server ends the connection."""
    transaction_id, request = _binding_request(False, False)
    waiter: asyncio.Future[_Arrival] = shared.loop.create_future()

    def on_train(train: Train, now: float) -> None:
        for octets in train:
            try:
                message = stun.parse_message(octets)
            except ParseError:
                continue
            if message.transaction_id == transaction_id and not waiter.done():
                waiter.set_result((message, None, now))

    def on_lost(reason: str) -> None:
        if not waiter.done():
            waiter.set_exception(ConnectionError(f"{reason}: perhaps what answers there does not speak STUN"))

    started = shared.loop.time()
    link.set_receiver(on_train, on_lost)
    if not await _send_until(waiter, lambda: link.send_message(request), timeout, shared, reliable=link.reliable):
        return None
    return _answer(waiter.result(), started)


async def _send_until(
    waiter: asyncio.Future[Any], send: Callable[[], None], timeout: float, shared: Shared, *, reliable: bool = False
) -> bool:
    """Send, and send again what may be lost, until ``waiter`` is done; whether it was in time."""
    loop = shared.loop
    schedule = Retransmission(loop.time(), reliable=reliable, timeout=timeout)
    send()
    while True:
        await asyncio.wait([waiter], timeout=max(0.0, schedule.due - loop.time()))
        now = loop.time()
        if waiter.done() or schedule.is_over(now):
            return waiter.done()
        if schedule.is_due(now):
            send()


def _binding_request(change_ip: bool, change_port: bool) -> tuple[bytes, bytes]:
    attributes: dict[str, Any] = {}
    if change_ip or change_port:
        attributes["CHANGE-REQUEST"] = _CHANGE_IP * change_ip | _CHANGE_PORT * change_port
    transaction_id = secrets.token_bytes(12)
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id, attributes)
    return transaction_id, stun.serialize(message)


def _answer(arrival: _Arrival, started: float) -> Answer:
    message, source, now = arrival
    attributes, took = message.attributes, now - started
    if message.message_class is not stun.Class.RESPONSE:
        code, reason = attributes.get("ERROR-CODE", (0, "an error without a code"))
        return Answer(source, None, None, took, f"refused with {code} {reason}")
    mapped = attributes.get("XOR-MAPPED-ADDRESS") or attributes.get("MAPPED-ADDRESS")
    problem = "" if mapped else "the answer has no address"
    return Answer(source, mapped, attributes.get("OTHER-ADDRESS"), took, problem)
