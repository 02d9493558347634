"""Whatever an application calls, in any order and at once, and whatever it cancels: nothing is left, nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.server_certificate import server_certificate
from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from tests.support.virtual_turn import TURNServer
from webrtc_py.errors import ConnectionClosedError, ConnectionFailedError, InvalidAccessError, InvalidStateError
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.mux import TCPMux, UDPMux
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.ice.url import ServerURL

CERTIFICATE = server_certificate("turn.example")
URLS = [
    ServerURL(scheme, "turn.example", 5349 if scheme == "turns" else 3478, transport, "user", "secret")
    for scheme in ("turn", "turns")
    for transport in ("udp", "tcp")
]
EXPECTED = (InvalidStateError, InvalidAccessError, ConnectionFailedError, ConnectionClosedError)


class Application:
    """Two agents and somebody who does not know what to do with them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.network = network = VirtualNetwork(seed=seed, delay=self.chance.choice([0.001, 0.02, 0.2]))
        self.turn: TURNServer = network.turn_server("turn.example", "192.0.2.4", "2001:db8::4")
        self.turn.secure(CERTIFICATE)
        network.stun_server("stun.example", "192.0.2.3")
        self.alice = network.nat("router", "198.51.100.1", kind="symmetric").host("alice", "10.0.0.2")
        self.alice.add_interface("wlan0", "192.0.2.9")
        self.bob = network.host("bob", "192.0.2.2", "2001:db8::2")
        self.muxes: dict[str, UDPMux | TCPMux] = {}
        self.conns: list[Conn] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        if self.chance.random() < 0.4:
            self.muxes["udp_mux"] = await UDPMux.listen(port=9000, net=self.bob)
        if self.chance.random() < 0.4:
            self.muxes["tcp_mux"] = await TCPMux.listen(port=9001, net=self.bob)
        self.agents = self._agent(self.alice), self._agent(self.bob)
        for agent, peer in (self.agents, self.agents[::-1]):
            agent.on_candidate(self._tell(peer))

    def _options(self, host: VirtualHost) -> AgentOptions:
        chance = self.chance
        return AgentOptions(
            urls=[*chance.sample(URLS, chance.randrange(3)), *["stun:stun.example"] * chance.randrange(2)],
            network_types=chance.choice([("udp4", "udp6"), ("udp4", "udp6", "tcp4", "tcp6"), ("tcp4", "tcp6")]),
            candidate_types=chance.choice([("host", "srflx", "relay"), ("relay",), ("host",)]),
            continual_gathering=chance.choice(["once", "continually"]),
            multicast_dns_mode=chance.choice(["query-only", "query-and-gather", "disabled"]),
            renomination=chance.choice([None, RenominationOptions()]),
            tls_context=CERTIFICATE.client_context(),
            net=host,
            **(self.muxes if host is self.bob else {}),  # type: ignore[arg-type]
        )

    def _agent(self, host: VirtualHost) -> Agent:
        return Agent(self._options(host))

    def _tell(self, peer: Agent) -> Callable[[Candidate | None], object]:
        def handler(candidate: Candidate | None) -> object:
            peer.add_remote_candidate(candidate)  # which may be closed: then it raises
            return asyncio.sleep(self.chance.random()) if self.chance.random() < 0.1 else None

        return handler

    async def _connect(self, agent: Agent, peer: Agent, method: str) -> None:
        self.conns.append(await getattr(agent, method)(*peer.get_local_user_credentials()))

    async def _send(self) -> None:
        for conn in self.conns:
            conn.send(b"\xff" * 1000)

    async def _look(self, agent: Agent) -> None:
        agent.explain()
        agent.get_candidate_pairs_stats()
        agent.get_local_candidates_stats()

    async def _change(self, change: Callable[[], object]) -> None:
        change()

    def _anything(self, agent: Agent, peer: Agent) -> Coroutine[Any, Any, None]:
        host, chance = (self.alice if agent is self.agents[0] else self.bob), self.chance
        calls: list[Callable[[], Coroutine[Any, Any, None]]] = [
            agent.gather_candidates,
            agent.gathering_complete,
            agent.restart,
            lambda: self._connect(agent, peer, "dial"),
            lambda: self._connect(agent, peer, "accept"),
            lambda: self._look(agent),
            self._send,
            lambda: self._change(agent.cancel_restart),
            lambda: self._change(agent.discard_candidates),
            lambda: self._change(lambda: agent.set_options(self._options(host))),
            lambda: self._change(lambda: agent.set_remote_credentials(*peer.get_local_user_credentials())),
            lambda: self._change(lambda: agent.renominate(*agent.get_selected_candidate_pair() or (None, None))),  # type: ignore[arg-type]
            lambda: self._change(lambda: self.alice.set_interface_up("wlan0", chance.random() < 0.5)),
            lambda: self._change(lambda: setattr(self.turn, "silent", chance.random() < 0.3)),
        ]
        return self._calm(chance.choice(calls * 5 + [agent.close])())

    async def _calm(self, call: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(*EXPECTED):
            await call

    def begin(self, call: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(call))

    async def use(self) -> None:
        one, other = self.agents
        if self.chance.random() < 0.7:
            await one.gather_candidates()
            await other.gather_candidates()
            self.begin(self._calm(self._connect(one, other, "dial")))
            self.begin(self._calm(self._connect(other, one, "accept")))
            await asyncio.sleep(self.chance.choice([0, 0.1, 1, 10]))
        for _ in range(self.chance.randrange(5, 40)):
            self.begin(self._anything(*self.chance.choice([(one, other), (other, one)])))
            await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.03, 0.5, 1.1, 6, 31]))
            if self.chance.random() < 0.1:
                self.chance.choice(self.tasks).cancel()

    async def close(self) -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(agent.close() for agent in (*self.agents, self.agents[0])))
        assert asyncio.get_running_loop().time() - began < 2.01
        for outcome in await asyncio.gather(*self.tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        for mux in self.muxes.values():
            mux.close()
        await asyncio.sleep(700)
        now = asyncio.get_running_loop().time()
        assert not any(server.allocated and server.expires_at > now for server in self.turn.served)
        assert self.alice.leftovers() + self.bob.leftovers() == []


@pytest.mark.parametrize("seed", range(0, 80, 16))
def test_any_calls_in_any_order_leave_nothing(seed: int) -> None:
    async def main(seed: int) -> None:
        application = Application(seed)
        await application.open()
        await application.use()
        await application.close()

    for one in range(seed, seed + 16):
        run(main(one), timeout_virtual=100_000)
