"""The cells of the matrix, tried for real: two agents each, in the networks of their ends."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .lab import Lab
from .namespaces import Namespace
from .nat import Firewall, NATKind
from .remote import Remote
from .theory import Cell, End, Policy, Servers
from .turn import TurnServer, turn_server

SERVER = "192.0.2.10"
PATIENCE = 4.0
GATHER_TIMEOUT = 2.0
_CELL_TIMEOUT = 20.0
# Nobody has found a path after so long, and the acceptance wait of relays is long over.
TIMINGS = {"disconnected_timeout": 1.0, "failed_timeout": PATIENCE - 1.0, "keepalive_interval": 0.5}
CONCURRENT = 40

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


@dataclass(frozen=True)
class Outcome:
    """What one end tells of a cell."""

    types: tuple[str, str] | None
    """Of the local and the remote candidate."""
    seconds: float
    reason: str


@dataclass(frozen=True)
class Tried:
    left: Outcome
    right: Outcome
    logs: str


def end_network(lab: Lab, side: int, end: End) -> Namespace:
    """Where an agent of this kind lives; both sides have one of each, and the same addresses inside."""
    number = side * 10 + list(End).index(end)
    label = f"{'left' if side == 0 else 'right'}-{end.name.lower().replace('_', '-')}"
    if end is End.OPEN:
        return lab.public(label, f"198.51.100.{number + 1}").namespace
    router = lab.router(f"{label}-router", f"203.0.113.{number + 1}", _NATS[end])
    router.set_firewall(_FIREWALLS.get(end, Firewall.OPEN))
    return router.host(label)


def urls(server: TurnServer, servers: Servers) -> list[str]:
    ways = {
        Servers.STUN: [server.stun],
        Servers.TURN_UDP: [server.udp],
        Servers.TURN_TCP: [server.tcp],
        Servers.TURN_TLS: [server.tls],
        Servers.ALL: [server.stun, server.udp, server.tcp, server.tls],
    }
    return ways.get(servers, [])


CANDIDATE_TYPES = {Policy.ALL: ["host", "srflx", "relay"], Policy.RELAY: ["relay"]}


class Matrix:
    def __init__(self, server: TurnServer, remotes: dict[tuple[int, End], Remote]) -> None:
        self._server = server
        self._remotes = remotes
        self._waiting: dict[tuple[int, str], _Side] = {}
        self._room = asyncio.Semaphore(CONCURRENT)
        for (side, _), remote in remotes.items():
            remote.on_event = lambda event, side=side: self._waiting[side, event["cell"]].take(event)  # type: ignore[misc]

    async def try_all(self, cells: list[Cell]) -> dict[Cell, Tried]:
        async with asyncio.TaskGroup() as group:
            trying = {cell: group.create_task(self._try(cell)) for cell in cells}
        return {cell: task.result() for cell, task in trying.items()}

    async def _try(self, cell: Cell) -> Tried:
        name = str(cell)
        async with self._room:
            sides = _Side(self._remotes[0, cell.left]), _Side(self._remotes[1, cell.right])
            for number, side in enumerate(sides):
                self._waiting[number, name] = side
            opening = [
                side.remote.call(
                    "open",
                    cell=name,
                    urls=urls(self._server, cell.servers),
                    candidate_types=CANDIDATE_TYPES[cell.policy],
                    timings=TIMINGS,
                    gather_timeout=GATHER_TIMEOUT,
                    ca_file=str(self._server.certificate),
                )
                for side in sides
            ]
            credentials = await asyncio.gather(*opening)
            for number, (side, peer) in enumerate((sides, sides[::-1])):
                ufrag, pwd = credentials[1 - number]
                side.remote.post("start", cell=name, controlling=number == 0, ufrag=ufrag, pwd=pwd)
                side.forward_to(peer.remote)
            await asyncio.wait([side.ended for side in sides], timeout=_CELL_TIMEOUT)
            left, right = (side.ended.result() if side.ended.done() else _NO_END for side in sides)
            await asyncio.gather(*(side.remote.call("end", cell=name) for side in sides))
            ufrags = [ufrag for ufrag, _ in credentials]
            return Tried(left, right, "\n".join(side.remote.log_text(*ufrags) for side in sides))


_NO_END = Outcome(None, _CELL_TIMEOUT, "neither connected nor failed")


class _Side:
    """One end of a cell under way: it hands candidates on, and waits for the outcome."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._peer: Remote | None = None
        self._held: list[dict[str, Any]] = []

    def forward_to(self, peer: Remote) -> None:
        self._peer = peer
        for event in self._held:
            self.take(event)

    def take(self, event: dict[str, Any]) -> None:
        if event["event"] == "ended":
            types = event["types"] and tuple(event["types"])
            if not self.ended.done():
                self.ended.set_result(Outcome(types, event["seconds"], event["reason"]))
        elif self._peer is None:
            self._held.append(event)
        else:
            self._peer.post("candidate", cell=event["cell"], candidate=event["candidate"])


async def try_cells(cells: list[Cell], directory: Path) -> dict[Cell, Tried]:
    with Lab() as lab, contextlib.ExitStack() as stack:
        namespace = lab.public("server", SERVER).namespace
        server = stack.enter_context(turn_server(namespace, SERVER, directory))
        async with contextlib.AsyncExitStack() as running:
            places = sorted({(0, cell.left) for cell in cells} | {(1, cell.right) for cell in cells})
            starting = [
                running.enter_async_context(Remote.start("tests.netns.agents", end_network(lab, *place), directory))
                for place in places
            ]
            remotes = dict(zip(places, await asyncio.gather(*starting), strict=True))
            return await Matrix(server, remotes).try_all(cells)
