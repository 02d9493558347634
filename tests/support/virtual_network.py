"""A network in memory for the virtual loop: hosts, paths with conditions, NATs, a STUN server.

``VirtualNetwork.host`` makes hosts, and each is a :class:`webrtc_py.runtime.network.Network`::

    network = VirtualNetwork(seed=1, delay=0.025)
    alice = network.host("alice", "192.0.2.1", "2001:db8::1")
    bob = network.nat("router", "198.51.100.1", kind="symmetric").host("bob", "10.0.0.2")
    network.set_path(alice, bob, loss=0.01)

The same seed gives the same packets at the same times.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import partial
from typing import Any

from webrtc_py.runtime.network import Address
from webrtc_py.runtime.shared import Shared
from webrtc_py.train import MAX_TRAIN_LENGTH

from .virtual_host import VirtualHost, VirtualSocket
from .virtual_link import IPV4_OVERHEAD, IPV6_OVERHEAD, Conditions, Link
from .virtual_loop import VirtualLoop
from .virtual_nat import NAT, Behaviour, NATKind
from .virtual_stun import STUNServer
from .virtual_turn import TURNServer

__all__ = ["DROP", "NAT", "Behaviour", "Conditions", "NATKind", "Packet", "VirtualHost", "VirtualNetwork"]


class Verdict(Enum):
    DROP = "drop"


DROP = Verdict.DROP
"""What a tap returns to lose a packet."""


@dataclass(slots=True)
class Packet:
    """A datagram as its sender sends it, before any NAT. ``sender`` is None when a test forged it."""

    sender: VirtualHost | None
    source: Address
    destination: Address
    data: bytes


Tap = Callable[[Packet], "bytes | Verdict | None"]
"""Sees every datagram; returns None to let it pass, other bytes to alter it, or DROP."""


class Segment:
    """Hosts and routers that reach each other directly, by address, and perhaps a router to the rest."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: dict[str, VirtualHost | NAT] = {}
        self.gateway: NAT | None = None

    def add(self, address: str, node: VirtualHost | NAT) -> None:
        if address in self.nodes:
            raise ValueError(f"{address} is {self.nodes[address].name}'s, and cannot be {node.name}'s too")
        self.nodes[address] = node


@dataclass(slots=True, frozen=True)
class Route:
    """A packet on its way: where it is looked for, and how it looks there."""

    segment: Segment
    source: Address
    destination: Address


@dataclass(slots=True)
class _Joined:
    """Datagrams that have arrived and wait to be received as one train."""

    socket: VirtualSocket
    source: Address
    data: bytearray
    segment_size: int

    def takes(self, socket: VirtualSocket, source: Address, data: bytes) -> bool:
        """Whether a datagram may be the train's next: only the last of a train is shorter than the others."""
        return (
            socket is self.socket
            and source == self.source
            and len(self.data) % self.segment_size == 0
            and 0 < len(data) <= self.segment_size
            and len(self.data) + len(data) <= MAX_TRAIN_LENGTH
        )


class VirtualNetwork:
    """See the module. The keywords are the :class:`Conditions` of every path that :meth:`set_path` does not change."""

    def __init__(self, seed: int = 0, **conditions: Any) -> None:
        self.seed = seed
        self.conditions = Conditions(**conditions)
        self.internet = Segment("internet")
        self.hosts: dict[str, VirtualHost] = {}
        self.names: dict[str, list[str]] = {}
        """What every host resolves: a name's addresses. A name without any takes ``resolve_timeout`` to fail."""
        self.resolve_timeout = 5.0
        self.services: dict[str, list[Address]] = {}
        """SRV records: the names and ports of ``_turn._udp.example.org``."""
        self.counters: Counter[str] = Counter()
        """Datagrams sent and delivered, and those dropped by the reason why."""
        self._links: dict[tuple[str, str], Link] = {}
        self._taps: list[Tap] = []
        self._arrivals: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._shared: Shared | None = None
        self._joined: _Joined | None = None
        self.join_trains = False
        """Whether equal datagrams that arrive together are received as one train, as UDP_GRO does it."""

    # Building

    def host(self, name: str, *addresses: str, segment: Segment | None = None) -> VirtualHost:
        """A host with one interface ``eth0`` that has these addresses; :meth:`VirtualHost.add_interface` adds more."""
        if name in self.hosts:
            raise ValueError(f"there is a host {name} already")
        host = self.hosts[name] = VirtualHost(self, name, Segment(f"loopback of {name}"))
        if addresses:
            host.add_interface("eth0", *addresses, segment=segment)
        return host

    def nat(
        self,
        name: str,
        *addresses: str,
        kind: NATKind | str = NATKind.PORT_RESTRICTED,
        mapping: Behaviour | None = None,
        filtering: Behaviour | None = None,
        hairpin: bool = False,
        timeout: float = 120.0,
        outside: Segment | None = None,
    ) -> NAT:
        """A router with these outer addresses. ``mapping`` and ``filtering`` are the kind's unless given."""
        kind = NATKind(kind)
        outside = outside or self.internet
        nat = NAT(
            self,
            name,
            outside,
            Segment(f"behind {name}"),
            addresses,
            mapping=mapping or kind.mapping,
            filtering=filtering or kind.filtering,
            hairpin=hairpin,
            timeout=timeout,
        )
        nat.inside.gateway = nat
        for address in addresses:
            outside.add(address, nat)
        return nat

    def stun_server(self, name: str, *addresses: str, port: int = 3478) -> STUNServer:
        """A STUN server that answers Binding requests; hosts resolve its name."""
        self.names[name] = list(addresses)
        return STUNServer(self.host(name, *addresses), port)

    def turn_server(
        self, name: str, *addresses: str, port: int = 3478, username: str = "user", password: str = "secret"
    ) -> TURNServer:
        """A TURN server over UDP and streams; hosts resolve its name."""
        self.names[name] = list(addresses)
        return TURNServer(self.host(name, *addresses), port, username, password)

    # Paths

    def link(self, source: VirtualHost, destination: VirtualHost) -> Link:
        """The one direction from ``source`` to ``destination``, whatever routers stand between."""
        return self._link(source.name, destination.name)

    def set_path(self, one: VirtualHost, other: VirtualHost, **conditions: Any) -> None:
        """Change conditions in both directions. ``delay`` is one way: the round trip takes twice as long."""
        for link in (self.link(one, other), self.link(other, one)):
            link.conditions = replace(link.conditions, **conditions)

    def cut(self, source: VirtualHost, destination: VirtualHost, *, one_way: bool = False) -> None:
        """Let nothing pass any more, both ways or from ``source`` to ``destination`` only."""
        self._set_cut(source, destination, one_way, True)

    def restore(self, source: VirtualHost, destination: VirtualHost, *, one_way: bool = False) -> None:
        self._set_cut(source, destination, one_way, False)

    def cut_for(self, seconds: float, source: VirtualHost, destination: VirtualHost, *, one_way: bool = False) -> None:
        """Cut now, and restore after ``seconds``."""
        self.cut(source, destination, one_way=one_way)
        now = self.shared.loop.time()
        self.schedule(now + seconds, lambda: self.restore(source, destination, one_way=one_way))

    def tap(self, tap: Tap) -> Callable[[], None]:
        """Let ``tap`` see and alter every datagram; the call that is returned removes it."""
        self._taps.append(tap)
        return lambda: self._taps.remove(tap)

    # Packets

    @property
    def shared(self) -> Shared:
        """The running loop's step. The network belongs to the first loop that uses it."""
        if self._shared is None:
            self._shared = Shared.of_running_loop()
            if isinstance(self._shared.loop, VirtualLoop):
                self._shared.loop.leftovers.append(self._leftovers)
        return self._shared

    def watch_leftovers(self) -> None:
        """What is left open fails the test, even if no packet is ever sent."""
        _ = self.shared  # which the loop asks then

    def inject(self, data: bytes, *, source: Address, destination: Address) -> None:
        """Forge a datagram: it comes from the internet with any source, and passes NATs and filters like others."""
        self._send(Packet(None, source, destination, data), self.internet)

    def send_datagram(self, sender: VirtualHost, source: Address, destination: Address, data: bytes) -> None:
        segment = sender.segment_of(source[0])
        if segment is None:
            self.counters["interface down"] += 1
            return
        self._send(Packet(sender, source, destination, data), segment)

    def send_to_group(self, sender: VirtualHost, port: int, destination: Address, data: bytes) -> None:
        """To all hosts on the sender's segments, itself among them; no router lets multicast through."""
        now = self.shared.loop.time()
        for address, segment in sender.interfaces_to(destination[0]):
            source = (address, port)
            packet = Packet(sender, source, destination, data)
            if self._is_dropped(packet):
                continue
            for node in dict.fromkeys(segment.nodes.values()):
                if isinstance(node, NAT):
                    continue
                overhead = IPV6_OVERHEAD if ":" in address else IPV4_OVERHEAD
                arrivals = [now] if node is sender else self.link(sender, node).arrivals(len(data) + overhead, now)
                for arrival in arrivals:
                    self.schedule(arrival, partial(self._deliver_to_group, node, packet))

    def _deliver_to_group(self, host: VirtualHost, packet: Packet) -> None:
        host.receive_multicast(packet.destination, packet.data, packet.source, self.shared.loop.time())

    def schedule(self, when: float, call: Callable[[], None]) -> None:
        """Call at ``when``, in the order of the calls of this method where times are equal."""
        heapq.heappush(self._arrivals, (when, self._sequence, call))
        self._sequence += 1
        self._arm()

    def leave(self, protocol: str, route: Route, now: float) -> Route | None:
        """Follow a packet outwards, through the routers it passes, to the segment that has its destination."""
        while route.destination[0] not in route.segment.nodes:
            nat = route.segment.gateway
            if nat is None:
                return None
            source = nat.translate_out(protocol, route.source, route.destination, now)
            if source is None:
                return None
            route = Route(nat.outside, source, route.destination)
        node = route.segment.nodes[route.destination[0]]
        return route if not isinstance(node, NAT) else self._hairpin(protocol, route, node)

    def arrive(self, protocol: str, route: Route, now: float) -> tuple[VirtualHost, Route] | None:
        """Follow a packet inwards, through the routers in front of its destination, to a host."""
        while True:
            node = route.segment.nodes.get(route.destination[0])
            if node is None:
                return None
            if not isinstance(node, NAT):
                return node, route
            destination = node.translate_in(protocol, route.source, route.destination, now)
            if destination is None:
                return None
            route = Route(node.inside, route.source, destination)

    def link_to(self, sender: VirtualHost | None, protocol: str, route: Route) -> Link:
        """The link that a packet takes: by its sender, and by the host behind the routers in front of it."""
        node: VirtualHost | NAT = route.segment.nodes[route.destination[0]]
        destination = route.destination
        while isinstance(node, NAT):
            inside = node.inside_of(protocol, destination)
            if inside is None or inside[0] not in node.inside.nodes:
                break
            destination = inside
            node = node.inside.nodes[inside[0]]
        return self._link(sender.name if sender else "", node.name)

    def _hairpin(self, protocol: str, route: Route, nat: NAT) -> Route | None:
        """A packet to a router's own outer address, from behind it, comes back only when the router can."""
        came_from = route.segment is nat.outside and route.source[0] in nat.addresses
        return None if came_from and not nat.hairpin else route

    def _is_dropped(self, packet: Packet) -> bool:
        """Let the taps see it."""
        self.counters["sent"] += 1
        for tap in list(self._taps):
            verdict = tap(packet)
            if isinstance(verdict, Verdict):
                self.counters["tap"] += 1
                return True
            if verdict is not None:
                packet.data = verdict
        return False

    def _send(self, packet: Packet, segment: Segment) -> None:
        if self._is_dropped(packet):
            return
        now = self.shared.loop.time()
        route = self.leave("udp", Route(segment, packet.source, packet.destination), now)
        if route is None:
            self.counters["no route"] += 1
            return
        overhead = IPV6_OVERHEAD if ":" in packet.destination[0] else IPV4_OVERHEAD
        link = self.link_to(packet.sender, "udp", route)
        arrivals = link.arrivals(len(packet.data) + overhead, now)
        if not arrivals:
            self.counters["link"] += 1
        for arrival in arrivals:
            self.schedule(arrival, lambda: self._deliver(route, packet.data))

    def _deliver(self, route: Route, data: bytes) -> None:
        found = self.arrive("udp", route, self.shared.loop.time())
        if found is None:
            self.counters["nat"] += 1
            return
        host, route = found
        socket = host.socket_for(route.destination)
        if socket is None:
            self.counters["no socket"] += 1
            return
        self.counters["delivered"] += 1
        source = host.scoped(route.source, route.destination[0])
        joined = self._joined
        if joined is not None and joined.takes(socket, source, data):
            joined.data += data
            return
        self._receive_joined()
        if data:
            self._joined = _Joined(socket, source, bytearray(data), len(data))
        if not self.join_trains:
            self._receive_joined()

    def _receive_joined(self) -> None:
        joined, self._joined = self._joined, None
        if joined is not None:
            joined.socket.receive(joined.data, joined.segment_size, joined.source, self.shared.loop.time())

    def _on_timer(self) -> None:
        self._timer = None
        now = self.shared.loop.time()
        try:
            while self._arrivals and self._arrivals[0][0] <= now:
                heapq.heappop(self._arrivals)[2]()
            self._receive_joined()
        finally:
            self._arm()

    def _arm(self) -> None:
        if not self._arrivals:
            return
        when = self._arrivals[0][0]
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self.shared.loop.call_at(when, self._on_timer)

    def _link(self, source: str, destination: str) -> Link:
        link = self._links.get((source, destination))
        if link is None:
            chance = random.Random(f"{self.seed} {source} {destination}")
            link = self._links[source, destination] = Link(Conditions(**asdict(self.conditions)), chance)
        return link

    def _set_cut(self, source: VirtualHost, destination: VirtualHost, one_way: bool, is_cut: bool) -> None:
        self.link(source, destination).is_cut = is_cut
        if not one_way:
            self.link(destination, source).is_cut = is_cut

    def _leftovers(self) -> list[str]:
        """At the end of a test: packets on their way do not count, open sockets and streams do."""
        if self._timer is not None:
            self._timer.cancel()
        return [line for host in self.hosts.values() for line in host.leftovers()]
