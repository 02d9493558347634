"""Asks STUN servers from a socket of its own, or over a stream."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

from ..errors import ParseError
from ..ice import stun
from ..ice.links import MessageFramer
from ..ice.retransmission import Retransmission
from ..runtime.network import Address, DatagramSocket, Network, Stream
from ..runtime.shared import Shared
from ..train import Train

# The two flags of CHANGE-REQUEST (RFC 5780 section 7.2).
_CHANGE_IP = 0x04
_CHANGE_PORT = 0x02


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says. ``mapped`` is None when it refused; ``problem`` then says how."""

    source: Address
    """Where the answer came from."""
    mapped: Address | None
    other: Address | None
    """OTHER-ADDRESS: where the server listens too, with another address and another port (RFC 5780 section 7.4)."""
    took: float
    """Seconds from the first request, so that loss on the way counts too."""
    problem: str = ""


class Prober:
    """A UDP socket that takes answers from wherever they come, as RFC 5780 needs it. It sends again what is lost."""

    def __init__(self, socket: DatagramSocket, shared: Shared) -> None:
        self._socket = socket
        self._shared = shared
        self._responses: dict[bytes, asyncio.Future[tuple[stun.Message, Address, float]]] = {}
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
        waiter: asyncio.Future[tuple[stun.Message, Address, float]] = self._shared.loop.create_future()
        self._responses[transaction_id] = waiter
        try:
            if not await self._send_until(waiter, request, server, timeout):
                return None
        finally:
            del self._responses[transaction_id]
        message, source, now = waiter.result()
        return _answer(message, source, now - started)

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
        """Send, and send again, until ``waiter`` is done; whether it was in time."""
        loop = self._shared.loop
        schedule = Retransmission(loop.time(), timeout=timeout)
        self._socket.send(Train.of(request), to)
        while True:
            await asyncio.wait([waiter], timeout=max(0.0, schedule.due - loop.time()))
            now = loop.time()
            if waiter.done() or schedule.is_over(now):
                return waiter.done()
            if schedule.is_due(now):
                self._socket.send(Train.of(request), to)

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


class StreamProber:
    """A stream to a server: TCP, or TLS."""

    def __init__(self, stream: Stream, shared: Shared) -> None:
        self._stream = stream
        self._shared = shared
        self._framer = MessageFramer()
        self._begun = False
        self._transaction_id = b""
        self._response: asyncio.Future[tuple[stun.Message, float]] = shared.loop.create_future()
        stream.set_receiver(self._receive, self._lose)

    async def ask(self, timeout: float) -> Answer | None:
        """A Binding request, once. None: no answer. OSError when the server closes, or does not speak STUN."""
        self._transaction_id, request = _binding_request(False, False)
        started = self._shared.loop.time()
        self._stream.write(request)
        await asyncio.wait([self._response], timeout=timeout)
        if not self._response.done():
            return None
        message, now = self._response.result()
        return _answer(message, self._stream.remote_address, now - started)

    def _receive(self, data: bytes) -> None:
        try:
            if not self._begun and data[0] > 3:
                raise ParseError("neither STUN nor TURN begins so before there are channels")
            self._begun = True
            for octets in self._framer.feed(data):
                message = stun.parse_message(octets)
                if message.transaction_id == self._transaction_id and not self._response.done():
                    self._response.set_result((message, self._shared.loop.time()))
        except ParseError:
            self._lose(ConnectionError("what answers there does not speak STUN"))

    def _lose(self, error: Exception | None) -> None:
        if not self._response.done():
            self._response.set_exception(error or ConnectionError("the server closed the connection"))


def _binding_request(change_ip: bool, change_port: bool) -> tuple[bytes, bytes]:
    attributes: dict[str, Any] = {}
    if change_ip or change_port:
        attributes["CHANGE-REQUEST"] = _CHANGE_IP * change_ip | _CHANGE_PORT * change_port
    transaction_id = secrets.token_bytes(12)
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id, attributes)
    return transaction_id, stun.serialize(message)


def _answer(message: stun.Message, source: Address, took: float) -> Answer:
    attributes = message.attributes
    if message.message_class is not stun.Class.RESPONSE:
        code, reason = attributes.get("ERROR-CODE", (0, "an error without a code"))
        return Answer(source, None, None, took, f"refused with {code} {reason}")
    mapped = attributes.get("XOR-MAPPED-ADDRESS") or attributes.get("MAPPED-ADDRESS")
    problem = "" if mapped else "the answer has no address"
    return Answer(source, mapped, attributes.get("OTHER-ADDRESS"), took, problem)
