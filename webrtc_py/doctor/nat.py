"""What the NAT or firewall in front of us does (RFC 4787's words, RFC 5780's tests).

A server with OTHER-ADDRESS can tell mapping and filtering. Where there is none, two servers that see the same socket
under the same address show that the mapping does not depend on whom we talk to, and under different ones that it does.
All of it holds for this moment and these servers only (RFC 5780 section 1), so it predicts and promises nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..ice.candidate import without_zone
from ..runtime.network import Address, Network
from ..runtime.shared import Shared
from .probe import Answer, Prober


class Dependence(StrEnum):
    """On what of the peer's a mapping, or what a filter lets in, depends (RFC 4787 sections 4.1 and 5)."""

    NOTHING = "endpoint-independent"
    ADDRESS = "address-dependent"
    ADDRESS_AND_PORT = "address-and-port-dependent"


@dataclass(frozen=True, slots=True)
class NATBehaviour:
    """What was found out for one family; None is what could not be."""

    mapped: Address
    """Our address as servers see it."""
    translated: bool
    """Whether it is another than our own."""
    mapping: Dependence | None = None
    filtering: Dependence | None = None
    hairpin: bool | None = None
    """Whether two hosts behind it can talk by their outer addresses."""
    method: str = "one server"
    """How it was found out."""

    @property
    def is_symmetric(self) -> bool:
        """Whether each peer sees another address of ours, so that none can be told in advance."""
        return self.mapping in (Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT)

    @property
    def kind(self) -> str:
        """The name that people know it by."""
        if not self.translated:
            if self.filtering is None:
                return "no NAT"
            return "no NAT, and open" if self.filtering is Dependence.NOTHING else "no NAT, but a firewall"
        if self.mapping is None:
            return "a NAT"
        if self.is_symmetric:
            return "a symmetric NAT"
        names = {
            None: "a cone NAT",
            Dependence.NOTHING: "a full cone NAT",
            Dependence.ADDRESS: "a restricted cone NAT",
            Dependence.ADDRESS_AND_PORT: "a port-restricted cone NAT",
        }
        return names[self.filtering]


async def discover(network: Network, servers: Sequence[Address], timeout: float) -> NATBehaviour | None:
    """Ask STUN servers, all of one family. None when none answers. OSError when no socket can be opened.

    ``timeout`` is how long an answer is waited for; there are up to seven waits, one after the other.
    """
    shared = Shared.of_running_loop()
    family = "::" if ":" in servers[0][0] else "0.0.0.0"
    async with _prober(network, family, shared) as prober:
        answers = await asyncio.gather(*(prober.ask(server, timeout) for server in servers))
        seen = {server: a for server, a in zip(servers, answers, strict=True) if a is not None and a.mapped is not None}
        if not seen:
            return None
        found = _compare(seen, _own_addresses(network), prober.local_address[1])
        able = next((server for server, answer in seen.items() if _is_able(server, answer)), None)
        if able is not None:
            other = seen[able].other
            assert other is not None
            mapping = await _mapping(prober, able, other, seen[able], timeout)
            if mapping is not None:
                # Only then is the server's other address known to be alive, and its silence to mean anything.
                filtering = await _filtering(network, family, shared, able, other, timeout)
                found = replace(found, mapping=mapping, filtering=filtering, method="RFC 5780")
        if found.translated:
            found = replace(
                found, hairpin=await _hairpin(network, family, shared, next(iter(seen)), prober, found, timeout)
            )
        return found


def _compare(seen: dict[Address, Answer], own: Collection[str], port: int) -> NATBehaviour:
    mapped = [answer.mapped for answer in seen.values() if answer.mapped is not None]
    translated = mapped[0][0] not in own or mapped[0][1] != port
    if len(set(mapped)) > 1:
        # Different for different ports of one host too, or only for different hosts: nobody can tell, nor need to.
        return NATBehaviour(mapped[0], True, Dependence.ADDRESS_AND_PORT, method=f"{len(mapped)} servers compared")
    if not translated:
        return NATBehaviour(mapped[0], False, Dependence.NOTHING)
    if len({host for host, _ in seen}) > 1:
        return NATBehaviour(mapped[0], True, Dependence.NOTHING, method=f"{len(mapped)} servers compared")
    return NATBehaviour(mapped[0], True)


def _is_able(server: Address, answer: Answer) -> bool:
    """Whether a server has another address and another port; some send what is of no use."""
    other = answer.other
    return (
        other is not None
        and other[0] != server[0]
        and other[1] != server[1]
        and (":" in other[0]) == (":" in server[0])
    )


async def _mapping(prober: Prober, server: Address, other: Address, first: Answer, timeout: float) -> Dependence | None:
    """RFC 5780 section 4.3. None when the server's other address does not answer."""
    second = await prober.ask((other[0], server[1]), timeout)
    if second is None or second.mapped is None:
        return None
    if second.mapped == first.mapped:
        return Dependence.NOTHING
    third = await prober.ask(other, timeout)
    if third is None or third.mapped is None:
        return None
    return Dependence.ADDRESS if third.mapped == second.mapped else Dependence.ADDRESS_AND_PORT


async def _filtering(
    network: Network, family: str, shared: Shared, server: Address, other: Address, timeout: float
) -> Dependence | None:
    """RFC 5780 section 4.4, from a socket that has sent to nobody else. None when the server does not do as asked."""
    async with _prober(network, family, shared) as prober:
        if await prober.ask(server, timeout) is None:
            return None
        answer = await prober.ask(server, timeout, change_ip=True, change_port=True)
        if answer is not None:
            return Dependence.NOTHING if answer.source == other and answer.mapped else None
        answer = await prober.ask(server, timeout, change_port=True)
        if answer is not None:
            return Dependence.ADDRESS if answer.source == (server[0], other[1]) and answer.mapped else None
        return Dependence.ADDRESS_AND_PORT


async def _hairpin(
    network: Network,
    family: str,
    shared: Shared,
    server: Address,
    prober: Prober,
    found: NATBehaviour,
    timeout: float,
) -> bool | None:
    """Two sockets send to each other's outer address, as two peers behind one NAT would (RFC 4787 section 6)."""
    async with _prober(network, family, shared) as second:
        answer = await second.ask(server, timeout)
        if answer is None or answer.mapped is None:
            return None
        reached = await asyncio.gather(
            prober.reach(second, answer.mapped, timeout), second.reach(prober, found.mapped, timeout)
        )
        return any(reached)


@contextlib.asynccontextmanager
async def _prober(network: Network, host: str, shared: Shared) -> AsyncIterator[Prober]:
    prober = await Prober.open(network, host, shared)
    try:
        yield prober
    finally:
        prober.close()


def _own_addresses(network: Network) -> set[str]:
    return {without_zone(address) for interface in network.interfaces() for address in interface.addresses}
