"""The system's network: what ICE runs on unless it is given another."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import threading
from collections.abc import Callable

from . import multicast, srv, tcp, udp
from .interfaces import recent_interfaces
from .network import Address, DatagramSocket, Interface, Listener, MulticastSocket, Stream, Watch
from .network_watch import NetworkWatch


class SystemNetwork:
    """Implements :class:`Network` with the system's interfaces, sockets and resolver."""

    def interfaces(self) -> list[Interface]:
        return recent_interfaces()

    def watch(self, on_change: Callable[[], None], interval: float) -> Watch:
        return NetworkWatch.add(on_change, interval)

    async def resolve(self, host: str, port: int) -> list[Address]:
        """A name's addresses in the system's order of preference; a numeric address is its own answer."""
        with contextlib.suppress(ValueError):
            return [(str(ipaddress.ip_address(host)), port)]
        return await _look_up(host, port)

    async def resolve_srv(self, service: str, host: str) -> list[Address]:
        return await srv.resolve_srv(service, host)

    async def open_udp(self, host: str, port: int = 0) -> DatagramSocket:
        return await udp.open_udp(host, port)

    async def open_multicast(self, group: str, port: int) -> MulticastSocket:
        return await multicast.open_multicast(group, port)

    async def connect_tcp(self, address: Address, *, local_host: str | None = None, local_port: int = 0) -> Stream:
        return await tcp.connect_tcp(address, local_host=local_host, local_port=local_port)

    async def listen_tcp(self, host: str, port: int = 0, *, shares_port: bool = False) -> Listener:
        return await tcp.listen_tcp(host, port, shares_port=shares_port)


async def _look_up(host: str, port: int) -> list[Address]:
    """getaddrinfo in a thread of its own.

    A dead DNS server holds getaddrinfo for half a minute, and nothing can cancel it. In the loop's executor that would
    hold up the end of ``asyncio.run`` as well; a daemon thread is simply left to its fate.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def settle(addresses: list[Address], error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(addresses)

    def look_up() -> None:
        addresses: list[Address] = []
        error: OSError | None = None
        try:
            for _, _, _, _, found in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
                addresses.append((str(found[0]), int(found[1])))
        except OSError as problem:
            error = problem
        except UnicodeError as problem:
            error = OSError(f"{host!r} is not a host name: {problem}")
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, addresses, error)

    thread = threading.Thread(target=look_up, name=f"resolve {host}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from None
    try:
        return await answer
    finally:
        if not answer.cancelled():
            thread.join()  # it has nothing more to do than to end
