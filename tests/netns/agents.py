"""ICE agents inside a namespace, many at a time, steered from outside: one for each cell of the matrix."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field, replace

from tests.interop.coturn import PASSWORD, USERNAME
from webrtc_py.errors import ConnectionFailedError
from webrtc_py.ice import Agent, AgentOptions, AgentTimings, Candidate, Conn, parse_url, unmarshal_candidate

from .remote import Service, serve

_GREETING_INTERVAL = 0.1


@dataclass
class Cell:
    name: str
    agent: Agent
    remote_complete: asyncio.Event = field(default_factory=asyncio.Event)
    connecting: asyncio.Task[None] | None = None


class Agents(Service):
    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}
        self._tls: ssl.SSLContext | None = None

    async def open(
        self,
        cell: str,
        urls: list[str],
        candidate_types: list[str],
        timings: dict[str, float],
        gather_timeout: float,
        ca_file: str,
    ) -> tuple[str, str]:
        """Begin to gather. The agent's user fragment and password; its candidates follow as events."""
        servers = [replace(parse_url(url), username=USERNAME, password=PASSWORD) for url in urls]
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=ca_file)
        options = AgentOptions(
            urls=servers,
            candidate_types=candidate_types,
            timings=AgentTimings(**timings),
            stun_gather_timeout=gather_timeout,
            tls_context=self._tls,
        )
        agent = Agent(options)
        self._cells[cell] = Cell(cell, agent)

        def on_candidate(candidate: Candidate | None) -> None:
            self.tell("candidate", cell=cell, candidate=candidate and candidate.marshal())

        agent.on_candidate(on_candidate)
        await agent.gather_candidates()
        return agent.get_local_user_credentials()

    def start(self, cell: str, controlling: bool, ufrag: str, pwd: str) -> None:
        """Connect, and tell of the outcome in an event ``ended``."""
        one = self._cells[cell]
        one.connecting = asyncio.create_task(self._connect(one, controlling, ufrag, pwd))

    def candidate(self, cell: str, candidate: str | None) -> None:
        """One of the peer's."""
        if cell not in self._cells:
            return
        one = self._cells[cell]
        one.agent.add_remote_candidate(None if candidate is None else unmarshal_candidate(candidate))
        if candidate is None:
            one.remote_complete.set()

    async def end(self, cell: str) -> None:
        one = self._cells.pop(cell)
        if one.connecting is not None:
            one.connecting.cancel()
        await one.agent.close()

    async def close(self) -> None:
        for cell in list(self._cells):
            await self.end(cell)

    async def _connect(self, cell: Cell, controlling: bool, ufrag: str, pwd: str) -> None:
        agent = cell.agent
        began = time.monotonic()
        try:
            conn = await (agent.dial if controlling else agent.accept)(ufrag, pwd)
        except ConnectionFailedError as error:
            self.tell("ended", cell=cell.name, seconds=time.monotonic() - began, types=None, reason=str(error))
            return
        seconds = time.monotonic() - began
        greeting = asyncio.create_task(self._greet(conn))
        try:
            await conn.recv()
            # A check may be faster than the server that tells of the same address by another name.
            await agent.gathering_complete()
            await cell.remote_complete.wait()
            pair = agent.get_selected_candidate_pair()
            types = pair and [one.type for one in pair]
            self.tell("ended", cell=cell.name, seconds=seconds, types=types, reason=agent.failure)
            await greeting
        finally:
            greeting.cancel()

    async def _greet(self, conn: Conn) -> None:
        """Until the cell ends: the peer may not be ready to hear the first."""
        while True:
            conn.send(b"hello")
            await asyncio.sleep(_GREETING_INTERVAL)


if __name__ == "__main__":
    serve(Agents())
