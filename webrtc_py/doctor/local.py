"""What can be seen of the network without leaving this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Sequence

from ..ice.addresses import LocalAddress, local_addresses
from ..ice.candidate import without_zone
from ..ice.mdns_message import serialize_query
from ..runtime.network import Address, Network
from ..runtime.shared import Shared
from ..train import Train
from .findings import Finding
from .probe import Prober

_MDNS = ("224.0.0.251", 5353)
# A datagram to this very machine is there at once, or never.
_TIMEOUT = 1.0


async def examine_machine(network: Network) -> tuple[Finding, ...]:
    """Interfaces, families, sockets, loopback, multicast."""
    addresses = local_addresses(network.interfaces())
    shared = Shared.of_running_loop()
    return (
        *_interfaces(network),
        *_families(addresses),
        await _udp(network, addresses, shared),
        await _loopback(network, shared),
        await _multicast(network, shared),
    )


def _interfaces(network: Network) -> list[Finding]:
    return [
        Finding(interface.name, None, ", ".join(map(without_zone, interface.addresses)) or "no address")
        for interface in network.interfaces()
    ]


def _families(addresses: Sequence[LocalAddress]) -> list[Finding]:
    """One of them is enough."""
    four = [one.host for one in addresses if not one.is_ipv6]
    six = [one.host for one in addresses if one.is_ipv6 and not one.is_link_local]
    none = None if four or six else False
    without_six = (
        "only link-local addresses, for peers on the same link" if len(addresses) > len(four) else "no address"
    )
    reach = "" if any(ipaddress.ip_address(host).is_global for host in six) else " (not for the internet)"
    return [
        Finding("ipv4", True if four else none, ", ".join(four) or "no address"),
        Finding("ipv6", True if six else none, f"{', '.join(six)}{reach}" if six else without_six),
    ]


async def _udp(network: Network, addresses: Sequence[LocalAddress], shared: Shared) -> Finding:
    """From each address to itself: what a filter on this machine drops does not even get so far."""
    problems = []
    for address in addresses:
        problem = await _send_to_itself(network, address.host, shared)
        if problem:
            problems.append(f"{address.host}: {problem}")
    if problems:
        return Finding("udp", False, "; ".join(problems))
    if not addresses:
        return Finding("udp", False, "no address to open a socket on")
    return Finding("udp", True, f"sockets open and hear themselves on {len(addresses)} of {len(addresses)} addresses")


async def _loopback(network: Network, shared: Shared) -> Finding:
    problem = await _send_to_itself(network, "127.0.0.1", shared)
    return Finding("loopback", not problem, problem or "works")


async def _send_to_itself(network: Network, host: str, shared: Shared) -> str:
    """Why a datagram from one socket on an address to another on the same did not arrive; empty when it did."""
    try:
        sender = await Prober.open(network, host, shared)
    except OSError as error:
        return f"no socket: {error.strerror or error}"
    try:
        receiver = await Prober.open(network, host, shared)
    except OSError as error:
        sender.close()
        return f"no socket: {error.strerror or error}"
    try:
        arrived = await sender.reach(receiver, receiver.local_address, _TIMEOUT)
    finally:
        sender.close()
        receiver.close()
    return "" if arrived else "datagrams do not arrive, not even from here: a firewall on this machine drops them"


async def _multicast(network: Network, shared: Shared) -> Finding:
    """Whether two programs on this machine hear each other's mDNS. What switches do with it, it takes two to tell."""
    works = "mDNS can be sent and heard: .local names of peers can be resolved"
    try:
        sender = await network.open_multicast(*_MDNS)
    except OSError as error:
        return Finding("multicast", False, f"mDNS cannot be used: {error.strerror or error}")
    try:
        receiver = await network.open_multicast(*_MDNS)
    except OSError as error:
        sender.close()
        return Finding("multicast", False, f"mDNS cannot be used beside another program: {error.strerror or error}")
    heard = shared.loop.create_future()
    query = serialize_query(f"{secrets.token_hex(16)}.local")  # that nobody has an answer to

    def on_train(train: Train, source: Address, now: float) -> None:
        if any(datagram == query for datagram in train) and not heard.done():
            heard.set_result(None)

    try:
        receiver.set_receiver(on_train)
        sender.send(Train.of(query), _MDNS)
        await asyncio.wait([heard], timeout=_TIMEOUT)
    finally:
        sender.close()
        receiver.close()
    return Finding(
        "multicast", heard.done(), works if heard.done() else "mDNS is sent, and not heard even on this machine"
    )
