"""What servers tell of us and give us: server-reflexive candidates here, relayed ones by :mod:`.gather_relays`."""

from __future__ import annotations

import asyncio

from ..runtime.network import Address, DatagramSocket, Network
from ..states import CandidateType
from ..train import Train
from .binding import BindingQueries, ServerError
from .gather_hosts import HostGathering
from .gather_plan import Base, CandidateMaker, Found, GatheringError, GatherPlan, Host
from .gather_relays import RelayGathering, can_reach
from .lookup import find_server
from .relay import Relay
from .server_codes import UNREACHABLE
from .url import ServerURL

_NO_CANDIDATE = "over TCP a server tells the address of one connection, of which no candidate can be made"


class ServerGathering:
    """Asks STUN servers about the bases of ``hosts``, and TURN servers for relays."""

    def __init__(
        self,
        plan: GatherPlan,
        host: Host,
        network: Network,
        maker: CandidateMaker,
        hosts: HostGathering,
        relays: RelayGathering,
        queries: BindingQueries,
    ) -> None:
        self._plan = plan
        self._host = host
        self._network = network
        self._maker = maker
        self._hosts = hosts
        self._relays = relays
        self._queries = queries
        self.bindings: list[tuple[DatagramSocket, Address]] = []
        """Sockets and the STUN servers that have answered them: what keeps the NATs' mappings alive."""

    async def gather(self, url: ServerURL, index: int) -> None:
        """Both kinds that a server gives. What goes wrong is reported, and is nobody else's problem."""
        wants_relay = self._relays.wants(url) and CandidateType.RELAY in self._plan.candidate_types
        wants_reflexive = CandidateType.SRFLX in self._plan.candidate_types and url.protocol == "udp"
        if not url.is_turn and url.protocol != "udp":
            # It would be an active candidate (RFC 6544 section 5.2), to which nobody connects; and whom we connect to
            # sees the address anyway.
            self._fail(url, None, ServerError(UNREACHABLE, _NO_CANDIDATE))
        if not wants_relay and not wants_reflexive:
            return
        try:
            servers = await self._find(url)
        except ServerError as error:
            self._fail(url, None, error)
            return
        async with asyncio.TaskGroup() as group:
            if wants_relay:
                group.create_task(self._gather_relays(url, servers, index), name=f"gather a relay from {url}")
            if wants_reflexive:
                await self._hosts.ready.wait()
                for server in {":" in host: (host, port) for host, port in reversed(servers)}.values():
                    for base in self._hosts.bases:
                        if base.address is None or self._maker.is_mapped(base):
                            continue
                        if can_reach(base.address, server):
                            # Where a relay is asked for, its failure tells enough; and some TURN servers refuse this.
                            asking = self._gather_reflexive(url, server, index, base, report=not wants_relay)
                            group.create_task(asking, name=f"ask {url}")

    async def _find(self, url: ServerURL) -> list[Address]:
        """The server's addresses that ours can reach; its name, where a proxy looks it up."""
        if self._relays.looks_up(url):
            return [(url.host, url.port)]
        found = await find_server(url, self._network, self._plan.timeout)
        reachable = [one for one in found if any(can_reach(address, one) for address in self._plan.addresses)]
        if not reachable:
            hosts = ", ".join(server[0] for server in found)
            raise ServerError(UNREACHABLE, f"no local address can reach {hosts or url.host}")
        return reachable

    async def _gather_relays(self, url: ServerURL, servers: list[Address], index: int) -> None:
        try:
            await self._relays.gather(url, servers, self._plan.addresses, index)
        except ServerError as error:
            self._fail(url, None, error)

    async def _gather_reflexive(self, url: ServerURL, server: Address, index: int, base: Base, *, report: bool) -> None:
        socket = base.socket
        try:
            mapped = await self._mapped_address(base, server)
        except ServerError as error:
            if report:
                self._fail(url, base, error)
            return
        assert not isinstance(socket, Relay)
        self.bindings.append((socket, server))
        if (":" in mapped[0]) == (":" in server[0]):
            self._maker.add(Found(CandidateType.SRFLX, mapped, base, url, server, index))

    async def _mapped_address(self, base: Base, server: Address) -> Address:
        """How the server sees the base; of a port that agents share, one of them asks for all."""
        mux, timeout = self._plan.udp_mux, self._plan.timeout
        if mux is not None and base.address is not None:
            return await mux.mapped_address(base.address.host, server, timeout)
        return await self._queries.ask(lambda request, to: base.socket.send(Train.of(request), to), server, timeout)

    def _fail(self, url: ServerURL, base: Base | None, error: ServerError) -> None:
        address = base.socket.local_address if base is not None and self._plan.tells_hosts else None
        self._host.gathering_failed(GatheringError(url, address, error.error_code, error.reason))
