"""TCP connections as octet streams with callbacks."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, cast

from .network import Address, Listener, Stream
from .shared import Shared
from .udp import scope_of, zone_of

# Connections that wait to be taken in one turn of the loop.
_BACKLOG = 128
# What may wait in the kernel before it is sent: it takes no more, so who looks at write_buffer_size sees a connection
# that does not keep up, where the system would otherwise hide megabytes.
_MAX_UNSENT = 128 << 10


class TCPStream(asyncio.Protocol):
    """A :class:`Stream` on asyncio's transport. It does not read until somebody takes the data."""

    def __init__(
        self,
        shared: Shared,
        on_made: Callable[[TCPStream], None] | None = None,
        *,
        remote_address: Address = ("", 0),
    ) -> None:
        """``remote_address`` is what was connected to: once the peer has reset a connection the system cannot tell."""
        self._shared = shared
        self._on_made = on_made
        self._transport: asyncio.Transport | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._on_lost: Callable[[Exception | None], None] | None = None
        self._local_address: Address = ("", 0)
        self._remote_address = remote_address
        self._lost = False
        self._error: Exception | None = None

    @property
    def local_address(self) -> Address:
        return self._local_address

    @property
    def remote_address(self) -> Address:
        return self._remote_address

    @property
    def write_buffer_size(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def set_receiver(self, on_data: Callable[[bytes], None], on_lost: Callable[[Exception | None], None]) -> None:
        self._on_data = on_data
        self._on_lost = on_lost
        if self._lost:
            self._shared.step.post(lambda: on_lost(self._error))
        elif self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close at once. What the system has not taken yet is lost: a peer that stopped reading would hold it up."""
        self._on_data = self._on_lost = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()
        self._local_address = _from_system(transport.get_extra_info("sockname"))
        peer = transport.get_extra_info("peername")
        if peer is not None:
            self._remote_address = _from_system(peer)
        if self._on_made is not None:
            with self._shared.step:
                self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if self._on_data is not None:
            with self._shared.step:
                self._on_data(data)

    def eof_received(self) -> bool:
        """The peer ends the connection. asyncio would first wait for it to take what it may never take."""
        if self._transport is not None:
            self._transport.abort()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._lost = True
        self._error = error
        if self._on_lost is not None:
            with self._shared.step:
                self._on_lost(error)


class TCPListener:
    """A :class:`Listener` on asyncio's server. :func:`listen_tcp` makes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._local_address = _from_system(sock.getsockname())
        self._server: asyncio.Server | None = None
        self._acceptor: Callable[[Stream], None] | None = None

    @classmethod
    async def on(cls, sock: socket.socket) -> TCPListener:
        """Take over a bound socket."""
        shared = Shared.of_running_loop()
        listener = cls(sock)
        listener._server = await shared.loop.create_server(
            lambda: TCPStream(shared, listener._accept), sock=sock, backlog=_BACKLOG, start_serving=False
        )
        try:
            await listener._server.start_serving()
        except BaseException:
            # The loop watches it already, and would not notice that a new socket has the old one's number.
            listener.close()
            raise
        return listener

    @property
    def local_address(self) -> Address:
        return self._local_address

    def set_acceptor(self, acceptor: Callable[[Stream], None] | None) -> None:
        self._acceptor = acceptor

    def close(self) -> None:
        self._acceptor = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, stream: TCPStream) -> None:
        if self._acceptor is None:
            stream.close()
        else:
            self._acceptor(stream)


async def listen_tcp(host: str, port: int = 0, *, shares_port: bool = False) -> Listener:
    """Listen on a numeric address (port 0: the system's choice). OSError when the system refuses.

    ``shares_port`` lets :func:`connect_tcp` be used from the same port; OSError where the system cannot do that.
    """
    sock = _open(host)
    try:
        # Connections of an earlier listener may not be quite over.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise OSError(errno.EOPNOTSUPP, "ports cannot be shared on this system")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(_to_system((host, port)))
        return await TCPListener.on(sock)
    except BaseException:
        sock.close()
        raise


async def connect_tcp(address: Address, *, local_host: str | None = None, local_port: int = 0) -> Stream:
    """Connect to a numeric address, from a local one where it is given. OSError when it cannot be made."""
    shared = Shared.of_running_loop()
    sock = _open(address[0])
    try:
        if local_host is not None or local_port:
            if local_port:
                # A listener may have the port, and earlier connections from it may not be quite over.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if hasattr(socket, "SO_REUSEPORT"):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            any_host = "::" if ":" in address[0] else "0.0.0.0"
            sock.bind(_to_system((local_host or any_host, local_port)))
        await shared.loop.sock_connect(sock, _to_system(address))
        _, stream = await shared.loop.create_connection(lambda: TCPStream(shared, remote_address=address), sock=sock)
    except BaseException:
        sock.close()
        raise
    return stream


def _open(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # Connections that a listener takes have it from their listener.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MAX_UNSENT)
    return sock


def _to_system(address: Address) -> tuple[Any, ...]:
    """As the system takes it: an IPv6 zone is a number there. So no resolver is asked, which would take a thread."""
    host, port = address
    if ":" not in host:
        return address
    host, _, zone = host.partition("%")
    return host, port, 0, scope_of(zone) if zone else 0


def _from_system(address: tuple[Any, ...]) -> Address:
    if len(address) == 4 and address[3]:
        return f"{address[0].partition('%')[0]}%{zone_of(address[3])}", address[1]
    return address[0], address[1]
