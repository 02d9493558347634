"""Gathers local candidates (RFC 8445 section 5.1): host, server-reflexive and relayed ones, all at the same time.

Each is handed on when it is found, and a server that is silent delays nothing but the end. Server-reflexive candidates
are asked for from the host candidates' own sockets, so that one is the other's base.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..runtime.network import Address, DatagramSocket, Network
from ..runtime.shared import Shared
from ..states import CandidateType
from ..train import Train
from .addresses import LocalAddress
from .binding import UNREACHABLE, BindingQueries, ServerError
from .candidate import Candidate, Foundations, candidate_priority, local_preference
from .relay import AllocationError, Relay
from .turn import ALLOCATION_MISMATCH, TRY_ALTERNATE
from .url import ServerURL

logger = logging.getLogger(__name__)

# A second redirection is a loop or a joke (RFC 8489 section 10).
_MAX_ALLOCATE_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class GatheringError:
    """Why a server gave no candidate. ``base`` is the local address it was tried from, where that may show."""

    url: ServerURL
    base: Address | None
    error_code: int
    reason: str


@dataclass(slots=True)
class Base:
    """What candidates send from: a socket, or a relay."""

    id: int
    socket: DatagramSocket | Relay
    address: LocalAddress | None
    """The interface's address; None for a relay."""


class Host(Protocol):
    """The agent, as gathering sees it."""

    def add_socket(self, socket: DatagramSocket, address: LocalAddress) -> Base: ...

    def add_relay(self, relay: Relay) -> Base: ...

    def add_candidate(self, candidate: Candidate, base: Base) -> None:
        """Pair it, and tell the peer unless ``base.address`` says that it is not announced."""

    def gathering_failed(self, error: GatheringError) -> None: ...

    def relay_lost(self, relay: Relay, reason: str) -> None: ...

    def permission_refused(self, relay: Relay, host: str, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class GatherPlan:
    """What to gather. ``candidate_types`` is how the transport policy is put: ``relay`` opens no host socket."""

    addresses: Sequence[LocalAddress]
    urls: Sequence[ServerURL]
    candidate_types: frozenset[CandidateType]
    ufrag: str
    timeout: float
    port_range: tuple[int, int] | None = None
    tls_context: ssl.SSLContext | None = None
    bind_relays: bool = False
    """Bind the sockets to TURN servers to one of ``addresses``, because a filter keeps us from the others."""


class Gathering:
    """One pass over interfaces and servers."""

    def __init__(self, plan: GatherPlan, host: Host, network: Network, queries: BindingQueries, shared: Shared) -> None:
        self._plan = plan
        self._host = host
        self._network = network
        self._queries = queries
        self._shared = shared
        self._foundations = Foundations()
        self._bases: list[Base] = []
        self._bases_ready = asyncio.Event()
        self._known: set[tuple[str, int, int]] = set()
        self._context: ssl.SSLContext | None = None
        self.bindings: list[tuple[DatagramSocket, Address]] = []
        """Sockets and the STUN servers that have answered them: what keeps the NATs' mappings alive."""

    async def run(self) -> None:
        """Returns when everything has been found or has failed; raises nothing but CancelledError."""
        async with asyncio.TaskGroup() as group:
            for index, url in enumerate(self._plan.urls):
                group.create_task(self._gather_from_server(url, index), name=f"gather from {url}")
            await self._gather_hosts()

    # Host candidates

    async def _gather_hosts(self) -> None:
        types = self._plan.candidate_types
        try:
            if CandidateType.HOST in types or CandidateType.SRFLX in types:
                for address in self._plan.addresses:
                    await self._gather_host(address)
        finally:
            self._bases_ready.set()

    async def _gather_host(self, address: LocalAddress) -> None:
        try:
            socket = await self._open_socket(address.host)
        except OSError as error:
            logger.debug("no socket on %s: %s", address.host, error)
            return
        base = self._host.add_socket(socket, address)
        self._bases.append(base)
        if CandidateType.HOST in self._plan.candidate_types:
            self._add(CandidateType.HOST, socket.local_address, base)

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

    # Server-reflexive candidates

    async def _gather_from_server(self, url: ServerURL, index: int) -> None:
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
                await self._bases_ready.wait()
                for server in servers:
                    for base in self._bases:
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
            self._add(CandidateType.SRFLX, mapped, base, url, server, index)

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
                    context = self._tls_context() if url.is_secure else None
                    relay.attach_stream(await self._network.connect_tcp(server, tls=context, server_hostname=url.host))
            allocated = await relay.allocate(max(0.5, started + self._plan.timeout - self._shared.loop.time()))
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await relay.close()
            raise
        except BaseException:
            relay.abort()
            raise
        base = self._host.add_relay(relay)
        self._add(CandidateType.RELAY, allocated.relayed, base, url, server, index, related=allocated.mapped)

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

    # What was found

    def _add(
        self,
        kind: CandidateType,
        address: Address,
        base: Base,
        url: ServerURL | None = None,
        server: Address | None = None,
        index: int = 0,
        related: Address | None = None,
    ) -> None:
        """Make a candidate, and hand it on unless it is redundant (RFC 8445 section 5.1.3)."""
        host, port = address
        if (host, port, base.id) in self._known:
            return
        self._known.add((host, port, base.id))
        protocol = None
        if kind is CandidateType.RELAY:
            assert url is not None
            protocol = "tls" if url.is_secure else url.transport
            preference = local_preference(":" not in host, index, protocol)
            base_host = host
        else:
            assert base.address is not None
            related = None if kind is CandidateType.HOST else base.socket.local_address
            preference = local_preference(self._plan.addresses.index(base.address), index)
            base_host = base.address.host
        if related is not None and not self._may_show_related(kind):
            # RFC 8828 and RFC 8839 section 5.1; as libwebrtc writes it.
            related = ("::" if ":" in host else "0.0.0.0", 0)
        candidate = Candidate(
            foundation=self._foundations.of(kind, base_host, server[0] if server else "", protocol or "udp"),
            component=1,
            transport="udp",
            priority=candidate_priority(kind, preference),
            address=host,
            port=port,
            type=kind,
            related_address=related[0] if related else None,
            related_port=related[1] if related else None,
            extensions=(("ufrag", self._plan.ufrag),),
            url=str(url) if url else "",
            relay_protocol=protocol or "",
        )
        self._host.add_candidate(candidate, base)

    def _may_show_related(self, kind: CandidateType) -> bool:
        """A related address shows only what a candidate of its own would show as well."""
        shown = CandidateType.HOST if kind is CandidateType.SRFLX else CandidateType.SRFLX
        return shown in self._plan.candidate_types

    def _fail(self, url: ServerURL, base: Base | None, error_code: int, reason: str) -> None:
        may_show = base is not None and CandidateType.HOST in self._plan.candidate_types
        address = base.socket.local_address if base is not None and may_show else None
        logger.info("ICE %s: %s gave no candidate: %d %s", self._plan.ufrag, url, error_code, reason)
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
