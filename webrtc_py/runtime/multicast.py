"""UDP in a multicast group, on all interfaces at once.

One socket for each group: it is joined on every interface, and what is sent is sent once for each. asyncio's transport
does, since little is sent and on every kind of loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import struct
import sys
from typing import Any, cast

from ..train import Train
from .interfaces import system_interfaces
from .network import Address, Interface, MulticastSocket, Receiver
from .shared import Shared

logger = logging.getLogger(__name__)

# As RFC 6762 section 11 asks; the groups that are meant here are not routed anyway.
_TTL = 255


class GroupSocket(asyncio.DatagramProtocol):
    """See :class:`webrtc_py.runtime.network.MulticastSocket`."""

    def __init__(self, sock: socket.socket, group: str, shared: Shared) -> None:
        self._sock = sock
        self._group = group
        self._shared = shared
        self._receiver: Receiver | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._joined: dict[str, bytes | int] = {}
        self._local_address: Address = sock.getsockname()[:2]

    @property
    def local_address(self) -> Address:
        return self._local_address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def join(self) -> None:
        present = {key: how for key, how in _ways_to_join(self._group, system_interfaces()) if self._can_join(key, how)}
        if not present:
            raise OSError(errno.ENODEV, f"no interface lets us join {self._group}")
        self._joined = present

    def send(self, train: Train, address: Address) -> None:
        if self._transport is None:
            return
        for datagram in train:
            for how in self._joined.values():
                with contextlib.suppress(OSError):  # the interface has gone: there will be word of it
                    if isinstance(how, bytes):
                        self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, how)
                    else:
                        self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, how)
                    self._transport.sendto(bytes(datagram), address)

    def close(self) -> None:
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[Any, ...]) -> None:
        if data and self._receiver is not None:
            with self._shared.step:
                self._receiver(Train.of(data), (address[0], address[1]), self._shared.loop.time())

    def error_received(self, error: Exception) -> None:
        """A link that is down, for example: what was sent is lost, as any datagram may be."""

    def _can_join(self, key: str, how: bytes | int) -> bool:
        if key in self._joined:
            return True
        group = socket.inet_pton(socket.AF_INET6 if ":" in self._group else socket.AF_INET, self._group)
        try:
            if isinstance(how, bytes):
                self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + how)
            else:
                member = group + struct.pack("@I", how)
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        except OSError as error:
            return error.errno == errno.EADDRINUSE  # it has been there before, and the system has not forgotten
        return True


def _ways_to_join(group: str, interfaces: list[Interface]) -> list[tuple[str, bytes | int]]:
    """How each interface is named to the system: by an IPv4 address of its own, or by its number for IPv6.

    Loopback only where there is nothing else.
    """
    ways: dict[bool, list[tuple[str, bytes | int]]] = {False: [], True: []}
    for interface in interfaces:
        hosts = [host for host in interface.addresses if (":" in host) == (":" in group)]
        if not hosts:
            continue
        is_loopback = ipaddress.ip_address(hosts[0]).is_loopback
        if ":" not in group:
            ways[is_loopback].append((hosts[0], socket.inet_aton(hosts[0])))
        else:
            with contextlib.suppress(OSError):
                ways[is_loopback].append((interface.name, socket.if_nametoindex(interface.name)))
    return ways[False] or ways[True]


async def open_multicast(group: str, port: int) -> MulticastSocket:
    """Join ``group``, sharing ``port`` with whoever else listens there. OSError when no interface can."""
    shared = Shared.of_running_loop()
    sock = _bind(group, port)
    try:
        _, protocol = await shared.loop.create_datagram_endpoint(lambda: GroupSocket(sock, group, shared), sock=sock)
    except BaseException:
        sock.close()
        raise
    try:
        protocol.join()
    except OSError:
        protocol.close()
        raise
    return protocol


def _bind(group: str, port: int) -> socket.socket:
    is_ipv6 = ":" in group
    sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _TTL)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        if not is_ipv6 and sys.platform == "linux":
            # Then nothing but the group's datagrams arrives, which come from the local network. Other systems do not
            # bind to a group, or do not send from there.
            sock.bind((group, port))
        else:
            sock.bind(("::" if is_ipv6 else "", port))
    except BaseException:
        sock.close()
        raise
    return sock
