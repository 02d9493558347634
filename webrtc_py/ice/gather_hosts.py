"""Host candidates: a socket on each local address (RFC 8445 section 5.1.1.1)."""

from __future__ import annotations

import asyncio
import logging
import random

from ..runtime.network import DatagramSocket, Network
from ..runtime.shared import Shared
from ..states import CandidateType
from .addresses import LocalAddress
from .gather_plan import Base, CandidateMaker, GatherPlan, Host
from .udp_port import UDPPort

logger = logging.getLogger(__name__)


class HostGathering:
    """Opens a port on each address. ``ready`` is set when all of ``bases`` are there."""

    def __init__(self, plan: GatherPlan, host: Host, network: Network, maker: CandidateMaker, shared: Shared) -> None:
        self._plan = plan
        self._host = host
        self._network = network
        self._maker = maker
        self._shared = shared
        self.bases: list[Base] = []
        self.ready = asyncio.Event()

    async def run(self) -> None:
        types = self._plan.candidate_types
        try:
            if CandidateType.HOST in types or CandidateType.SRFLX in types:
                for address in self._plan.addresses:
                    await self._gather(address)
        finally:
            self.ready.set()

    async def _gather(self, address: LocalAddress) -> None:
        port = self._host.find_port(address.host)
        if port is None:
            try:
                port = UDPPort(await self._open_socket(address.host), self._shared)
            except OSError as error:
                logger.debug("no socket on %s: %s", address.host, error)
                return
        base = self._host.add_base(port.open_endpoint(self._plan.ufrag), address)
        self.bases.append(base)
        if CandidateType.HOST in self._plan.candidate_types:
            self._maker.add(CandidateType.HOST, port.local_address, base)

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
                refused = error
        raise refused
