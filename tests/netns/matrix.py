"""The cells of the matrix, tried for real: two agents each, in the networks of their ends."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

from .lab import Lab
from .meeting import A_PATH, NO_PATH, PROGRAM, Met, meet
from .namespaces import Namespace
from .nat import Firewall, NATKind
from .remote import Remote
from .theory import Cell, End, Policy, Servers, expect
from .turn import TurnServer, turn_server

SERVER = "192.0.2.10"
# As many cells at a time.
CONCURRENT = 32

_NATS = {
    End.FULL_CONE: NATKind.FULL_CONE,
    End.RESTRICTED: NATKind.RESTRICTED,
    End.PORT_RESTRICTED: NATKind.PORT_RESTRICTED,
    End.SYMMETRIC: NATKind.SYMMETRIC,
    # Behind the firewalls stands a usual home router.
    End.NO_UDP: NATKind.PORT_RESTRICTED,
    End.ONLY_TCP_443: NATKind.PORT_RESTRICTED,
}
_FIREWALLS = {End.NO_UDP: Firewall.NO_UDP, End.ONLY_TCP_443: Firewall.ONLY_TCP_443}
_CANDIDATE_TYPES = {Policy.ALL: ("host", "srflx", "relay"), Policy.RELAY: ("relay",)}


def end_network(lab: Lab, side: int, end: End) -> Namespace:
    """Where an agent of this kind lives. Both sides have one of each kind, and the same addresses inside."""
    number = side * 10 + list(End).index(end) + 1
    label = f"{'left' if side == 0 else 'right'}-{end.name.lower().replace('_', '-')}"
    if end is End.OPEN:
        return lab.public(label, f"198.51.100.{number}").namespace
    router = lab.router(f"{label}-router", f"203.0.113.{number}", _NATS[end])
    router.set_firewall(_FIREWALLS.get(end, Firewall.OPEN))
    return router.host(label)


def _urls(server: TurnServer, servers: Servers) -> list[str]:
    ways = {
        Servers.STUN: [server.stun],
        Servers.TURN_UDP: [server.udp],
        Servers.TURN_TCP: [server.tcp],
        Servers.TURN_TLS: [server.tls],
        Servers.ALL: [server.stun, server.udp, server.tcp, server.tls],
    }
    return ways.get(servers, [])


async def try_cells(cells: list[Cell], directory: Path) -> dict[Cell, Met]:
    """Make the networks and the server, and try all cells."""
    with Lab() as lab, contextlib.ExitStack() as stack:
        namespace = lab.public("server", SERVER).namespace
        server = stack.enter_context(turn_server(namespace, SERVER, directory))
        async with contextlib.AsyncExitStack() as running:
            ends = sorted({(0, cell.left) for cell in cells} | {(1, cell.right) for cell in cells})
            starting = [
                running.enter_async_context(Remote.start(PROGRAM, end_network(lab, *end), directory)) for end in ends
            ]
            places = dict(zip(ends, await asyncio.gather(*starting), strict=True))
            room = asyncio.Semaphore(CONCURRENT)

            async def try_one(cell: Cell) -> Met:
                async with room:
                    return await meet(
                        str(cell),
                        places[0, cell.left],
                        places[1, cell.right],
                        _urls(server, cell.servers),
                        _CANDIDATE_TYPES[cell.policy],
                        server,
                        patience=A_PATH if expect(cell).types else NO_PATH,
                    )

            # In any order: those that make work and those that only wait share the time evenly.
            shuffled = random.Random(0).sample(cells, len(cells))
            async with asyncio.TaskGroup() as group:
                trying = {cell: group.create_task(try_one(cell)) for cell in shuffled}
            return {cell: task.result() for cell, task in trying.items()}
