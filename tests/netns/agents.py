"""ICE agents inside a namespace, many at a time, steered from outside."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field, replace

from tests.interop.coturn import PASSWORD, USERNAME
from webrtc_py.errors import ConnectionFailedError
from webrtc_py.ice import Agent, AgentOptions, AgentTimings, Candidate, Conn, parse_url, unmarshal_candidate
from webrtc_py.ice.mux import TCPMux

from .remote import Service, serve

_GREETING_INTERVAL = 0.1


@dataclass
class End:
    name: str
    agent: Agent
    remote_complete: asyncio.Event = field(default_factory=asyncio.Event)
    connecting: asyncio.Task[None] | None = None


class Agents(Service):
    def __init__(self) -> None:
        self._ends: dict[str, End] = {}
        self._tls: ssl.SSLContext | None = None
        self._tcp_mux: TCPMux | None = None

    async def listen_tcp(self, port: int) -> None:
        """Agents opened from now on have passive TCP candidates on this port."""
        self._tcp_mux = await TCPMux.listen("0.0.0.0", port)

    async def open(
        self,
        name: str,
        urls: list[str],
        candidate_types: list[str],
        timings: dict[str, float],
        gather_timeout: float,
        ca_file: str | None,
        network_types: list[str],
    ) -> tuple[str, str]:
        """Begin to gather. The agent's user fragment and password; its candidates follow as events."""
        servers = [replace(parse_url(url), username=USERNAME, password=PASSWORD) for url in urls]
        if self._tls is None and ca_file is not None:
            self._tls = ssl.create_default_context(cafile=ca_file)
        options = AgentOptions(
            urls=servers,
            candidate_types=candidate_types,
            timings=AgentTimings(**timings),
            stun_gather_timeout=gather_timeout,
            tls_context=self._tls,
            network_types=network_types,
            tcp_mux=self._tcp_mux,
        )
        agent = Agent(options)
        self._ends[name] = End(name, agent)

        def on_candidate(candidate: Candidate | None) -> None:
            self.tell("candidate", name=name, candidate=candidate and candidate.marshal())

        agent.on_candidate(on_candidate)
        await agent.gather_candidates()
        return agent.get_local_user_credentials()

    def start(self, name: str, controlling: bool, ufrag: str, pwd: str) -> None:
        """Connect, and tell of the outcome in an event ``ended``."""
        one = self._ends[name]
        one.connecting = asyncio.create_task(self._connect(one, controlling, ufrag, pwd))

    def candidate(self, name: str, candidate: str | None) -> None:
        """One of the peer's."""
        if name not in self._ends:
            return
        one = self._ends[name]
        one.agent.add_remote_candidate(None if candidate is None else unmarshal_candidate(candidate))
        if candidate is None:
            one.remote_complete.set()

    async def end(self, name: str) -> None:
        one = self._ends.pop(name)
        if one.connecting is not None:
            one.connecting.cancel()
        await one.agent.close()

    async def close(self) -> None:
        for name in list(self._ends):
            await self.end(name)
        if self._tcp_mux is not None:
            await self._tcp_mux.close()

    async def _connect(self, end: End, controlling: bool, ufrag: str, pwd: str) -> None:
        agent = end.agent
        began = time.monotonic()
        try:
            conn = await (agent.dial if controlling else agent.accept)(ufrag, pwd)
        except ConnectionFailedError as error:
            self._tell_end(end, None, time.monotonic() - began, str(error))
            return
        seconds = time.monotonic() - began
        greeting = asyncio.create_task(self._greet(conn))
        try:
            await conn.recv()
            # A check may be faster than the server that tells of the same address by another name.
            await agent.gathering_complete()
            await end.remote_complete.wait()
            self._tell_end(end, agent.get_selected_candidate_pair(), seconds, agent.failure)
            await greeting
        finally:
            greeting.cancel()

    def _tell_end(self, end: End, pair: tuple[Candidate, Candidate] | None, seconds: float, reason: str) -> None:
        self.tell(
            "ended",
            name=end.name,
            types=pair and [one.type for one in pair],
            addresses=pair and [one.address for one in pair],
            transport=pair and pair[0].transport,
            seconds=seconds,
            reason=reason,
        )

    async def _greet(self, conn: Conn) -> None:
        """Until the end: the peer may not be ready to hear the first."""
        while True:
            conn.send(b"hello")
            await asyncio.sleep(_GREETING_INTERVAL)


if __name__ == "__main__":
    serve(Agents())
