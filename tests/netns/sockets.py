"""Plain sockets inside a namespace, steered from outside: what NATs do is measured with them."""

from __future__ import annotations

import asyncio
from typing import Any

from .remote import Service, serve


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.datagrams: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.datagrams.put_nowait((data, address))


class Sockets(Service):
    """UDP sockets are known by their local addresses."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int], tuple[asyncio.DatagramTransport, _Inbox]] = {}
        self._servers: list[asyncio.Server] = []

    async def open(self, host: str, port: int = 0) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        transport, inbox = await loop.create_datagram_endpoint(_Inbox, local_addr=(host, port))
        address: tuple[str, int] = transport.get_extra_info("sockname")[:2]
        self._sockets[address] = transport, inbox
        return address

    def send(self, socket: tuple[str, int], to: tuple[str, int], text: str) -> None:
        self._sockets[socket[0], socket[1]][0].sendto(text.encode(), (to[0], to[1]))

    async def receive(self, socket: tuple[str, int], timeout: float) -> tuple[str, tuple[str, int]] | None:
        """The next datagram and its source, or None when none came in time."""
        try:
            data, source = await asyncio.wait_for(self._sockets[socket[0], socket[1]][1].datagrams.get(), timeout)
        except TimeoutError:
            return None
        return data.decode(), source[:2]

    async def listen(self, host: str, port: int) -> None:
        """Take TCP connections, and leave them alone."""
        self._servers.append(await asyncio.start_server(lambda reader, writer: writer.close(), host, port))

    async def connects(self, host: str, port: int, timeout: float) -> bool:
        """Whether a TCP connection is made in time."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for transport, _ in self._sockets.values():
            transport.close()


if __name__ == "__main__":
    serve(Sockets())
