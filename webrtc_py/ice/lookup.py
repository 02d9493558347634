"""Where a URL's server is: its name's addresses, and SRV records where the URL has no port (RFC 5928, RFC 8489)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress

from ..runtime.network import Address, Network
from .binding import ServerError
from .server_codes import UNREACHABLE
from .url import ServerURL

# Few have such records, and a resolver that drops questions for them must not hold up who has none.
_SRV_TIMEOUT = 0.5
# A list of servers is to choose from, not to be worked off.
_MAX_TARGETS = 4


async def find_server(url: ServerURL, network: Network, timeout: float) -> list[Address]:
    """The server's addresses, the best first: of the first SRV target that has any, or of the name and default port.

    Raises :class:`ServerError`.
    """
    try:
        async with asyncio.timeout(timeout):
            if url.port_given or _is_numeric(url.host):
                return await network.resolve(url.host, url.port)
            return await _find_by_name(url, network)
    except TimeoutError:
        raise ServerError(UNREACHABLE, f"{url.host} was not resolved within {timeout:g} s") from None
    except OSError as error:
        raise ServerError(UNREACHABLE, f"{url.host} cannot be resolved: {error.strerror or error}") from None


async def _find_by_name(url: ServerURL, network: Network) -> list[Address]:
    """Both are asked for at the same time, so that a name without SRV records waits for nothing."""
    loop = asyncio.get_running_loop()
    addresses = loop.create_task(network.resolve(url.host, url.port), name=f"resolve {url.host}")
    try:
        targets = None
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_SRV_TIMEOUT):
                targets = await network.resolve_srv(url.srv_service, url.host)
        if targets is None:
            return await addresses
        if not targets:
            raise ServerError(UNREACHABLE, f"{url.host} says that it has no {url.srv_service}")
        for name, port in targets[:_MAX_TARGETS]:
            found: list[Address] = []
            with contextlib.suppress(OSError):
                if name == url.host:
                    found = [(host, port) for host, _ in await addresses]
                else:
                    found = await network.resolve(name, port)
            if found:
                return found
        raise OSError("no target of its SRV records has an address")
    finally:
        addresses.cancel()
        await asyncio.gather(addresses, return_exceptions=True)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
