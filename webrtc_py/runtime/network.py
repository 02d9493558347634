"""The network as the stack sees it: a small protocol, so that a virtual network can stand in for the system's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..train import Train

Address = tuple[str, int]
"""Host and port. The host is a numeric address; an IPv6 link-local one carries its zone, ``fe80::1%eth0``."""

Receiver = Callable[[Train, Address, float], None]
"""Takes a train, the address it came from and the loop's time. The train is valid during the call."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up, with its numeric addresses (IPv6 link-local ones with their zone).

    Of the addresses, ``temporary`` are those made against tracking (RFC 8981), and ``deprecated`` those that still
    work but are not for new connections (RFC 4862 section 5.5.4), where the system tells.
    """

    name: str
    addresses: tuple[str, ...]
    temporary: frozenset[str] = frozenset()
    deprecated: frozenset[str] = frozenset()


class DatagramSocket(Protocol):
    """A bound UDP socket. Nothing it does after it is open raises for what the network does: it counts."""

    @property
    def local_address(self) -> Address: ...

    def set_receiver(self, receiver: Receiver | None) -> None:
        """Who takes what arrives. What arrives without one is dropped."""

    def send(self, train: Train, address: Address) -> None:
        """Send now, or drop what the system has no room for."""

    def close(self) -> None:
        """Close at once; nothing is received any more."""


class MulticastSocket(DatagramSocket, Protocol):
    """A UDP socket in a multicast group. What is sent to the group leaves through every interface."""

    def join(self) -> None:
        """Join on the interfaces that have come since. OSError when the group is joined on none."""


class Watch(Protocol):
    """Somebody's interest in the interfaces, until it is closed."""

    def close(self) -> None: ...


class Stream(Protocol):
    """Octets in order: a TCP connection, or what runs inside one."""

    @property
    def local_address(self) -> Address: ...

    @property
    def remote_address(self) -> Address: ...

    def set_receiver(self, on_data: Callable[[bytes], None], on_lost: Callable[[Exception | None], None]) -> None: ...

    def write(self, data: bytes) -> None:
        """Queue octets; drops them once the connection is closed."""

    @property
    def write_buffer_size(self) -> int:
        """Octets that the system has not taken yet: who must not queue looks here first."""

    def close(self) -> None: ...


class Listener(Protocol):
    """Where TCP connections come in."""

    @property
    def local_address(self) -> Address: ...

    def set_acceptor(self, acceptor: Callable[[Stream], None] | None) -> None:
        """Who takes the connections. One that comes without an acceptor is closed."""

    def close(self) -> None:
        """Listen no more. The connections that have been taken live on."""


@runtime_checkable
class Network(Protocol):
    """What ICE needs of a system."""

    def interfaces(self) -> list[Interface]:
        """The interfaces that are up, loopback included."""

    def watch(self, on_change: Callable[[], None], interval: float) -> Watch:
        """Call, soon after it happens, when ``interfaces`` has come to give something else.

        ``interval`` is how many seconds may pass between two looks where the system tells of no changes itself.
        """

    async def resolve(self, host: str, port: int) -> list[Address]:
        """A name's addresses, IPv4 and IPv6. OSError when there is none."""

    async def resolve_srv(self, service: str, host: str) -> list[Address]:
        """The names and ports of a domain's service, ``_turn._udp``, the best first; none when it has none (RFC 2782).

        OSError when the domain does not say.
        """

    async def open_udp(self, host: str, port: int = 0) -> DatagramSocket:
        """A socket bound to a numeric address. OSError when the system refuses."""

    async def open_multicast(self, group: str, port: int) -> MulticastSocket:
        """A socket that shares its port with other programs' and takes what is sent to the group. OSError when none."""

    async def connect_tcp(self, address: Address, *, local_host: str | None = None, local_port: int = 0) -> Stream:
        """A TCP connection, from a local address where one is given. OSError when it cannot be made."""

    async def listen_tcp(self, host: str, port: int = 0, *, shares_port: bool = False) -> Listener:
        """Listen on a numeric address. OSError when the system refuses.

        ``shares_port`` lets connections be made from the same port too, as simultaneous open wants it.
        """
