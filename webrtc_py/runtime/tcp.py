"""TCP connections as octet streams with callbacks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from .network import Address, Stream
from .shared import Shared
from .udp import scope_of, zone_of


class TCPStream(asyncio.Protocol):
    """A :class:`Stream` on asyncio's transport. It does not read until somebody takes the data."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._on_lost: Callable[[Exception | None], None] | None = None
        self._local_address: Address = ("", 0)
        self._remote_address: Address = ("", 0)
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
        self._remote_address = _from_system(transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        if self._on_data is not None:
            with self._shared.step:
                self._on_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._lost = True
        self._error = error
        if self._on_lost is not None:
            with self._shared.step:
                self._on_lost(error)


async def connect_tcp(address: Address, *, local_host: str | None = None, local_port: int = 0) -> Stream:
    """Connect to a numeric address, from a local one where it is given. OSError when it cannot be made."""
    shared = Shared.of_running_loop()
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if local_host is not None or local_port:
            if local_port:
                # A listener may have the port, and earlier connections from it may not be quite over.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            any_host = "::" if ":" in address[0] else "0.0.0.0"
            sock.bind(_to_system((local_host or any_host, local_port)))
        await shared.loop.sock_connect(sock, _to_system(address))
        _, stream = await shared.loop.create_connection(lambda: TCPStream(shared), sock=sock)
    except BaseException:
        sock.close()
        raise
    return stream


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
