"""TCP and TLS connections as octet streams with callbacks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from .network import Address, Stream
from .shared import Shared


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
        self._local_address = transport.get_extra_info("sockname")[:2]
        self._remote_address = transport.get_extra_info("peername")[:2]

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


async def connect_tcp(
    address: Address, *, tls: ssl.SSLContext | None = None, server_hostname: str | None = None
) -> Stream:
    """Connect to a numeric address, with TLS inside when a context is given. OSError when it cannot be made."""
    shared = Shared.of_running_loop()
    _, stream = await shared.loop.create_connection(
        lambda: TCPStream(shared),
        address[0],
        address[1],
        ssl=tls,
        server_hostname=server_hostname if tls is not None else None,
    )
    return stream
