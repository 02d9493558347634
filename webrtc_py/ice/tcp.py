"""ICE over TCP (RFC 6544): connections that carry datagrams, and the bases that open, take and use them.

To the core a TCP base is like any other: it sends datagrams to addresses. Each address is a connection here. A base
opens one when the first check is to go to an address (active), or has got one that came in (passive), or both
(simultaneous open). So a connection is a path, and its end is told as the path's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import ParseError
from ..runtime.network import Address, Receiver, Stream
from ..runtime.reasons import why
from ..runtime.shared import Shared
from ..train import Train
from .candidate import without_zone
from .framing import MAX_FRAME, FrameReader, frame
from .stun import is_stun

logger = logging.getLogger(__name__)

# RFC 6544 section 4.5: what an active candidate says its port is, for it has none before it connects.
DISCARD_PORT = 9

# A check list has a hundred pairs at most, and each connection costs a descriptor on both sides.
MAX_CONNECTIONS = 32
# A SYN is sent again after 1, 3 and 7 seconds: who does not answer the third is not there.
_CONNECT_TIMEOUT = 10.0
# How soon a simultaneous open is tried again that came before the peer's.
_REFUSED_INTERVAL = 0.25
# Checks are not repeated over TCP, so a few is all that can wait for a connection.
_MAX_WAITING = 8
# A check with all that anybody puts into one has a third of it.
_MAX_FIRST_FRAME = 1500
# What may wait for a connection that does not keep up: more would only be delay, and loss tells congestion.
_MAX_QUEUE = 256 << 10
# Where ICE goes on, something is heard every few seconds, and consent is over after 30 (RFC 7675). What is silent for
# longer, or has not shown in this time that the peer is at its other end, is given up: so the connections that ICE did
# not select go (RFC 6544 section 8), and those of strangers.
_PATIENCE = 60.0
_SWEEP_INTERVAL = 15.0
# Checks and a flight or two of DTLS come before ICE has proved who is at the other end. Small frames are cheap to send,
# and not to take apart, so a stranger may send no more.
_MAX_UNPROVED = 64 << 10

# Fetch's "bad ports", which browsers do not dial either: a peer must not have us talk to mail servers and the like,
# who may take for commands what it has chosen.
# fmt: off
BAD_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))
# fmt: on

Dial = Callable[[Address], Awaitable[Stream]]
"""Opens a connection to an address; OSError when it cannot be made."""


class TCPConnection:
    """Datagrams over a stream. ``last_heard`` is when something last came in, or the connection was made.

    The first thing that comes must be STUN. ``is_proved`` is whether ICE knows that the peer is at the other end; until
    then it takes little.
    """

    def __init__(self, stream: Stream, shared: Shared) -> None:
        self._stream = stream
        self._shared = shared
        self._reader = FrameReader(_MAX_FIRST_FRAME)
        self._has_spoken = False
        self._is_closed = False
        self.remote_address = without_zone(stream.remote_address[0]), stream.remote_address[1]
        self.made = self.last_heard = shared.loop.time()
        self.is_proved = False
        self._unproved = 0
        self.dropped = 0
        """Datagrams that were not sent because the connection did not keep up."""

    def start(
        self, on_train: Callable[[TCPConnection, Train, float], None], on_lost: Callable[[TCPConnection, str], None]
    ) -> None:
        """Who takes what arrives, and is told of the end unless it is our own. A later call replaces an earlier one."""
        self._on_train = on_train
        self._on_lost = on_lost
        self._stream.set_receiver(self._receive, self._stream_lost)

    @property
    def has_room(self) -> bool:
        """Whether it keeps up with what is sent."""
        return self._stream.write_buffer_size <= _MAX_QUEUE

    def send(self, train: Train) -> None:
        if self.has_room:
            self._stream.write(frame(train))
        else:
            self.dropped += len(train)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._stream.close()

    def is_stale(self, now: float) -> bool:
        """Whether there is nothing to be hoped of it any more."""
        return now - (self.last_heard if self.is_proved else self.made) > _PATIENCE

    def _receive(self, data: bytes) -> None:
        now = self.last_heard = self._shared.loop.time()
        if not self.is_proved:
            self._unproved += len(data)
            if self._unproved > _MAX_UNPROVED:
                self._lose("it has sent much, and not shown that it is the peer")
                return
        try:
            trains = self._reader.feed(data)
        except ParseError as error:
            self._lose(str(error))
            return
        for train in trains:
            if not self._has_spoken:
                if not is_stun(next(iter(train))):
                    # RFC 6544 section 7.1: who begins, or answers a check, with something else is no agent.
                    self._lose("who is at the other end is no ICE agent")
                self._has_spoken = True
                self._reader.max_frame = MAX_FRAME
            if self._is_closed:
                return
            self._on_train(self, train, now)

    def _stream_lost(self, error: Exception | None) -> None:
        self._lose(f"it has ended: {why(error) if isinstance(error, OSError) else 'the other end has closed it'}")

    def _lose(self, reason: str) -> None:
        if not self._is_closed:
            self.close()
            self._on_lost(self, reason)


class TCPEndpoint:
    """One generation's connections at one local address: a :class:`webrtc_py.runtime.network.DatagramSocket`.

    Only checks open connections, never data. One that has ended is opened again by the next check of consent (RFC 6544
    section 11.1), and one that cannot be opened, or not by us, is a path lost.
    """

    def __init__(
        self, local_address: Address, shared: Shared, dial: Dial | None = None, *, is_simultaneous: bool = False
    ) -> None:
        """``dial`` opens connections from the local address; without it, they only come in.

        ``is_simultaneous`` is for peers that open theirs at the same time: who is refused tries again.
        """
        self._local_address = local_address
        self._zone = local_address[0].partition("%")[2]
        self._shared = shared
        self._dial = dial
        self._is_simultaneous = is_simultaneous
        self._receiver: Receiver | None = None
        self._connections: dict[Address, TCPConnection] = {}
        self._waiting: dict[Address, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._dropped = 0
        self.is_closed = False
        self.on_path_lost: Callable[[Address, str], None] = _ignore
        """Told when there is no way to an address any more, and why."""
        self.on_lost: Callable[[str], None] = _ignore
        """Told why the local address is of no more use."""
        self.on_closed: Callable[[], object] = _ignore
        self.on_connection_closed: Callable[[TCPConnection], None] = _ignore

    @property
    def local_address(self) -> Address:
        return self._local_address

    @property
    def connections(self) -> list[TCPConnection]:
        return list(self._connections.values())

    @property
    def dropped(self) -> int:
        """Datagrams that had no connection to go, or that a connection had no room for."""
        return self._dropped + sum(connection.dropped for connection in self._connections.values())

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def has_room(self, address: Address) -> bool:
        """Whether there is a connection to the address that takes data now."""
        connection = self._connections.get(address)
        return connection is not None and connection.has_room

    def send(self, train: Train, address: Address) -> None:
        connection = self._connections.get(address)
        if connection is not None:
            connection.send(train)
        elif self._dial is not None and is_stun(train.data) and not self.is_closed:
            self._send_later(train, address)
        else:
            self._dropped += len(train)

    def claim(self, address: Address, *, has_answered: bool = True) -> None:
        """ICE has proved that the peer is at an address, which nobody can forge here."""
        connection = self._connections.get(address)
        if connection is not None:
            connection.is_proved = True

    def adopt(self, connection: TCPConnection) -> None:
        """A connection for this generation has been made."""
        before = self._connections.get(connection.remote_address)
        if before is not None:
            self._forget(before)
        elif len(self._connections) >= MAX_CONNECTIONS:
            least = min(self.connections, key=lambda one: (one.is_proved, one.last_heard))
            self._give_up(least, "other connections take its place")
        self._connections[connection.remote_address] = connection
        connection.start(self.receive, self._connection_lost)
        for datagram in self._waiting.pop(connection.remote_address, ()):
            connection.send(Train.of(datagram))
        if self._sweeper is None:
            self._sweeper = self._shared.loop.call_later(_SWEEP_INTERVAL, self._sweep)

    def lose(self, reason: str) -> None:
        """Close, and tell whose it is."""
        on_lost = self.on_lost
        self.close()
        on_lost(reason)

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._receiver = None
        for task in self._tasks:
            task.cancel()
        self._waiting.clear()
        for connection in self.connections:
            self._forget(connection)
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.on_closed()

    # Connections that we open

    def _send_later(self, train: Train, address: Address) -> None:
        waiting = self._waiting.get(address)
        if waiting is not None:
            if len(waiting) < _MAX_WAITING:
                waiting.append(bytes(train.data))
            else:
                self._dropped += 1
        elif address[1] in BAD_PORTS:
            self._refuse(address, f"port {address[1]} is another protocol's")
        elif len(self._connections) + len(self._waiting) >= MAX_CONNECTIONS:
            self._refuse(address, f"{MAX_CONNECTIONS} connections are open, or being opened")
        else:
            self._waiting[address] = [bytes(train.data)]
            task = self._shared.loop.create_task(self._connect(address), name=f"ICE: connect to {address}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _refuse(self, address: Address, reason: str) -> None:
        # Later: whoever sends is not ready to hear of it in the middle of that.
        self._dropped += 1
        self._shared.step.post(lambda: self.on_path_lost(address, reason))

    async def _connect(self, address: Address) -> None:
        host, port = address
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                stream = await self._open((f"{host}%{self._zone}" if self._zone else host, port))
        except OSError as error:
            with self._shared.step:
                # Unless the peer has opened one meanwhile, which has taken what waited.
                if self._waiting.pop(address, None) is not None:
                    self.on_path_lost(address, f"no TCP connection to {host} port {port}: {why(error)}")
            return
        with self._shared.step:
            connection = TCPConnection(stream, self._shared)
            if address in self._waiting:
                self.adopt(connection)
            else:
                connection.close()

    async def _open(self, address: Address) -> Stream:
        assert self._dial is not None
        while True:
            try:
                return await self._dial(address)
            except ConnectionRefusedError:
                if not self._is_simultaneous:
                    raise
                await asyncio.sleep(_REFUSED_INTERVAL)

    # What connections tell

    def receive(self, connection: TCPConnection, train: Train, now: float) -> None:
        """Something has come in on a connection."""
        if self._receiver is not None:
            self._receiver(train, connection.remote_address, now)

    def _connection_lost(self, connection: TCPConnection, reason: str) -> None:
        if self._dial is not None and connection.is_proved:
            logger.debug(
                "the next check opens the connection to %s port %d again: %s", *connection.remote_address, reason
            )
            self._forget(connection)
        else:
            self._give_up(connection, reason)

    def _give_up(self, connection: TCPConnection, reason: str) -> None:
        self._forget(connection)
        self.on_path_lost(connection.remote_address, reason)

    def _forget(self, connection: TCPConnection) -> None:
        if self._connections.get(connection.remote_address) is connection:
            del self._connections[connection.remote_address]
        self._dropped += connection.dropped
        connection.close()
        self.on_connection_closed(connection)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._shared.loop.time()
        with self._shared.step:
            for connection in self.connections:
                if connection.is_stale(now):
                    self._connection_lost(connection, "it has been silent for too long, or nobody proved to be there")
        if self._connections:
            self._sweeper = self._shared.loop.call_later(_SWEEP_INTERVAL, self._sweep)


def _ignore(*told: object) -> None:
    pass
