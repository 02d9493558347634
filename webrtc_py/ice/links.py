"""The way to a STUN or TURN server: datagrams or a stream, to the layer above it is messages and trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ..errors import ParseError
from ..runtime.network import Address, DatagramSocket, Stream
from ..runtime.shared import Shared
from ..train import Train
from .turn_peers import CHANNEL_HEADER

OnTrain = Callable[[Train, float], None]
"""Takes what the server sent, and the loop's time."""
OnLost = Callable[[str], None]
"""Is told once that nothing comes any more, and why."""

# What may wait for a TCP connection that does not keep up: more would only be delay, and loss tells congestion.
_MAX_STREAM_QUEUE = 256 << 10


class Link(Protocol):
    """The way to a server."""

    reliable: bool
    """Whether nothing is lost on it, so that nothing is sent again."""

    @property
    def local_address(self) -> Address: ...

    def set_receiver(self, on_train: OnTrain, on_lost: OnLost) -> None:
        """Who takes what arrives: message by message, or train by train."""

    @property
    def has_room(self) -> bool:
        """Whether it takes data now; datagrams always go."""

    def send_message(self, message: bytes) -> None: ...

    def send_channel_data(self, number: int, train: Train) -> None: ...

    def close(self) -> None: ...


class DatagramLink:
    """UDP or DTLS: a train of a peer's datagrams is a train of ChannelData messages, four octets longer each."""

    reliable = False
    has_room = True

    def __init__(self, socket: DatagramSocket, server: Address) -> None:
        self._socket = socket
        self._server = server
        self._on_train: OnTrain | None = None
        self.foreign = 0
        """Datagrams that came from elsewhere than the server."""
        socket.set_receiver(self._receive)

    @property
    def local_address(self) -> Address:
        return self._socket.local_address

    def set_receiver(self, on_train: OnTrain, on_lost: OnLost) -> None:
        self._on_train = on_train

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
        self._on_train = None
        self._socket.close()

    def _receive(self, train: Train, source: Address, now: float) -> None:
        if source != self._server:
            self.foreign += len(train)
        elif self._on_train is not None:
            self._on_train(train, now)


class StreamLink:
    """TCP or TLS: messages back to back, ChannelData padded to four octets (RFC 8656 section 12.5)."""

    reliable = True

    def __init__(self, stream: Stream, shared: Shared) -> None:
        self._stream = stream
        self._shared = shared
        self._framer = MessageFramer()
        self._on_train: OnTrain | None = None
        self._on_lost: OnLost | None = None
        self.dropped = 0
        """Datagrams that were not sent because the connection did not keep up."""

    @property
    def local_address(self) -> Address:
        return self._stream.local_address

    def set_receiver(self, on_train: OnTrain, on_lost: OnLost) -> None:
        self._on_train, self._on_lost = on_train, on_lost
        self._stream.set_receiver(self._receive, self._lose)

    @property
    def has_room(self) -> bool:
        return self._stream.write_buffer_size <= _MAX_STREAM_QUEUE

    def send_message(self, message: bytes) -> None:
        if message[1] & 0x10 and not self.has_room:
            # An indication. Requests are few, and nobody would send one again: an allocation may depend on it.
            self.dropped += 1
            return
        self._stream.write(message + bytes(-len(message) % 4))

    def send_channel_data(self, number: int, train: Train) -> None:
        if not self.has_room:
            self.dropped += len(train)
            return
        parts: list[bytes | memoryview] = []
        for datagram in train:
            parts += (CHANNEL_HEADER.pack(number, len(datagram)), datagram, bytes(-len(datagram) % 4))
        self._stream.write(b"".join(parts))

    def close(self) -> None:
        self._on_train = self._on_lost = None
        self._stream.close()

    def _receive(self, data: bytes) -> None:
        now = self._shared.loop.time()
        try:
            for message in self._framer.feed(data):
                if self._on_train is None:
                    return
                self._on_train(Train.of(message), now)
        except ParseError as error:
            self._fail(str(error))

    def _lose(self, error: Exception | None) -> None:
        self._fail(f"the connection to the server is lost: {error or 'it closed'}")

    def _fail(self, reason: str) -> None:
        on_lost = self._on_lost
        self.close()
        if on_lost is not None:
            on_lost(reason)


class MessageFramer:
    """Cuts a stream from a server into messages. It keeps one unfinished message, 64 KiB at most."""

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
                raise ParseError(f"a message from the server starts with {first:#06x}")
            if len(view) - position < padded:
                break
            yield view[position : position + size]
            position += padded
        self._rest = bytes(view[position:])
