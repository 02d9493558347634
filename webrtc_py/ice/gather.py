"""Finds local candidates: host, server-reflexive and relayed (RFC 8445 section 5.1), once or continually."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..runtime.network import Address, DatagramSocket, Network
from ..runtime.shared import Shared
from ..states import CandidateType
from .addresses import LocalAddress
from .binding import BindingQueries
from .dialer import Dialer
from .gather_hosts import HostGathering
from .gather_plan import CandidateMaker, GatherPlan, Host
from .gather_relays import RelayGathering
from .gather_servers import ServerGathering

logger = logging.getLogger(__name__)

# An interface that comes and goes all the time costs one round in this many seconds.
_MIN_INTERVAL = 1.0


class _Round:
    """One pass over addresses and servers."""

    def __init__(
        self,
        plan: GatherPlan,
        host: Host,
        network: Network,
        maker: CandidateMaker,
        relays: RelayGathering,
        queries: BindingQueries,
        shared: Shared,
    ) -> None:
        self.plan = plan
        self.hosts = HostGathering(plan, host, network, maker, shared)
        self.servers = ServerGathering(plan, host, network, maker, self.hosts, relays, queries)

    async def run(self) -> None:
        """Returns when everything has been found or has failed; raises nothing but CancelledError."""
        if not self.plan.urls:
            await self.hosts.run()
            return
        async with asyncio.TaskGroup() as group:
            for index, url in enumerate(self.plan.urls):
                group.create_task(self.servers.gather(url, index), name=f"gather from {url}")
            await self.hosts.run()


class Gathering:
    """What one generation gathers: a first round, and with :meth:`follow` another one after each change."""

    def __init__(self, plan: GatherPlan, host: Host, network: Network, queries: BindingQueries, shared: Shared) -> None:
        self._plan = plan
        self._host = host
        self._network = network
        self._queries = queries
        self._shared = shared
        self._maker = CandidateMaker(plan, host)
        dialer = Dialer(network, shared, tls_context=plan.tls_context, proxy=plan.proxy)
        self._relays = RelayGathering(plan, host, dialer, self._maker, shared)
        self._rounds: list[_Round] = []
        self._addresses: set[str] = set()

    @property
    def bindings(self) -> Iterable[tuple[DatagramSocket, Address]]:
        """Sockets and the STUN servers that have answered them: what keeps the NATs' mappings alive."""
        for one in self._rounds:
            yield from one.servers.bindings

    async def run(self) -> None:
        """The first round. Raises nothing but CancelledError."""
        await self._begin(self._plan).run()

    def _begin(self, plan: GatherPlan) -> _Round:
        self._addresses.update(address.host for address in plan.addresses)
        begun = _Round(plan, self._host, self._network, self._maker, self._relays, self._queries, self._shared)
        self._rounds.append(begun)
        return begun

    # Continual gathering

    async def follow(self, changed: asyncio.Event, find_addresses: Callable[[], Sequence[LocalAddress]]) -> None:
        """Gather on addresses that appear, and give up those that vanish, whenever ``changed`` is set; endless.

        What rounds find slowly holds up no later change.
        """
        async with asyncio.TaskGroup() as rounds:
            while True:
                await changed.wait()
                changed.clear()
                try:
                    self._give_up_vanished()
                    plans = self._plans(find_addresses())
                except OSError as error:
                    # As when there is no descriptor left to ask the system with.
                    logger.debug("ICE %s: the interfaces cannot be read: %s", self._plan.ufrag, error)
                    plans = []
                    changed.set()
                for plan in plans:
                    rounds.create_task(self._begin(plan).run(), name="gather on what is new")
                await asyncio.sleep(_MIN_INTERVAL)

    def _give_up_vanished(self) -> None:
        """An address that is only unwanted by now keeps what it has; one that is gone loses its socket."""
        present = {host for interface in self._network.interfaces() for host in interface.addresses}
        for base in list(self._host.bases()):
            host = base.local_host
            if host is not None and host not in present:
                self._host.base_gone(base, f"the address {host} is gone")
        self._relays.give_up_vanished(present)
        for host in self._addresses - present:
            self._addresses.discard(host)
            self._maker.forget(host)
            self._host.forget_name(host)
        live = {base.id for base in self._host.bases()}
        self._rounds = [
            one for one in self._rounds if not one.hosts.ready.is_set() or live & {base.id for base in one.hosts.bases}
        ]

    def _plans(self, addresses: Sequence[LocalAddress]) -> list[GatherPlan]:
        """What is to be gathered now: all but relays on new addresses, and what relays were lost."""
        plans = []
        new = [address for address in addresses if address.host not in self._addresses]
        if new:
            others = self._plan.candidate_types - {CandidateType.RELAY}
            plans.append(replace(self._plan, addresses=new, candidate_types=others))
        if CandidateType.RELAY in self._plan.candidate_types:
            plans.append(replace(self._plan, addresses=addresses, candidate_types=frozenset({CandidateType.RELAY})))
        return plans
