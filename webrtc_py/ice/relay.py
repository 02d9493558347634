"""A TURN allocation with its socket: behaves like a datagram socket on the relayed address."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Protocol

from ..errors import ParseError
from ..runtime.driver import Driver
from ..runtime.network import Address, DatagramSocket, Receiver, Stream
from ..runtime.shared import Shared
from ..train import Train
from .turn import (
    CHANNEL_HEADER,
    UNREACHABLE,
    Allocated,
    AllocationFailed,
    Closed,
    PermissionRefused,
    TurnClient,
    TurnEvent,
)

logger = logging.getLogger(__name__)

# What may wait for a TCP connection that does not keep up: more would only be delay, and loss tells congestion.
_MAX_STREAM_QUEUE = 256 << 10
# How long close() waits for the server's word that the allocation is gone.
_CLOSE_TIMEOUT = 1.5


class AllocationError(Exception):
    """The server gave no allocation. ``alternate`` is where it sends us instead, with a 300."""

    def __init__(self, failed: AllocationFailed) -> None:
        super().__init__(failed.reason)
        self.error_code = failed.error_code
        self.reason = failed.reason
        self.alternate = failed.alternate


class _Link(Protocol):
    """The way to the server. What it receives it hands on message by message, or train by train."""

    def send_message(self, message: bytes) -> None: ...

    def send_channel_data(self, number: int, train: Train) -> None: ...

    def close(self) -> None: ...


class DatagramLink:
    """UDP to the server: a train of a peer's datagrams is a train of ChannelData messages, four octets longer each."""

    def __init__(self, socket: DatagramSocket, server: Address, on_train: Callable[[Train, float], None]) -> None:
        self._socket = socket
        self._server = server
        self._on_train = on_train
        self.foreign = 0
        """Datagrams that came from elsewhere than the server."""
        socket.set_receiver(self._receive)

    def send_message(self, message: bytes) -> None:
        self._socket.send(Train.of(message), self._server)

    def send_channel_data(self, number: int, train: Train) -> None:
        data, size = train.data, train.segment_size
        if len(data) <= size:
            self._socket.send(Train.of(CHANNEL_HEADER.pack(number, len(data)) + data), self._server)
            return
        header = CHANNEL_HEADER.pack(number, size)
        parts: list[bytes | memoryview] = []
        for datagram in train:
            parts += (header, datagram)
        parts[-2] = CHANNEL_HEADER.pack(number, len(parts[-1]))
        self._socket.send(Train(memoryview(b"".join(parts)), size + CHANNEL_HEADER.size), self._server)

    def close(self) -> None:
        self._socket.close()

    def _receive(self, train: Train, source: Address, now: float) -> None:
        if source == self._server:
            self._on_train(train, now)
        else:
            self.foreign += len(train)


class StreamLink:
    """TCP or TLS to the server: messages back to back, ChannelData padded to four octets (RFC 8656 section 12.5)."""

    def __init__(
        self,
        stream: Stream,
        on_train: Callable[[Train, float], None],
        on_lost: Callable[[str], None],
        shared: Shared,
    ) -> None:
        self._stream = stream
        self._on_train = on_train
        self._on_lost = on_lost
        self._shared = shared
        self._framer = MessageFramer()
        self.dropped = 0
        """Datagrams that were not sent because the connection did not keep up."""
        stream.set_receiver(self._receive, self._lost)

    def send_message(self, message: bytes) -> None:
        if self._stream.write_buffer_size > _MAX_STREAM_QUEUE:
            self.dropped += 1
            return
        self._stream.write(message + bytes(-len(message) % 4))

    def send_channel_data(self, number: int, train: Train) -> None:
        if self._stream.write_buffer_size > _MAX_STREAM_QUEUE:
            self.dropped += len(train)
            return
        parts: list[bytes | memoryview] = []
        for datagram in train:
            parts += (CHANNEL_HEADER.pack(number, len(datagram)), datagram, bytes(-len(datagram) % 4))
        self._stream.write(b"".join(parts))

    def close(self) -> None:
        self._stream.close()

    def _receive(self, data: bytes) -> None:
        now = self._shared.loop.time()
        try:
            for message in self._framer.feed(data):
                self._on_train(Train.of(message), now)
        except ParseError as error:
            self._stream.close()
            self._on_lost(str(error))

    def _lost(self, error: Exception | None) -> None:
        self._on_lost(f"the connection to the server is lost: {error or 'it closed'}")


class MessageFramer:
    """Cuts a stream from a TURN server into messages. It keeps one unfinished message, 64 KiB at most."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """The messages that are complete now. ParseError when the stream is no stream of messages."""
        view = memoryview(self._rest + data if self._rest else data)
        position = 0
        while len(view) - position >= 4:
            first, length = CHANNEL_HEADER.unpack_from(view, position)
            if first < 0x4000:  # STUN: two zero bits, and a length without the header's 20 octets
                size = padded = 20 + length
            elif first < 0x8000:
                size = 4 + length
                padded = size + -size % 4
            else:
                raise ParseError(f"a message from the TURN server starts with {first:#06x}")
            if len(view) - position < padded:
                break
            yield view[position : position + size]
            position += padded
        self._rest = bytes(view[position:])


class Relay:
    """An allocation on a TURN server. It sends from, and receives on, the relayed address."""

    def __init__(
        self,
        client: TurnClient,
        shared: Shared,
        on_lost: Callable[[Relay, str], None],
        on_refused: Callable[[Relay, str, str], None],
    ) -> None:
        """``on_lost`` is told why the allocation ended, ``on_refused`` which host cannot be reached, and why."""
        self._client = client
        self._shared = shared
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._link: _Link | None = None
        self._receiver: Receiver | None = None
        self._driver = Driver[bytes, TurnEvent](client, self._send_message, self._on_event, shared)
        self._allocation: asyncio.Future[Allocated] = shared.loop.create_future()
        self._closed: asyncio.Future[None] = shared.loop.create_future()

    @classmethod
    def make(
        cls,
        *,
        username: str,
        password: str,
        family: int,
        reliable: bool,
        shared: Shared,
        on_lost: Callable[[Relay, str], None],
        on_refused: Callable[[Relay, str, str], None],
    ) -> Relay:
        client = TurnClient(
            username=username,
            password=password,
            family=family,
            reliable=reliable,
            make_transaction_id=lambda: secrets.token_bytes(12),
        )
        return cls(client, shared, on_lost, on_refused)

    def attach_socket(self, socket: DatagramSocket, server: Address) -> None:
        self._link = DatagramLink(socket, server, self._receive)

    def attach_stream(self, stream: Stream) -> None:
        self._link = StreamLink(stream, self._receive, self._lose, self._shared)

    async def allocate(self, timeout: float) -> Allocated:
        """Ask the server for an address. Raises :class:`AllocationError`."""
        now = self._shared.loop.time()
        self._client.allocate(now, timeout)
        self._driver.flush(now)
        return await self._allocation

    @property
    def local_address(self) -> Address:
        """The relayed address."""
        return self._allocation.result().relayed

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def permit(self, host: str, now: float) -> None:
        """Ask the server to let this host's datagrams through."""
        self._client.permit(host, now)
        self._driver.flush(now)

    def bind_channel(self, peer: Address, now: float) -> None:
        """The peer has been selected: give it a channel."""
        self._client.bind(peer, now)
        self._driver.flush(now)

    def send(self, train: Train, address: Address) -> None:
        link = self._link
        if link is None:
            return
        number = self._client.channel_number(address)
        if number is not None:
            link.send_channel_data(number, train)
            return
        now = self._shared.loop.time()
        for datagram in train:
            message = self._client.send(datagram, address, now)
            if message is not None:
                link.send_message(message)
        self._driver.flush(now)

    async def close(self) -> None:
        """Delete the allocation and close the socket; a server that does not answer is waited for a second."""
        self._receiver = None
        if self._link is None:
            return
        try:
            now = self._shared.loop.time()
            self._client.close(now)
            self._driver.flush(now)
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._closed
        except TimeoutError:
            logger.debug("the TURN server did not confirm the end of the allocation")
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the socket at once; the server frees the allocation when its lifetime is over."""
        self._driver.close()
        self._receiver = None
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._allocation.cancel():
            return
        if not self._allocation.cancelled():
            self._allocation.exception()  # taken, in case nobody waited for it

    def _send_message(self, message: bytes) -> None:
        if self._link is not None:
            self._link.send_message(message)

    def _receive(self, train: Train, now: float) -> None:
        payloads = self._strip_channel_headers(train) if len(train.data) > train.segment_size else None
        if payloads is not None:
            data, peer = payloads
            if self._receiver is not None:
                self._receiver(data, peer, now)
            return
        for message in train:
            received = self._client.receive(message, now)
            if received is not None and self._receiver is not None:
                payload, peer = received
                self._receiver(Train.of(payload), peer, now)
        self._driver.flush(now)

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
            if not self._allocation.done():
                self._allocation.set_result(event)
        elif isinstance(event, AllocationFailed):
            self._fail(event)
        elif isinstance(event, PermissionRefused):
            logger.debug("TURN: no permission for %s: %d %s", event.host, event.error_code, event.reason)
            self._on_refused(self, event.host, f"{event.error_code} {event.reason}")
        elif isinstance(event, Closed) and not self._closed.done():
            self._closed.set_result(None)

    def _lose(self, reason: str) -> None:
        self._fail(AllocationFailed(UNREACHABLE, reason))

    def _fail(self, failed: AllocationFailed) -> None:
        if self._closed.done():
            return
        self._closed.set_result(None)
        if not self._allocation.done():
            self._allocation.set_exception(AllocationError(failed))
        elif self._link is not None and not self._allocation.cancelled() and self._allocation.exception() is None:
            self._driver.close()
            self._on_lost(self, failed.reason)
