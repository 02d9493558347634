"""Finds local candidates: host, server-reflexive and relayed (RFC 8445 section 5.1)."""

from __future__ import annotations

import asyncio

from ..runtime.network import Address, DatagramSocket, Network
from ..runtime.shared import Shared
from .binding import BindingQueries
from .gather_hosts import HostGathering
from .gather_plan import CandidateMaker, GatherPlan, Host
from .gather_servers import ServerGathering


class Gathering:
    """One pass over interfaces and servers."""

    def __init__(self, plan: GatherPlan, host: Host, network: Network, queries: BindingQueries, shared: Shared) -> None:
        maker = CandidateMaker(plan, host)
        self._plan = plan
        self._hosts = HostGathering(plan, host, network, maker, shared)
        self._servers = ServerGathering(plan, host, network, maker, self._hosts, queries, shared)

    @property
    def bindings(self) -> list[tuple[DatagramSocket, Address]]:
        """Sockets and the STUN servers that have answered them: what keeps the NATs' mappings alive."""
        return self._servers.bindings

    async def run(self) -> None:
        """Returns when everything has been found or has failed; raises nothing but CancelledError."""
        async with asyncio.TaskGroup() as group:
            for index, url in enumerate(self._plan.urls):
                group.create_task(self._servers.gather(url, index), name=f"gather from {url}")
            await self._hosts.run()
