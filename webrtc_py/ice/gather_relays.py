"""Relayed candidates (RFC 8445 section 5.1.1.2): one allocation a server, with an address of each family.

A server that has an IPv4 and an IPv6 address is asked at the one that the system prefers, and at the other when the
first does not answer soon. What it does not grant in one allocation it is asked for at its other address.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..runtime.network import Address
from ..runtime.reasons import why
from ..runtime.shared import Shared
from ..states import CandidateType, NetworkType
from .addresses import LocalAddress
from .binding import ServerError
from .dialer import Dialer
from .gather_plan import CandidateMaker, Found, GatherPlan, Host
from .relay import Allocation, AllocationError
from .server_codes import ALLOCATION_MISMATCH, TRY_ALTERNATE, UNREACHABLE
from .turn import is_unicast
from .url import ServerURL

logger = logging.getLogger(__name__)

# A loop shows before (RFC 8489 section 10); a chain that is longer is a joke.
_MAX_REDIRECTIONS = 3
# Our port may be known to the server from somebody else's allocation (RFC 8656 section 7.4: three addresses are tried).
_MAX_PORTS = 3
# How long the server's preferred address has before the other is tried too.
_HEAD_START = 1.0
_MIN_TIMEOUT = 0.5
# RFC 8656 section 7.4: who was refused does not ask again at once.
_HOLD_OFF = 60.0


@dataclass(slots=True)
class _Granted:
    allocation: Allocation
    server: Address
    mapped: Address | None


class RelayGathering:
    """The allocations of one agent's generation. Asked a second time, it replaces what was lost."""

    def __init__(self, plan: GatherPlan, host: Host, dialer: Dialer, maker: CandidateMaker, shared: Shared) -> None:
        self._plan = plan
        self._host = host
        self._dialer = dialer
        self._maker = maker
        self._shared = shared
        types = ((4, NetworkType.UDP4), (6, NetworkType.UDP6))
        self._families = tuple(family for family, kind in types if kind in plan.network_types)
        self._allocations: dict[ServerURL, list[Allocation]] = {}
        self._given: dict[ServerURL, set[int]] = {}
        self._locks: dict[ServerURL, asyncio.Lock] = {}
        # Where a server is to be asked when its turn comes again, by what is known last.
        self._next_servers: dict[ServerURL, Sequence[Address]] = {}
        self._held_off: dict[ServerURL, float] = {}
        self._addresses = plan.addresses

    def wants(self, url: ServerURL) -> bool:
        """Whether a relay of this server's is to be gathered at all."""
        return (
            url.is_turn
            and CandidateType.RELAY in self._plan.candidate_types
            and url.protocol in self._plan.turn_protocols
            and bool(self._families)
        )

    def looks_up(self, url: ServerURL) -> bool:
        """Whether the server's name is for a proxy to look up."""
        return self._dialer.uses_proxy(url.protocol)

    def give_up_vanished(self, present: Collection[str]) -> None:
        """End what was reached from an address that is ours no more. What is bound to none is asked for instead."""
        for allocation in [one for known in self._allocations.values() for one in known]:
            host = allocation.local_host
            if host is not None and host not in present:
                allocation.lose(f"the address {host} is gone")

    async def gather(
        self, url: ServerURL, servers: Sequence[Address], addresses: Sequence[LocalAddress], index: int
    ) -> None:
        """Allocate what the server has not given yet. Raises :class:`ServerError`.

        ``servers`` are its addresses, ``addresses`` ours as they are now.
        """
        self._addresses = addresses
        is_waited = url in self._next_servers
        self._next_servers[url] = servers
        if is_waited:
            return  # one that waits for its turn is enough; a dead server would have many wait
        async with self._locks.setdefault(url, asyncio.Lock()):
            await self._gather(url, self._next_servers.pop(url), index)

    async def _gather(self, url: ServerURL, servers: Sequence[Address], index: int) -> None:
        known = [one for one in self._allocations.get(url, ()) if one.is_alive]
        confirmed = await asyncio.gather(*(one.confirm(self._plan.timeout) for one in known))
        alive = [one for one, lives in zip(known, confirmed, strict=True) if lives]
        self._allocations[url] = alive
        has = {_family(relay.local_address) for allocation in alive for relay in allocation.relays}
        # What the server has not given once it is not asked for again.
        could_give = self._given.get(url, self._families)
        wanted = tuple(family for family in self._families if family in could_give and family not in has)
        if not wanted or self._shared.loop.time() < self._held_off.get(url, 0.0):
            return
        try:
            first = await self._take_first(url, servers, wanted, index)
        except ServerError as error:
            if error.error_code != UNREACHABLE:
                self._held_off[url] = self._shared.loop.time() + _HOLD_OFF
            raise
        for family in wanted:
            others = [server for server in servers if _family(server) == family and server != first]
            if family not in self._given[url] and others:
                with contextlib.suppress(ServerError):
                    await self._take_first(url, others[:1], (family,), index)

    def _take(self, url: ServerURL, granted: _Granted, index: int) -> None:
        self._allocations[url].append(granted.allocation)
        for relay in granted.allocation.relays:
            address, mapped = relay.local_address, granted.mapped
            if mapped is not None and _family(mapped) != _family(address):
                mapped = None
            self._given.setdefault(url, set()).add(_family(address))
            base = self._host.add_base(relay, None)
            self._maker.add(Found(CandidateType.RELAY, address, base, url, granted.server, index, related=mapped))

    async def _take_first(
        self, url: ServerURL, servers: Sequence[Address], families: tuple[int, ...], index: int
    ) -> Address:
        """Take the first allocation that is given at one of the addresses, and return this. ServerError for none.

        A server that refuses at one is not asked at another. It is taken at once: what else was tried may need its time
        to end, and meanwhile nobody else would give the allocation back.
        """
        deadline = self._shared.loop.time() + self._plan.timeout
        running: set[asyncio.Task[_Granted]] = set()
        waiting = list(servers)
        failure = ServerError(UNREACHABLE, "the server has no address")
        try:
            while waiting or running:
                if waiting:
                    attempt = self._attempt(url, waiting.pop(0), families, deadline)
                    running.add(self._shared.loop.create_task(attempt, name=f"allocate at {url}"))
                done, running = await asyncio.wait(
                    running, timeout=_HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    error = task.exception()
                    if error is None:
                        running |= done - {task}
                        granted = task.result()
                        self._take(url, granted, index)
                        return granted.server
                    if not isinstance(error, ServerError):
                        raise error
                    failure = error
                    if error.error_code != UNREACHABLE:
                        waiting.clear()
            raise failure
        finally:
            await self._cancel(running)

    async def _cancel(self, tasks: set[asyncio.Task[_Granted]]) -> None:
        """End what is still tried; what succeeded in the same moment is given back."""
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, _Granted):
                await result.allocation.close()

    async def _attempt(self, url: ServerURL, server: Address, families: tuple[int, ...], deadline: float) -> _Granted:
        """Allocate, following where the server sends us: to other servers of its, or away from a port that is taken."""
        visited = {server}
        ports = 1
        while True:
            try:
                return await self._allocate(url, server, families, deadline)
            except AllocationError as error:
                alternate = error.alternate
                if error.error_code == TRY_ALTERNATE and alternate is not None and self._may_go(url, alternate, server):
                    if alternate not in visited and len(visited) <= _MAX_REDIRECTIONS:
                        logger.info("ICE %s: %s sends us to %s", self._plan.ufrag, url, alternate)
                        visited.add(alternate)
                        server = alternate
                        continue
                elif error.error_code == ALLOCATION_MISMATCH and ports < _MAX_PORTS:
                    ports += 1
                    continue
                raise ServerError(error.error_code, error.reason) from None
            except TimeoutError as error:
                how = " through the proxy" if self._dialer.uses_proxy(url.protocol) else ""
                reason = why(error) if error.errno else f"no connection{how} within {self._plan.timeout:g} s"
                raise ServerError(UNREACHABLE, f"the server cannot be reached: {reason}") from None
            except OSError as error:
                raise ServerError(UNREACHABLE, f"the server cannot be reached: {why(error)}") from None

    def _may_go(self, url: ServerURL, alternate: Address, server: Address) -> bool:
        """RFC 8489 section 10: it is of the same family; and our filters leave us an address to ask it from.

        A server elsewhere does not send us to what listens on this host.
        """
        host, port = alternate
        if not port or not is_unicast(host):
            return False
        if ipaddress.ip_address(host).is_loopback and not self._dialer.is_own(server[0]):
            return False
        if self._dialer.uses_proxy(url.protocol):
            return True
        return _family(alternate) == _family(server) and any(
            can_reach(address, alternate) for address in self._addresses
        )

    async def _allocate(self, url: ServerURL, server: Address, families: tuple[int, ...], deadline: float) -> _Granted:
        async with asyncio.timeout_at(max(deadline, self._shared.loop.time() + _MIN_TIMEOUT)):
            link = await self._dialer.open(url.protocol, url.host, server, self._local_host)
        allocation = Allocation(
            link,
            username=url.username,
            password=url.password,
            families=families,
            shared=self._shared,
            on_lost=self._host.relay_lost,
            on_refused=self._host.permission_refused,
            is_local=self._dialer.is_own(server[0]),
        )
        try:
            allocated = await allocation.allocate(max(_MIN_TIMEOUT, deadline - self._shared.loop.time()))
        except asyncio.CancelledError:
            await allocation.close()
            raise
        except BaseException:
            allocation.abort()
            raise
        if allocated.missing:
            logger.info("ICE %s: %s gives one relayed address: %s", self._plan.ufrag, url, allocated.missing)
        return _Granted(allocation, server, allocated.mapped)

    def _local_host(self, remote: Address) -> str | None:
        """Where to send from, when filters keep us from some addresses. OSError when they leave none."""
        if not self._plan.bind_relays:
            return None
        for one in self._addresses:
            if can_reach(one, remote):
                return one.host
        raise OSError(f"no local address can reach {remote[0]}")


def can_reach(local: LocalAddress, server: Address) -> bool:
    """Whether packets from this address may get to the server at all."""
    if local.is_ipv6 != (":" in server[0]):
        return False
    remote = ipaddress.ip_address(server[0])
    if local.is_ipv6 and local.is_link_local and not remote.is_link_local:
        return False
    return not local.is_loopback or remote.is_loopback


def _family(address: Address) -> int:
    return 6 if ":" in address[0] else 4
