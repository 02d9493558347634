"""Server-reflexive and relayed candidates (RFC 8445 sections 5.1.1.2 and 5.1.1.3)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import ssl

from ..runtime.network import Address, DatagramSocket, Network
from ..runtime.shared import Shared
from ..runtime.tls import start_tls
from ..states import CandidateType
from ..train import Train
from .addresses import LocalAddress
from .binding import UNREACHABLE, BindingQueries, ServerError
from .gather_hosts import HostGathering
from .gather_plan import Base, CandidateMaker, GatheringError, GatherPlan, Host
from .relay import AllocationError, Relay
from .turn import ALLOCATION_MISMATCH, TRY_ALTERNATE
from .url import ServerURL

logger = logging.getLogger(__name__)

# A second redirection is a loop or a joke (RFC 8489 section 10).
_MAX_ALLOCATE_ATTEMPTS = 2


class ServerGathering:
    """Asks STUN servers about the bases of ``hosts``, and TURN servers for relays."""

    def __init__(
        self,
        plan: GatherPlan,
        host: Host,
        network: Network,
        maker: CandidateMaker,
        hosts: HostGathering,
        queries: BindingQueries,
        shared: Shared,
    ) -> None:
        self._plan = plan
        self._host = host
        self._network = network
        self._maker = maker
        self._hosts = hosts
        self._queries = queries
        self._shared = shared
        self._context: ssl.SSLContext | None = None
        self.bindings: list[tuple[DatagramSocket, Address]] = []
        """Sockets and the STUN servers that have answered them: what keeps the NATs' mappings alive."""

    async def gather(self, url: ServerURL, index: int) -> None:
        """Both kinds that a server gives. What goes wrong is reported, and is nobody else's problem."""
        types = self._plan.candidate_types
        use_binding = CandidateType.SRFLX in types and url.transport == "udp"
        use_relay = CandidateType.RELAY in types and url.is_turn
        try:
            if url.is_secure and (url.transport == "udp" or not url.is_turn):
                raise ServerError(UNREACHABLE, "STUN over TLS and TURN over DTLS are not supported")
            if not use_binding and not use_relay:
                return
            servers = await self._resolve(url)
        except ServerError as error:
            self._fail(url, None, error.error_code, error.reason)
            return
        async with asyncio.TaskGroup() as group:
            if use_relay:
                for server in servers:
                    group.create_task(self._gather_relay(url, server, index), name=f"gather a relay from {url}")
            if use_binding:
                await self._hosts.ready.wait()
                for server in servers:
                    for base in self._hosts.bases:
                        if base.address is not None and _can_reach(base.address, server):
                            # Where a relay is asked for, its failure tells enough; and some TURN servers refuse this.
                            asking = self._gather_reflexive(url, server, index, base, report=not use_relay)
                            group.create_task(asking, name=f"ask {url}")

    async def _resolve(self, url: ServerURL) -> list[Address]:
        """The server's first IPv4 and first IPv6 address, of the families that we have."""
        try:
            async with asyncio.timeout(self._plan.timeout):
                found = await self._network.resolve(url.host, url.port)
        except TimeoutError:
            raise ServerError(UNREACHABLE, f"{url.host} was not resolved within {self._plan.timeout:g} s") from None
        except OSError as error:
            raise ServerError(UNREACHABLE, f"{url.host} cannot be resolved: {error.strerror or error}") from None
        reachable = {":" in server[0]: server for server in reversed(found) if self._is_reachable(server)}
        if not reachable:
            hosts = ", ".join(server[0] for server in found)
            raise ServerError(UNREACHABLE, f"no local address can reach {hosts or url.host}")
        return list(reachable.values())

    def _is_reachable(self, server: Address) -> bool:
        return any(_can_reach(address, server) for address in self._plan.addresses)

    async def _gather_reflexive(self, url: ServerURL, server: Address, index: int, base: Base, *, report: bool) -> None:
        socket = base.socket
        try:
            mapped = await self._queries.ask(
                lambda request, to: socket.send(Train.of(request), to), server, self._plan.timeout
            )
        except ServerError as error:
            if report:
                self._fail(url, base, error.error_code, error.reason)
            return
        assert not isinstance(socket, Relay)
        self.bindings.append((socket, server))
        if (":" in mapped[0]) == (":" in server[0]):
            self._maker.add(CandidateType.SRFLX, mapped, base, url, server, index)

    # Relayed candidates

    async def _gather_relay(self, url: ServerURL, server: Address, index: int) -> None:
        for attempt in range(_MAX_ALLOCATE_ATTEMPTS):
            try:
                await self._allocate(url, server, index)
            except AllocationError as error:
                is_last = attempt == _MAX_ALLOCATE_ATTEMPTS - 1
                if error.error_code == TRY_ALTERNATE and error.alternate is not None and not is_last:
                    if error.alternate != server and self._is_reachable(error.alternate):
                        logger.info("%s sends us to %s", url, error.alternate)
                        server = error.alternate
                        continue
                elif error.error_code == ALLOCATION_MISMATCH and not is_last:
                    continue  # an old allocation holds our port: another socket has another (RFC 8656 section 7.4)
                self._fail(url, None, error.error_code, error.reason)
            except OSError as error:
                self._fail(url, None, UNREACHABLE, f"the server cannot be reached: {_reason(error)}")
            except TimeoutError:
                self._fail(url, None, UNREACHABLE, f"no connection to the server within {self._plan.timeout:g} s")
            return

    async def _allocate(self, url: ServerURL, server: Address, index: int) -> None:
        is_ipv6 = ":" in server[0]
        relay = Relay.make(
            username=url.username,
            password=url.password,
            family=6 if is_ipv6 else 4,
            reliable=url.transport == "tcp",
            shared=self._shared,
            on_lost=self._host.relay_lost,
            on_refused=self._host.permission_refused,
        )
        started = self._shared.loop.time()
        try:
            if url.transport == "udp":
                relay.attach_socket(await self._network.open_udp(self._relay_host(server)), server)
            else:
                async with asyncio.timeout(self._plan.timeout):
                    stream = await self._network.connect_tcp(server)
                    if url.is_secure:
                        stream = await start_tls(stream, self._tls_context(), url.host)
                    relay.attach_stream(stream)
            allocated = await relay.allocate(max(0.5, started + self._plan.timeout - self._shared.loop.time()))
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await relay.close()
            raise
        except BaseException:
            relay.abort()
            raise
        base = self._host.add_base(relay, None)
        self._maker.add(CandidateType.RELAY, allocated.relayed, base, url, server, index, related=allocated.mapped)

    def _tls_context(self) -> ssl.SSLContext:
        """The application's, or one that trusts the system's authorities: milliseconds of reading, so only once."""
        if self._context is None:
            self._context = self._plan.tls_context or ssl.create_default_context()
        return self._context

    def _relay_host(self, server: Address) -> str:
        is_ipv6 = ":" in server[0]
        if self._plan.bind_relays:
            for address in self._plan.addresses:
                if _can_reach(address, server):
                    return address.host
        return "::" if is_ipv6 else "0.0.0.0"

    def _fail(self, url: ServerURL, base: Base | None, error_code: int, reason: str) -> None:
        may_show = base is not None and CandidateType.HOST in self._plan.candidate_types
        address = base.socket.local_address if base is not None and may_show else None
        self._host.gathering_failed(GatheringError(url, address, error_code, reason))


def _can_reach(local: LocalAddress, server: Address) -> bool:
    """Whether packets from this address may get to the server at all."""
    if local.is_ipv6 != (":" in server[0]):
        return False
    remote = ipaddress.ip_address(server[0])
    if local.is_ipv6 and local.is_link_local and not remote.is_link_local:
        return False
    return not local.is_loopback or remote.is_loopback


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason}"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
