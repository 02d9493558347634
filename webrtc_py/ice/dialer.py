"""Opens ways to STUN and TURN servers: UDP, DTLS, TCP and TLS, the latter two through a proxy where there is one."""

from __future__ import annotations

import functools
import ssl

from ..runtime.network import Address, Network
from ..runtime.shared import Shared
from ..runtime.tls import start_tls
from .links import DatagramLink, Link, StreamLink
from .proxy import LocalHost, Proxy, connect_through
from .secure_link import start_dtls, trust_of


@functools.cache
def _default_context() -> ssl.SSLContext:
    """The system's authorities, whose reading takes milliseconds."""
    return ssl.create_default_context()


class Dialer:
    """``tls_context`` is the application's word on certificates, for DTLS as far as :func:`trust_of` says."""

    def __init__(
        self, network: Network, shared: Shared, *, tls_context: ssl.SSLContext | None = None, proxy: Proxy | None = None
    ) -> None:
        self._network = network
        self._shared = shared
        self._tls_context = tls_context
        self._proxy = proxy

    def uses_proxy(self, protocol: str) -> bool:
        """Whether the server is only reached by a proxy, which then is the one to look up its name."""
        return self._proxy is not None and protocol in ("tcp", "tls")

    def is_own(self, host: str) -> bool:
        """Whether a server is on this very machine."""
        return host == "localhost" or any(
            host == own.partition("%")[0] for one in self._network.interfaces() for own in one.addresses
        )

    async def open(
        self, protocol: str, host: str, server: Address, local_host: LocalHost = lambda remote: None
    ) -> Link:
        """A way to ``server`` by ``udp``, ``dtls``, ``tcp`` or ``tls``; ``local_host`` says from where.

        ``host`` is the name or address that its certificate must be for. Through a proxy ``server`` may be a name.
        OSError when there is none; whoever stops waiting closes what there is.
        """
        if protocol in ("udp", "dtls"):
            socket = await self._network.open_udp(local_host(server) or ("::" if ":" in server[0] else "0.0.0.0"))
            if protocol == "udp":
                return DatagramLink(socket, server)
            return await start_dtls(socket, server, host, trust_of(self._tls_context), self._shared)
        if self._proxy is not None:
            stream = await connect_through(self._proxy, self._network, server, local_host)
        else:
            stream = await self._network.connect_tcp(server, local_host=local_host(server))
        if protocol == "tls":
            stream = await start_tls(stream, self._tls_context or _default_context(), host)
        return StreamLink(stream, self._shared)
