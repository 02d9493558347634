"""Batched UDP: a train is one ``sendmsg`` with ``UDP_SEGMENT``, and one ``recvmsg`` with ``UDP_GRO`` brings one.

The socket is our own, read until empty within a bound: asyncio's datagram transport allocates 256 KiB for each datagram
and comes back to the loop after each. Where a system has no segmentation offload each datagram is a send of its own;
where the loop has no readers (Windows' proactor) asyncio's transport stands in.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any, cast

from ..train import MAX_TRAIN_LENGTH, MAX_TRAIN_SEGMENTS, Train
from .network import Address, DatagramSocket, Receiver
from .shared import Shared

logger = logging.getLogger(__name__)

_LINUX = sys.platform == "linux"
# Linux's own numbers, which the socket module does not name.
_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3

_SEGMENT_SIZE = struct.Struct("=H")
_CMSG_INT = struct.Struct("=i")
_ANCILLARY_SIZE = 64 if not hasattr(socket, "CMSG_SPACE") else socket.CMSG_SPACE(_CMSG_INT.size)

# At speed, the default of 208 KiB overflows between two turns of the loop. The system grants what it allows.
_KERNEL_BUFFER_SIZE = 4 << 20
# Trains for each wakeup: enough to drain a burst, few enough that timers and other sockets get their turn.
_MAX_RECEIVES = 32
# What waits for a full kernel buffer. More would only be delay: a congested path is told by loss.
_MAX_QUEUED_BYTES = 256 << 10
# The largest datagram that asyncio's transport is to take: none is larger.
_FALLBACK_MAX_SIZE = 65536

# What sendmsg answers when it cannot segment: the kernel or device lacks it (EIO: no checksum offload), or one segment
# exceeds the interface's MTU (EINVAL, EMSGSIZE in newer kernels).
_CANNOT_SEGMENT = frozenset({errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})
_NEVER_SEGMENTS = frozenset({errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP})


@dataclass(slots=True)
class UDPCounters:
    """What was lost between the kernel and the layer above, in datagrams."""

    empty_received: int = 0
    receive_errors: int = 0
    send_errors: int = 0
    """Refused by the system: unreachable, too large for the path (the sockets set "don't fragment"), no buffers."""
    send_overflows: int = 0
    """Dropped because the kernel took no more and the queue was full."""


class _SystemAddresses:
    """Translates between our addresses, which carry zones in their host, and the system's tuples."""

    __slots__ = ("_own_scope", "_zones")

    def __init__(self, own_scope: int = 0) -> None:
        self._own_scope = own_scope
        self._zones: dict[int, str] = {}

    @staticmethod
    def of(sock: socket.socket) -> _SystemAddresses:
        """Those of a bound socket."""
        return _SystemAddresses(sock.getsockname()[3]) if sock.family == socket.AF_INET6 else _WITHOUT_ZONES

    def to_system(self, address: Address) -> tuple[Any, ...]:
        """A link-local destination without a zone is on the link that the socket is bound to."""
        host, port = address
        if not host.startswith("fe80:"):
            return address
        host, _, zone = host.partition("%")
        return host, port, 0, scope_of(zone) if zone else self._own_scope

    def from_system(self, address: tuple[Any, ...]) -> Address:
        if len(address) == 4 and address[3]:
            scope = address[3]
            zone = self._zones.get(scope)
            if zone is None:
                zone = self._zones[scope] = zone_of(scope)
            return f"{address[0]}%{zone}", address[1]
        return address[0], address[1]


# IPv4's, which all sockets have in common.
_WITHOUT_ZONES = _SystemAddresses()


def scope_of(zone: str) -> int:
    """The number that the system knows an IPv6 zone by; 0 when there is none of this name."""
    if zone.isdecimal():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        return 0


def zone_of(scope: int) -> str:
    """The name of an IPv6 zone, or its number where it has none."""
    try:
        return socket.if_indextoname(scope)
    except OSError:
        return str(scope)


class UDPSocket:
    """A :class:`DatagramSocket` on a loop that watches file descriptors. :func:`open_udp` makes it."""

    __slots__ = (
        "_addresses",
        "_closed",
        "_has_offload",
        "_local_address",
        "_queue",
        "_queued_bytes",
        "_receiver",
        "_shared",
        "_sock",
        "counters",
    )

    def __init__(self, sock: socket.socket, shared: Shared, *, offload: bool = True) -> None:
        """Take over a bound socket. NotImplementedError when the loop cannot watch it."""
        self._sock = sock
        self._shared = shared
        self._addresses = _SystemAddresses.of(sock)
        self._local_address = self._addresses.from_system(sock.getsockname())
        self._has_offload = offload and _enable_offload(sock)
        self._receiver: Receiver | None = None
        # A list, since it is nearly always empty, and an empty deque takes 600 bytes.
        self._queue: list[tuple[Train, Address]] = []
        self._queued_bytes = 0
        self._closed = False
        self.counters = UDPCounters()
        shared.loop.add_reader(sock.fileno(), self._on_readable)

    @property
    def local_address(self) -> Address:
        return self._local_address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._receiver = None
        self._queue.clear()
        self._shared.loop.remove_reader(self._sock.fileno())
        self._shared.loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def send(self, train: Train, address: Address) -> None:
        if self._closed:
            return
        if self._queue:
            self._enqueue(train, address)
            return
        sent = self._send(train, address)
        if sent is not None:
            self._enqueue(Train(train.data[sent:], train.segment_size), address)
            self._shared.loop.add_writer(self._sock.fileno(), self._on_writable)

    def _send(self, train: Train, address: Address) -> int | None:
        """Hand the train to the kernel. None when it is done with, else how many octets of it the kernel took."""
        data, size = train.data, train.segment_size
        destination = self._addresses.to_system(address)
        if len(data) <= size:
            return None if self._send_datagram(data, destination) else 0
        position = 0
        if self._has_offload:
            # Whole segments only, as many as one call may carry.
            step = size * max(1, min(MAX_TRAIN_SEGMENTS, MAX_TRAIN_LENGTH // size))
            control = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(size))]
            while position < len(data):
                part = data[position : position + step]
                try:
                    if len(part) <= size:
                        self._sock.sendto(part, destination)
                    else:
                        self._sock.sendmsg([part], control, 0, destination)
                except BlockingIOError:
                    return position
                except OSError as error:
                    if error.errno in _CANNOT_SEGMENT:
                        self._has_offload = error.errno not in _NEVER_SEGMENTS
                        break
                    self.counters.send_errors += -(-len(part) // size)
                position += step
        while position < len(data):
            if not self._send_datagram(data[position : position + size], destination):
                return position
            position += size
        return None

    def _send_datagram(self, data: memoryview, destination: tuple[Any, ...]) -> bool:
        """Whether the kernel took the datagram, or never will."""
        try:
            self._sock.sendto(data, destination)
        except BlockingIOError:
            return False
        except OSError:
            # What an ICMP message reports about an earlier datagram comes here too: the socket lives on.
            self.counters.send_errors += 1
        return True

    def _enqueue(self, train: Train, address: Address) -> None:
        if self._queued_bytes + len(train.data) > _MAX_QUEUED_BYTES:
            self.counters.send_overflows += len(train)
            return
        self._queued_bytes += len(train.data)
        self._queue.append((Train(memoryview(bytes(train.data)), train.segment_size), address))

    def _on_writable(self) -> None:
        done = 0
        for train, address in self._queue:
            sent = self._send(train, address)
            if sent is not None:
                self._queued_bytes -= sent
                self._queue[done] = Train(train.data[sent:], train.segment_size), address
                break
            self._queued_bytes -= len(train.data)
            done += 1
        del self._queue[:done]
        if not self._queue:
            self._shared.loop.remove_writer(self._sock.fileno())

    def _on_readable(self) -> None:
        shared = self._shared
        buffer = memoryview(shared.received)
        buffers = [buffer]
        receive = self._sock.recvmsg_into
        clock = shared.loop.time
        with shared.step:
            for _ in range(_MAX_RECEIVES):
                try:
                    size, ancillary, _, source = receive(buffers, _ANCILLARY_SIZE)
                except BlockingIOError:
                    return
                except OSError:
                    self.counters.receive_errors += 1
                    return
                if not size:
                    self.counters.empty_received += 1
                    continue
                segment_size = _CMSG_INT.unpack(ancillary[0][2])[0] if ancillary else size
                receiver = self._receiver
                if receiver is not None:
                    # The time of each: what is read last may answer what was sent since the first.
                    receiver(Train(buffer[:size], segment_size), self._addresses.from_system(source), clock())
                if self._closed:
                    return


def _enable_offload(sock: socket.socket) -> bool:
    """Ask for coalesced reads; whether segmented sends are there too."""
    if not _LINUX:
        return False
    try:
        sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
    except OSError:
        logger.debug("this system has no UDP_GRO")
    try:
        sock.getsockopt(_SOL_UDP, _UDP_SEGMENT)
    except OSError:
        logger.debug("this system has no UDP_SEGMENT")
        return False
    return True


class TransportUDPSocket(asyncio.DatagramProtocol):
    """A :class:`DatagramSocket` on asyncio's datagram transport, for loops that watch no file descriptors."""

    def __init__(self, sock: socket.socket, shared: Shared) -> None:
        self._shared = shared
        self._addresses = _SystemAddresses.of(sock)
        self._local_address = self._addresses.from_system(sock.getsockname())
        self._receiver: Receiver | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._is_full = False
        self.counters = UDPCounters()

    @property
    def local_address(self) -> Address:
        return self._local_address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def close(self) -> None:
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def send(self, train: Train, address: Address) -> None:
        transport = self._transport
        if transport is None:
            return
        destination = self._addresses.to_system(address)
        for datagram in train:
            if self._is_full:
                self.counters.send_overflows += 1
                continue
            transport.sendto(bytes(datagram), destination)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        # The default of 256 KiB is allocated anew for each datagram. The attribute is asyncio's own, not documented.
        if hasattr(transport, "max_size"):
            transport.max_size = _FALLBACK_MAX_SIZE

    def datagram_received(self, data: bytes, address: tuple[Any, ...]) -> None:
        if not data:
            self.counters.empty_received += 1
        elif self._receiver is not None:
            with self._shared.step:
                source = self._addresses.from_system(address)
                self._receiver(Train.of(data), source, self._shared.loop.time())

    def error_received(self, error: Exception) -> None:
        self.counters.send_errors += 1

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False


async def open_udp(host: str, port: int = 0) -> DatagramSocket:
    """Bind a socket to a numeric address (port 0: the system's choice). OSError when the system refuses."""
    shared = Shared.of_running_loop()
    sock = _bind(host, port)
    try:
        if hasattr(sock, "recvmsg_into"):
            with contextlib.suppress(NotImplementedError):
                return UDPSocket(sock, shared)
        _, protocol = await shared.loop.create_datagram_endpoint(lambda: TransportUDPSocket(sock, shared), sock=sock)
        return protocol
    except BaseException:
        sock.close()
        raise


def _bind(host: str, port: int) -> socket.socket:
    is_ipv6 = ":" in host
    sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _KERNEL_BUFFER_SIZE)
        if is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if _LINUX:
            # "Don't fragment" on each packet, whatever the kernel believes of the path: a datagram that does not fit
            # is lost, which path-MTU probing (RFC 8899) relies on, and never fragmented.
            if is_ipv6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        host, _, zone = host.partition("%")
        sock.bind((host, port, 0, scope_of(zone)) if is_ipv6 else (host, port))
    except BaseException:
        sock.close()
        raise
    return sock
