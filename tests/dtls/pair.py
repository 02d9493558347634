"""Two engines on a wire without a network, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from webrtc_py.certificate import Certificate
from webrtc_py.dtls import Connection, ConnectionEvent, Fingerprint, HandshakeCompleted
from webrtc_py.states import DTLSRole
from webrtc_py.train import Train

CERTIFICATE = Certificate.generate()
OTHER_CERTIFICATE = Certificate.generate()

Fate = Callable[[bool, int, bytes], Sequence[float]]
"""(from the client?, number of its datagram from 0, datagram) -> the delays of the copies that arrive."""


def make_connection(
    role: DTLSRole,
    certificate: Certificate = CERTIFICATE,
    remote_fingerprints: Sequence[Fingerprint] | None = CERTIFICATE.get_fingerprints(),
    **options: float,
) -> Connection:
    return Connection(
        certificate,
        role,
        remote_fingerprints,
        bytearray(1 << 17),
        bytearray(1 << 17),
        **options,  # type: ignore[arg-type]
    )


class End:
    """One side: its engine and what came of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sent: list[bytes] = []
        self.events: list[ConnectionEvent] = []
        self.data: list[bytes] = []

    @property
    def completed(self) -> HandshakeCompleted | None:
        return next((event for event in self.events if isinstance(event, HandshakeCompleted)), None)

    def receive(self, datagram: bytes, now: float) -> None:
        for train in self.connection.receive(Train.of(datagram), now):
            self.data += [bytes(data) for data in train]

    def seal(self, *payloads: bytes) -> list[bytes]:
        """The records of payloads of one size."""
        train = Train(memoryview(b"".join(payloads)), len(payloads[0]))
        return [bytes(datagram) for sealed in self.connection.seal(train) for datagram in sealed]


def deliver_at_once(from_client: bool, number: int, datagram: bytes) -> Sequence[float]:
    return (0.01,)


class Pair:
    """A client and a server, and the datagrams between them."""

    def __init__(self, client: Connection, server: Connection, fate: Fate = deliver_at_once) -> None:
        self.client, self.server = End(client), End(server)
        self.now = 0.0
        self._fate = fate
        self._wire: list[tuple[float, int, End, bytes]] = []
        self._sequence = 0
        self.started = False

    @classmethod
    def make(cls, fate: Fate = deliver_at_once, **options: float) -> Pair:
        return cls(make_connection(DTLSRole.CLIENT, **options), make_connection(DTLSRole.SERVER, **options), fate)

    def start(self) -> None:
        self.started = True
        self.server.connection.start(self.now)
        self.client.connection.start(self.now)
        self.flush()

    def flush(self) -> None:
        for end, peer in ((self.client, self.server), (self.server, self.client)):
            for train in end.connection.datagrams_to_send(self.now):
                self.send(end, peer, bytes(train.data))
            end.events += end.connection.events()

    def send(self, end: End, peer: End, datagram: bytes) -> None:
        number = len(end.sent)
        end.sent.append(datagram)
        for delay in self._fate(end is self.client, number, datagram):
            self._sequence += 1
            heapq.heappush(self._wire, (self.now + delay, self._sequence, peer, datagram))

    def run(self, until: float) -> None:
        """Let time pass until ``until``, or until nothing is under way and no timer is set."""
        if not self.started:
            self.start()
        while True:
            dues = [end.connection.next_timeout() for end in (self.client, self.server)]
            times = [due for due in dues if due is not None] + [entry[0] for entry in self._wire[:1]]
            if not times or min(times) > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, min(times))
            if self._wire and self._wire[0][0] <= self.now:
                _, _, end, datagram = heapq.heappop(self._wire)
                end.receive(datagram, self.now)
            for end in (self.client, self.server):
                due = end.connection.next_timeout()
                if due is not None and due <= self.now:
                    end.connection.handle_timeout(self.now)
            self.flush()

    @property
    def connected(self) -> bool:
        return self.client.completed is not None and self.server.completed is not None

    def connect(self) -> Pair:
        self.run(until=self.now + 60)
        assert self.connected, (self.client.events, self.server.events)
        return self


def record(content_type: int, payload: bytes, *, epoch: int = 0, sequence: int = 0, version: int = 0xFEFD) -> bytes:
    """A DTLS record as anybody could write it."""
    header = (
        bytes((content_type,)) + version.to_bytes(2, "big") + epoch.to_bytes(2, "big") + sequence.to_bytes(6, "big")
    )
    return header + len(payload).to_bytes(2, "big") + payload
