"""One port number for many agents: :class:`UDPMux` and :class:`TCPMux`.

A server opens one port in its firewall, and thousands of agents share it::

    mux = await UDPMux.listen(port=3478)
    agent = Agent(AgentOptions(udp_mux=mux))

A mux has a socket of its own on each local address, all with the same port number, and none on the wildcard address:
so an answer always leaves from the address that was asked, also on hosts with several.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from ..arguments import listed
from ..errors import ArgumentTypeError, InvalidStateError
from ..runtime.network import Address, Network
from ..runtime.reasons import why
from ..runtime.shared import Shared
from ..runtime.system_network import SystemNetwork
from ..train import Train
from .binding import BindingQueries, ServerError
from .server_codes import UNREACHABLE
from .tcp_port import Lobby, TCPPort
from .udp_port import UDPPort

logger = logging.getLogger(__name__)

# How often a port that is free on one address and taken on another is given up for another one.
_MAX_ATTEMPTS = 10
# How long a STUN server's answer holds for all agents; NATs keep a mapping for 30 s at least (RFC 4787 REQ-5).
_MAPPED_ADDRESS_LIFETIME = 25.0
# Nobody's user fragment: it has a character that none has.
_OWN_NAME = "*"


class _Port(Protocol):
    @property
    def local_address(self) -> Address: ...

    def has(self, ufrag: str) -> bool: ...

    def close(self, reason: str) -> None: ...


P = TypeVar("P", bound=_Port)


class Mux(ABC, Generic[P]):
    """What both kinds have in common. It belongs to the event loop that it was made on."""

    _KIND = ""

    def __init__(self, hosts: Sequence[str] | None, port: int, net: Network | None) -> None:
        self._shared = Shared.of_running_loop()
        self._network: Network = net or SystemNetwork()
        self._hosts = hosts
        self._port = port
        self._ports: dict[str, P] = {}
        self._opening = asyncio.Lock()
        self._refused: set[str] = set()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port number on all addresses."""
        return self._port

    @property
    def addresses(self) -> list[Address]:
        """Where it listens."""
        return [port.local_address for port in self._ports.values()]

    def close(self) -> None:
        """Close all sockets. Agents that use them lose those candidates, and go on with others if they have any."""
        if not self._is_closed:
            self._is_closed = True
            logger.info("the %s mux on port %d is closed", self._KIND, self._port)
            with self._shared.step:
                for port in self._ports.values():
                    port.close(f"the {self._KIND} mux was closed")

    def check(self, ufrag: str) -> None:
        """InvalidStateError when an agent with this user fragment cannot use it."""
        if self._is_closed:
            raise InvalidStateError(f"the {self._KIND} mux is closed")
        if any(port.has(ufrag) for port in self._ports.values()):
            raise InvalidStateError(f"another agent on the {self._KIND} mux has the user fragment {ufrag!r}")

    async def port_on(self, host: str) -> P | None:
        """The port on a local address; None when it does not listen there. An address may be newer than the mux."""
        async with self._opening:
            if self._is_closed or not self._includes(host):
                return None
            if host not in self._ports:
                try:
                    port = await self._open(host, self._port)
                except OSError as error:
                    level = logging.DEBUG if host in self._refused else logging.WARNING
                    self._refused.add(host)
                    logger.log(level, "the %s mux has no port %d on %s: %s", self._KIND, self._port, host, why(error))
                    return None
                if self._is_closed:  # meanwhile
                    port.close("")
                    return None
                self._ports[host] = port
            return self._ports[host]

    def _includes(self, host: str) -> bool:
        return self._hosts is None or host in self._hosts or ("::" if ":" in host else "0.0.0.0") in self._hosts

    async def _open_all(self) -> None:
        """OSError when it can listen nowhere, or not on an address that was asked for by name."""
        by_name = [host for host in self._hosts or () if host not in ("::", "0.0.0.0")]
        found = [host for interface in self._network.interfaces() for host in interface.addresses]
        hosts = list(dict.fromkeys([*by_name, *filter(self._includes, found)]))
        if not hosts:
            raise OSError(errno.EADDRNOTAVAIL, "there is no address to listen on")
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                await self._open_each(hosts, by_name)
                break
            except BaseException as error:
                for port in self._ports.values():
                    port.close("")
                self._ports.clear()
                is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
                if self._port or not is_taken or attempt == _MAX_ATTEMPTS:
                    raise
        self._port = next(iter(self._ports.values())).local_address[1]
        logger.info("a %s mux listens on port %d of %s", self._KIND, self._port, ", ".join(self._ports))

    async def _open_each(self, hosts: list[str], by_name: list[str]) -> None:
        number = self._port
        for host in hosts:
            try:
                port = self._ports[host] = await self._open(host, number)
                number = port.local_address[1]
            except OSError as error:
                if host in by_name or error.errno in (errno.EADDRINUSE, errno.EACCES):
                    raise
                logger.debug("no %s socket on %s: %s", self._KIND, host, why(error))
        if not self._ports:
            raise OSError(errno.EADDRNOTAVAIL, f"none of {', '.join(hosts)} can be listened on")

    @abstractmethod
    async def _open(self, host: str, port: int) -> P: ...


def _checked_hosts(hosts: str | Sequence[str] | None) -> Sequence[str] | None:
    if hosts is None:
        return None
    hosts = [hosts] if isinstance(hosts, str) else listed("hosts", hosts)
    if not hosts:
        raise ValueError("hosts is empty; None stands for all local addresses")
    for host in hosts:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"hosts has {host!r}; it takes numeric addresses") from None
    return hosts


def _checked_port(port: int) -> int:
    if not isinstance(port, int):
        raise ArgumentTypeError(f"port is {port!r}; it must be 0 to 65535")
    if not 0 <= port < 65536:
        raise ValueError(f"port is {port!r}; it must be 0 to 65535")
    return port


class UDPMux(Mux[UDPPort]):
    """One UDP port for the host and server-reflexive candidates of many agents. :meth:`listen` makes one.

    An agent that shares it is known by its user fragment, and by where ICE has proved its peer to be: what strangers
    send is counted in ``dropped`` and costs no more with thousands of agents than with one. Two agents on one mux
    cannot both be connected to one and the same port of a peer's, as of another mux; to each other they can.
    """

    _KIND = "UDP"

    @classmethod
    async def listen(
        cls, hosts: str | Sequence[str] | None = None, port: int = 0, *, net: Network | None = None
    ) -> UDPMux:
        """Open the port on numeric addresses, ``0.0.0.0`` and ``::`` standing for all of their family, None for all.

        Port 0 is one of the system's choice. ``net`` is the network if not the system's, the same as the agents'.
        OSError when the port is taken or an address is not the host's; ValueError for what is no address or port.
        """
        mux = cls(_checked_hosts(hosts), _checked_port(port), net)
        await mux._open_all()
        return mux

    def __init__(self, hosts: Sequence[str] | None, port: int, net: Network | None) -> None:
        super().__init__(hosts, port, net)
        self._mapped: dict[str, _MappedAddresses] = {}

    @property
    def dropped(self) -> int:
        """Datagrams that were for no agent."""
        return sum(port.dropped for port in self._ports.values())

    def close(self) -> None:
        for mapped in self._mapped.values():
            mapped.close()
        super().close()

    async def mapped_address(self, host: str, server: Address, timeout: float) -> Address:
        """How a STUN server sees the port on a local address. It is asked once for all agents. ServerError."""
        return await self._mapped[host].get(server, timeout)

    async def _open(self, host: str, port: int) -> UDPPort:
        opened = UDPPort(await self._network.open_udp(host, port), self._shared, is_shared=True)
        self._mapped[host] = _MappedAddresses(opened, self._shared)
        return opened


class _MappedAddresses:
    """What STUN servers have said of a shared port, while it holds."""

    def __init__(self, port: UDPPort, shared: Shared) -> None:
        self._shared = shared
        self._endpoint = port.open_endpoint(_OWN_NAME)
        self._endpoint.set_receiver(self._receive)
        self._queries = BindingQueries(shared)
        self._known: dict[Address, tuple[float, asyncio.Task[Address]]] = {}
        self._is_closed = False

    async def get(self, server: Address, timeout: float) -> Address:
        if self._is_closed:
            raise _closed()
        now = self._shared.loop.time()
        until, answer = self._known.get(server, (0.0, None))
        if answer is None or now >= until:
            asking = self._queries.ask(lambda request, to: self._endpoint.send(Train.of(request), to), server, timeout)
            answer = self._shared.loop.create_task(asking, name=f"UDP mux: ask {server}")
            self._known = {one: entry for one, entry in self._known.items() if now < entry[0]}
            self._known[server] = now + _MAPPED_ADDRESS_LIFETIME, answer
            answer.add_done_callback(lambda answer: self._asked(server, answer))
        # Who gives up waiting takes the answer from nobody else.
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if answer.cancelled() and waiter is not None and not waiter.cancelling():
                raise _closed() from None
            raise

    def close(self) -> None:
        self._is_closed = True
        for _, answer in self._known.values():
            answer.cancel()

    def _asked(self, server: Address, answer: asyncio.Task[Address]) -> None:
        if (answer.cancelled() or answer.exception() is not None) and self._known.get(server, (0, None))[1] is answer:
            del self._known[server]

    def _receive(self, train: Train, source: Address, now: float) -> None:
        for datagram in train:
            self._queries.receive(datagram, source)


def _closed() -> ServerError:
    return ServerError(UNREACHABLE, "the UDP mux was closed")


class TCPMux(Mux[TCPPort]):
    """One TCP port for the passive candidates of many agents (RFC 6544). :meth:`listen` makes one.

    Each connection must begin with a check for one of the agents, within ten seconds; nothing is answered to others.
    """

    _KIND = "TCP"

    @classmethod
    async def listen(
        cls,
        hosts: str | Sequence[str] | None = None,
        port: int = 0,
        *,
        net: Network | None = None,
        max_connections: int = 4096,
        max_connections_of_network: int = 256,
    ) -> TCPMux:
        """Listen on numeric addresses, ``0.0.0.0`` and ``::`` standing for all of their family, None for all.

        Port 0 is one of the system's choice. ``net`` is the network if not the system's, the same as the agents'.
        ``max_connections`` is for all agents together, ``max_connections_of_network`` for those of one IPv4 address
        or IPv6 /64. OSError when the port is taken or an address is not the host's; ValueError for wrong arguments.
        """
        for name, value in (
            ("max_connections", max_connections),
            ("max_connections_of_network", max_connections_of_network),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value!r}; it must be at least 1")
        mux = cls(_checked_hosts(hosts), _checked_port(port), net, max_connections, max_connections_of_network)
        await mux._open_all()
        return mux

    def __init__(
        self, hosts: Sequence[str] | None, port: int, net: Network | None, most: int, most_of_network: int
    ) -> None:
        super().__init__(hosts, port, net)
        self._lobby = Lobby(self._shared, most, most_of_network)

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._lobby.count

    @property
    def refused(self) -> int:
        """Connections that were closed because there were too many, or because they named no agent in time."""
        return self._lobby.refused

    def close(self) -> None:
        super().close()
        self._lobby.close()

    async def _open(self, host: str, port: int) -> TCPPort:
        return TCPPort(await self._network.listen_tcp(host, port), self._shared, self._lobby)
