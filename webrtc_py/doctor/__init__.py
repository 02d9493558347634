"""What connects from here, and why not: ``python -m webrtc_py doctor``.

:func:`examine` looks at this machine (``local``), tries each way to each server (``servers``), finds out what the NAT
does (``nat``, RFC 5780), and says what will come of it (``prognosis``). All of it goes through the ``Network``
protocol, so a virtual network tests it behind every kind of NAT. It talks to nobody but the servers that it is given.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

from ..ice.url import ServerURL
from ..runtime.network import Address, Network
from .findings import Finding, Prospect, Report, ServerFindings, Way
from .local import examine_machine
from .nat import Dependence, NATBehaviour, discover
from .prognosis import advise, predict
from .servers import ServerExamination
from .text import as_json, as_lines

__all__ = [
    "Dependence",
    "Finding",
    "NATBehaviour",
    "Prospect",
    "Report",
    "ServerFindings",
    "Way",
    "as_json",
    "as_lines",
    "examine",
]


async def examine(
    network: Network,
    urls: Sequence[ServerURL],
    *,
    timeout: float = 3.0,
    tls_context: ssl.SSLContext | None = None,
) -> Report:
    """Examine all there is; ``timeout`` seconds are given to each step. Problems are findings, and raise nothing.

    A TURN URL with ``username`` and ``password`` is asked for a relay, which is given back at once.
    """
    local = await examine_machine(network)
    servers = await ServerExamination(network, timeout, tls_context).examine(_distinct(urls))
    nat = await _discover(network, servers, timeout)
    prospects, can_connect = predict(local, servers, nat)
    return Report(local, servers, nat, prospects, advise(local, servers, nat), can_connect)


def _distinct(urls: Sequence[ServerURL]) -> list[ServerURL]:
    """All ways to a server are tried, whatever transport its URL names: once is enough."""
    return list({(url.scheme, url.host, url.port): url for url in reversed(urls)}.values())[::-1]


async def _discover(network: Network, servers: Sequence[ServerFindings], timeout: float) -> tuple[NATBehaviour, ...]:
    answering: dict[bool, list[Address]] = {False: [], True: []}
    for server in servers:
        for way in server.ways:
            if way.transport == "udp" and way.mapped is not None:
                answering[":" in way.server[0]].append(way.server)
    found = []
    for addresses in answering.values():
        if addresses:
            with contextlib.suppress(OSError):
                found.append(await discover(network, list(dict.fromkeys(addresses)), timeout))
    return tuple(behaviour for behaviour in found if behaviour is not None)
