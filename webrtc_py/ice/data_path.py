"""What goes over an agent's sockets beside its own checks: the application's datagrams, in trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..mux import PROTOCOL_OF_FIRST_BYTE, Protocol
from ..runtime.driver import Driver
from ..runtime.network import Address, Receiver
from ..runtime.shared import Shared
from ..states import ICETransportState
from ..train import Train
from .binding import BindingQueries
from .core import Core
from .events import Happening, Outgoing
from .gather_plan import Base
from .stun import is_stun

DataReceiver = Callable[[Train, float], None]
"""Takes a train of the peer's and the loop's time. The train is valid during the call."""

# What comes before somebody takes it: a flight or two of DTLS.
_MAX_EARLY_DATAGRAMS = 16
_MAX_EARLY_SIZE = 2048
_SEEKING = (ICETransportState.NEW, ICETransportState.CHECKING)


@dataclass(slots=True)
class Traffic:
    """Datagrams of the application, and their octets; checks do not count."""

    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


class Inbox:
    """Where the peer's datagrams end, whichever path they came by. ``traffic`` is that of all paths."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._receiver: DataReceiver | None = None
        self._early: tuple[bytes, ...] = ()
        self.traffic = Traffic()
        self.dropped = 0
        """Datagrams from where no peer was proved, that nobody took in time, or that no path had room for."""

    def set_receiver(self, receiver: DataReceiver | None) -> None:
        """Who takes the peer's datagrams. A few that came before are handed over now."""
        self._receiver = receiver
        if receiver is None:
            return
        early, self._early = self._early, ()
        now = self._shared.loop.time()
        with self._shared.step:
            for datagram in early:
                receiver(Train.of(datagram), now)

    def put(self, train: Train, packets: int, now: float) -> None:
        """Take a train of so many packets, which whoever hands it over has counted."""
        traffic = self.traffic
        traffic.packets_received += packets
        traffic.bytes_received += len(train.data)
        if self._receiver is not None:
            self._receiver(train, now)
            return
        for datagram in train:
            if len(self._early) < _MAX_EARLY_DATAGRAMS:
                self._early += (bytes(datagram),)
            else:
                self.dropped += 1

    def close(self) -> None:
        self._receiver = None
        self._early = ()


class DataPath:
    """Of one generation: tells STUN from data (RFC 7983), lets nothing in that a stranger sent, sends over the path."""

    def __init__(
        self,
        core: Core,
        bases: Mapping[int, Base],
        queries: BindingQueries,
        driver: Driver[Outgoing, Happening],
        inbox: Inbox,
        shared: Shared,
    ) -> None:
        self._core = core
        self._bases = bases
        self._queries = queries
        self._driver = driver
        self._inbox = inbox
        self._shared = shared
        self._unproved: tuple[tuple[int, Address, bytes], ...] = ()
        self.is_silent = False
        """Whether nothing is sent here any more."""

    def receiver_for(self, base_id: int) -> Receiver:
        """What a socket is to call."""
        return partial(self._receive, base_id)

    def send(self, train: Train) -> bool:
        """Whether there was a path."""
        core = self._core
        path = None if self.is_silent else core.path
        base = None if path is None else self._bases.get(path.base_id)
        if path is None or base is None:
            return False
        size, count = len(train.data), len(train)
        if base.has_room is not None and not base.has_room(path.destination):
            self._inbox.dropped += count
            core.data_discarded(size, count)
            return True
        base.socket.send(train, path.destination)
        core.data_sent(size, count, self._shared.loop.time())
        traffic = self._inbox.traffic
        traffic.packets_sent += count
        traffic.bytes_sent += size
        return True

    def take_unproved(self, now: float) -> None:
        """The core has learnt something: perhaps that a stranger, some of whose datagrams were kept, is the peer."""
        if not self._unproved:
            return
        proved = {(pair.base_id, pair.destination) for pair in self._core.pairs if pair.peer_is_there}
        unproved, self._unproved = self._unproved, ()
        for base_id, source, datagram in unproved:
            if (base_id, source) in proved:
                self._inbox.dropped -= 1
                self._receive_data(base_id, Train.of(datagram), source, now)
            elif self._core.state in _SEEKING:
                self._unproved += ((base_id, source, datagram),)

    def close(self) -> None:
        self._unproved = ()

    def _receive(self, base_id: int, train: Train, source: Address, now: float) -> None:
        data = train.data
        if data[0] > 3 and (len(data) <= train.segment_size or min(train.first_bytes()) > 3):
            self._receive_data(base_id, train, source, now)
            return
        for datagram in train:
            if is_stun(datagram):
                self._receive_stun(base_id, datagram, source, now)
            elif datagram[0] > 3:
                self._receive_data(base_id, Train.of(datagram), source, now)
            else:
                self._inbox.dropped += 1

    def _receive_stun(self, base_id: int, datagram: memoryview, source: Address, now: float) -> None:
        if self._queries.receive(datagram, source):
            return
        self._core.receive(datagram, base_id, source, now)
        self._driver.flush(now)
        self.take_unproved(now)

    def _receive_data(self, base_id: int, train: Train, source: Address, now: float) -> None:
        core = self._core
        path = core.path
        # Then it is more than data.
        is_news = path is None or path.base_id != base_id or path.destination != source
        is_news = is_news or core.is_silent
        packets = len(train)
        if not core.data_received(base_id, source, len(train.data), packets, now):
            self._keep_unproved(base_id, train, source)
            return
        if is_news:
            self._driver.flush(now)
        self._inbox.put(train, packets, now)

    def _keep_unproved(self, base_id: int, train: Train, source: Address) -> None:
        """A ClientHello may overtake the check that proves the peer, or the description that lets us believe the check.

        Only the last few datagrams are kept. DTLS is the last to go: its sender would not repeat it before a second has
        passed.
        """
        self._inbox.dropped += len(train)
        if self._core.state not in _SEEKING:
            return
        for datagram in train:
            if len(datagram) <= _MAX_EARLY_SIZE:
                self._unproved += ((base_id, source, bytes(datagram)),)
            if len(self._unproved) > _MAX_EARLY_DATAGRAMS:
                first = next((i for i, (_, _, early) in enumerate(self._unproved) if not _is_dtls(early)), 0)
                self._unproved = self._unproved[:first] + self._unproved[first + 1 :]


def _is_dtls(datagram: bytes) -> bool:
    return PROTOCOL_OF_FIRST_BYTE[datagram[0]] is Protocol.DTLS
