"""Tries each way to each server: UDP, TCP, TLS and DTLS, over IPv4 and IPv6, and a relay where it is a TURN server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import replace

from ..ice.addresses import local_addresses
from ..ice.binding import ServerError
from ..ice.dialer import Dialer
from ..ice.links import Link
from ..ice.lookup import find_server
from ..ice.relay import Allocation, AllocationError
from ..ice.server_codes import meaning_of
from ..ice.url import ServerURL
from ..runtime.network import Address, Network
from ..runtime.reasons import why
from ..runtime.shared import Shared
from .findings import ServerFindings, Way
from .probe import ask_over

# What the plain scheme and the secure one have when the URL does not say.
_PORTS = {False: 3478, True: 5349}


class ServerExamination:
    """One pass over all ways to all servers, at the same time."""

    def __init__(self, network: Network, timeout: float, context: ssl.SSLContext | None) -> None:
        """``timeout`` is for each step: the name, the connection, an answer, an allocation."""
        self._network = network
        self._timeout = timeout
        self._shared = Shared.of_running_loop()
        self._dialer = Dialer(network, self._shared, tls_context=context)

    async def examine(self, urls: Sequence[ServerURL]) -> tuple[ServerFindings, ...]:
        """In the order of ``urls``. What goes wrong is in the findings; nothing is raised."""
        return tuple(await asyncio.gather(*(self._examine(url) for url in urls)))

    async def _examine(self, url: ServerURL) -> ServerFindings:
        try:
            found = await find_server(url, self._network, self._timeout)
        except ServerError as error:
            return ServerFindings(_name(url), problem=error.reason)
        ways = []
        for variant in _variants(url):
            servers = [(host, variant.port) for host, _ in found]
            if variant.protocol == url.protocol:
                servers = found
            elif not variant.port_given:
                with contextlib.suppress(ServerError):
                    servers = await find_server(variant, self._network, self._timeout)
            # One address of each family, IPv4 first.
            for _, server in sorted({":" in one[0]: one for one in reversed(servers)}.items()):
                ways.append(self._try(variant, server, is_named=variant.protocol == url.protocol))
        return ServerFindings(_name(url), tuple(await asyncio.gather(*ways)))

    async def _try(self, url: ServerURL, server: Address, *, is_named: bool) -> Way:
        way = Way(url.protocol, server, is_named=is_named)
        if not self._has_family_of(server[0]):
            return replace(way, problem=f"this machine has no {'IPv6' if ':' in server[0] else 'IPv4'} address")
        try:
            way = await self._ask(url, way)
            if way.reached and url.is_turn and url.username and url.password:
                way = await self._allocate(url, way)
        except TimeoutError as error:
            return replace(way, problem=why(error) if error.errno else f"no connection within {self._timeout:g} s")
        except OSError as error:
            return replace(way, problem=why(error))
        return way

    def _has_family_of(self, host: str) -> bool:
        """Loopback is there for servers on this very machine."""
        addresses = local_addresses(self._network.interfaces(), include_loopback=True)
        is_ipv6, is_loopback = ":" in host, host == "::1" or host.startswith("127.")
        return any(one.is_ipv6 == is_ipv6 and one.is_loopback == is_loopback for one in addresses)

    async def _open(self, url: ServerURL, way: Way) -> Link:
        async with asyncio.timeout(self._timeout):
            return await self._dialer.open(url.protocol, url.host, way.server)

    async def _ask(self, url: ServerURL, way: Way) -> Way:
        link = await self._open(url, way)
        try:
            answer = await ask_over(link, self._timeout, self._shared)
        finally:
            link.close()
        if answer is None:
            return replace(way, problem=f"no answer within {self._timeout:g} s")
        return replace(way, reached=True, problem=answer.problem, took=answer.took, mapped=answer.mapped)

    async def _allocate(self, url: ServerURL, way: Way) -> Way:
        """On a way of its own: a server may hold what has been said on it against the client."""
        allocation = Allocation(
            await self._open(url, way),
            username=url.username,
            password=url.password,
            families=(6 if ":" in way.server[0] else 4,),
            shared=self._shared,
            on_lost=lambda relay, reason: None,
            on_refused=lambda relay, host, reason: None,
            is_local=self._dialer.is_own(way.server[0]),
        )
        try:
            allocated = await allocation.allocate(self._timeout)
        except AllocationError as error:
            return replace(way, relay_problem=meaning_of(error.error_code, error.reason))
        finally:
            await allocation.close()
        return replace(way, relayed=allocated.relayed[0])


def _variants(url: ServerURL) -> list[ServerURL]:
    """The URLs of all ways to a server, in the order in which they should be preferred."""
    plain, secure = ("turn", "turns") if url.is_turn else ("stun", "stuns")
    ways = [(plain, "udp"), (plain, "tcp"), (secure, "tcp")]
    if url.is_turn:
        ways.append((secure, "udp"))
    return [replace(url, scheme=scheme, transport=transport, port=_port(url, scheme)) for scheme, transport in ways]


def _port(url: ServerURL, scheme: str) -> int:
    """The URL's own for what it says, and the standard's other one where the URL keeps to the standard."""
    is_secure = scheme in ("stuns", "turns")
    return _PORTS[is_secure] if url.port == _PORTS[url.is_secure] else url.port


def _name(url: ServerURL) -> str:
    """Without the transport: all are tried."""
    return str(url).partition("?")[0]
