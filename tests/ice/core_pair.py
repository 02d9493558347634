"""Two ICE cores on a wire of virtual time: delay, loss, NATs and cuts, all from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from webrtc_py.ice import stun
from webrtc_py.ice.candidate import (
    TCP_PRIORITY_OFFSET,
    Candidate,
    candidate_priority,
    local_preference,
    tcp_local_preference,
    unmarshal_candidate,
    without_zone,
)
from webrtc_py.ice.core import Core
from webrtc_py.ice.events import Happening, RoleChanged, SelectedPairChanged, StateChanged
from webrtc_py.ice.options import AgentTimings
from webrtc_py.states import CandidateType, ICETransportState, TCPType

Address = tuple[str, int]

INSIDE = "10."
"""What a NAT hides; a relay of the same peer is outside."""

DATA = b"\x80data"

ALICE = ("alic", "alicealicealicealicealice")
BOB = ("bobb", "bobbobbobbobbobbobbobbob")


def host(address: str, port: int = 5000, index: int = 0) -> Candidate:
    priority = candidate_priority(CandidateType.HOST, local_preference(index))
    return Candidate(f"h{index}", 1, "udp", priority, address, port, CandidateType.HOST)


def srflx(address: str, port: int, base: Address, index: int = 0) -> Candidate:
    priority = candidate_priority(CandidateType.SRFLX, local_preference(index))
    return Candidate(f"s{index}", 1, "udp", priority, address, port, CandidateType.SRFLX, *base)


def relay(address: str, port: int = 6000, index: int = 0) -> Candidate:
    priority = candidate_priority(CandidateType.RELAY, local_preference(index, relay_protocol="udp"))
    return Candidate(f"r{index}", 1, "udp", priority, address, port, CandidateType.RELAY, "203.0.113.9", 9)


def tcp(tcp_type: TCPType, address: str, port: int = 7000, index: int = 0) -> Candidate:
    kind = CandidateType.HOST
    priority = candidate_priority(
        kind, tcp_local_preference(kind, tcp_type, index), type_preference_offset=TCP_PRIORITY_OFFSET
    )
    port = 9 if tcp_type is TCPType.ACTIVE else port
    return Candidate(f"t{index}", 1, "tcp", priority, address, port, kind, tcp_type=tcp_type)


@dataclass
class Nat:
    """Maps ports on one public address; ``symmetric`` ones anew for each destination, and strangers are kept out."""

    public: str
    symmetric: bool = False
    _next_port: int = 40000
    _mapped: dict[tuple[Address, Address | None], int] = field(default_factory=dict)
    _inside: dict[int, Address] = field(default_factory=dict)
    _opened: set[tuple[int, str]] = field(default_factory=set)

    def out(self, source: Address, destination: Address) -> Address:
        key = source, destination if self.symmetric else None
        if key not in self._mapped:
            self._mapped[key] = self._next_port
            self._inside[self._next_port] = source
            self._next_port += 1
        port = self._mapped[key]
        self._opened.add((port, destination[0]))
        return self.public, port

    def back(self, source: Address, port: int) -> Address | None:
        return self._inside.get(port) if (port, source[0]) in self._opened else None

    def forget(self) -> None:
        """As after a reboot: new ports from now on."""
        self._mapped.clear()
        self._inside.clear()
        self._opened.clear()


@dataclass
class Packet:
    time: float
    sender: Peer
    source: Address
    """As the destination sees it."""
    destination: Address
    data: bytes

    @property
    def message(self) -> stun.Message:
        return stun.parse_message(self.data)

    @property
    def is_request(self) -> bool:
        return self.message.message_class is stun.Class.REQUEST

    def has(self, attribute: str) -> bool:
        return attribute in self.message.attributes


class Peer:
    def __init__(
        self, wire: Wire, name: str, credentials: tuple[str, str], tie_breaker: int, **options: object
    ) -> None:
        self.wire = wire
        self.name = name
        self.credentials = credentials
        self.core = Core(
            tie_breaker=tie_breaker,
            local_ufrag=credentials[0],
            local_pwd=credentials[1],
            seed=name.encode().ljust(16, b"-"),
            **options,  # type: ignore[arg-type]
        )
        self.bases: dict[int, Address] = {}
        self.dialled: dict[tuple[int, Address], Address] = {}
        """The local ends of the connections that an active base has made, by base and destination."""
        self.nat: Nat | None = None
        self.happened: list[tuple[float, Happening]] = []

    def add(self, candidate: Candidate, base_id: int | None = None) -> Candidate:
        """Add a local candidate; a host or relay has a base of its own, a reflexive one its host's."""
        if base_id is None:
            base_id = len(self.bases)
            self.bases[base_id] = without_zone(candidate.address), candidate.port
        self.core.add_local_candidate(candidate, base_id, self.wire.now)
        return candidate

    def hear_of(self, candidate: Candidate) -> None:
        self.core.add_remote_candidate(candidate, self.wire.now)
        self.wire.flush()

    def meet(self, other: Peer, *, controlling: bool, candidates: bool = True) -> None:
        """What signalling brings: the other's credentials and, unless they trickle, its candidates."""
        now = self.wire.now
        self.core.set_remote_credentials(*other.credentials, now)
        self.core.start(controlling, now)
        if candidates:
            for candidate in other.core.local_candidates:
                self.core.add_remote_candidate(unmarshal_candidate(candidate.marshal()), now)
        self.wire.flush()

    def flush(self) -> None:
        now = self.wire.now
        for outgoing in self.core.datagrams_to_send(now):
            source = self.bases.get(outgoing.base_id)
            if source is not None and source[1] == 9:
                number = 50000 + len(self.wire.log)
                source = self.dialled.setdefault((outgoing.base_id, outgoing.destination), (source[0], number))
            if source is not None:
                self.wire.send(self, source, outgoing.destination, outgoing.data)
        self.happened += [(now, event) for event in self.core.events()]

    def expire(self) -> None:
        """Its timeout has come. What that changes may have to be acted on at once, but not again and again."""
        now = self.wire.now
        for _ in range(3):
            self.core.handle_timeout(now)
            self.flush()
            due = self.core.next_timeout()
            if due is None or due > now:
                return
        raise AssertionError(f"{self.name} spins at {now}")

    def talk(self) -> None:
        """Send data where they may be sent."""
        path = self.core.path
        if path is not None and path.base_id in self.bases:
            self.core.data_sent(len(DATA), 1, self.wire.now)
            self.wire.send(self, self.bases[path.base_id], path.destination, DATA)

    @property
    def states(self) -> list[ICETransportState]:
        return [event.state for _, event in self.happened if isinstance(event, StateChanged)]

    @property
    def reason(self) -> str:
        """Of the last change of state."""
        return [event.reason for _, event in self.happened if isinstance(event, StateChanged)][-1]

    @property
    def selections(self) -> int:
        return sum(1 for _, event in self.happened if isinstance(event, SelectedPairChanged))

    @property
    def roles(self) -> int:
        return sum(1 for _, event in self.happened if isinstance(event, RoleChanged))

    def sent(self) -> list[Packet]:
        return [packet for packet in self.wire.log if packet.sender is self]

    def requests(self) -> list[Packet]:
        return [packet for packet in self.sent() if packet.is_request]


class Wire:
    def __init__(self, seed: int = 0, *, delay: float = 0.001, loss: float = 0.0) -> None:
        self.now = 100.0
        self.delay = delay
        self.detour: Callable[[Packet], float] = lambda packet: 0.0
        """How much longer a packet takes."""
        self.loss = loss
        self.duplicates = 0.0
        """What part of the packets comes twice, the second time up to 2 s late."""
        self.log: list[Packet] = []
        """All that was sent, lost or not."""
        self.blocked: Callable[[Packet], bool] = lambda packet: False
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, Packet]] = []
        self._sequence = 0
        self.peers: list[Peer] = []

    def peer(self, name: str, credentials: tuple[str, str], tie_breaker: int, **options: object) -> Peer:
        peer = Peer(self, name, credentials, tie_breaker, **options)
        self.peers.append(peer)
        return peer

    def send(self, sender: Peer, source: Address, destination: Address, data: bytes) -> None:
        if sender.nat is not None and source[0].startswith(INSIDE):
            source = sender.nat.out(source, destination)
        packet = Packet(self.now, sender, source, destination, data)
        self.log.append(packet)
        if self.blocked(packet) or self._random.random() < self.loss:
            return
        self._put(packet, 0.0)
        if self.duplicates and self._random.random() < self.duplicates:
            self._put(packet, 2 * self._random.random())

    def _put(self, packet: Packet, late: float) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + self.delay + self.detour(packet) + late, self._sequence, packet))

    def flush(self) -> None:
        for peer in self.peers:
            peer.flush()

    def _deliver(self, packet: Packet) -> None:
        for peer in self.peers:
            destination: Address | None = packet.destination
            if packet.destination[0].startswith(INSIDE) and peer.nat is not None:
                continue
            if peer.nat is not None and packet.destination[0] == peer.nat.public:
                destination = peer.nat.back(packet.source, packet.destination[1])
            ends = [*peer.bases.items(), *((base_id, end) for (base_id, _), end in peer.dialled.items())]
            for base_id, address in ends:
                if address == destination:
                    if stun.is_stun(packet.data):
                        peer.core.receive(packet.data, base_id, packet.source, self.now)
                    else:
                        peer.core.data_received(base_id, packet.source, len(packet.data), 1, self.now)
                    peer.flush()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, ``seconds`` at most; whether ``until`` came true."""
        self.flush()
        end = self.now + seconds
        for _ in range(200_000):
            if until():
                return True
            timers = [(due, peer) for peer in self.peers if (due := peer.core.next_timeout()) is not None]
            timer = min(timers, key=lambda entry: entry[0], default=None)
            arrival = self._queue[0][0] if self._queue else float("inf")
            soonest = min(arrival, timer[0] if timer else float("inf"))
            if soonest > end:
                self.now = end
                return until()
            self.now = max(self.now, soonest)
            if arrival <= soonest:
                self._deliver(heapq.heappop(self._queue)[2])
            elif timer is not None:
                timer[1].expire()
        raise AssertionError(f"the cores do not come to rest at {self.now}")


def connected(*peers: Peer) -> bool:
    good = ICETransportState.CONNECTED, ICETransportState.COMPLETED
    return all(peer.core.state in good for peer in peers)


def two_peers(
    wire: Wire | None = None, timings: AgentTimings | None = None, **options: object
) -> tuple[Wire, Peer, Peer]:
    """Alice and Bob, each with one host candidate, not yet introduced."""
    wire = wire or Wire()
    alice = wire.peer("alice", ALICE, 2, timings=timings, **options)
    bob = wire.peer("bob", BOB, 1, timings=timings, **options)
    alice.add(host("192.0.2.1"))
    bob.add(host("192.0.2.2"))
    return wire, alice, bob


def connect(wire: Wire, alice: Peer, bob: Peer) -> None:
    """Alice controls."""
    alice.meet(bob, controlling=True)
    bob.meet(alice, controlling=False)
    assert wire.run(10, lambda: connected(alice, bob))
