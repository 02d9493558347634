"""A host of the virtual network: it has the interfaces, the names and the sockets that ICE asks of a system."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrtc_py.runtime.network import Address, Interface, Receiver
from webrtc_py.train import Train

from .virtual_stream import VirtualListener, VirtualStream

if TYPE_CHECKING:
    from .virtual_network import Segment, VirtualNetwork

# As Linux does: the range in which a socket that asks for port 0 finds one.
_EPHEMERAL_PORTS = range(32768, 61000)

WATCH_DELAY = 0.2
"""From a change of the interfaces until those who watch them are told."""

# How long a TCP connection to nowhere is tried (Linux, with six retransmissions of the SYN).
_TCP_CONNECT_TIMEOUT = 127.0


def without_zone(address: str) -> str:
    return address.partition("%")[0]


def is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def is_wildcard(address: str) -> bool:
    return address in ("0.0.0.0", "::")


@dataclass
class _Interface:
    name: str
    addresses: tuple[str, ...]
    segment: Segment
    up: bool = True


class VirtualSocket:
    """A bound UDP socket (:class:`webrtc_py.runtime.network.DatagramSocket`)."""

    def __init__(self, host: VirtualHost, address: Address) -> None:
        self._host = host
        self._address = address
        self._receiver: Receiver | None = None
        self.closed = False

    @property
    def local_address(self) -> Address:
        return self._address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def send(self, train: Train, address: Address) -> None:
        if self.closed:
            return
        source = self._address
        if is_wildcard(source[0]):
            source = (self._host.default_address(address[0]), source[1])
        destination = (without_zone(address[0]), address[1])
        for datagram in train:
            self._host.network.send_datagram(
                self._host, (without_zone(source[0]), source[1]), destination, bytes(datagram)
            )

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._host.forget_socket(self)

    def receive(self, data: bytearray, segment_size: int, source: Address, now: float) -> None:
        """Hand a train to the receiver, and spoil it afterwards: who kept a view of it finds rubbish there."""
        if self._receiver is not None and not self.closed:
            with self._host.network.shared.step:
                self._receiver(Train(memoryview(data), segment_size), source, now)
        data[:] = b"\xdd" * len(data)

    def __repr__(self) -> str:
        return f"VirtualSocket({self._host.name}, {self._address[0]}, {self._address[1]})"


class VirtualMulticastSocket:
    """A socket in a group (:class:`webrtc_py.runtime.network.MulticastSocket`), on all interfaces of its host."""

    def __init__(self, host: VirtualHost, group: str, port: int) -> None:
        self._host = host
        self.key = (group, port)
        self._receiver: Receiver | None = None

    @property
    def local_address(self) -> Address:
        return self.key

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def join(self) -> None:
        if not self._host.has_multicast:
            raise OSError(errno.ENODEV, f"{self._host.name} has no multicast")

    def send(self, train: Train, address: Address) -> None:
        for datagram in train:
            self._host.network.send_to_group(self._host, self.key[1], address, bytes(datagram))

    def close(self) -> None:
        self._receiver = None
        self._host.forget_multicast(self)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        if self._receiver is not None:
            with self._host.network.shared.step:
                self._receiver(Train.of(data), source, now)

    def __repr__(self) -> str:
        return f"VirtualMulticastSocket({self._host.name}, {self.key})"


class VirtualWatch:
    """See :class:`webrtc_py.runtime.network.Watch`."""

    def __init__(self, watches: list[VirtualWatch], on_change: Callable[[], None]) -> None:
        self._watches = watches
        self.on_change = on_change
        watches.append(self)

    def close(self) -> None:
        if self in self._watches:
            self._watches.remove(self)


class VirtualHost:
    """One machine (:class:`webrtc_py.runtime.network.Network`). It always has a loopback interface."""

    def __init__(self, network: VirtualNetwork, name: str, loopback: Segment) -> None:
        self.network = network
        self.name = name
        self.is_infrastructure = False
        """Whether it belongs to the network, as a STUN server does: its sockets may stay open at the end."""
        self._interfaces: dict[str, _Interface] = {}
        self.sockets: dict[Address, VirtualSocket] = {}
        self.multicast: list[VirtualMulticastSocket] = []
        self.has_multicast = True
        """Whether multicast groups can be joined."""
        self._watches: list[VirtualWatch] = []
        self._is_change_due = False
        self.listeners: dict[Address, VirtualListener] = {}
        self._dialling: dict[tuple[Address, Address], asyncio.Future[VirtualStream]] = {}
        self.streams: set[VirtualStream] = set()
        self._next_port = _EPHEMERAL_PORTS.start
        self.add_interface("lo", "127.0.0.1", "::1", segment=loopback)

    # Network

    def interfaces(self) -> list[Interface]:
        return [
            Interface(one.name, tuple(self.scoped((a, 0), a)[0] for a in one.addresses))
            for one in self._interfaces.values()
            if one.up
        ]

    def watch(self, on_change: Callable[[], None], interval: float) -> VirtualWatch:
        return VirtualWatch(self._watches, on_change)

    async def resolve(self, host: str, port: int) -> list[Address]:
        if host in self.network.names:
            return [(address, port) for address in self.network.names[host]]
        if ":" in host or host.replace(".", "").isdigit():
            return [(host, port)]
        await asyncio.sleep(self.network.resolve_timeout)
        raise OSError(f"{host} is not known")

    async def resolve_srv(self, service: str, host: str) -> list[Address]:
        try:
            return self.network.services[f"{service}.{host}"]
        except KeyError:
            raise OSError(f"{host} says nothing of {service}") from None

    async def open_udp(self, host: str, port: int = 0) -> VirtualSocket:
        self.network.watch_leftovers()
        return self.bind(host, port)

    async def open_multicast(self, group: str, port: int) -> VirtualMulticastSocket:
        self.network.watch_leftovers()
        socket = VirtualMulticastSocket(self, group, port)
        socket.join()
        self.multicast.append(socket)
        return socket

    async def connect_tcp(
        self, address: Address, *, local_host: str | None = None, local_port: int = 0
    ) -> VirtualStream:
        remote, address = address, (without_zone(address[0]), address[1])
        source_host = without_zone(local_host or self.default_address(address[0]))
        if local_host is not None and self.segment_of(source_host) is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{self.name} has no address {local_host}")
        source = (source_host, local_port or self._free_port(source_host))
        if any((one.local_address, one.remote_address) == (source, remote) for one in self.streams):
            raise OSError(errno.EADDRINUSE, f"there is a connection from {source} to {address}")
        # Whom we dial may dial us from there at the same time: then both have the same connection.
        met: asyncio.Future[VirtualStream] = asyncio.get_running_loop().create_future()
        self._dialling[source, address] = met
        stream = None
        try:
            stream = await self._connect(source, address, remote, met)
            return stream
        finally:
            del self._dialling[source, address]
            if stream is None and met.done():
                met.result().close()

    async def _connect(
        self, source: Address, address: Address, remote: Address, met: asyncio.Future[VirtualStream]
    ) -> VirtualStream:
        from .virtual_network import Route

        segment = self.segment_of(source[0])
        network, loop = self.network, asyncio.get_running_loop()
        route = None if segment is None else network.leave("tcp", Route(segment, source, address), loop.time())
        if route is None:
            await asyncio.sleep(_TCP_CONNECT_TIMEOUT)
            raise TimeoutError(errno.ETIMEDOUT, f"{address} does not answer")
        link = network.link_to(self, "tcp", route)
        for _ in range(int(_TCP_CONNECT_TIMEOUT)):
            if not link.is_cut:
                break
            await asyncio.sleep(1.0)
        else:
            raise TimeoutError(errno.ETIMEDOUT, f"{address} does not answer")
        await asyncio.sleep(link.conditions.delay)
        if met.done():
            return met.result()
        found = network.arrive("tcp", route, loop.time())
        if found is None:
            await asyncio.sleep(_TCP_CONNECT_TIMEOUT)
            raise TimeoutError(errno.ETIMEDOUT, f"{address} does not answer")
        host, route = found
        back = network.link(host, self)
        listener = host.listener_for(route.destination)
        theirs = host._dialling.get((route.destination, route.source))
        if listener is None and theirs is None:
            await asyncio.sleep(back.conditions.delay)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens at {address}")
        near = VirtualStream(self, self.scoped(source, source[0]), remote, link)
        far = VirtualStream(
            host,
            host.scoped(route.destination, route.destination[0]),
            host.scoped(route.source, route.destination[0]),
            back,
        )
        near.peer, far.peer = far, near
        if theirs is not None:
            theirs.set_result(far)
        elif listener is not None:
            with network.shared.step:
                listener.accept(far)
        try:
            await asyncio.sleep(back.conditions.delay)
        except asyncio.CancelledError:
            near.close()
            raise
        return near

    async def listen_tcp(self, host: str, port: int = 0, *, shares_port: bool = False) -> VirtualListener:
        self.network.watch_leftovers()
        return self.listen(host, port)

    # What tests use

    def add_interface(self, name: str, *addresses: str, segment: Segment | None = None) -> None:
        """An interface that is up, on the internet or on the ``segment`` behind a router."""
        segment = segment or self.network.internet
        self._interfaces[name] = _Interface(name, addresses, segment)
        for address in addresses:
            segment.add(address, self)
        self._changed()

    def remove_interface(self, name: str) -> None:
        """Unplug it: its addresses are nobody's, and what is sent from them goes nowhere."""
        one = self._interfaces.pop(name)
        for address in one.addresses:
            one.segment.nodes.pop(address)
        self._changed()

    def set_interface_up(self, name: str, up: bool) -> None:
        """Take an interface down, or up again. A socket bound to it stays, but nothing leaves or reaches it."""
        self._interfaces[name].up = up
        self._changed()

    def add_address(self, name: str, address: str) -> None:
        """Give an interface one more address."""
        one = self._interfaces[name]
        one.segment.add(address, self)
        one.addresses = (*one.addresses, address)
        self._changed()

    def remove_address(self, name: str, address: str) -> None:
        """Take an address away. Sockets that are bound to it stay, as a system lets them, and reach nobody."""
        one = self._interfaces[name]
        one.addresses = tuple(known for known in one.addresses if known != address)
        one.segment.nodes.pop(address)
        self._changed()

    def bind(self, host: str, port: int = 0) -> VirtualSocket:
        """What ``open_udp`` does, for callers that cannot wait."""
        key = without_zone(host)
        if not is_wildcard(key) and self.segment_of(key) is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{self.name} has no address {host}")
        port = port or self._free_port(key)
        if (key, port) in self.sockets:
            raise OSError(errno.EADDRINUSE, f"{host} port {port} is in use")
        socket = self.sockets[key, port] = VirtualSocket(self, (host, port))
        return socket

    def listen(
        self, host: str, port: int = 0, acceptor: Callable[[VirtualStream], None] | None = None
    ) -> VirtualListener:
        """What ``listen_tcp`` does, for callers that cannot wait."""
        key = without_zone(host)
        if not is_wildcard(key) and self.segment_of(key) is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{self.name} has no address {host}")
        port = port or self._free_port(key)
        if (key, port) in self.listeners:
            raise OSError(errno.EADDRINUSE, f"{host} port {port} is in use")
        listener = VirtualListener((host, port), lambda: self.listeners.pop((key, port)))
        listener.set_acceptor(acceptor)
        self.listeners[key, port] = listener
        return listener

    # What the network uses

    def segment_of(self, address: str) -> Segment | None:
        """The segment that an address of this host stands in, or None when it has no such address that is up."""
        for one in self._interfaces.values():
            if one.up and address in one.addresses:
                return one.segment
        return None

    def default_address(self, destination: str) -> str:
        """The address that a packet to ``destination`` leaves from when its socket does not say."""
        if is_loopback(destination):
            return destination
        six = ":" in destination
        for one in self._interfaces.values():
            for address in one.addresses if one.up else ():
                if (":" in address) == six and not is_loopback(address):
                    return address
        return "::" if six else "0.0.0.0"

    def socket_for(self, destination: Address) -> VirtualSocket | None:
        if self.segment_of(destination[0]) is None:
            return None
        wildcard = "::" if ":" in destination[0] else "0.0.0.0"
        return self.sockets.get(destination) or self.sockets.get((wildcard, destination[1]))

    def listener_for(self, destination: Address) -> VirtualListener | None:
        if self.segment_of(destination[0]) is None:
            return None
        wildcard = "::" if ":" in destination[0] else "0.0.0.0"
        return self.listeners.get(destination) or self.listeners.get((wildcard, destination[1]))

    def scoped(self, source: Address, local: str) -> Address:
        """An address with the zone that this host gives it when it is link-local."""
        if not source[0].startswith("fe80:"):
            return source
        name = next((one.name for one in self._interfaces.values() if local in one.addresses), "eth0")
        return f"{source[0]}%{name}", source[1]

    def interfaces_to(self, group: str) -> list[tuple[str, Segment]]:
        """Where multicast leaves: an address of each interface, and its segment; loopback if there is nothing else."""
        found = [
            (address, one.segment)
            for one in self._interfaces.values()
            for address in [next((known for known in one.addresses if (":" in known) == (":" in group)), None)]
            if one.up and address is not None
        ]
        return [way for way in found if not is_loopback(way[0])] or found

    def receive_multicast(self, destination: Address, data: bytes, source: Address, now: float) -> None:
        for socket in list(self.multicast):
            if socket.key == destination:
                socket.receive(data, source, now)

    def forget_multicast(self, socket: VirtualMulticastSocket) -> None:
        if socket in self.multicast:
            self.multicast.remove(socket)

    def forget_socket(self, socket: VirtualSocket) -> None:
        host, port = socket.local_address
        self.sockets.pop((without_zone(host), port), None)

    def remember_stream(self, stream: VirtualStream) -> None:
        self.streams.add(stream)

    def forget_stream(self, stream: VirtualStream) -> None:
        self.streams.discard(stream)

    def leftovers(self) -> list[str]:
        if self.is_infrastructure:
            return []
        left = [*self.sockets.values(), *self.multicast, *self.streams, *self.listeners.values(), *self._watches]
        return [f"left open on the virtual network: {one!r}" for one in left]

    def _changed(self) -> None:
        """Tell who watches, a moment later and once for all that has happened until then."""
        if self._watches and not self._is_change_due:
            self._is_change_due = True
            self.network.schedule(self.network.shared.loop.time() + WATCH_DELAY, self._tell_watches)

    def _tell_watches(self) -> None:
        self._is_change_due = False
        with self.network.shared.step:
            for watch in list(self._watches):
                watch.on_change()

    def _free_port(self, host: str) -> int:
        for _ in _EPHEMERAL_PORTS:
            port = self._next_port
            self._next_port = port + 1 if port + 1 in _EPHEMERAL_PORTS else _EPHEMERAL_PORTS.start
            if (host, port) not in self.sockets:
                return port
        raise OSError(errno.EADDRINUSE, f"{self.name} has no free port")
