"""Tries each way to each server: UDP, TCP and TLS, over IPv4 and IPv6, and a relay where it is a TURN server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace

from ..ice.addresses import local_addresses
from ..ice.links import DatagramLink, Link, StreamLink
from ..ice.relay import Allocation, AllocationError
from ..ice.server_codes import meaning_of
from ..ice.url import ServerURL
from ..runtime.network import Address, Network, Stream
from ..runtime.reasons import why
from ..runtime.shared import Shared
from ..runtime.tls import start_tls
from .findings import ServerFindings, Way
from .probe import Answer, Prober, StreamProber

_PLAIN_PORT = 3478
_SECURE_PORT = 5349
TRANSPORTS = ("udp", "tcp", "tls")


class ServerExamination:
    """One pass over all ways to all servers, at the same time."""

    def __init__(self, network: Network, timeout: float, context: ssl.SSLContext | None) -> None:
        """``timeout`` is for each step: the name, the connection, an answer, an allocation."""
        self._network = network
        self._timeout = timeout
        self._context = context
        self._shared = Shared.of_running_loop()

    async def examine(self, urls: Sequence[ServerURL]) -> tuple[ServerFindings, ...]:
        """In the order of ``urls``. What goes wrong is in the findings; nothing is raised."""
        return tuple(await asyncio.gather(*(self._examine(url) for url in urls)))

    async def _examine(self, url: ServerURL) -> ServerFindings:
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._network.resolve(url.host, url.port)
        except TimeoutError:
            return ServerFindings(_name(url), problem=f"{url.host} was not resolved within {self._timeout:g} s")
        except OSError as error:
            return ServerFindings(_name(url), problem=f"{url.host} cannot be resolved: {error.strerror or error}")
        first = {":" in host: host for host, _ in reversed(found)}
        if not first:
            return ServerFindings(_name(url), problem=f"{url.host} has no address")
        ways = [
            self._try(url, transport, (first[is_ipv6], _port(url, transport)))
            for is_ipv6 in sorted(first)
            for transport in TRANSPORTS
        ]
        return ServerFindings(_name(url), tuple(await asyncio.gather(*ways)))

    async def _try(self, url: ServerURL, transport: str, server: Address) -> Way:
        way = Way(transport, server, is_named=transport == _named_transport(url))
        if not self._has_family_of(server[0]):
            return replace(way, problem=f"this machine has no {'IPv6' if ':' in server[0] else 'IPv4'} address")
        try:
            if transport == "udp":
                return await self._try_datagrams(url, way)
            return await self._try_stream(url, way)
        except TimeoutError as error:
            return replace(way, problem=why(error) if error.errno else f"no connection within {self._timeout:g} s")
        except OSError as error:
            return replace(way, problem=why(error))

    def _has_family_of(self, host: str) -> bool:
        """Loopback is there for servers on this very machine."""
        addresses = local_addresses(self._network.interfaces(), include_loopback=True)
        is_ipv6, is_loopback = ":" in host, host == "::1" or host.startswith("127.")
        return any(one.is_ipv6 == is_ipv6 and one.is_loopback == is_loopback for one in addresses)

    async def _try_datagrams(self, url: ServerURL, way: Way) -> Way:
        prober = await Prober.open(self._network, _any(way.server), self._shared)
        try:
            way = self._judge(way, await prober.ask(way.server, self._timeout))
        finally:
            prober.close()
        if not way.reached or not _wants_relay(url):
            return way
        socket = await self._network.open_udp(_any(way.server))
        return await self._allocate(url, DatagramLink(socket, way.server), way)

    async def _try_stream(self, url: ServerURL, way: Way) -> Way:
        stream = await self._connect(url, way)
        try:
            way = self._judge(way, await StreamProber(stream, self._shared).ask(self._timeout))
        finally:
            stream.close()
        if not way.reached or not _wants_relay(url):
            return way
        return await self._allocate(url, StreamLink(await self._connect(url, way), self._shared), way)

    async def _connect(self, url: ServerURL, way: Way) -> Stream:
        async with asyncio.timeout(self._timeout):
            stream = await self._network.connect_tcp(way.server)
            if way.transport == "tls":
                self._context = self._context or ssl.create_default_context()
                stream = await start_tls(stream, self._context, url.host)
            return stream

    def _judge(self, way: Way, answer: Answer | None) -> Way:
        if answer is None:
            return replace(way, problem=f"no answer within {self._timeout:g} s")
        return replace(way, reached=True, problem=answer.problem, took=answer.took, mapped=answer.mapped)

    async def _allocate(self, url: ServerURL, link: Link, way: Way) -> Way:
        host = way.server[0]
        allocation = Allocation(
            link,
            username=url.username,
            password=url.password,
            families=(6 if ":" in host else 4,),
            shared=self._shared,
            on_lost=lambda relay, reason: None,
            on_refused=lambda relay, host, reason: None,
            is_local=host == "::1" or host.startswith("127."),
        )
        try:
            allocated = await allocation.allocate(self._timeout)
        except AllocationError as error:
            return replace(way, relay_problem=meaning_of(error.error_code, error.reason))
        finally:
            await allocation.close()
        return replace(way, relayed=allocated.relayed[0])


def _name(url: ServerURL) -> str:
    """Without the transport: all are tried."""
    return str(url).partition("?")[0]


def _named_transport(url: ServerURL) -> str:
    if not url.is_secure:
        return url.transport
    return "tls" if url.transport == "tcp" else "dtls"


def _wants_relay(url: ServerURL) -> bool:
    return url.is_turn and bool(url.username and url.password)


def _port(url: ServerURL, transport: str) -> int:
    """The URL's own for what it says, and the standard's other one where the URL keeps to the standard."""
    is_secure = transport == "tls"
    if is_secure == url.is_secure:
        return url.port
    if url.port == (_SECURE_PORT if url.is_secure else _PLAIN_PORT):
        return _SECURE_PORT if is_secure else _PLAIN_PORT
    return url.port


def _any(server: Address) -> str:
    return "::" if ":" in server[0] else "0.0.0.0"
