"""Resolves the ``.local`` names that hide a peer's addresses (draft-ietf-mmusic-mdns-ice-candidates section 3.2.1).

aioice speaks the protocol; here are retransmission, IPv6, one socket for all agents of a loop, and the guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from weakref import WeakKeyDictionary

import dns.message
import dns.rdatatype
from aioice import mdns as _aioice

logger = logging.getLogger(__name__)

# RFC 6762 section 5.2: queries for a name are a second apart at first, then further.
_WAITS = (1.0, 2.0, 4.0)


class _Protocol(_aioice.MDnsProtocol):
    """aioice's protocol; what its DNS parser thinks of a packet from the local network is its own affair."""

    def datagram_received(self, data: bytes | str, addr: tuple[object, ...]) -> None:
        try:
            super().datagram_received(data, addr)
        except Exception as error:  # noqa: BLE001  dnspython's errors have no common root
            logger.debug("an mDNS packet was not understood: %r", error)

    def ask(self, name: str) -> None:
        """Ask for the IPv6 address too, which aioice's ``resolve`` does not."""
        message = dns.message.make_query(name, rdtype=dns.rdatatype.AAAA)
        message.id = 0
        message.flags = 0
        self.transport.sendto(message.to_wire(), (_aioice.MDNS_ADDRESS, _aioice.MDNS_PORT))


class LocalNames:
    """What agents on one loop share: a socket, opened for the first lookup and closed with the last agent."""

    def __init__(self) -> None:
        self._users = 0
        self._opening: asyncio.Task[_Protocol] | None = None

    @staticmethod
    def acquire() -> LocalNames:
        """The running loop's object; each call is paired with a :meth:`release`."""
        loop = asyncio.get_running_loop()
        names = _of_loop.get(loop)
        if names is None:
            names = _of_loop[loop] = LocalNames()
        names._users += 1
        return names

    async def release(self) -> None:
        self._users -= 1
        if self._users or self._opening is None:
            return
        opening, self._opening = self._opening, None
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await (await opening).close()

    async def resolve(self, name: str, timeout: float) -> str | None:
        """The address behind a name, or None when there is none within ``timeout`` seconds."""
        if not _aioice.is_mdns_hostname(name):
            return None  # one label and .local: nothing else is such a name (section 3.2.1)
        try:
            async with asyncio.timeout(timeout):
                protocol = await self._open()
                for wait in _WAITS:
                    protocol.ask(name)
                    address = await protocol.resolve(name, wait)
                    if address is not None:
                        return address
        except TimeoutError:
            pass
        except OSError as error:
            logger.info("mDNS names cannot be resolved: %s", error)
        return None

    async def _open(self) -> _Protocol:
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.get_running_loop().create_task(_open_socket(), name="open the mDNS socket")
        return await asyncio.shield(self._opening)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, LocalNames] = WeakKeyDictionary()


async def _open_socket() -> _Protocol:
    """aioice's socket with our protocol on it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("", _aioice.MDNS_PORT))
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(_Protocol, sock=sock)
    except BaseException:
        sock.close()
        raise
    return protocol
