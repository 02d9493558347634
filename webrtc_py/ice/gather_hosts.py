"""Host candidates: on each local address a UDP socket (RFC 8445 section 5.1.1.1), and TCP (RFC 6544 section 5.1)."""

from __future__ import annotations

import asyncio
import errno
import logging
import random

from ..errors import InvalidAccessError
from ..runtime.network import Address, DatagramSocket, Network, Stream
from ..runtime.reasons import why
from ..runtime.shared import Shared
from ..states import CandidateType, NetworkType, TCPType
from .addresses import LocalAddress
from .gather_plan import Base, CandidateMaker, Found, GatherPlan, Host
from .tcp import DISCARD_PORT, Dial, TCPEndpoint
from .tcp_port import TCPPort
from .udp_port import UDPPort

logger = logging.getLogger(__name__)

# What an attempt at another port may get round: it is taken, or not for us.
_PORT_REFUSED = (errno.EADDRINUSE, errno.EACCES)


class HostGathering:
    """Opens a port on each address. ``ready`` is set when all of ``bases``, those over UDP, are there."""

    def __init__(self, plan: GatherPlan, host: Host, network: Network, maker: CandidateMaker, shared: Shared) -> None:
        self._plan = plan
        self._host = host
        self._network = network
        self._maker = maker
        self._shared = shared
        self.bases: list[Base] = []
        self.ready = asyncio.Event()

    async def run(self) -> None:
        types, networks = self._plan.candidate_types, self._plan.network_types
        try:
            if CandidateType.HOST in types and self._plan.hides_hosts:
                await self._hide()
            if CandidateType.HOST in types or CandidateType.SRFLX in types:
                for address in self._plan.addresses:
                    if (NetworkType.UDP6 if address.is_ipv6 else NetworkType.UDP4) in networks:
                        await self._gather_udp(address)
        finally:
            self.ready.set()
        if CandidateType.HOST in types:
            # Connecting tells the peer the address, as a candidate does: without host candidates there is no TCP.
            for address in self._plan.addresses:
                if (NetworkType.TCP6 if address.is_ipv6 else NetworkType.TCP4) in networks:
                    await self._gather_tcp(address)

    async def _hide(self) -> None:
        """Give each address a name. One that cannot have any is not told at all."""
        for address in self._plan.addresses:
            try:
                self._maker.names[address.host] = await self._host.name_of(address.host)
            except OSError as error:
                logger.info(
                    "ICE %s: no host candidates, since nobody could resolve their names: %s", self._plan.ufrag, error
                )
                return

    async def _gather_udp(self, address: LocalAddress) -> None:
        port = await self._port_on(address.host)
        if port is None:
            return
        try:
            endpoint = port.open_endpoint(self._plan.ufrag)
        except InvalidAccessError as error:
            logger.warning("ICE %s: no candidate on %s: %s", self._plan.ufrag, address.host, error)
            return
        base = self._host.add_base(endpoint, address)
        self.bases.append(base)
        if CandidateType.HOST in self._plan.candidate_types:
            self._maker.add(Found(CandidateType.HOST, port.local_address, base))
        if CandidateType.SRFLX in self._plan.candidate_types:
            self._maker.add_mapped(base)

    async def _gather_tcp(self, address: LocalAddress) -> None:
        """An active candidate, which has no port and opens its connections later, and one that takes connections.

        That is the mux's passive one. Who has no mux offers simultaneous open, by which two such agents meet.
        """
        host, plan = address.host, self._plan
        if plan.active_tcp:
            self._add_tcp(
                TCPType.ACTIVE, TCPEndpoint((host, DISCARD_PORT), self._shared, self._dial_from(host)), address
            )
        if plan.tcp_mux is not None:
            port = await plan.tcp_mux.port_on(host)
            if port is not None and not port.has(plan.ufrag):
                self._add_tcp(TCPType.PASSIVE, port.open_endpoint(plan.ufrag), address)
        elif plan.active_tcp:
            try:
                port = TCPPort(await self._network.listen_tcp(host, shares_port=True), self._shared)
            except OSError as error:
                logger.debug("no simultaneous open on %s: %s", host, error)
                return
            endpoint = port.open_endpoint(plan.ufrag, self._dial_from(host, port.local_address[1]))
            self._add_tcp(TCPType.SIMULTANEOUS_OPEN, endpoint, address)

    def _add_tcp(self, tcp_type: TCPType, endpoint: TCPEndpoint, address: LocalAddress) -> None:
        base = self._host.add_base(endpoint, address)
        self._maker.add(Found(CandidateType.HOST, endpoint.local_address, base, tcp_type=tcp_type))

    def _dial_from(self, host: str, port: int = 0) -> Dial:
        async def dial(remote: Address) -> Stream:
            return await self._network.connect_tcp(remote, local_host=host, local_port=port)

        return dial

    async def _port_on(self, host: str) -> UDPPort | None:
        if self._plan.udp_mux is not None:
            return await self._plan.udp_mux.port_on(host)
        port = self._host.find_port(host)
        if port is None:
            try:
                port = UDPPort(await self._open_socket(host), self._shared)
            except OSError as error:
                self._host.system_refused(f"no socket can be opened on {host}: {why(error)}")
        return port

    async def _open_socket(self, host: str) -> DatagramSocket:
        if self._plan.port_range is None:
            return await self._network.open_udp(host)
        low, high = self._plan.port_range
        count = high - low + 1
        start = random.randrange(count)
        for offset in range(count):
            try:
                return await self._network.open_udp(host, low + (start + offset) % count)
            except OSError as error:
                if error.errno not in _PORT_REFUSED:
                    raise
        logger.warning("ICE %s: no candidate on %s: no port from %d to %d is free", self._plan.ufrag, host, low, high)
        raise OSError(errno.EADDRINUSE, f"no port from {low} to {high} is free")
